"""Deletion and insertion curves, on models whose curves are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ferlab.explanation.imputation import IMPUTATIONS
from ferlab.explanation.removal import DELETION, INSERTION, areas, pixel_ranks, predictor, removal_curves
from ferlab.models import LoadedModel, create_model

FRACTIONS = (0.25, 0.5, 0.75)


def linear(weights: torch.Tensor):
    """Predict "probabilities" that are the weighted sum of the pixels, and its complement."""

    def predict(faces: torch.Tensor) -> torch.Tensor:
        value = (faces.sum(dim=1) * weights).sum(dim=(1, 2))
        return torch.stack([value, 1 - value], dim=1)

    return predict


@pytest.fixture
def case():
    """Faces of 4 x 4 pixels, weights that fall from pixel to pixel."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand((5, 1, 4, 4), generator=generator, dtype=torch.float64)
    return faces, torch.linspace(1, 0.1, 16, dtype=torch.float64).reshape(4, 4) / 16


def test_curves_of_a_linear_model_are_those_computed_by_hand(case):
    faces, weights = case
    values = (faces[:, 0] - faces.mean(dim=(1, 2, 3))[:, None, None]) * weights  # what removing a pixel costs
    curves = removal_curves(linear(weights), faces, maps={"exact": values.numpy()}, explained_class=[0] * 5, imputation="mean", fractions=FRACTIONS)
    cost = np.sort(values.flatten(1).numpy(), axis=1)[:, ::-1]
    lost = np.concatenate([np.zeros((5, 1)), np.cumsum(cost, axis=1)[:, [3, 7, 11, 15]]], axis=1)
    whole = linear(weights)(faces)[:, :1].numpy()
    np.testing.assert_allclose(curves["exact"][:, DELETION], whole - lost, atol=1e-12)
    np.testing.assert_allclose(curves["exact"][:, INSERTION], (whole - lost[:, -1:]) + lost, atol=1e-12)


def test_the_probability_is_that_of_the_explained_class(case):
    faces, weights = case
    given = {"maps": {"any": np.random.default_rng(0).random((5, 4, 4))}, "imputation": "mean", "fractions": FRACTIONS}
    first, second = (removal_curves(linear(weights), faces, explained_class=[c] * 5, **given)["any"] for c in (0, 1))
    np.testing.assert_allclose(first, 1 - second, atol=1e-12)


@pytest.mark.parametrize("imputation", IMPUTATIONS)
def test_a_perfect_map_beats_a_random_one_and_that_one_its_inversion(imputation):
    generator = torch.Generator().manual_seed(0)
    faces, weights = torch.rand((16, 1, 12, 12), generator=generator), torch.rand((12, 12), generator=generator) / 144
    gone = {"blur": 0.5, "mean": faces.mean(dim=(1, 2, 3))[:, None, None], "noisy_linear": 0.5}[imputation]
    exact = ((faces[:, 0] - gone) * weights).numpy()
    maps = {"exact": exact, "random": np.random.default_rng(0).random(exact.shape), "inverted": -exact}
    curves = removal_curves(linear(weights), faces, maps=maps, explained_class=[0] * 16, imputation=imputation, fractions=FRACTIONS)
    gain = {method: areas(found[:, INSERTION] - found[:, DELETION], fractions=FRACTIONS) for method, found in curves.items()}
    assert (gain["exact"] > gain["random"]).all()
    assert (gain["random"] > gain["inverted"]).all()
    np.testing.assert_allclose(gain["inverted"], -gain["exact"], atol=1e-3 * np.abs(gain["exact"]).max())
    assert abs(gain["random"].mean()) < 0.2 * gain["exact"].mean()


def test_permuting_the_faces_changes_nothing(case):
    faces, weights = case
    maps, order = np.round(np.random.default_rng(0).random((5, 4, 4)), 1), np.array([3, 1, 4, 0, 2])  # rounded: with ties
    given = {"imputation": "noisy_linear", "fractions": FRACTIONS, "batch_size": 7}
    plain = removal_curves(linear(weights), faces, maps={"any": maps}, explained_class=[0] * 5, **given)["any"]
    permuted = removal_curves(linear(weights), faces[order], maps={"any": maps[order]}, explained_class=[0] * 5, **given)["any"]
    np.testing.assert_allclose(permuted, plain[order], atol=1e-12)


def test_the_batch_size_changes_nothing(case):
    faces, weights = case
    maps = {name: np.random.default_rng(seed).random((5, 4, 4)) for seed, name in enumerate("ab")}
    few, many = (
        removal_curves(linear(weights), faces, maps=maps, explained_class=[0] * 5, imputation="blur", fractions=FRACTIONS, batch_size=size)
        for size in (1, 1000)
    )
    for method in maps:
        np.testing.assert_allclose(few[method], many[method], atol=1e-12)


def test_ranks_follow_attribution_and_break_ties_in_one_order_for_all_faces():
    maps = np.zeros((2, 3, 3))
    maps[:, 1, 1], maps[:, 0, 2] = 2, 1
    ranks = pixel_ranks(maps)
    assert ranks[0, 1, 1] == 0
    assert ranks[0, 0, 2] == 1
    torch.testing.assert_close(ranks[0], ranks[1])
    assert sorted(ranks[0].flatten().tolist()) == list(range(9))
    assert not torch.equal(ranks, pixel_ranks(maps, seed=1))


def test_the_area_of_a_straight_line_is_its_mean():
    assert areas(np.array([1.0, 0.75, 0.5, 0.25, 0.0]), fractions=FRACTIONS) == pytest.approx(0.5)
    assert areas(np.array([1.0, 0.5, 0.0]), fractions=(0.5,)) == pytest.approx(0.5)


@pytest.mark.parametrize(("channels", "values"), [(1, {}), (3, {}), (1, {"valence": (-1.0, 1.0)})])
def test_grey_and_colour_models_and_models_with_values_are_predicted_as_they_predict(channels, values):
    torch.manual_seed(0)
    module = create_model("five_layer", num_classes=7, in_channels=channels).eval()
    if values:
        module = nn.Sequential(module, WithValue()).eval()
    model = LoadedModel(
        module, "five_layer", {}, tuple("abcdefg"), mean=(0.4,) * channels, std=(0.2,) * channels, size=48, channels=channels, target_layer=None,
        trained_on=(), values=values,
    )  # fmt: skip
    faces = torch.rand((3, channels, 48, 48))
    curves = removal_curves(predictor(model), faces, maps={"any": np.random.default_rng(0).random((3, 48, 48))}, explained_class=[1, 2, 3])["any"]
    with torch.no_grad():
        expected = model.probs(module(model.scale(faces)))[[0, 1, 2], [1, 2, 3]]
    np.testing.assert_allclose(curves[:, DELETION, 0], expected, atol=1e-5)
    np.testing.assert_allclose(curves[:, INSERTION, -1], expected, atol=1e-5)


class WithValue(nn.Module):
    """Adds a value, far larger than any logit, beside the logits."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.cat([logits, torch.full_like(logits[:, :1], 50.0)], dim=1)
