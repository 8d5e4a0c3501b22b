"""Imputation of removed pixels: the linear system against a dense solve, and what is left of the face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ferlab.explanation.imputation import BLUR, IMPUTATIONS, NOISE, blur_faces, impute, interpolate_linearly
from ferlab.paths import InputError

SIDE = 12


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand((3, 2, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def solve_densely(face: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """ROAD's equations of one channel (H, W), written out pixel by pixel."""
    places = [tuple(place) for place in np.argwhere(removed)]
    number = {place: row for row, place in enumerate(places)}
    matrix, right = np.zeros((len(places), len(places))), np.zeros(len(places))
    for (y, x), row in number.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                other = (y + down, x + across)
                if (down, across) == (0, 0) or not (0 <= other[0] < SIDE and 0 <= other[1] < SIDE):
                    continue
                weight = 1 / 6 if down == 0 or across == 0 else 1 / 12
                matrix[row, row] += weight
                if other in number:
                    matrix[row, number[other]] -= weight
                else:
                    right[row] += weight * face[other]
    filled = face.copy()
    filled[removed] = np.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.95])
def test_linear_imputation_solves_the_system_of_road(faces, fraction):
    removed = torch.rand((3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) < fraction
    removed[0] = False
    removed[0, : max(1, int(fraction * SIDE))] = True  # a hole at the border, not scattered pixels
    filled = interpolate_linearly(faces, removed, tolerance=1e-12)
    expected = [[solve_densely(channel, mask) for channel in face] for face, mask in zip(faces.numpy(), removed.numpy(), strict=True)]
    np.testing.assert_allclose(filled, expected, atol=1e-9)


def test_linear_imputation_at_its_own_tolerance_is_closer_than_its_noise(faces):
    removed = torch.rand((3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) < 0.6
    exact = interpolate_linearly(faces, removed, tolerance=1e-12)
    assert (interpolate_linearly(faces.float(), removed) - exact).abs().max() < NOISE / 2


def test_a_ramp_is_restored_inside_the_frame():
    ramp = torch.linspace(0, 1, SIDE).expand(1, 1, SIDE, SIDE)
    removed = torch.zeros((1, SIDE, SIDE), dtype=torch.bool)
    removed[:, 2:-2, 2:-2] = True
    torch.testing.assert_close(interpolate_linearly(ramp, removed, tolerance=1e-7), ramp, atol=1e-5, rtol=0)


@pytest.mark.parametrize("imputation", IMPUTATIONS)
def test_pixels_that_stay_are_left_alone_and_others_lose_their_value(faces, imputation):
    removed = torch.rand((3, 4, SIDE, SIDE), generator=torch.Generator().manual_seed(2)) < 0.5
    filled = impute(faces, removed, imputation=imputation).unflatten(0, (3, 4))
    apart = faces[:, None].expand_as(filled) - filled
    gone = removed[:, :, None].expand_as(apart)
    assert apart[~gone].abs().max() == 0
    assert (apart[gone].abs() > 1e-6).all()


@pytest.mark.parametrize("imputation", IMPUTATIONS)
def test_a_face_without_pixels_left_holds_none_of_its_details(faces, imputation):
    everything = torch.ones((3, 1, SIDE, SIDE), dtype=torch.bool)
    filled = impute(faces, everything, imputation=imputation, noise=0)
    spread = (filled - faces.mean(dim=(2, 3), keepdim=True)).abs().amax()
    assert spread < (0.35 if imputation == "blur" else 1e-6)


def test_blur_is_scipys_gaussian(faces):
    expected = gaussian_filter(faces.numpy(), (0, 0, BLUR * SIDE, BLUR * SIDE), mode="nearest", truncate=round(3 * BLUR * SIDE) / (BLUR * SIDE))
    np.testing.assert_allclose(blur_faces(faces), expected, atol=1e-12)


def test_all_faces_share_one_field_of_noise_of_the_stated_strength():
    grey = torch.full((2, 1, 48, 48), 0.5)
    removed = torch.zeros((2, 1, 48, 48), dtype=torch.bool)
    removed[..., ::2] = True
    noise = (impute(grey, removed, imputation="noisy_linear", seed=3) - 0.5)[..., ::2]
    torch.testing.assert_close(noise[0], noise[1])
    assert noise[0].std() == pytest.approx(NOISE, rel=0.1)
    assert not torch.equal(noise, (impute(grey, removed, imputation="noisy_linear", seed=4) - 0.5)[..., ::2])


def test_an_unknown_imputation_is_named(faces):
    with pytest.raises(InputError, match=r"'grey'.*blur, mean, noisy_linear"):
        impute(faces, torch.zeros((3, 1, SIDE, SIDE), dtype=torch.bool), imputation="grey")
