"""XRAI: segments of small faces that follow their parts, and PAIR's own map at the size that its constants are made for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency.core import XRAI
from tiny_models import Weighted, maps_of

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import sample_spec
from ferlab.explanation.segment_maps import segment_face, xrai


def drawn(size: int, number: int = 0) -> torch.Tensor:
    """Return a control face, normalised (1, 1, H, W)."""
    return torch.from_numpy(draw_image(sample_spec(7, number), size) / 127.5 - 1).float()[None, None]


def test_a_face_of_48_pixels_has_many_small_segments_that_cover_it() -> None:
    segments = np.stack(segment_face(drawn(48)[0].numpy()))
    assert len(segments) > 60
    assert segments.any(0).all()
    areas = segments.mean((1, 2))
    assert np.median(areas) < 0.05
    assert areas.min() * 48 * 48 >= 3
    assert areas.max() > 0.2  # the coarse scales keep face and background whole


def test_the_pixels_that_a_segment_added_share_the_mean_of_their_integrated_gradients() -> None:
    weights = torch.zeros(1, 48, 48)
    weights[:, 30:40, 14:34] = 1.0
    face = drawn(48)
    (values,) = maps_of("xrai", Weighted(weights), face, explained_class=[0], steps=4)
    middle = (float(face.min()) + float(face.max())) / 2  # the mean over both baselines
    gradients = (weights * (face - middle))[0, 0].numpy()
    assert len(np.unique(values)) > 10
    for value in np.unique(values):
        assert gradients[values == value].mean() == pytest.approx(value, abs=1e-4)
    assert values.sum() == pytest.approx(gradients.sum(), rel=1e-3)  # nothing is lost: completeness
    top = np.argsort(values.ravel())[-40:]
    assert weights.numpy().ravel()[top].mean() > 0.7  # of 9 % of the pixels; processors part segments differently


def test_a_face_of_one_grey_is_one_segment() -> None:
    maps = maps_of("xrai", Weighted(torch.ones(1, 24, 24)), torch.full((1, 1, 24, 24), 0.3), explained_class=[0], steps=2)
    np.testing.assert_allclose(maps, 0, atol=1e-6)


@pytest.mark.slow
def test_at_224_pixels_the_map_is_pairs_own() -> None:
    face, weights = drawn(224), torch.randn(1, 224, 224, generator=torch.Generator().manual_seed(0))
    ours = xrai(Weighted(weights), face, explained_class=torch.tensor([0]), steps=2)[0, 0].numpy()
    middle = (float(face.min()) + float(face.max())) / 2
    base = (weights * (face - middle))[0, 0].numpy()[..., None]
    theirs = XRAI().GetMask(face[0].numpy().transpose(1, 2, 0), None, base_attribution=base)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
