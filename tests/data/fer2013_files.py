"""Small FER2013 files for tests: the same faces as csv, as archive, as folders."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from ferlab.expressions import EXPRESSIONS

HEADER = "emotion,pixels,Usage"
VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def draw_faces(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def pixel_text(face: np.ndarray) -> str:
    return " ".join(map(str, face.ravel().tolist()))


def csv_text(faces: np.ndarray, codes: list[int], usages: list[str]) -> str:
    rows = [f"{code},{pixel_text(face)},{usage}" for face, code, usage in zip(faces, codes, usages)]
    return "\n".join([HEADER, *rows]) + "\n"


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_folders(root: Path, faces: np.ndarray, codes: list[int], names: list[str]) -> None:
    """`names` are `train/PublicTest_3.png`: the expression's folder is put in between."""
    for face, code, name in zip(faces, codes, names):
        part, file = name.split("/")
        path = root / part / EXPRESSIONS[code] / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(path)


def votes_text(usages: list[str], votes: list[list[int]] | None = None) -> str:
    votes = votes or [[10, 0, 0, 0, 0, 0, 0, 0, 0, 0]] * len(usages)
    rows = [f"{usage},fer{row:07d}.png,{','.join(map(str, vote))}" for row, (usage, vote) in enumerate(zip(usages, votes))]
    return "\n".join([VOTES_HEADER, *rows]) + "\n"
