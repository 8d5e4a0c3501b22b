"""FER+: ten annotators' votes for every face of FER2013, joined row by row; and the modes that turn them into labels.

All modes but argmax first drop an expression's only vote, then of the remaining votes take:

    majority       one expression with more than half
    probability    expressions from the most voted on until they hold three quarters: at most three (ties together), more than half
    crossentropy   the same; the two differ in training alone: one label is drawn for each epoch, or the soft targets are used
    multi_target   every expression with at least three tenths, more than half together, all equally right
    argmax         the most voted expression, single votes counted: not FER+'s own, but that of many papers

A face without an expression, or of which unknown or not a face has most votes, is excluded, with the reason. Of equal votes an expression wins.

References:
    Barsoum et al. (2016), Training Deep Networks for FER with Crowd-Sourced Label Distribution, arXiv 1608.01041;
    github.com/microsoft/FERPlus, file fer2013new.csv, in the row order of fer2013.csv. Its image names are no row numbers: they skip excluded
    faces, and some are out of order, so rows are joined by their place and checked by Usage. The modes are those of its src/ferplus.py at 888f98d.
    (A later version keeps `idx < emotion_count - 2` of eight, which drops fear and contempt.)
"""

from __future__ import annotations

import io
import logging
from pathlib import PurePath

import numpy as np
import pandas as pd

from ferlab.data.faces import SOFT, VOTES
from ferlab.data.readers.tables import name_row
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS, FER2013_COUNTS, FERPLUS_COLUMNS
from ferlab.paths import InputError, first_line

LOG = logging.getLogger(__name__)
OFFICIAL_ROWS = sum(sum(counts) for counts in FER2013_COUNTS.values())
RATERS = 10
EVERY_FACE = "every face of FER2013 in its order"
MODES = ("majority", "probability", "crossentropy", "multi_target", "argmax")
MOST_EXPRESSIONS = 3
BALLOT = tuple(FERPLUS_COLUMNS.values())  # in the order of FER+'s columns: of tied expressions the first is the label, as numpy's argmax has it
OTHER = {"unknown": "unknown", "not_a_face": "not a face"}  # what no label fits, and the words for it; the last of the ballot


def join_votes(faces: pd.DataFrame, content: bytes, *, where: str, rows: np.ndarray | None, required: bool = False) -> pd.DataFrame:
    """Return FER2013's face table with the columns `votes_<expression>`, `votes_contempt`, `votes_unknown` and `votes_not_a_face`.

    Args:
        faces: Face table of FER2013.
        content: Of fer2013new.csv.
        where: Its name in an error.
        rows: Each face's row in fer2013.csv, counted from 0; None where it is not known: nothing is joined.
        required: Whether votes that cannot be joined are an error.

    Raises:
        InputError: If the file is cut or changed, or its rows are not those of `faces`.
    """
    if rows is None:
        if required:
            unknown = "the names of these faces do not tell their row in fer2013.csv"
            raise InputError(f"{where} cannot be joined: {unknown}. Read fer2013.csv.")
        LOG.warning(
            "%s lies beside the faces, but their file names do not tell their row in fer2013.csv: its votes are not joined.", PurePath(where).name
        )
        return faces
    otherwise = "" if required else " Or set the option votes to false."
    votes = read_votes(content, where=where)
    allowed = sorted({len(faces), OFFICIAL_ROWS})
    if len(votes) not in allowed:
        expected = " or ".join(str(count) for count in allowed)
        raise InputError(f"{where} has {len(votes)} rows; expected {expected}, {EVERY_FACE}. Get it again.{otherwise}")
    if int(rows.max()) >= len(votes):
        raise InputError(f"{where} has {len(votes)} rows, but the faces reach row {int(rows.max()) + 1}; expected {EVERY_FACE}. Get it again.")
    joined = votes.iloc[rows].reset_index(drop=True)
    differs = joined.pop("Usage").to_numpy() != faces["usage"].to_numpy()
    if differs.any():
        at = int(differs.argmax())
        theirs, ours = votes["Usage"].iloc[int(rows[at])], faces["usage"].iloc[at]
        place = f"{name_row(where, int(rows[at]) + 1)}: Usage is {theirs!r}, but the face there is of {ours!r}"
        raise InputError(f"{place}; expected {EVERY_FACE}. Give the faces in that order.{otherwise}")
    return pd.concat([faces.reset_index(drop=True), joined], axis=1)


def read_votes(content: bytes, *, where: str) -> pd.DataFrame:
    """Return the rows of fer2013new.csv: `Usage`, then int64 columns `votes_<name>`, in the fixed order of the expressions.

    Raises:
        InputError: If a column, name or vote is not as published.
    """
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, skipinitialspace=True)
    except Exception as error:  # noqa: BLE001 - pandas raises a dozen types for bytes that are no csv
        raise InputError(f"{where} cannot be read as csv ({first_line(error)}). Get it again.") from None
    columns = ["Usage", "Image name", *FERPLUS_COLUMNS]
    if list(table.columns) != columns:
        raise InputError(f"{where} has the columns {', '.join(map(str, table.columns))}; expected {', '.join(columns)}. Get it again.")
    counts = {FERPLUS_COLUMNS[column]: _whole(table[column], where) for column in FERPLUS_COLUMNS}
    order = [*EXPRESSIONS, *(name for name in counts if name not in EXPRESSIONS)]
    return pd.DataFrame({"Usage": table["Usage"], **{VOTES + name: counts[name] for name in order}})


def soft_targets(faces: pd.DataFrame, *, mode: str = "crossentropy", expressions: tuple[str, ...] = ALL_EXPRESSIONS) -> pd.DataFrame:
    """Return each face's soft targets, float64 (N, K) columns `soft_<expression>`, from the votes in a face table.

    A row sums to 1, or is NaN where the mode excludes the face. Majority and argmax give one-hot rows, multi_target equal ones among the right
    expressions. Over EXPRESSIONS, the votes for contempt are distributed among the others in proportion.

    Raises:
        InputError: If the mode is unknown or the votes are missing.
    """
    soft = label_votes(faces, mode=mode)[0][:, [BALLOT.index(name) for name in expressions]]
    total = soft.sum(axis=1, keepdims=True)
    soft = np.divide(soft, total, out=np.full_like(soft, np.nan), where=total > 0)
    return pd.DataFrame(soft, columns=[SOFT + name for name in expressions], index=faces.index)


def mixed_targets(faces: pd.DataFrame, *, weight: float, expressions: tuple[str, ...], several: bool = False) -> np.ndarray:
    """Return targets between the label and FER+'s votes, float32 (N, K); rows sum to 1, unless `several`.

    Args:
        faces: Face table with `target` and votes; N rows.
        weight: Of the votes, 0 to 1; a face that FER+ excludes keeps its label alone.
        expressions: The classes of `target`.
        several: Whether every expression of the mode multi_target is a target of 1.

    Raises:
        InputError: If the votes are missing.
    """
    labels = np.eye(len(expressions))[faces["target"].to_numpy()]
    votes = soft_targets(faces, mode="multi_target" if several else "crossentropy", expressions=expressions).to_numpy()
    if several:
        votes = np.where(np.isnan(votes), votes, votes > 0)
    return ((1 - weight) * labels + weight * np.where(np.isnan(votes), labels, votes)).astype(np.float32)


def label_votes(faces: pd.DataFrame, *, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label the N faces of a face table by their votes, in one of `MODES`.

    Returns:
        Soft targets float64 (N, 8) in the order of `BALLOT`, zero for an excluded face; targets int64 (N,), -1 for an excluded face; and the reason
        (N,) of the exclusion, "" for none. Of equal soft targets, the target is the expression with most votes, of equal votes the first of FER+'s
        columns.

    Raises:
        InputError: If the mode is unknown or the votes are missing.
    """
    if mode not in MODES:
        raise InputError(f"Unknown mode {mode!r} of FER+'s labels in prepare.<set>.options; expected one of {', '.join(MODES)}.")
    missing = [VOTES + name for name in BALLOT if VOTES + name not in faces.columns]
    if missing:
        raise InputError(f"The face table has no column {missing[0]!r}; expected FER+'s votes. Put fer2013new.csv beside FER2013.")
    votes = faces[[VOTES + name for name in BALLOT]].to_numpy()
    if mode != "argmax":
        votes = np.where(votes > 1, votes, 0)
    counted = _count(votes, mode)  # (N, 10)
    reasons = _reasons(counted, least=votes.sum(axis=1) / 2 if mode != "argmax" else np.zeros(len(votes)))
    soft = (counted[:, : len(ALL_EXPRESSIONS)] * (reasons == "")[:, None]).astype(np.float64)
    if mode == "multi_target":
        soft = (soft > 0).astype(np.float64)
    soft /= np.maximum(soft.sum(axis=1, keepdims=True), 1)
    places = np.array([ALL_EXPRESSIONS.index(name) if name in ALL_EXPRESSIONS else -1 for name in BALLOT])
    return soft, np.where(reasons == "", places[counted.argmax(axis=1)], -1), reasons


def _count(votes: np.ndarray, mode: str) -> np.ndarray:
    """Return the votes (N, 10) that a mode takes into the label; the rest become 0."""
    total, most = votes.sum(axis=1, keepdims=True), votes.max(axis=1, keepdims=True)
    if mode == "majority":
        return np.where(2 * votes > total, votes, 0)
    if mode == "multi_target":
        return np.where(10 * votes >= 3 * total, votes, 0)
    if mode == "argmax":
        first = np.arange(votes.shape[1]) == votes.argmax(axis=1)[:, None]
        return np.where(first & (votes == most), votes, 0)
    return _leading(votes)


def _leading(votes: np.ndarray) -> np.ndarray:
    """Return the votes (N, 10) of the expressions on top, until they hold three quarters or unknown or not a face comes next."""
    left, counted = votes.copy(), np.zeros_like(votes)
    total, known = votes.sum(axis=1), len(ALL_EXPRESSIONS)
    going = np.ones(len(votes), dtype=bool)
    for _ in range(MOST_EXPRESSIONS):
        going &= (4 * counted.sum(axis=1) < 3 * total) & ((counted > 0).sum(axis=1) < MOST_EXPRESSIONS)
        leads = going[:, None] & (left == left.max(axis=1, keepdims=True)) & (left > 0)
        counted[:, :known][leads[:, :known]] = left[:, :known][leads[:, :known]]
        alone = counted.sum(axis=1) == 0  # nothing but unknown or not a face leads: that is the label, and the face is dropped
        counted[:, known:] = np.where(leads[:, known:] & alone[:, None], left[:, known:], counted[:, known:])
        going &= ~leads[:, known:].any(axis=1)
        left[leads] = 0
    return counted


def _reasons(counted: np.ndarray, *, least: np.ndarray) -> np.ndarray:
    """Say of each face (N,) why it is dropped: the counted votes (N, 10) must be more than `least` (N,), and on expressions."""
    known = len(ALL_EXPRESSIONS)
    expressions = (counted[:, :known] > 0).sum(axis=1)
    leader = np.array(BALLOT)[counted.argmax(axis=1)]
    few = counted.sum(axis=1) <= least
    return np.select(
        [leader == name for name in OTHER] + [few, expressions > MOST_EXPRESSIONS],
        [*OTHER.values(), "no majority", f"more than {MOST_EXPRESSIONS} expressions"],
        default="",
    ).astype(object)


def _whole(values: pd.Series, where: str) -> np.ndarray:
    wrong = ~values.isin([str(count) for count in range(RATERS + 1)]).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        place = name_row(where, row + 1)
        raise InputError(f"{place}: {values.name} is {values.iloc[row]!r}; expected a number of votes, 0 to {RATERS}. Get it again.")
    return values.to_numpy().astype(np.int64)
