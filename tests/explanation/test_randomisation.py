"""Randomised weights change maps that depend on the model, and leave those alone that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from scipy.stats import spearmanr
from torch import nn

from ferlab.explanation.attributions import attribute
from ferlab.explanation.randomisation import (
    complexity_rise,
    map_entropy,
    other_class_similarity,
    randomise_weights,
    randomised_models,
    similarity,
    smoothed_maps,
)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).eval()


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand((5, 1, 16, 16), generator=torch.Generator().manual_seed(0))


CLASSES = np.array([0, 1, 2, 0, 1])


def gradients(module: nn.Module, faces: torch.Tensor, classes: np.ndarray) -> np.ndarray:
    return attribute("gradients", module, faces, explained_class=classes)[:, 0].numpy()


def edges(module: nn.Module, faces: torch.Tensor, classes: np.ndarray) -> np.ndarray:
    """A "method" that ignores the model."""
    return np.hypot(sobel(faces[:, 0].numpy(), axis=1), sobel(faces[:, 0].numpy(), axis=2))


@pytest.mark.parametrize("copies", [1, 3])
def test_gradients_change_with_the_weights_and_edges_do_not(module, faces, copies):
    given = {"explained_class": CLASSES, "stages": 3, "copies": copies}
    followed, _ = randomise_weights(gradients, module, faces, **given)
    ignored, rise = randomise_weights(edges, module, faces, **given)
    assert list(followed) == list(ignored) == pytest.approx([1 / 3, 2 / 3, 1])
    assert followed[1.0].max() < 0.6
    for values in ignored.values():
        np.testing.assert_allclose(values, 1)
    np.testing.assert_allclose(rise, 0)


def test_layers_become_random_from_the_output_on_and_the_model_stays(module, faces):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    changed = []
    for fraction, random in randomised_models(module, stages=3):
        moved = {name for name, value in random.state_dict().items() if not torch.equal(value, before[name])}
        changed.append((round(fraction, 2), {name.split(".")[0] for name in moved}))
        assert not random.training
    assert changed == [(0.33, {"4"}), (0.67, {"4"}), (1.0, {"0", "4"})]  # the new batch norm equals the fresh one
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_layer_that_cannot_initialise_itself_is_drawn_with_its_own_spread():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(2, 4, 1000))

    gate = nn.Sequential(Gate())
    random = next(randomised_models(gate, stages=9))[1][0].weight.detach()
    assert not torch.equal(random, gate[0].weight)
    assert float(random.std()) == pytest.approx(float(gate[0].weight.detach().std()), rel=0.1)
    assert float(random.mean()) == pytest.approx(3, abs=0.1)


def test_the_same_seed_gives_the_same_random_model(module):
    first, again = ([model.state_dict()["4.weight"].clone() for _, model in randomised_models(module, stages=2, seed=5)] for _ in range(2))
    other = [model.state_dict()["4.weight"].clone() for _, model in randomised_models(module, stages=2, seed=6)]
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_permuting_the_faces_permutes_the_similarities(module, faces):
    order = np.array([2, 0, 4, 1, 3])
    given = {"stages": 2, "copies": 2}
    plain, _ = randomise_weights(gradients, module, faces, explained_class=CLASSES, **given)
    permuted, _ = randomise_weights(gradients, module, faces[order], explained_class=CLASSES[order], **given)
    np.testing.assert_allclose(permuted[1.0], plain[1.0][order], atol=1e-5)


def test_similarity_is_scipys_spearman_with_ties_and_0_for_a_constant_map():
    rng = np.random.default_rng(0)
    first, second = np.round(rng.random((3, 6, 6)), 1), np.round(rng.random((3, 6, 6)), 1)
    second[2] = 7
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first[:2], second[:2], strict=True)]
    np.testing.assert_allclose(similarity(first, second), [*expected, 0])


def test_smoothed_maps_are_the_mean_over_noisy_copies_of_their_own_face(module, faces):
    def copied(module: nn.Module, given: torch.Tensor, classes: np.ndarray) -> np.ndarray:
        return given[:, 0].numpy() + 10 * classes[:, None, None]

    maps = smoothed_maps(copied, module, faces, explained_class=CLASSES, copies=400)
    assert np.abs(maps - 10 * CLASSES[:, None, None] - faces[:, 0].numpy()).max() < 0.1 * 5 / 20
    assert not np.array_equal(maps, copied(module, faces, CLASSES))


def test_entropy_and_its_rise_are_those_of_the_histogram():
    flat, two, many = np.ones((1, 4, 5)), np.repeat([[0.0], [1.0]], 10).reshape(1, 4, 5), np.linspace(0, 1, 20).reshape(1, 4, 5)
    np.testing.assert_allclose(map_entropy(np.concatenate([flat, two, many])), [0, np.log(2), np.log(20)], atol=1e-12)
    np.testing.assert_allclose(complexity_rise(two, many), (np.log(20) - np.log(2)) / np.log(2))
    assert np.isnan(complexity_rise(flat, many)).all()


def test_another_class_is_explained_for_the_random_logit_test(module, faces):
    asked = []

    def watched(module: nn.Module, given: torch.Tensor, classes: np.ndarray) -> np.ndarray:
        asked.append(classes)
        return gradients(module, given, classes)

    maps = gradients(module, faces, CLASSES)
    found = other_class_similarity(watched, module, faces, maps=maps, explained_class=CLASSES, num_classes=3)
    np.testing.assert_array_equal(asked[0], [1, 2, 0, 1, 2])
    assert found.max() < 0.9
    np.testing.assert_allclose(
        other_class_similarity(edges, module, faces, maps=edges(module, faces, CLASSES), explained_class=CLASSES, num_classes=3), 1
    )


def test_maps_of_a_model_with_other_weights_differ_and_those_of_itself_do_not(module, faces):
    other = next(randomised_models(module, stages=1))[1]
    maps = gradients(module, faces, CLASSES)
    np.testing.assert_allclose(similarity(maps, 3 * maps), 1)
    assert similarity(maps, gradients(other, faces, CLASSES)).max() < 0.9


def test_a_model_without_parameters_cannot_be_randomised(faces):
    similar, rise = randomise_weights(edges, nn.Flatten(), faces, explained_class=CLASSES)
    assert similar == {}
    np.testing.assert_array_equal(rise, 0)
