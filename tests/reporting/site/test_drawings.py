"""Figures inline: every colour stands out in both themes, every text can be read, no id is there twice."""

from __future__ import annotations

import re

import numpy as np
import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS, SPLIT_COLOURS, contrast
from ferlab.reporting import style
from ferlab.reporting.site.drawings import DARK, WHITE, draw, inline_drawings, least_class, legible

LIGHT_DARK = re.compile(r"light-dark\((#\w{6}), (#\w{6})\)")


def svg_of(paint) -> str:
    """Return what `show` makes of a figure that `paint` draws."""
    shown: list = []
    with plt.rc_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "display", lambda data, **_: shown.append(data["image/svg+xml"]))
        style.use_style()
        figure = Figure()
        paint(figure.subplots())
        style.show(figure, alt="A figure that a test has drawn.")
    return shown[0]


def drawn(paint) -> str:
    return draw(svg_of(paint), "A figure", least=600, name="a")


def styles(html: str, tag: str, key: str) -> list[str]:
    return re.findall(rf'<{tag} [^>]*style="[^"]*?\b{key}: ([^;"]+)', html)


def test_text_axes_and_grid_have_the_colours_of_the_page() -> None:
    html = drawn(lambda axes: axes.set(xlabel="length", title="A title"))
    assert set(styles(html, "text", "fill")) == {"currentColor"}
    assert set(styles(html, "path", "stroke")) == {"currentColor", "var(--drawing-line)"}
    assert set(styles(html, "path", "fill")) <= {"none", "var(--drawing-ground)"}
    assert "#ffffff" not in html


def test_words_can_be_found_and_leading_spaces_stay() -> None:
    html = drawn(lambda axes: axes.set(xlabel=" length < 5 & more"))
    assert "> length &lt; 5 &amp; more</text>" in html


def test_what_stands_in_a_cell_keeps_the_colour_chosen_for_it() -> None:
    html = drawn(lambda axes: sns.heatmap(np.eye(2), ax=axes, annot=[["one", "two"], ["three", "four"]], fmt="", cmap="Blues", cbar=False))
    cells = {text: colour for colour, text in re.findall(r'<text style="[^"]*fill: ([^;"]+)"[^>]*>(one|two)</text>', html)}
    assert cells["one"] == "#ffffff"
    assert cells["two"] != "currentColor"
    assert {"#08306b", "#f7fbff"} <= set(styles(html, "path", "fill"))


def test_black_white_and_grey_marks_keep_their_contrast_on_dark() -> None:
    html = drawn(lambda axes: [axes.barh([place], [1], color=colour) for place, colour in enumerate(("black", "white", "#949494", "#d0d0d0"))])
    fills = styles(html, "path", "fill")
    assert "light-dark(#000000, #ffffff)" in fills
    assert "var(--drawing-ground)" in fills
    (grey,) = [found for fill in fills if (found := LIGHT_DARK.match(fill)) and found[1] == "#d0d0d0"]
    assert contrast(grey[2], DARK) == pytest.approx(contrast("#d0d0d0", WHITE), abs=0.05)
    assert "#949494" in fills  # stands out on both


@pytest.mark.parametrize("colour", sorted({*COLOURS.values(), *INKS.values(), *SPLIT_COLOURS.values()}))
def test_colours_of_the_house_stand_out_from_the_dark_ground(colour: str) -> None:
    html = drawn(lambda axes: (axes.plot([1, 2], [1, 2], "o-", color=colour), axes.text(1, 1, "a word", color=colour)))
    (word,) = re.findall(r'fill: ([^;"]+)"[^>]*>a word', html)
    light, dark = LIGHT_DARK.match(word).groups() if LIGHT_DARK.match(word) else (word, word)
    assert contrast(light, WHITE) >= 4.5
    assert contrast(dark, DARK) >= 4.5
    line = next(stroke for stroke in styles(html, "path", "stroke") if stroke.startswith((colour.lower(), f"light-dark({colour.lower()}")))
    assert contrast(LIGHT_DARK.sub(r"\2", line), DARK) >= 3


def test_a_colour_that_stands_out_stays_and_none_goes_past_white() -> None:
    assert legible("#e69f00", DARK, 4.5) == "#e69f00"
    assert legible("#14181e", DARK, 17.5) == "#ffffff"


def test_every_reference_resolves_and_two_drawings_share_no_id(tmp_path) -> None:
    (tmp_path / "a.svg").write_text(svg_of(lambda axes: axes.scatter([1, 2], [3, 4])))
    image = f'<img alt="Two points" class="{least_class(600)}" src="a.svg"/>'
    page = inline_drawings(image + image, tmp_path)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) >= 4
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) <= {(name, "") for name in ids} | {("", name) for name in ids}
    assert page.count('role="img"') == page.count('aria-label="Two points"') == 2


def test_a_picture_keeps_its_width_and_other_images_stay(tmp_path) -> None:
    other = '<img alt="A logo" src="logo.svg"/>'
    page = inline_drawings(f'<img alt="Faces" class="{least_class(600)}" src="a.png"/>{other}', tmp_path)
    assert re.match(r'<div class="drawing-box"><img style="min-width: calc\(600px [^"]*" alt="Faces" class="least-600" src="a.png"/></div>', page)
    assert page.endswith(other)


def test_a_drawing_never_becomes_narrower_than_its_text_needs() -> None:
    assert "min-width: 600px" in drawn(lambda axes: axes.plot([1, 2]))
