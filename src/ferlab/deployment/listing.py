"""The output of `ferlab predict` on pictures: lines, records for JSON, and rows of a table.

Unprintable characters of names are escaped in lines and rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferlab.data.preparation.detection import LEAST
from ferlab.data.preparation.detectors import SEARCHED
from ferlab.data.readers.images import picture_format
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.predictor import ReadPicture
from ferlab.paths import InputError

COLUMNS = ("picture", "face", "x", "y", "width", "height", "score", "expression", "uncertain")  # and prob_<expression> for each
CLIP_COLUMNS = ("frame", "time", "smoothed")  # after the probabilities, where a video was among the files (`ferlab.deployment.video_listing`)
CROPPED = 300  # pixels: a picture of at most this side may be one cropped face


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


def named(name: str, text: str) -> str:
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


def picture_records(name: str, picture: ReadPicture) -> Iterator[dict[str, Any]]:
    """Yield what is known of each face, as `ferlab predict --json` prints it; of a picture without one, the same keys with None."""
    for number, face in enumerate(picture.faces):
        score = None if face.score is None else round(face.score, 2)
        known = {"file": name, "face": number, "box": list(face.box), "score": score, "expression": face.likeliest(1)[0]}
        probs = dict(zip(face.expressions, (round(float(prob), 6) for prob in face.probs), strict=True))
        yield {**known, "probabilities": probs, "uncertain": face.uncertain}
    if not picture.faces:
        yield {"file": name, **dict.fromkeys(("face", "box", "score", "expression", "probabilities", "uncertain"))}


def table_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as a row of the table; what is unknown is an empty cell.

    >>> table_row({"file": "a.jpg", "face": 0, "box": [1, 2, 3, 4], "score": 6.75, "uncertain": False, "probabilities": {"sad": 1.0}})["prob_sad"]
    '1.000000'
    """
    row = {"picture": shown(record["file"]), **{key: record.get(key) for key in ("face", "expression", "frame", "smoothed")}}
    row |= dict(zip(("x", "y", "width", "height"), record["box"] or ["", "", "", ""], strict=True))
    row |= {key: "" if (value := record.get(key)) is None else f"{value:.{places}f}" for key, places in (("score", 2), ("time", 4))}
    row["uncertain"] = {True: "yes", False: "no", None: ""}[record["uncertain"]]
    return row | {f"prob_{name}": f"{prob:.6f}" for name, prob in (record["probabilities"] or {}).items()}


def _none_text(picture: ReadPicture) -> str:
    if picture.smallest is None:
        return "no face found; the picture is too narrow to hold one"
    found = f"no face found of {picture.smallest} pixels or more"
    if max(picture.size) <= CROPPED:
        return f"{found}; for a cropped face use --whole"
    return f"{found}; --small searches for smaller ones" if picture.smallest > LEAST and max(picture.size) > SEARCHED else found
