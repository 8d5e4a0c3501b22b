"""Small AffectNet trees for tests, in both layouts it was delivered in, with control faces in them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ferlab.control import read

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
MANUAL = "Manually_Annotated/Manually_Annotated_Images"


def draw_faces(count: int, *, size: int = 48) -> np.ndarray:
    """Control faces as RGB, uint8 (N, S, S, 3)."""
    images, _ = read(faces=count, subjects=count, size=size)
    return np.repeat(images[..., None], 3, axis=3)


def jpeg(face: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG")
    return buffer.getvalue()


def landmarks(row: int) -> np.ndarray:
    return (np.arange(136) + row + 0.25).astype(np.float32)


def csv_row(key: str, *, code: int, valence: float | str, arousal: float | str, row: int = 0, box: str = "3,4,30,31") -> str:
    return f"{key},{box},{';'.join(f'{number:.2f}' for number in landmarks(row))},{code},{valence},{arousal}"


def csv_tree(faces: np.ndarray, codes: list[int], *, validation: int, lists: str = "Manually_Annotated_file_lists/") -> dict[str, bytes]:
    """Files by name: the last `validation` faces are the validation part, whose csv has no header row, as published."""
    keys = [f"{row % 3 + 1}/{row:056x}.jpg" for row in range(len(faces))]
    rows = [
        csv_row(key, code=code, valence=-2 if code > 7 else round(row / 10 - 0.5, 6), arousal=-2 if code > 7 else 0.25, row=row)
        for row, (key, code) in enumerate(zip(keys, codes))
    ]
    border = len(faces) - validation
    files = {f"{MANUAL}/{key}": jpeg(face) for key, face in zip(keys, faces)}
    files[f"{lists}training.csv"] = "\n".join([HEADER, *rows[:border], ""]).encode()
    files[f"{lists}validation.csv"] = "\n".join([*rows[border:], ""]).encode()
    return files


def folder_tree(faces: np.ndarray, codes: list[int], *, validation: int, text: bool = True) -> dict[str, bytes]:
    """Files by name: annotations as text ('3'), as delivered, or as numbers; the numbers N of pictures have gaps."""
    files = {}
    for row, (face, code) in enumerate(zip(faces, codes)):
        part = "val_set" if row >= len(faces) - validation else "train_set"
        number = 7 * row
        files[f"{part}/images/{number}.jpg"] = jpeg(face)
        values = {"exp": code, "val": round(row / 10 - 0.5, 6), "aro": 0.25}
        for kind, value in values.items():
            files[f"{part}/annotations/{number}_{kind}.npy"] = npy(np.array(str(value) if text else value))
        files[f"{part}/annotations/{number}_lnd.npy"] = npy(landmarks(row).astype(np.float64))
    return files


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
