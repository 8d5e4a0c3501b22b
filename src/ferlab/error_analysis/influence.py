"""TracIn self-influence: how much a training face lowers its own loss. Faces whose label the others do not support have a high one.

Self-influence is taken over the checkpoints at hand and the last linear layer alone (captum's TracInCPFast, which leaves its bias out): the squared
norm of the gradient of the loss by the logits, times that of the layer's input. A run keeps its selected epoch; so one checkpoint is at hand.

References:
    Pruthi et al. (2020), Estimating Training Data Influence by Tracing Gradient Descent, arXiv 2002.08484: section 4.1, mislabelled examples.
    Kokhlikyan et al. (2020), Captum, arXiv 2009.07896.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from captum.influence import TracInCPFast
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from ferlab.models import LoadedModel

BATCH = 256
EPOCHS, RATE, MOMENTUM, DECAY = 30, 0.05, 0.9, 1e-3  # of `linear_influence`
KEPT_EVERY = 10  # epochs between two of its checkpoints


class Batches(Dataset):
    """Batches of (inputs, targets), each made when it is asked for."""

    def __init__(self, load: Callable[[slice], Tensor], targets: Tensor) -> None:
        self.load, self.targets = load, targets

    def __len__(self) -> int:
        return -(-len(self.targets) // BATCH)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        """Return batch `place`."""
        if place >= len(self):
            raise IndexError(place)
        rows = slice(place * BATCH, (place + 1) * BATCH)
        return self.load(rows), self.targets[rows]


def self_influence(
    module: nn.Module, batches: Batches, *, layer: nn.Linear, loss: Callable[[Tensor, Tensor], Tensor], checkpoints: Sequence[tuple[Any, float]]
) -> np.ndarray:
    """Return the self-influence of each face, float64 (N,), at least 0.

    Args:
        module: The model, in eval mode.
        batches: Its training faces with their labels.
        layer: Its last linear layer.
        loss: Summed over a batch, of (logits, targets).
        checkpoints: Weights of the module, each with the learning rate that weighs it.
    """
    method = TracInCPFast(module, layer, DataLoader(batches, batch_size=None), list(checkpoints), _load, loss)
    return method.self_influence().double().cpu().numpy()


def run_influence(model: LoadedModel, images: Any, targets: np.ndarray) -> np.ndarray:
    """Return the self-influence of a run's training faces at its kept weights, float64 (N,), for a learning rate of 1.

    NaN throughout for a model whose outputs are not those of a linear layer.

    Args:
        model: The run's.
        images: uint8 (N, H, W) or (N, H, W, 3).
        targets: The labels it was trained on, (N,) int.
    """
    where = "cuda" if torch.cuda.is_available() else "cpu"
    # Keep: in large batches a CPU runs float32 convolutions twice as fast in this layout; a copy leaves the caller's model alone
    module = copy.deepcopy(model.module).to(where, memory_format=torch.channels_last).requires_grad_(requires_grad=False)
    classes = torch.tensor(np.asarray(targets), dtype=torch.long, device=where)
    batches = Batches(lambda rows: model.normalise(np.asarray(images[rows])).to(where), classes)
    layer = output_layer(module, batches[0][0][:1])
    if layer is None:
        return np.full(len(classes), np.nan)
    layer.requires_grad_()  # alone: no gradient runs through the layers below
    return self_influence(module, batches, layer=layer, loss=_summed_loss(model), checkpoints=[(module.state_dict(), 1.0)])


def linear_influence(features: np.ndarray, targets: np.ndarray, *, num_classes: int, seed: int) -> np.ndarray:
    """Train a softmax regression on features (N, D) with all labels (N,), and return the self-influence over its checkpoints, float64 (N,)."""
    inputs = torch.as_tensor((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6), dtype=torch.float32)
    classes, generator = torch.as_tensor(targets, dtype=torch.long), torch.Generator().manual_seed(seed)
    module, checkpoints = nn.Sequential(nn.Linear(features.shape[1], num_classes)), []
    nn.init.zeros_(module[0].weight)
    nn.init.zeros_(module[0].bias)
    steps = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    with threadpool_limits(1):  # products this small wait for each other on several threads
        for epoch in range(1, EPOCHS + 1):
            for rows in torch.randperm(len(classes), generator=generator).split(BATCH):
                steps.zero_grad()
                functional.cross_entropy(module(inputs[rows]), classes[rows]).backward()
                steps.step()
            if epoch % KEPT_EVERY == 0:
                checkpoints.append(({name: values.clone() for name, values in module.state_dict().items()}, RATE))
        batches = Batches(lambda rows: inputs[rows], classes)
        return self_influence(module, batches, layer=module[0], loss=nn.CrossEntropyLoss(reduction="sum"), checkpoints=checkpoints)


def output_layer(module: nn.Module, face: Tensor) -> nn.Linear | None:
    """Return the linear layer whose output is the model's, for an input (1, C, H, W); None where there is none."""
    put_out: list[tuple[nn.Linear, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: put_out.append((layer, output)))
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with torch.no_grad():
            outputs = module(face)
    finally:
        for hook in hooks:
            hook.remove()
    same = [layer for layer, output in put_out if output.shape == outputs.shape and torch.equal(output, outputs)]
    return same[-1] if same else None


def _summed_loss(model: LoadedModel) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cross-entropy of the expressions, summed over a batch, whatever else the model puts out."""
    count, independent = len(model.expressions), model.output == "sigmoid"

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        logits = outputs[:, :count].float()
        if independent:
            return functional.binary_cross_entropy_with_logits(logits, functional.one_hot(targets, count).float(), reduction="sum")
        return functional.cross_entropy(logits, targets, reduction="sum")

    loss.reduction = "sum"  # type: ignore[attr-defined]  # captum asks for it
    return loss


def _load(module: nn.Module, checkpoint: tuple[Any, float]) -> float:
    module.load_state_dict(checkpoint[0])
    return checkpoint[1]
