"""Scored faces for the tests of the error explorer: six by hand, and as many synthetic ones as asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ferlab.evaluation.predictions import predictions_table
from ferlab.expressions import EXPRESSIONS
from ferlab.live.exploration.scored import Scored

NAMES = ("angry", "happy", "sad")
# Two angry (one predicted as sad), three happy (all correct), one sad (predicted as angry); the last two are test faces.
TARGETS = np.array([0, 0, 1, 1, 1, 2])
PROBS = np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.9, 0.0], [0.2, 0.6, 0.2], [0.0, 1.0, 0.0], [0.5, 0.2, 0.3]])


def six_faces(run: str = "a_run", probs: np.ndarray = PROBS) -> Scored:
    """Return six faces, each filled with its number; the images lie in reverse order."""
    ids = [f"control/{n:07d}" for n in range(6)]
    table = predictions_table(ids, ["val"] * 4 + ["test"] * 2, TARGETS, probs=probs, expressions=NAMES)
    faces = pd.DataFrame(
        {
            "face_id": ids,
            "split": ["val"] * 4 + ["test"] * 2,
            "target": TARGETS,
            "occluder": ["none", "mask", "none", "mask", "none", "none"],
            "intensity": [0, 1, 2, 3, 4, 5],
            "glasses": [True, False, False, False, False, False],
            "source": "control",
        }
    )
    images = np.stack([np.full((8, 8), n, np.uint8) for n in range(5, -1, -1)])
    return Scored(run, table, faces, images, np.arange(5, -1, -1))


def synthetic(n: int, *, seed: int = 0) -> Scored:
    """Return `n` scored faces of noise, 65 % correct, with columns of each kind; 100 pictures stand for all."""
    rng, k = np.random.default_rng(seed), len(EXPRESSIONS)
    probs = rng.dirichlet(np.full(k, 0.4), n).astype(np.float32)
    targets = np.where(rng.random(n) < 0.6, probs.argmax(axis=1), rng.integers(0, k, n))
    ids, splits = [f"synthetic/{i:07d}" for i in range(n)], rng.choice(["val", "test"], n)
    columns = {"occluder": rng.choice(["none", "hand", "mask"], n), "intensity": rng.uniform(0, 5, n), "yaw": rng.normal(0, 20, n)}
    faces = pd.DataFrame({"face_id": ids, "split": splits, "target": targets, **columns, "glasses": rng.random(n) < 0.2})
    table = predictions_table(ids, list(splits), targets, probs=probs, expressions=EXPRESSIONS)
    return Scored("synthetic", table, faces, rng.integers(0, 255, (100, 48, 48), np.uint8), np.arange(n) % 100)


def tiny_model(target_layer: str | None = "1"):
    import torch

    from ferlab.models import LoadedModel

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(512, 3)).eval()
    own = {"module": module, "name": "tiny", "options": {}, "expressions": NAMES, "mean": (0.5,), "std": (0.2,)}
    return LoadedModel(**own, size=16, channels=1, target_layer=target_layer, trained_on=("train",))


def with_model(scored, **options):
    model = tiny_model(**options)
    return replace(scored, load=lambda: model)
