"""Variance components against REML and hand-computed mean squares; intervals against simulations in which faces and seeds both vary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from seeded_runs import table
from statsmodels.regression.mixed_linear_model import MixedLM

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.comparison import compare_correctness, paired_difference_bounds
from ferlab.evaluation.faces_and_seeds import (
    accuracy_with_doubt,
    difference_with_doubt,
    differences_with_doubt,
    groups_with_doubt,
    variance_components,
)
from ferlab.evaluation.proportions import wilson

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
OF_FACES = 2.5  # standard deviation of the difficulty of faces, on the scale of the logit: most are always or never classified correctly


def accuracy_of(logit: float) -> float:
    """Return the accuracy over all faces of a run of this mean logit."""
    return float(WEIGHTS @ expit(logit + OF_FACES * NODES))


def drawn(rng: np.random.Generator, *, accuracy: float, sd: float, faces: int = 400, seeds: int = 3) -> tuple[np.ndarray, float]:
    """Return correctness (faces, seeds) from a mixed logistic model, and the accuracy over all faces of one more seed."""
    mean = brentq(lambda logit: accuracy_of(logit) - accuracy, -15, 15)
    slope = (accuracy_of(mean + 1e-3) - accuracy_of(mean - 1e-3)) / 2e-3
    of_seeds = rng.normal(0, sd / slope, seeds + 1)
    logits = mean + rng.normal(0, OF_FACES, faces)[:, None] + of_seeds[:seeds]
    return rng.random((faces, seeds)) < expit(logits), accuracy_of(mean + of_seeds[-1])


def test_components_equal_the_mean_squares_of_a_two_way_layout() -> None:
    correct = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]], bool)
    values, n, seeds = correct.astype(float), 5, 3
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    of_faces = seeds * ((rows - mean) ** 2).sum() / (n - 1)
    of_seeds = n * ((columns - mean) ** 2).sum() / (seeds - 1)
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (seeds - 1))
    found = variance_components(correct)
    assert found.faces == pytest.approx(of_faces / (n * seeds))
    assert found.between == pytest.approx(of_seeds / n)
    assert found.rest == pytest.approx(rest / n)
    assert found.of_seeds == pytest.approx((of_seeds - rest) / n)
    # One run on n faces: the variance of its faces and the rest, over n.
    assert found.one_run == pytest.approx((of_faces - rest) / seeds / n + rest / n)
    assert variance_components(correct, subjects=np.arange(5)) == found  # every face a subject of its own


def test_components_equal_those_of_reml() -> None:
    rng = np.random.default_rng(3)
    correct, _ = drawn(rng, accuracy=0.7, sd=0.12, faces=40, seeds=5)
    long = pd.DataFrame(correct.astype(float)).melt(ignore_index=False, var_name="seed", value_name="y").reset_index(names="face")
    crossed = {"face": "0 + C(face)", "seed": "0 + C(seed)"}
    model = MixedLM.from_formula("y ~ 1", long, groups=np.zeros(len(long)), vc_formula=crossed).fit()
    of_face, of_seed = model.vcomp
    found = variance_components(correct)
    assert found.of_seeds == pytest.approx(of_seed, rel=0.01)
    assert found.faces == pytest.approx((of_face + model.scale / 5) / 40, rel=0.01)


def test_one_seed_has_the_interval_over_faces_alone() -> None:
    correct = (np.arange(200) < 150)[:, None]
    found = accuracy_with_doubt(correct)
    assert found["seeds"] == 1
    assert found["larger"] == "unknown"
    assert all(np.isnan(found[key]) for key in ("new_ci_low", "new_ci_high", "seeds_sd", "seeds_sd_ci_low", "seeds_sd_ci_high"))
    assert (found["faces_ci_low"], found["faces_ci_high"]) == pytest.approx(wilson(150, 200), abs=0.001)


def test_two_runs_that_agree_on_every_face_bring_no_new_faces() -> None:
    one = np.random.default_rng(0).random((300, 1)) < 0.8
    once, twice = accuracy_with_doubt(one), accuracy_with_doubt(np.repeat(one, 2, axis=1))
    assert (twice["faces_ci_low"], twice["faces_ci_high"]) == pytest.approx((once["faces_ci_low"], once["faces_ci_high"]))
    assert twice["seeds_sd"] == twice["seeds_sd_ci_high"] == 0
    assert twice["larger"] == "faces"
    assert (twice["new_ci_low"], twice["new_ci_high"]) == pytest.approx((twice["faces_ci_low"], twice["faces_ci_high"]))


def test_with_two_seeds_the_spread_is_hardly_known() -> None:
    rng = np.random.default_rng(1)
    widths = {}
    for seeds in (2, 3, 8):
        found = [accuracy_with_doubt(drawn(rng, accuracy=0.8, sd=0.01, seeds=seeds)[0]) for _ in range(30)]
        widths[seeds] = np.median([each["new_ci_high"] - each["new_ci_low"] for each in found])
        assert all(each["new_ci_low"] <= each["faces_ci_low"] and each["faces_ci_high"] <= each["new_ci_high"] for each in found)
    assert widths[2] > 1.5 * widths[3] > 2 * widths[8]


def test_the_larger_source_is_named_only_where_the_interval_says_so() -> None:
    rng = np.random.default_rng(2)
    many_faces = rng.random((20_000, 1)) < np.linspace(0.5, 0.9, 6)
    assert accuracy_with_doubt(many_faces)["larger"] == "seeds"
    few_faces = np.repeat(rng.random((60, 1)) < 0.7, 6, axis=1)
    few_faces[0] ^= np.array([True, False, False, False, False, False])
    assert accuracy_with_doubt(few_faces)["larger"] == "faces"
    assert accuracy_with_doubt(drawn(rng, accuracy=0.8, sd=0.02, seeds=2)[0])["larger"] == "open"


@pytest.mark.parametrize(("seeds", "accuracy", "sd"), [(2, 0.7, 0.01), (3, 0.7, 0.03), (3, 0.95, 0.01), (5, 0.8, 0.0), (5, 0.8, 0.02)])
def test_intervals_hold_a_new_seed_on_new_faces_at_their_rate(seeds: int, accuracy: float, sd: float) -> None:
    rng, held, by_faces, spread = np.random.default_rng(5), [], [], []
    for _ in range(110):
        correct, new = drawn(rng, accuracy=accuracy, sd=sd, seeds=seeds)
        found = accuracy_with_doubt(correct)
        held.append(found["new_ci_low"] <= new <= found["new_ci_high"])
        by_faces.append(found["faces_ci_low"] <= new <= found["faces_ci_high"])
        spread.append(found["seeds_sd_ci_low"] <= sd <= found["seeds_sd_ci_high"])
    assert np.mean(held) >= 0.92
    assert np.mean(spread) >= 0.88
    assert np.mean(by_faces) < 0.91 or sd < 0.015  # what the interval over faces alone does not know of


def test_subjects_widen_the_part_of_the_faces() -> None:
    rng, persons = np.random.default_rng(4), np.repeat(np.arange(15), 20)
    hard = rng.normal(0, 2, 15)[persons]
    correct = rng.random((300, 3)) < expit(1 + hard[:, None])
    by_face, by_subject = accuracy_with_doubt(correct), accuracy_with_doubt(correct, subjects=persons)
    assert by_subject["faces_sd"] > 1.5 * by_face["faces_sd"]
    assert by_subject["faces_ci_high"] - by_subject["faces_ci_low"] > 1.5 * (by_face["faces_ci_high"] - by_face["faces_ci_low"])
    alike = rng.random((300, 1)) < 0.8  # persons do not differ: the interval is that of the faces, but for Student's factor
    found = accuracy_with_doubt(alike, subjects=persons)
    expected = cluster_proportion(alike[:, 0], persons)
    assert (found["faces_ci_low"], found["faces_ci_high"]) == pytest.approx(expected, abs=0.01)


def test_differences_of_recipes_are_rejected_at_their_level_and_found_where_planted() -> None:
    rng, rejected, by_faces, found, held = np.random.default_rng(6), 0, 0, 0, 0
    for _ in range(80):
        hard = rng.normal(0, OF_FACES, 500)[:, None]  # the same faces for both
        of_seeds = rng.normal(0, 0.2, (3, 3))
        a, b, better = (rng.random((500, 3)) < expit(1.5 + shift + hard + s) for s, shift in zip(of_seeds, (0, 0, 1.5), strict=True))
        same = difference_with_doubt(a, b)
        rejected += same["p"] < 0.05
        held += same["ci_low"] <= 0 <= same["ci_high"]
        by_faces += not same["faces_low"] <= 0 <= same["faces_high"]
        found += difference_with_doubt(better, a)["p"] < 0.05
    assert rejected <= 9  # of 80, 4 expected
    assert held == 80 - rejected
    assert by_faces > 8  # the same seeds on other faces: another question
    assert found > 60


def test_the_part_of_the_faces_of_a_difference_is_paired() -> None:
    rng = np.random.default_rng(8)
    a, b = (rng.random(400) < 0.8 for _ in range(2))
    paired = difference_with_doubt(np.stack([a, a], axis=1), np.stack([b, b], axis=1))
    expected = compare_correctness(a, b)
    assert paired["difference"] == pytest.approx(expected["difference"])
    assert (paired["faces_low"], paired["faces_high"]) == pytest.approx((expected["ci_low"], expected["ci_high"]), abs=0.002)
    assert (paired["ci_low"], paired["ci_high"]) == pytest.approx((paired["faces_low"], paired["faces_high"]), abs=1e-6)  # no spread over seeds


def test_groups_are_gathered_per_set_and_pairs_need_two_seeds_each() -> None:
    runs = {
        **{f"a{s}": {"data": "x", "group": "a"} for s in (0, 1)},
        **{f"b{s}": {"data": "x", "group": "b"} for s in (2, 3)},
        "c4": {"data": "x", "group": "c"},
        "a5": {"data": "y", "group": "a"},
    }
    predictions = {name: table(int(name[1:]), prefix="y" if name == "a5" else "f") for name in runs}
    groups = groups_with_doubt(runs, predictions)
    assert groups[["set", "group", "seeds", "n"]].values.tolist() == [["x", "a", 2, 30], ["x", "b", 2, 30], ["x", "c", 1, 30], ["y", "a", 1, 30]]
    test = predictions["c4"][predictions["c4"]["split"] == "test"]
    assert groups.loc[2, "accuracy"] == (test["pred"] == test["target"]).mean()
    differences = differences_with_doubt(runs, predictions)
    assert differences[["set", "group_a", "group_b", "seeds_a", "seeds_b"]].values.tolist() == [["x", "a", "b", 2, 2]]
    assert differences.loc[0, "difference"] == pytest.approx(groups.loc[0, "accuracy"] - groups.loc[1, "accuracy"])
    assert differences.loc[0, "p_holm"] == differences.loc[0, "p"]
    assert differences_with_doubt({"c4": runs["c4"]}, predictions).empty


def test_recipes_that_differ_on_no_face_have_the_interval_of_their_number_of_faces() -> None:
    same = np.repeat((np.arange(60) < 40)[:, None], 2, axis=1)
    found = difference_with_doubt(same, same)
    low, high = paired_difference_bounds(0, 0, 60)
    assert (found["difference"], found["p"]) == (0, 1)
    assert (found["ci_low"], found["ci_high"], found["faces_low"], found["faces_high"]) == (low, high, low, high)
    assert high > 0.02
    assert difference_with_doubt(np.ones((5, 2)), np.zeros((5, 2)))["p"] == pytest.approx(2 * 0.5**5), "a sign test"
