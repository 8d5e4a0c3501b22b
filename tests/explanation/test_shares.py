"""Shares against hand-counted ones, and against maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.explanation.regions import template_masks
from ferlab.explanation.shares import (
    area_shares,
    class_shares,
    compare_with_area,
    cs230_findings,
    method_shares,
    nested_shares,
    region_shares,
    relative_density,
)
from ferlab.paths import InputError


def test_shares_equal_the_hand_computed_ones_and_negative_values_do_not_count() -> None:
    maps = np.array([[[3.0, 1.0], [-5.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    top, left = np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])
    shares = region_shares(maps, {"top": top, "left": left})
    np.testing.assert_allclose(shares["top"], [1.0, 0.0])
    np.testing.assert_allclose(shares["left"], [0.75, 0.0])


def test_relative_density_has_mean_one_and_leaves_dead_maps_at_zero() -> None:
    maps = np.array([[[4.0, 0.0], [-9.0, 4.0]], [[0.0, 0.0], [-1.0, 0.0]]])
    np.testing.assert_allclose(relative_density(maps), [[[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_one_mask_per_face_is_used_for_its_own_face() -> None:
    maps = np.array([[[3.0, 1.0]], [[3.0, 1.0]]])
    masks = np.array([[[True, False]], [[False, True]]])
    np.testing.assert_allclose(region_shares(maps, {"own": masks})["own"], [0.75, 0.25])


def test_map_without_positive_value_has_no_share() -> None:
    assert region_shares(np.zeros((1, 2, 2)), {"all": np.ones((2, 2), bool)})["all"].isna().all()
    assert region_shares(-np.ones((1, 2, 2)), {"all": np.ones((2, 2), bool)})["all"].isna().all()


def test_mask_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="for 'nose'"):
        region_shares(np.ones((2, 4, 4)), {"nose": np.ones((4, 5), bool)})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.floats(0.01, 100))
def test_shares_sum_to_one_and_do_not_depend_on_the_scale_of_a_map(seed: int, height: float) -> None:
    maps = np.random.default_rng(seed).normal(size=(3, 48, 48))
    shares = region_shares(maps, template_masks((48, 48)))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(region_shares(height * maps, template_masks((48, 48))), shares)


def test_uniform_map_gives_the_area_shares() -> None:
    masks = template_masks((48, 48))
    shares = region_shares(np.full((1, 48, 48), 0.3), masks).iloc[0]
    pd.testing.assert_series_equal(shares, area_shares(masks), check_names=False)


def test_class_shares_are_means_with_intervals_around_them() -> None:
    shares = pd.DataFrame({"eyes": [0.2, 0.4, np.nan, 0.9], "rest": [0.8, 0.6, np.nan, 0.1]})
    table = class_shares(shares, np.array([0, 0, 0, 1]), expressions=("angry", "fear", "sad"))
    eyes = table[table["region"] == "eyes"].set_index("expression")
    assert eyes["n"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(eyes["share"], [0.3, 0.9, np.nan])
    assert (eyes.loc["angry", "ci_low"], eyes.loc["angry", "ci_high"]) == pytest.approx((0.2, 0.4))
    assert eyes.loc[["fear", "sad"], ["ci_low", "ci_high"]].isna().all(axis=None)


def test_bootstrap_interval_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 200)
    row = class_shares(pd.DataFrame({"eyes": values}), np.zeros(200, int), expressions=("angry",)).iloc[0]
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], [values.mean() - half, values.mean() + half], atol=0.003)


def test_cs230_findings_are_set_beside_the_measured_parts() -> None:
    rng = np.random.default_rng(0)
    happy = pd.DataFrame({"brows": 0.04, "eyes": 0.04, "nose": 0.05, "mouth": rng.normal(0.6, 0.02, 30), "rest": 0.27})
    areas = pd.Series({"brows": 0.05, "eyes": 0.05, "nose": 0.1, "mouth": 0.1, "rest": 0.7})
    table = compare_with_area(class_shares(happy, np.full(30, 3), expressions=("angry", "disgust", "fear", "happy")), areas)
    found = cs230_findings(table).set_index("expression")
    assert found.loc["happy", "cs230"] == found.loc["happy", "measured"] == "mouth"
    assert found.loc["happy", "density_ratio_named"] == pytest.approx(6, rel=0.02)
    assert found.loc["happy", "density_ratio_others"] == pytest.approx(0.4 / 0.9, rel=0.02)
    assert found.loc["disgust", "n"] == 0
    assert np.isnan(found.loc["disgust", "density_ratio_named"])


def test_nested_shares_hold_every_region_of_every_expression_of_every_method() -> None:
    maps = {"one": np.array([[[1.0, 3.0]], [[1.0, 1.0]]]), "two": np.array([[[0.0, 1.0]], [[0.0, 0.0]]])}
    masks = {"eyes": np.array([[True, False]]), "rest": np.array([[False, True]])}
    nested = nested_shares(method_shares(maps, masks, classes=np.array([0, 0]), expressions=("angry",)))
    assert nested["one"]["angry"]["n"] == 2
    assert nested["one"]["angry"]["eyes"]["share"] == pytest.approx(0.375)
    assert nested["two"]["angry"]["n"] == 1  # the dead map has no share
    assert set(nested["two"]["angry"]["rest"]) == {"share", "share_ci_low", "share_ci_high"}
