"""Qualities against OpenCV, error rates against hand counts, and the test against chance where the answer is known."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from ferlab import control
from ferlab.error_analysis import slices as slices_module
from ferlab.error_analysis.slices import by_fifths, by_group, compare_conditions, error_rates, face_slices, image_qualities
from ferlab.paths import InputError


def test_qualities_equal_those_of_opencv() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    qualities = image_qualities(faces)
    for face, row in zip(faces, qualities.itertuples(), strict=True):
        mean, deviation = cv2.meanStdDev(face)
        assert (row.brightness, row.contrast) == pytest.approx((mean[0, 0], deviation[0, 0]))
        assert row.sharpness == pytest.approx(cv2.Laplacian(face, cv2.CV_64F, borderType=cv2.BORDER_REPLICATE).var())


def test_grey_face_has_the_same_qualities_as_rgb() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    pd.testing.assert_frame_equal(image_qualities(faces), image_qualities(np.repeat(faces[..., None], 3, axis=3)))


def test_blur_lowers_sharpness_and_light_raises_brightness() -> None:
    face = control.draw_face(control.sample_spec(0, 0), 48).image
    plain, blurred, lighter = image_qualities(np.stack([face, cv2.GaussianBlur(face, (5, 5), 2), np.clip(face, 0, 200) + 50])).itertuples()
    assert blurred.sharpness < 0.5 * plain.sharpness
    assert lighter.brightness > plain.brightness


def test_error_rates_equal_the_hand_counted_ones() -> None:
    groups = by_group(pd.Series(["bar", "none", "none", "bar", "hand"]))
    table = error_rates({"occluder": groups}, np.array([True, False, True, True, False])).set_index("group")
    assert table.index.tolist() == ["none", "bar", "hand"]
    assert table["n"].tolist() == [2, 2, 1]
    assert table["errors"].tolist() == [1, 2, 0]
    assert table["error_rate"].tolist() == [0.5, 1.0, 0.0]
    assert ((table["ci_low"] <= table["error_rate"] + 1e-12) & (table["error_rate"] <= table["ci_high"] + 1e-12)).all()
    with pytest.raises(InputError, match="expected 4 faces in 'occluder', got 5"):
        error_rates({"occluder": groups}, np.zeros(4, bool))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 255), min_size=5, max_size=80))
def test_every_face_falls_into_one_fifth(values: list[float]) -> None:
    fifths = by_fifths(pd.Series(values))
    assert fifths.notna().all()
    assert fifths.cat.categories.is_unique
    assert len(fifths.cat.categories) <= 5


def test_groups_are_named_in_a_readable_order() -> None:
    assert by_group(pd.Series([True, False])).cat.categories.tolist() == ["no", "yes"]
    assert by_group(pd.Series([10, 2, 1])).cat.categories.tolist() == ["1", "2", "10"]
    assert by_group(pd.Series(["hand", "none", "bar"])).cat.categories.tolist() == ["none", "bar", "hand"]


def test_face_slices_use_what_a_table_has() -> None:
    images, faces = control.read(faces=60, subjects=12)
    assert set(face_slices(images, faces)) >= {"brightness", "contrast", "sharpness", "intensity", "head turn", "skin", "occluder"}
    assert set(face_slices(images, faces[["face_id", "target"]])) == {"brightness", "contrast", "sharpness"}


def counted(*groups: tuple[int, int]) -> tuple[pd.Series, np.ndarray]:
    """Return a condition of groups given by (faces, errors), and whether each face is wrong."""
    numbers = np.repeat(np.arange(len(groups)), [n for n, _ in groups])
    return by_group(pd.Series(numbers)), np.concatenate([np.arange(n) < errors for n, errors in groups])


def test_p_is_near_the_chi_square_test_where_groups_are_large() -> None:
    groups, wrong = counted((400, 120), (500, 130), (600, 190))
    errors = np.array([120, 130, 190])
    expected = chi2_contingency(np.stack([errors, [400, 500, 600] - errors]), correction=False).pvalue
    assert compare_conditions({"c": groups}, wrong).loc[0, "p"] == pytest.approx(expected, abs=0.02)


def test_p_is_corrected_by_holm() -> None:
    wrong = np.arange(400) % 4 == 0  # 100 errors, in the conditions' first groups 20, 42 and 45 of them
    slices = {}
    for name, errors in (("a", 20), ("b", 42), ("c", 45)):
        first = np.zeros(400, bool)
        first[np.flatnonzero(wrong)[:errors]] = first[np.flatnonzero(~wrong)[: 200 - errors]] = True
        slices[name] = by_group(pd.Series(first))
    tests = compare_conditions(slices, wrong)
    assert tests["condition"].tolist() == ["a", "b", "c"]
    first, second, third = tests["p"]
    assert first < second < third
    np.testing.assert_allclose(tests["p_holm"], [3 * first, 2 * second, max(third, 2 * second)])


def test_planted_difference_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    planted = pd.Series(rng.integers(0, 2, 800))
    wrong = rng.random(800) < np.where(planted == 1, 0.45, 0.2)
    slices = {f"chance {k}": by_group(pd.Series(rng.integers(0, 4, 800))) for k in range(6)} | {"planted": by_group(planted)}
    tests = compare_conditions(slices, wrong)
    assert tests.loc[0, "condition"] == "planted"
    assert tests.loc[0, "p_holm"] < 0.01
    assert (tests["p_holm"].iloc[1:] > 0.05).all()
    assert (tests["p_holm"] >= tests["p"]).all()


def people(rng: np.random.Generator, persons: int = 12, faces: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return the subject of each face and whether it is wrong: subjects differ much in how often."""
    subjects = np.repeat(np.arange(persons), faces)
    return subjects, rng.random(persons * faces) < rng.beta(0.5, 1, size=persons)[subjects]


def test_conditions_of_whole_subjects_are_tested_over_subjects_and_others_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "PERMUTATIONS", 300)
    found = {"faces": 0, "whole": 0, "within": 0}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        subjects, wrong = people(rng)
        slices = {"skin": by_group(pd.Series(subjects % 2)), "light": by_group(pd.Series(rng.integers(0, 2, len(subjects))))}
        by_subject = compare_conditions(slices, wrong, subjects=subjects, seed=seed).set_index("condition")["p"]
        found["faces"] += compare_conditions({"skin": slices["skin"]}, wrong).loc[0, "p"] < 0.05
        found["whole"] += by_subject["skin"] < 0.05
        found["within"] += by_subject["light"] < 0.05
    assert found["faces"] > 4  # nothing is there: one of 12 would be many
    assert max(found["whole"], found["within"]) <= 2


def test_a_planted_difference_is_found_within_and_between_subjects() -> None:
    rng = np.random.default_rng(0)
    subjects, light = np.repeat(np.arange(20), 20), rng.integers(0, 2, 400)
    tests = compare_conditions(
        {"light": by_group(pd.Series(light)), "skin": by_group(pd.Series(subjects % 2))},
        rng.random(400) < 0.1 + 0.25 * light + 0.3 * (subjects % 2),
        subjects=subjects,
    )
    assert (tests["p_holm"] < 0.01).all()


def test_rates_of_few_subjects_are_bounded_by_subject() -> None:
    subjects, wrong = people(np.random.default_rng(1), persons=4)
    one = by_group(pd.Series(np.where(subjects == 0, "first", "other")))
    by_face, by_subject = error_rates({"who": one}, wrong), error_rates({"who": one}, wrong, subjects=subjects)
    assert by_subject.loc[0, ["ci_low", "ci_high"]].isna().all()  # of one person
    assert by_subject.loc[1, "ci_high"] - by_subject.loc[1, "ci_low"] > by_face.loc[1, "ci_high"] - by_face.loc[1, "ci_low"]


def test_error_analysis_imports_no_torch() -> None:
    modules = "confusions, label_issues, slices"
    drawn = "from ferlab.reporting.pages import analyze_errors, explain"
    code = f"import sys; from ferlab.error_analysis import {modules}; {drawn}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0
