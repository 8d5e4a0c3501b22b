"""The ledger of test scorings: a committed text file that gains one line whenever a run's test split is scored.

A test split that is scored again and again is slowly selected on. The ledger lies outside every stage's outputs, so nothing rewrites it, and
the report prints its count. Lines hold no time: what counts is how often, and by which result (`record`; lines from before records hold a
hash of params). Control faces are not recorded: whoever wants a test split that nobody has seen draws another.
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
    faces: pd.DataFrame, *, study: str, run: str, set_name: str, record: Mapping[str, str], times: int = 1, path: Path = LEDGER
) -> bool:
    """Append one line for each scoring of the test split by a new result, if this is a stage of the pipeline; exploring by hand is not counted.

    A result that the ledger holds already is the same faces scored by the same model: a page that is told anew, or a stage that was killed
    after it had scored and runs again, adds nothing.

    Args:
        faces: The face table of the set; its test faces were scored. Where all of them are control faces nothing is written.
        study: Name of the study.
        run: Name of the run.
        set_name: Name of its set.
        record: What made the result, see `ferlab.results.record_of`.
        times: How often it was scored: once per epoch where test selects the epoch; 0 where it was not.
        path: The ledger.

    Returns:
        Whether lines were written.
    """
    test = faces[faces["split"] == "test"]
    if not times or STAGING not in os.environ or test["source"].str.fullmatch("control(:.*)?").all():
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
