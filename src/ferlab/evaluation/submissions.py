"""Submissions: predictions for faces whose labels are held elsewhere, named in advance by hand, and written once. Without torch.

    reports/submissions/README.md        which models hand in predictions, at most ten, and which are the headline and why: written before them
                        <name>.parquet   face_id, prob_<expression> (float32), a row per face in the order of the faces

Whoever tries many models on hidden labels selects on them. So a model is named before its predictions exist, and what was handed in never changes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.evaluation.claims.own import table_cells
from ferlab.evaluation.predictions import PROB_PREFIX, SUM_TOLERANCE
from ferlab.paths import InputError, write_whole

FOLDER = Path("reports", "submissions")  # below a clone
PAGE = FOLDER / "README.md"
COLUMNS = ("submission", "study", "model", "TTA", "headline", "why")
MOST = 10
HEADLINES = ("", "single model", "ensemble")
METADATA = b"ferlab"  # the one key of the parquet metadata; several could be written in any order


@dataclass(frozen=True)
class Named:
    """A row of the table of submissions.

    Attributes:
        submission: Name of its file.
        study: Whose params the model is of.
        model: As `ferlab submit` is given it.
        tta: Its test-time augmentation.
        headline: One of HEADLINES.
        why: In words.
    """

    submission: str
    study: str
    model: str
    tta: str
    headline: str
    why: str


def read_named(root: Path) -> list[Named]:
    """Read the submissions that a clone's README names, in order; none where its table is empty.

    Raises:
        InputError: No README or table, a row that is not as expected, or a file in the folder that no row names.
    """
    path = root / PAGE
    if not path.is_file():
        raise InputError(f"{PAGE}: not found; expected the table of submissions, written by hand before any. Restore it with git.")
    texts = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    lines = [(number, [cell.strip("`") for cell in table_cells(text.strip())]) for number, text in texts]
    start = next((place for place, (_, cells) in enumerate(lines) if tuple(cells) == COLUMNS), None)
    if start is None or not all(re.fullmatch(":?-+:?", cell) for cell in next(iter(cells for _, cells in lines[start + 1 :]), [])):
        raise InputError(f"{PAGE}: no table with the columns {', '.join(COLUMNS)}; expected one row per submission. Restore it with git.")
    named: list[Named] = []
    for number, cells in lines[start + 2 :]:
        if not cells:
            break
        named.append(_check_row(cells, named, where=f"{PAGE}, line {number}"))
    known = {each.submission for each in named}
    if unnamed := sorted(path.name for path in (root / FOLDER).glob("*.parquet") if path.stem not in known):
        raise InputError(f"{FOLDER / unnamed[0]}: no row of {PAGE} names it; expected a row for every file. Restore it with git.")
    return named


def find_named(named: Sequence[Named], models: Sequence[str], *, study: str, tta: str) -> Named:
    """Return the row of a model.

    Args:
        named: From `read_named`.
        models: Names of the model, of which the row has one; the first is shown in errors.
        study: The study of params.yaml.
        tta: Its test-time augmentation.

    Raises:
        InputError: No row, or rows with another test-time augmentation alone.
    """
    of_model = [each for each in named if each.model in models and each.study == study]
    if found := next((each for each in of_model if each.tta == tta), None):
        return found
    if of_model:
        others = ", ".join(each.tta for each in of_model)
        raise InputError(f"{PAGE} names {models[0]} of study {study} with TTA {others}, not {tta}; expected --tta {of_model[0].tta}")
    known = ", ".join(f"{each.model} of {each.study}" for each in named) or "none yet"
    raise InputError(f"{PAGE} names no submission of {models[0]} of study {study} ({known}); expected a row, written before the predictions are made")


def submission_table(face_ids: Sequence[str], probs: np.ndarray, expressions: Sequence[str]) -> pd.DataFrame:
    """Return `face_id, prob_<expression>...` (float32) of N faces.

    Args:
        face_ids: N.
        probs: (N, K), rows summing to 1.
        expressions: K names, in order.

    Raises:
        InputError: Shapes that differ, a probability out of range, or a row that does not sum to 1.
    """
    probs = np.asarray(probs, dtype=np.float32)
    if probs.shape != (len(face_ids), len(expressions)):
        raise InputError(f"submission: expected probabilities of shape ({len(face_ids)}, {len(expressions)}), got {probs.shape}")
    wrong = ~((probs >= 0).all(axis=1) & (np.abs(probs.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE))  # of NaN, too
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"submission: {face_ids[row]}: probabilities {probs[row].tolist()}; expected numbers from 0 to 1 whose sum is 1")
    ids = pd.DataFrame({"face_id": pd.Series(list(face_ids), dtype="str")})
    return pd.concat([ids, pd.DataFrame(probs, columns=[PROB_PREFIX + name for name in expressions])], axis=1)


def write_submission(root: Path, name: str, table: pd.DataFrame, made: Mapping[str, Any]) -> bool:
    """Write a submission once, with what made it in its schema's metadata; return False where the same one lies there, which stays as it is.

    Raises:
        InputError: Another one lies there under this name.
    """
    place, path = FOLDER / f"{name}.parquet", root / FOLDER / f"{name}.parquet"
    stated = {METADATA: json.dumps(dict(made), sort_keys=True).encode()}
    new = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(stated)
    if path.exists():
        try:
            same = pq.read_table(path).equals(new, check_metadata=True)
        except (pa.ArrowException, OSError):
            same = False
        if not same:
            raise InputError(f"{place}: holds other predictions of this name; expected the same. Delete it by hand if it was not handed in.")
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    pq.write_table(new, content, compression="zstd")
    write_whole(path, content.getvalue())
    return True


def read_submission(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a submission and what made it."""
    table = pq.read_table(path)
    return table.replace_schema_metadata(None).to_pandas(), json.loads(table.schema.metadata[METADATA])


def _check_row(cells: list[str], before: Sequence[Named], *, where: str) -> Named:
    if len(cells) != len(COLUMNS):
        raise InputError(f"{where}: {len(cells)} cells; expected {len(COLUMNS)}: {', '.join(COLUMNS)}. Mend the row.")
    row = Named(*cells)
    same = next((each for each in before if (each.study, each.model, each.tta) == (row.study, row.model, row.tta)), None)
    rules = (
        (re.fullmatch(r"\w[\w-]{0,99}", row.submission), f"submission {row.submission!r}; expected letters, digits, '-' and '_'"),
        (row.submission not in [each.submission for each in before], f"submission {row.submission!r} comes twice; expected each once"),
        (same is None, f"{row.model} with TTA {row.tta} comes twice; expected each once"),
        (row.study and row.model and row.tta and row.why, f"{row.submission}: study, model, TTA or why is empty; expected a text"),
        (row.headline in HEADLINES, f"headline {row.headline!r}; expected 'single model', 'ensemble' or nothing"),
        (not row.headline or row.headline not in [each.headline for each in before], f"a second headline {row.headline!r}; expected one of each"),
        (row.headline != "single model" or "ensemble" not in row.model, f"headline 'single model' of {row.model}; expected 'ensemble'"),
        (len(before) < MOST, f"more than {MOST} submissions; expected at most {MOST}, since choosing among many would be selection on hidden labels"),
    )
    for holds, told in rules:
        if not holds:
            raise InputError(f"{where}: {told}. Mend the row.")
    return row
