"""Two small widgets that ipywidgets lacks: a time line of expressions on a canvas, and a button that downloads a table in parts."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ferlab.colours import COLOURS
from ferlab.deployment.smoothing import Segment

STATIC = Path(__file__).parents[1] / "static"
PART = 256_000  # bytes of a message: a Jupyter server lets 1 MB a second pass
NAMED = 4  # segments of a face that the time line names to a screen reader


class ExpressionTimeLine(anywidget.AnyWidget):
    """A lane of coloured segments per face; it moves on by the page's clock between two calls of `show`.

    Attributes:
        lanes: Of each face its number, whether it is visible now, and its segments: start, end, place of the expression, confidence.
        now: Seconds at the right edge.
        span: Seconds that are shown.
        moving: Whether time goes on.
        words: The same for a screen reader.
    """

    _esm = STATIC / "timeline.js"
    lanes = traitlets.List().tag(sync=True)
    expressions = traitlets.List().tag(sync=True)
    colours = traitlets.Dict(dict(COLOURS)).tag(sync=True)
    now = traitlets.Float(0.0).tag(sync=True)
    span = traitlets.Float(60.0).tag(sync=True)
    moving = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Unicode("Time line of expressions: nothing yet.").tag(sync=True)

    def show(self, faces: Sequence[tuple[int, bool, Sequence[Segment]]], *, now: float, moving: bool) -> None:
        """Show faces (number, whether visible, segments in order of time) up to `now`."""
        since = now - self.span
        recent = [(face, visible, [segment for segment in segments if segment.end >= since]) for face, visible, segments in faces]
        recent = [(face, visible, segments) for face, visible, segments in recent if segments]
        with self.hold_sync():
            self.lanes = [
                {"face": face, "visible": visible, "segments": [[each.start, each.end, each.label, round(each.confidence, 3)] for each in segments]}
                for face, visible, segments in recent
            ]
            self.now, self.moving = now, moving
            self.words = (
                "Time line of expressions: " + ("; ".join(self._words(face, segments) for face, _, segments in recent) or "nothing yet") + "."
            )

    def _words(self, face: int, segments: Sequence[Segment]) -> str:
        last = [f"{self.expressions[each.label]} from {each.start:.0f} to {each.end:.0f} s" for each in segments[-NAMED:]]
        return f"face {face}: {', '.join(last)}"


class TableDownload(anywidget.AnyWidget):
    """A button that makes a file of the kernel's lines in the browser; nothing is written on this side.

    Attributes:
        words: On the button.
        ready: Whether there is something to download.
    """

    _esm = STATIC / "download.js"
    words = traitlets.Unicode().tag(sync=True)
    ready = traitlets.Bool(False).tag(sync=True)

    def __init__(self, lines: Callable[[], Iterable[str]], name: str | Callable[[], str], **options: Any) -> None:
        """Make a button.

        Args:
            lines: Called at a click; its lines, with their ends, are the file.
            name: Of the file.
            options: `words`, `ready`.
        """
        super().__init__(**options)
        self._lines, self._name = lines, name
        self._packed, self._rows = b"", 0
        self.on_msg(lambda _, content, __: self._answer(content))

    def _answer(self, content: dict[str, Any]) -> None:
        part = int(content.get("part", 0))
        try:
            if part == 0:
                text = list(self._lines())
                self._packed, self._rows = gzip.compress("".join(text).encode(), 6, mtime=0), len(text) - 1
        except Exception as error:  # noqa: BLE001 - a callback's error would reach the log alone, and the person would wait for ever
            self.send({"failed": f"The table could not be made ({type(error).__name__}: {error})."})
            return
        parts = max(-(-len(self._packed) // PART), 1)
        name = self._name if isinstance(self._name, str) else self._name()
        self.send({"part": part, "parts": parts, "name": name, "rows": self._rows}, buffers=[self._packed[part * PART : (part + 1) * PART]])
        if part == parts - 1:
            self._packed = b""
