"""Pasted occluders cover what they name; on control faces they cover, and cost, what the occluders that the drawing itself puts on do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ferlab import control
from ferlab.control.drawing.masks import draw_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.data.regions import Registration, register_template, template_masks
from ferlab.evaluation.occluders import OCCLUSIONS, PARTS, PASTED, Template, covered, occlude
from ferlab.paths import InputError

FACES = 120
IDS = [f"control/{number}" for number in range(FACES)]


def template(placed: Registration, side: int = 48) -> Template:
    masks = template_masks((side, side), placed)
    return Template({part: masks[part] for part in PARTS}, (placed.shift_y, placed.shift_x), (placed.scale_y, placed.scale_x))


@pytest.fixture(scope="module")
def specs() -> list[control.FaceSpec]:
    return [dataclasses.replace(control.sample_spec(0, number, subject=number % 60), occluder="none") for number in range(FACES)]


@pytest.fixture(scope="module")
def plain(specs) -> np.ndarray:
    return np.stack([draw_image(spec, 48) for spec in specs])


@pytest.fixture(scope="module")
def placed(plain) -> Template:
    return template(register_template(plain))


def wearing(specs: list[control.FaceSpec], name: str) -> list[control.FaceSpec]:
    return [dataclasses.replace(spec, occluder=name) for spec in specs]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_painted_over_in_one_tone_and_nothing_else_changes(part, plain, placed):
    got = occlude(plain[:4], part, template=placed, face_ids=IDS[:4])
    mask = placed.masks[part]
    np.testing.assert_array_equal(got[:, ~mask], plain[:4][:, ~mask])
    assert np.ptp(got[:, mask], axis=1).tolist() == [0] * 4


@pytest.mark.parametrize("name", ["mask", "sunglasses", "hand"])
def test_pasted_occluders_lie_where_drawn_ones_lie(name, specs, placed):
    masks = [draw_masks(spec, 48) for spec in wearing(specs[:60], name)]  # a face of each person
    pasted = [covered(name, template=placed, size=(48, 48), face_id=face_id) for face_id in IDS[:60]]
    areas = np.mean([mask["occluder"].mean() for mask in masks]), np.mean([mask.mean() for mask in pasted])
    assert 0.6 < areas[1] / areas[0] < 1.6
    if name != "hand":  # hands come from either side
        overlap = [(own & mask["occluder"]).sum() / (own | mask["occluder"]).sum() for own, mask in zip(pasted, masks, strict=True)]
        assert np.mean(overlap) > 0.45
    for region in ("eyes", "nose", "mouth"):
        hidden = [np.mean([(own & mask[region]).sum() / mask[region].sum() for own, mask in zip(each, masks, strict=True)])
                  for each in ([mask["occluder"] for mask in masks], pasted)]  # fmt: skip
        assert hidden[1] == pytest.approx(hidden[0], abs=0.25)


def halved(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), 24, 2, 24, 2).mean(axis=(2, 4)).reshape(len(images), -1)


@pytest.mark.slow
def test_pasted_occluders_cost_a_classifier_what_drawn_ones_cost(specs, plain, placed):
    """Linear discriminants of pixels, which see no occluder in training; of 600 faces, on others."""
    train = [dataclasses.replace(control.sample_spec(1, number), occluder="none") for number in range(600)]
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    model.fit(halved(np.stack([draw_image(spec, 48) for spec in train])), [spec.expression for spec in train])
    truth = np.array([spec.expression for spec in specs])

    def accuracy(images: np.ndarray) -> float:
        return float((model.predict(halved(images)) == truth).mean())

    clean = accuracy(plain)
    assert clean > 0.4
    for name in ("mask", "sunglasses", "hand"):
        worn = np.stack([draw_image(spec, 48) for spec in wearing(specs, name)])
        drawn, pasted = accuracy(worn), accuracy(occlude(plain, name, template=placed, face_ids=IDS))
        assert clean - pasted == pytest.approx(clean - drawn, abs=0.17), name


def test_glasses_ring_the_eyes_and_leave_them_open(placed):
    rims = covered("glasses", template=placed, size=(192, 192), face_id="a")
    lenses = covered("sunglasses", template=placed, size=(192, 192), face_id="a")
    eyes = template(Registration(0, 0, 0.85, 0.8), 192).masks["eyes"]
    assert (rims & lenses).sum() / rims.sum() > 0.7
    assert (lenses & eyes).sum() / eyes.sum() > 0.7
    assert 0.1 < rims.sum() / lenses.sum() < 0.6


@pytest.mark.parametrize("name", OCCLUSIONS)
def test_rows_do_not_matter_and_grey_equals_colour(name, plain, placed):
    order = np.array([3, 1, 0, 2])
    got = occlude(plain[:4], name, template=placed, face_ids=IDS[:4])
    np.testing.assert_array_equal(occlude(plain[order], name, template=placed, face_ids=[IDS[row] for row in order]), got[order])
    colour = np.repeat(plain[:4, ..., None], 3, axis=-1)
    np.testing.assert_array_equal(occlude(colour, name, template=placed, face_ids=IDS[:4])[..., 1], got)
    assert (got != plain[:4]).any(axis=(1, 2)).all()


def test_a_moved_template_moves_what_is_pasted():
    still, down = (covered("mask", template=template(Registration(shift_y=y)), size=(48, 48), face_id="a") for y in (0.0, 4 / 48))
    np.testing.assert_array_equal(down[10:46], still[6:42])


def test_an_unknown_occlusion_is_refused(plain, placed):
    with pytest.raises(InputError, match="did you mean 'glasses'"):
        occlude(plain[:1], "glass", template=placed, face_ids=IDS[:1])
    assert set(PASTED) < set(OCCLUSIONS)
