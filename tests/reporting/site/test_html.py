"""From notebook to page: alt text, folded code."""

from __future__ import annotations

import base64
import re

import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferlab.colours import INKS
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.site.html import caption_figures, make_page, mend_page, missing_alt_text, missing_captions, pick_picture, pictures
from ferlab.reporting.tables import captioned

PNG = base64.b64encode(b"\x89PNG").decode()


def image(alt: str | None):
    metadata = {"image/png": {"alt": alt, "least_width": 684}} if alt else {}
    return new_output("display_data", data={"image/png": PNG, "text/plain": "<Figure>"}, metadata=metadata)


def notebook(*cells):
    return new_notebook(cells=[new_markdown_cell("# Evaluate\n\nHow good?"), *cells])


def test_alt_text_stands_where_myst_nb_looks() -> None:
    page = caption_figures(notebook(new_code_cell("show()", outputs=[image("Two bars,\n one higher.")])))
    assert page["cells"][1]["metadata"]["mystnb"] == {"image": {"alt": "Two bars, one higher.", "classes": "least-684"}}


def test_figures_are_numbered_and_the_first_sentence_of_their_alt_text_is_the_caption() -> None:
    alts = ("Accuracy of a_run, 3.5 % of it. Highest: 7.", "**No <b>map** of `x` is $5$: none. So it is.")
    page = caption_figures(notebook(*(new_code_cell("show()", outputs=[image(alt)]) for alt in alts)))
    captions = [cell["outputs"][1]["data"]["text/html"] for cell in page["cells"][1:]]
    shown = ("Figure 1. Accuracy of a_run, 3.5 % of it.", "Figure 2. No &lt;b&gt;map of `x` is $5$: none.")
    assert captions == [f'<p class="figure-caption">{text}</p>' for text in shown]


def test_a_figure_is_written_as_svg_where_it_has_one(tmp_path) -> None:
    drawn = image("Two bars.")
    drawn["data"]["image/svg+xml"] = ["<svg>\n", "</svg>"]
    written = [picture.write(tmp_path, "a") for picture in pictures(notebook(new_code_cell("show()", outputs=[image("A face."), drawn])))]
    assert written == ["a.png", "a.svg"]
    assert [(tmp_path / file).read_bytes() for file in written] == [b"\x89PNG", b"<svg>\n</svg>"]


def test_tables_are_numbered_and_their_expressions_have_swatches() -> None:
    table = pd.DataFrame({"n": [1, 2]}, index=["angry", "angry one"])
    tables = [new_output("display_data", data={"text/html": html_table(captioned(table, what))}) for what in ("Faces", "Cells")]
    given = notebook(new_markdown_cell("## 1. How many?"), new_code_cell("table", outputs=tables))
    first, second = (output["data"]["text/html"] for output in make_page(given, name="a")["cells"][2]["outputs"])
    of_sphinx = '<table class="table"><caption><span class="caption-text">Runs.</span></caption></table>'
    mended = mend_page(first + of_sphinx + second)
    assert re.findall(r"<caption>.*?</caption>|aria-label=\S+ \d+", mended) == [
        'aria-label="Table 1',
        "<caption>Table 1. Faces.</caption>",
        '<caption><span class="caption-text">Table 2. Runs.</span></caption>',
        'aria-label="Table 3',
        "<caption>Table 3. Cells.</caption>",
    ]
    assert re.findall(r"(<span[^>]*></span>)?(angry[^<]*)</th>", first) == [
        (f'<span class="swatch" style="background: {INKS["angry"]}"></span>', "angry"),
        ("", "angry one"),
    ]
    assert "swatch" not in given["cells"][2]["outputs"][0]["data"]["text/html"]


def test_a_table_without_caption_is_named() -> None:
    table = pd.DataFrame({"n": [1]})
    shown = {"bare": table, "told": captioned(table, "Faces")}
    cells = [new_code_cell("", id=name, outputs=[new_output("display_data", data={"text/html": html_table(of)})]) for name, of in shown.items()]
    assert missing_captions(notebook(*cells)) == ["bare"]


def test_folds_and_buttons_have_names_that_hold_what_they_show() -> None:
    cell = '<summary aria-label="Toggle hidden content">\n<p>Show code</p></summary>'
    arrow = '<a href="a.html">five_layer</a><details open="open"><summary><span class="toctree-toggle" role="presentation"><i></i></span></summary>'
    keys = '<button aria-label="Search">Search <span class="search-button__kbd-shortcut"><kbd>K</kbd></span></button>'
    mended = mend_page(cell + arrow + keys)
    assert '<button aria-label="Search">Search </button>' in mended
    assert mended.startswith("<summary>\n<p>Show code")
    assert '<summary aria-label="Pages of five_layer"><span' in mended


def test_the_notebook_given_is_left_as_it_was() -> None:
    given = notebook(new_code_cell("show()", outputs=[image("Two bars.")]))
    make_page(given, name="a", close="end")
    assert "mystnb" not in given["cells"][1]["metadata"]
    assert given["cells"][0]["source"].startswith("# Evaluate\n")


def test_two_figures_in_a_cell_are_named_for_they_would_share_their_alt_text() -> None:
    assert missing_alt_text(notebook(new_code_cell("show()", id="both", outputs=[image("First."), image("Second.")]))) == ["both"]


def test_a_figure_without_alt_text_is_named_and_never_chosen() -> None:
    given = notebook(new_code_cell("show()", id="bare", outputs=[image(None)]), new_code_cell("show()", outputs=[image("A face.")]))
    assert missing_alt_text(given) == ["bare"]
    assert [picture.alt for picture in pictures(given)] == ["A face."]


def test_the_most_wanted_picture_comes_first() -> None:
    given = notebook(*(new_code_cell("", outputs=[image(alt)]) for alt in ("Bars.", "Confusion matrix.", "Occlusion map.")))
    assert pick_picture(given, "grad-?cam", "occlusion").alt == "Occlusion map."
    assert pick_picture(given, "nothing like it").alt == "Bars."
    assert pick_picture(notebook()) is None


def test_title_names_the_run_and_the_lead_follows_it() -> None:
    source = make_page(notebook(), name="five_layer", lead="LEAD")["cells"][0]["source"]
    assert source == "# Evaluate (five_layer)\n\nLEAD\n\nHow good?"


def test_markdown_without_text_is_not_shown_as_the_repr_of_its_object() -> None:
    empty, told = (
        new_output("display_data", data={"text/markdown": text, "text/plain": "<IPython.core.display.Markdown object>"}) for text in ("", "It is.")
    )
    page = make_page(notebook(new_markdown_cell("## 1. Is it?"), new_code_cell("tell()", outputs=[empty, told, image("Two bars.")])), name="a")
    assert [next(iter(output["data"].values())) for output in page["cells"][2]["outputs"][:2]] == ["It is.", PNG]


def test_set_up_is_excluded_and_other_code_is_folded() -> None:
    page = make_page(
        notebook(
            new_code_cell("run = None", metadata={"tags": ["parameters"]}),
            new_code_cell("import numpy"),
            new_markdown_cell("## 1. How good?"),
            new_code_cell("table"),
        ),
        name="a",
    )
    tags = [cell["metadata"]["tags"] for cell in page["cells"] if cell["cell_type"] == "code"]
    assert tags == [["parameters", "remove-input"], ["remove-input"], ["hide-input"]]
