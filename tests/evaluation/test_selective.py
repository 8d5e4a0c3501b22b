"""Risk and coverage by hand, by a loop over thresholds, and the intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ferlab.evaluation.selective import compare_scores, confidence_scores, curve_table, risk_coverage


def drawn(n: int, seed: int = 0, *, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and whether the prediction is wrong, as often as they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, 5))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probs.astype(np.float32), rng.random(n) > probs.max(axis=1)


def faces(n: int) -> np.ndarray:
    return np.array([f"f{i:05d}" for i in range(n)])


def test_scores_by_hand() -> None:
    scores = confidence_scores(np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]]))
    assert scores["max_softmax"] == pytest.approx([0.7, 1])
    assert scores["margin"] == pytest.approx([0.5, 1])
    assert scores["entropy"] == pytest.approx([0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1), 0])


def test_the_curve_is_that_of_a_loop_over_thresholds() -> None:
    probs, wrong = drawn(300)
    scores = np.round(probs.max(axis=1), 2)  # with ties
    table = curve_table(scores, wrong)
    kept = [scores >= threshold for threshold in np.unique(scores)[::-1]]
    assert table["coverage"].tolist() == pytest.approx([each.mean() for each in kept])
    assert table["risk"].tolist() == pytest.approx([wrong[each].mean() for each in kept])
    curve = risk_coverage(scores, wrong)
    steps = np.diff(table["coverage"], prepend=0)
    assert curve.aurc() == pytest.approx((steps * table["risk"]).sum())
    assert curve.coverage_at(0.1) == pytest.approx(max(each.mean() for each in kept if wrong[each].mean() <= 0.1))


def test_excess_is_zero_for_the_best_order_alone() -> None:
    wrong = np.repeat([False, True], [7, 3])
    best = risk_coverage(np.arange(10)[::-1].astype(float), wrong)
    assert best.excess() == pytest.approx(0)
    assert best.aurc() == pytest.approx((1 / 8 + 2 / 9 + 3 / 10) / 10)
    worst = risk_coverage(np.arange(10).astype(float), wrong)
    assert worst.excess() == pytest.approx((3 + sum(3 / k for k in range(4, 11))) / 10 - best.aurc())
    equal = risk_coverage(np.ones(10), wrong)
    assert equal.aurc() == pytest.approx(0.3), "equal scores are accepted together"


def test_a_risk_that_is_met_exactly_is_kept() -> None:
    curve = risk_coverage(np.arange(20.0)[::-1], np.arange(20) == 9)
    assert curve.coverage_at(0.05) == 1, "one of twenty"
    assert curve.coverage_at(0.1) == 1
    assert curve.coverage_at(0.04) == 9 / 20


def test_weights_count_faces_several_times() -> None:
    probs, wrong = drawn(50)
    weights = np.random.default_rng(1).integers(0, 3, 50)
    repeated = np.repeat(np.arange(50), weights)
    for decimals in (1, 6):
        scores = np.round(probs.max(axis=1), decimals)
        one, other = risk_coverage(scores, wrong, weights), risk_coverage(scores[repeated], wrong[repeated])
        assert one.coverage_at(0.2) == pytest.approx(other.coverage_at(0.2))
        if decimals == 1:
            assert one.aurc() == pytest.approx(other.aurc())


def test_a_score_without_information_is_worse_significantly_and_the_order_of_rows_changes_nothing() -> None:
    probs, wrong = drawn(600)
    scores = confidence_scores(probs) | {"noise": np.random.default_rng(5).random(600)}
    found = compare_scores(scores, wrong, faces(600), draws=300)
    assert found["noise"]["difference_ci_low"] > 0.02
    assert found["noise"]["p_holm"] < 0.001
    assert found["noise"]["aurc"] == pytest.approx(wrong.mean(), abs=0.05)
    assert found["margin"]["difference"] == pytest.approx(found["margin"]["aurc"] - found["max_softmax"]["aurc"])
    assert found["margin"]["p_holm"] >= found["margin"]["p"]
    paired, one = (found["margin"][f"{key}_ci_high"] - found["margin"][f"{key}_ci_low"] for key in ("difference", "aurc"))
    assert paired < one / 2, "the same draws for both scores"
    assert "difference" not in found["max_softmax"]
    order = np.random.default_rng(0).permutation(600)
    moved = compare_scores({name: each[order] for name, each in scores.items()}, wrong[order], faces(600)[order], draws=300)
    for name in found:
        assert moved[name] == pytest.approx(found[name], abs=1e-9)


def test_fewer_than_five_errors_have_no_interval() -> None:
    probs, _ = drawn(60)
    found = compare_scores(confidence_scores(probs), np.arange(60) < 4, faces(60), draws=100)
    assert "aurc_ci_low" not in found["max_softmax"]
    assert found["max_softmax"]["aurc"] > 0
    none = compare_scores(confidence_scores(probs), np.zeros(60, bool), faces(60), draws=100)["entropy"]
    assert (none["aurc"], none["excess_aurc"], none["coverage_at_5"]) == (0, 0, 1)


@pytest.mark.slow
def test_intervals_hold_the_truth(monkeypatch) -> None:
    """Where fewer than 15 faces are accepted, that of the coverage covers 77 %."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm collects garbage, 0.3 s a call among this process's objects
    probs, wrong = drawn(100_000, 1)
    truth = {name: risk_coverage(each, wrong) for name, each in confidence_scores(probs).items()}
    aurc, at, gap = truth["max_softmax"].aurc(), truth["max_softmax"].coverage_at(0.1), truth["entropy"].aurc() - truth["max_softmax"].aurc()
    held = []
    for seed in range(60):
        probs, wrong = drawn(400, 50 + seed)
        found = compare_scores(confidence_scores(probs), wrong, faces(400), draws=200, seed=seed)
        best, other = found["max_softmax"], found["entropy"]
        held.append([
            best["aurc_ci_low"] <= aurc <= best["aurc_ci_high"],
            best["coverage_at_10_ci_low"] <= at <= best["coverage_at_10_ci_high"],
            other["difference_ci_low"] <= gap <= other["difference_ci_high"],
        ])  # fmt: skip
    assert (np.mean(held, axis=0) > 0.87).all(), np.mean(held, axis=0)


def test_a_coverage_that_no_draw_changes_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    every = compare_scores({"max_softmax": rng.random(60), "margin": rng.random(60)}, np.ones(60, bool), np.arange(60), draws=50)["max_softmax"]
    assert every["coverage_at_10"] == 0
    assert np.isnan([every["coverage_at_10_ci_low"], every["coverage_at_10_ci_high"]]).all()
