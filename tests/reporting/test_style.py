from __future__ import annotations

import base64

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS
from ferlab.expressions import CONTEMPT, EXPRESSIONS
from ferlab.reporting import style


@pytest.fixture
def shown(monkeypatch) -> list:
    calls: list = []
    monkeypatch.setattr(style, "display", lambda data, **options: calls.append((data, options)))
    return calls


@pytest.mark.parametrize("make", [Figure, plt.figure])
def test_a_figure_is_shown_as_png_with_its_alt_text_however_it_was_made(shown, make):
    style.show(make(), alt="An empty figure of no axes.")
    data, options = shown[0]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert options["metadata"]["image/png"]["alt"] == data["text/plain"] == "An empty figure of no axes."
    assert not plt.get_fignums()


def test_alt_text_that_says_nothing_is_refused(shown):
    with pytest.raises(ValueError, match="alt text"):
        style.show(Figure(), alt="figure")
    assert not shown


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 3, 2])
        style.show(figure, alt="A line that goes up and down.")
    assert shown[0] == shown[1]


def test_a_name_with_dollars_is_no_formula(shown):
    with plt.rc_context():
        style.use_style()
        figure = plt.figure()
        axes = figure.subplots()
        axes.set(title="price $5_$ a.png", xlabel="$", xticks=[0, 1], xticklabels=["$x_$", "b"], xscale="linear")
        axes.plot([0, 1], label="$5_$")
        axes.legend()
        style.show(figure, alt="A line with names that hold dollars.")
    assert shown


def test_every_expression_has_a_colour_of_its_own():
    assert set(COLOURS) == {*EXPRESSIONS, CONTEMPT}
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_names_of_expressions_are_legible_on_white():
    assert list(INKS) == list(COLOURS)
    linear = {name: [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(ink)] for name, ink in INKS.items()}
    contrast = {name: 1.05 / (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05) for name, (r, g, b) in linear.items()}  # WCAG 2.1
    assert min(contrast.values()) >= 4.5


def test_a_name_with_dollars_is_drawn_as_it_is() -> None:
    with plt.rc_context():
        style.use_style()
        figure, axes = plt.subplots()
        axes.set_title("price $5_$ s0000_000006.png")
        figure.canvas.draw()
        plt.close(figure)


def test_text_and_tables_are_shown_in_order_and_nothing_for_what_is_empty(capsys):
    style.present("**Found.**", None, "", pd.DataFrame({"n": []}), pd.DataFrame({"n": [7]}))
    shown = capsys.readouterr().out.splitlines()
    assert "Markdown" in shown[0]
    assert shown[1].split() == ["n"]
    assert shown[2].split() == ["0", "7"]
    assert len(shown) == 3
