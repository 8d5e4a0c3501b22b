"""A small folder of captured faces with its consent record, in exactly the layout of `ferlab.data.readers.captured`, with control faces in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ferlab.control import read as read_control_faces
from ferlab.expressions import EXPRESSIONS

CONSENT = "person,consent,date,scope,signed_by,note,withdrawn"
PEOPLE = ("anna", "ben", "çelik", "dora")


def write_captured(root: Path, *, per_expression: int = 1, people: tuple[str, ...] = PEOPLE, table: bool = True, size: int = 48) -> list[str]:
    """Write <person>/<expression>/<number>.png for everybody, consent.csv, and if asked for captures.csv; return the names of the pictures."""
    faces = len(people) * len(EXPRESSIONS) * per_expression
    images, drawn = read_control_faces(faces=faces, subjects=len(people), size=size)
    left = {place: list(np.flatnonzero(drawn["target"] == place)) for place in range(len(EXPRESSIONS))}
    names = []
    for number in range(faces):
        person, place = people[number % len(people)], number // len(people) % len(EXPRESSIONS)
        rows = left[place] or [number]
        name = f"{person}/{EXPRESSIONS[place]}/{number:03d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[rows.pop(0)]).save(root / name)
        names.append(name)
    write_consent(root, [f"{person},yes,2024-05-31,research; publication,{person},," for person in people])
    if table:
        rows = [f"{name},{name.split('/')[0]},{name.split('/')[1]},2024-06-01T12:00:00," for name in names]
        write_captures(root, rows)
    return sorted(names)


def write_consent(root: Path, rows: list[str]) -> None:
    (root / "consent.csv").write_text("\n".join([CONSENT, *rows]) + "\n")


def write_captures(root: Path, rows: list[str], *, header: str = "file,person,expression,time,corrected_from") -> None:
    (root / "captures.csv").write_text("\n".join([header, *rows]) + "\n")
