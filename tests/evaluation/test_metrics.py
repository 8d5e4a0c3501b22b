from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from ferlab.evaluation.calibration import calibration_error, reliability_bins
from ferlab.evaluation.confusion_posterior import confusion_metrics
from ferlab.evaluation.metrics import compute_metrics
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.runs import score_ensembles
from ferlab.expressions import EXPRESSIONS

K = len(EXPRESSIONS)


def draw(n: int, seed: int, skill: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.choice(K, size=n, p=[0.14, 0.02, 0.14, 0.24, 0.17, 0.12, 0.17])
    logits = rng.normal(size=(n, K))
    logits[np.arange(n), targets] += skill
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return targets, probs.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_metrics_agree_with_scikit_learn(seed):
    targets, probs = draw(700, seed)
    ours, preds = compute_metrics(targets, probs, expressions=EXPRESSIONS), probs.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(targets, preds),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, preds),
        "macro_f1": reference.f1_score(targets, preds, average="macro"),
        "weighted_f1": reference.f1_score(targets, preds, average="weighted"),
        "mcc": reference.matthews_corrcoef(targets, preds),
        "nll": reference.log_loss(targets, probs.astype(np.float64) / probs.sum(axis=1, dtype=np.float64, keepdims=True), labels=range(K)),
        "top3_accuracy": reference.top_k_accuracy_score(targets, probs, k=3, labels=range(K)),
    }
    assert {key: ours[key] for key in expected} == pytest.approx(expected, abs=2e-6)
    precision, recall, f1, support = reference.precision_recall_fscore_support(targets, preds, labels=range(K), zero_division=0)
    for i, name in enumerate(EXPRESSIONS):
        wanted = {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]}
        assert ours["per_class"][name] == pytest.approx(wanted, abs=1e-6)


def test_a_perfect_and_certain_net_scores_one_and_costs_nothing():
    targets = np.arange(K)
    ours = compute_metrics(targets, np.eye(K, dtype=np.float32), expressions=EXPRESSIONS)
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "top3_accuracy"):
        assert ours[key] == pytest.approx(1)
    assert ours["nll"] == pytest.approx(0)
    assert ours["ece"] == pytest.approx(0, abs=1e-6)


def test_ece_of_a_hand_computed_case():
    # Two faces at .9 (one right) and two at .6 (both right): bins' gaps |.5 - .9| and |1 - .6|, each with half of the faces.
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], dtype=np.float32)
    targets = np.array([0, 1, 0, 0])
    assert compute_metrics(targets, probs, expressions=("a", "b"))["ece"] == pytest.approx(0.4, abs=1e-6)


def test_certain_probabilities_share_the_last_bin():
    # .95 right, 1.0 wrong: one bin, mean confidence .975, accuracy .5. torchmetrics as it comes would make two bins of them (ECE .525).
    probs = np.array([[0.95, 0.05], [1.0, 0.0]], dtype=np.float32)
    targets = np.array([0, 1])
    assert compute_metrics(targets, probs, expressions=("a", "b"))["ece"] == pytest.approx(0.475, abs=1e-6)
    assert calibration_error(reliability_bins(targets, probs)) == pytest.approx(0.475, abs=1e-6)


def test_an_absent_class_has_no_recall_and_does_not_lower_the_means():
    targets = np.array([0, 0, 1, 1])
    probs = np.eye(4, dtype=np.float32)[[0, 2, 1, 1]]  # class 2 is predicted but has no faces, class 3 is neither
    ours = compute_metrics(targets, probs, expressions=("a", "b", "c", "d"))
    assert ours["per_class"]["c"] == {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0}
    assert ours["per_class"]["d"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert ours["balanced_accuracy"] == pytest.approx(0.75)  # (1/2 + 2/2) / 2
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(targets, probs.argmax(axis=1), average="macro", zero_division=0), abs=1e-6)


def test_a_class_that_is_never_predicted_scores_zero():
    probs = np.eye(2, dtype=np.float32)[[0, 0]]
    ours = compute_metrics(np.array([0, 1]), probs, expressions=("a", "b"))
    assert ours["per_class"]["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_a_probability_of_zero_costs_a_finite_price():
    probs = np.array([[1.0, 0.0]], dtype=np.float32)
    assert compute_metrics(np.array([1]), probs, expressions=("a", "b"))["nll"] == pytest.approx(87.34, abs=0.01)


@given(n=st.integers(5, 60), seed=st.integers(0, 10_000), skill=st.floats(0, 4))
@settings(max_examples=40, deadline=None)
def test_ensembles_are_scored_as_torchmetrics_would(n, seed, skill):
    targets, probs = draw(n, seed, skill)
    faces = [f"f{number}" for number in range(2 * n)]
    table = predictions_table(faces, ["val"] * n + ["test"] * n, np.tile(targets, 2), probs=np.tile(probs, (2, 1)), expressions=EXPRESSIONS)
    ours, plain = compute_metrics(targets, probs, expressions=EXPRESSIONS), score_ensembles({"x": {"one": table}}, resamples=100)["x"]["one"]["test"]
    assert plain["n"] == n
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy"):
        assert plain[key] == pytest.approx(ours[key], abs=3e-6)
    for name in EXPRESSIONS:
        for key, value in ours["per_class"][name].items():
            assert (plain["per_class"][name][key] is None) == (value is None)
            assert value is None or plain["per_class"][name][key] == pytest.approx(value, abs=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_faces_does_not_matter(seed):
    targets, probs = draw(50, seed)
    order = np.random.default_rng(seed).permutation(50)
    first, second = (compute_metrics(*of, expressions=EXPRESSIONS) for of in ((targets[order], probs[order]), (targets, probs)))
    assert first.pop("per_class") == second.pop("per_class")
    assert first == pytest.approx(second)


def test_a_matrix_of_weights_counts_a_face_of_weight_two_twice():
    counts = np.random.default_rng(3).integers(0, 9, (K, K)).astype(float)
    assert confusion_metrics(counts[None] * 2)["macro_f1"] == pytest.approx(confusion_metrics(counts[None])["macro_f1"])
    assert confusion_metrics(counts[None] * 0.1)["mcc"] == pytest.approx(confusion_metrics(counts[None])["mcc"])
