"""Measures of localisation against hand computation and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ferlab.explanation.localisation import MEASURES, localise

MAP = np.array([[[4.0, 3.0], [2.0, -9.0]]])
MASK = np.array([[[True, False], [True, False]]])


def test_every_measure_is_what_one_computes_by_hand():
    """Inside: 4 and 2, outside: 3 and a negative value; the mask has two pixels, of which the two highest hold one."""
    found = localise(MAP, MASK)
    assert tuple(found) == MEASURES
    assert {name: float(value[0]) for name, value in found.items()} == pytest.approx(
        {"mass": 6 / 9, "rank": 1 / 2, "pointing": 1.0, "auc": 3 / 4, "iou": 1 / 3, "kappa": 0.0}
    )


def test_tied_pixels_count_in_expectation():
    """A constant map scores what chance gives: the area of the mask, and an AUC of a half; a map of zeros too, but it has no mass."""
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0] = True
    constant, zero = localise(np.ones((1, 4, 4)), mask), localise(np.zeros((1, 4, 4)), mask)
    for name in ("mass", "rank", "pointing"):
        assert constant[name][0] == pytest.approx(1 / 4)
    assert constant["kappa"][0] == pytest.approx(0)
    assert constant["auc"][0] == zero["auc"][0] == pytest.approx(1 / 2)
    assert zero["mass"][0] == 0
    assert zero["rank"][0] == pytest.approx(1 / 4)


def test_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    maps, masks = rng.integers(0, 4, (6, 5, 7)).astype(float), rng.random((6, 5, 7)) < 0.3
    expected = [roc_auc_score(mask.ravel(), each.ravel()) for mask, each in zip(masks, maps, strict=True)]
    np.testing.assert_allclose(localise(maps, masks)["auc"], expected)


def test_kappa_is_scikit_learns_of_the_highest_pixels():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(1)
    maps, masks = rng.random((4, 6, 6)), rng.random((4, 6, 6)) < 0.25
    highest = [each >= np.sort(each.ravel())[-mask.sum()] for each, mask in zip(maps, masks, strict=True)]
    expected = [cohen_kappa_score(top.ravel(), mask.ravel()) for top, mask in zip(highest, masks, strict=True)]
    np.testing.assert_allclose(localise(maps, masks)["kappa"], expected)


def test_a_perfect_map_scores_one_and_its_mirror_image_does_not():
    mask = np.zeros((1, 6, 6), bool)
    mask[0, 1:3, 0:2] = True
    assert {name: value[0] for name, value in localise(mask.astype(float), mask).items()} == dict.fromkeys(MEASURES, 1.0)
    assert all(value[0] < 1 for value in localise(mask[:, :, ::-1].astype(float), mask).values())


def test_masks_that_decide_nothing_are_refused():
    with pytest.raises(ValueError, match="inside and outside"):
        localise(MAP, np.zeros_like(MASK))
    with pytest.raises(ValueError, match="shape"):
        localise(MAP, MASK[:, :1])
