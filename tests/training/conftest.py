from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ferlab.data.store import Store
from ferlab.params import Train


@pytest.fixture
def toy_store() -> Callable[..., Store]:
    """Return a maker of small sets in which a bright bar's place is the class."""

    def make(count: int = 120, classes: int = 3) -> Store:
        generator = np.random.default_rng(0)
        targets = np.arange(count) % classes
        images = generator.integers(0, 160, (count, 48, 48)).astype(np.uint8)
        for row, target in enumerate(targets):
            images[row, 12 * target + 4 : 12 * target + 12] = 250
        splits = np.where(np.arange(count) < 0.6 * count, "train", np.where(np.arange(count) < 0.8 * count, "val", "test"))
        return Store(images=images, faces=pd.DataFrame({"target": targets, "split": splits}), expressions=("angry", "happy", "sad")[:classes])

    return make


@pytest.fixture
def settings() -> Callable[..., Train]:
    """Return a maker of training settings, short ones."""

    def make(**changes: object) -> Train:
        values = {
            "epochs": 3,
            "batch_size": 24,
            "optimizer": "sgd",
            "lr": 0.02,
            "weight_decay": 5e-4,
            "schedule": "one_cycle",
            "precision": "32-true",
            "threads": 1,
            "rotation": 10.0,
            "shift": 0.05,
        }
        return Train(**{**values, **changes})  # type: ignore[arg-type]

    return make
