"""A map of the truth is believed, a blob is not, and the counts decide what is undecided."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab import control
from ferlab.explanation.control_truth import reference_maps
from ferlab.explanation.verdict import BELIEVED, FEWEST, NOT_BELIEVED, UNDECIDED, judge_methods


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, pd.DataFrame]:
    return control.read(faces=56, subjects=28, seed=2)


def judge(drawn: tuple[np.ndarray, pd.DataFrame], maps: dict[str, np.ndarray], *, right: np.ndarray | None = None) -> pd.DataFrame:
    images, faces = drawn
    classes = faces["target"].to_numpy() if right is None else np.where(right, faces["target"], -1)
    return judge_methods(faces, maps=maps, baselines=reference_maps(images), classes=classes).set_index("method")


def true_maps(drawn: tuple[np.ndarray, pd.DataFrame]) -> np.ndarray:
    """The ground-truth pixels as maps; a neutral face has none, its map is flat, so that it is not zero everywhere."""
    truth = control.carrying_mask(drawn[1], size=48) * 1.0
    truth[~truth.any(axis=(1, 2))] = 1.0
    return truth


def test_the_truth_is_believed_its_opposite_and_a_flat_map_are_not(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = control.carrying_mask(drawn[1], size=48)
    judged = judge(drawn, {"truth": true_maps(drawn), "opposite": ~truth * 1.0, "flat": np.ones(truth.shape)})
    assert judged["verdict"].to_dict() == {"truth": BELIEVED, "opposite": NOT_BELIEVED, "flat": NOT_BELIEVED}
    moving = truth.any(axis=(1, 2))
    assert judged.loc["truth", "n"] == moving.sum()
    assert judged.loc["truth", "ratio"] == pytest.approx(1 / truth[moving].mean())  # all mass on the truth, by its area
    assert judged.loc["flat", "ratio"] == pytest.approx(1)
    assert judged.loc["flat", "baseline"] == "centre"


def test_a_method_whose_maps_are_often_zero_is_not_believed(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    some, many = true_maps(drawn), true_maps(drawn)
    some[:2], many[:28] = 0, 0
    judged = judge(drawn, {"some": some, "many": many})
    assert judged["verdict"].to_dict() == {"some": BELIEVED, "many": NOT_BELIEVED}
    assert judged[["zero", "maps"]].loc["many"].tolist() == [28, 56]
    assert judged.loc["many", "n"] < judged.loc["some", "n"]
    assert judged.loc["many", "baseline_ratio"] != judged.loc["some", "baseline_ratio"]  # the baseline is asked on the same faces


def test_too_few_maps_or_an_interval_over_zero_decide_nothing(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = true_maps(drawn)
    few = judge(drawn, {"truth": truth}, right=np.arange(len(truth)) < FEWEST - 4)
    assert few.loc["truth", "verdict"] == UNDECIDED
    none = judge(drawn, {"truth": truth}, right=np.zeros(len(truth), bool))
    assert (none.loc["truth", "verdict"], none.loc["truth", "n"]) == (UNDECIDED, 0)
    blob = judge(drawn, {"blob": 3 * reference_maps(drawn[0])["centre"]}).loc["blob"]  # as good as the baseline, for it is the baseline
    assert (blob["verdict"], blob["ahead"]) == (UNDECIDED, pytest.approx(0))


def test_subjects_are_resampled_whole(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = drawn
    noise = np.random.default_rng(0).random((56, 48, 48)) ** 4
    one_person = faces.assign(subject="s1")
    row = judge_methods(one_person, maps={"m": noise}, baselines=reference_maps(images), classes=faces["target"].to_numpy()).iloc[0]
    assert row["ratio_ci_low"] == pytest.approx(row["ratio_ci_high"])  # of one subject every resample is the same
    assert judge((images, faces), {"m": noise}).loc["m", "ratio_ci_low"] < row["ratio_ci_low"]
