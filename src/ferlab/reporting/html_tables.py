"""A table as notebooks show it: its caption, its box that scrolls, and how its cells are written."""

from __future__ import annotations

import hashlib
import html
import re
from typing import Any

import numpy as np
import pandas as pd

from ferlab.reporting.tables import CAPTION, MISSING

DOTS = "⋮"
NUMBER = re.compile(r"[-+−(<±]?\s*[\d.]|[-–]?$")  # how a cell that stands right begins
LONG = 40  # characters; a column with longer cells wraps
END_ROWS = 60  # at either end of a table that is longer than both
PLAIN = ("seed", "year", "target", "duplicate_group")  # columns of integers that are no counts
RATES = ("lr",)  # columns of floats over several orders of magnitude


def html_table(table: pd.DataFrame) -> str:
    """Return a table as HTML in a box that scrolls, by keyboard too (WCAG 2.1.1): words stand left, numbers right, long texts wrap.

    The names of the index stand in the row of headings. Cells are escaped; floats have the fewest digits that show them, at most four. Between
    the first and the last `END_ROWS` rows a longer table has a row of dots.
    """
    texts = table.astype(object)
    for place, name in enumerate(table.columns):
        texts.isetitem(place, _texts(table.iloc[:, place], name=name))
    if not any(texts.columns.names) and any(texts.index.names):
        named = ", ".join(map(str, texts.index.names))
        texts.index.names, texts.columns.names = [None] * texts.index.nlevels, [named, *[None] * (texts.columns.nlevels - 1)]
    styles = [{"selector": f".col{place}", "props": _alignment(texts.iloc[:, place])} for place in range(texts.shape[1])]
    texts = _ends(texts)
    styler = texts.style.set_uuid(hashlib.sha256(texts.to_csv().encode()).hexdigest()[:8])
    styler.cell_ids = False
    styler = styler.format(escape="html").format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    if CAPTION in table.attrs:
        styler.set_caption(html.escape(table.attrs[CAPTION]))
    styled = styler.set_table_styles([style for style in styles if style["props"]]).to_html(max_rows=len(texts))
    return f'<div class="table-box" tabindex="0" role="region" aria-label="Table">{styled}</div>'


def _ends(texts: pd.DataFrame) -> pd.DataFrame:
    """Return the first and the last rows of a long table with a row of dots between them, a short one as it is."""
    if len(texts) <= 2 * END_ROWS:
        return texts
    shown = pd.concat([texts.iloc[: END_ROWS + 1], texts.iloc[-END_ROWS:]])
    shown.iloc[END_ROWS] = DOTS
    keys = [*shown.index]
    keys[END_ROWS] = (DOTS,) * texts.index.nlevels if texts.index.nlevels > 1 else DOTS
    return shown.set_axis(pd.Index(keys).set_names(texts.index.names))


def _texts(column: pd.Series, *, name: Any) -> list[str]:
    """Return the cells of a column: counts with commas, floats with the same number of digits, a dash for what is missing."""
    floats = column.astype(float).dropna() if pd.api.types.is_float_dtype(column) else pd.Series(dtype=float)
    if name in RATES:
        return [MISSING if value != value else f"{value:.2e}" for value in column]
    digits = next((digits for digits in range(4) if (floats - floats.round(digits)).abs().max() < 1e-6), 4)
    return [MISSING if value is None or value is pd.NA or value != value else _text(value, digits=digits, plain=name in PLAIN) for value in column]


def _text(value: Any, *, digits: int, plain: bool) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:z,.{digits}f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2g}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and not plain:
        return f"{value:,}"
    return str(value).replace(" %", "\N{NO-BREAK SPACE}%")


def _alignment(texts: pd.Series) -> str:
    """Return the CSS of a column of words; "" for one of numbers, which stand right."""
    if all(NUMBER.match(text) for text in texts):
        return ""
    return "text-align: left" + ("; min-width: 18rem; white-space: normal" if texts.str.len().max() > LONG else "")
