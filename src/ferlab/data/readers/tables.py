"""Tables of a dataset: csv files as texts, one line that names a wrong row, and the face table that every reader returns."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError, first_line

BLOCK = 1 << 22  # bytes of csv text at a time
BOX = ("box_x", "box_y", "box_w", "box_h")  # columns of a face's box in pixels of the picture


def face_table(
    source: str, paths: Sequence[str], labels: Sequence[str], *, usage: Any = "all", ids: Sequence[str] | None = None, **columns: Any
) -> pd.DataFrame:
    """Return a face table without `content_hash` and `split`.

    Args:
        source: Name of the dataset.
        paths: File of each face (N), below the dataset's folder.
        labels: Expression of each face (N), or the reason why it is excluded.
        usage: One for all, or of each face (N).
        ids: `face_id` of each face without the dataset's name; None: `paths`.
        columns: Further columns.
    """
    places = {name: place for place, name in enumerate(ALL_EXPRESSIONS)}
    given: dict[str, Any] = {"face_id": [f"{source}/{name}" for name in (paths if ids is None else ids)], "source": source}
    given |= {"source_path": list(paths), "usage": usage, "target": np.array([places.get(label, -1) for label in labels], dtype=np.int64)}
    return pd.DataFrame({**given, "excluded": pd.Series(["" if label in places else label for label in labels], dtype="str"), **columns})


def name_row(where: str, row: int) -> str:
    """Return the file and row for an error; the first row below the header is 1."""
    return f"{where}, data row {row} (the header not counted)"


def parse_numbers(texts: Sequence[str], *, count: int) -> np.ndarray | None:
    """Return `count` finite numbers as float64 (count,); None if the texts are something else."""
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def near_face(name: str, known: pd.Series) -> str:
    """Return " (did you mean ...?)" for the face_id nearest to a mistyped one, or "": a set has too many to list."""
    match = difflib.get_close_matches(name, known.tolist(), n=1, cutoff=0.8)
    return f" (did you mean {match[0]!r}?)" if match else ""


def refuse_repeated(values: pd.Series, *, where: str) -> None:
    """Raise an `InputError` for the first value of a column that occurs twice."""
    if values.duplicated().any():
        row = int(values.duplicated().to_numpy().argmax())
        raise InputError(f"{name_row(where, row + 1)}: {values.name} {values.iloc[row]!r} comes twice; expected one row each. Remove one.")


def read_cells(data: bytes, where: str, *, delimiter: str | None = ",") -> list[list[str]]:
    """Return the rows of a csv as texts without surrounding blanks; empty rows are dropped.

    Without a delimiter it is tab, semicolon or comma, whichever the first row holds, else blanks.

    Raises:
        InputError: If it is not UTF-8, or a quote is not closed.
    """
    try:
        text = data.decode("utf-8-sig")
        first = text.lstrip("\r\n").split("\n", 1)[0]
        mark = delimiter or next((mark for mark in "\t;," if mark in first), None)
        quoted = {"skipinitialspace": True, "strict": True}
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, **quoted) if mark else map(str.split, text.splitlines())
        return [[cell.strip() for cell in row] for row in lines if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} cannot be read as csv in UTF-8 ({error}). Save it again.") from None


def read_columns(data: bytes, where: str, *, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """Return a csv as a table of texts; optional columns that are absent are "".

    Raises:
        InputError: If it cannot be read, lacks a column or has another one, or a row has too few or too many cells.
    """
    header, *rows = read_cells(data, where) or [[]]
    if not set(required) <= set(header) <= {*required, *optional} or len(set(header)) != len(header):
        may = ", ".join(required) + (f", and optionally {', '.join(optional)}" if optional else "")
        raise InputError(f"{where} has the columns {', '.join(header)!r}; expected {may}. Rename or remove the others.")
    for row, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise InputError(f"{name_row(where, row)}: {len(cells)} cells; expected {len(header)}, one per column. Mend the row.")
    return pd.DataFrame(rows, columns=header, dtype=object).reindex(columns=[*required, *optional], fill_value="")


def stream_csv(
    stream: BinaryIO, names: Sequence[str], where: str, *, kind: pa.DataType, newlines: bool = False, options: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a large csv, from where its header ends, in batches of about `BLOCK` bytes; all columns are of type `kind`.

    With `newlines`, quoted cells may hold line ends; `options` are those of `pyarrow.csv.ConvertOptions`.

    Raises:
        InputError: If a row has too few or too many cells, or the file cannot be read.
    """
    wrong: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        yield from pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names, block_size=BLOCK, use_threads=False),
            parse_options=pacsv.ParseOptions(invalid_row_handler=note, newlines_in_values=newlines),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, kind), **options),
        )
    except pa.ArrowInvalid as error:
        if wrong:
            place = where if wrong[0].number is None else name_row(where, wrong[0].number)
            found = f"{wrong[0].actual_columns} columns in {wrong[0].text[:40]!r}"
            raise InputError(f"{place}: {found}; expected {len(names)}. The file is cut or changed: get it again.") from None
        if "Empty CSV file" not in str(error):
            raise InputError(f"{where} cannot be read as csv ({first_line(error)[:120]}). Get the file again.") from None
