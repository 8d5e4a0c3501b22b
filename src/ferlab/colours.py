"""One colour per expression and per split, in figures, pages and the browser alike; safe for colour-blind readers, legible on light and dark.

References:
    Okabe & Ito (2008), Color Universal Design: the palette (its pale yellow darkened so that lines show on white).
"""

from __future__ import annotations

COLOURS: dict[str, str] = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#6B6B6B",
    "contempt": "#8C6D1F",
}
# For words: the same hues, dark enough for small letters on white (contrast 4.5, WCAG 2.1).
INKS: dict[str, str] = {
    "angry": "#C05500",
    "disgust": "#008561",
    "fear": "#A26084",
    "happy": "#9C6C00",
    "sad": "#0072B2",
    "surprise": "#3A7B9F",
    "neutral": "#6B6B6B",
    "contempt": "#8C6D1F",
}
SPLIT_COLOURS: dict[str, str] = {"train": "#6B6B6B", "val": "#0072B2", "test": "#D55E00", "test_dedup": "#009E73"}
# Of text, axes and grids, and of nothing else in a figure: pages of the site give them the colours of the reader's theme.
PAGE_INK = "#222832"
PAGE_LINE = "#E3E3E3"
REFERENCE = "#949494"  # of lines that marks are compared with, as chance, a mean or zero; contrast 3 on white


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2.1).

    Args:
        colour: "#rrggbb".
    """
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours "#rrggbb", 1 to 21 (WCAG 2.1).

    >>> contrast("#000000", "#FFFFFF")
    21.0
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
