"""Infidelity, max-sensitivity and sparseness, against formulas worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ferlab.explanation.stability import RADIUS, gini, infidelities, max_sensitivity

WEIGHTS = torch.rand((12, 12), generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 144


def linear(faces: torch.Tensor) -> torch.Tensor:
    value = (faces.sum(dim=1).double() * WEIGHTS).sum(dim=(1, 2))
    return torch.stack([value, 1 - value], dim=1)


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand((4, 1, 12, 12), generator=torch.Generator().manual_seed(0))


def exact_map(faces: torch.Tensor) -> np.ndarray:
    """What each pixel of the linear model loses when it becomes the face's mean."""
    return ((faces[:, 0] - faces.mean(dim=(1, 2, 3))[:, None, None]) * WEIGHTS).numpy()


def test_the_exact_map_of_a_linear_model_has_no_infidelity_in_any_unit(faces):
    exact = exact_map(faces)
    found = infidelities(linear, faces, maps={"exact": exact, "scaled": 50 * exact, "random": np.random.default_rng(0).random(exact.shape)},
                         explained_class=[0, 1, 0, 1])  # fmt: skip
    assert found["exact"].max() < 1e-4
    np.testing.assert_allclose(found["scaled"], found["exact"], atol=1e-4)
    assert found["random"].min() > 10 * found["exact"].max()


def test_infidelity_is_quantus_formula_with_the_best_factor(faces):
    maps, squares = np.random.default_rng(0).normal(size=(4, 12, 12)), 6
    seen: list[torch.Tensor] = []

    def watched(given: torch.Tensor) -> torch.Tensor:
        seen.append(given)
        return linear(given)

    found = infidelities(watched, faces, maps={"any": maps}, explained_class=[0] * 4, squares=squares)["any"]
    perturbed = next(given for given in seen if len(given) == 4 * squares)
    drop = (linear(faces)[:, :1] - linear(perturbed)[:, 0].reshape(4, squares)).numpy()
    removed = (perturbed != faces.repeat_interleave(squares, dim=0))[:, 0].reshape(4, squares, 12, 12).numpy()
    inside = (maps[:, None] * removed).sum(axis=(2, 3))
    factor = (inside * drop).mean(axis=1) / (inside**2).mean(axis=1)
    expected = ((factor[:, None] * inside - drop) ** 2).mean(axis=1)
    np.testing.assert_allclose(found**2, expected, rtol=1e-3)


def test_all_maps_share_the_passes_of_one(faces):
    calls: list[int] = []

    def counted(given: torch.Tensor) -> torch.Tensor:
        calls.append(len(given))
        return linear(given)

    maps = {str(seed): np.random.default_rng(seed).random((4, 12, 12)) for seed in range(5)}
    infidelities(counted, faces, maps=maps, explained_class=[0] * 4, squares=6)
    assert sum(calls) == 4 + 4 * 6


def test_max_sensitivity_of_a_map_that_copies_the_face_is_its_largest_relative_noise(faces):
    given: list[torch.Tensor] = []

    def copied(inputs: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
        given.append(inputs)
        return inputs[:, 0].numpy()

    found = max_sensitivity(copied, faces, maps=faces[:, 0].numpy(), explained_class=[0] * 4, samples=3)
    assert [len(inputs) for inputs in given] == [12]  # the faces' own maps are not computed again
    noise = (given[0].reshape(4, 3, 12, 12) - faces).numpy()
    assert np.abs(noise).max() <= RADIUS
    expected = np.linalg.norm(noise, axis=(2, 3)).max(axis=1) / np.linalg.norm(faces[:, 0].numpy(), axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_max_sensitivity_passes_each_copy_the_class_of_its_face(faces):
    def by_class(inputs: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
        return np.ones((len(inputs), 12, 12)) * (1 + classes.numpy())[:, None, None]

    maps = np.ones((4, 12, 12)) * np.array([1, 2, 3, 4])[:, None, None]
    np.testing.assert_allclose(max_sensitivity(by_class, faces, maps=maps, explained_class=[0, 1, 2, 3], samples=2), 0)


def test_gini_is_quantus_formula():
    maps = np.stack([np.ones((2, 2)), [[0, 0], [0, 4.0]], [[1, -2], [3, 4.0]], np.zeros((2, 2))])
    # of 1, 2, 3, 4: (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / (4 * 10)
    np.testing.assert_allclose(gini(maps), [0, 0.75, 0.25, np.nan])
