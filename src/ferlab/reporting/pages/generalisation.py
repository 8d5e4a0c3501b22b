"""Train beside val and test on a run's evaluation page: the table and the gap in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ferlab.reporting.tables import SPLIT_NAMES, captioned, cell, estimate
from ferlab.roles import MARKS, Exposure

NAMES = {"train": "train", **SPLIT_NAMES}


def generalisation_sentence(scores: Mapping[str, Any], seen: Exposure) -> str:
    """Report the gap of `score_generalisation`, and whether its interval excludes 0."""
    gap = scores["gap"]
    told = f"The generalisation gap, train less {NAMES[scores['judged']]}, is {estimate(gap, 'accuracy', unit='points')} in accuracy; "
    if gap["accuracy_ci_low"] > 0:
        told += "its interval excludes 0: the model fits its training faces better than new ones."
    elif gap["accuracy_ci_high"] < 0:
        told += "its interval excludes 0: the test faces are easier than the training faces."
    else:
        told += "its interval includes 0."
    told += f" Intervals are over {scores['over']}."
    return told + (" The test split selected the epoch, which makes the gap too small." if seen.role("test") == "selected_on" else "")


def generalisation_table(scores: Mapping[str, Any], seen: Exposure) -> pd.DataFrame:
    """Return one row per split, with what it was to the run, and the difference of train and test in the last row."""
    shown = {name: of for split, name in NAMES.items() if (of := scores.get(split))}
    marks = {name: MARKS[seen.role(split)] for split, name in NAMES.items()}
    rows = {name: {"role": marks[name] or "untouched", "faces": f"{of['n']:,}", **_cells(of)} for name, of in shown.items()} | {
        f"train − {NAMES[scores['judged']]}": {"role": "", "faces": "", **_cells(scores["gap"])}
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("split, without test-time augmentation")
    return captioned(table, "Accuracy and NLL on train and on the other splits, and their difference")


def _cells(scores: Mapping[str, Any]) -> dict[str, str]:
    return {"accuracy, %": cell(scores, "accuracy"), "NLL, nats": cell(scores, "nll", percent=False, digits=3)}
