"""TracIn against its formula by hand and captum's own pairwise influence, on networks whose gradients can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.influence import TracInCP
from torch import nn
from torch.utils.data import TensorDataset

from ferlab.control.options import spoil_labels
from ferlab.error_analysis.influence import Batches, linear_influence, output_layer, run_influence, self_influence
from ferlab.models import LoadedModel

SUM = nn.CrossEntropyLoss(reduction="sum")


def tiny() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)).eval(), torch.randn(600, 1, 4, 4), torch.randint(0, 3, (600,))


def test_self_influence_is_the_squared_gradient_of_the_last_layer_summed_over_checkpoints() -> None:
    module, inputs, targets = tiny()
    first = {name: values.clone() for name, values in module.state_dict().items()}
    second = {name: values * 1.5 for name, values in first.items()}
    found = self_influence(
        module, Batches(lambda rows: inputs[rows], targets), layer=module[3], loss=SUM, checkpoints=[(first, 0.1), (second, 0.2)]
    )
    expected = np.zeros(600)
    for weights, rate in ((first, 0.1), (second, 0.2)):
        module.load_state_dict(weights)
        for place in range(600):
            module.zero_grad()
            SUM(module(inputs[place : place + 1]), targets[place : place + 1]).backward()
            expected[place] += rate * float((module[3].weight.grad**2).sum())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_a_linear_model_has_the_same_tracin_with_and_without_the_shortcut() -> None:
    torch.manual_seed(1)
    module, inputs, targets = nn.Sequential(nn.Linear(4, 3, bias=False)), torch.randn(20, 4), torch.randint(0, 3, (20,))
    fast = self_influence(module, Batches(lambda rows: inputs[rows], targets), layer=module[0], loss=SUM, checkpoints=[(module.state_dict(), 1.0)])
    data, how = TensorDataset(inputs, targets), {"loss_fn": SUM, "sample_wise_grads_per_batch": True, "batch_size": 20}
    whole = TracInCP(module, data, [module.state_dict()], lambda module, checkpoint: 1.0, **how)
    np.testing.assert_allclose(fast, whole.self_influence().numpy(), rtol=1e-4)


def loaded(module: nn.Module, *, values: dict | None = None, output: str = "softmax") -> LoadedModel:
    card = {"mean": (0.5,), "std": (0.25,), "size": 4, "channels": 1, "target_layer": None, "trained_on": ("train",)}
    return LoadedModel(module=module, name="tiny", options={}, expressions=("a", "b", "c"), values=values or {}, output=output, **card)


def test_a_runs_influence_counts_its_expressions_alone() -> None:
    module, _, targets = tiny()
    images = np.random.default_rng(0).integers(0, 256, (600, 4, 4)).astype(np.uint8)
    found = run_influence(loaded(module), images, targets.numpy())
    hidden, probs = module[:3](loaded(module).normalise(images)), module(loaded(module).normalise(images)).softmax(1)
    error = probs - nn.functional.one_hot(targets, 3)
    np.testing.assert_allclose(found, ((error**2).sum(1) * (hidden**2).sum(1)).detach().numpy(), rtol=1e-4)

    wider = nn.Sequential(*module[:3], nn.Linear(5, 4)).eval()  # a regressed value beside them
    wider[3].load_state_dict({"weight": torch.cat([module[3].weight, torch.ones(1, 5)]), "bias": torch.cat([module[3].bias, torch.ones(1)])})
    np.testing.assert_allclose(run_influence(loaded(wider, values={"valence": (-1, 1)}), images, targets.numpy()), found, rtol=1e-4)
    independent = run_influence(loaded(module, output="sigmoid"), images, targets.numpy())
    error = module(loaded(module).normalise(images)).sigmoid() - nn.functional.one_hot(targets, 3)
    np.testing.assert_allclose(independent, ((error**2).sum(1) * (hidden**2).sum(1)).detach().numpy(), rtol=1e-4)


def test_a_model_without_a_last_linear_layer_has_no_influence() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert output_layer(pooled, torch.zeros(1, 1, 4, 4)) is None
    assert np.isnan(run_influence(loaded(pooled), np.zeros((7, 4, 4), np.uint8), np.zeros(7, int))).all()
    gated = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU()).eval()  # what it puts out is not the layer's output
    assert output_layer(gated, torch.ones(1, 1, 4, 4)) is None


def test_spoilt_labels_have_a_higher_influence_on_a_softmax_regression() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 600)
    features = np.eye(4)[truth] @ rng.normal(size=(4, 12)) * 2 + rng.normal(size=(600, 12))
    given = spoil_labels(truth, np.arange(600), share=0.1, classes=np.arange(4), seed=0)
    influence = linear_influence(features, given, num_classes=4, seed=0)
    wrong = given != truth
    assert wrong[np.argsort(-influence)[:30]].mean() > 0.8, "a random ranking has 0.1"
    np.testing.assert_allclose(linear_influence(features, given, num_classes=4, seed=0), influence, rtol=1e-5)
    with pytest.raises(IndexError):
        Batches(lambda rows: torch.zeros(1), torch.zeros(3))[1]
