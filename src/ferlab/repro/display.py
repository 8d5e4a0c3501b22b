"""What runs side by side, in one place: on a terminal a line for each stage that runs, elsewhere every line as it comes."""

from __future__ import annotations

import re
import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

PROGRESS = re.compile(r"\[#*\.*\] +\d+ ?%|: started$")  # what the next line of the same stage replaces
ROWS = 12  # stages that are shown at once


class Display:
    """Shows the stages that run, and says how each ended."""

    def __init__(self, total: int, *, console: Console | None = None) -> None:
        """Show nothing yet; `total` is the number of stages."""
        self.ran, self.fresh, self.failed = 0, 0, 0
        self._total, self._console, self._lock = total, console or Console(highlight=False, soft_wrap=True), threading.Lock()
        self._lines: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._live = Live(console=self._console, transient=True, refresh_per_second=2, get_renderable=self.body)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def started(self, name: str) -> None:
        """Show a stage from now on."""
        with self._lock:
            self._since[name] = time.monotonic()
            self._lines.setdefault(name, f"{name}: started")

    def line(self, name: str, text: str) -> None:
        """Take a line that a stage printed."""
        with self._lock:
            self._lines[name] = text
        if not self._console.is_terminal or not PROGRESS.search(text):
            self._print(text)

    def settled(self, name: str, how: str) -> None:
        """Say how a stage ended."""
        with self._lock:
            self._lines.pop(name, None)
            took = time.monotonic() - self._since.pop(name, time.monotonic())
            self.ran, self.fresh, self.failed = self.ran + (how == "done"), self.fresh + (how == "up to date"), self.failed + how.startswith("failed")
        if how != "up to date":
            place = f"{self.ran + self.fresh} of {self._total}"
            self._print(f"{name}: {how}" + (f" ({took:.0f} s; {place})" if how == "done" else ""))

    def body(self) -> Text:
        """Return what stands below what was printed: how far it is, and the last line of each stage that runs."""
        with self._lock:
            shown = list(self._lines.items())
        head = f"{self.ran + self.fresh} of {self._total} stages done, {len(shown)} running" + (f", {self.failed} failed" if self.failed else "")
        rows = [f"  {text}" for _, text in shown[:ROWS]] + ([f"  and {len(shown) - ROWS} more"] if len(shown) > ROWS else [])
        return Text("\n".join([head, *rows]), no_wrap=True, overflow="ellipsis")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)
        sys.stdout.flush()
