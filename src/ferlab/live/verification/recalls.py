"""How often a model recalls each expression, for choosing which expressions a check asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferlab.evaluation.kept import read_kept
from ferlab.evaluation.predictions import count_confusions, expressions_of, faces_in, read_predictions
from ferlab.paths import SHIPS, InputError, artefact

REPOSITORY = Path(__file__).resolve().parents[4]  # not ROOT: the shipped model's predictions come with the code
KEPT = REPOSITORY / "reports" / "published" / "shipped" / "predictions" / "none.parquet"  # of PublicTest


@dataclass(frozen=True)
class Recalls:
    """Counts behind the recalls of a model.

    Attributes:
        confusions: int (K, K), rows actual.
        expressions: K names.
        faces: What they were counted on, in words.
    """

    confusions: np.ndarray
    expressions: tuple[str, ...]
    faces: str

    def by_expression(self) -> dict[str, float]:
        """Return the recall of each expression; NaN for one without faces."""
        support = self.confusions.sum(axis=1)
        return {name: float(hits / n) if n else float("nan") for name, hits, n in zip(self.expressions, np.diagonal(self.confusions), support)}


def read_recalls(model: str) -> Recalls:
    """Return what a model recalls on the test faces of its evaluation.

    Args:
        model: "shipped", or a run of params.yaml.

    Raises:
        InputError: If there are no predictions.
    """
    shipped = model == SHIPS
    path = KEPT if shipped else artefact("evaluate", "predictions", model)
    if not path.is_file():
        raise InputError(
            f"{model}: no predictions of test faces ({path.name}), so its recalls are unknown; `dvc repro` evaluates the runs of params.yaml"
        )
    rows = faces_in(read_kept(path) if shipped else read_predictions(path), "test")
    names = expressions_of(rows)
    confusions = count_confusions(rows["target"].to_numpy(), rows["pred"].to_numpy(), num_classes=len(names))
    return Recalls(confusions, names, "FER2013 PublicTest" if shipped else f"test faces of {model}")
