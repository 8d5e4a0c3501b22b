"""The training losses, one number a batch: of expressions (cross entropy, Tang's squared hinge, one yes or no each) and of values
(valence, arousal, intensity).

Expressions come as targets (N,) or as shares of the classes (N, K); both may be weighted by class.

References:
    Tang (2013), Deep Learning using Linear Support Vector Machines, arXiv 1306.0239: the L2-SVM that won the FER2013 challenge.
    Lin (1989), A concordance correlation coefficient to evaluate reproducibility.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean over the batch of the face's weight times its smoothed cross entropy.

    A face's whole loss is weighted and the sum divided by N, as Keras's `class_weight` does, which the papers used. PyTorch's own
    `weight` divides by the batch's summed weights instead, which undoes part of the weighting in small batches, and weights the
    smoothed mass class by class.

    Args:
        logits: float (N, K).
        target: int64 (N,), true classes; or float (N, K), shares of the classes, each row summing to 1.
        class_weights: float (K,), of which a face has its class's, or the mean by its shares; None for ones.
        label_smoothing: Share of the mass spread over all K classes (Szegedy et al., 2016, arXiv 1512.00567).

    Returns:
        float32 scalar.
    """
    losses = F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing, reduction="none")  # (N,)
    return _mean(losses, target, class_weights)


def l2_svm(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean over the batch of the squared hinges of K machines, one against all.

    Each machine wants its class at 1 or more and the others at -1 or less. The norm of the weights, the other half of an SVM, is the
    optimizer's weight decay. Of shares a machine pays both hinges in their proportion.

    Args:
        logits: float (N, K), margins.
        target: As for `cross_entropy`.
        class_weights: Likewise.
    """
    margins, shares = logits.float(), _shares(logits, target)
    wanted, unwanted = F.relu(1 - margins).square(), F.relu(1 + margins).square()
    return _mean((shares * wanted + (1 - shares) * unwanted).sum(dim=1), target, class_weights)


def multi_label(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean over the batch of K yes-or-no cross entropies, summed: a face may show several expressions.

    Args:
        logits: float (N, K), of each expression on its own.
        target: int64 (N,), one true class each; or float (N, K) in [0, 1], how true each is.
        class_weights: As for `cross_entropy`.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), _shares(logits, target), reduction="none").sum(dim=1)
    return _mean(losses, target, class_weights)


def concordance_loss(values: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over the values of 1 - CCC, over the faces of the batch that have them; 0 where fewer than two do.

    The concordance correlation coefficient 2 cov / (var + var + (difference of means)^2) is 1 only where values and truth agree, not
    where they merely rise together.

    Args:
        values: float (N, R), said.
        truth: float (N, R), NaN where unknown.
    """
    losses = [_discordance(said[known.isfinite()].float(), known[known.isfinite()].float()) for said, known in zip(values.T, truth.T)]
    return torch.stack(losses).mean()


LOSSES = {"cross_entropy": cross_entropy, "l2_svm": l2_svm, "multi_label": multi_label}


def expression_loss(name: str, logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Return the loss called so. `label_smoothing` is cross entropy's alone: the others take none, and params.yaml asks them for none."""
    kept: Mapping[str, Any] = options if name == "cross_entropy" else {key: value for key, value in options.items() if key != "label_smoothing"}
    return LOSSES[name](logits, target, **kept)


def _discordance(said: Tensor, known: Tensor) -> Tensor:
    if len(known) < 2:
        return said.sum() * 0
    means = said.mean(), known.mean()
    covariance = ((said - means[0]) * (known - means[1])).mean()
    spread = said.var(unbiased=False) + known.var(unbiased=False) + (means[0] - means[1]).square()
    return 1 - 2 * covariance / spread.clamp(min=1e-8)


def _shares(logits: Tensor, target: Tensor) -> Tensor:
    return target.float() if target.is_floating_point() else F.one_hot(target, logits.shape[1]).float()


def _mean(losses: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the mean over faces, each weighted by its class, or by the mean of the classes in its shares."""
    if class_weights is None:
        return losses.mean()
    if not target.is_floating_point():
        return (class_weights[target] * losses).mean()
    return (target @ class_weights / target.sum(dim=1).clamp(min=1e-8) * losses).mean()
