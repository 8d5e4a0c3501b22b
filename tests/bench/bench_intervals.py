"""Bench: all metrics of 3,589 faces with their 95 % intervals, in at most 5 CPU seconds; beside a bare bootstrap of the same faces by scikit-learn.

    python tests/bench/bench_intervals.py

Ours: everything that the evaluation says of one split of FER2013's size at 2,000 draws (accuracy to the rank of the label, per class), its
comparison of scalings, confidence scores and prediction sets on held-out faces, and its comparison with ten votes a face. Bare: scikit-learn's
accuracy, balanced accuracy, macro F1, MCC and NLL of as many drawn samples, timed on a twentieth of them: no calibration, no classes, no ranks.
Both run on one thread.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # Keep: before NumPy is imported

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, matthews_corrcoef

from ferlab.data.faces import VOTES
from ferlab.data.readers.ferplus import BALLOT
from ferlab.evaluation import conformal, scaling, selective
from ferlab.evaluation.calibration_scores import score_scalings
from ferlab.evaluation.held_out import hold_out
from ferlab.evaluation.predictions import faces_in, predictions_table, probs_of
from ferlab.evaluation.scores import score_split
from ferlab.evaluation.votes import score_votes
from ferlab.expressions import EXPRESSIONS
from ferlab.roles import Exposure

LIMIT = 5.0  # CPU seconds
FACES, DRAWS, PART = 3589, 2000, 20
K = len(EXPRESSIONS)


def faces(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return predictions of a model that is right in 65 % of val and test, and the face table with ten votes a face."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.55, (2 * FACES, K))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random(2 * FACES)[:, None] > probs.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    sharper = probs**1.4 / (probs**1.4).sum(axis=1, keepdims=True)
    ids, splits = [f"x/{i:05d}" for i in range(2 * FACES)], ["val"] * FACES + ["test"] * FACES
    votes = rng.multinomial(10, probs)
    known = {VOTES + name: votes[:, EXPRESSIONS.index(name)] if name in EXPRESSIONS else 0 for name in BALLOT}
    table = predictions_table(ids, splits, targets, probs=sharper, expressions=EXPRESSIONS)
    return table, pd.DataFrame({"face_id": ids, "split": splits, "duplicate_group": np.arange(2 * FACES), **known})


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call, the least of two."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def judge_held_out(table: pd.DataFrame, known: pd.DataFrame) -> None:
    held = hold_out(table, known, Exposure(("train",), ("val",)))
    scaled, fitted = scaling.scale_held_out(held)
    score_scalings(held, scaled, fitted, resamples=DRAWS)
    selective.score_selective(held, scaled)
    conformal.compare_sets(held)
    score_votes(held, known, scaled)


def bootstrap(rows: pd.DataFrame) -> None:
    """Compute scikit-learn's five metrics of drawn samples, one at a time."""
    rng = np.random.default_rng(0)
    targets, preds = rows["target"].to_numpy(), rows["pred"].to_numpy()
    probs = probs_of(rows).astype(np.float64)
    probs = probs / probs.sum(axis=1, keepdims=True)
    for _ in range(DRAWS // PART):
        drawn = rng.integers(0, FACES, FACES)
        true, pred = targets[drawn], preds[drawn]
        accuracy_score(true, pred), balanced_accuracy_score(true, pred), f1_score(true, pred, average="macro"), matthews_corrcoef(true, pred)
        log_loss(true, probs[drawn], labels=range(K))


def main() -> int:
    """Print CPU seconds and the ratio; return 1 beyond the limit."""
    table, known = faces()
    test = faces_in(table, "test")
    split = cpu_seconds(lambda: score_split(test, resamples=DRAWS))
    held = cpu_seconds(lambda: judge_held_out(table, known))
    bare = PART * cpu_seconds(lambda: bootstrap(test))
    print(f"all metrics of {FACES:,} faces with intervals: {split:.2f} CPU s; scalings, scores, sets and votes: {held:.2f} CPU s")
    print(f"together {split + held:.2f} CPU s (limit {LIMIT:g}); scikit-learn's bootstrap of five metrics, {DRAWS:,} draws: {bare:.1f} CPU s")
    print(f"ratio {(split + held) / bare:.3f}")
    return int(split + held > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
