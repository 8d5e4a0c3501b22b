"""Small CK+ deliveries for tests: the four trees, their zips, and CK+48, with control faces in them."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ferlab.control import read

ZIPS = {
    "cohn-kanade-images": "extended-cohn-kanade-images.zip",
    "Emotion": "Emotion_labels.zip",
    "FACS": "FACS_labels.zip",
    "Landmarks": "Landmarks.zip",
}


@cache
def drawn() -> np.ndarray:
    return read(faces=8, subjects=4, size=48)[0]


def picture(frame: int) -> np.ndarray:
    """A control face that tells its frame: the first pixel is the number."""
    face = drawn()[frame % 8].copy()
    face[0, 0] = frame
    return face


def png(frame: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(frame)).save(file, "PNG")
    return file.getvalue()


def sequence_files(sequence: str, frames: int | list[int], code: int | None, *, landmarks: bool = False) -> dict[str, bytes]:
    """The files of one sequence: frames 1 to `frames` or those listed, the last of them coded (None: no emotion file)."""
    numbers = list(range(1, frames + 1)) if isinstance(frames, int) else frames
    stem = f"{sequence}/{sequence.replace('/', '_')}_"
    files = {f"cohn-kanade-images/{stem}{number:08d}.png": png(number) for number in numbers}
    files[f"FACS/{stem}{numbers[-1]:08d}_facs.txt"] = b"   4.0000000e+00   3.0000000e+00\n   1.7000000e+01   0.0000000e+00\n"
    if code is not None:
        files[f"Emotion/{stem}{numbers[-1]:08d}_emotion.txt"] = f"   {code:.7e}\n".encode()
    if landmarks:
        for number in numbers:
            points = "".join(f"   {number + point:.7e}   {2 * point:.7e}\n" for point in range(68))
            files[f"Landmarks/{stem}{number:08d}_landmarks.txt"] = points.encode()
    return files


def ck48_files(sequences: dict[str, str]) -> dict[str, bytes]:
    """CK+48: the last three frames, 10 to 12, of each sequence, in its class's folder."""
    return {
        f"CK+48/{folder}/{sequence.replace('/', '_')}_{number:08d}.png": png(number)
        for sequence, folder in sequences.items()
        for number in (10, 11, 12)
    }


def write_files(root: Path, files: dict[str, bytes], *, seed: int = 0) -> None:
    """Write files in a random order, so that no order of the file system is the right one by luck."""
    for name in np.random.default_rng(seed).permutation(sorted(files)):
        path = root / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[str(name)])


def write_zips(root: Path, files: dict[str, bytes], *, seed: int = 0) -> None:
    """Write the zips as they are delivered, their members in a random order."""
    for tree, zipped in ZIPS.items():
        names = [name for name in sorted(files) if name.startswith(tree + "/")]
        if names:
            with zipfile.ZipFile(root / zipped, "w") as archive:
                for name in np.random.default_rng(seed).permutation(names):
                    archive.writestr(str(name), files[str(name)])
