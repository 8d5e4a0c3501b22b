"""FER2013 (35,887 grey faces of 48 x 48) in every form, and FER+ as a benchmark on its images.

    fer2013.csv          emotion,pixels,Usage            Kaggle's own; rows of PrivateTest may be absent
    icml_face_data.csv   emotion, Usage, pixels          the same rows, other order, blanks in the header
    fer2013.tar.gz       holds fer2013/fer2013.csv
    train/ and test/     <expression>/<image>            one folder per expression, as in the Kaggle copy by msambare
    archive.zip, ...     any archive that holds one of these, as Kaggle sends them: fer2013.csv.zip, icml_face_data.csv.zip

Archives are read in place. Where FER+'s fer2013new.csv lies beside or in the archive, its votes are joined. Faces come in the order of the file;
`face_id` counts its rows from 0, so a face has the same id in every form that keeps the order.

A copy in folders has PublicTest and PrivateTest together in `test`, unless there are folders of these names. Where every file name begins with its
usage, as in `PublicTest_123.png`, the usage is taken from it; otherwise train is Training and test is PublicTest. Where the number after the usage is
the face's row in fer2013.csv, faces come in that order with the ids of the csv; otherwise in the order of their paths, which are their ids.

References:
    Goodfellow et al. (2013), Challenges in Representation Learning, arXiv 1307.0414.
    Barsoum et al. (2016), Crowd-Sourced Label Distribution (FER+), arXiv 1608.01041.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from ferlab.data.readers.accounting import say_unread
from ferlab.data.readers.archives import is_archive
from ferlab.data.readers.delivery import Delivery, is_helper
from ferlab.data.readers.fer2013_forms import VOTES_FILE, find_form, find_source, find_votes, refuse_reshuffled
from ferlab.data.readers.ferplus import SOFT, join_votes, label_votes, soft_targets
from ferlab.data.readers.folder_names import match_expression, match_part, near_expression
from ferlab.data.readers.images import decode_picture
from ferlab.data.readers.pixels import parse_pixels
from ferlab.data.readers.tables import face_table, name_row, stream_csv
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS, FER2013_CODES, FER2013_COUNTS, USAGES
from ferlab.paths import InputError, check_plain_file, first_line

SIDE = 48
COLUMNS = ("emotion", "pixels", "Usage")
FOLDERS: dict[str, tuple[str, ...]] = {  # the usages in a folder, by the part that its name states, in order
    "train": ("Training",),
    "test": ("PublicTest", "PrivateTest"),
    "PublicTest": ("PublicTest",),
    "PrivateTest": ("PrivateTest",),
}
NAMED = re.compile(rf"({'|'.join(USAGES)})_(\d{{1,9}})")
OTHERWISE = "or set dataset: class_folders, which reads any size and spelling"
Faces = tuple[np.ndarray, pd.DataFrame, np.ndarray | None]  # images, face table, and each face's row in fer2013.csv where it is known


def read(raw: Path, *, votes: bool | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Read FER2013 from a folder or file.

    Args:
        raw: A folder that holds one of the forms above (or holds it in a folder `fer2013`), or the csv or archive itself.
        votes: Whether to join FER+'s votes: None, where fer2013new.csv lies in the folder or archive; True, it must; False, never. Nothing beside a
            file that `raw` names is read: a change there would not be seen.

    Returns:
        Images uint8 (N, 48, 48), and a face table. With votes, columns `votes_<expression>`, `votes_contempt`, `votes_unknown`, `votes_not_a_face`.

    Raises:
        InputError: Naming the file, the row, the value, what was expected and what to do.
    """
    source = find_source(raw)
    delivery = Delivery(source) if source.is_file() and is_archive(source.name) else None
    if delivery is not None:
        images, faces, rows = _read_archive(delivery)
    elif source.is_dir():
        images, faces, rows = _read_folder(source)
    else:
        check_plain_file(source, expected="FER2013's csv")
        with source.open("rb") as stream:
            images, faces, rows = _read_csv(stream, where=str(source), source_path=source.name)
    if raw / "fer2013" in (source, source.parent):
        faces["source_path"] = "fer2013/" + faces["source_path"]
    found = None if votes is False else find_votes(source, delivery, look_beside=raw.is_dir())
    if found is not None:
        return images, join_votes(faces, found[1], where=found[0], rows=rows, required=votes is True)
    if votes:
        place = f"{raw} is a file, and nothing beside it is read" if raw.is_file() else f"{raw / VOTES_FILE} is missing"
        raise InputError(f"{place}; expected FER+'s {VOTES_FILE} beside FER2013, and their folder in prepare.<set>.raw. See data/raw/README.md.")
    return images, faces


Mode = Literal["majority", "probability", "crossentropy", "multi_target", "argmax"]


def read_ferplus(raw: Path, *, mode: Mode = "majority", test_mode: Mode | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Read FER+ as a benchmark: images of FER2013, eight expressions, labels made of ten annotators' votes (Barsoum et al., 2016).

    Its authors train on labels of any mode, and score PublicTest and PrivateTest by majority. Accuracies by argmax are of other faces and not
    comparable with those by majority.

    Args:
        raw: As for `read`; the csv of votes must be there.
        mode: How Training is labelled, see `ferplus`.
        test_mode: The same for PublicTest and PrivateTest; None: argmax if `mode` is argmax, else majority.

    Returns:
        As `read`, with `soft_<expression>`, soft targets (NaN where a face is excluded), and `fer2013_expression`, FER2013's own label.
    """
    images, faces = read(raw, votes=True)
    modes = {True: mode, False: test_mode or ("argmax" if mode == "argmax" else "majority")}
    fits = (faces["usage"] == "Training").to_numpy()
    soft = pd.DataFrame(np.nan, index=faces.index, columns=[SOFT + name for name in ALL_EXPRESSIONS])
    targets, reasons = np.empty(len(faces), dtype=np.int64), np.empty(len(faces), dtype=object)
    for part in (True, False):
        rows = np.flatnonzero(fits == part)
        _, targets[rows], reasons[rows] = label_votes(faces.iloc[rows], mode=modes[part])
        soft.iloc[rows] = soft_targets(faces.iloc[rows], mode=modes[part])
    labelled = faces.assign(
        face_id=faces["face_id"].str.replace("fer2013/", "ferplus/", n=1),
        source="ferplus",
        fer2013_expression=np.array(EXPRESSIONS)[faces["target"]],
        target=targets,
        excluded=pd.Series(reasons, dtype="str"),
    )
    return images, pd.concat([labelled, soft], axis=1)


def _read_archive(delivery: Delivery) -> Faces:
    form = find_form(delivery.names)
    if form is None:
        expected = "expected fer2013.csv, icml_face_data.csv, or the folders train and test"
        raise InputError(f"{delivery.root} holds no fer2013.csv; {expected}. Get the archive again, or give the csv itself.{say_unread(delivery)}")
    if not form.endswith(".csv"):
        images, faces, rows = _read_faces(delivery, form)
        return images, faces.assign(source_path=form + faces["source_path"]), rows
    try:
        with delivery.open(form) as stream:
            return _read_csv(stream, where=delivery.where(form), source_path=delivery.root.name)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile and the decompressors raise a dozen types for bytes that are wrong
        raise InputError(f"{delivery.where(form)} is cut or damaged ({first_line(error)}). Get the archive again.") from None


# A csv


def _read_csv(stream: BinaryIO, *, where: str, source_path: str) -> Faces:
    names, padded = _read_header(stream, where)
    images, codes, usages, row = [], [], [], 1
    for batch in stream_csv(stream, names, where, kind=pa.binary(), options={"strings_can_be_null": False}):
        codes.append(_find(batch["emotion"], [str(code) for code in FER2013_CODES], where=where, column="emotion", first_row=row))
        usages.append(_find(batch["Usage"], list(USAGES), where=where, column="Usage", first_row=row))
        texts = pc.ascii_ltrim_whitespace(_text(batch["pixels"])) if padded else batch["pixels"]
        images.append(parse_pixels(texts, per_face=SIDE * SIDE, where=where, first_row=row))
        row += len(batch)
    if row == 1:
        raise InputError(f"{where} has a header and no rows; expected one row per face. Get the file again.")
    labels, usage = np.array(list(FER2013_CODES.values()))[np.concatenate(codes)].tolist(), np.array(USAGES)[np.concatenate(usages)]
    faces = face_table("fer2013", [source_path] * len(labels), labels, usage=usage, ids=[f"{number:07d}" for number in range(len(labels))])
    return np.concatenate(images).reshape(-1, SIDE, SIDE), faces, np.arange(len(faces))


def _read_header(stream: BinaryIO, where: str) -> tuple[list[str], bool]:
    """Return the columns' names without blanks, and whether they had some."""
    line = stream.readline(1 << 12)
    if not line.strip():
        raise InputError(f"{where} is empty; expected a header {','.join(COLUMNS)} and one row per face. Get the file again.")
    header = line.decode("utf-8-sig", errors="backslashreplace").rstrip("\r\n")
    written = [name.strip('"') for name in header.split(",")]
    names = [name.strip() for name in written]
    if sorted(names) != sorted(COLUMNS):
        raise InputError(f"{where} has the columns {header[:80]!r}; expected {', '.join(COLUMNS)}, in any order. Give Kaggle's own file.")
    return names, names != written


def _find(values: pa.Array, known: list[str], *, where: str, column: str, first_row: int) -> np.ndarray:
    """Return the place of every value in `known`."""
    places = pc.index_in(pc.ascii_trim_whitespace(_text(values)), value_set=pa.array(known, pa.large_string()))
    if places.null_count:
        row = places.is_null().to_pylist().index(True)
        value = values[row].as_py().decode("utf-8", errors="backslashreplace")
        place = name_row(where, first_row + row)
        raise InputError(f"{place}: {column} is {value[:40]!r}; expected one of {', '.join(known)}. Mend or remove the row.")
    return places.to_numpy()


def _text(values: pa.Array) -> pa.Array:
    # Keep: bytes that are no text must end as an error about their row, not about the encoding of the file.
    return pc.cast(values, pa.large_binary()).view(pa.large_string())


# Folders train and test


def _read_folder(folder: Path) -> Faces:
    parts = sorted(path.name for path in folder.iterdir() if path.is_dir() and match_part(path.name))
    delivery = Delivery(folder, only=parts)
    _order_parts(parts, str(folder), delivery.names)
    for part in parts:
        for path in (folder / part, *sorted(path for path in (folder / part).rglob("*") if path.is_dir())):
            helper = any(map(is_helper, path.relative_to(folder).parts))
            if not helper and all(is_helper(child.name) for child in path.iterdir()):
                raise InputError(f"{path} is empty; expected images in the folders {', '.join(EXPRESSIONS)}. Remove it or get the dataset again.")
    return _read_faces(delivery, "")


def _read_faces(delivery: Delivery, below: str) -> Faces:
    """Read the images in <part>/<expression>/ below a folder of a delivery, "" or with a slash at its end."""
    inside = [name.removeprefix(below) for name in delivery.names if name.startswith(below)]
    found = sorted({name.split("/")[0] for name in inside if "/" in name and match_part(name.split("/")[0])})
    parts = _order_parts(found, delivery.where(below).rstrip("/"), inside)
    names = [name for part in parts for name in inside if name.startswith(f"{part}/")]
    paths = [_check_path(name, delivery.where(below + name)) for name in names]
    named = [NAMED.fullmatch(file.rpartition(".")[0]) for *_, file in paths]
    usages = [FOLDERS[match_part(part) or ""][0] for part, *_ in paths]
    if all(named):
        usages = [_check_usage(match[1], name, delivery.where(below + name)) for match, name in zip(named, names) if match]
    rows = _csv_rows([int(match[2]) for match in named if match], usages)
    ids = [name.rsplit(".", 1)[0] for name in names] if rows is None else [f"{row:07d}" for row in rows]
    delivery.index(zip(ids, (below + name for name in names), strict=True))
    order = np.arange(len(names)) if rows is None else np.argsort(rows)
    images = np.stack([decode_face(delivery.read(below + names[place]), where=delivery.where(below + names[place])) for place in order])
    faces = face_table("fer2013", names, [expression for _, expression, _ in paths], usage=usages, ids=ids)
    return images, faces.iloc[order].reset_index(drop=True), None if rows is None else rows[order]


def decode_face(data: bytes, *, where: str) -> np.ndarray:
    """Decode one face to uint8 (48, 48) grey.

    Raises:
        InputError: If it is of another size, or as `decode_picture`.
    """
    picture = decode_picture(data, where=where)
    height, width = picture.shape[:2]
    if (height, width) != (SIDE, SIDE):
        raise InputError(f"{where} is {width} x {height}; expected a face of {SIDE} x {SIDE}. Remove it or get the folder again, {OTHERWISE}.")
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


def _order_parts(parts: Sequence[str], where: str, names: Sequence[str]) -> list[str]:
    """Return the folders of the parts in order: train, and test or the two that it is made of."""
    refuse_reshuffled(names, where=where)
    by_part: dict[str, list[str]] = {}
    for name in parts:
        by_part.setdefault(match_part(name) or "", []).append(name)
    if twice := next((names for names in by_part.values() if len(names) > 1), None):
        raise InputError(f"{where} holds both {twice[0]!r} and {twice[1]!r}; expected one folder for each part. Remove or rename one.")
    others = ", ".join(repr(name) for part, names in by_part.items() if part not in FOLDERS for name in names)
    needed = ("train", "test") if "PublicTest" not in by_part else ("train",)
    missing = next((part for part in needed if part not in by_part), None)
    if missing or others:
        lies = f" ({others} lies there, which is no part of FER2013)" if others else ""
        found = f"{where}/{missing} is missing{lies}" if missing else f"{where} holds {others}, which is no part of FER2013"
        raise InputError(f"{found}; expected the folders train and test, each with one folder per expression. Get the dataset again, {OTHERWISE}.")
    return [by_part[part][0] for part in FOLDERS if part in by_part]


def _check_path(name: str, where: str) -> tuple[str, str, str]:
    """Return part, expression and file of an image's path."""
    part, expression, *rest = name.split("/")
    if not rest or expression not in EXPRESSIONS:
        near = match_expression(expression) or near_expression(expression)
        hint = f" (did you mean {near!r}?)" if near else ""
        at = where.removesuffix("".join(f"/{folder}" for folder in rest))
        raise InputError(f"{at} is no expression's folder{hint}; expected folders {', '.join(EXPRESSIONS)}. Rename or remove it, {OTHERWISE}.")
    if len(rest) > 1:
        raise InputError(f"{where} lies too deep; expected {part}/<expression>/<image>. Move it, {OTHERWISE}.")
    return part, expression, rest[0]


def _check_usage(usage: str, name: str, where: str) -> str:
    part = name.split("/")[0]
    allowed = FOLDERS[match_part(part) or ""]
    if usage not in allowed:
        raise InputError(f"{where} is named {usage} but lies in {part}; expected {' or '.join(allowed)}. Move it or get the dataset again.")
    return usage


def _csv_rows(numbers: list[int], usages: list[str]) -> np.ndarray | None:
    """Return the numbers as rows of fer2013.csv, if they can be: each once, none past the end, usages one after the other."""
    if len(numbers) != len(usages) or len(set(numbers)) != len(numbers):
        return None
    rows = np.array(numbers)
    if rows.max() >= sum(sum(counts) for counts in FER2013_COUNTS.values()):
        return None
    place = np.array([USAGES.index(usage) for usage in usages])
    return rows if (np.diff(place[np.argsort(rows)]) >= 0).all() else None
