"""The terminal's view of a stage: what is done and how much is left, from the kernel's file of JSON lines; and where a stopped stage goes on."""

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
    """What Ctrl-C, SIGTERM and a closed terminal do to a stage: its kernel ends, one line says where it goes on, and the exit status is 128 + signal.

    Nothing is tidied up: a stage can be killed at any moment, and this is one.
    """

    def __init__(self, title: str) -> None:
        """Name what runs.

        Args:
            title: As `follow` has it.
        """
        self.title = title
        self.lines: Path | None = None  # of the kernel's progress, once there is a kernel
        self.kept: Path | None = None  # the folder of what survives

    def install(self) -> None:
        """Answer the signals, but for those that were to be ignored, as under nohup."""
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def line(self) -> str:
        """Return what is said, such as `train five_layer: stopped in select epoch 10 of 16; dvc repro goes on there`."""
        if self.kept is None or not self.kept.is_dir() or not any(self.kept.iterdir()):
            return f"{self.title}: stopped; `dvc repro` runs this stage again, all that was finished is kept"
        note = str((_newest(self.lines, 0, None)[1] or {}).get("note", "")) if self.lines else ""
        return f"{self.title}: stopped{f' in {note}' if note else ''}; `dvc repro` goes on there"

    def _stop(self, number: int, _: Any) -> None:
        for each in STOPS:  # a second Ctrl-C says nothing new
            signal.signal(each, signal.SIG_IGN)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        start = b"\r\x1b[K" if sys.stderr.isatty() else b""
        os.write(2, start + self.line().encode(errors="replace") + b"\n")  # Keep: print may be what was interrupted
        os._exit(128 + number)


@contextmanager
def follow(lines: Path, *, title: str) -> Iterator[None]:
    """Show the progress of a stage while the block runs, and its duration afterwards.

    Args:
        lines: The file of JSON lines `{"done": int, "total": int, "note": str}` that the kernel appends to; it need not exist yet.
        title: What is running, e.g. "train five_layer".
    """
    stop = threading.Event()
    start = time.monotonic()
    watcher = threading.Thread(target=_watch, args=(lines, title, stop, start), daemon=True)
    watcher.start()
    failed = True
    try:
        yield
        failed = False
    finally:
        stop.set()
        watcher.join()
        _say(f"{title}: {'stopped after' if failed else 'done in'} {_duration(time.monotonic() - start)}", last=True)


def progress_line(title: str, record: dict, elapsed: float) -> str:
    """Return one line such as `train five_layer  [#####.....]  50 %  about 12 s left  epoch 7 of 14`."""
    done, total = float(record.get("done", 0)), float(record.get("total", 0))
    share = min(done / total, 1.0) if total > 0 else 0.0
    bar = "#" * round(share * 20)
    left = f"about {_duration(elapsed * (1 - share) / share)} left" if share > 0.01 else "just started"
    return f"{title}  [{bar:.<20}] {share:4.0%}  {left}  {record.get('note', '')}".rstrip()


def _watch(lines: Path, title: str, stop: threading.Event, start: float) -> None:
    first: tuple[float, float] | None = None  # when the first record came, and what was done by then: a resumed run starts late
    said, position, record = 0.0, 0, None
    _say(f"{title}: started")
    ended = False
    while not ended:
        ended = stop.wait(0.5)
        position, record = _newest(lines, position, record, say=title)
        now = time.monotonic()
        if ended or record is None or (not sys.stdout.isatty() and now - said < PLAIN_EVERY):
            continue
        done = float(record.get("done", 0))
        if first is None:
            first = (now, done)
        gained = done - first[1]
        elapsed = (now - first[0]) * done / gained if gained > 0 else now - start  # as if all that is done had been done at this pace
        _say(progress_line(title, record, elapsed))
        said = now


def _newest(lines: Path, position: int, record: dict | None, *, say: str = "") -> tuple[int, dict | None]:
    """Read the whole lines behind `position`; return where they end and the last one, or what was given where there are none.

    A line `{"say": text}` is no progress but something that a person should read: it is printed behind the title `say`, where there is one.
    """
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
    """Return what a line says; one that is no JSON object, as two processes at once may write it, says nothing."""
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
