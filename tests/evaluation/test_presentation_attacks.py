"""Error rates of presentation attack detection and chances of a challenge, against enumeration, scikit-learn and numbers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import det_curve

from ferlab.evaluation.presentation_attacks import (
    Challenge,
    attack_rates,
    cheapest_plans,
    clopper_pearson,
    det_points,
    detection_rates,
    person_bounds,
    plan_prompts,
    prompt_chances,
)
from ferlab.evaluation.proportions import wilson


def outcomes(**flags):
    rows = [(name.replace("_", " "), flag) for name, counts in flags.items() for flag, n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["species", "flag"])


TESTED = outcomes(
    bona_fide={"passed": 45, "failed": 3, "not decided": 2},
    print={"failed": 38, "not decided": 2},
    screen={"passed": 4, "failed": 16},
    replay={"passed": 1, "failed": 29},
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 20, 0.0, 1 - 0.025 ** (1 / 20)), (20, 20, 0.025 ** (1 / 20), 1.0), (5, 10, 0.1871, 0.8129), (1, 30, 0.0008, 0.1722)],
)
def test_the_exact_interval(successes, n, low, high):
    """The first two in closed form, the others from Clopper and Pearson's charts as R's binom.test prints them."""
    assert clopper_pearson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_the_exact_interval_holds_wilsons_estimate_and_is_wider():
    for n in (5, 40):
        for successes in range(n + 1):
            (low, high), (inner_low, inner_high) = clopper_pearson(successes, n), wilson(successes, n)
            assert low <= successes / n <= high
            assert high - low > inner_high - inner_low - 0.02


def test_rates_per_species_by_hand():
    rates = attack_rates(TESTED).set_index("species")
    assert rates.index.tolist() == ["print", "screen", "replay"]
    assert rates["n"].tolist() == [40, 20, 30]
    assert rates["apcer"].tolist() == pytest.approx([0, 4 / 20, 1 / 30])
    assert rates["apnrr"].tolist() == pytest.approx([2 / 40, 0, 0])
    assert (rates.loc["screen", "apcer_ci_low"], rates.loc["screen", "apcer_ci_high"]) == pytest.approx(wilson(4, 20))
    assert (rates.loc["replay", "apcer_exact_low"], rates.loc["replay", "apcer_exact_high"]) == pytest.approx(clopper_pearson(1, 30))


def test_the_worst_species_counts_and_not_the_mean():
    rates = detection_rates(TESTED)
    assert (rates["worst_species"], rates["apcer"], rates["attacks"]) == ("screen", pytest.approx(0.2), 20)
    assert (rates["bpcer"], rates["bpnrr"], rates["people"]) == (pytest.approx(3 / 50), pytest.approx(2 / 50), 50)
    assert rates["acer"] == pytest.approx((0.2 + 0.06) / 2)
    assert rates["acer_ci_low"] < rates["acer"] < rates["acer_ci_high"]
    half = np.hypot(0.2 - wilson(4, 20)[0], 0.06 - wilson(3, 50)[0]) / 2
    assert rates["acer_ci_low"] == pytest.approx(0.13 - half)


@pytest.mark.parametrize("flags", [{"bona_fide": {"passed": 1}}, {"print": {"failed": 1}}])
def test_rates_need_people_and_attacks(flags):
    with pytest.raises(ValueError, match="Expected attacks and bona fide presentations"):
        detection_rates(outcomes(**flags))


def test_det_points_are_scikit_learns():
    rng = np.random.default_rng(0)
    people, attacks = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 90).round(1)
    points = det_points(people, attacks)
    fpr, fnr, thresholds = det_curve(np.r_[np.ones(60), np.zeros(90)], np.r_[people, attacks])
    ours = points.set_index("threshold").loc[np.unique(thresholds)]
    theirs = pd.DataFrame({"apcer": fpr, "bpcer": fnr}, index=thresholds).sort_index()
    assert ours["apcer"].to_numpy() == pytest.approx(theirs["apcer"].to_numpy())
    assert ours["bpcer"].to_numpy() == pytest.approx(theirs["bpcer"].to_numpy())
    assert (points["apcer"].iloc[0], points["bpcer"].iloc[0], points["apcer"].iloc[-1], points["bpcer"].iloc[-1]) == (1, 0, 0, 1)


@pytest.mark.parametrize(("expressions", "prompts", "misses"), [(2, 3, 0), (3, 4, 1), (4, 3, 2), (5, 1, 0)])
def test_a_guess_by_enumeration_of_every_challenge(expressions, prompts, misses):
    guess = [0] * prompts
    agree = [sum(a == b for a, b in zip(guess, asked)) >= prompts - misses for asked in itertools.product(range(expressions), repeat=prompts)]
    assert Challenge(expressions, prompts, misses, turn=False).guess() == pytest.approx(np.mean(agree))
    assert Challenge(expressions, prompts, misses).guess() == pytest.approx(np.mean(agree) / 2)


def test_a_replay_by_enumeration_of_every_challenge():
    expressions, prompts, misses = 2, 3, 1

    def challenges():
        for asked in itertools.product(range(expressions), repeat=prompts):
            for side, blink, turn in itertools.product("lr", range(prompts + 1), range(prompts + 2)):
                steps = list(asked)
                steps.insert(blink, "b")
                steps.insert(turn, side)
                yield tuple(steps)

    every = list(challenges())
    recorded = every[17]

    def passes(steps):
        wrong = [a for a, b in zip(steps, recorded) if a != b]
        places = all(isinstance(a, int) == isinstance(b, int) and (a == b or isinstance(a, int)) for a, b in zip(steps, recorded))
        return places and len(wrong) <= misses

    assert Challenge(expressions, prompts, misses).replay() == pytest.approx(np.mean([passes(steps) for steps in every]))


@pytest.mark.parametrize("tries", [1, 3])
def test_a_persons_chance_by_enumeration(tries):
    chances, prompts, misses = np.array([0.9, 0.6, 0.75]), 4, 1
    once = 0.0
    for asked in itertools.product(range(3), repeat=prompts):
        for right in itertools.product((True, False), repeat=prompts):
            if right.count(False) <= misses:
                once += np.prod([chances[a] if ok else 1 - chances[a] for a, ok in zip(asked, right)]) / 3**prompts
    assert Challenge(3, prompts, misses, tries=tries).person(chances) == pytest.approx(1 - (1 - once) ** tries)


def test_people_who_differ_pass_less_often_than_their_mean_promises():
    """Half of the people always, half of them half of the time: 4 of 4 are (1 + 1/16) / 2, not 0.75 ** 4."""
    people = np.array([[1.0, 1.0], [0.5, 0.5]])
    assert Challenge(2, 4, 0).person(people) == pytest.approx((1 + 1 / 16) / 2)
    assert Challenge(2, 4, 1).person(people) < Challenge(2, 4, 1).person(people.mean(axis=0))


def test_bounds_of_a_persons_chance_narrow_with_the_faces_behind_the_recalls():
    challenge, narrow, wide = Challenge(2, 4, 1), ([900, 800], [1000, 1000]), ([9, 8], [10, 10])
    for hits, n in (narrow, wide):
        low, high = person_bounds(challenge, hits, n)
        assert low < challenge.person(np.divide(hits, n)) < high
    widths = [np.subtract(*person_bounds(challenge, *counts)[::-1]) for counts in (narrow, wide)]
    assert widths[0] < widths[1] / 5


def test_prompt_chances_by_hand():
    confusions = np.array([[6, 1, 3], [0, 9, 1], [2, 0, 8]])
    chances = prompt_chances(confusions, ("happy", "sad", "neutral"), ("sad", "happy")).set_index("expression")
    assert chances.loc["happy", ["n", "hits", "answers"]].tolist() == [10, 6, 7]
    assert chances.loc["happy", ["at_once", "in_time"]].tolist() == pytest.approx([0.6, 6 / 7])
    assert chances.loc["sad", ["at_once", "in_time"]].tolist() == pytest.approx([0.9, 1.0])


def test_more_prompts_are_safer_and_more_misses_kinder():
    plans = plan_prompts([0.8, 0.7, 0.9], most_prompts=6).set_index(["prompts", "misses"])
    for prompts in range(2, 7):
        assert plans.loc[(prompts, 0), "guess"] < plans.loc[(prompts - 1, 0), "guess"]
        assert plans.loc[(prompts, 0), "bpcer"] > plans.loc[(prompts, 1), "bpcer"]
        assert plans.loc[(prompts, 0), "guess"] < plans.loc[(prompts, 1), "guess"]
    assert plans.loc[(1, 0)].tolist() == pytest.approx([1 / 6, 1 / 36, 0.2])


def test_the_cheapest_plan_is_secure_enough_and_fails_fewest_people():
    plans = plan_prompts([0.8, 0.7, 0.9])
    found = cheapest_plans(plans, [0.1, 1e-9])
    secure = plans[plans["guess"] <= 0.1]
    assert found["bpcer"].iloc[0] == secure["bpcer"].min()
    assert np.isnan(found["prompts"].iloc[1])
