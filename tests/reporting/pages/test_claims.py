from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from ferlab.reporting.markup import OWN
from ferlab.reporting.pages import claims

ROWS = pd.DataFrame(
    [
        {"paper": "ferlab", "claim": "PublicTest (README.md)", "check": "flip", "verdict": "holds", "evidence": "Stated in README.md: 1.0; it is."},
        {"paper": "one", "claim": "A *bold* <b>claim</b> (t. 1)", "check": "sum", "verdict": "does not hold", "evidence": "1 + 1 = 2."},
        {"paper": "one", "claim": "Another (t. 2)", "check": "sum", "verdict": "holds", "evidence": "2 + 2 = 4."},
        {"paper": "two", "claim": "A third (t. 1)", "check": "difference", "verdict": "cannot be told", "evidence": "p = 0.5."},
    ]
)
COMPARED = {
    "n": 40, "draws": 5, "subjects": 10, "by_draw": [0.25, 0.35, 0.3, 0.3, 0.3], "difference": 0.3, "ci_low": 0.2, "ci_high": 0.4, "p": 0.001,
    "random_frames": 0.8, "random_frames_ci_low": 0.7, "random_frames_ci_high": 0.9,
    "by_subject": 0.5, "by_subject_ci_low": 0.4, "by_subject_ci_high": 0.6,
}  # fmt: skip
FACTS = {"train": 100, "siblings": {"random_frames": 0.9}}


def test_verdicts_are_counted_per_paper_with_this_project_last():
    counts = claims.count_verdicts(ROWS)
    assert list(counts.index) == ["one", "two", "ferlab"]
    assert counts.loc["one"].to_dict() == {"does not hold": 1, "cannot be told": 0, "holds": 1}
    assert claims.verdicts_sentence(ROWS).startswith("4 checks of 4 claims: 2 hold, 1 cannot be told, 1 do not hold.")


def test_the_figure_has_a_bar_per_paper_with_its_counts():
    figure = claims.plot_verdicts(ROWS)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "1", "1"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two", "ferlab"]
    plt.close(figure)


def test_a_paper_shows_evidence_of_what_does_not_hold_and_folds_the_others():
    parts = claims.paper_parts(ROWS, {"one": "Paper one"})
    text = "\n\n".join(parts)
    assert text.startswith("### Paper one\n\n✗ Does not hold (1 check)")
    assert "*Sum:* 1 + 1 = 2." in text
    assert r"\*bold\* \<b>claim" in text
    folded = [part for part in parts if part.startswith("<details")]
    assert len(folded) == 2
    assert all(OWN.fullmatch(part) and "\n\n" not in part for part in folded)  # else the site shows the tags as text
    assert "<summary>✓ Holds (1 check)</summary><pre>• Another (t. 2). Sum: 2 + 2 = 4.</pre>" in folded[0]
    assert "README" not in text
    assert "Stated in README.md" in "\n".join(claims.paper_parts(ROWS, {}, own=True))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "The random split overestimates accuracy on new subjects by 30.0 points"),
        ({}, "25.0 to 35.0 in each"),
        ({"p": 0.4}, "not significant"),
        ({"difference": -0.3, "p": 0.01}, "reports less"),
    ],
)
def test_the_sentence_on_the_split_follows_from_the_numbers(changed, told):
    sentence = claims.leak_sentence({**COMPARED, **changed}, FACTS)
    assert told in sentence
    assert "Control sequences: 5 draws, in all 40 test frames of 10 subjects" in sentence


def test_the_figure_of_the_split_shows_both():
    figure = claims.plot_leak(COMPARED)
    assert [text.get_text() for text in figure.axes[0].texts] == ["80.0", "50.0"]
    plt.close(figure)


def test_the_readmes_sentence_names_what_differs():
    assert claims.readme_sentence(ROWS).startswith("No printed accuracy of 1 differs")
    spoiled = ROWS.assign(verdict=["does not hold", *ROWS["verdict"][1:]])
    assert claims.readme_sentence(spoiled) == r"1 of 1 printed accuracies differ from what was computed again: PublicTest (README.md)."
    assert "No claims" in claims.readme_sentence(ROWS[1:])
