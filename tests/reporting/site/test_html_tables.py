"""pandas' tables on a page."""

from __future__ import annotations

import re

import pandas as pd

from ferlab.reporting.site.html_tables import scrolling_tables

FRAME = pd.DataFrame({"face_id": ["control/1", "control/2"], "share": [0.5, -1.25], "accuracy": ["61.2 (58.9 to 63.4)", "–"]})


def test_every_table_gets_a_box_that_scrolls_and_takes_the_focus() -> None:
    boxed = scrolling_tables(FRAME._repr_html_() * 2)
    assert boxed.count('<div class="table-box" tabindex="0"') == 2
    assert "style" not in boxed
    assert "border=" not in boxed


def test_columns_of_words_stand_left_with_their_heading_and_numbers_do_not() -> None:
    boxed = scrolling_tables(FRAME.to_html())
    assert re.findall(r'<t[hd] class="words">([^<]*)', boxed) == ["face_id", "control/1", "control/2"]


def test_the_name_of_the_index_moves_into_the_corner() -> None:
    boxed = scrolling_tables(pd.DataFrame({"angry": [1]}, index=pd.Index(["train"], name="split")).to_html())
    head = re.search("<thead>.*?</thead>", boxed, flags=re.DOTALL).group()
    assert head == "<thead><tr><th>split</th><th>angry</th></tr></thead>"


def test_an_index_of_two_levels_keeps_both_names() -> None:
    index = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["run", "split"])
    boxed = scrolling_tables(pd.DataFrame({"n": [1, 2], "word": ["p", "q"]}, index=index).to_html())
    assert '<thead><tr><th>run</th><th>split</th><th>n</th><th class="words">word</th></tr></thead>' in boxed
    assert re.findall(r'<td class="words">([^<]*)', boxed) == ["p", "q"]


def test_named_columns_and_index_keep_their_two_rows() -> None:
    frame = pd.DataFrame([[1]], index=pd.Index(["train"], name="duplicate in"), columns=pd.Index(["val"], name="faces of"))
    boxed = scrolling_tables(frame.to_html())
    assert "faces of" in boxed
    assert boxed.count("<tr") == 3


def test_other_html_is_left_alone() -> None:
    assert scrolling_tables("<p>no table</p>") == "<p>no table</p>"


def test_a_column_with_long_cells_may_wrap() -> None:
    boxed = scrolling_tables(pd.DataFrame({"why": ["short", "because " * 9], "n": [1, 2]}).to_html())
    assert boxed.count('class="words prose"') == 3
