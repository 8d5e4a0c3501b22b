"""Predictions of val and test with known calibration, for the tests of what is fitted on val and judged on test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.held_out import HeldOut, hold_out
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.temperature import scale
from ferlab.roles import Exposure

NAMES = ("angry", "happy", "sad", "neutral")
SEEN = Exposure(("train",), ("val",))


def face_table(n: int, *, subjects: int = 0) -> pd.DataFrame:
    """Return 2 n faces, half of val and half of test, without duplicates."""
    faces = pd.DataFrame({"face_id": [f"x/{i:05d}" for i in range(2 * n)], "split": ["val"] * n + ["test"] * n, "duplicate_group": np.arange(2 * n)})
    return faces.assign(subject=[f"p{i % subjects}" for i in range(2 * n)]) if subjects else faces


def predictions(n: int, *, temperature: float = 1.0, seed: int = 0, spread: float = 2.0) -> pd.DataFrame:
    """Return predictions of these faces, calibrated by a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (2 * n, 4))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random(2 * n)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(max=3)
    ids = face_table(n)["face_id"].tolist()
    return predictions_table(ids, ["val"] * n + ["test"] * n, targets, probs=scale(true, 1 / temperature), expressions=NAMES)


def held_out(n: int, *, subjects: int = 0, temperature: float = 1.0, seed: int = 0, spread: float = 2.0) -> HeldOut:
    return hold_out(predictions(n, temperature=temperature, seed=seed, spread=spread), face_table(n, subjects=subjects), SEEN)
