"""The page of the expression check: tables, sentences and figures from counts worked out by hand."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.presentation_attacks import Challenge, plan_prompts, prompt_chances
from ferlab.reporting.pages import verify as page

NAMES = ("happy", "sad", "neutral")
CONFUSIONS = np.array([[80, 0, 20], [10, 60, 30], [5, 5, 90]])
ASKED = ("happy", "sad")


def outcomes():
    rows = [
        *[("bona fide", "passed", 0.6, 4.8, "")] * 6,
        *[("bona fide", "failed", 0.0, 3.2, "expressions")] * 2,
        *[("print", "failed", 0.0, 4.0, "expressions, blink")] * 8,
        *[("guesser", "failed", 0.0, 4.0, "head turn")] * 7,
        ("guesser", "passed", 0.5, 4.0, ""),
    ]
    return pd.DataFrame(rows, columns=["species", "flag", "score", "intensity", "failed"])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_recalls_state_what_is_asked_for():
    table = page.recalls_table(CONFUSIONS, NAMES, ("happy",))
    assert table.index.tolist() == ["happy", "sad"]
    assert table["recall without neutral predictions, %"].tolist() == ["100.0", "85.7"]
    assert table["asked for"].tolist() == ["yes", "no"]
    assert table.loc["sad", "recall, %"].startswith("60.0 [")


def test_people_stand_beside_the_published_live_sessions():
    table = page.people_table(CONFUSIONS, NAMES, ASKED, prompts=2, misses=0)
    assert table.loc["recall", "mean, %"] == "70.0"
    assert table.loc["recall", "one check, %"].startswith("49.0 [")  # 0.7 ** 2
    assert table.loc["recall", "three checks, %"] == "86.7"  # 1 - (1 - 0.49) ** 3
    live = [name for name in table.index if "cs231a" in name]
    assert len(live) == 2
    assert table.loc[live[-1], "one check, %"].startswith("31.4 [")  # 0.56 ** 2


def test_rates_by_hand():
    table = page.rates_table(outcomes())
    assert table.index.tolist() == ["people", "print", "guesser"]
    assert table["error rate"].tolist() == ["BPCER", "APCER", "APCER"]
    assert [text.split(" [")[0] for text in table["%"]] == ["25.0", "0.0", "12.5"]
    text = page.rates_text(outcomes())
    assert "*guesser*: 12.5 % [" in text
    assert "ACER, the mean of both, 18.8 % [" in text


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        ({"print": 0, "mask": 0}, "No attack of any species passed. BPCER"),
        ({"print": 4, "mask": 4}, "The largest APCER, that of 2 species, is 100.0 % [51.0, 100.0] of 4 presentations each. BPCER"),
        ({"print": 2, "mask": 2}, "The largest APCER, that of 2 species, is 50.0 %"),
        ({"print": 1, "mask": 3}, "The largest APCER is that of *mask*: 75.0 %"),
        ({"print": 0}, "The largest APCER is that of *print*: 0.0 % [0.0, 49.0] of 4 presentations."),
    ],
)
@pytest.mark.parametrize(("people", "failed"), [(1, 0), (1, 1), (9, 0), (9, 9)])
def test_rates_of_every_kind_of_check(passed, words, people, failed):
    rows = [("bona fide", "failed")] * failed + [("bona fide", "passed")] * (people - failed)
    rows += [(name, "passed" if place < hits else "failed") for name, hits in passed.items() for place in range(4)]
    outcomes = pd.DataFrame(rows, columns=["species", "flag"])
    text = page.rates_text(outcomes)
    assert words in text
    assert f"of {people} {'person' if people == 1 else 'people'}, and ACER" in text
    assert "nan" not in text
    assert page.rates_table(outcomes)["exact interval, %"].str.contains(r"\[").all()


def test_rates_stand_beside_those_that_the_rules_were_chosen_on():
    tuned = outcomes().assign(flag="failed")
    table = page.rates_table(outcomes(), tuned)
    assert table["% of those the rules were chosen on"].tolist() == ["100.0", "0.0", "0.0"]
    assert [text.split(" [")[0] for text in table["%"]] == ["25.0", "0.0", "12.5"]


@pytest.mark.parametrize(("live", "differs"), [(3, True), (2, False)])
def test_the_simulation_states_what_differs_from_the_check(live, differs):
    people = outcomes().assign(subject=range(len(outcomes())))
    text = page.simulation_text(people, people[:5], drawn=Challenge(2, 4, 1), drawn_asked=ASKED, live=Challenge(live, 4, 1))
    assert "24 drawn people" in text
    assert "chosen on 5 others" in text
    assert "asked for happy and sad, which" in text
    assert ("3 different expressions: a guesser passes in at most 5.6 % there, in at most 15.6 % here." in text) == differs


def test_failed_parts_are_counted_one_by_one():
    table = page.failures_table(outcomes())
    assert table.loc["print", ["n", "expressions", "blink", "head turn"]].tolist() == [8, 8, 8, 0]
    assert table.loc["people", ["n", "expressions", "blink"]].tolist() == [8, 2, 0]


def test_the_prediction_is_compared_with_what_was_measured():
    chances = prompt_chances(CONFUSIONS, NAMES, ASKED)
    two = np.array([[1, 1]] * 3 + [[0, 0]])
    text = page.prediction_text(outcomes(), chances, two, challenge=Challenge(2, 2, 0))
    assert "49.0 % (recall)" in text
    assert "measured: 75.0 % [" in text
    assert "excludes" not in text
    assert "accepted always or never, predict 75.0 %. A guesser" in text
    assert "in at most 12.5 %; measured: 12.5 % [" in text
    surely = prompt_chances(np.diag([100, 100, 100]), NAMES, ASKED)
    assert "people, an interval that excludes the prediction. The" in page.prediction_text(outcomes(), surely, two, challenge=Challenge(2, 2, 0))
    nobody = page.prediction_text(outcomes(), chances, np.zeros((4, 2)), challenge=Challenge(2, 8, 0))
    assert "predict 0.0 %, an interval that excludes the prediction. A guesser" in nobody
    assert nobody.endswith("of 8, an interval that excludes the prediction.")  # 1 of 8 guessers, where 1 in 512 is expected


def test_a_check_that_passes_everybody_is_drawn_at_the_score_that_does():
    perfect = pd.DataFrame({"species": ["bona fide"] * 3 + ["print"] * 2, "flag": "passed", "score": [0.5, 0.6, 0.7, 0.4, 0.55]})
    assert page.plot_errors(perfect)["alt"].endswith("Where 0 % of the people fail, print 100 % pass.")
    useless = perfect.assign(flag="failed", score=0.0)
    assert page.plot_errors(useless)["alt"].endswith("Where 100 % of the people fail, print 0 % pass.")


def test_plans_name_the_cheapest_secure_enough():
    table = page.plans_table(plan_prompts([0.9, 0.9, 0.9]), wanted=(0.2, 1e-9))
    assert table["prompts"].tolist()[1] == "–"
    assert float(table["guesser passes, %"].iloc[0]) <= 20


def test_figures_show_what_their_alt_text_says():
    plans = plan_prompts([0.8, 0.7, 0.9], most_prompts=5)
    drawn = page.plot_plans(plans, prompts=4, misses=1)
    axes = drawn["figure"].axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [5, 4, 3, 1]
    assert axes.lines[-1].get_xdata()[0] == pytest.approx(Challenge(3, 4, 1).guess())
    assert "guesser passes in 5.6 %" in drawn["alt"]
    errors = page.plot_errors(outcomes())
    assert "Where 25 % of the people fail, print 0 %, guesser 12 % pass." in errors["alt"]
    assert [line.get_label() for line in errors["figure"].axes[0].lines] == ["print", "guesser"]
    bands = page.plot_expressiveness(outcomes())
    assert "3.0 to 3.5: 0 of 2" in bands["alt"]
    assert "4.5 to 5.0: 6 of 6" in bands["alt"]
