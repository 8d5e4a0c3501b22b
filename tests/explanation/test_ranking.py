"""The ranking on planted scores: a method that is right, one that is wrong and one that cannot be told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.explanation import ranking
from ferlab.explanation.ranking import BELIEVED, EVIDENCE, NOT_BELIEVED, UNDECIDED, Bootstrap, premises, rank_methods, ranking_of, used_parts

HOLDS = {"one_region": True, "shortcut": True, "independent": True, "chimera": True}
FACES, SUBJECTS = 24, 12
TESTS = (
    ("one_region", "one_region", "kappa"),
    ("one_region", "null", "kappa"),
    ("shortcut", "shortcut", "kappa"),
    ("shortcut", "independent", "kappa"),
    ("shortcut", "shortcut", "correctness"),
    ("shortcut", "independent", "correctness"),
    ("chimera", "independent", "contrastivity"),
    ("wired", "wired", "kappa"),
    ("one_region", "one_region", "zero"),
)


def planted(levels: dict[str, float], *, spread: float = 0.05, seed: int = 1, faces: int = FACES) -> pd.DataFrame:
    """Scores whose mean is a method's level where the evidence is, and 0 under the other model."""
    rng = np.random.default_rng(seed)
    parts = []
    for test, model, measure in TESTS:
        other = (test, model) in (("one_region", "null"), ("shortcut", "independent")) and measure == "kappa"
        for method, level in (levels | {"random": 0.0, "centre": 0.1, "edges": 0.05}).items():
            mean = 0.0 if other or measure == "zero" else level + ranking.WIRED * (test == "wired")
            value = np.zeros(faces) if measure == "zero" else mean + spread * rng.normal(size=faces)
            parts.append(
                pd.DataFrame(
                    {"seed": 0, "test": test, "model": model, "face_id": [f"f{n:02d}" for n in range(faces)], "place": np.arange(faces),
                     "subject": [f"0:s{n % SUBJECTS}" for n in range(faces)], "method": method, "measure": measure, "value": value}
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_methods_are_ranked_and_judged_by_all_evidence():
    rows = rank_methods(planted({"good": 0.8, "poor": -0.4, "unclear": 0.1}), holds=HOLDS)
    assert [(row["rank"], row["method"], row["verdict"]) for row in rows] == [
        (1, "good", BELIEVED), (2, "unclear", UNDECIDED), (3, "poor", NOT_BELIEVED)
    ]  # fmt: skip
    assert rows[0]["score"] == pytest.approx(0.8, abs=0.03)
    assert rows[0]["score_ci_low"] < rows[0]["score"] < rows[0]["score_ci_high"]
    assert set(rows[0]["evidence"]) == set(EVIDENCE)
    assert rows[0]["evidence"]["region"]["beats"] == "centre"
    assert rows[0]["evidence"]["region"]["ahead"] == pytest.approx(0.7, abs=0.03)
    assert {"region", "mark", "effects"} <= set(rows[1]["missing"])


def test_one_contradiction_is_enough_and_few_faces_support_nothing():
    scores = planted({"good": 0.8})
    wired = (scores["test"] == "wired") & (scores["method"] == "good")
    assert rank_methods(scores.assign(value=scores["value"].where(~wired, -0.5)), holds=HOLDS)[0]["against"] == ["wired"]
    few = rank_methods(planted({"good": 0.8}, faces=12), holds=HOLDS)[0]
    assert (few["verdict"], few["missing"]) == (UNDECIDED, list(EVIDENCE))


def test_zero_maps_speak_against_a_method():
    scores = planted({"good": 0.8})
    zero = (scores["measure"] == "zero") & (scores["method"] == "good")
    verdicts = {}
    for count in (0, 1, 2, 3, 12):
        found = rank_methods(scores.assign(value=scores["value"].where(~zero | (scores["place"] >= count), 1.0)), holds=HOLDS)[0]
        assert (found["zero"], found["zero_ci_low"] < found["zero_ci_high"]) == (count / FACES, True)
        verdicts[count] = found["verdict"]
    assert verdicts == {0: BELIEVED, 1: BELIEVED, 2: UNDECIDED, 3: UNDECIDED, 12: NOT_BELIEVED}  # 3 of 24 are not more than 5 % for certain


def test_a_bound_next_to_zero_is_on_the_line():
    row = rank_methods(planted({"good": 0.8}), holds=HOLDS)[0]
    assert ranking.on_the_line(row) == []
    near = row | {"evidence": row["evidence"] | {"mark": {"ahead": 0.1, "ahead_ci_low": 0.01, "ahead_upper": 0.2}}}
    assert ranking.on_the_line(near) == ["mark"]
    open_ = near | {"verdict": UNDECIDED, "missing": ["mark"]}
    open_["evidence"]["mark"]["ahead_ci_low"] = -0.01
    assert ranking.on_the_line(open_) == ["mark"]
    assert ranking.on_the_line(open_ | {"missing": ["mark", "class"]}) == []  # one piece alone cannot turn it
    against = near | {"verdict": NOT_BELIEVED, "against": ["mark"], "missing": ["class"]}
    against["evidence"]["mark"] = {"ahead": -0.1, "ahead_ci_low": -0.2, "ahead_upper": -0.01}
    assert ranking.on_the_line(against) == ["mark"]


def test_evidence_of_a_model_that_does_not_use_the_part_is_void():
    found = rank_methods(planted({"good": 0.8}), holds=HOLDS | {"one_region": False})[0]
    assert {"region", "null"} == set(EVIDENCE) - set(found["evidence"])
    assert found["verdict"] == UNDECIDED


def test_intervals_over_subjects_cover_the_truth_and_faces_of_one_subject_are_one_observation():
    rng = np.random.default_rng(0)
    hits, trials = 0, 200
    subject = pd.Series(np.repeat([f"s{n}" for n in range(8)], 3))
    boot = Bootstrap(subject)
    for _ in range(trials):
        value = pd.Series(np.repeat(rng.normal(size=8), 3))
        bounds = ranking.estimate(boot.mean(value, subject))
        hits += bounds["value_ci_low"] <= 0 <= bounds["value_ci_high"]
    assert 0.91 <= hits / trials <= 0.99  # as independent faces it would be near 0.7


def changes(effects: dict[tuple[str, str, str], float], *, faces: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"seed": 0, "test": test, "model": model, "face_id": f"f{n}", "subject": f"0:s{n}", "part": part, "kind": "swap happy",
         "effect": mean + 0.1 * rng.normal(), "drop": 0.0, "flip": bool(mean > 0.5)}
        for (test, model, part), mean in effects.items() for n in range(faces)
    ]  # fmt: skip
    return pd.DataFrame(rows)


EFFECTS = {
    ("one_region", "one_region", "nothing"): 0.0, ("one_region", "one_region", "mouth"): 3.0, ("one_region", "one_region", "elsewhere"): 0.0,
    ("shortcut", "shortcut", "nothing"): 0.0, ("shortcut", "shortcut", "mark"): 4.0, ("shortcut", "shortcut", "mouth"): 0.4,
    ("shortcut", "independent", "nothing"): 0.0, ("shortcut", "independent", "mark"): 0.0, ("shortcut", "independent", "mouth"): 2.0,
}  # fmt: skip


def test_models_that_use_their_evidence_hold_and_others_do_not():
    used = used_parts(changes(EFFECTS))
    assert premises(used) == HOLDS
    told = used.set_index(["model", "part"])["used"]
    assert told["one_region", "mouth"]
    assert not told["one_region", "elsewhere"]
    never = used.set_index(["model", "part"]).loc[("independent", "mark")]
    assert never["flip"] == never["flip_ci_low"] == 0
    assert never["flip_ci_high"] == pytest.approx(0.161, abs=0.001)  # Wilson's of 0 of 20
    elsewhere = used_parts(changes(EFFECTS | {("one_region", "one_region", "elsewhere"): 3.0}))
    assert premises(elsewhere) == HOLDS | {"one_region": False}
    blind = used_parts(changes(EFFECTS | {("shortcut", "independent", "mouth"): 0.0}))
    assert premises(blind) == HOLDS | {"independent": False, "chimera": False}


def test_a_page_gets_its_methods_in_the_order_of_the_ranking():
    metrics = {"ranking": [{"method": "a", "rank": 1, "verdict": BELIEVED}, {"method": "b", "rank": 2, "verdict": UNDECIDED}]}
    assert [(row["method"], row["verdict"]) for row in ranking_of(metrics, ["c", "b", "a"])] == [("a", BELIEVED), ("b", UNDECIDED), ("c", "")]


def test_maps_under_randomised_labels_are_averaged_over_the_faces_of_each_method():
    own = planted({"good": 0.8})
    null = own[(own["test"] == "one_region") & (own["model"] == "null")]
    alike = null.assign(measure="similarity", value=np.where(null["place"] < FACES / 2, 0.2, 0.4))
    found = ranking.unchanged_by_labels(pd.concat([own, alike]))
    assert list(found) == ["good"]
    assert found["good"]["value"] == pytest.approx(0.3)


def test_the_class_mean_is_compared_on_the_same_faces():
    scores = planted({"good": 0.8, "class mean of good": 0.8})
    ahead = ranking.own_face(scores)["good"]
    assert ahead["ahead_ci_low"] < 0 < ahead["ahead_ci_high"]
    assert [row["method"] for row in rank_methods(scores, holds=HOLDS)] == ["good"]
