from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.control.recipe import rise

FRAMES = 6


@pytest.fixture(scope="module")
def film() -> tuple[np.ndarray, pd.DataFrame]:
    return read(faces=16 * FRAMES, subjects=8, size=48, frames=FRAMES, expressions=8)


def test_frames_of_a_sequence_share_subject_label_units_and_looks(film: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = film
    assert faces["frame"].dtype == np.int64
    assert faces["sequence"].nunique() == 16
    for _, frames in faces.groupby("sequence", sort=False):
        assert frames["frame"].tolist() == list(range(FRAMES))
        assert (frames[["subject", "target", "skin", "hair", "glasses", "occluder"]].nunique() == 1).all()
        assert frames["yaw"].max() - frames["yaw"].min() < 3
        assert frames["light"].max() - frames["light"].min() < 3
        active = [{name for name in frames if name.startswith("au") and row[name] > 0} for _, row in frames.iterrows()]
        assert active[0] == set()
        assert len({frozenset(units) for units in active[1:]}) == 1


def test_intensity_rises_from_nothing_to_the_apex(film: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = film
    for target, frames in faces.groupby(["target", "sequence"]):
        intensity = frames["intensity"].to_numpy()
        assert intensity[0] == 0
        if target[0] == 6:
            assert (intensity == 0).all()
        else:
            assert (np.diff(intensity) > 0).all()
            assert intensity[-1] >= 0.5
            assert (np.diff(np.abs(frames["valence"])) >= 0).all()


def test_the_apex_is_as_strong_as_a_still_face(film: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, stills = read(faces=16, subjects=8, size=24, expressions=8)
    apex = film[1][film[1]["frame"] == FRAMES - 1].reset_index(drop=True)
    units = [name for name in stills if name.startswith("au")]
    pd.testing.assert_frame_equal(apex[["target", "subject", "intensity", *units]], stills[["target", "subject", "intensity", *units]], atol=2e-4)


def test_neighbouring_frames_look_alike_and_none_is_a_copy(film: tuple[np.ndarray, pd.DataFrame]) -> None:
    images = film[0].astype(float).reshape(16, FRAMES, 48, 48)
    assert len({image.tobytes() for image in film[0]}) == 16 * FRAMES
    steps = np.abs(np.diff(images, axis=1)).mean()
    between = np.abs(images[1:, 0] - images[:-1, 0]).mean()
    assert steps < 0.25 * between


def test_the_occluder_stays_where_it_is() -> None:
    from ferlab.control import region_masks

    _, faces = read(faces=60 * 3, subjects=20, size=24, frames=3)
    covered = faces[faces["occluder"].isin(["hand", "bar", "mask"])]
    masks = region_masks(covered, size=48)["occluder"].reshape(-1, 3, 48, 48)
    assert len(masks) >= 3
    assert ((masks[:, 0] & masks[:, 2]).sum(axis=(1, 2)) > 0.9 * (masks[:, 0] | masks[:, 2]).sum(axis=(1, 2))).all()


def test_two_frames_are_neutral_and_apex() -> None:
    assert (rise(0, 2), rise(1, 2)) == (0.0, 1.0)


def test_frames_have_noise_of_their_own() -> None:
    from dataclasses import replace

    from ferlab.control import sample_spec, spec_of
    from ferlab.control.drawing.picture import draw_image

    still = replace(sample_spec(0, 0), noise=4.0)
    assert (draw_image(still, 48) != draw_image(replace(still, frame=1), 48)).mean() > 0.5
    _, faces = read(faces=8, subjects=2, size=24, frames=4)
    assert [spec_of(face).frame for _, face in faces.iterrows()] == [0, 1, 2, 3] * 2
