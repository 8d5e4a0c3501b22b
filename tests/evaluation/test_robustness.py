"""Errors, drops and tests by hand and by statsmodels; Holm over the conditions of a kind; transfer between datasets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from ferlab.evaluation.proportions import newcombe, wilson
from ferlab.evaluation.robustness import (
    Outcomes,
    compare_conditions,
    condition_rows,
    corruption_table,
    drops_by_expression,
    mean_with_bounds,
    outcomes,
    severity_table,
    transfer_table,
)
from ferlab.paths import InputError
from ferlab.reporting.pages.robustness import occlusions_table

NAMES = ("happy", "sad")


def faces_of(targets: list[int], *, subjects: int = 0) -> pd.DataFrame:
    faces = pd.DataFrame({"face_id": [f"set/{n:03d}" for n in range(len(targets))], "target": targets})
    return faces.assign(subject=[f"s{n % subjects}" for n in range(len(targets))]) if subjects else faces


def rows(faces: pd.DataFrame, hits: list[int], kind: str, condition: str, severity: float = 1.0) -> pd.DataFrame:
    """One condition, under which the faces of `hits` are classified correctly."""
    right = np.isin(np.arange(len(faces)), hits)
    preds = np.where(right, faces["target"], 1 - faces["target"])
    return condition_rows(faces, preds, np.where(right, 0.9, 0.1), kind=kind, condition=condition, severity=severity)


@pytest.fixture
def four() -> Outcomes:
    """Faces 0 to 3 (happy, happy, sad, sad): all right unchanged; two corruptions at two severities; an occlusion."""
    faces = faces_of([0, 0, 1, 1])
    parts = [
        rows(faces, [0, 1, 2, 3], "clean", "clean", 0.0),
        rows(faces, [0, 1, 2], "corruption", "blur", 1), rows(faces, [0], "corruption", "blur", 2),
        rows(faces, [0, 1], "corruption", "fog", 1), rows(faces, [], "corruption", "fog", 2),
        rows(faces, [0, 2, 3], "occlusion", "mask"),
    ]  # fmt: skip
    return outcomes(pd.concat(parts).sample(frac=1, random_state=0).sort_values("kind", kind="stable"))


def test_errors_and_rises_by_hand(four):
    table = corruption_table(four, ["blur", "fog"]).set_index("condition")
    assert table["error"].to_dict() == pytest.approx({"blur": 0.5, "fog": 0.75, "mean": 0.625})
    assert table["rise"].to_dict() == pytest.approx(table["error"].to_dict()), "no face is wrong unchanged"
    assert np.isnan(table.loc["mean", "p_holm"])
    np.testing.assert_allclose(table["p_holm"][:2], multipletests(table["p"][:2], method="holm")[1])


def test_severities_by_hand(four):
    table = severity_table(four, ["blur", "fog"], expressions=NAMES)
    assert list(table["severity"]) == [0, 1, 2]
    assert list(table["accuracy"]) == pytest.approx([1, 5 / 8, 1 / 8])
    assert set(table["worst"]) == {""}, "two faces are too few to name an expression the worst"


def test_the_worst_expression_is_that_of_the_lowest_recall():
    faces = faces_of([0] * 25 + [1] * 25)
    parts = [rows(faces, list(range(50)), "clean", "clean", 0.0), rows(faces, list(range(35)), "corruption", "fog", 1)]
    table = severity_table(outcomes(pd.concat(parts)), ["fog"], expressions=NAMES)
    assert (table["worst"].iloc[1], table["worst_recall"].iloc[1]) == ("sad", pytest.approx(0.4))
    few = faces_of([0] * 25 + [1] * 5)
    parts = [rows(few, list(range(30)), "clean", "clean", 0.0), rows(few, [0], "corruption", "fog", 1)]
    assert set(severity_table(outcomes(pd.concat(parts)), ["fog"], expressions=NAMES)["worst"]) == {""}, "one expression alone is not the lowest"


def test_drops_by_expression_by_hand(four):
    table = drops_by_expression(four, ["mask"], expressions=NAMES).set_index("expression")
    assert table["drop"].to_dict() == pytest.approx({"happy": 0.5, "sad": 0.0})
    assert table["recall"].to_dict() == pytest.approx({"happy": 0.5, "sad": 1.0})


def test_a_face_per_expression_has_no_drop_and_leaves_the_table_empty():
    faces = faces_of([0, 1])
    parts = [rows(faces, [0, 1], "clean", "clean", 0.0), rows(faces, [0], "occlusion", "mask")]
    found = outcomes(pd.concat(parts))
    drops = drops_by_expression(found, ["mask"], expressions=NAMES)
    assert drops.empty
    assert occlusions_table(compare_conditions(found, ["mask"]), drops).index.tolist() == ["mask"]


def test_without_subjects_the_test_is_mcnemars_and_the_interval_wilsons():
    faces, rng = faces_of([0, 1] * 50), np.random.default_rng(0)
    clean, changed = set(range(85)), {n for n in range(100) if rng.random() < 0.6}
    parts = [rows(faces, sorted(clean), "clean", "clean", 0.0), rows(faces, sorted(changed), "occlusion", "mask")]
    row = compare_conditions(outcomes(pd.concat(parts)), ["mask"]).iloc[0]
    both = [[len(clean & changed), len(clean - changed)], [len(changed - clean), 100 - len(clean | changed)]]
    assert row["p"] == pytest.approx(mcnemar(both, exact=True).pvalue)
    assert row["drop"] == pytest.approx((85 - len(changed)) / 100)
    assert (row["accuracy_ci_low"], row["accuracy_ci_high"]) == pytest.approx(wilson(len(changed), 100))


def test_where_all_faces_name_subjects_intervals_are_over_subjects():
    """Whole subjects are hit or missed: faces of one subject are one observation, and the interval says so."""
    widths = []
    for subjects in (0, 5):
        faces = faces_of([0, 1] * 50, subjects=subjects)
        hit = [n for n in range(100) if n % 5 < 2]
        parts = [rows(faces, list(range(100)), "clean", "clean", 0.0), rows(faces, hit, "occlusion", "mask")]
        row = compare_conditions(outcomes(pd.concat(parts)), ["mask"]).iloc[0]
        widths.append(row["drop_ci_high"] - row["drop_ci_low"])
    assert widths[1] > 3 * widths[0]


def test_unchanged_faces_have_wilsons_interval_and_no_interval_is_a_point():
    """A model without a single error on 30 faces may still err on the next."""
    for hits in (np.arange(30) < 30, np.arange(30) < 27):
        found = mean_with_bounds("accuracy", hits, np.arange(30))
        assert (found["accuracy_ci_low"], found["accuracy_ci_high"]) == pytest.approx(wilson(hits.sum(), 30))
    assert mean_with_bounds("accuracy", np.full(30, 1.0), np.arange(30))["accuracy_ci_low"] == pytest.approx(wilson(30, 30)[0])
    halves = mean_with_bounds("accuracy", np.repeat([0.5, 1.0], 15), np.arange(30))
    assert halves["accuracy_ci_high"] - halves["accuracy_ci_low"] < 0.21, "fractions vary less than hits and misses"


@pytest.mark.slow
def test_intervals_of_the_rise_cover_at_their_rate(monkeypatch):
    """250 draws of 60 faces of one difficulty each; the true rise is known."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it in every correction
    rng, covered, truth = np.random.default_rng(1), 0, 0.8 - 0.5
    for _ in range(250):
        ease = rng.beta(2, 2, size=60)  # mean 0.5
        clean = rng.random(60) < 0.8
        hits = rng.random((60, 5)) < ease[:, None]
        columns = pd.MultiIndex.from_tuples([("clean", 0.0), *(("fog", float(s)) for s in range(1, 6))])
        found = Outcomes(
            pd.DataFrame(np.column_stack([clean, hits]), columns=columns), np.zeros(60, int), None, {"clean": "clean", "fog": "corruption"}
        )
        row = corruption_table(found, ["fog"]).iloc[0]
        covered += row["rise_ci_low"] <= truth <= row["rise_ci_high"]
    assert 0.91 <= covered / 250 <= 0.985


def test_the_order_of_rows_does_not_matter(four):
    faces = faces_of([0, 1] * 5)
    table = pd.concat([rows(faces, [0, 1, 2], "clean", "clean", 0.0), rows(faces, [0], "corruption", "fog")])
    first, second = (corruption_table(outcomes(each), ["fog"]) for each in (table, table.iloc[::-1]))
    pd.testing.assert_frame_equal(first, second)


def test_a_face_that_is_missing_under_a_condition_is_an_error():
    faces = faces_of([0, 1, 0])
    table = pd.concat([rows(faces, [0], "clean", "clean", 0.0), rows(faces.iloc[:2], [0], "corruption", "fog")])
    with pytest.raises(InputError, match="every face under every condition"):
        outcomes(table)
    with pytest.raises(InputError, match="and unchanged"):
        outcomes(rows(faces, [0], "corruption", "fog"))


def test_the_drop_to_another_dataset_has_newcombes_interval():
    own, other = faces_of([0, 1] * 40), faces_of([0, 0, 1] * 20).assign(face_id=[f"other/{n}" for n in range(60)])
    found = [
        rows(own, list(range(72)), "clean", "clean").assign(compared="b", set=""),
        rows(other, list(range(30)), "clean", "clean").assign(compared="b", set="b"),
    ]
    row = transfer_table(pd.concat(found)).iloc[0]
    expected = newcombe(72, 80, other_successes=30, other_n=60)
    assert (row["n_own"], row["n"]) == (80, 60)
    assert (row["own"], row["accuracy"], row["drop"]) == pytest.approx((0.9, 0.5, 0.4))
    assert (row["drop_ci_low"], row["drop_ci_high"]) == pytest.approx((expected["ci_low"], expected["ci_high"]))
    assert row["balanced_accuracy"] == pytest.approx(0.5)
    assert transfer_table(pd.DataFrame({"compared": [], "set": []})).empty
