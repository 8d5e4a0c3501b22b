"""Maps that every method must beat: each belongs to its face alone."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, sobel

from ferlab.explanation.baselines import RANDOM, baseline_maps, class_mean_maps


def test_a_random_map_belongs_to_its_face():
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    maps = baseline_maps(images)[RANDOM]
    np.testing.assert_array_equal(baseline_maps(images[::-1])[RANDOM], maps[::-1])
    assert not np.array_equal(maps[0], maps[1])
    assert not np.array_equal(baseline_maps(images, seed=1)[RANDOM], maps)


def test_the_edges_of_a_face_are_its_own() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 20), dtype=np.uint8)
    for image, edges in zip(images, baseline_maps(images)["edges"], strict=True):
        smooth = gaussian_filter(image.astype(float), 1)
        np.testing.assert_allclose(edges, np.hypot(sobel(smooth, axis=0), sobel(smooth, axis=1)))


def test_baseline_maps_know_the_middle_and_the_edges() -> None:
    images = np.zeros((1, 48, 48), np.uint8)
    images[:, :, 24:] = 200
    maps = baseline_maps(images)
    assert np.unravel_index(maps["centre"][0].argmax(), (48, 48)) in {(23, 23), (23, 24), (24, 23), (24, 24)}
    np.testing.assert_allclose(maps["centre"], maps["centre"][:, ::-1, ::-1])
    assert set(np.argsort(maps["edges"][0].sum(axis=0))[-2:]) == {23, 24}


def test_the_class_mean_leaves_the_face_out():
    maps = np.array([[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 1.0]], [[5.0, 5.0]]])
    found = class_mean_maps(maps, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(found[0], [[0.375, 0.625]])  # the mean of (0, 1) and (0.75, 0.25): each map has mass 1
    np.testing.assert_allclose(found[3], np.mean([[1, 0], [0, 1], [0.75, 0.25]], axis=0)[None])  # alone in its class: all others
