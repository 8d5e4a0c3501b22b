"""What `ferlab predict` prints and writes: a line for each face, and the same as CSV.

A name may hold anything that a file system allows. It is shown in one line, what cannot be printed escaped, in the terminal and in the table.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ferlab.data.preparation.detection import LEAST
from ferlab.data.preparation.detectors import SEARCHED
from ferlab.data.readers.images import picture_format
from ferlab.deployment.predictor import Predictor, ReadFace, ReadPicture
from ferlab.paths import InputError, write_whole

COLUMNS = ("picture", "face", "x", "y", "width", "height", "score", "expression")  # and prob_<expression> for each
CROPPED = 300  # pixels: a picture of at most this side may be one face, cut out; a larger one is a scene


def predict_pictures(
    pictures: Sequence[str], *, model: str | None = None, top: int = 3, table: str | None = None, whole: bool = False, small: bool = False
) -> list[str]:
    """Print one line for each face of some pictures; a picture without a face has a line that says so.

    Args:
        pictures: Paths.
        model: The ONNX file; None is the model that ships.
        top: Expressions on a line, the likeliest first.
        table: A .csv to write as well: a row for each face, with the probabilities of all expressions.
        whole: Whether each picture is a face already.
        small: Whether to search large pictures for small faces too.

    Returns:
        One line for each picture that could not be read; the others are printed and in the table.

    Raises:
        InputError: If the model cannot be opened, `top` is below 1, or the table may not be written there; nothing has been read then.
    """
    if top < 1:
        raise InputError(f"--top {top}: expected 1 or more")
    target = None if table is None else check_table(table, pictures)
    predictor = Predictor.load(model)
    for note in predictor.notes:
        print(f"ferlab: {model or 'the model that ships'}: {note}", file=sys.stderr)
    read: list[tuple[str, ReadPicture]] = []
    unread = []
    for name in pictures:
        try:
            read.append((name, predictor.read_image(name, whole=whole, small=small)))
        except InputError as error:
            unread.append(_naming(name, str(error)))
            continue
        except Exception as error:  # noqa: BLE001 - whatever a library makes of one picture, the others are read and the table is written
            unread.append(_naming(name, f"cannot be read ({type(error).__name__}: {error})"))
            continue
        if not _print_lines(face_lines(*read[-1], top=top)) and target is None:
            break
    if note := _size_note(read):
        print(note, file=sys.stderr)
    if target is not None:
        write_table(target, [(name, picture.faces) for name, picture in read], expressions=predictor.expressions)
    return unread


def _print_lines(lines: Sequence[str]) -> bool:
    """Print lines; whether anyone still reads them: `| head` goes away after ten, and the table is written all the same."""
    try:
        print("\n".join(lines), flush=True)
        return True
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False


def check_table(table: str, pictures: Sequence[str]) -> Path:
    """Return where a table is to be written: a new file, or one that this command wrote; a link is followed.

    Raises:
        InputError: If the name is empty or ends otherwise than in .csv, or what is there is a picture, another program's, or no plain file.
    """
    name, path = shown(table), Path(table)
    if not table.strip():
        raise InputError(f"--csv {table!r}: expected the name of a .csv")
    target = Path(os.path.realpath(path))
    if path.suffix.lower() != ".csv" or target.suffix.lower() != ".csv":
        what = "is a picture" if _head(target, 32) and picture_format(_head(target, 32)) else "does not end in .csv"
        raise InputError(f"--csv {name} {what}; expected the name of a .csv. Was the name of the table left out?")
    if any(os.path.realpath(picture) == str(target) for picture in pictures):
        raise InputError(f"--csv {name} is one of the pictures; expected the name of a .csv of its own")
    if not target.parent.is_dir():
        raise InputError(f"--csv {name}: its folder is missing; make it first")
    if target.exists():
        if not target.is_file():
            raise InputError(f"--csv {name} is {'a folder' if target.is_dir() else 'no plain file'}; expected a .csv")
        if not _is_ours(_head(target, 10_000)):
            raise InputError(f"--csv {name} exists and is no table that ferlab predict wrote; name another .csv, or move that one away")
    return target


def _head(path: Path, count: int) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(count)


def _is_ours(head: bytes) -> bool:
    """Whether a file begins as a table of this command does, today's or one of before boxes had scores."""
    header = head.split(b"\n", 1)[0].decode(errors="replace").split(",")
    for columns in (COLUMNS, tuple(column for column in COLUMNS if column != "score")):
        rest = header[len(columns) :]
        if tuple(header[: len(columns)]) == columns and rest and all(column.startswith("prob_") for column in rest):
            return True
    return False


def shown(name: str) -> str:
    """Return a name in one line that any terminal and file takes: what is not printable is escaped as Python writes it.

    >>> shown("a\\nb\\udce9")
    'a\\\\nb\\\\udce9'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def _naming(name: str, text: str) -> str:
    """Return an error's text in one line that begins with the picture it is about."""
    line = shown(" ".join(text.split()))
    return line if shown(name) in line else f"{shown(name)}: {line}"


def face_lines(name: str, picture: ReadPicture, *, top: int) -> list[str]:
    """Return a line for each face: the picture, the box (x, y, width x height) and its score, the likeliest expressions with their probabilities."""
    if not picture.faces:
        return [f"{shown(name)}: {_none_text(picture)}"]
    return [f"{shown(name)}: {_box_text(face)}: {_likeliest_text(face, top)}" for face in picture.faces]


def write_table(path: Path, read: Iterable[tuple[str, Sequence[ReadFace]]], *, expressions: Sequence[str]) -> None:
    """Write a row for each face, and one with empty cells for a picture without; the file appears whole or not at all.

    Args:
        path: The .csv.
        read: Pictures and their faces.
        expressions: The K names, the order of the probabilities.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *(f"prob_{name}" for name in expressions)])
    for name, faces in read:
        for number, face in enumerate(faces):
            score = "" if face.score is None else f"{face.score:.2f}"
            rows.writerow([shown(name), number, *face.box, score, face.likeliest(1)[0], *(f"{prob:.6f}" for prob in face.probs)])
        if not faces:
            rows.writerow([shown(name), *[""] * (len(COLUMNS) - 1 + len(expressions))])
    write_whole(path, text.getvalue().encode())


def _none_text(picture: ReadPicture) -> str:
    if picture.smallest is None:
        return "no face found; the picture is too narrow to hold one"
    found = f"no face found of {picture.smallest} pixels or more"
    if max(picture.size) <= CROPPED:
        return f"{found}; if it is a face, cut out: --whole"
    return f"{found}; --small looks for smaller ones" if picture.smallest > LEAST and max(picture.size) > SEARCHED else found


def _size_note(read: Sequence[tuple[str, ReadPicture]]) -> str:
    """Say down to which size faces were looked for, if that was not as small as in a small picture; "" if it was."""
    reduced = [picture.smallest for _, picture in read if picture.faces and picture.smallest and picture.smallest > LEAST]
    if not reduced:
        return ""
    return f"ferlab: {len(reduced)} of the pictures are large: faces below {max(reduced)} pixels were not looked for; --small looks for smaller ones"


def _box_text(face: ReadFace) -> str:
    x, y, width, height = face.box
    return f"face at {x}, {y}, {width} x {height}{'' if face.score is None else f' (score {face.score:.1f})'}"


def _likeliest_text(face: ReadFace, top: int) -> str:
    probs = dict(zip(face.expressions, face.probs, strict=True))
    return ", ".join(f"{name} {100 * probs[name]:.1f} %" for name in face.likeliest(top))
