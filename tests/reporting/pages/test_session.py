"""The page of prompted sessions: its numbers are those of the table and of conf/published, and it concludes only what they bear out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "live"))

from session_tables import answers, hits

from ferlab.expressions import EXPRESSIONS
from ferlab.live.session.files import read_sessions
from ferlab.live.session.scores import count_predictions, score_attempts
from ferlab.reporting.pages import session as page


def shown(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what the page displays, in order: texts, tables, alt texts."""
    seen: list[object] = []
    monkeypatch.setattr(page, "present", lambda *parts: seen.extend(part for part in parts if part is not None))
    monkeypatch.setattr(page, "show", lambda figure, alt: (seen.append(alt), plt.close(figure)))
    page.show_sessions(table)
    return seen


def test_stages_are_those_of_the_paper() -> None:
    stages = page.live_stages()
    assert list(zip(stages["correct"], stages["n"], strict=True)) == [(4, 20), (8, 20), (28, 50)]


def test_without_a_session_the_page_says_how_to_make_one_and_nothing_else(monkeypatch, tmp_path) -> None:
    assert shown(read_sessions(tmp_path), monkeypatch) == [page.NOTHING]


def test_a_session_stands_beside_the_stages(monkeypatch) -> None:
    seen = shown(hits(12, 21), monkeypatch)
    assert seen[0].startswith("**Predicted correctly: 12 of 21 prompts, 57.1 % [36.5, 75.5]**")
    table = next(part for part in seen if isinstance(part, pd.DataFrame) and part.index.name == "stage")
    assert list(table["correct"]) == ["4 of 20", "8 of 20", "28 of 50", "12 of 21"]
    assert list(table["chance, %"]) == ["12.5", "14.3", "14.3", "14.3"]
    assert table["Fisher p"].iloc[2] == "1.000"
    assert any("not significant at the 5 % level (Fisher's exact test, Holm's p = 1.000)" in part for part in seen if isinstance(part, str))
    assert any("better than a guesser at the 5 % level" in part for part in seen if isinstance(part, str))
    assert any("says nothing about other people" in part for part in seen if isinstance(part, str))


def test_drawn_people_are_named_as_drawn() -> None:
    table = hits(2, 7, source="control faces", person="drawn-1")
    told = page.headline(table, score_attempts(table))
    assert told.startswith("**Control faces, not people.**")
    assert "1 session of 1 drawn person" in told
    assert "Control faces" not in page.headline(hits(2, 7), score_attempts(hits(2, 7)))


def test_no_claim_where_the_numbers_do_not_bear_it_out() -> None:
    facts = score_attempts(hits(3, 21))
    assert "not significantly better than a guesser" in page.chance_sentence(facts)
    assert "cannot distinguish any accuracy" in page.chance_sentence(score_attempts(hits(1, 1)))


def test_people_and_conditions_are_compared_where_there_are_several(monkeypatch) -> None:
    parts = [hits(12, 14, person="p-2222", session="a"), hits(5, 14, person="p-3333", session="b", condition="remembered")]
    parts += [hits(11, 14, person="p-3333", session="c"), hits(4, 14, person="p-2222", session="d", condition="remembered")]
    table = pd.concat(parts, ignore_index=True)
    seen = [part for part in shown(table, monkeypatch) if isinstance(part, str)]
    assert any("from 2 people" in part for part in seen)
    assert any(
        part.startswith("*acted* minus *remembered*, over all prompts: 50.0 points") and "; significant at the 5 % level (exact test within" in part
        for part in seen
    )
    assert "these sessions, remembered: 9 of 28" in next(part for part in seen if part.startswith("Prompts predicted correctly with"))
    people = page.tally_table(table, "person")
    assert list(people["correct"]) == ["16 of 28", "16 of 28"]


def test_only_attempts_without_a_face_are_reported_as_such(monkeypatch) -> None:
    seen = shown(answers(("happy", None), ("sad", None)), monkeypatch)
    assert seen == ["No prompt was scored in 1 session of 1 person. Without a face, and so not scored: 2 attempts."]


def test_figures_show_every_rank_and_the_most_frequent_confusion() -> None:
    table = answers(("happy", "happy"), ("sad", "fear"), ("sad", "fear"), ("fear", "sad"))
    ranks = page.ranks_figure(table)
    assert "1 at rank 1, 3 at rank 2" in ranks["alt"]
    (axis,) = ranks["figure"].axes
    assert [bar.get_height() for bar in axis.patches[:7]] == [1, 3, 0, 0, 0, 0, 0]
    assert page.confusion_alt(count_predictions(table)).endswith("sad predicted as fear, 2 times.")
    figure = page.confusion_figure(count_predictions(table))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(EXPRESSIONS)
    stages = page.stages_figure(table, page.live_stages())
    assert "28 of 50" in stages["alt"]
    plt.close("all")


def test_one_person_with_a_scored_prompt_is_one_person() -> None:
    table = pd.concat([hits(3, 7, session="a"), answers(("happy", None), person="p-3333", session="b")], ignore_index=True)
    assert "says nothing about other people" in page.people_sentence(table, score_attempts(table))


@pytest.mark.parametrize(("correct", "bounds"), [(7, "100.0 % [34.2, 100.0]"), (0, "0.0 % [0.0, 65.8]")])
def test_people_without_a_difference_keep_their_interval(correct, bounds) -> None:
    table = pd.concat([hits(correct, 7, session="a"), hits(correct, 7, person="p-3333", session="b")], ignore_index=True)
    told = page.people_sentence(table, score_attempts(table))
    assert f"For new people the interval is {bounds}" in told
    assert "no difference between people to test" in told


def test_conditions_of_different_people_are_not_tested_within_people() -> None:
    table = pd.concat([hits(14, 14), hits(0, 14, person="p-3333", session="b", condition="remembered")], ignore_index=True)
    told = page.conditions_sentence(table)
    assert "Nobody has scored prompts in both conditions" in told
    assert "significant" not in told


def test_a_tie_of_confusions_is_named_as_one() -> None:
    table = answers(("happy", "sad"), ("sad", "fear"))
    assert "One of the most frequent confusions: happy predicted as sad, once." in page.confusion_alt(count_predictions(table))


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 21)])
def test_every_sentence_agrees_with_its_numbers(correct, n, lost) -> None:
    table = pd.concat([hits(correct, n), answers(*[("sad", None)] * lost)], ignore_index=True) if lost else hits(correct, n)
    facts, stages = score_attempts(table), page.live_stages()
    told = [page.headline(table, facts), page.stages_sentence(facts, stages), page.chance_sentence(facts), page.ranks_sentence(facts)]
    told += [page.people_sentence(table, facts), page.conditions_sentence(table)]
    words = " ".join(told)
    assert "nan" not in words
    assert not re.search(r"(^|[^0-9.])1 (more attempts|prompts|sessions|people)", words), words
    assert ("is better than a guesser" in words) == (facts["p_chance"] <= 0.05)
