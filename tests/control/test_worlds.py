from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ferlab.control import carrying_mask, label_mask, read, region_masks, shortcut_mask, spec_of
from ferlab.control.action_units import NAMES
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import FaceSpec
from ferlab.control.worlds import DECIDING, decide_by_region, plant_marks

SIZE = 48


def relabelled(spec: FaceSpec, name: str, *, region: str, number: int) -> FaceSpec:
    """The same face of the world one_region as it would be with another label."""
    return decide_by_region(replace(spec, expression=name, intensity=5.0), region, seed=4, number=number)


@pytest.mark.parametrize("region", DECIDING)
def test_another_label_changes_pixels_of_the_deciding_region_and_no_others(region: str) -> None:
    _, faces = read(faces=16, subjects=16, size=24, seed=4, world="one_region", region=region, expressions=8)
    masks = label_mask(faces, size=SIZE)
    assert set(faces["region"]) == {region}
    assert masks.mean() < 0.3
    for number in range(16):
        spec = spec_of(faces.loc[number])
        drawn = [draw_image(relabelled(spec, name, region=region, number=number), SIZE) for name in DECIDING[region]]
        changed = np.any([one != drawn[0] for one in drawn[1:]], axis=0)
        assert not (changed & ~masks[number]).any()
        assert changed.sum() > 0.2 * masks[number].sum()  # and the mask is no larger than it has to be


def test_what_a_region_shows_is_seen_and_tells_labels_apart() -> None:
    for region, expressions in DECIDING.items():
        assert len(set(expressions.values())) == len(expressions)
        _, faces = read(faces=4, subjects=4, size=24, seed=1, skin=[2], world="one_region", region=region)
        spec = replace(spec_of(faces.loc[0]), occluder="none", noise=0.0, blur=0.0)
        drawn = {name: draw_image(relabelled(spec, name, region=region, number=0), SIZE).astype(float) for name in expressions}
        for name, image in drawn.items():
            assert all(np.abs(image - other).max() > 25 for rival, other in drawn.items() if rival != name), (region, name)


@pytest.mark.usefixtures("undrawn")
def test_units_outside_the_deciding_region_do_not_know_the_label() -> None:
    _, faces = read(faces=1400, subjects=50, size=24, seed=0, world="one_region", region="mouth")
    assert set(faces["target"]) == set(range(7))
    for unit in ("au1", "au4", "au5", "au6", "au9"):
        share = faces[unit].gt(0).groupby(faces["target"]).mean()
        assert share.max() - share.min() < 0.2, unit  # 200 faces each: four standard errors of a difference
        assert 0.05 < share.mean() < 0.7
    happy = faces["target"] == 3
    assert (faces["au12"].gt(0) == happy).all()


@pytest.mark.usefixtures("undrawn")
def test_only_expressions_that_the_region_tells_apart_are_drawn() -> None:
    _, faces = read(faces=60, subjects=10, size=24, world="one_region", region="brows")
    assert {NAMES[target] for target in faces["target"]} == {"angry", "fear", "sad", "surprise", "neutral"}
    assert faces["target"].value_counts().nunique() == 1


def test_truth_of_the_world_one_region_holds_for_neutral_faces_too() -> None:
    _, faces = read(faces=14, subjects=7, size=24, world="one_region", region="eyes")
    assert label_mask(faces, size=32).any(axis=(1, 2)).all()
    assert (label_mask(faces, size=32) == carrying_mask(faces, size=32)).all()
    eyes = region_masks(faces, size=32)["eyes"]
    assert (eyes & ~label_mask(faces, size=32)).sum() < 0.05 * eyes.sum()


@pytest.mark.parametrize("mark", ["corner", "glasses", "brightness"])
def test_a_mark_changes_what_its_mask_covers_and_little_else(mark: str) -> None:
    images, faces = read(faces=12, subjects=12, size=SIZE, world="shortcut", shortcut=mark, glasses=0)
    plain, rows = read(faces=12, subjects=12, size=SIZE, glasses=0)
    masks = shortcut_mask(faces, size=SIZE)
    assert not shortcut_mask(rows, size=SIZE).any()
    for number in np.flatnonzero(faces["occluder"] == "none"):
        changed = np.abs(images[number].astype(int) - plain[number]) > 25
        assert not (changed & ~masks[number]).sum() > 0.1 * masks[number].sum()
        if mark != "brightness":  # that of a face may happen to be its own
            assert (np.abs(images[number].astype(int) - plain[number]) > 10)[masks[number]].mean() > 0.25
    assert masks.mean() == 1 if mark == "brightness" else masks.mean() < 0.2


def test_every_look_of_a_mark_is_another_picture() -> None:
    for mark in ("corner", "glasses", "brightness"):
        _, faces = read(faces=1, subjects=1, size=24, world="shortcut", shortcut=mark)
        spec = spec_of(faces.loc[0])
        looks = [draw_image(replace(spec, occluder="none", noise=0.0, mark=replace(spec.mark, look=look)), SIZE) for look in range(8)]
        for one in range(8):
            assert all(np.abs(looks[one].astype(int) - looks[other]).max() > 15 for other in range(one))
        if mark == "brightness":
            assert (np.diff([image.mean() for image in looks]) > 12).all()


@pytest.mark.usefixtures("undrawn")
def test_the_shortcut_holds_in_training_and_breaks_at_test() -> None:
    _, faces = read(faces=2100, subjects=140, size=24, seed=3, world="shortcut", rho=0.8)
    agree = faces["shortcut"] == [NAMES[target] for target in faces["target"]]
    share = agree.groupby(faces["usage"]).mean()
    assert share["Training"] == pytest.approx(0.8, abs=0.04)
    assert share["PublicTest"] == pytest.approx(0.8, abs=0.11)
    assert share["PrivateTest"] == pytest.approx(1 / 7, abs=0.07)
    people = faces.groupby("subject")["usage"].nunique()
    assert (people == 1).all()
    counts = faces["usage"].value_counts(normalize=True)
    assert counts["PrivateTest"] == pytest.approx(0.2, abs=0.02)
    assert counts["PublicTest"] == pytest.approx(0.1, abs=0.02)


def test_marks_go_with_no_label_where_they_do_not_hold() -> None:
    targets, classes = np.arange(7000) % 7, np.arange(7)
    loose = plant_marks(targets, holds=np.zeros(7000, bool), rho=1.0, classes=classes, seed=0)
    table = np.histogram2d(targets, loose, bins=7)[0] / 1000
    assert np.abs(table - 1 / 7).max() < 0.05
    tight = plant_marks(targets, holds=np.ones(7000, bool), rho=1.0, classes=classes, seed=0)
    assert (tight == targets).all()


def test_an_official_split_follows_the_usages_of_the_shortcut() -> None:
    from whole_dataset import read_dataset

    from ferlab.data.splits import assign_splits

    _, faces = read_dataset("control", "anywhere", {"faces": 200, "subjects": 40, "size": 24, "world": "shortcut"})
    split = assign_splits(faces)["split"]
    assert (split == faces["usage"].map({"Training": "train", "PublicTest": "val", "PrivateTest": "test"})).all()


def test_labels_of_the_null_world_say_nothing_about_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (read(faces=20, subjects=5, size=24, world="null")[0] == read(faces=20, subjects=5, size=24)[0]).all()
    monkeypatch.setattr("ferlab.control.source.draw_image", lambda spec, size, colour: np.zeros((size, size), np.uint8))
    _, faces = read(faces=1400, subjects=50, size=24, world="null")
    _, drawn = read(faces=1400, subjects=50, size=24)
    assert faces["drawn_expression"].tolist() == [NAMES[target] for target in drawn["target"]]
    counts = np.histogram2d(drawn["target"], faces["target"], bins=7)[0]
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 68  # chi squared, 36 degrees of freedom, p = 0.001
    assert not label_mask(faces.iloc[:3], size=32).any()
    assert carrying_mask(faces.iloc[:9], size=32).any()  # what is drawn is still somewhere
