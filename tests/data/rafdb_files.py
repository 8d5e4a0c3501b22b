"""A small RAF-DB tree for tests, in exactly the layout of its basic part, with control faces in it."""

from __future__ import annotations

import numpy as np
from affectnet_files import draw_faces, jpeg, write_files, write_zip

__all__ = ["LIST", "draw_faces", "jpeg", "landmarks", "rafdb_tree", "write_files", "write_zip"]

LIST = "basic/EmoLabel/list_patition_label.txt"


def landmarks(row: int) -> np.ndarray:
    return (np.arange(10) * 4 + row + 0.5).astype(np.float32)


def stems(count: int, *, test: int) -> list[str]:
    border = count - test
    return [f"train_{row + 1:05d}" if row < border else f"test_{row - border + 1:04d}" for row in range(count)]


def rafdb_tree(faces: np.ndarray, codes: list[int], *, test: int, annotations: bool = True) -> dict[str, bytes]:
    """Files by name; gender, race and age group of row r are r mod 3, r mod 3 and r mod 5."""
    files = {}
    names = stems(len(faces), test=test)
    for row, (stem, face) in enumerate(zip(names, faces)):
        files[f"basic/Image/aligned/{stem}_aligned.jpg"] = jpeg(face)
        files[f"basic/Image/original/{stem}.jpg"] = jpeg(np.pad(face, ((5, 6), (7, 8), (0, 0))))
        if annotations:
            points = [f"{x:.6f}\t{y:.6f}" for x, y in landmarks(row).reshape(5, 2)]
            files[f"basic/Annotation/manual/{stem}_manu_attri.txt"] = "\n".join([*points, str(row % 3), str(row % 3), str(row % 5), ""]).encode()
            files[f"basic/Annotation/boundingbox/{stem}_boundingbox.txt"] = b"7.0 5.0 55.5 53.0 \n"
            files[f"basic/Annotation/auto/{stem}_auto_attri.txt"] = "\n".join(f"{x}\t{x}" for x in range(37)).encode()
    files[LIST] = "".join(f"{stem}.jpg {code}\n" for stem, code in zip(names, codes)).encode()
    return files
