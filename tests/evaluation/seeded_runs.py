"""Predictions of runs that differ in their seed, for tests of what compares runs or lets them vote."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.predictions import predictions_table

NAMES = ("angry", "happy", "sad")


def table(seed: int, *, n: int = 60, skill: float = 1.5, prefix: str = "f") -> pd.DataFrame:
    targets = np.random.default_rng(99).integers(0, 3, n)
    logits = np.random.default_rng(seed).normal(size=(n, 3))
    logits[np.arange(n), targets] += skill
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    splits = ["val"] * (n // 2) + ["test"] * (n - n // 2)
    return predictions_table([f"{prefix}{i}" for i in range(n)], splits, targets, probs=probs, expressions=NAMES)
