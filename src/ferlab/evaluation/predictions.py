"""The predictions table: one row per scored face, and all that an evaluation knows of a model. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.expressions import SPLITS
from ferlab.paths import InputError

PROB_PREFIX = "prob_"
# Float32 softmax rows miss 1 by a few 1e-7; bf16 rows and test-time averages by less than this.
SUM_TOLERANCE = 1e-3


def predictions_table(
    face_ids: Sequence[str],
    splits: Sequence[str],
    targets: np.ndarray,
    *,
    probs: np.ndarray,
    expressions: Sequence[str],
    subjects: Sequence[str] | pd.Series | None = None,
) -> pd.DataFrame:
    """Return the checked predictions table of scored faces: `face_id, split, target, pred, prob_<expression>...`, and `subject` where some are known.

    Args:
        face_ids: (N,) unique, in store order.
        splits: (N,) of "train", "val", "test".
        targets: (N,) int, true class ids.
        probs: (N, K) float, rows summing to 1; `pred` is the first largest.
        expressions: (K,) names in the order of the columns of `probs`.
        subjects: (N,), missing where a face names none; bounds of scores are over them.

    Raises:
        InputError: See `check_predictions`; also where the lengths differ.
    """
    probs = np.asarray(probs, dtype=np.float32)
    if probs.shape != (len(face_ids), len(expressions)) or len(splits) != len(face_ids) or len(targets) != len(face_ids):
        raise InputError(
            f"predictions: expected probabilities of shape ({len(face_ids)}, {len(expressions)}) with as many splits and targets,"
            f" got shape {probs.shape}, {len(splits)} splits and {len(targets)} targets"
        )
    table = pd.DataFrame(
        {
            "face_id": np.asarray(face_ids, dtype=object),
            "split": np.asarray(splits, dtype=object),
            "target": np.asarray(targets, dtype=np.int64),
            "pred": probs.argmax(axis=1).astype(np.int64) if len(probs) else np.empty(0, np.int64),
        }
    ).astype({"face_id": "str", "split": "str"})
    columns = pd.DataFrame(probs, columns=[PROB_PREFIX + name for name in expressions])
    named = {} if subjects is None or pd.isna(subjects).all() else {"subject": np.asarray(subjects)}
    return check_predictions(pd.concat([table, columns], axis=1).assign(**named))


def check_predictions(predictions: pd.DataFrame, source: str = "predictions") -> pd.DataFrame:
    """Return the table unchanged if it keeps the contract; errors name `source`.

    Raises:
        InputError: A missing column, no rows, a repeated face, an unknown split, a target out of range, a probability outside [0, 1], a row that
            does not sum to 1, or a `pred` that is not the largest probability.
    """
    missing = [c for c in ("face_id", "split", "target", "pred") if c not in predictions]
    expressions = expressions_of(predictions)
    if missing or len(expressions) < 2:
        wanted = ", ".join(missing) or "prob_<expression> (two or more)"
        raise InputError(f"{source}: expected the columns of a predictions table, missing {wanted}; run evaluate again")
    if predictions.empty:
        raise InputError(f"{source}: no rows; expected one per scored face")
    probs = probs_of(predictions)
    targets = predictions["target"].to_numpy()
    faults = {
        "face_id is repeated": predictions["face_id"].duplicated().to_numpy(),
        f"split is none of {', '.join(SPLITS)}": ~predictions["split"].isin(SPLITS).to_numpy(),
        f"target is not in 0..{len(expressions) - 1}": (targets < 0) | (targets >= len(expressions)),
        "a probability is not a number from 0 to 1": ~(np.isfinite(probs) & (probs >= 0) & (probs <= 1 + SUM_TOLERANCE)).all(axis=1),
        "the probabilities do not sum to 1": ~(np.abs(probs.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE),
        "pred is not the largest probability": predictions["pred"].to_numpy() != probs.argmax(axis=1),
    }
    for fault, rows in faults.items():
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            face = predictions["face_id"].iloc[row]
            raise InputError(f"{source}: row {row} ({face}): {fault} ({int(rows.sum())} such rows); expected a table written by evaluate")
    return predictions


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Check a predictions table and write it as parquet; equal tables give equal bytes."""
    table = pa.Table.from_pandas(check_predictions(predictions), preserve_index=False)
    # Keep: pandas' own metadata names library versions, which would change the bytes without a change of predictions.
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")


def read_predictions(path: Path) -> pd.DataFrame:
    """Read and check a predictions table.

    Raises:
        InputError: A missing file, or a table that breaks the contract.
    """
    if not path.is_file():
        raise InputError(f"{path.name}: no predictions at {path.parent.name}/{path.name}; run the evaluate stage of this run first")
    try:
        table = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.parent.name}/{path.name}: not readable as parquet ({str(error).splitlines()[0]}); run evaluate again") from None
    return check_predictions(table, source=f"{path.parent.name}/{path.name}")


def expressions_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Return the expressions of a table, in the order of its probability columns."""
    return tuple(str(c).removeprefix(PROB_PREFIX) for c in predictions.columns if str(c).startswith(PROB_PREFIX))


def probs_of(predictions: pd.DataFrame) -> np.ndarray:
    """Return the probabilities, (N, K) float32."""
    return predictions[[PROB_PREFIX + name for name in expressions_of(predictions)]].to_numpy(dtype=np.float32)


def subjects_of(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the subject of each row, (N,) str; None where the table names none, or fewer than two, or not for all rows."""
    if "subject" not in rows or rows["subject"].isna().any() or rows["subject"].nunique() < 2:
        return None
    return rows["subject"].to_numpy(dtype=str)


def top3_hits(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return bool (N,): whether the true class has one of the three largest probabilities; ties go to the lower class id, as in argmax."""
    return np.asarray((np.argsort(-probs, axis=1, kind="stable")[:, :3] == np.asarray(targets)[:, None]).any(axis=1))


def count_confusions(targets: np.ndarray, preds: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Return the confusion matrix, (K, K) int64: rows actual, columns predicted."""
    cells = np.asarray(targets, dtype=np.int64) * num_classes + np.asarray(preds, dtype=np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the confusion matrix: (K, K) counts, actual as rows, predicted as columns, expressions as names."""
    names = list(expressions_of(rows))
    counts = count_confusions(rows["target"].to_numpy(), rows["pred"].to_numpy(), num_classes=len(names))
    return pd.DataFrame(counts, index=pd.Index(names, name="actual"), columns=pd.Index(names, name="predicted"))


def named_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `actual, predicted` by name, one row per face, for DVC's confusion template."""
    names = np.array(expressions_of(rows))
    return pd.DataFrame({"actual": names[rows["target"].to_numpy()], "predicted": names[rows["pred"].to_numpy()]})


def faces_in(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of one split, in order.

    Raises:
        InputError: If the table holds no face of that split.
    """
    rows = predictions[predictions["split"] == split]
    if rows.empty:
        raise InputError(f"predictions: no face of the {split} split among {len(predictions)} rows; check how prepare splits this set")
    return rows.reset_index(drop=True)
