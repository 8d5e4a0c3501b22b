"""The rank of the label, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from ferlab.evaluation.predictions import top3_hits
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.ranks import label_ranks, score_ranks

NAMES = tuple("abcde")


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, n), rng.dirichlet(np.ones(5), n)


def test_ranks_by_hand_and_top_k_as_scikit_learn() -> None:
    probs = np.array([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    assert label_ranks(np.array([2, 0, 1]), probs).tolist() == [2, 3, 2]
    targets, probs = drawn(400)
    ranks = label_ranks(targets, probs)
    for k in (1, 2, 3, 4):
        assert (ranks <= k).mean() == pytest.approx(top_k_accuracy_score(targets, probs, k=k))
    np.testing.assert_array_equal(ranks <= 3, top3_hits(targets, probs))


def test_scores_per_class_and_bounds_without_errors() -> None:
    targets, probs = drawn(400)
    found = score_ranks(targets, probs, expressions=NAMES)
    assert sum(found["rank_counts"].values()) == 400
    assert found["top2_accuracy"] == (found["rank_counts"]["1"] + found["rank_counts"]["2"]) / 400
    assert found["rank_mean"] == pytest.approx(sum(int(rank) * n for rank, n in found["rank_counts"].items()) / 400)
    counts, wrong = found["rank_counts"], 400 - found["rank_counts"]["1"]
    assert found["close_rate"] == pytest.approx((counts["2"] + counts["3"]) / wrong)
    assert (found["close_rate_ci_low"], found["close_rate_ci_high"]) == wilson(counts["2"] + counts["3"], wrong)
    assert found["per_class"]["b"]["rank_mean"] == pytest.approx(label_ranks(targets, probs)[targets == 1].mean())
    assert score_ranks(np.zeros(4, int), probs[:4], expressions=NAMES)["per_class"]["b"]["rank_mean"] is None
    perfect = score_ranks(targets, np.eye(5)[targets], expressions=NAMES)
    assert perfect["close_rate"] is None
    assert perfect["rank_mean"] == perfect["rank_mean_ci_low"] == 1 < perfect["rank_mean_ci_high"]


def test_the_interval_of_the_mean_rank_holds_the_truth() -> None:
    """Ranks of labels at random have mean 3."""
    found = [score_ranks(*drawn(120, seed), expressions=NAMES) for seed in range(200)]
    assert np.mean([each["rank_mean_ci_low"] <= 3 <= each["rank_mean_ci_high"] for each in found]) >= 0.92
