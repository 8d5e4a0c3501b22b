"""The ledger of test scorings: a committed csv that gains one line whenever the test split of a real dataset is scored.

Repeated scoring slowly selects on a test split. The ledger lies outside every stage's outputs, so that nothing rewrites it, and the report prints its
count. `record` is the hash of what made the result (in older lines, of params).
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ferlab.hashes import digest
from ferlab.paths import ROOT, STAGING, InputError

LEDGER = ROOT / "reports" / "test_scorings.csv"
COLUMNS = ("study", "run", "set", "record", "n")


def record_scoring(
    faces: pd.DataFrame,
    *,
    study: str,
    run: str,
    set_name: str,
    record: Mapping[str, str],
    times: int = 1,
    path: Path = LEDGER,
    always: bool = False,
) -> bool:
    """Append one line for each scoring of the test split by a new result, and return whether lines were written.

    Nothing is written outside the pipeline (but by `ferlab evaluate`), for control faces, or for a result that the ledger holds already (a page that
    is executed again).

    Args:
        faces: The face table of the set.
        study: As `run` and `set_name`: names.
        record: What made the result, see `ferlab.results`.
        times: How often it was scored: once per epoch where test selects the epoch.
        always: Whether to count it outside the pipeline too.
    """
    test = faces[faces["split"] == "test"]
    if not times or not (always or STAGING in os.environ) or test["source"].str.fullmatch("control(:.*)?").all():
        return False
    line = (study, run, set_name, digest(json.dumps(dict(record), sort_keys=True)), str(len(test)))
    if dict(zip(COLUMNS, line)) in read_scorings(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", newline="") as file:
            file.write(_line(COLUMNS))
    except FileExistsError:  # another scoring was first: its header stands
        pass
    with path.open("a", newline="") as file:  # one write, so that stages run side by side do not mix their lines
        file.write(_line(line) * times)
    return True


def read_scorings(path: Path = LEDGER) -> list[dict[str, str]]:
    """Return the lines of the ledger, by column.

    Raises:
        InputError: A file that is no ledger. A missing one is an empty one.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name}: not csv in UTF-8 ({error}); restore it with git") from None
    if tuple(header) != COLUMNS:
        raise InputError(f"{path.name}: expected the columns {', '.join(COLUMNS)}, got {', '.join(header)[:200]}; restore it with git")
    for number, cells in enumerate(lines, start=2):
        if len(cells) != len(COLUMNS) or not cells[-1].isdecimal():
            told = f"expected {len(COLUMNS)} cells, the last a number of faces, got {','.join(cells)[:200]}"
            raise InputError(f"{path.name}: line {number}: {told}; restore it with git")
    return [dict(zip(COLUMNS, cells, strict=True)) for cells in lines]


def _line(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
