"""Losses on covered faces: paired by photograph, by hand, over faces and over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from ferlab.error_analysis.covered_transfer import compare_losses
from ferlab.error_analysis.other_sets import OWN

SETS = {"whole_0": "faces", "whole_1": "faces", "covered_0": "covered", "covered_1": "covered"}
PAIRS = [("whole_0", "covered_0"), ("whole_1", "covered_1")]
FACES = [f"f{number}" for number in range(6)]


def transfer(own: list[int], other: list[int], *, compared: str, faces: list[str] = FACES) -> pd.DataFrame:
    """Return the predictions of a run on its own set and on another: 1 is correct."""
    rows = {"face_id": faces * 2, "compared": compared, "set": [OWN] * len(own) + [compared] * len(other), "target": 1, "pred": own + other}
    return pd.DataFrame(rows)


TABLES = {
    "whole_0": transfer([1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0], compared="covered"),  # loses 3 of 6
    "covered_0": transfer([1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 0], compared="faces"),  # loses 1 of 6
    "whole_1": transfer([1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], compared="covered"),  # loses 2 of 6
    "covered_1": transfer([1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1], compared="faces"),  # gains 1 of 6
}


def test_losses_are_those_of_the_same_photographs_by_hand() -> None:
    found = compare_losses(TABLES, PAIRS, SETS)
    assert (found["seeds"], found["n"]) == (2, 6)
    assert (found["whole"], found["covered"]) == pytest.approx((2.5 / 6, 0.0))
    by_face = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]) - np.array([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, -1]])
    expected = ttest_1samp(by_face.mean(axis=0), 0)
    assert (found["difference"], found["p"]) == pytest.approx((2.5 / 6, expected.pvalue))
    assert (found["difference_ci_low"], found["difference_ci_high"]) == pytest.approx(tuple(expected.confidence_interval()))
    over_seeds = ttest_1samp(by_face.mean(axis=1), 0).confidence_interval()
    assert (found["seeds_ci_low"], found["seeds_ci_high"]) == pytest.approx(tuple(over_seeds))


def test_photographs_that_one_run_was_not_scored_on_do_not_count() -> None:
    fewer = {**TABLES, "covered_0": transfer([1, 1, 0], [1, 0, 0], compared="faces", faces=FACES[:3])}
    assert compare_losses(fewer, PAIRS, SETS)["n"] == 3
    assert compare_losses({**TABLES, "covered_0": transfer([1], [1], compared="faces", faces=["x"])}, PAIRS, SETS) == {}


def test_one_seed_has_no_interval_over_seeds() -> None:
    found = compare_losses(TABLES, PAIRS[:1], SETS)
    assert found["difference"] == pytest.approx(2 / 6)
    assert np.isnan(found["seeds_ci_low"])
