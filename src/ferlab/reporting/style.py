"""One look for every figure: the colours of `ferlab.colours`, quiet axes, legible on light and dark pages."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from ferlab.reporting.html_tables import html_table


def use_style() -> None:
    """Set the notebooks' defaults: white ground, quiet axes, 120 dpi, text of at least 9 points; tables as `html_table`."""
    pd.set_option("display.max_colwidth", None, "display.max_rows", 120)
    if (shell := get_ipython()) is not None:
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, html_table)
    mpl.rcParams.update(
        {
            "figure.dpi": 120,
            "savefig.dpi": 120,
            "figure.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E3E3E3",
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "image.cmap": "gray",
            "text.parse_math": False,  # names of files and people hold dollars; no figure of ours holds a formula
        }
    )


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its alt text and close it.

    Args:
        figure: What to show.
        alt: What a reader who cannot see the figure should know, one or two sentences with the numbers that matter.

    Raises:
        ValueError: If `alt` is shorter than 20 characters.
    """
    if len(alt) < 20:
        raise ValueError(f"Expected alt text that describes the figure, got {alt!r}")
    # Drawn here and not by the inline backend: that one may be absent, and writes its own version into the picture.
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", metadata={"Software": None})
    data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": alt}
    display(data, raw=True, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def present(*parts: str | pd.DataFrame | None) -> None:
    """Display Markdown text and tables in order; None, empty text and tables without rows are not shown."""
    for part in parts:
        if isinstance(part, pd.DataFrame) and len(part):
            display(part)
        elif isinstance(part, str) and part:
            display(Markdown(part))
