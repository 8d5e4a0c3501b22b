from __future__ import annotations

import cv2
import numpy as np
import pytest

from ferlab.control import draw_face, read, sample_spec
from ferlab.control.drawing.colour import LUMINANCE, SKIN_TINTS


def test_colour_faces_are_the_grey_faces_with_red_green_and_blue() -> None:
    grey, rows = read(faces=30, subjects=10, size=48)
    colour, coloured_rows = read(faces=30, subjects=10, size=48, colour=True)
    assert colour.shape == (30, 48, 48, 3)
    assert colour.dtype == np.uint8
    assert rows.equals(coloured_rows)
    for one, other in zip(colour, grey, strict=True):
        as_grey = cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(float)
        assert np.corrcoef(as_grey.ravel(), other.ravel().astype(float))[0, 1] > 0.97
        assert abs(as_grey.mean() - other.mean()) < 10


def test_skin_is_red_before_green_before_blue_in_every_tone() -> None:
    for tone, tint in enumerate(SKIN_TINTS, start=1):
        assert tint[0] > tint[1] > tint[2]
        assert pytest.approx(1, abs=0.03) == LUMINANCE @ tint
        images, faces = read(faces=14, subjects=14, size=64, colour=True, skin=[tone])
        for number in range(14):
            spec = sample_spec(0, number, subjects=14)
            if spec.occluder != "none" or spec.noise > 4:
                continue
            mask = draw_face(spec, 64).masks["nose"]
            red, green, blue = images[number][mask].mean(axis=0)
            assert red > green > blue, (tone, number)
        assert set(faces["skin"]) == {tone}


def test_lips_are_redder_than_the_skin_around_them() -> None:
    redder = []
    for number in range(12):
        spec = sample_spec(1, number)
        if spec.occluder != "none" or spec.identity.beard != "none":
            continue
        face = draw_face(spec, 96, colour=True)
        share = face.image[..., 0] / np.maximum(face.image[..., 1], 1)
        redder.append(np.percentile(share[face.masks["mouth"]], 90) > 1.08 * np.median(share[face.masks["cheeks"]]))
    assert len(redder) >= 4
    assert np.mean(redder) > 0.9


def test_hair_and_eyes_come_in_several_colours() -> None:
    hue = []
    for number in range(40):
        image = draw_face(sample_spec(2, number, subjects=40), 48, colour=True).image.astype(float)
        crown = image[3:8, 20:28].reshape(-1, 3).mean(axis=0)
        hue.append(crown[0] / max(crown[2], 1))
    assert max(hue) > 1.3 * min(hue)
