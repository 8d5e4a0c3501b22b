from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.control import REGIONS, carrying_mask, draw_face, read, region_masks, regions_of, spec_of
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def control_set() -> tuple[np.ndarray, pd.DataFrame]:
    return read(faces=120, subjects=12, size=32, seed=3)


def test_images_and_table_agree(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = control_set
    assert images.shape == (120, 32, 32)
    assert images.dtype == np.uint8
    assert len(faces) == 120
    assert faces["target"].dtype == np.int64
    assert faces["face_id"].is_unique
    assert faces.loc[7, "face_id"] == "control/0000007"
    for number in (0, 50, 119):
        assert (draw_face(spec_of(faces.loc[number]), 32).image == images[number]).all()
        assert spec_of(faces.loc[number]).expression == EXPRESSIONS[faces.loc[number, "target"]]


def test_first_faces_do_not_depend_on_how_many_follow(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = control_set
    fewer, table = read(faces=50, subjects=12, size=32, seed=3)
    assert (fewer == images[:50]).all()
    pd.testing.assert_frame_equal(table, faces.iloc[:50])


def test_another_seed_gives_other_faces(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    other, _ = read(faces=20, subjects=12, size=32, seed=4)
    assert (other != control_set[0][:20]).any(axis=(1, 2)).all()


def test_no_two_faces_are_the_same_without_twins(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = control_set
    assert len({image.tobytes() for image in images}) == len(images)
    assert (faces["twin_of"] == "").all()


def test_twins_are_byte_copies_of_a_face_of_the_same_subject(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = read(faces=120, subjects=12, size=32, seed=3, twins=0.3)
    twins = faces[faces["twin_of"] != ""]
    place = {face_id: number for number, face_id in enumerate(faces["face_id"])}
    assert len(twins) == 36
    for number, twin in twins.iterrows():
        original = faces.loc[place[twin["twin_of"]]]
        assert (images[number] == images[place[twin["twin_of"]]]).all()
        assert original["twin_of"] == ""
        same = ["subject", "target", "source_path", "intensity", "occluder"]
        assert (twin[same] == original[same]).all()
    originals = (faces["twin_of"] == "").to_numpy()
    assert (images[originals] == control_set[0][originals]).all()
    assert len({image.tobytes() for image in images}) == 84


def test_masks_of_a_table_are_those_of_its_faces(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    some = control_set[1].iloc[[4, 90, 11]]
    masks = region_masks(some, size=40)
    assert set(masks) == {*REGIONS, "face", "occluder"}
    for name, mask in draw_face(spec_of(some.iloc[1]), 40).masks.items():
        assert masks[name].shape == (3, 40, 40)
        assert (masks[name][1] == mask).all()


def test_carrying_mask_is_the_union_of_the_active_regions(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    some = control_set[1].iloc[:40]
    masks, carried = region_masks(some, size=32), carrying_mask(some, size=32)
    for number, (_, face) in enumerate(some.iterrows()):
        active = regions_of(spec_of(face).action_units)
        if EXPRESSIONS[face["target"]] == "neutral":
            assert not carried[number].any()
        else:
            assert (carried[number] == np.any([masks[region][number] for region in active], axis=0)).all()
            assert not (carried[number] & ~masks["face"][number]).any()
    visible = carrying_mask(some, size=32, visible_only=True)
    assert not (visible & masks["occluder"]).any()
    assert (visible <= carried).all()


def test_table_of_strengths_holds_the_action_units(control_set: tuple[np.ndarray, pd.DataFrame]) -> None:
    face = control_set[1].iloc[5]
    units = spec_of(face).action_units
    assert {int(name[2:]) for name in face.index if name.startswith("au") and name[2:].isdigit() and face[name] > 0} == set(units)


def test_a_row_of_another_dataset_is_refused() -> None:
    row = pd.DataFrame([{"face_id": "fer2013/0000001", "source_path": "fer2013.csv", "subject": "s0001"}])
    with pytest.raises(InputError, match="fer2013/0000001"):
        region_masks(row, size=48)


@pytest.mark.parametrize("options", [{"faces": 0}, {"subjects": 0}, {"size": 8}, {"size": 500}, {"twins": 0.9}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="control faces: expected"):
        read(**options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_strong_expressions_are_far_easier_than_weak_ones_for_a_linear_classifier() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    images, faces = read(faces=1200, subjects=80, size=32, seed=11)
    pixels = images.reshape(len(images), -1) / 255.0
    held_out = faces["subject"].isin(sorted(faces["subject"].unique())[:20]).to_numpy()
    clean = (faces["occluder"] == "none").to_numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(pixels[~held_out], faces["target"][~held_out])
    correct = model.predict(pixels) == faces["target"]
    strong = correct[held_out & clean & (faces["intensity"] >= 4)].mean()
    weak = correct[held_out & clean & faces["intensity"].between(0.1, 1.5)].mean()
    assert strong > 0.65
    assert weak < 0.5
    assert strong - weak > 0.3
