"""The ledger of test scorings: a committed text file that gains one line whenever a run's test split is scored.

A test split that is scored again and again is slowly selected on. The ledger lies outside every stage's outputs, so nothing rewrites it, and
the report prints its count. Lines hold no time: what counts is how often, and of which params. Control faces are not recorded: whoever wants
a test split that nobody has seen draws another.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pandas as pd

from ferlab.paths import PARAMS_HASH, ROOT, STAGING, InputError

LEDGER = ROOT / "reports" / "test_scorings.csv"
COLUMNS = ("study", "run", "set", "params_hash", "n")


def record_scoring(faces: pd.DataFrame, *, study: str, run: str, set_name: str, path: Path = LEDGER) -> bool:
    """Append one scoring of the test split if this is a stage of the pipeline; exploring by hand reports nothing and is not counted.

    Args:
        faces: The face table of the set; its test faces were scored. Where all of them are control faces nothing is written.
        study: Name of the study.
        run: Name of the run.
        set_name: Name of its set.
        path: The ledger.

    Returns:
        Whether a line was written.
    """
    test = faces[faces["split"] == "test"]
    if STAGING not in os.environ or test["source"].str.fullmatch("control(:.*)?").all():
        return False
    append_scoring(path, study=study, run=run, set_name=set_name, params_hash=os.environ.get(PARAMS_HASH, ""), n=len(test))
    return True


def append_scoring(path: Path, *, study: str, run: str, set_name: str, params_hash: str, n: int) -> None:
    """Append one line, with a header first if the file is new. One write, so that stages run side by side do not mix their lines.

    Args:
        path: The ledger.
        study: Name of the study.
        run: Name of the run.
        set_name: Name of its set.
        params_hash: Fingerprint of the stage's params.
        n: Test faces scored.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", newline="") as file:
            file.write(_line(COLUMNS))
    except FileExistsError:  # another scoring was first: its header stands
        pass
    with path.open("a", newline="") as file:
        file.write(_line((study, run, set_name, params_hash, n)))


def count_scorings(path: Path = LEDGER) -> pd.DataFrame:
    """Return how often each run's test split was scored: `study, run, set, n, scorings, params` (distinct params among them).

    Raises:
        InputError: A file that is no ledger. A missing one is an empty one.
    """
    if not path.is_file():
        return pd.DataFrame(columns=["study", "run", "set", "n", "scorings", "params"])
    lines = pd.read_csv(path, dtype={"study": str, "run": str, "set": str, "params_hash": str}, keep_default_na=False)
    if tuple(lines.columns) != COLUMNS:
        raise InputError(f"{path.name}: expected the columns {', '.join(COLUMNS)}, got {', '.join(lines.columns)}; restore it with git")
    groups = lines.groupby(["study", "run", "set", "n"], sort=True)["params_hash"]
    return groups.agg(scorings="size", params="nunique").reset_index()


def _line(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
