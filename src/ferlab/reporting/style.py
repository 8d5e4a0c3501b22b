"""One look for every figure: the colours of `ferlab.colours`, quiet axes, legible on light and dark pages."""

from __future__ import annotations

import base64
import io
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.typing import ColorType
from PIL import Image

from ferlab.colours import PAGE_INK, PAGE_LINE, contrast
from ferlab.reporting.html_tables import html_table

MOST_MARKS = 1000  # of an artist that an SVG draws one by one
RASTER_DPI = 144  # of marks in an SVG that are one picture
LARGEST_DRAWING = 300_000  # characters of an SVG
LEAST_TEXT = 9  # CSS pixels, on a phone
OPAQUE = 255
PICTURE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=]+)")
NO_MARKER = ("None", "none", " ", "", None)


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
            "grid.color": PAGE_LINE,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), PAGE_INK),
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
    least = _least_width(figure, Image.open(picture))
    data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": alt}
    if drawing := _draw(figure):
        data["image/svg+xml"] = drawing
    display(data, raw=True, metadata={"image/png": {"alt": alt, "least_width": least}})
    plt.close(figure)


def _draw(figure: Figure) -> str:
    """Return a figure as SVG whose text is text, "" where that is too large for a page. The same figure gives the same bytes.

    Marks by the thousand become one picture; a face is stored at its own size and enlarged by the reader's browser.
    """
    for artist in figure.findobj():
        artist.set_rasterized(artist.get_rasterized() or _marks(artist) > MOST_MARKS)
        if isinstance(artist, AxesImage) and artist.get_interpolation() == "nearest" and artist.get_size()[0] < artist.get_window_extent().height:
            artist.set_interpolation("none")
    drawing = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ferlab"}):
        figure.savefig(drawing, format="svg", bbox_inches="tight", dpi=RASTER_DPI, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = PICTURE.sub(_packed, drawing.getvalue())
    return svg if len(svg) <= LARGEST_DRAWING else ""


def _least_width(figure: Figure, picture: Image.Image) -> int:
    """Return the width in CSS pixels, rounded up, at which the smallest text of a figure's picture can still be read; 0 without text."""
    written = [text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return math.ceil(LEAST_TEXT / min(written) * picture.width * 72 / round(picture.info["dpi"][0])) + 1 if written else 0


def _marks(artist: Artist) -> int:
    """Return how many marks an artist draws one by one."""
    if isinstance(artist, Collection):
        return max(len(artist.get_offsets()), len(artist.get_paths()))
    return len(artist.get_xdata()) if isinstance(artist, Line2D) and artist.get_marker() not in NO_MARKER else 0


def _packed(found: re.Match[str]) -> str:
    """Return a picture inside an SVG on one line, where `ferlab.remains` finds it, and without channels that say nothing."""
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    red, green, blue, opacity = (np.asarray(channel) for channel in picture.convert("RGBA").split())
    if (opacity == OPAQUE).all():
        picture = picture.convert("L" if (red == green).all() and (green == blue).all() else "RGB")
    packed = io.BytesIO()
    picture.save(packed, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"


def readable_on(colour: ColorType) -> str:
    """Return black or white, whichever stands out more from a colour (WCAG 2 contrast; seaborn's own choice falls to 3.2 on mid blue)."""
    ground = to_hex(colour)
    return "black" if contrast("#000000", ground) > contrast("#ffffff", ground) else "white"


def present(*parts: str | pd.DataFrame | None) -> None:
    """Display Markdown text and tables in order; None, empty text and tables without rows are not shown."""
    for part in parts:
        if isinstance(part, pd.DataFrame) and len(part):
            display(part)
        elif isinstance(part, str) and part:
            display(Markdown(part))
