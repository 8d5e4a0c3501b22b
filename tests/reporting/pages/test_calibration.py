"""What the section on calibration shows, in every branch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.calibration import reliability_bins
from ferlab.reporting.pages.calibration import (
    calibration_sentence,
    confidence_sentence,
    faces_sentence,
    plot_reliability,
    scaling_table,
    scaling_text,
)


def difference(value: float, half: float, p: float) -> dict[str, float]:
    return {"difference": value, "difference_ci_low": value - half, "difference_ci_high": value + half, "p": p}


def calibrated(**changes) -> dict:
    """Return what `score_scalings` does: temperature helps, vector scaling harms the NLL."""
    scores = dict.fromkeys(("accuracy", "nll", "brier", "ece", "ece_debiased", "ece_equal_mass", "ece_classwise"), 0.25)
    differences = {
        "temperature": {"nll": difference(-0.05, 0.02, 1e-5), "squared_error": difference(-0.0012, 0.002, 0.24), "accuracy": difference(0, 0, 1)},
        "vector": {"nll": difference(0.05, 0.02, 0.001), "squared_error": difference(-0.01, 0.002, 0.02), "accuracy": difference(0.02, 0.01, 0.03)},
    }
    fitted = {"temperature": 1.5, "temperature_ci_low": 1.25, "temperature_ci_high": 1.75}
    judged = {"split": "test_dedup", "n": 2800, "by_subject": False, "fitted_n": 300, "reason": ""}
    return judged | fitted | {"scores": dict.fromkeys(("none", "temperature", "vector"), scores), "differences": differences} | changes


def test_reliability_shows_filled_bins_and_counts_every_face_before_and_after():
    rng = np.random.default_rng(0)
    targets, probs = rng.integers(0, 3, 300), rng.dirichlet(np.ones(3), size=300)
    bins = {"none": reliability_bins(targets, probs), "temperature": reliability_bins(targets, probs**2 / (probs**2).sum(axis=1, keepdims=True))}
    assert len(plot_reliability({"none": bins["none"]}).axes) == 2
    first, second, *below = plot_reliability(bins | {"vector": bins["none"]}).axes
    for axis, name in ((first, "none"), (second, "temperature")):
        assert len(axis.containers[0].lines[0].get_xdata()) == (bins[name]["faces"] > 0).sum()
    assert [sum(bar.get_height() for bar in axis.patches) for axis in below] == [300, 300]
    assert [axis.get_title() for axis in (first, second)] == ["as predicted", "after temperature scaling"]


def test_each_scaling_is_told_with_its_verdict_and_units():
    told = scaling_text(calibrated())
    temperature, vector = told.split("**Vector scaling**")
    assert "(T = 1.50 [1.25, 1.75]) changes the NLL by -0.050 [-0.070, -0.030] nats (better, p < 0.001)" in temperature
    assert "squared calibration error by -12.0 [-32.0, 8.0] squared points (not significant, p = 0.240)." in temperature
    assert "accuracy" not in temperature, "a temperature changes no prediction"
    assert "(worse, p = 0.001)" in vector
    assert "accuracy by 2.0 points [1.0, 3.0] (higher, p = 0.030)" in vector
    assert told.endswith("Intervals are over faces; differences are paired.")
    assert scaling_text(calibrated(by_subject=True)).endswith("Intervals are over subjects, those of the ECEs over faces; differences are paired.")
    assert scaling_text(calibrated(differences={})) == ""
    equal = {key: difference(0.0, float("nan"), 1.0) for key in ("nll", "squared_error")} | {"accuracy": difference(0.0, 0.01, 1.0)}
    told = scaling_text(calibrated(differences={"vector": equal}))
    assert "the NLL by 0.000 nats (no face differs)" in told
    assert "accuracy by 0.0 points [-1.0, 1.0] (not significant, p = 1.000)" in told
    nan = {key: difference(0.1, float("nan"), float("nan")) for key in ("nll", "squared_error", "accuracy")}
    assert "no interval" in scaling_text(calibrated(differences={"vector": nan}))


def test_faces_are_told_with_what_fitted_or_why_nothing_does():
    assert faces_sentence(calibrated()) == (
        "Scalings are fitted on 300 val faces without duplicates in train, and judged on test, deduplicated (2,800 faces)."
    )
    told = faces_sentence(calibrated(reason="no split is held out, as the model was also trained on val", fitted_n=0))
    assert told.endswith("No scaling is fitted: no split is held out, as the model was also trained on val.")


def test_the_table_has_a_column_per_scaling():
    table = scaling_table(calibrated())
    assert table.columns.tolist() == ["none", "temperature scaling", "vector scaling"]
    assert table.loc["ECE, debiased, %", "none"] == "25.0"


@pytest.mark.parametrize(("ece", "words"), [(0.05, ": miscalibrated at the 5 % level"), (0.02, "no evidence of miscalibration")])
def test_an_ece_is_read_against_that_of_a_calibrated_model(ece, words):
    assert words in calibration_sentence({"ece": ece, "ece_if_calibrated": 0.02, "ece_if_calibrated_high": 0.03})


def test_confidence_above_accuracy_is_overconfident():
    assert confidence_sentence(pd.DataFrame({"faces": [10], "confidence": [0.9], "accuracy": [0.5]})).endswith("overconfident.")
    assert confidence_sentence(pd.DataFrame({"faces": [10], "confidence": [0.5], "accuracy": [0.9]})).endswith("underconfident.")
