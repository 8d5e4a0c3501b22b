"""Hypotheses on regions: effects by hand and against scipy, verdicts where the truth is planted, error rates in simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ferlab.data.regions import REGIONS, template_masks
from ferlab.explanation.hypotheses import (
    FAILS,
    FEWEST,
    HOLDS,
    HYPOTHESES,
    OPEN,
    Hypothesis,
    _difference,
    _p_value,
    density_ratio,
    judge_hypotheses,
    mass_rows,
)
from ferlab.expressions import EXPRESSIONS

NAMES = ("happy", "sad", "fear")
AREAS = {"brows": 0.1, "eyes": 0.1, "nose": 0.1, "mouth": 0.2, "rest": 0.5}
MOUTH = (Hypothesis("happy", ("mouth",), ("cs230",)),)


def masses(mouth: dict[int, np.ndarray], *, clusters: dict[int, list[str]] | None = None, method: str = "occlusion") -> pd.DataFrame:
    """Return masses whose mouth is given per class; all else lies on the rest."""
    tables = []
    for target, values in mouth.items():
        ids = [f"{target}/{number}" for number in range(len(values))]
        own = {"face_id": ids, "cluster": clusters[target] if clusters else ids, "target": target, "method": method}
        tables.append(pd.DataFrame({**own, **dict.fromkeys(REGIONS, 0.0), "mouth": values, "rest": 1 - values}))
    return pd.concat(tables, ignore_index=True)


def judge(table: pd.DataFrame, hypotheses: tuple[Hypothesis, ...] = MOUTH) -> pd.Series:
    return judge_hypotheses(table, areas=AREAS, expressions=NAMES, hypotheses=hypotheses).iloc[0]


def test_effects_are_the_hand_computed_ones() -> None:
    row = judge(masses({0: np.array([0.4, 0.6]), 1: np.array([0.1, 0.3]), 2: np.array([0.2, 0.2, 0.5])}))
    assert row["ratio"] == pytest.approx((0.5 / 0.2) / (0.5 / 0.8))
    assert row["difference"] == pytest.approx(0.5 - (0.2 + 0.3) / 2)
    assert (row["n"], row["regions"], row["sources"]) == (2, "mouth", "cs230")


def test_the_p_value_of_the_ratio_is_that_of_the_one_sample_t_test_and_the_interval_agrees() -> None:
    rng = np.random.default_rng(0)
    values = {c: rng.uniform(0.1, 0.4, 30) for c in range(3)}
    row = judge(masses(values))
    assert row["ratio_p"] == pytest.approx(stats.ttest_1samp(values[0], 0.2).pvalue)
    low, high = stats.ttest_1samp(values[0], 0.2).confidence_interval()
    assert (row["ratio_ci_low"], row["ratio_ci_high"]) == pytest.approx((density_ratio(low, 0.2), density_ratio(high, 0.2)))


def test_the_difference_of_two_classes_has_the_standard_error_of_welch() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.1, 0.4, 30), rng.uniform(0.1, 0.2, 12)
    row = judge(masses({0: a, 1: b}))
    error = np.sqrt(a.var(ddof=1) / 30 + b.var(ddof=1) / 12)
    assert (row["difference_ci_high"] - row["difference"]) / stats.t.ppf(0.975, 29) == pytest.approx(error)
    assert row["difference_p"] == pytest.approx(2 * stats.t.sf((a.mean() - b.mean()) / error, 29))


def test_repeating_each_face_of_a_subject_changes_no_interval() -> None:
    rng = np.random.default_rng(2)
    values = {c: rng.uniform(0.1, 0.5, 20) for c in range(3)}
    once = judge(masses(values))
    people = {c: [f"{c}/{number}" for number in range(20)] * 3 for c in range(3)}
    thrice = judge(masses({c: np.tile(own, 3) for c, own in values.items()}, clusters=people))
    keys = [f"{key}{end}" for key in ("ratio", "difference") for end in ("_ci_low", "_ci_high", "_p")]
    np.testing.assert_allclose(thrice[keys].to_numpy(float), once[keys].to_numpy(float), rtol=1e-9)
    assert (thrice["n"], thrice["clusters"]) == (60, 20)


def test_a_planted_region_holds_its_opposite_does_not_and_a_centred_map_tells_nothing() -> None:
    rng = np.random.default_rng(3)
    near = {c: np.clip(rng.normal(mean, 0.05, 30), 0, 1) for c, mean in enumerate((0.5, 0.3, 0.3))}
    assert judge(masses(near))["verdict"] == HOLDS
    others = (Hypothesis("happy", ("brows", "eyes", "nose", "rest"), ("x",)),)
    assert judge(masses(near), others)["verdict"] == FAILS
    everywhere = {c: np.clip(rng.normal(0.5, 0.05, 30), 0, 1) for c in range(3)}  # dense on every mouth, whatever the expression
    row = judge(masses(everywhere))
    assert row["ratio_p_holm"] < 0.001
    assert row["verdict"] == OPEN
    less = {c: np.clip(rng.normal(mean, 0.05, 30), 0, 1) for c, mean in enumerate((0.4, 0.5, 0.5))}
    assert judge(masses(less))["verdict"] == FAILS  # dense there, but less than for other expressions


def test_few_faces_zero_maps_and_absent_expressions_tell_nothing() -> None:
    few = {c: np.linspace(mean, mean + 0.01, FEWEST - 1) for c, mean in enumerate((0.9, 0.1, 0.1))}
    assert judge(masses(few))["verdict"] == OPEN
    assert judge(masses({c: np.append(own, own[-1]) for c, own in few.items()}))["verdict"] == HOLDS
    zero = masses(few)
    zero.loc[0, list(REGIONS)] = np.nan
    assert judge(zero)["n"] == FEWEST - 2
    none = judge(masses({1: np.array([0.1, 0.2])}))
    assert (none["n"], none["verdict"]) == (0, OPEN)
    assert judge_hypotheses(zero.iloc[:0], areas=AREAS, expressions=NAMES).empty
    assert set(judge_hypotheses(masses(few), areas=AREAS, expressions=NAMES)["expression"]) == set(NAMES)


def test_a_method_whose_maps_are_all_zero_keeps_its_rows() -> None:
    zero = masses({0: np.array([0.5, 0.4, 0.6])}).assign(**dict.fromkeys(REGIONS, np.nan))
    both = pd.concat([zero, masses({0: np.array([0.5, 0.4, 0.6])}, method="grad_cam")])
    found = judge_hypotheses(both, areas=AREAS, expressions=NAMES, hypotheses=MOUTH)
    assert found[["method", "n", "verdict"]].to_numpy().tolist() == [["occlusion", 0, OPEN], ["grad_cam", 3, OPEN]]


def test_p_values_are_corrected_over_both_tests_of_all_hypotheses_of_a_method() -> None:
    rng = np.random.default_rng(4)
    table = pd.concat([masses({c: rng.uniform(0.1, 0.32, 20) for c in range(3)}, method=name) for name in ("occlusion", "grad_cam")])
    several = (*MOUTH, Hypothesis("sad", ("mouth",), ("x",)), Hypothesis("fear", ("mouth",), ("x",)))
    tested = judge_hypotheses(table, areas=AREAS, expressions=NAMES, hypotheses=several)
    for _, own in tested.groupby("method"):
        raw = own[["ratio_p", "difference_p"]].to_numpy().ravel()
        np.testing.assert_allclose(own[["ratio_p_holm", "difference_p_holm"]].to_numpy().ravel(), multipletests(raw, method="holm")[1])


@pytest.mark.parametrize("faces", [10, 40])
def test_without_any_effect_a_test_rejects_at_its_level(faces: int) -> None:
    """Beta-distributed masses, some subjects in several classes; 400 draws: three standard errors are 3.3 points."""
    rng, target = np.random.default_rng(faces), np.repeat([0, 1, 2], faces)
    cluster = np.concatenate([np.arange(faces) + 3 * c for c in range(3)])
    p = []
    for _ in range(400):
        inside = rng.beta(2, 8, 3 * faces)
        p.append(_p_value(*_difference(inside, target, cluster, own=0), faces - 1))
    assert 0.017 < (np.array(p) < 0.05).mean() < 0.083


def test_masses_name_subjects_where_they_are_known() -> None:
    maps = np.zeros((3, 48, 48))
    masks = template_masks((48, 48))
    maps[0][masks["mouth"]] = 1
    maps[1][masks["eyes"]] = 2
    faces = pd.DataFrame({"face_id": ["a", "b", "c"], "target": [0, 1, 1], "subject": ["p", None, "p"]})
    rows = mass_rows({"occlusion": maps, "grad_cam": maps}, masks, faces)
    own = rows[rows["method"] == "grad_cam"]
    assert own["cluster"].tolist() == ["p", "b", "p"]
    assert own["mouth"].tolist()[:2] == [1.0, 0.0]
    assert own["eyes"].tolist()[:2] == [0.0, 1.0]
    assert own[list(REGIONS)].iloc[2].isna().all()
    assert len(rows) == 6
    alike = mass_rows({"occlusion": maps}, masks, faces.assign(duplicate_group=[7, 8, 8]).drop(columns="subject"))
    assert alike["cluster"].tolist() == ["photograph 7", "photograph 8", "photograph 8"]


def test_every_hypothesis_names_regions_and_a_source_once() -> None:
    assert all(each.expression in EXPRESSIONS and set(each.regions) < set(REGIONS) and each.sources for each in HYPOTHESES)
    assert len({(each.expression, each.regions) for each in HYPOTHESES}) == len(HYPOTHESES)
    cs230 = {each.expression: each.regions for each in HYPOTHESES if "cs230" in each.sources}
    assert cs230 == {
        "disgust": ("nose", "mouth"), "happy": ("mouth",), "surprise": ("eyes", "nose"), "neutral": ("brows", "eyes", "mouth", "rest"),
    }  # fmt: skip
    assert all(a <= b for a, b in pairwise(sorted(density_ratio(m, 0.3) for m in (0, 0.3, 0.6, 1))))
    assert density_ratio(0.3, 0.3) == pytest.approx(1)
