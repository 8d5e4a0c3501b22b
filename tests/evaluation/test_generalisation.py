from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.generalisation import score_generalisation, with_probs
from ferlab.evaluation.predictions import predictions_table, probs_of
from ferlab.evaluation.proportions import newcombe

NAMES = ("happy", "sad")


def rows(split: str, *, right: int, n: int, sure: float = 0.9, subjects: int = 0) -> pd.DataFrame:
    """Faces of one split, the first `right` of them classified correctly; `subjects` people in turn where asked for."""
    targets = np.arange(n) % 2
    preds = np.where(np.arange(n) < right, targets, 1 - targets)
    probs = np.where(np.eye(2)[preds] == 1, sure, 1 - sure)
    table = predictions_table([f"{split}/{i}" for i in range(n)], [split] * n, targets, probs=probs, expressions=NAMES)
    return table.assign(subject=[f"{split}{i % subjects}" for i in range(n)]) if subjects else table


def faces_of(*tables: pd.DataFrame) -> pd.DataFrame:
    faces = pd.concat(tables)[["face_id", "split", "target"]].reset_index(drop=True)
    return faces.assign(duplicate_group=range(len(faces)))


def scored(**more: int) -> dict:
    train, val, test = rows("train", right=95, n=100, **more), rows("val", right=30, n=40, **more), rows("test", right=60, n=80, **more)
    return score_generalisation(train, pd.concat([val, test], ignore_index=True), faces_of(train, val, test))


def test_the_gap_in_accuracy_has_newcombes_interval():
    got, expected = scored()["gap"], newcombe(95, 100, other_successes=60, other_n=80)
    assert got["accuracy"] == pytest.approx(0.2)
    assert got["accuracy_ci_low"] == pytest.approx(expected["ci_low"], abs=1e-6)
    assert got["accuracy_ci_high"] == pytest.approx(expected["ci_high"], abs=1e-6)


def test_test_faces_with_a_duplicate_in_train_do_not_hide_the_gap():
    train, val, test = rows("train", right=95, n=100), rows("val", right=30, n=40), rows("test", right=60, n=80)
    faces = faces_of(train, val, test)
    faces.loc[140:159, "duplicate_group"] = np.arange(20)  # the first 20 test faces, all of them right
    got = score_generalisation(train, pd.concat([val, test], ignore_index=True), faces)
    assert (got["judged"], got["test_dedup"]["n"]) == ("test_dedup", 60)
    assert got["gap"]["accuracy"] == pytest.approx(95 / 100 - 40 / 60)
    faces.loc[140:, "duplicate_group"] = np.arange(80)
    assert score_generalisation(train, pd.concat([val, test], ignore_index=True), faces)["judged"] == "test"


def test_nll_by_hand():
    got = scored()
    right, wrong = -np.log(0.9), -np.log(0.1)
    assert got["train"]["nll"] == pytest.approx(0.95 * right + 0.05 * wrong, rel=1e-6)
    assert got["test"]["nll"] == pytest.approx(0.75 * right + 0.25 * wrong, rel=1e-6)
    assert got["gap"]["nll"] == pytest.approx(0.2 * (right - wrong), rel=1e-6)
    assert got["gap"]["nll_ci_low"] < got["gap"]["nll"] < got["gap"]["nll_ci_high"] < 0
    assert [got[split]["n"] for split in ("train", "val", "test", "test_dedup")] == [100, 40, 80, 80]


def test_where_faces_name_subjects_intervals_are_over_subjects():
    got = scored(subjects=5)
    assert (got["over"], scored()["over"]) == ("subjects", "faces")
    # The first faces are the right ones and subjects take turns, so no subject differs: a subject counts as one face.
    assert got["train"]["accuracy_ci_high"] - got["train"]["accuracy_ci_low"] > 3 * (
        scored()["train"]["accuracy_ci_high"] - scored()["train"]["accuracy_ci_low"]
    )


def test_other_probabilities_keep_the_faces_and_what_is_known_of_them():
    table = rows("test", right=6, n=8, subjects=2).assign(value_arousal=0.5)
    other = with_probs(table, probs_of(table)[:, ::-1])
    assert list(other["pred"]) == list(1 - table["pred"])
    assert other[["face_id", "subject", "value_arousal"]].equals(table[["face_id", "subject", "value_arousal"]])


@pytest.mark.slow
def test_the_interval_of_the_nll_gap_covers_at_its_rate():
    """200 draws of a model whose probabilities are spread, at a known gap."""
    rng, hits = np.random.default_rng(3), 0
    expected = {n: 1 + n for n in (0.0, 0.5)}  # the mean of an exponential loss plus a shift
    for _ in range(200):
        split = {}
        for name, shift, n in (("train", 0.0, 300), ("test", 0.5, 100)):
            probs = np.exp(-rng.exponential(size=n) - shift)
            table = predictions_table(
                [f"{name}/{i}" for i in range(n)], [name] * n, np.zeros(n, int), probs=np.c_[probs, 1 - probs], expressions=NAMES
            )
            split[name] = table
        gap = score_generalisation(split["train"], split["test"], faces_of(*split.values()))["gap"]
        hits += gap["nll_ci_low"] <= expected[0.0] - expected[0.5] <= gap["nll_ci_high"]
    assert 0.92 <= hits / 200 <= 0.98
