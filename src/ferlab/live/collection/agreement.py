"""A second person labels stored faces without seeing the first label, and how far the two agree.

References:
    Cohen (1960), A coefficient of agreement for nominal scales: kappa, and its interval with the chance agreement held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.proportions import wilson
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.live.collection.storage import Collection


@dataclass(frozen=True)
class LabelAgreement:
    """How far the labels of two people agree.

    Attributes:
        n: Second labels; a face has one of each labeller.
        faces: That have them.
        agreed: Second labels that are the first.
        kappa: Cohen's; NaN where both gave one and the same label to all faces, or without faces.
        low: Lower bound of the 95 % interval.
        high: Upper bound. The bounds are Wilson's of the agreement, over faces, with the chance agreement held fixed (Cohen, 1960); NaN where
            one face has all labels. Faces of one person resemble each other, so with few people the truth lies outside more often.
        people: Of whom the faces are.
        confusion: Rows: the person's own label; columns: the second label; counts.
    """

    n: int
    faces: int
    agreed: int
    kappa: float
    low: float
    high: float
    people: int
    confusion: pd.DataFrame

    @property
    def sentence(self) -> str:
        """The result in one line."""
        if not self.n:
            return "No face has two labels yet."
        whose = f"of {self.people} {'person' if self.people == 1 else 'people'}"
        several = f"{self.agreed} of {self.n} second labels of {self.faces} {'face' if self.faces == 1 else 'faces'} {whose} are the first"
        told = f"{self.agreed} of {self.n} faces {whose} have the same label twice" if self.faces == self.n else several
        if np.isnan(self.kappa):
            return f"{told}; kappa is not defined, since both people named one expression only."
        bounds = "" if np.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{told}; Cohen's kappa {self.kappa:.2f}{bounds}."


def blind_queue(collection: Collection, labeller: str, *, seed: int = 0) -> list[str]:
    """Return the files of stored faces that a person has not labelled and that are not their own, in random order; labels stay unread.

    The order is drawn from `seed` and the labeller, so that neighbours in time are no hint.
    """
    labelled = {row["file"] for row in collection.rows("labels.csv") if row["labeller"] == labeller}
    faces = collection.faces()
    files = sorted(faces.loc[(faces["person"] != labeller), "file"])
    order = np.random.default_rng([seed, *labeller.encode()]).permutation(len(files))
    return [files[place] for place in order if files[place] not in labelled]


def two_labels(collection: Collection, *, labeller: str | None = None) -> pd.DataFrame:
    """Return `file, person, own, second, labeller`: a row per face and label by another, of one labeller or of all."""
    own = collection.faces().rename(columns={"expression": "own"})[["file", "person", "own"]]
    others = pd.DataFrame(collection.rows("labels.csv"), columns=["file", "labeller", "expression", "time"], dtype=object)
    both = own.merge(others.rename(columns={"expression": "second"})[["file", "labeller", "second"]], on="file")
    return both if labeller is None else both[both["labeller"] == labeller].reset_index(drop=True)


def measure_agreement(pairs: pd.DataFrame) -> LabelAgreement:
    """Measure the agreement of `own` and `second`, as from `two_labels`; with several labellers, of all pairs together."""
    from sklearn.metrics import cohen_kappa_score

    names = named_in_order([*pairs["own"], *pairs["second"]])
    confusion = pd.crosstab(pairs["own"], pairs["second"]).reindex(index=names, columns=names, fill_value=0)
    same, faces, people = (pairs["own"] == pairs["second"]).to_numpy(), pairs["file"].nunique(), pairs["person"].nunique()
    n, agreed = len(pairs), int(same.sum())
    if len(names) < 2:
        return LabelAgreement(n, faces, agreed, np.nan, np.nan, np.nan, people, confusion)
    chance = float(confusion.sum(axis=1).to_numpy() @ confusion.sum(axis=0).to_numpy()) / n**2
    bounds = wilson(agreed, n) if faces == n else cluster_proportion(same, pairs["file"].to_numpy())
    low, high = ((bound - chance) / (1 - chance) for bound in bounds)
    kappa = float(cohen_kappa_score(pairs["own"], pairs["second"], labels=names, weights=None))
    return LabelAgreement(n, faces, agreed, kappa, low, high, people, confusion)


def named_in_order(labels: Sequence[str]) -> list[str]:
    """Return the distinct labels, in the order of the expressions."""
    return sorted(set(labels), key=lambda name: (ALL_EXPRESSIONS.index(name) if name in ALL_EXPRESSIONS else len(ALL_EXPRESSIONS), name))
