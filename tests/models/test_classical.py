from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.filters import gabor_kernel
from sklearn.svm import LinearSVC

from ferlab.models.classical import gabor_svm, hog_svm, lbp_svm
from ferlab.models.descriptors import GaborEnergies, GradientHistograms, PatternHistograms, local_binary_patterns, uniform_labels
from ferlab.paths import InputError


def faces(count: int, size: int) -> np.ndarray:
    """Draw noise, smooth shapes, one all but flat and one flat face, uint8 (N, size, size)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size)).astype(np.uint8)
    images[1:] = [cv2.GaussianBlur(image, (0, 0), 2) for image in images[1:]]
    images[2] //= 16
    images[3] = 7
    return images


def opencv_hog(images: np.ndarray) -> np.ndarray:
    size = images.shape[1:3]
    descriptor = cv2.HOGDescriptor(size, (16, 16), (8, 8), (8, 8), 9, 1, -1, cv2.HOGDescriptor_L2Hys, 0.2, False)  # no gamma correction
    return np.stack([descriptor.compute(image).ravel() for image in images])


@pytest.mark.parametrize("size", [48, 64])
def test_gradient_histograms_are_opencvs(size: int) -> None:
    images = faces(6, size)
    grey = torch.from_numpy(images)[:, None].float()
    np.testing.assert_allclose(GradientHistograms(grey_levels=1.0)(grey), opencv_hog(images), atol=2e-6)


def test_gradient_histograms_of_standardised_faces_are_opencvs() -> None:
    images = faces(6, 48)
    standardised = (torch.from_numpy(images)[:, None] / 255 - 0.51) / (64 / 255)
    np.testing.assert_allclose(GradientHistograms(grey_levels=64.0)(standardised), opencv_hog(images), atol=1e-4)


def test_of_three_channels_the_largest_gradient_counts_as_in_opencv() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)
    colour = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(GradientHistograms(grey_levels=1.0)(colour), opencv_hog(images), atol=2e-6)


def test_patterns_are_as_by_hand() -> None:
    face = torch.tensor([[5.0, 4.0, 3.0], [4.0, 4.0, 1.0], [2.0, 0.0, 4.0]])[None, None]
    patterns = local_binary_patterns(face)[0, 0]
    # around the middle, from the right and on below: 1 4 0 2 4 5 4 3 against 4
    assert patterns[1, 1] == 0b01110010
    # around the corner, its own edge repeated: 4 4 4 4 5 5 5 4 against 5
    assert patterns[0, 0] == 0b01110000


def test_58_patterns_change_at_most_twice_and_the_others_share_a_label() -> None:
    labels = uniform_labels()
    changes = [sum(f"{p:08b}"[i] != f"{p:08b}"[i - 1] for i in range(8)) for p in range(256)]
    uniform = [int(labels[p]) for p in range(256) if changes[p] <= 2]
    assert uniform == list(range(58))
    assert {int(labels[p]) for p in range(256) if changes[p] > 2} == {58}


def test_pattern_histograms_are_those_of_a_loop_over_pixels() -> None:
    image = faces(4, 16)[1]
    padded, labels, expected = np.pad(image, 1, mode="edge").astype(int), uniform_labels().numpy(), np.zeros((59, 2, 2))
    around = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    for row in range(16):
        for column in range(16):
            bits = [padded[row + 1 + y, column + 1 + x] >= image[row, column] for y, x in around]
            expected[labels[sum(2**i for i, bit in enumerate(bits) if bit)], row // 8, column // 8] += 1 / 64
    found = PatternHistograms()(torch.from_numpy(image)[None, None].float())
    np.testing.assert_allclose(found.view(59, 2, 2), expected, atol=1e-6)


def test_light_and_contrast_leave_the_patterns() -> None:
    grey = torch.from_numpy(faces(4, 48))[:, None].float() / 255
    assert torch.equal(PatternHistograms()(grey), PatternHistograms()((grey - 0.5) / 0.25))


@pytest.mark.parametrize("build", [hog_svm, lbp_svm, gabor_svm])
def test_features_are_fixed_and_the_same_in_half_precision(build: type) -> None:
    module, images = build(), torch.randn(2, 1, 48, 48)
    assert [name for name, _ in module.named_parameters()] == list(module.state_dict()) == ["logits.weight", "logits.bias"]
    exact = module.features(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.features(images), exact)


def test_gabor_energies_are_those_of_scikit_images_filter() -> None:
    face = cv2.GaussianBlur(faces(4, 64)[0], (0, 0), 1).astype(np.float64) / 255
    found = GaborEnergies()(torch.from_numpy(face)[None, None].float()).view(4, 8, 8, 8)
    for wave, turn in ((4.0, 0), (8.0, 3)):
        kernel = gabor_kernel(1 / wave, theta=np.pi * turn / 8, bandwidth=1.0, n_stds=2)
        even, odd = (ndimage.correlate(face, part, mode="nearest") for part in (kernel.real, kernel.imag))
        even -= kernel.real.sum() * ndimage.uniform_filter(face, 27, mode="nearest")  # the even kernel has no mean over the common square
        expected = np.hypot(even, odd)[::2, ::2].reshape(8, 4, 8, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(found[(4.0, 5.7, 8.0, 11.3).index(wave), turn], np.log1p(expected), atol=2e-3)


def test_gabor_energies_follow_the_direction_of_stripes_and_not_the_light() -> None:
    columns = torch.arange(48) * 2 * torch.pi / 8
    stripes = columns.sin().expand(48, 48)[None, None]
    per_direction = GaborEnergies()(torch.cat([stripes, stripes.mT, stripes + 5])).view(3, 4, 8, 6, 6)[:, 2, :, 2:4, 2:4].mean((2, 3))
    assert per_direction.argmax(dim=1).tolist() == [0, 4, 0]
    torch.testing.assert_close(per_direction[2], per_direction[0], atol=1e-4, rtol=1e-4)


def test_a_side_that_cells_do_not_fill_is_refused() -> None:
    with pytest.raises(InputError, match="lbp_svm: size: expected a multiple of 8, its cells' side, got 44"):
        lbp_svm(size=44)


def test_with_the_squared_hinge_and_weight_decay_it_is_scikit_learns_linear_svm() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(21) % 3
    images = torch.from_numpy(rng.normal(size=(21, 1, 16, 16)) + rng.normal(size=(3, 1, 16, 16))[target])
    module = hog_svm(3, size=16).double()
    features, signs = module.features(images), torch.from_numpy(2.0 * np.eye(3)[target] - 1)
    reference = LinearSVC(loss="squared_hinge", C=1.0, tol=1e-8, max_iter=100_000).fit(features.numpy(), target)
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        optimiser.zero_grad()
        hinge = (1 - signs * module.logits(features)).clamp(min=0).square().sum()
        total = hinge + sum(p.square().sum() for p in module.parameters()) / 2
        total.backward()
        return total

    optimiser.step(objective)
    np.testing.assert_allclose(module(images).detach(), reference.decision_function(features.numpy()), atol=1e-3)
