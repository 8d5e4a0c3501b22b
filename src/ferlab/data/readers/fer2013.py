"""FER2013 (35,887 grey faces of 48 x 48): every form people have it in.

    fer2013.csv          emotion,pixels,Usage            Kaggle's own; rows of PrivateTest may be absent
    icml_face_data.csv   emotion, Usage, pixels          the same rows, other order, blanks in the header
    fer2013.tar.gz       holds fer2013/fer2013.csv
    train/ and test/     <expression>/<image>            one folder per expression, see `face_folders`
    archive.zip, ...     any archive that holds one of these, as Kaggle sends them: fer2013.csv.zip, icml_face_data.csv.zip

Archives are read in place. Where FER+'s fer2013new.csv lies beside or in the archive, its votes are joined. Faces come in the order of the file;
`face_id` counts its rows from 0, so a face has the same id in every form that keeps the order.

References:
    Goodfellow et al. (2013), Challenges in Representation Learning, arXiv 1307.0414.
    Barsoum et al. (2016), Crowd-Sourced Label Distribution (FER+), arXiv 1608.01041.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ferlab.data.readers.accounting import say_unread
from ferlab.data.readers.archives import first_line, is_archive
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.face_folders import read_face_folders
from ferlab.data.readers.fer2013_forms import VOTES_FILE, find_form, find_source, find_votes
from ferlab.data.readers.fer2013_reshuffled import refuse_reshuffled_names
from ferlab.data.readers.ferplus import join_votes
from ferlab.data.readers.pixels import name_row, parse_pixels
from ferlab.expressions import EXPRESSIONS, FER2013_CODES, USAGES
from ferlab.paths import InputError, check_plain_file

SIDE = 48
COLUMNS = ("emotion", "pixels", "Usage")
BLOCK = 1 << 22  # bytes of csv text at a time: some 500 faces


def read(raw: Path, *, votes: bool | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Read FER2013 from a folder or file.

    Args:
        raw: A folder that holds one of the forms above (or holds it in a folder `fer2013`), or the csv or archive itself.
        votes: Whether to join FER+'s votes: None, where fer2013new.csv lies in the folder or archive; True, it must; False, never. Beside a
            file that `raw` names nothing is looked for: a change there would not be seen.

    Returns:
        Images uint8 (N, 48, 48), and a face table without `split` and `content_hash`. With votes, columns `votes_<expression>`,
        `votes_contempt`, `votes_unknown`, `votes_not_a_face`.

    Raises:
        InputError: In one line: the file, the row, the value, what was expected and what to do.
    """
    source = find_source(raw)
    delivery = Delivery(source) if source.is_file() and is_archive(source.name) else None
    if delivery is not None:
        images, faces, rows = _read_archive(delivery)
    elif source.is_dir():
        images, faces, rows = read_face_folders(source, side=SIDE)
    else:
        images, faces = _read_file(source)
        rows = np.arange(len(faces))
    if raw / "fer2013" in (source, source.parent):
        faces["source_path"] = "fer2013/" + faces["source_path"]
    if votes is False:
        return images, faces
    found = find_votes(source, delivery, look_beside=raw.is_dir())
    if found is None and votes is None:
        return images, faces
    if found is None:
        place = f"{raw} is a file, and beside it nothing is looked for" if raw.is_file() else f"{raw / VOTES_FILE} is missing"
        raise InputError(f"{place}; expected FER+'s {VOTES_FILE} beside FER2013, and their folder in prepare.<set>.raw. See data/raw/README.md.")
    return images, join_votes(faces, found[1], where=found[0], rows=rows, required=votes is True)


def _read_file(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    check_plain_file(path, expected="FER2013's csv")
    with path.open("rb") as stream:
        return _read_csv(stream, where=str(path), source_path=path.name)


def _read_archive(delivery: Delivery) -> tuple[np.ndarray, pd.DataFrame, np.ndarray | None]:
    form = find_form(delivery.names)
    if form is None:
        expected = "expected fer2013.csv, icml_face_data.csv, or the folders train and test"
        raise InputError(f"{delivery.root} holds no fer2013.csv; {expected}. Get the archive again, or give the csv itself.{say_unread(delivery)}")
    if not form.endswith(".csv"):
        refuse_reshuffled_names([name.removeprefix(form) for name in delivery.names if name.startswith(form)], where=str(delivery.root))
        images, faces, rows = read_face_folders(delivery.root, side=SIDE, delivery=delivery, below=form)
        return images, faces.assign(source_path=form + faces["source_path"]), rows
    try:
        with delivery.open(form) as stream:
            images, faces = _read_csv(stream, where=delivery.where(form), source_path=delivery.root.name)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile and the decompressors raise a dozen types for bytes that are wrong
        raise InputError(f"{delivery.where(form)} is cut or damaged ({first_line(error)}). Get the archive again.") from None
    return images, faces, np.arange(len(faces))


def _read_csv(stream: BinaryIO, *, where: str, source_path: str) -> tuple[np.ndarray, pd.DataFrame]:
    names, padded = _read_header(stream, where)
    images, codes, usages, row = [], [], [], 1
    for batch in _batches(stream, names, where):
        codes.append(_find(batch["emotion"], [str(code) for code in FER2013_CODES], where=where, column="emotion", first_row=row))
        usages.append(_find(batch["Usage"], list(USAGES), where=where, column="Usage", first_row=row))
        texts = pc.ascii_ltrim_whitespace(_text(batch["pixels"])) if padded else batch["pixels"]
        images.append(parse_pixels(texts, per_face=SIDE * SIDE, where=where, first_row=row))
        row += len(batch)
    if row == 1:
        raise InputError(f"{where} has a header and no rows; expected one row per face. Get the file again.")
    faces = pd.DataFrame(
        {
            "face_id": [f"fer2013/{number:07d}" for number in range(row - 1)],
            "source": "fer2013",
            "source_path": source_path,
            "usage": np.array(USAGES)[np.concatenate(usages)],
            "target": np.array([EXPRESSIONS.index(name) for name in FER2013_CODES.values()])[np.concatenate(codes)],
        }
    )
    return np.concatenate(images).reshape(-1, SIDE, SIDE), faces


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


def _batches(stream: BinaryIO, names: list[str], where: str) -> Iterator[pa.RecordBatch]:
    wrong: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        yield from pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names, block_size=BLOCK, use_threads=False),
            parse_options=pacsv.ParseOptions(invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if wrong:
            place = where if wrong[0].number is None else name_row(where, wrong[0].number)
            found = f"{wrong[0].actual_columns} columns in {wrong[0].text[:40]!r}"
            raise InputError(f"{place}: {found}; expected {len(names)}. The file is cut or changed: get it again.") from None
        if "Empty CSV file" in str(error):
            return
        raise InputError(f"{where} cannot be read as csv ({str(error).splitlines()[0][:120]}). Get the file again.") from None


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
