"""Qualities against OpenCV, and groups where the answer is known."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab import control
from ferlab.error_analysis import slices as slices_module
from ferlab.error_analysis.slices import by_age, by_detection, by_fifths, by_group, face_slices, image_qualities


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


def test_age_groups_stand_in_order_and_the_unknown_belong_to_none() -> None:
    named = by_group(pd.Series(["20-39", "4-19", "", "70+", None, "0-3"]))
    assert named.cat.categories.tolist() == ["0-3", "4-19", "20-39", "70+"]
    assert named.isna().tolist() == [False, False, True, False, True, False]
    years = by_age(pd.Series([2.0, 4.0, 39.5, 40.0, 91.0, np.nan]))
    assert years.tolist()[:5] == ["0-3", "4-19", "20-39", "40-69", "70+"]
    assert years.isna().tolist() == [False] * 5 + [True]
    assert by_age(pd.Series([0.1, 0.2, 0.4, 0.6, 0.9])).nunique() == 5  # control faces: a parameter of the drawing


def test_values_that_are_not_known_belong_to_no_fifth() -> None:
    fifths = by_fifths(pd.Series([1.0, np.nan, 2.0, 3.0, 4.0, 5.0, None]))
    assert fifths.isna().tolist() == [False, True, False, False, False, False, True]
    assert fifths.dropna().nunique() == 5
    assert by_fifths(pd.Series([np.nan, np.nan])).isna().all()
    assert by_group(pd.Series([True, None, False])).tolist()[::2] == ["yes", "no"]


@pytest.fixture(scope="module")
def sixty() -> tuple[np.ndarray, pd.DataFrame]:
    return control.read(faces=60, subjects=12)


def test_face_slices_use_what_a_table_has(sixty) -> None:
    images, faces = sixty
    of_pictures = {"brightness", "contrast", "sharpness", "detected"}
    drawn = {"intensity", "head turn", "light angle", "skin", "occluder", "age", "person"}
    assert set(face_slices(images, faces)) >= of_pictures | drawn
    assert set(face_slices(images, faces[["face_id", "target"]])) == of_pictures
    rafdb = faces[["face_id"]].assign(gender=["male", "female"] * 30, race="Asian", age_group=["20-39", "4-19", ""] * 20)
    found = face_slices(images, rafdb)
    assert set(found) - of_pictures == {"gender", "age"}  # one race is no comparison
    assert found["age"].isna().sum() == 20


def test_ages_in_years_are_sliced_whatever_rows_the_table_has(sixty) -> None:
    images, faces = sixty
    aged = faces[["face_id"]].assign(age=[3.0, 30.0, np.nan] * 20).set_axis(range(100, 160))
    ages = face_slices(images, aged)["age"]
    assert ages.cat.categories.tolist() == ["0-3", "20-39"]
    assert ages.isna().tolist() == [False, False, True] * 20
    assert ages.index.tolist() == list(range(60))


def test_captured_faces_without_a_pose_belong_to_no_group(sixty) -> None:
    images, faces = sixty
    captured = faces[["face_id", "subject"]].assign(pose_yaw=np.where(np.arange(60) % 4 == 0, np.nan, np.linspace(-30, 30, 60)))
    turn = face_slices(images, captured)["head turn"]
    assert turn.isna().sum() == 15
    assert turn.nunique() == 5


def test_a_detector_finds_faces_and_no_noise_and_a_record_of_preparation_decides(sixty) -> None:
    images = sixty[0][:40]
    noise = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    found = by_detection(np.concatenate([images, noise]), pd.DataFrame(index=range(45)))
    assert (found[:40] == "yes").mean() > 0.5
    assert (found[40:] == "no").all()
    recorded = by_detection(noise, pd.DataFrame({"found_by": ["as stated", "framed", "", None, "as stated"]}))
    assert recorded.tolist() == ["yes", "with margin", "no", "no", "yes"]


def test_detection_searches_a_stated_number_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "SEARCHED", 7)
    found = by_detection(np.zeros((30, 48, 48), np.uint8), pd.DataFrame(index=range(30)))
    assert found.notna().sum() == 7
    assert found.notna().iloc[[0, 29]].all()


def test_what_reads_tables_alone_imports_no_torch() -> None:
    read = "from ferlab.evaluation import calibration, deduplicated, ensembles, ledger, published, runs, sequences"
    analysed = "from ferlab.error_analysis import confusions, groups, label_issues, planted_gaps, slices"
    drawn = "from ferlab.reporting.pages import analyze_errors, explain, slices as sliced"
    code = f"import sys; {read}; {analysed}; {drawn}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0
