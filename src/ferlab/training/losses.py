"""The training loss: cross entropy, with class weights and label smoothing where asked."""

from __future__ import annotations

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
    if class_weights is None:
        return losses.mean()
    weights = target @ class_weights if target.is_floating_point() else class_weights[target]
    return (weights * losses).mean()
