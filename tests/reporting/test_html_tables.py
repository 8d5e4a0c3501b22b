from __future__ import annotations

import re

import pandas as pd

from ferlab.reporting.html_tables import html_table
from ferlab.reporting.tables import captioned

FRAME = pd.DataFrame({"face_id": ["control/1", "control/2"], "share": [0.5, -1.25], "accuracy": ["61.2 [58.9, 63.4]", "–"]})


def cells_of(html: str) -> list[list[str]]:
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in re.findall("<tr>.*?</tr>", html, flags=re.DOTALL)]


def test_a_table_scrolls_in_a_box_of_its_own_and_the_same_table_gives_the_same_bytes():
    html = html_table(FRAME)
    assert html.startswith('<div class="table-box" tabindex="0" role="region"')
    assert html == html_table(FRAME.copy())
    assert html != html_table(FRAME.assign(share=0.0))


def test_columns_of_words_stand_left_with_their_heading_and_long_ones_wrap():
    styles = dict(re.findall(r"(\.col\d) \{(.*?)\}", html_table(FRAME.assign(why=["short", "because " * 9])), flags=re.DOTALL))
    assert list(styles) == [".col0", ".col3"]
    assert "white-space: normal" not in styles[".col0"]
    assert "text-align: left" in styles[".col0"]
    assert "white-space: normal" in styles[".col3"]


def test_the_names_of_the_index_stand_in_the_row_of_headings():
    head = cells_of(html_table(pd.DataFrame({"angry": [1]}, index=pd.Index(["train"], name="split"))))
    assert head == [["split", "angry"], ["train", "1"]]
    index = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["run", "split"])
    both = cells_of(html_table(pd.DataFrame({"n": [1, 2]}, index=index)))
    assert both == [["&nbsp;", "run, split", "n"], ["a", "x", "1"], ["y", "2"]]
    named = pd.DataFrame([[1]], index=pd.Index(["train"], name="duplicate in"), columns=pd.Index(["val"], name="faces of"))
    assert {"faces of", "duplicate in"} <= {cell for row in cells_of(html_table(named)) for cell in row}


def test_cells_are_counts_with_commas_few_digits_and_dashes():
    columns = {"n": [28709, 7], "seed": [1234, 0], "share": [0.5, -0.0], "rate": [1e-5, None], "word": ["<img src=x>", None]}
    table = pd.DataFrame(columns, index=["<b>", "a|b"])
    rows = cells_of(html_table(table))
    assert rows[1] == ["&lt;b&gt;", "28,709", "1234", "0.5", "1e-05", "&lt;img src=x&gt;"]
    assert rows[2] == ["a|b", "7", "0", "0.0", "–", "–"]
    assert cells_of(html_table(pd.DataFrame({"rate": ["80.0 % [76.6, 83.0]"]})))[1][1] == "80.0\N{NO-BREAK SPACE}% [76.6, 83.0]"
    assert [row[1] for row in cells_of(html_table(pd.DataFrame({"lr": [0.002, 3e-5, None]})))[1:]] == ["2.00e-03", "3.00e-05", "–"]
    assert cells_of(html_table(table.set_axis(list("aabbc"), axis=1)))[1][1:3] == ["28,709", "1,234"]


def test_a_long_table_keeps_both_ends_with_dots_between():
    history = pd.DataFrame({"epoch": range(1, 301), "phase": "select"})
    rows = cells_of(html_table(history))[1:]
    assert [row[1] for row in rows] == [*map(str, range(1, 61)), "⋮", *map(str, range(241, 301))]
    assert rows[60] == ["⋮"] * 3
    assert ".col0 {" not in html_table(history)  # dots leave numbers where they stand
    assert len(cells_of(html_table(history.iloc[:120]))) == 121
    split = history.set_index(pd.MultiIndex.from_product([["a", "b"], range(150)], names=["run", "face"])).set_axis(["n", "n"], axis=1)
    assert len(cells_of(html_table(split))) == 122


def test_a_caption_stands_in_its_table_escaped_and_stays_through_a_choice_of_columns():
    given = pd.DataFrame({"n": [1], "m": [2]})
    html = html_table(captioned(given, "Faces <b> & n, 95 % intervals")[["n"]])
    assert re.findall("<caption>(.*?)</caption>", html) == ["Faces &lt;b&gt; &amp; n, 95 % intervals."]
    assert not given.attrs
    assert "<caption>" not in html_table(given)
