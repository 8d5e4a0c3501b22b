"""mCE and relative mCE by hand, as Hendrycks and Dietterich define them, and the bootstrap against a known ratio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.corruption_error import RunOutcomes, compare_corruption_errors, corruption_errors, corruption_errors_by_set, read_outcomes
from ferlab.evaluation.robustness import condition_rows
from ferlab.paths import InputError, write_json

KINDS = {"clean": "clean", "blur": "corruption", "fog": "corruption"}


def found(clean: list[int], blur: list[list[int]], fog: list[list[int]], subjects: list[str] | None = None, prefix: str = "f") -> RunOutcomes:
    """Outcomes of faces: unchanged, and at two severities of two corruptions (rows are severities)."""
    columns = pd.MultiIndex.from_tuples([("clean", 0.0), ("blur", 1.0), ("blur", 2.0), ("fog", 1.0), ("fog", 2.0)])
    hits = pd.DataFrame(np.array([clean, *blur, *fog], dtype=bool).T, columns=columns, index=[f"{prefix}{n}" for n in range(len(clean))])
    return RunOutcomes(hits, np.zeros(len(clean), int), None if subjects is None else np.array(subjects), KINDS)


BASE = found([1, 1, 1, 0], [[1, 1, 0, 0], [1, 0, 0, 0]], [[1, 1, 1, 0], [1, 0, 0, 0]])  # errors: clean 1/4, blur 5/8, fog 1/2
RUN = found([1, 1, 1, 1], [[1, 1, 1, 0], [1, 1, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]])  # errors: clean 0, blur 3/8, fog 3/4


def test_mean_corruption_errors_by_hand():
    table = compare_corruption_errors({"run": RUN, "base": BASE}, "base", ["blur", "fog"], resamples=50)
    assert list(table["run"]) == ["base", "run"], "the baseline comes first"
    base, run = table.to_dict("records")
    assert (base["mce"], base["relative_mce"], base["difference"]) == pytest.approx((1, 1, 0))
    assert run["mce"] == pytest.approx(((3 / 8) / (5 / 8) + (3 / 4) / (1 / 2)) / 2)
    assert run["relative_mce"] == pytest.approx(((3 / 8) / (3 / 8) + (3 / 4) / (1 / 4)) / 2)
    assert (run["clean_error"], run["error"]) == pytest.approx((0, 9 / 16))
    assert run["difference"] == pytest.approx(9 / 16 - 9 / 16)
    assert run["relative_corruptions"] == 2


def test_a_corruption_that_does_not_harm_the_baseline_has_no_relative_error():
    plain, relative = corruption_errors(np.array([[0.4, 0.3]]), np.array([0.1]), np.array([[0.5, 0.2]]), np.array([0.2]))
    assert plain[0] == pytest.approx((0.8 + 1.5) / 2)
    assert relative[0] == pytest.approx(0.3 / 0.3)
    none = corruption_errors(np.array([[0.4]]), np.array([0.1]), np.array([[0.0]]), np.array([0.0]))
    assert np.isnan(none).all()


@pytest.mark.slow
def test_intervals_hold_the_true_ratio_at_their_rate(monkeypatch):
    """100 draws of 120 faces; the run errs half as often as the baseline, unchanged and corrupted."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it in every correction
    rng, covered = np.random.default_rng(2), 0
    for _ in range(100):
        hits = [rng.random((5, 120)) >= error * np.array([0.2, 0.4, 0.8, 0.4, 0.8])[:, None] for error in (1, 0.5)]
        base, run = (found(list(each[0]), list(each[1:3]), list(each[3:])) for each in hits)
        row = compare_corruption_errors({"base": base, "run": run}, "base", ["blur", "fog"], resamples=300).iloc[1]
        covered += row["mce_ci_low"] <= 0.5 <= row["mce_ci_high"]
    assert 88 <= covered <= 99


def test_with_subjects_the_bootstrap_draws_subjects():
    whole = [
        found([1] * 40, [[n % 4 < hit for n in range(40)]] * 2, [[n % 4 < hit for n in range(40)]] * 2, [f"s{n % 4}" for n in range(40)])
        for hit in (1, 2)
    ]
    loose = [RunOutcomes(each.hits, each.targets, None, KINDS) for each in whole]
    widths = []
    for base, run in (whole, loose):
        row = compare_corruption_errors({"base": base, "run": run}, "base", ["blur", "fog"], resamples=500).iloc[1]
        widths.append(row["mce_ci_high"] - row["mce_ci_low"])
    assert widths[0] > 2 * widths[1]


def test_the_baseline_is_the_named_run_of_its_set_and_else_the_first():
    runs = {"a": RUN, "b": BASE, "c": RUN}
    tables = corruption_errors_by_set(runs, {"one": ["a", "b"], "two": ["c"]}, baseline="b")
    assert [table["run"].iloc[0] for table in tables.values()] == ["b", "c"]
    assert np.isnan(tables["two"]["p_holm"].iloc[0])


def test_runs_of_another_exposure_to_the_faces_are_not_compared():
    """What trained on the faces is no rival of what did not; the correction counts the others alone."""
    runs = {"base": BASE, "run": RUN, "refit": replace(RUN, role="trained")}
    table = compare_corruption_errors(runs, "base", ["blur", "fog"], resamples=50).set_index("run")
    assert list(table["role"]) == ["untouched", "untouched", "trained"]
    assert table.loc["refit", ["mce", "mce_ci_low", "relative_mce", "difference", "difference_ci_low", "p", "p_holm"]].isna().all()
    assert table.loc["refit", "error"] == table.loc["run", "error"]
    assert table.loc["run", "p_holm"] == table.loc["run", "p"]
    both = {name: replace(of, role="trained") for name, of in runs.items()}
    assert compare_corruption_errors(both, "base", ["blur", "fog"], resamples=50)["mce"].notna().all()


def test_the_role_of_the_faces_is_read_from_what_evaluate_wrote(monkeypatch, tmp_path):
    monkeypatch.setattr("ferlab.evaluation.corruption_error.artefact", lambda stage, what, name: tmp_path / f"{stage}-{what}")
    faces = pd.DataFrame({"face_id": ["a", "b"], "target": np.int16([0, 1])})
    for split, trained_on, role in (("val", ["train"], "selected_on"), ("val", ["train", "val"], "trained"), (None, ["train"], "trained")):
        condition_rows(faces, np.array([0, 0]), np.array([0.9, 0.1])).to_parquet(tmp_path / "robustness-table")
        known = {"face_id": ["a", "b"] if split else ["c", "d"], "split": split or "val"}
        pd.DataFrame(known).to_parquet(tmp_path / "evaluate-predictions")
        write_json(tmp_path / "evaluate-metrics", {"trained_on": trained_on, "selected_on": ["val"]})
        assert read_outcomes(["run"])["run"].role == role


def test_runs_of_other_faces_do_not_compare():
    other = found([1, 1, 1, 1], [[1, 1, 1, 0]] * 2, [[1, 1, 0, 0]] * 2, prefix="g")
    with pytest.raises(InputError, match="runs base and run were not scored on the same faces"):
        compare_corruption_errors({"base": BASE, "run": other}, "base", ["blur", "fog"])


def test_a_run_without_a_result_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("ferlab.evaluation.corruption_error.artefact", lambda stage, what, name: tmp_path / "robustness" / f"{name}.parquet")
    with pytest.raises(InputError, match=r"robustness/absent\.parquet: not found; run the stage robustness of run absent"):
        read_outcomes(["absent"])
