"""What `ferlab predict` prints and writes: a line for each face, and the same as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ferlab.deployment.predictor import Predictor, ReadFace
from ferlab.paths import InputError, write_whole

NONE_FOUND = "no face found; --whole reads the whole picture as one face"


def predict_pictures(
    pictures: Sequence[str], *, model: str | None = None, top: int = 3, table: str | None = None, whole: bool = False
) -> list[str]:
    """Print one line for each face of some pictures; a picture without a face has a line that says so.

    Args:
        pictures: Paths.
        model: The ONNX file; None is the net that ships.
        top: Expressions on a line, the likeliest first.
        table: A .csv to write as well: a row for each face, with the probabilities of all expressions.
        whole: Whether each picture is a face already.

    Returns:
        One line for each picture that could not be read; the others are printed and in the table.

    Raises:
        InputError: If the net cannot be opened, `top` is below 1, or the table's folder is missing.
    """
    if top < 1:
        raise InputError(f"--top {top}: expected 1 or more")
    if table is not None and not Path(table).absolute().parent.is_dir():
        raise InputError(f"--csv {table}: its folder is missing; make it first")
    predictor = Predictor.load(model)
    for note in predictor.notes:
        print(f"ferlab: {model or 'the model that ships'}: {note}", file=sys.stderr)
    read: list[tuple[str, list[ReadFace]]] = []
    unread = []
    for name in pictures:
        try:
            read.append((name, predictor.predict_image(name, whole=whole)))
        except (InputError, OSError) as error:
            unread.append(str(error))
            continue
        print("\n".join(face_lines(*read[-1], top=top)), flush=True)
    if table is not None:
        write_table(Path(table), read, expressions=predictor.expressions)
    return unread


def face_lines(name: str, faces: Sequence[ReadFace], *, top: int) -> list[str]:
    """Return a line for each face: the picture, the box (x, y, width x height), the likeliest expressions with their probabilities."""
    return [f"{name}: {_box_text(face)}: {_likeliest_text(face, top)}" for face in faces] or [f"{name}: {NONE_FOUND}"]


def write_table(path: Path, read: Iterable[tuple[str, Sequence[ReadFace]]], *, expressions: Sequence[str]) -> None:
    """Write a row for each face; the file appears whole or not at all.

    Args:
        path: The .csv.
        read: Pictures and their faces.
        expressions: The K names, the order of the probabilities.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["picture", "face", "x", "y", "width", "height", "expression", *(f"prob_{name}" for name in expressions)])
    for name, faces in read:
        for number, face in enumerate(faces):
            rows.writerow([name, number, *face.box, face.likeliest(1)[0], *(f"{prob:.6f}" for prob in face.probs)])
    write_whole(path, text.getvalue().encode())


def _box_text(face: ReadFace) -> str:
    x, y, width, height = face.box
    return f"face at {x}, {y}, {width} x {height}"


def _likeliest_text(face: ReadFace, top: int) -> str:
    probs = dict(zip(face.expressions, face.probs, strict=True))
    return ", ".join(f"{name} {100 * probs[name]:.1f} %" for name in face.likeliest(top))
