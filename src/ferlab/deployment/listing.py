"""The output of `ferlab predict`: a line for each face, and the same as CSV. Unprintable characters of names are escaped, also in the table."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ferlab.data.preparation.detection import LEAST
from ferlab.data.preparation.detectors import SEARCHED
from ferlab.data.readers.images import picture_format
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.predictor import Predictor, ReadFace, ReadPicture
from ferlab.paths import InputError, write_whole

COLUMNS = ("picture", "face", "x", "y", "width", "height", "score", "expression", "uncertain")  # and prob_<expression> for each
CLIP_COLUMNS = ("frame", "time", "smoothed")  # after the probabilities, where a video was among the files (`ferlab.deployment.video_listing`)
CROPPED = 300  # pixels: a picture of at most this side may be one cropped face


def predict_pictures(
    pictures: Sequence[str],
    *,
    model: str | None = None,
    top: int = 3,
    table: str | None = None,
    whole: bool = False,
    small: bool = False,
    risk: float | None = None,
) -> list[str]:
    """Print one line for each face of some pictures, or a line that none was found.

    Args:
        pictures: Paths.
        model: The ONNX file; None for the shipped model.
        top: Expressions on a line, the most probable first.
        table: A .csv to write as well: a row for each face, with the probabilities of all expressions.
        whole: Whether each picture is one cropped face.
        small: Whether to search large pictures for small faces too.
        risk: Error rate among accepted faces, one of the model's card; None for the one that it states.

    Returns:
        One line for each picture that could not be read.

    Raises:
        InputError: If the model cannot be opened or has no threshold for that risk, `top` is below 1, or the table may not be written there;
            nothing is read then.
    """
    if top < 1:
        raise InputError(f"--top {top}: expected 1 or more")
    target = None if table is None else check_table(table, pictures)
    predictor = load_at_risk(model, risk)
    for note in predictor.notes:
        print(f"ferlab: {model or 'the shipped model'}: {note}", file=sys.stderr)
    read: list[tuple[str, ReadPicture]] = []
    unread = []
    for name in pictures:
        try:
            read.append((name, predictor.read_image(name, whole=whole, small=small)))
        except InputError as error:
            unread.append(_named(name, str(error)))
            continue
        except Exception as error:  # noqa: BLE001 - whatever a library raises for one picture, the others are read and the table is written
            unread.append(_named(name, f"cannot be read ({type(error).__name__}: {error})"))
            continue
        if not print_lines(face_lines(*read[-1], top=top)) and target is None:
            break
    if reduced := [found.smallest for _, found in read if found.faces and found.smallest and found.smallest > LEAST]:
        note = f"faces below {max(reduced)} pixels were not searched for; --small searches for smaller ones"
        print(f"ferlab: {len(reduced)} of the pictures are large: {note}", file=sys.stderr)
    faces = [face for _, picture in read for face in picture.faces]
    for note in confidence_notes(predictor.confidence, [face.likeliest(1)[0] for face in faces], uncertain=sum(face.uncertain for face in faces)):
        print(f"ferlab: {note}", file=sys.stderr)
    if target is not None:
        write_table(target, [(name, picture.faces) for name, picture in read], expressions=predictor.expressions)
    return unread


def load_at_risk(model: str | None, risk: float | None) -> Predictor:
    """Open a model that abstains by the threshold of another risk of its card; None for the one that it states."""
    predictor = Predictor.load(model)
    return predictor if risk is None else replace(predictor, confidence=predictor.confidence.at_risk(risk))


def print_lines(lines: Sequence[str]) -> bool:
    """Print lines and return whether anyone still reads them: `| head` closes the pipe, and the table is written all the same."""
    try:
        print("\n".join(lines), flush=True)
        return True
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False


def check_table(table: str, pictures: Sequence[str]) -> Path:
    """Return the path of a table: a new file, or one that this command wrote; a link is followed.

    Raises:
        InputError: If the name is empty or does not end in .csv, or the file there is a picture, another program's, or no plain file.
    """
    name, path = shown(table), Path(table)
    if not table.strip():
        raise InputError(f"--csv {table!r}: expected the name of a .csv")
    target = Path(os.path.realpath(path))
    if path.suffix.lower() != ".csv" or target.suffix.lower() != ".csv":
        what = "is a picture" if _head(target, 32) and picture_format(_head(target, 32)) else "does not end in .csv"
        raise InputError(f"--csv {name} {what}; expected the name of a .csv. Is the name of the table missing?")
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
    """Return whether a file begins as a table of this command, also of one before `uncertain` was a column."""
    header = head.split(b"\n", 1)[0].decode(errors="replace").split(",")
    own = COLUMNS if "uncertain" in header else COLUMNS[:-1]
    rest = header[len(own) :]
    rest = rest[: -len(CLIP_COLUMNS)] if tuple(rest[-len(CLIP_COLUMNS) :]) == CLIP_COLUMNS else rest
    return tuple(header[: len(own)]) == own and bool(rest) and all(column.startswith("prob_") for column in rest)


def shown(name: str) -> str:
    """Return a name in one line, with what is not printable escaped as in Python.

    >>> shown("a\\nb\\udce9")
    'a\\\\nb\\\\udce9'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def _named(name: str, text: str) -> str:
    """Return an error's text in one line that begins with the picture's name."""
    line = shown(" ".join(text.split()))
    return line if shown(name) in line else f"{shown(name)}: {line}"


def face_lines(name: str, picture: ReadPicture, *, top: int) -> list[str]:
    """Return a line for each face: the picture, the box (x, y, width x height), its score, "uncertain", and the most probable expressions."""
    lines = []
    for face in picture.faces:
        x, y, width, height = face.box
        score = "" if face.score is None else f" (score {face.score:.1f})"
        probs = dict(zip(face.expressions, face.probs, strict=True))
        likeliest = ", ".join(f"{expression} {100 * probs[expression]:.1f} %" for expression in face.likeliest(top))
        lines.append(f"{shown(name)}: face at {x}, {y}, {width} x {height}{score}: {'uncertain: ' if face.uncertain else ''}{likeliest}")
    return lines or [f"{shown(name)}: {_none_text(picture)}"]


def confidence_notes(confidence: Confidence, predicted: Sequence[str], *, uncertain: int) -> list[str]:
    """Return what the model's card states of the predictions of some faces: how often each was right on test, and what "uncertain" means.

    Args:
        confidence: The model's.
        predicted: The expression of each face.
        uncertain: How many of these faces are marked uncertain.
    """
    known = {name: found for name in dict.fromkeys(predicted) if (found := confidence.precision_of(name)) and found.n}
    rates = [f"{name} {100 * found.right / found.n:.1f} % of {found.n:,}" for name, found in known.items()]
    notes = [f"right on test faces ({confidence.measured_on}) when predicted: {', '.join(rates)}"] if rates else []
    if rates and confidence.threshold is None:
        notes.append(confidence.calibration_sentence() if confidence.temperature is None else confidence.abstention_sentence())
    if uncertain and confidence.threshold is not None:
        below = f"confidence below {100 * confidence.threshold:.1f} %, above which at most {100 * (confidence.risk or 0):g} % of such faces are wrong"
        notes.append(f"uncertain ({uncertain:,} of {len(predicted):,} faces): {below}; --risk states another rate")
    return notes


def write_table(path: Path, read: Iterable[tuple[str, Sequence[ReadFace]]], *, expressions: Sequence[str]) -> None:
    """Write a row for each face, and one with empty cells for a picture without; the file is written whole or not at all.

    Args:
        path: The .csv.
        read: Pictures and their faces.
        expressions: The K names, in the order of the probabilities.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *(f"prob_{name}" for name in expressions)])
    for name, faces in read:
        for number, face in enumerate(faces):
            score = "" if face.score is None else f"{face.score:.2f}"
            probs = [f"{prob:.6f}" for prob in face.probs]
            rows.writerow([shown(name), number, *face.box, score, face.likeliest(1)[0], "yes" if face.uncertain else "no", *probs])
        if not faces:
            rows.writerow([shown(name), *[""] * (len(COLUMNS) - 1 + len(expressions))])
    write_whole(path, text.getvalue().encode())


def _none_text(picture: ReadPicture) -> str:
    if picture.smallest is None:
        return "no face found; the picture is too narrow to hold one"
    found = f"no face found of {picture.smallest} pixels or more"
    if max(picture.size) <= CROPPED:
        return f"{found}; for a cropped face use --whole"
    return f"{found}; --small searches for smaller ones" if picture.smallest > LEAST and max(picture.size) > SEARCHED else found
