"""Predictions kept in the repository, so that published numbers can be recomputed by anyone, without the dataset.

A kept table is a predictions table with float16 probabilities (14 bytes a face for seven expressions) and the column `duplicate`: the test face
has an exact, mirrored or near-duplicate in train or val. It holds no pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.evaluation.deduplicated import MARK, accuracy_at_mix, compare_duplicates, mark_duplicates, split_rows
from ferlab.evaluation.predictions import PROB_PREFIX, check_predictions, expressions_of, faces_in, probs_of
from ferlab.paths import InputError

RECOMPUTED = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy")
# Float16 keeps 11 bits: counts of right faces are kept exactly (see `keep`), NLL and ECE to this.
TOLERANCE = 1e-3


def keep(predictions: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Return the kept table of a run: `face_id, split, target, pred, prob_<expression>..., duplicate`.

    Where rounding to float16 would tie the predicted expression with another, its probability is raised by one step, so `pred` stays the
    first largest probability and every count of correct faces stays what it was.

    Args:
        predictions: The run's predictions table.
        faces: The face table of its prepared dataset, with `duplicate_group`.
    """
    table, marked = check_predictions(predictions).reset_index(drop=True), mark_duplicates(predictions, faces).set_index("face_id")
    probs, preds = probs_of(table).astype(np.float16), table["pred"].to_numpy()
    tied = np.flatnonzero(probs.argmax(axis=1) != preds)
    probs[tied, preds[tied]] = np.nextafter(probs[tied].max(axis=1), np.float16(2))
    columns = pd.DataFrame(probs, columns=[PROB_PREFIX + name for name in expressions_of(table)])
    small = table[["target", "pred"]].astype(np.int8)
    return pd.concat([table[["face_id", "split"]], small, columns, table["face_id"].isin(marked.index[marked[MARK]]).rename(MARK)], axis=1)


def write_kept(path: Path, kept: pd.DataFrame) -> None:
    """Write a table from `keep` as parquet; equal tables give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(kept, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")


def read_kept(path: Path) -> pd.DataFrame:
    """Read a table written by `write_kept`; its probabilities come back as float32.

    Raises:
        InputError: A missing file, or one that is no kept table.
    """
    try:
        table = pq.read_table(path).to_pandas()
        if MARK not in table:
            raise InputError(f"{path.name}: expected the columns of kept predictions, missing {MARK}; restore it with git")
        wide = table.astype({"target": np.int64, "pred": np.int64, **{c: np.float32 for c in table if c.startswith(PROB_PREFIX)}})
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{path.name}: no kept predictions ({' '.join(str(error).split())[:120]}); restore it with git") from None
    return check_predictions(wide, source=path.name)


def rescore(kept: pd.DataFrame) -> dict[str, Any]:
    """Return what a kept table says of a run, under the keys of its metrics file: each split's metrics, `duplicates` and `n`.

    Bounds of differences and of accuracies with and without duplicates are Wilson's and Newcombe's; other intervals are left to `evaluate`.
    """
    test = faces_in(kept, "test")
    splits = split_rows(kept, test)
    scores: dict[str, Any] = {name: _metrics(rows) for name, rows in splits.items() if len(rows)}
    if "test_dedup" in scores:
        scores["test_dedup"] |= accuracy_at_mix(splits["test_dedup"], test["target"])
    return {**scores, "duplicates": compare_duplicates(test), "n": {name: len(rows) for name, rows in splits.items()}}


def differences(scores: Mapping[str, Any], recomputed: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return where a run's metrics file and its kept predictions disagree: `{"test.accuracy": (file's, recomputed)}`; empty where they agree."""
    found = {}
    for split in ("val", "test", "test_dedup", "duplicates"):
        ours, theirs = recomputed.get(split), scores.get(split)
        for key in (ours or {}) if theirs else ():
            if key in theirs and not _agree(theirs[key], ours[key]):
                found[f"{split}.{key}"] = (theirs[key], ours[key])
    return found


def _metrics(rows: pd.DataFrame) -> dict[str, float]:
    from ferlab.evaluation.metrics import compute_metrics  # Keep: who only reads a kept table starts no PyTorch

    metrics = compute_metrics(rows["target"].to_numpy(), probs_of(rows), expressions=expressions_of(rows))
    return {key: metrics[key] for key in RECOMPUTED}


def _agree(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= TOLERANCE
