"""Classical features, and one linear layer or boosted trees on them.

| model | features | here: trainable |
|---|---|---|
| hog_svm | histograms of oriented gradients, 25 blocks of 36 at 48 pixels: 900 | 6,307 |
| lbp_svm | local binary patterns, 36 cells of 59 at 48 pixels: 2,124 | 14,875 |
| gabor_svm | Gabor energies, 36 cells of 32 at 48 pixels: 1,152 | 8,071 |
| hog_boosting, lbp_boosting, gabor_boosting | the same | trees, no weights |

The features are fixed (`ferlab.models.descriptors`); only the linear layer is trained. With the squared hinge loss (Tang, 2013, arXiv
1306.0239) and weight decay it is a linear L2-SVM, one class against the rest. Without trained convolutions there is no Grad-CAM.

Boosted trees are grown by scikit-learn's HistGradientBoostingClassifier (Friedman, 2001; Ke et al., 2017) in `ferlab.training.boosting`, one round
per epoch, and held as tensors, so that they are saved, exported and explained as any model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ferlab.models.descriptors import BLOCK_VALUES, CELL, DIRECTIONS, PATTERNS, WAVELENGTHS, GaborEnergies, GradientHistograms, PatternHistograms
from ferlab.models.layers import sequential
from ferlab.paths import InputError


def hog_svm(num_classes: int = 7, in_channels: int = 1, *, size: int = 48, grey_levels: float = 64.0) -> nn.Module:
    """Build histograms of oriented gradients and a linear layer.

    Args:
        in_channels: C of the input; at each pixel the channel with the largest gradient is used.
        size: H and W of the input, a multiple of 8.
        grey_levels: Grey levels per unit of the input: 255 times the faces' standard deviation. It matters only in nearly flat blocks, where
            the normalisation keeps small gradients small.
    """
    cells = _cells("hog_svm", size)
    features = GradientHistograms(grey_levels=grey_levels)
    return sequential(features=features, logits=nn.Linear((cells - 1) ** 2 * BLOCK_VALUES, num_classes))


def lbp_svm(num_classes: int = 7, in_channels: int = 1, *, size: int = 48) -> nn.Module:
    """Build histograms of uniform local binary patterns on a grid of 8x8 cells and a linear layer.

    Args:
        in_channels: C of the input; each channel has its own histograms.
        size: H and W of the input, a multiple of 8.
    """
    cells = _cells("lbp_svm", size)
    return sequential(features=PatternHistograms(), logits=nn.Linear(in_channels * cells**2 * PATTERNS, num_classes))


def gabor_svm(num_classes: int = 7, in_channels: int = 1, *, size: int = 48) -> nn.Module:
    """Build energies of Gabor filters (8 directions, 4 wavelengths) on a grid of 8x8 cells and a linear layer.

    Args:
        in_channels: C of the input; each channel has its own energies.
        size: H and W of the input, a multiple of 8.
    """
    cells = _cells("gabor_svm", size)
    values = DIRECTIONS * len(WAVELENGTHS) * cells**2
    return sequential(features=GaborEnergies(), logits=nn.Linear(in_channels * values, num_classes))


def hog_boosting(
    num_classes: int = 7, in_channels: int = 1, *, size: int = 48, grey_levels: float = 64.0, rounds: int = 100, depth: int = 4
) -> nn.Module:
    """Build histograms of oriented gradients and boosted trees; arguments as for `hog_svm` and `BoostedTrees`."""
    _cells("hog_boosting", size)
    return sequential(features=GradientHistograms(grey_levels=grey_levels), trees=BoostedTrees(num_classes, rounds=rounds, depth=depth))


def lbp_boosting(num_classes: int = 7, in_channels: int = 1, *, size: int = 48, rounds: int = 100, depth: int = 4) -> nn.Module:
    """Build histograms of local binary patterns and boosted trees; arguments as for `lbp_svm` and `BoostedTrees`."""
    _cells("lbp_boosting", size)
    return sequential(features=PatternHistograms(), trees=BoostedTrees(num_classes, rounds=rounds, depth=depth))


def gabor_boosting(num_classes: int = 7, in_channels: int = 1, *, size: int = 48, rounds: int = 100, depth: int = 4) -> nn.Module:
    """Build Gabor energies and boosted trees; arguments as for `gabor_svm` and `BoostedTrees`."""
    _cells("gabor_boosting", size)
    return sequential(features=GaborEnergies(), trees=BoostedTrees(num_classes, rounds=rounds, depth=depth))


class BoostedTrees(nn.Module):
    """K sums of regression trees, float32 (N, F) to logits (N, K); before they are grown every logit is 0."""

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    prior: Tensor

    def __init__(self, num_classes: int, *, rounds: int, depth: int) -> None:
        """Hold empty trees.

        Args:
            num_classes: K.
            rounds: Trees per class, at most.
            depth: Splits above a leaf, at most.
        """
        super().__init__()
        self.classes, self.rounds, self.depth = num_classes, rounds, depth
        nodes = (rounds * num_classes, 2 ** (depth + 1) - 1)
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("value", torch.zeros(nodes))
        self.register_buffer("prior", torch.zeros(num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits: from the root of each tree down to its leaf."""
        columns = features.float().T.contiguous()  # (F, N)
        beyond = columns.index_select(0, self.feature[:, 0]) > self.threshold[:, :1]  # (trees, N)
        node = torch.where(beyond, self.right[:, :1], self.left[:, :1])
        for _ in range(self.depth - 1):
            beyond = columns.gather(0, self.feature.gather(1, node)) > self.threshold.gather(1, node)
            node = torch.where(beyond, self.right.gather(1, node), self.left.gather(1, node))
        return self.value.gather(1, node).unflatten(0, (self.rounds, self.classes)).sum(0).T + self.prior

    def hold(self, trees: list[list[Any]], *, prior: np.ndarray, classes: np.ndarray) -> None:
        """Take the trees of scikit-learn.

        Args:
            trees: Per round one record array of nodes for each of `classes`; of two classes for the second alone, the logit of the first being 0.
            prior: Logits before the first round, likewise.
            classes: Those that were trained on; the others have no trees and a logit of -30.
        """
        for name in ("feature", "left", "right", "threshold", "value"):
            getattr(self, name).zero_()
        self.prior.fill_(-30.0)
        self.prior[classes] = 0.0
        own = classes[-len(prior) :]  # of two, the second
        self.prior[own] = torch.from_numpy(prior).float()
        for turn, of_round in enumerate(trees):
            for place, nodes in zip(own, of_round, strict=True):
                self._hold_tree(turn * self.classes + int(place), nodes)

    def keep(self, rounds: int) -> None:
        """Drop the trees after so many rounds."""
        self.value[rounds * self.classes :] = 0

    def _hold_tree(self, row: int, nodes: Any) -> None:
        own, leaf, count = np.arange(len(nodes)), nodes["is_leaf"].astype(bool), len(nodes)
        lower = nodes["num_threshold"].astype(np.float32)  # Keep: rounded down, so that float32 features fall on the same side
        lower = np.where(lower > nodes["num_threshold"], np.nextafter(lower, np.float32(-np.inf)), lower)
        held = {
            "feature": np.where(leaf, 0, nodes["feature_idx"]), "threshold": np.where(leaf, 0, lower), "value": np.where(leaf, nodes["value"], 0),
            "left": np.where(leaf, own, nodes["left"]), "right": np.where(leaf, own, nodes["right"]),
        }  # fmt: skip
        for name, values in held.items():
            buffer = getattr(self, name)
            buffer[row, :count] = torch.from_numpy(values).to(buffer.dtype)


def _cells(name: str, size: int) -> int:
    if size % CELL:
        raise InputError(f"{name}: size: expected a multiple of {CELL}, its cells' side, got {size}")
    return size // CELL
