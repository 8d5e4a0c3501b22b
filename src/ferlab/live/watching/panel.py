"""The watch panel: a camera or a video, each face's smoothed expression, flicker, latency, and a time line; nothing is stored.

References:
    resemotenet: "predictions averaged across the frames to determine the overall emotion": the method "mean", and the table of a clip.
    cs230: 100 ms as the budget of a frame, 40 ms achieved, a prediction every 200 ms (code).
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ferlab.control.clips import draw_sample
from ferlab.deployment.smoothing import Smoothing
from ferlab.live.camera import Camera
from ferlab.live.frames import Frame
from ferlab.live.panels import Panel, announce, bars, buttons, facts, live_region, note, quiet, row, swatch, table
from ferlab.live.watching.log import FACES, ROWS, WatchedFace, WatchLog
from ferlab.live.watching.timeline import ExpressionTimeLine, TableDownload
from ferlab.paths import InputError

BUDGET_MS, ACHIEVED_MS = 100, 40  # of cs230: its budget, and what its web model took
GOAL = 25  # frames per second
SHOWN = 4  # faces with bars of their own
SECONDS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, math.inf)  # offered windows
SPOKEN = 2.0  # seconds between two expressions that a screen reader reads out
METHODS = (("none", "none"), ("mean over frames", "mean"), ("exponential", "exponential"))


class Watch(Panel):
    """Watches the faces of a camera widget.

    Attributes:
        watched: What is kept (`ferlab.live.watching.log`).
    """

    def __init__(self, camera: Camera, *, smoothing: Smoothing | None = None, sample: Path | None = None) -> None:
        """Make a panel.

        Args:
            camera: Shows and reads the faces; a child of the panel.
            smoothing: At the start; None for the default.
            sample: A video that a button plays, as on a machine without a camera; drawn (`ferlab.control.clips.draw_sample`) where it is missing.
        """
        self.camera, self._sample = camera, sample
        self.watched = WatchLog(tuple(camera.expressions), smoothing=smoothing or Smoothing())
        self._spoken = (-math.inf, "")
        self._name = ""
        self._build(self.watched.smoothing)
        super().__init__(
            [row(camera, widgets.VBox([self._now, self._said])), self._controls, self._line, self._legend, self._facts, self._result, self._tools]
        )
        camera.on_frames(self.watch)
        camera.on_state(self._change)
        camera.on_ended(self._finish)
        camera.on_problem(self._tell)
        self._show()

    def _build(self, smoothing: Smoothing) -> None:
        self._now, self._facts, self._result = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._said = live_region()
        self._said.add_class("fl-unseen")
        style: dict[str, Any] = {"style": {"description_width": "initial"}}
        self._method = widgets.Dropdown(options=METHODS, value=smoothing.method, description="Smoothing", layout={"width": "230px"}, **style)
        self._windows = sorted({*SECONDS, smoothing.seconds})
        options = self._offered(smoothing.method)
        self._seconds = widgets.Dropdown(options=options, value=smoothing.seconds, description="over", layout={"width": "150px"}, **style)
        held = smoothing.margin > 0 or smoothing.hold > 0
        self._held = widgets.Checkbox(value=held, description="Hysteresis", indent=False, layout={"width": "120px"})
        for control in (self._method, self._seconds, self._held):
            control.observe(lambda _: self._choose(), "value")
        self._again = widgets.Button(description="Clear")
        self._again.on_click(lambda _: self.clear())
        self._controls = buttons(self._method, self._seconds, self._held)
        self._line = ExpressionTimeLine(expressions=list(self.watched.expressions))
        self._legend = widgets.HTML(quiet_legend(self.watched.expressions))
        self._download = TableDownload(self.watched.csv_lines, self._file_name, words="Download the table of frames (csv)")
        self._play = widgets.Button(description="Play the drawn clip")
        self._play.on_click(lambda _: self.play())
        self._tools = buttons(*([self._play] if self._sample else []), self._download, self._again)

    @property
    def smoothing(self) -> Smoothing:
        """As chosen in the panel."""
        thresholds = {} if self._held.value else {"margin": 0.0, "hold": 0.0}
        return Smoothing(self._method.value, seconds=self._seconds.value, **thresholds)

    def watch(self, frames: Sequence[Frame]) -> None:
        """Take frames in and show them; the camera calls it about five times a second."""
        if not self.watched.expressions and self.camera.expressions:
            self.watched = WatchLog(tuple(self.camera.expressions), smoothing=self.smoothing)
        started = bool(frames) and frames[0].number == 0
        self.watched.add(frames)
        if started:
            self._result.value, self._name = "", ""
        self._show()

    def play(self) -> None:
        """Play the sample in the browser."""
        if self._sample is None:
            return
        if not self._sample.is_file():
            self._result.value = quiet("Drawing the clip: some seconds ...")
            try:
                draw_sample(self._sample)
            except (InputError, OSError) as error:
                self._result.value = note(error, "error")
                return
            self._result.value = ""
        kind = f"video/{self._sample.suffix.removeprefix('.')}"
        self.camera.play(self._sample.read_bytes(), name=self._sample.name, kind=kind)

    def clear(self) -> None:
        """Forget all frames."""
        self.watched.clear()
        self._result.value = ""
        self._show()

    def _offered(self, method: str) -> list[tuple[str, float]]:
        """Return the windows of a method: an exponential average over all frames would stay at the first."""
        finite = method == "exponential"
        return [("all frames" if math.isinf(each) else f"{each:g} s", each) for each in self._windows if not (finite and math.isinf(each))]

    def _choose(self) -> None:
        options, before = self._offered(self._method.value), self._seconds.value
        if len(options) != len(self._seconds.options):
            self._seconds.options = options
            self._seconds.value = min(before, options[-1][1])
        self._seconds.disabled = self._method.value == "none"
        self.watched.smooth(self.smoothing)
        self._show()

    def _tell(self, text: str) -> None:
        self._result.value = note(text, "error")

    def _change(self, state: str) -> None:
        if state in ("idle", "ended", "failed", "no camera", "denied", "no video"):
            self._show()

    def _finish(self, name: str) -> None:
        self._name = name
        frame = self.clip_table()
        head = (
            f"{name or 'The clip'}: {self.watched.frames:,} frames, {self.watched.empty:,} without a face. Frames that come too fast are skipped."
        )
        body = table(frame, caption=f"Expression of each face over {name or 'the clip'}") if len(frame) else note("No face in any frame.", "warning")
        self._show()
        self._result.value = f"<h4>Over the whole clip</h4>{quiet(head)}{body}"
        announce(self._said, quiet(f"The video has ended. {'; '.join(frame['face'].astype(str) + ': ' + frame['expression']) if len(frame) else ''}"))

    def clip_table(self) -> pd.DataFrame:
        """Return a row per face: its expression by the mean over its frames, share of frames, seconds and flicker, the longest seen first."""
        rows = []
        for face in sorted(self.watched.faces.values(), key=lambda each: -each.track.frames):
            track = face.track
            rows.append(
                {
                    "face": f"face {track.id + 1}",
                    "expression": self.watched.expressions[track.label],
                    "mean probability": f"{100 * track.probs.max():.0f} %",
                    "frames that agree": f"{100 * track.share:.0f} %",
                    "frames": track.frames,
                    "seconds": f"{track.start:.1f} to {track.end:.1f}",
                    "changes/s, smoothed": _number(track.smooth.per_second),
                    "unsmoothed": _number(track.raw.per_second),
                }
            )
        return pd.DataFrame(rows)

    def _file_name(self) -> str:
        stem = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in self._name.rsplit(".", 1)[0])
        return f"{stem or 'watch'}_frames.csv"

    def _show(self) -> None:
        log, visible = self.watched, self.watched.visible()
        self._now.value = "".join(self._card(face) for face in visible[:SHOWN]) or quiet(
            "No face yet." if not log.frames else "No face in this frame."
        )
        if len(visible) > SHOWN:
            self._now.value += quiet(f"{len(visible) - SHOWN} more faces are in the time line.")
        running = self.camera.state in ("running", "several faces", "no face")
        lanes = [(face.track.id + 1, face.visible, face.segments) for face in sorted(log.faces.values(), key=lambda each: each.track.id)]
        self._line.show(lanes, now=log.time, moving=running)
        self._facts.value = facts(self._measured()) + quiet(self._kept())
        self._download.ready = log.frames > 0
        self._speak(visible)

    def _card(self, face: WatchedFace) -> str:
        words, unsure = self._words(face)
        name = self.watched.expressions[face.label]
        size = "" if len(self.watched.visible()) < 2 else ' style="font-size:20px"'
        head = f'<div class="fl-large"{size}>{"" if unsure else swatch(name)}{html.escape(words)}</div>'
        title = quiet(f"Face {face.track.id + 1}") if len(self.watched.faces) > 1 else ""
        return f'<section aria-label="Face {face.track.id + 1}">{title}{head}{bars(face.smoothed, self.watched.expressions)}</section>'

    def _words(self, face: WatchedFace) -> tuple[str, bool]:
        """Return the expression of a face in words, and whether the model abstains."""
        name, top = self.watched.expressions[face.label], float(face.smoothed[face.label])
        model = self.camera.model
        confidence = model.confidence if model else None
        if confidence is not None and bool(confidence.abstains(np.asarray(face.smoothed)[None])[0]):
            return f"uncertain ({name} {100 * top:.0f} %)", True
        return f"{name} {100 * top:.0f} %", False

    def _measured(self) -> dict[str, str]:
        total, search = self.watched.total, self.watched.search
        raw, smoothed = self.watched.flicker()
        if not self.watched.frames:
            return {}
        p50, p95 = total.percentile(50), total.percentile(95)
        within = f"{100 * total.share_within(BUDGET_MS):.1f} % of frames within cs230's {BUDGET_MS} ms" if not math.isnan(p50) else "no face yet"
        reached = f"; its web model took {ACHIEVED_MS} ms" if not math.isnan(p50) else ""
        return {
            "frames per second": f"{_number(self.watched.rate)} (goal: {GOAL}; cs230 predicted five times a second)",
            "latency, face search included": f"median {_number(p50)} ms, 95th percentile {_number(p95)} ms: {within}{reached}",
            "of which face search": f"median {_number(search.percentile(50))} ms, 95th percentile {_number(search.percentile(95))} ms",
            "label changes per second": f"{_number(smoothed, 2)} smoothed, {_number(raw, 2)} unsmoothed",
            "frames": f"{self.watched.frames:,} in {self.watched.time:.0f} s, {self.watched.empty:,} without a face",
        }

    def _kept(self) -> str:
        dropped = max(self.watched.written - self.watched.rows, 0)
        text = f"Kept in memory until the page is closed: the last {ROWS:,} rows of numbers and the {FACES} faces seen last; no picture."
        return text + (f" {dropped:,} older rows and {self.watched.forgotten:,} faces were dropped." if dropped or self.watched.forgotten else "")

    def _speak(self, visible: Sequence[WatchedFace]) -> None:
        """Let a screen reader read out the expression of the first face when it changes, not more often than every `SPOKEN` seconds."""
        if not visible:
            return
        since, before = self._spoken
        words = self.watched.expressions[visible[0].label]
        if words != before and (self.watched.time - since >= SPOKEN or self.watched.time < since):
            self._spoken = (self.watched.time, words)
            announce(self._said, html.escape(f"Face {visible[0].track.id + 1}: {words}"))


def quiet_legend(expressions: Sequence[str]) -> str:
    """Return the colours of expressions with their names, as HTML."""
    names = "".join(f'<span style="margin-right:14px;white-space:nowrap">{swatch(name)}{html.escape(name)}</span>' for name in expressions)
    return f'<div class="fl-quiet">{names}A bar is paler where the model is less confident.</div>'


def _number(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
