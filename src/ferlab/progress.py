"""The terminal's view of a stage: tails the kernel's file of JSON lines and shows what is done and how much is left."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLAIN_EVERY = 10.0  # seconds between lines where the output is no terminal


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
    while not stop.wait(0.5):
        position, record = _newest(lines, position, record)
        now = time.monotonic()
        if record is None or (not sys.stdout.isatty() and now - said < PLAIN_EVERY):
            continue
        done = float(record.get("done", 0))
        if first is None:
            first = (now, done)
        gained = done - first[1]
        elapsed = (now - first[0]) * done / gained if gained > 0 else now - start  # as if all that is done had been done at this pace
        _say(progress_line(title, record, elapsed))
        said = now


def _newest(lines: Path, position: int, record: dict | None) -> tuple[int, dict | None]:
    """Read the whole lines behind `position`; return where they end and the last one, or what was given where there are none."""
    if not lines.is_file():
        return position, record
    with open(lines) as stream:
        stream.seek(position)
        for line in stream:
            if not line.endswith("\n"):  # still being written
                break
            position += len(line.encode())
            record = json.loads(line)
    return position, record


def _say(text: str, *, last: bool = False) -> None:
    """Rewrite the line on a terminal; print a line elsewhere."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text[:160]}" + ("\n" if last else ""))
    else:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
