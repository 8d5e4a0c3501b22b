"""Sentences, tables and the figure of faces and seeds hold the measured numbers, and conclude only where the intervals do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.comparison import spread_over_seeds
from ferlab.evaluation.faces_and_seeds import DIFFERENCE_COLUMNS
from ferlab.reporting.pages import seeds as page

NAN = float("nan")
ROW = {
    "set": "x", "group": "g", "seeds": 2, "n": 600, "subjects": NAN, "accuracy": 0.9, "faces_ci_low": 0.88, "faces_ci_high": 0.92, "new_ci_low": 0.7,
    "new_ci_high": 0.97, "faces_sd": 0.012, "seeds_sd": 0.004, "seeds_sd_ci_low": 0.0, "seeds_sd_ci_high": 0.15, "larger": "open",
}  # fmt: skip
SINGLE = ROW | {"group": "h", "seeds": 1, "larger": "unknown"} | dict.fromkeys(
    ("new_ci_low", "new_ci_high", "seeds_sd", "seeds_sd_ci_low", "seeds_sd_ci_high"), NAN
)


def doubt(*changes: dict) -> pd.DataFrame:
    return pd.DataFrame([ROW | change for change in changes])


def test_one_seed_tells_nothing_of_spread() -> None:
    spread = pd.DataFrame({"group": ["g", "h"], "seeds": [1, 3], "test.accuracy_mean": [0.5, 0.6], "test.accuracy_sd": [NAN, 0.01]})
    assert "h: 60.0 ± 1.0 % over 3 seeds" in page.seeds_sentence(spread)
    assert "one seed" in page.seeds_sentence(spread.iloc[:1])
    assert page.doubt_sentence(pd.DataFrame([SINGLE])) == ""


def test_groups_are_shown_with_their_spread() -> None:
    runs = pd.DataFrame({"set": "x", "group": "g", "test.accuracy": [0.6, 0.7]})
    assert page.groups_table(spread_over_seeds(runs, ["test.accuracy"]), {"test.accuracy": "accuracy"}).loc["g", "accuracy"] == "65.0 ± 7.1"
    assert page.groups_table(spread_over_seeds(runs[:1], ["test.accuracy"]), {"test.accuracy": "accuracy"}).loc["g", "accuracy"] == "60.0"


@pytest.mark.parametrize(
    ("larger", "said"), [("faces", "Faces are the larger"), ("seeds", "Seeds are the larger"), ("open", "larger is undecided")]
)
def test_the_larger_source_is_said_as_the_interval_has_it(larger: str, said: str) -> None:
    text = page.doubt_sentence(doubt({"larger": larger}))
    assert said in text
    assert "over samples of 600 faces the accuracy of one run has a standard deviation of 1.2 points, over seeds 0.4 points [0.0, 15.0]." in text
    assert "With 2 seeds (1 degree of freedom) the spread over seeds is hardly estimated" in text
    assert text.endswith("A new seed on new faces: [70.0, 97.0] %, against [88.0, 92.0] % for these seeds.")


def test_subjects_are_named_where_they_are_what_is_sampled() -> None:
    assert "over samples of 600 faces of 30 subjects the accuracy" in page.doubt_sentence(doubt({"subjects": 30}))


def test_few_seeds_are_pointed_out_and_many_are_not() -> None:
    assert "(2 degrees of freedom)" in page.doubt_sentence(doubt({"seeds": 3}))
    assert "hardly estimated, hence the wide interval." in page.doubt_sentence(doubt({}))
    assert "hardly estimated. A new" in page.doubt_sentence(doubt({"new_ci_low": 0.88, "new_ci_high": 0.92}))
    assert "hardly" not in page.doubt_sentence(doubt({"seeds": 4}))


def test_many_groups_are_counted() -> None:
    several = doubt({}, {"larger": "faces", "seeds": 5}, {"larger": "seeds", "seeds": 9}, {"larger": "faces", "seeds": 3})
    text = page.doubt_sentence(pd.concat([several, pd.DataFrame([SINGLE])]))
    assert text.startswith("Faces are the larger source of doubt in 2 of 4 groups, seeds in 1; 1 are undecided. 2 of them have two or three seeds")


def test_tables_hold_both_intervals_and_a_dash_for_one_seed() -> None:
    both = pd.DataFrame([ROW, SINGLE])
    table = page.doubt_table(both)
    assert table.loc["g", ["accuracy of these seeds, test, %", page.NEW]].tolist() == ["90.0 [88.0, 92.0]", "[70.0, 97.0]"]
    assert table.loc["g", ["sd over faces, points", "sd over seeds, points", "larger source"]].tolist() == ["1.2", "0.4 [0.0, 15.0]", "undecided"]
    assert table.loc["h", [page.NEW, "sd over seeds, points", "larger source"]].tolist() == ["–", "–", "–"]
    runs = pd.DataFrame({"run": ["a", "b", "c"], "set": "x", "group": ["g", "g", "h"]})
    headline = pd.DataFrame({"accuracy, test, %": ["1", "2", "3"], "model": "m"}, index=pd.Index(["a", "b", "c"], name="run"))
    joined = page.with_new_seeds(headline, runs, both)
    assert joined.columns.tolist() == ["accuracy, test, %", page.NEW, "model"]
    assert joined[page.NEW].tolist() == ["[70.0, 97.0]", "[70.0, 97.0]", "–"]
    assert page.with_new_seeds(headline, runs, pd.DataFrame([SINGLE])).equals(headline)


def test_recipes_are_compared_for_new_faces_and_seeds() -> None:
    row = ("x", "a", "b", 3, 4, 0.02, -0.01, 0.05, 0.005, 0.035, 0.2, 0.4)
    differences = pd.DataFrame([row], columns=list(DIFFERENCE_COLUMNS))
    said = page.recipes_sentence(differences)
    assert said.startswith("0 of 1 pairs of recipes differ at the 5 % level for new faces and new seeds (Holm).")
    assert "a − b, 2.0 points [-1.0, 5.0], Holm p = 0.400; over faces alone [0.5, 3.5]." in said
    assert page.recipes_sentence(differences.assign(p_holm=0.01)).startswith("1 of 1 pairs")
    assert "cannot be compared over seeds" in page.recipes_sentence(differences[:0])
    assert page.recipes_table(differences).loc["a − b"].tolist() == ["x", "3 / 4", "2.0 [-1.0, 5.0]", "[0.5, 3.5]", "0.200", "0.400"]
    assert page.recipes_table(differences[:0]).empty


def test_the_figure_draws_the_wide_interval_for_groups_of_several_seeds_alone() -> None:
    runs = pd.DataFrame({"run": ["a", "b", "c"], "set": "x", "group": ["g", "g", "h"], "test.accuracy": [0.89, 0.91, 0.9]})
    axis = page.plot_doubt(pd.DataFrame([ROW, SINGLE]), runs).axes[0]
    spans = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-" and line.get_linewidth() > 1.7]
    np.testing.assert_allclose(sorted(np.round(np.ravel(spans), 6)), [70, 88, 88, 92, 92, 97])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["g", "h"]
