from __future__ import annotations

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.calibration import reliability_bins
from ferlab.reporting.pages.evaluate import plot_confusions, plot_per_class, plot_reliability
from ferlab.reporting.style import COLOURS

NAMES = ["angry", "happy", "sad"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def confusions() -> pd.DataFrame:
    return pd.DataFrame([[6, 3, 1], [0, 1200, 0], [0, 0, 0]], index=NAMES, columns=NAMES)


def per_class() -> dict:
    values = {"recall": 0.5, "precision": 0.25, "f1": 0.333}
    bounds = {f"{key}_ci_{side}": values[key] + step for key in values for side, step in (("low", -0.1), ("high", 0.1))}
    absent = dict.fromkeys((*values, *bounds))
    return {"angry": {**values, **bounds, "support": 10}, "happy": {**values, **bounds, "support": 1200}, "sad": {**absent, "support": 0}}


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_confusions_show_counts_and_shares_of_each_row_side_by_side():
    left, right = plot_confusions(confusions()).axes
    assert texts(left) == ["6", "3", "1", "0", "1,200", "0", "0", "0", "0"]
    assert texts(right) == ["60", "30", "10", "0", "100", "0", "0", "0", "0"]
    assert (left.get_ylabel(), left.get_xlabel()) == ("actual", "predicted")
    assert [label.get_text() for label in left.get_xticklabels()] == NAMES


def test_numbers_stand_out_from_their_cell():
    axis = plot_confusions(confusions()).axes[1]
    cells = axis.collections[0].get_facecolors()
    for text, cell in zip(axis.texts, cells, strict=True):
        assert contrast(matplotlib.colors.to_rgb(text.get_color()), cell[:3]) > 4.5


def contrast(one, other) -> float:
    def luminance(rgb):
        linear = np.where(np.array(rgb) <= 0.03928, np.array(rgb) / 12.92, ((np.array(rgb) + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_per_class_dots_are_in_their_colours_with_bounds_most_faces_on_top():
    axes = plot_per_class(per_class()).axes
    assert [axis.get_title() for axis in axes] == ["recall", "precision", "F1"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["sad (0)", "angry (10)", "happy (1,200)"]
    dots = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert [line.get_color() for line in dots] == [COLOURS["angry"], COLOURS["happy"]]
    spans = [line.get_xdata() for line in axes[0].lines if line.get_marker() == "None"]
    np.testing.assert_allclose(spans[0], [40, 60])
    assert texts(axes[0]) == ["undefined"]


def test_reliability_shows_filled_bins_and_counts_every_face():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=300)
    bins = reliability_bins(rng.integers(0, 3, 300), probs)
    top, bottom = plot_reliability(bins).axes
    assert len(top.containers[0].lines[0].get_xdata()) == (bins["faces"] > 0).sum()
    assert sum(bar.get_height() for bar in bottom.patches) == 300
