"""A small JAFFE delivery for tests: control faces as 256 x 256 TIFFs, and README_FIRST.txt as it is laid out."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ferlab.control import read

README = """\
The Japanese Female Facial Expression (JAFFE) Database

The database contains 213 images of 7 facial expressions. Each image has been rated on
6 emotion adjectives by 60 subjects.

Semantic Ratings Data
5 - high, 1 - low

{table}

Semantic Ratings Data (Fear Excluded)

#   HAP  SAD  SUR  ANG  DIS  PIC
---------------------------------
1 5.00 1.00 1.00 1.00 1.00 KM-NE1
2 5.00 1.00 1.00 1.00 1.00 KM-HA1
"""
HEADER = "# HAP SAD SUR ANG DIS FEA PIC"
RULE = "-" * 60


@cache
def drawn() -> np.ndarray:
    return read(faces=4, subjects=2, size=64)[0].repeat(4, axis=1).repeat(4, axis=2)


def picture(serial: int) -> np.ndarray:
    """A control face of 256 x 256 that tells its serial number in the first pixel."""
    face = drawn()[serial % 4].copy()
    face[0, 0] = serial
    return face


def tiff(serial: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(serial)).save(file, "TIFF")
    return file.getvalue()


def readme_text(rows: list[str], *, header: str = HEADER) -> str:
    return README.format(table="\n".join([header, RULE, *rows]))


def jaffe_files(names: list[str], rows: list[str] | None) -> dict[str, bytes]:
    """The files of a delivery: `names` are KA.AN1.39, `rows` those of the ratings (None: no file of them)."""
    files = {f"jaffe/{name}.tiff": tiff(int(name.rsplit(".", 1)[1])) for name in names}
    return files | ({} if rows is None else {"jaffe/README_FIRST.txt": readme_text(rows).encode()})


def write_files(root: Path, files: dict[str, bytes], *, seed: int = 0) -> None:
    """Write files in a random order, so that no order of the file system is the right one by luck."""
    for name in np.random.default_rng(seed).permutation(sorted(files)):
        path = root / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[str(name)])
