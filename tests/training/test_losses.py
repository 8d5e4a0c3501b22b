from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional import concordance_corrcoef

from ferlab.training.losses import (
    concordance_loss,
    cross_entropy,
    effective_weights,
    expression_loss,
    focal,
    l2_svm,
    log_priors,
    logit_adjusted,
    multi_label,
)

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
TARGET = torch.tensor([0, 1])


def test_plain_loss_is_the_mean_negative_log_probability() -> None:
    assert cross_entropy(LOGITS, TARGET).item() == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)


def test_smoothing_is_pytorchs() -> None:
    assert torch.allclose(cross_entropy(LOGITS, TARGET, label_smoothing=0.1), F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1))


def test_weights_multiply_each_face_and_the_sum_is_divided_by_n() -> None:
    weights = torch.tensor([0.5, 4.0, 1.0])
    by_hand = -(0.5 * math.log(0.7) + 4.0 * math.log(0.3)) / 2
    assert cross_entropy(LOGITS, TARGET, class_weights=weights).item() == pytest.approx(by_hand)


def test_a_batch_of_one_class_is_not_weighted_back_to_one() -> None:
    weights = torch.tensor([3.0, 1.0, 1.0])
    target = torch.tensor([0, 0])
    assert torch.allclose(cross_entropy(LOGITS, target, class_weights=weights), 3 * cross_entropy(LOGITS, target))


def test_soft_targets_that_are_one_hot_give_the_loss_of_their_class() -> None:
    logits, target, weights = torch.randn(8, 4), torch.tensor([0, 1, 2, 3] * 2), torch.tensor([0.5, 1.0, 2.0, 4.0])
    soft = torch.nn.functional.one_hot(target, 4).float()
    for options in ({}, {"class_weights": weights}, {"label_smoothing": 0.2, "class_weights": weights}):
        assert cross_entropy(logits, soft, **options).item() == pytest.approx(cross_entropy(logits, target, **options).item(), rel=1e-6)


def test_squared_hinges_by_hand() -> None:
    margins = torch.tensor([[2.0, -0.5, -3.0], [0.5, 0.0, 0.0]])
    # First face, class 0: 0 at 1 or more, (1 - 0.5)^2 for the second, 0 for the third. Second face, class 1: 1.5^2 + 1 + 1.
    assert l2_svm(margins, torch.tensor([0, 1])).item() == pytest.approx((0.25 + 2.25 + 1 + 1) / 2)
    soft = torch.tensor([[0.5, 0.5, 0.0]])
    assert l2_svm(margins[1:], soft).item() == pytest.approx((0.25 + 2.25) / 2 + (1 + 1) / 2 + 1)


def test_squared_hinge_is_scikit_learns() -> None:
    from sklearn.svm import LinearSVC

    generator = torch.Generator().manual_seed(0)
    faces, target = torch.randn(60, 5, generator=generator), torch.arange(60) % 3
    machine = LinearSVC(loss="squared_hinge", C=1e4, tol=1e-6, max_iter=100_000, intercept_scaling=1.0).fit(faces.numpy(), target.numpy())
    found = torch.from_numpy(machine.decision_function(faces.numpy()))
    weights, bias = torch.zeros(3, 5, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = l2_svm(faces @ weights.T + bias, target)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.allclose((faces @ weights.T + bias).detach(), found.float(), atol=2e-3)


def test_yes_or_no_of_each_expression_by_hand() -> None:
    logits = torch.logit(torch.tensor([[0.9, 0.2, 0.6]]))
    by_hand = -(math.log(0.9) + math.log(0.8) + math.log(0.6))
    assert multi_label(logits, torch.tensor([[1.0, 0.0, 1.0]])).item() == pytest.approx(by_hand, rel=1e-5)
    assert multi_label(logits, torch.tensor([0])).item() == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4)), rel=1e-5)


def test_concordance_is_torchmetrics_own_and_excludes_unknown_values() -> None:
    generator = torch.Generator().manual_seed(1)
    said, known = torch.randn(50, 2, generator=generator), torch.randn(50, 2, generator=generator)
    known = 0.7 * said + 0.3 * known + torch.tensor([0.5, -0.2])
    # torchmetrics divides the variances by n - 1, Lin by n: equal once n is written in.
    by_metric = concordance_corrcoef(said, known)
    assert (1 - concordance_loss(said, known)).item() == pytest.approx(by_metric.mean().item(), abs=2e-3)
    holes = known.clone()
    holes[:25, 0] = float("nan")
    expected = (concordance_loss(said[25:, :1], known[25:, :1]) + concordance_loss(said[:, 1:], known[:, 1:])) / 2
    assert concordance_loss(said, holes).item() == pytest.approx(expected.item())
    assert concordance_loss(said, torch.full_like(known, float("nan"))).item() == 0


def test_adjusted_logits_are_those_of_the_posterior_under_equal_priors() -> None:
    """Bayes: a model whose adjusted logits are the log posterior has logits that are the log likelihood, whatever the class counts."""
    counts = torch.tensor([80, 15, 5])
    likelihood = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    posterior = likelihood * counts / (likelihood * counts).sum(dim=1, keepdim=True)
    expected = -posterior[torch.arange(2), TARGET].log().mean()
    assert logit_adjusted(likelihood.log(), TARGET, log_priors=log_priors(counts)).item() == pytest.approx(expected.item(), rel=1e-5)
    assert logit_adjusted(LOGITS, TARGET) == cross_entropy(LOGITS, TARGET)
    smoothed = logit_adjusted(LOGITS, TARGET, log_priors=log_priors(torch.tensor([5, 5, 0])), label_smoothing=0.1)
    assert torch.isfinite(smoothed), "a class without faces must not make the loss infinite"


def test_focal_loss_by_hand() -> None:
    by_hand = (0.3**2 * -math.log(0.7) + 0.7**2 * -math.log(0.3)) / 2
    assert focal(LOGITS, TARGET).item() == pytest.approx(by_hand)
    assert torch.allclose(focal(LOGITS, TARGET, gamma=0.0), cross_entropy(LOGITS, TARGET))
    weights = torch.tensor([0.5, 2.0, 1.0])
    assert torch.allclose(focal(LOGITS, TARGET, gamma=0.0, class_weights=weights), cross_entropy(LOGITS, TARGET, class_weights=weights))
    soft = F.one_hot(TARGET, 3).float()
    assert torch.allclose(focal(LOGITS, soft, class_weights=weights), focal(LOGITS, TARGET, class_weights=weights))


def test_effective_weights_run_from_equal_to_inverse_counts() -> None:
    counts = torch.tensor([1000, 100, 10, 0])
    assert effective_weights(counts, beta=0.0).tolist() == pytest.approx([1, 1, 1, 0])
    nearly = effective_weights(counts, beta=1 - 1e-9)
    assert (nearly[:3] * counts[:3]).tolist() == pytest.approx([(nearly[0] * 1000).item()] * 3, rel=1e-3)
    by_hand = [(1 - 0.99) / (1 - 0.99**n) for n in (1000, 100, 10)]
    assert effective_weights(counts, beta=0.99)[:3].tolist() == pytest.approx([3 * weight / sum(by_hand) for weight in by_hand], rel=1e-5)


def test_a_loss_is_given_the_options_that_it_takes() -> None:
    options = {"class_weights": torch.tensor([1.0, 2.0, 1.0]), "label_smoothing": 0.1, "log_priors": log_priors(torch.tensor([8, 1, 1]))}
    assert expression_loss("cross_entropy", LOGITS, TARGET, **options) == cross_entropy(
        LOGITS, TARGET, class_weights=options["class_weights"], label_smoothing=0.1
    )
    assert expression_loss("logit_adjusted", LOGITS, TARGET, **options) == logit_adjusted(LOGITS, TARGET, **options)
    assert expression_loss("balanced_focal", LOGITS, TARGET, **options) == focal(LOGITS, TARGET, class_weights=options["class_weights"])
