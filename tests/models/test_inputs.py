from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ferlab.models.inputs import prepare_images, standardise


def faces(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_grey_faces_of_the_right_size_are_only_scaled() -> None:
    images = faces(3, 48, 48)
    out = prepare_images(images, size=48, channels=1)
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.from_numpy(images[:, None].astype(np.float32) / 255))


def test_shrinking_is_opencvs_area_and_colour_becomes_opencvs_grey() -> None:
    images = faces(2, 96, 96, 3)
    out = prepare_images(images, size=48, channels=1)[:, 0].numpy() * 255
    reference = [cv2.cvtColor(cv2.resize(i.astype(np.float32), (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for i in images]
    assert np.abs(out - np.stack(reference)).max() < 0.01


def test_growing_is_opencvs_bilinear_and_grey_is_repeated() -> None:
    images = faces(2, 48, 48)
    out = prepare_images(images, size=197, channels=3)
    assert out.shape == (2, 3, 197, 197)
    assert torch.equal(out[:, 0], out[:, 2])
    reference = [cv2.resize(i.astype(np.float32), (197, 197), interpolation=cv2.INTER_LINEAR) for i in images]
    assert np.abs(out[:, 0].numpy() * 255 - np.stack(reference)).max() < 0.1


def test_the_stored_faces_are_not_written_to() -> None:
    images = faces(2, 48, 48)
    images.flags.writeable = False
    prepare_images(images, size=48, channels=1).zero_()
    assert images.any()


def test_other_shapes_and_dtypes_are_refused() -> None:
    for wrong in (faces(48, 48), faces(2, 48, 48, 4), faces(2, 48, 48).astype(np.float32)):
        with pytest.raises(ValueError, match="Expected uint8 faces"):
            prepare_images(wrong, size=48, channels=1)


def test_standardised_by_their_own_statistics_faces_have_mean_0_and_deviation_1() -> None:
    images = prepare_images(faces(20, 48, 48, 3), size=48, channels=3)
    mean, std = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))
    out = standardise(images, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    assert torch.allclose(out.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(out.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4)
