"""FER+: ten raters' votes for every face of FER2013, joined row by row.

References:
    Barsoum et al. (2016), Training Deep Networks for FER with Crowd-Sourced Label Distribution, arXiv 1608.01041;
    github.com/microsoft/FERPlus, file fer2013new.csv, in the row order of fer2013.csv. Its image names are no row numbers:
    they skip the faces that FER+ drops, and some are out of order, so rows are joined by their place and checked by Usage.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.faces import VOTES
from ferlab.data.pixels import name_row
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS, FERPLUS_COLUMNS
from ferlab.paths import InputError

LOG = logging.getLogger(__name__)
OFFICIAL_ROWS = sum(sum(counts) for counts in FER2013_COUNTS.values())
RATERS = 10
EVERY_FACE = "every face of FER2013 in its order"


def join_votes(faces: pd.DataFrame, path: Path, *, rows: np.ndarray | None, required: bool = False) -> pd.DataFrame:
    """Return `faces` with the columns `votes_<expression>`, `votes_contempt`, `votes_unknown` and `votes_not_a_face`.

    Args:
        faces: Face table of FER2013.
        path: fer2013new.csv.
        rows: Each face's row in fer2013.csv, counted from 0; None where it is not known, then nothing is joined.
        required: Whether votes that cannot be joined are an error.

    Raises:
        InputError: If the file is missing, cut or changed, or its rows are not those of `faces`.
    """
    if rows is None:
        if required:
            unknown = "the names of these faces do not tell their row in fer2013.csv"
            raise InputError(f"{path} cannot be joined: {unknown}. Read fer2013.csv, or set the option votes to false.")
        LOG.warning("%s lies beside the faces, but their file names do not tell their row in fer2013.csv: its votes are not joined.", path.name)
        return faces
    votes = read_votes(path)
    allowed = sorted({len(faces), OFFICIAL_ROWS})
    if len(votes) not in allowed:
        expected = " or ".join(str(count) for count in allowed)
        raise InputError(f"{path} has {len(votes)} rows; expected {expected}, {EVERY_FACE}. Get it again, or set the option votes to false.")
    if int(rows.max()) >= len(votes):
        raise InputError(f"{path} has {len(votes)} rows, but the faces reach row {int(rows.max()) + 1}; expected {EVERY_FACE}. Get it again.")
    joined = votes.iloc[rows].reset_index(drop=True)
    differs = joined.pop("Usage").to_numpy() != faces["usage"].to_numpy()
    if differs.any():
        at = int(differs.argmax())
        theirs, ours = votes["Usage"].iloc[int(rows[at])], faces["usage"].iloc[at]
        place = f"{name_row(str(path), int(rows[at]) + 1)}: Usage is {theirs!r}, but the face there is of {ours!r}"
        raise InputError(f"{place}; expected {EVERY_FACE}. Set the option votes to false if these faces are in another order.")
    return pd.concat([faces.reset_index(drop=True), joined], axis=1)


def read_votes(path: Path) -> pd.DataFrame:
    """Read fer2013new.csv.

    Returns:
        One row per face of FER2013: `Usage`, then int64 columns `votes_<name>`, in the fixed order of the expressions.

    Raises:
        InputError: If the file is missing, or a column, name or vote is not as published.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; expected FER+'s fer2013new.csv. See data/raw/README.md, or set the option votes to false.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as csv ({str(error).splitlines()[0]}). Get it again.") from None
    columns = ["Usage", "Image name", *FERPLUS_COLUMNS]
    if list(table.columns) != columns:
        raise InputError(f"{path} has the columns {', '.join(map(str, table.columns))}; expected {', '.join(columns)}. Get it again.")
    counts = {FERPLUS_COLUMNS[column]: _whole(table[column], path) for column in FERPLUS_COLUMNS}
    order = [*EXPRESSIONS, *(name for name in counts if name not in EXPRESSIONS)]
    return pd.DataFrame({"Usage": table["Usage"], **{VOTES + name: counts[name] for name in order}})


def _whole(values: pd.Series, path: Path) -> np.ndarray:
    wrong = ~values.isin([str(count) for count in range(RATERS + 1)]).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        place = name_row(str(path), row + 1)
        raise InputError(f"{place}: {values.name} is {values.iloc[row]!r}; expected a number of votes, 0 to {RATERS}. Get it again.")
    return values.to_numpy().astype(np.int64)
