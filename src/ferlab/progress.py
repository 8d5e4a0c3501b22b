"""A stage's progress in the terminal, from the kernel's file of JSON lines; and where an interrupted stage resumes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PLAIN_EVERY = 10.0  # seconds between lines where the output is no terminal
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Ends a stage on Ctrl-C, SIGTERM and SIGHUP: its kernel is killed, one line reports where it resumes, the exit status is 128 + signal.

    Attributes:
        lines: The kernel's progress, once there is a kernel.
        kept: The folder of partial work.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.lines: Path | None = None
        self.kept: Path | None = None

    def install(self) -> None:
        """Handle the signals that are not ignored, as under nohup."""
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def line(self) -> str:
        """Return the report, such as `train five_layer: stopped in select epoch 10 of 16; dvc repro goes on there`."""
        if self.kept is None or not self.kept.is_dir() or not any(self.kept.iterdir()):
            return f"{self.title}: stopped; `dvc repro` runs this stage again, all that was finished is kept"
        note = str((_newest(self.lines, 0, None)[1] or {}).get("note", "")) if self.lines else ""
        return f"{self.title}: stopped{f' in {note}' if note else ''}; `dvc repro` goes on there"

    def _stop(self, number: int, _: Any) -> None:
        for each in STOPS:
            signal.signal(each, signal.SIG_IGN)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        start = b"\r\x1b[K" if sys.stderr.isatty() else b""
        os.write(2, start + self.line().encode(errors="replace") + b"\n")  # Keep: the signal may have interrupted print
        os._exit(128 + number)


@contextmanager
def follow(lines: Path, *, title: str) -> Iterator[None]:
    """Show the progress of a stage while the block runs, and its duration afterwards.

    Args:
        lines: The file of JSON lines `{"done": int, "total": int, "note": str}` or `{"say": str}` that the kernel appends to; it may be absent.
        title: The stage, e.g. "train five_layer".
    """
    stop, start, how = threading.Event(), time.monotonic(), "stopped after"
    watcher = threading.Thread(target=_watch, args=(lines, title, stop, start), daemon=True)
    watcher.start()
    try:
        yield
        how = "done in"
    finally:
        stop.set()
        watcher.join()
        _say(f"{title}: {how} {_duration(time.monotonic() - start)}", last=True)


def progress_line(title: str, record: dict, elapsed: float) -> str:
    """Return one line such as `train five_layer  [#####.....]  50 %  about 12 s left  epoch 7 of 14`."""
    done, total = float(record.get("done", 0)), float(record.get("total", 0))
    fraction = min(done / total, 1.0) if total > 0 else 0.0
    left = f"about {_duration(elapsed * (1 - fraction) / fraction)} left" if fraction > 0.01 else "just started"
    return f"{title}  [{'#' * round(fraction * 20):.<20}] {fraction:4.0%}  {left}  {record.get('note', '')}".rstrip()


def _watch(lines: Path, title: str, stop: threading.Event, start: float) -> None:
    first: tuple[float, float] | None = None  # time and work of the first record: a resumed run does not start at 0
    said, position, record = 0.0, 0, None
    _say(f"{title}: started")
    while not stop.wait(0.5):
        position, record = _newest(lines, position, record, say=title)
        now = time.monotonic()
        if record is None or (not sys.stdout.isatty() and now - said < PLAIN_EVERY):
            continue
        done = float(record.get("done", 0))
        first = first or (now, done)
        gained = done - first[1]
        _say(progress_line(title, record, (now - first[0]) * done / gained if gained > 0 else now - start))
        said = now
    _newest(lines, position, record, say=title)


def _newest(lines: Path, position: int, record: dict | None, *, say: str = "") -> tuple[int, dict | None]:
    """Read the complete lines after `position`; return their end and the last record. A `{"say": text}` is printed after the title `say`."""
    if not lines.is_file():
        return position, record
    with open(lines, "rb") as stream:
        stream.seek(position)
        for line in stream:
            if not line.endswith(b"\n"):  # still being written
                break
            position += len(line)
            told = _read_line(line)
            if say and "say" in told:
                _say(f"{say}: {told['say']}", last=True)
            elif told and "say" not in told:
                record = told
    return position, record


def _read_line(line: bytes) -> dict:
    """Return a line's record; {} if it is no JSON object, as when two processes write at once."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _say(text: str, *, last: bool = False) -> None:
    """Rewrite the line on a terminal; print a line elsewhere."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text[:160]}" + ("\n" if last else ""))
    else:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
