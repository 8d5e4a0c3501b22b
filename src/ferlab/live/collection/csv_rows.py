"""Rows of a person in tables beside the collected faces: corrections, exclusions, boxes, wherever they lie."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Set
from itertools import zip_longest
from pathlib import Path

from ferlab.paths import write_whole


def erase_face_rows(path: Path, *, files: Set[str] = frozenset(), face_ids: Set[str] = frozenset(), who: str | None = None) -> int:
    """Remove from a csv with a column `face_id` (corrections, exclusions, boxes) the rows on some captured faces and those that a person wrote.

    Args:
        path: The csv; another one is not touched.
        files: Pictures, as in captures.csv.
        face_ids: Ids as a whole.
        who: A person, as in the column `who`.

    Returns:
        How many rows were removed.
    """

    def drop(row: Mapping[str, str]) -> bool:
        return row["face_id"] in face_ids or is_one_of(row["face_id"], files) or (who is not None and row.get("who", "").strip() == who)

    return erase_rows(path, column="face_id", drop=drop)


def erase_rows(path: Path, *, column: str, drop: Callable[[Mapping[str, str]], bool]) -> int:
    """Remove some rows from a csv that has a column, and the csv when none is left; return how many. Another csv is not touched."""
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        table = csv.reader(stream)
        header = next(table, [])
        if column not in header:
            return 0
        rows = [row for row in table if row]
    kept = [row for row in rows if not drop(dict(zip_longest(header, row[: len(header)], fillvalue="")))]
    if rows and not kept:
        path.unlink()
    elif len(kept) < len(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *kept])
        write_whole(path, text.getvalue().encode(errors="surrogateescape"))
    return len(rows) - len(kept)


def is_one_of(face_id: str, files: Set[str]) -> bool:
    """Return whether an id of a captured face, such as `captured/p-7k3q/0f3a9c1e.png` or with a folder before the file, is one of some files."""
    source, *parts = face_id.strip().split("/")
    return source.endswith("captured") and any("/".join(parts[start:]) in files for start in range(len(parts)))
