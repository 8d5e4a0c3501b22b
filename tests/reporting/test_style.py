from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ferlab.colours import COLOURS, INKS
from ferlab.data.faces import content_hash
from ferlab.expressions import CONTEMPT, EXPRESSIONS
from ferlab.remains import Traces, search
from ferlab.reporting import style

RANDOM = np.random.default_rng(0)
FACE = RANDOM.integers(0, 256, (48, 48), np.uint8)


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


def line_and_picture(picture: np.ndarray) -> Figure:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot([1, 3, 2], "o", color="#222222")
    left.set_xlabel("height of a bar", fontsize=8)
    right.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure


SHOW_ONE = """
import hashlib, numpy as np
from matplotlib.figure import Figure
from ferlab.reporting import style
style.use_style()
style.display = lambda data, **_: print({kind: hashlib.sha256(shown.encode()).hexdigest() for kind, shown in data.items()})
figure = Figure()
axes = figure.subplots()
axes.plot([1, 3, 2], "o", label="a line")
axes.scatter(np.arange(3000), np.arange(3000))
axes.legend()
style.show(figure, alt="A line that goes up and down.")
"""


def test_two_processes_give_the_same_bytes():
    run = partial(subprocess.run, [sys.executable, "-c", SHOW_ONE], capture_output=True, text=True, check=True)
    first, second = (run(env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in "12")
    assert "image/svg+xml" in first
    assert first == second


def test_an_svg_holds_text_as_text_and_no_date(shown):
    style.show(line_and_picture(FACE), alt="A line beside a face of noise.")
    svg = shown[0][0]["image/svg+xml"]
    assert re.search(r"<text [^>]*>height of a bar</text>", svg)
    assert "metadata" not in svg
    assert not re.search(r"\d{4}-\d\d-\d\d|[Mm]atplotlib v", svg)


def test_a_face_in_an_svg_has_its_own_size_and_grey_levels(shown):
    style.show(line_and_picture(FACE), alt="A line beside a face of noise.")
    (inside,) = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", shown[0][0]["image/svg+xml"])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(inside))))
    assert pixels.shape == FACE.shape
    assert np.abs(pixels.astype(int) - FACE).max() <= 1  # matplotlib's colour map rounds


def test_a_colour_face_in_an_svg_is_found_when_its_person_is_forgotten(shown, tmp_path: Path):
    face = RANDOM.integers(0, 256, (48, 48, 3), np.uint8)
    style.show(line_and_picture(face), alt="A line beside a face of noise.")
    svg = shown[0][0]["image/svg+xml"]
    (tmp_path / "a.svg").write_text(svg)
    assert search([tmp_path], Traces(frozenset(), frozenset(), frozenset({content_hash(face)}))).found


@pytest.mark.parametrize(("marks", "pictures"), [(500, 0), (5000, 2)])
def test_marks_by_the_thousand_are_one_picture(shown, marks, pictures):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.scatter(*RANDOM.random((2, marks)))
    right.plot(*RANDOM.random((2, marks)), "s")
    style.show(figure, alt="Two clouds of points, of the same size.")
    svg = shown[0][0]["image/svg+xml"]
    assert svg.count("<image") == pictures
    assert (svg.count("<use") >= 2 * marks) is (pictures == 0)


@pytest.mark.parametrize(("side", "drawn"), [(48, True), (600, False)])
def test_what_is_too_large_for_a_page_is_a_picture_alone(shown, side, drawn):
    style.show(line_and_picture(RANDOM.random((side, side, 3))), alt="A line beside a picture of noise.")
    data = shown[0][0]
    assert ("image/svg+xml" in data) is drawn
    assert len(data.get("image/svg+xml", "")) <= style.LARGEST_DRAWING


def test_the_width_that_the_smallest_text_needs_stands_beside_the_alt_text(shown):
    figure = line_and_picture(FACE)
    style.show(figure, alt="A line beside a face of noise.")
    data, options = shown[0]
    inches = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).width / figure.dpi
    assert options["metadata"]["image/png"]["least_width"] == pytest.approx(inches * 72 * 9 / 8, abs=2)


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
