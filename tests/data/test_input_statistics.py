"""What inputs are scaled by, against numpy and the papers' arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ferlab.data import batches as module
from ferlab.data.batches import input_statistics
from ferlab.data.preparation.appearance import mean_image, subtract_mean
from ferlab.models.inputs import prepare_images, standardise
from ferlab.paths import InputError


def prepare(faces: torch.Tensor) -> torch.Tensor:
    return prepare_images(faces, size=8, channels=1)


def test_statistics_are_numpys_over_the_named_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    rows = np.array([0, 2, 3, 4, 7, 8, 9])
    mean, std = input_statistics(images, rows, prepare=prepare, scaling="standardised")
    assert mean == pytest.approx((images[rows].mean() / 255,))
    assert std == pytest.approx((images[rows].std() / 255,))
    with pytest.raises(InputError, match="are alike"):
        input_statistics(np.zeros_like(images), rows, prepare=prepare, scaling="standardised")


def test_statistics_take_no_more_bytes_at_a_time_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 64 * 8 + 1)
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    sizes: list[int] = []
    measured = lambda faces: sizes.append(len(faces)) or prepare(faces)  # noqa: E731
    mean, _ = input_statistics(images, np.arange(10), prepare=measured, scaling="standardised")
    assert sizes == [1, 3, 3, 3, 1]
    assert mean == pytest.approx((images.mean() / 255,))


def test_the_mean_image_is_cs231as_of_the_named_rows_and_subtracting_it_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against `appearance`, the paper's arithmetic on grey levels: inputs are those, divided by 255."""
    monkeypatch.setattr(module, "CHUNK", 3)
    images = np.random.default_rng(1).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    rows = np.array([0, 2, 3, 4, 7, 8, 9])
    mean, std = input_statistics(images, rows, prepare=prepare, scaling="mean_image")
    grey = mean_image(images, rows)
    assert (mean.dtype, mean.shape, std) == (torch.float32, (1, 8, 8), (1.0,))
    np.testing.assert_allclose(255 * mean[0].numpy(), grey, atol=1e-4)
    scaled = standardise(prepare(torch.from_numpy(images)), mean=mean, std=std)
    np.testing.assert_allclose(255 * scaled[:, 0].numpy(), subtract_mean(images, grey), atol=1e-3)


def test_the_unit_range_takes_nothing_away_whatever_the_weights_want() -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    colour = lambda faces: prepare_images(faces, size=8, channels=3)  # noqa: E731
    wanted = ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assert input_statistics(images, np.arange(3), prepare=colour, scaling="unit", wanted=wanted) == ((0.0,) * 3, (1.0,) * 3)
    assert input_statistics(images, np.arange(3), prepare=colour, scaling="standardised", wanted=wanted) == wanted
