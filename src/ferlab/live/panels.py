"""The look of the live panels: a widget that carries the style, and small pieces of HTML. Texts from outside are escaped here."""

from __future__ import annotations

import base64
import html
import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython.utils.capture import RichOutput, capture_output
from PIL import Image

from ferlab.colours import COLOURS
from ferlab.paths import InputError

STATIC = Path(__file__).parent / "static"
KINDS = ("plain", "warning", "error", "done")
LOG = logging.getLogger(__name__)


@cache
def style() -> str:
    """Return the stylesheet of all panels."""
    return (STATIC / "ferlab.css").read_text(encoding="utf-8")


class Panel(widgets.VBox):
    """A box with the panels' style; its children stand below each other. `Row` and `Buttons` lie inside one."""

    def __init__(self, children: Sequence[widgets.Widget], **options: Any) -> None:
        super().__init__([widgets.HTML(f"<style>{style()}</style>", layout={"display": "none"}), *children], **options)
        self.add_class("fl-panel")


def row(*children: widgets.Widget) -> widgets.Box:
    """Return a box whose children stand side by side, below each other on a narrow page."""
    box = widgets.Box(list(children))
    box.add_class("fl-row")
    return box


def button(text: str, function: Callable[[], Any], *, style: str = "") -> widgets.Button:
    """Return a button that calls a function; `style` as `button_style` of ipywidgets."""
    made = widgets.Button(description=text, button_style=style)
    made.on_click(lambda _: function())
    return made


def buttons(*children: widgets.Widget) -> widgets.Box:
    """Return a row of buttons and controls that wraps."""
    box = widgets.Box(list(children))
    box.add_class("fl-buttons")
    return box


def live_region(*, urgent: bool = False) -> widgets.HTML:
    """Return a place for results that a screen reader reads out when it changes: set its `value` by `announce`."""
    place = widgets.HTML()
    place.urgent = urgent
    announce(place, "")
    return place


def announce(place: widgets.HTML, content: str) -> None:
    """Put a piece of HTML into a live region."""
    how = "assertive" if getattr(place, "urgent", False) else "polite"
    place.value = f'<div role="status" aria-live="{how}">{content}</div>'


def attempt(act: Callable[[], Any], place: widgets.HTML, *, what: str) -> None:
    """Run an act, and put its error into a live region: raised in a callback, it would reach the log alone, where `what` names it."""
    try:
        act()
    except InputError as error:
        announce(place, note(error, "error"))
    except Exception as error:
        LOG.exception(what)
        announce(place, note(f"{type(error).__name__}: {error}", "error"))


def png_uri(picture: bytes | np.ndarray | Image.Image) -> str:
    """Return a picture as a PNG in the address of an image: the file's content, uint8 (H, W) or (H, W, 3), or an image."""
    if not isinstance(picture, bytes):
        file = io.BytesIO()
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, format="PNG")
        picture = file.getvalue()
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def bars(probs: np.ndarray, expressions: Sequence[str], *, ordered: bool = False, digits: int = 0) -> str:
    """Return bars of probabilities, (K,), in the colours of the expressions.

    Args:
        probs: In [0, 1], in the order of `expressions`.
        expressions: K names.
        ordered: Whether the most probable stands first.
        digits: Decimals of a percentage.
    """
    places = np.argsort(-np.asarray(probs), kind="stable") if ordered else range(len(expressions))
    top = int(np.argmax(probs))
    rows = [_bar(expressions[place], float(probs[place]), digits=digits, first=place == top) for place in places]
    return f'<div class="fl-bars">{"".join(rows)}</div>'


def _bar(name: str, value: float, *, digits: int, first: bool) -> str:
    emphasis = ' class="fl-top"' if first else ""
    fill = f'<div class="fl-fill" style="width:{100 * value:.1f}%;background:{COLOURS.get(name, "#888")}"></div>'
    track = f'<div class="fl-track" aria-hidden="true">{fill}</div>'
    return f"<span{emphasis}>{html.escape(name)}</span>{track}<span{emphasis}>{100 * value:.{digits}f} %</span>"


def prose(text: object) -> str:
    """Return a text, escaped; what stands between backticks is shown as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(str(text)))


def note(text: object, kind: str = "plain") -> str:
    """Return a line of text, as `prose`; kind is one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"Expected kind in {KINDS}, got {kind!r}")
    role = ' role="alert"' if kind == "error" else ""
    return f'<div class="fl-note fl-{kind}"{role}>{prose(text)}</div>'


def facts(values: Mapping[str, object]) -> str:
    """Return names and values side by side, escaped; on a narrow page each value stands below its name."""
    rows = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in values.items())
    return f'<dl class="fl-facts">{"".join(rows)}</dl>'


def quiet(text: object) -> str:
    """Return a line of less important text, as `prose`."""
    return f'<p class="fl-quiet">{prose(text)}</p>'


def large(text: object) -> str:
    """Return a line in large letters, escaped."""
    return f'<div class="fl-large">{html.escape(str(text))}</div>'


def table(frame: pd.DataFrame, *, caption: str) -> str:
    """Return a table that scrolls by itself on a narrow page, cells escaped; the caption is for screen readers."""
    content = frame.to_html(index=False, classes="fl-table", border=0, escape=True)
    head, rest = content.split(">", 1)
    return f'<div class="fl-scroll" tabindex="0">{head}><caption class="fl-unseen">{html.escape(caption)}</caption>{rest}</div>'


def swatch(expression: str) -> str:
    """Return a small square in the colour of an expression."""
    return f'<span class="fl-swatch" style="background:{COLOURS.get(expression, "#888")}" aria-hidden="true"></span>'


def displayed(act: Callable[..., None], *arguments: Any) -> widgets.Output:
    """Call a function that displays a page, and return that as a widget; its pictures have their alternative texts, which JupyterLab drops."""
    with capture_output() as seen:
        act(*arguments)
    return widgets.Output(outputs=tuple(_with_alt(one) for one in seen.outputs))


def _with_alt(shown: RichOutput) -> dict[str, Any]:
    data, alt = dict(shown.data), (shown.metadata or {}).get("image/png", {}).get("alt", "")
    if "image/png" in data and alt:
        source = f"data:image/png;base64,{data['image/png'].strip()}"
        data = {"text/html": f'<img class="fl-figure" src="{source}" alt="{html.escape(alt)}">', "text/plain": alt}
    return {"output_type": "display_data", "data": data, "metadata": {}}
