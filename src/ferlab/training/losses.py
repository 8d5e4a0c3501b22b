"""Training losses: of expressions (cross entropy, squared hinge, binary cross entropies, two for imbalanced classes) and of regressed values.

Targets are classes (N,) or soft targets (N, K); both may be weighted by class.

References:
    Tang (2013), Deep Learning using Linear Support Vector Machines, arXiv 1306.0239: the L2-SVM that won the FER2013 challenge.
    Menon et al. (2021), Long-tail learning via logit adjustment, arXiv 2007.07314.
    Cui et al. (2019), Class-balanced loss based on effective number of samples, arXiv 1901.05555; Lin et al. (2017), Focal loss, arXiv 1708.02002.
    Lin (1989), A concordance correlation coefficient to evaluate reproducibility.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean over the batch of each face's weight times its smoothed cross entropy.

    The sum is divided by N, as with Keras's `class_weight`, which the papers used. PyTorch's `weight` divides by the summed weights of the batch,
    which undoes part of the weighting in small batches.

    Args:
        logits: float (N, K).
        target: int64 (N,) classes; or float (N, K) soft targets, rows summing to 1.
        class_weights: float (K,); a face has that of its class, or their mean under its soft target. None for ones.
        label_smoothing: Mass spread over all K classes (Szegedy et al., 2016, arXiv 1512.00567).

    Returns:
        float32 scalar.
    """
    losses = F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing, reduction="none")  # (N,)
    return _weighted_mean(losses, target, class_weights)


def l2_svm(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean over the batch of the summed squared hinges of K one-vs-rest machines; arguments as for `cross_entropy`.

    The norm of the weights, the other term of an SVM, is the optimizer's weight decay. Soft targets weigh both hinges of a machine.
    """
    margins, soft = logits.float(), soft_targets(target, logits.shape[1])
    positive, negative = F.relu(1 - margins).square(), F.relu(1 + margins).square()
    return _weighted_mean((soft * positive + (1 - soft) * negative).sum(dim=1), target, class_weights)


def multi_label(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean over the batch of K summed binary cross entropies: a face may show several expressions.

    Arguments as for `cross_entropy`; rows of float targets need not sum to 1.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), soft_targets(target, logits.shape[1]), reduction="none").sum(dim=1)
    return _weighted_mean(losses, target, class_weights)


def concordance_loss(values: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over R values of 1 - CCC, the concordance correlation coefficient 2 cov / (var + var + (difference of means)^2).

    Args:
        values: float (N, R), predicted.
        truth: float (N, R), NaN where unknown; a value known for fewer than two faces adds 0.
    """
    losses = [_discordance(column[known.isfinite()].float(), known[known.isfinite()].float()) for column, known in zip(values.T, truth.T)]
    return torch.stack(losses).mean()


def logit_adjusted(logits: Tensor, target: Tensor, *, log_priors: Tensor | None = None, **options: Any) -> Tensor:
    """Return the cross entropy of the logits plus the log class priors (Menon et al., tau = 1): the logits alone then predict as if classes were
    equally frequent. Other arguments as for `cross_entropy`.

    Args:
        log_priors: float (K,), from `log_priors`; None for equal priors, which is plain cross entropy.
    """
    return cross_entropy(logits if log_priors is None else logits.float() + log_priors, target, **options)


def focal(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Return the mean over the batch of each face's weight times (1 - p)^gamma times its cross entropy, p the probability of its class.

    Args:
        logits: float (N, K).
        target: As for `cross_entropy`; the terms of a soft target are weighed by its probabilities.
        class_weights: float (K,); `effective_weights` make it the class-balanced focal loss.
        gamma: 0 for plain cross entropy.
    """
    log_probs = F.log_softmax(logits.float(), dim=1)
    terms = -((1 - log_probs.exp()) ** gamma) * log_probs  # (N, K)
    return _weighted_mean((soft_targets(target, logits.shape[1]) * terms).sum(dim=1), target, class_weights)


def log_priors(counts: Tensor) -> Tensor:
    """Return the log of the frequency of each class, float32 (K,); a class without faces counts as half of one."""
    counts = counts.float().clamp(min=0.5)
    return (counts / counts.sum()).log()


def effective_weights(counts: Tensor, *, beta: float = 0.999) -> Tensor:
    """Return class weights (1 - beta) / (1 - beta^n) of Cui et al., float32 (K,): 1 on average over the classes that have faces, 0 for the others.

    Args:
        counts: Training faces of each class (K,).
        beta: 0 for equal weights, near 1 for weights inverse to the counts.
    """
    weights = torch.where(counts > 0, (1 - beta) / (1 - beta ** counts.double().clamp(min=1)), 0.0)
    return (weights * (counts > 0).sum() / weights.sum()).float()


LOSSES = {"cross_entropy": cross_entropy, "l2_svm": l2_svm, "multi_label": multi_label, "logit_adjusted": logit_adjusted, "balanced_focal": focal}
TAKES = {"cross_entropy": ("label_smoothing",), "logit_adjusted": ("label_smoothing", "log_priors")}  # beside class_weights


def expression_loss(name: str, logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Return the loss of LOSSES called `name` with those of the options that it takes."""
    kept = ("class_weights", *TAKES.get(name, ()))
    return LOSSES[name](logits, target, **{key: value for key, value in options.items() if key in kept})


def soft_targets(target: Tensor, num_classes: int) -> Tensor:
    """Return classes (N,) one-hot as float32 (N, K); soft targets unchanged."""
    return target.float() if target.is_floating_point() else F.one_hot(target, num_classes).float()


def _discordance(values: Tensor, known: Tensor) -> Tensor:
    if len(known) < 2:
        return values.sum() * 0
    means = values.mean(), known.mean()
    covariance = ((values - means[0]) * (known - means[1])).mean()
    spread = values.var(unbiased=False) + known.var(unbiased=False) + (means[0] - means[1]).square()
    return 1 - 2 * covariance / spread.clamp(min=1e-8)


def _weighted_mean(losses: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    if class_weights is None:
        return losses.mean()
    if not target.is_floating_point():
        return (class_weights[target] * losses).mean()
    return (target @ class_weights / target.sum(dim=1).clamp(min=1e-8) * losses).mean()
