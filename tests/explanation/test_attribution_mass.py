"""Attribution mass against hand-counted values and maps of known mass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from ferlab.data.regions import template_masks
from ferlab.explanation.attribution_mass import attribution_mass, mass_by_expression, nested_mass, relative_density
from ferlab.paths import InputError


def test_masses_equal_the_hand_computed_ones_and_negative_values_do_not_count() -> None:
    maps = np.array([[[3.0, 1.0], [-5.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    top, left = np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])
    mass = attribution_mass(maps, {"top": top, "left": left})
    np.testing.assert_allclose(mass["top"], [1.0, 0.0])
    np.testing.assert_allclose(mass["left"], [0.75, 0.0])


def test_relative_density_has_mean_one_and_leaves_dead_maps_at_zero() -> None:
    maps = np.array([[[4.0, 0.0], [-9.0, 4.0]], [[0.0, 0.0], [-1.0, 0.0]]])
    np.testing.assert_allclose(relative_density(maps), [[[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_one_mask_per_face_is_used_for_its_own_face() -> None:
    maps = np.array([[[3.0, 1.0]], [[3.0, 1.0]]])
    masks = np.array([[[True, False]], [[False, True]]])
    np.testing.assert_allclose(attribution_mass(maps, {"own": masks})["own"], [0.75, 0.25])


def test_map_without_positive_value_has_no_mass() -> None:
    assert attribution_mass(np.zeros((1, 2, 2)), {"all": np.ones((2, 2), bool)})["all"].isna().all()
    assert attribution_mass(-np.ones((1, 2, 2)), {"all": np.ones((2, 2), bool)})["all"].isna().all()


def test_mask_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="for 'nose'"):
        attribution_mass(np.ones((2, 4, 4)), {"nose": np.ones((4, 5), bool)})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.floats(0.01, 100))
def test_masses_sum_to_one_and_do_not_depend_on_the_scale_of_a_map(seed: int, height: float) -> None:
    maps = np.random.default_rng(seed).normal(size=(3, 48, 48))
    mass = attribution_mass(maps, template_masks((48, 48)))
    np.testing.assert_allclose(mass.sum(axis=1), 1)
    np.testing.assert_allclose(attribution_mass(height * maps, template_masks((48, 48))), mass)


def test_a_uniform_map_has_the_mass_of_the_area_and_a_density_ratio_of_one() -> None:
    masks = template_masks((48, 48))
    table = mass_by_expression(np.full((1, 48, 48), 0.3), masks, classes=np.array([0]), expressions=("angry",)).set_index("region")
    np.testing.assert_allclose(table["mass"], [mask.mean() for mask in masks.values()])
    np.testing.assert_allclose(table["area"], table["mass"])
    np.testing.assert_allclose(table["density_ratio"], 1)


def test_means_per_expression_have_intervals_around_them() -> None:
    maps = np.array([[[0.2, 0.8]], [[0.4, 0.6]], [[0.0, 0.0]], [[0.9, 0.1]]])  # the third is zero everywhere
    masks = {"eyes": np.array([[True, False]]), "rest": np.array([[False, True]])}
    table = mass_by_expression(maps, masks, classes=np.array([0, 0, 0, 1]), expressions=("angry", "fear", "sad"))
    eyes = table[table["region"] == "eyes"].set_index("expression")
    assert eyes["n"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(eyes["mass"], [0.3, 0.9, np.nan])
    assert (eyes.loc["angry", "mass_ci_low"], eyes.loc["angry", "mass_ci_high"]) == (0, 1), "0.3 ± 1.27: Student's with one degree of freedom"
    assert eyes.loc[["fear", "sad"], ["mass_ci_low", "mass_ci_high"]].isna().all(axis=None)
    nested = nested_mass({"one": table})
    assert nested["one"]["angry"]["n"] == 2
    assert nested["one"]["fear"]["eyes"]["mass"] == pytest.approx(0.9)
    assert set(nested["one"]["angry"]["rest"]) == {"mass", "mass_ci_low", "mass_ci_high", "area"}


def test_the_area_of_masks_per_face_is_that_of_the_faces_whose_maps_count() -> None:
    maps = np.array([[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]])
    masks = {"own": np.array([[[True, False, False, False]], [[True, True, True, True]]])}
    row = mass_by_expression(maps, masks, classes=np.array([0, 0]), expressions=("angry",)).iloc[0]
    assert (row["n"], row["area"], row["density_ratio"]) == (1, 0.25, 1.0)


def test_the_interval_is_students_over_faces_or_subjects() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 200)
    maps = np.stack([values, 1 - values], axis=1)[:, None]
    row = mass_by_expression(maps, {"eyes": np.array([[True, False]])}, classes=np.zeros(200, int), expressions=("angry",)).iloc[0]
    assert (row["mass_ci_low"], row["mass_ci_high"]) == pytest.approx(ttest_1samp(values, 0).confidence_interval())
    people = np.repeat(np.arange(20), 10)
    masks, alike = {"eyes": np.array([[True, False]])}, maps[people]  # each subject's faces have one map
    by_subject = mass_by_expression(alike, masks, classes=np.zeros(200, int), expressions=("angry",), subjects=people).iloc[0]
    expected = ttest_1samp(values[:20], 0).confidence_interval()
    assert (by_subject["mass_ci_low"], by_subject["mass_ci_high"]) == pytest.approx(expected)
    alone = mass_by_expression(alike, masks, classes=np.zeros(200, int), expressions=("angry",), subjects=np.zeros(200)).iloc[0]
    assert np.isnan(alone["mass_ci_low"])
