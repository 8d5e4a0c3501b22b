"""Attempts of prompted sessions as a table and on disk, one csv per session.

A file is written only where the person agreed to it; `kept` states to what: "numbers" (the columns here), or "faces" too. It lies below the folder of
collected faces and names the pseudonym in the column `person`, so that `ferlab forget` erases it with everything else of a person.
"""

from __future__ import annotations

import csv
import datetime
import io
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.live.session.prompting import Attempt
from ferlab.paths import ROOT, InputError, write_whole

SESSIONS = "sessions"  # in the folder of collected faces
FOLDER = f"data/raw/collected/{SESSIONS}"
CONDITIONS: dict[str, str] = {"acted": "act the expression", "remembered": "recall a moment in which you felt it"}
NO_FACE, SCORED = "no face", "scored"
CAMERA, DRAWN = "camera", "control faces"
FIXED = ("session", "person", "condition", "feedback", "source", "model", "kept", "seed", "planned",
         "number", "time", "prompt", "outcome", "predicted", "rank", "frames")  # fmt: skip
PROBS = tuple(f"prob_{expression}" for expression in ALL_EXPRESSIONS)
COLUMNS = (*FIXED, *PROBS)
NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True)
class SessionFacts:
    """What is chosen before a session.

    Attributes:
        person: Pseudonym.
        condition: A key of `CONDITIONS`, chosen by the person.
        planned: Number of prompts.
        seed: Of the order of the prompts.
        model: Its name.
        expressions: K names, in the order of the model's probabilities.
        feedback: When predictions are shown: "end" or "each".
        source: "camera" or "control faces".
        kept: "numbers" or "faces"; "" where nothing is stored.
        session: Names the session and its file.
    """

    person: str
    condition: str
    planned: int
    seed: int
    model: str
    expressions: tuple[str, ...]
    feedback: str = "end"
    source: str = CAMERA
    kept: str = ""
    session: str = ""


def new_session_name() -> str:
    """Return a name that no other session has: the time in UTC and six random digits."""
    return f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def now() -> datetime.datetime:
    """Return the time in UTC."""
    return datetime.datetime.now(datetime.UTC)


def attempts_table(facts: SessionFacts, attempts: Sequence[Attempt], times: Sequence[str]) -> pd.DataFrame:
    """Return one row per attempt, columns `COLUMNS`.

    Args:
        facts: Of the session.
        attempts: In order.
        times: ISO time of each attempt's end.
    """
    said = {name: getattr(facts, name) for name in FIXED[:9]}
    rows = [said | {"time": time} | _row(attempt, facts.expressions) for attempt, time in zip(attempts, times, strict=True)]
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def session_path(session: str) -> Path:
    """Return where the csv of a session lies."""
    return ROOT / FOLDER / f"{session}.csv"


def write_session(table: pd.DataFrame) -> Path:
    """Write the attempts of one session, whole; return the path.

    Raises:
        InputError: If nothing is agreed to be kept, or the disk is full.
    """
    if not len(table) or not table["kept"].iloc[0]:
        raise InputError("nothing is stored without the person's agreement: tick it, or go on without")
    path = session_path(table["session"].iloc[0])
    before = os.umask(0o077)  # only the owner reads what lies here, as in `ferlab.live.collection.storage`
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, table.to_csv(index=False, float_format="%.6g").encode())
    except OSError as error:
        raise InputError(f"{path.parent}: {error.strerror}; the session is not stored; see to that and store it again") from None
    finally:
        os.umask(before)
    return path


def erase_session(session: str) -> bool:
    """Delete the file of a session; return whether there was one."""
    path = session_path(session)
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there


def read_sessions(folder: Path | None = None) -> pd.DataFrame:
    """Return the attempts of all sessions of a folder (None: this workspace's), by file; no rows where there is none.

    Raises:
        InputError: A file that is no session, in one line with row and column.
    """
    folder = ROOT / FOLDER if folder is None else folder
    tables = [_read(path) for path in sorted(folder.glob("*.csv"))]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else _typed(pd.DataFrame(columns=list(COLUMNS)))


def people_of(folder: Path) -> list[str]:
    """Return the pseudonyms in the sessions of a folder, also in files that are broken."""
    return sorted({row["person"] for path in folder.glob("*.csv") for row in _plain_rows(path)})


def erase_person(folder: Path, person: str) -> int:
    """Delete the files of a person's sessions in a folder, and their rows where a file holds others too; return how many rows."""
    gone = 0
    for path in sorted(folder.glob("*.csv")):
        rows = _plain_rows(path)
        kept = [row for row in rows if row["person"] != person]
        if rows and not kept:
            path.unlink()
        elif len(kept) < len(rows):
            text = io.StringIO()
            table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(kept)
            write_whole(path, text.getvalue().encode(errors="surrogateescape"))
        gone += len(rows) - len(kept)
    return gone


def _plain_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv with a column `person`, unchecked."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = [{key: value or "" for key, value in row.items() if key is not None} for row in csv.DictReader(stream)]
    return rows if rows and "person" in rows[0] else []


def _row(attempt: Attempt, expressions: tuple[str, ...]) -> dict[str, object]:
    row: dict[str, object] = {"number": attempt.number, "prompt": attempt.prompt, "frames": attempt.frames}
    if attempt.probs is None:
        return row | {"outcome": NO_FACE, "predicted": "", "rank": np.nan}
    order = np.argsort(-attempt.probs, kind="stable")
    rank = 1 + int(np.flatnonzero(order == expressions.index(attempt.prompt))[0])
    probs = {f"prob_{name}": float(prob) for name, prob in zip(expressions, attempt.probs, strict=True)}
    return row | {"outcome": SCORED, "predicted": expressions[order[0]], "rank": rank} | probs


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = {"seed": "int64", "planned": "int64", "number": "int64", "frames": "int64", "rank": "float64"} | dict.fromkeys(PROBS, "float64")
    words = {column: "object" for column in COLUMNS if column not in numbers}
    return table.astype(numbers | words)


def _read(path: Path) -> pd.DataFrame:
    again = f"Move {path.name} out of {FOLDER}, or restore it."
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:
        raise InputError(f"{path.name}: cannot be read as a session's csv ({' '.join(str(error).split())[:80]}). {again}") from None
    if list(table.columns) != list(COLUMNS):
        odd = sorted(set(table.columns) ^ set(COLUMNS))[:3]
        raise InputError(
            f"{path.name}: has other columns than a session ({', '.join(odd) or 'another order'}); expected {FIXED[0]} to {PROBS[-1]}. {again}"
        )
    for place, row in enumerate(table.to_dict("records"), start=2):
        if problem := _problem(row):
            raise InputError(f"{path.name}, line {place}: {problem}. {again}")
    return _typed(table.replace({"rank": {"": "nan"}} | {column: {"": "nan"} for column in PROBS}))


def _problem(row: dict[str, str]) -> str:
    """Return what is wrong with a row; "" if nothing is."""
    for column in ("seed", "planned", "number", "frames"):
        if not row[column].isdigit():
            return f"{column} is {row[column]!r}; expected a whole number"
    if row["condition"] not in CONDITIONS:
        return f"condition is {row['condition']!r}; expected {' or '.join(CONDITIONS)}"
    if row["outcome"] not in (SCORED, NO_FACE):
        return f"outcome is {row['outcome']!r}; expected {SCORED!r} or {NO_FACE!r}"
    if not row["person"]:
        return "person is empty; expected a pseudonym"
    return _problem_of_probs(row) if row["outcome"] == SCORED else ""


def _problem_of_probs(row: dict[str, str]) -> str:
    try:
        probs = {name: float(row[f"prob_{name}"]) for name in ALL_EXPRESSIONS if row[f"prob_{name}"]}
    except ValueError:
        return "a probability is no number; expected numbers in [0, 1]"
    if not probs or not all(0 <= value <= 1 for value in probs.values()) or abs(sum(probs.values()) - 1) > 0.01:
        return f"probabilities sum to {sum(probs.values()):.3g}; expected numbers in [0, 1] that sum to 1"
    for column in ("prompt", "predicted"):
        if row[column] not in probs:
            return f"{column} is {row[column]!r}; expected one of {', '.join(probs)}"
    above = sum(value > probs[row["prompt"]] for value in probs.values())
    if not row["rank"].isdigit() or int(row["rank"]) < 1 + above or probs[row["predicted"]] < max(probs.values()):
        return f"rank {row['rank']!r} and predicted {row['predicted']!r} contradict the probabilities"
    return ""
