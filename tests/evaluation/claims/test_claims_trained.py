"""Claims checked by published trainings, on a small study written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_rel
from statsmodels.stats.proportion import proportions_ztest

from ferlab.evaluation.claims.audit import KINDS
from ferlab.evaluation.claims.schema import Context
from ferlab.evaluation.kept import keep, write_kept
from ferlab.evaluation.predictions import predictions_table
from ferlab.paths import InputError

N = 400
TARGETS = np.arange(N) % 2  # happy, sad
RIGHT = {name: np.random.default_rng(seed).random(N) < share for seed, (name, share) in enumerate({"a": 0.8, "b": 0.6, "a1": 0.8, "b1": 0.6}.items())}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "reports" / "published" / "small"
    runs = {}
    for place, (name, right) in enumerate(RIGHT.items()):
        probs = np.full((N, 2), 0.1)
        probs[np.arange(N), np.where(right, TARGETS, 1 - TARGETS)] = 0.9
        ids = [f"f{face}" for face in range(N)]
        predictions = predictions_table(ids, ["test"] * N, TARGETS, probs=probs, expressions=("happy", "sad"))
        faces = pd.DataFrame({"face_id": ids, "split": "test", "duplicate_group": np.arange(N)})
        write_kept(folder / "predictions" / f"{name}.parquet", keep(predictions, faces))
        taps = {f"tta_{tta}": {"test": {"accuracy": right.mean() + gain}} for tta, gain in (("seven", 0.02 + place / 500), ("none", 0))}
        fitted = {"train": {"accuracy": 0.9 if "a" in name else 0.5}, "n": {"trained": 1000}}
        runs[name] = {"train": fitted, "evaluate": {"test": {"accuracy": right.mean()}, "n": {"test": N}, "usage": {"test": "PublicTest"}, **taps}}
    of = {"runs": runs, "compare": {"ensembles": {"fer2013": {"test": {"accuracy": 0.85}}}}}
    (folder / "summary.json").write_text(json.dumps(of))
    return folder.parents[2]


def one(root: Path, kind: str, **values):
    published = pd.DataFrame([{"paper": "p", "system": "A", "accuracy": 0.7, "n": 1000}])
    model, function = KINDS[kind]
    claim = model.model_validate({"claim": "a claim", "where": "table 1", "check": kind, "study": "small", **values})
    (found,) = function(claim, replace(Context(paper="p", published=published), root=root))
    return found


def test_a_level_is_reached_by_a_run_as_high_and_missed_by_one_significantly_lower(root):
    hits = [int(RIGHT[name].sum()) for name in ("a", "b")]
    assert one(root, "trained_level", value={"system": "A"}, run="a").verdict == "holds"
    missed = one(root, "trained_level", value={"system": "A"}, run="b")
    assert proportions_ztest([hits[1], 700], [N, 1000])[1] < 0.05
    assert missed.verdict == "does not hold"
    assert f"Trained here (small/b), on PublicTest, {100 * hits[1] / N:.1f} %" in missed.evidence
    assert "against stated 70.0 %" in missed.evidence
    short = one(root, "trained_level", value={"system": "A"}, run="b", lacks="2 epochs, not 300")
    assert (short.verdict, "small/b; 2 epochs, not 300" in short.evidence) == ("cannot be told", True)
    ensemble = one(root, "trained_level", value={"system": "A"}, run="ensemble")
    assert ensemble.evidence.startswith("Trained here (small/ensemble), on PublicTest, 85.0 %")


def test_a_change_is_the_paired_difference_over_faces(root):
    found = one(root, "trained_change", runs=["a"], against=["b"], stated="higher", points=11.0)
    expected = ttest_rel(RIGHT["a"].astype(float), RIGHT["b"].astype(float))
    low, high = expected.confidence_interval()
    assert found.verdict == "holds"
    mean = 100 * (RIGHT["a"].astype(float) - RIGHT["b"]).mean()
    assert f"accuracy of a less that of b on PublicTest {mean:+.1f} points [{100 * low:.1f}, {100 * high:.1f}]" in found.evidence
    assert f"stated +11.0, {'inside' if 100 * low <= 11 <= 100 * high else 'outside'} the interval" in found.evidence
    assert one(root, "trained_change", runs=["a"], against=["b"], stated="lower").verdict == "does not hold"
    assert one(root, "trained_change", runs=["a"], against=["b"], stated="lower", lacks="2 epochs, not 300").verdict == "cannot be told"
    assert one(root, "trained_change", runs=["a"], against=["b"], stated="higher", lacks="2 epochs, not 300").verdict == "holds"
    assert one(root, "trained_change", runs=["a"], against=["a1"], stated="lower").verdict == "cannot be told"


def test_seeds_are_averaged_by_face_and_recall_is_of_one_expression(root):
    found = one(root, "trained_change", runs=["a", "a1"], against=["b", "b1"], stated="higher", expression="sad")
    sad = TARGETS == 1
    by_face = ((RIGHT["a"].astype(float) - RIGHT["b"]) + (RIGHT["a1"].astype(float) - RIGHT["b1"]))[sad] / 2
    low, high = ttest_1samp(by_face, 0).confidence_interval()
    assert f"recall of sad of a less that of b on PublicTest {100 * by_face.mean():+.1f} points [{100 * low:.1f}, {100 * high:.1f}]" in found.evidence
    assert "over faces (n = 200, 2 seeds)" in found.evidence


def test_two_augmentations_are_compared_over_seeds(root):
    found = one(root, "trained_change", runs=["a", "b", "a1", "b1"], tta=["seven", "none"], stated="higher", points=1.7)
    low, high = ttest_1samp([0.02, 0.022, 0.024, 0.026], 0).confidence_interval()
    assert found.verdict == "holds"
    assert f"under TTA seven less that under none on PublicTest +2.3 points [{100 * low:.1f}, {100 * high:.1f}] over 4 seeds" in found.evidence


def test_overfitting_is_the_difference_of_the_gaps_between_train_and_test(root):
    found = one(root, "trained_change", runs=["a"], against=["b"], overfitting=True, stated="higher")
    test = [RIGHT[name].mean() for name in ("a", "b")]
    mean = (0.9 - test[0]) - (0.5 - test[1])
    error = np.sqrt(0.09 / 1000 + 0.25 / 1000 + sum(share * (1 - share) / N for share in test))
    bounds = f"[{100 * (mean - 1.959964 * error):.1f}, {100 * (mean + 1.959964 * error):.1f}]"
    assert f"({100 * (0.5 - test[1]):.1f}) {100 * mean:+.1f} points {bounds} over faces" in found.evidence
    assert found.verdict == "holds"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"runs": ["c"], "against": ["b"], "stated": "higher"}, "study small has no run 'c'; known: a, b, a1, b1"),
        ({"runs": ["a"], "against": ["b"], "stated": "higher", "expression": "sd"}, "no expression is called 'sd'; did you mean 'sad'"),
        ({"runs": ["a", "b"], "tta": ["sevn", "none"], "stated": "higher"}, "no accuracy under TTA 'sevn'; did you mean 'seven'"),
        ({"study": "other", "runs": ["a"], "against": ["b"], "stated": "higher"}, "publishing study other"),
    ],
)
def test_what_a_study_does_not_have_is_said_in_one_line(root, values, said):
    with pytest.raises(InputError, match=said):
        one(root, "trained_change", **values)


@pytest.mark.parametrize("values", [{"runs": ["a"]}, {"runs": ["a", "b"], "against": ["b"]}, {"runs": ["a"], "tta": ["seven", "none"]}])
def test_runs_stand_in_pairs(root, values):
    with pytest.raises(ValueError, match="expected"):
        one(root, "trained_change", stated="higher", **values)
