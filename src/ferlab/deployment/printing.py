"""Where predictions go: standard output as lines, JSON or CSV, a table, and a line of progress in the terminal."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferlab.deployment.listing import table_row
from ferlab.paths import InputError

LINES, JSON, CSV = "lines", "json", "csv"
LONG = 1.0  # seconds after which a terminal is told how far it is


class Output:
    """Prints and writes what is read, in the form that is asked for."""

    def __init__(self, form: str, *, model: str, columns: Sequence[str], table: csv.DictWriter | None) -> None:
        """Begin to print.

        Args:
            form: "lines", "json" or "csv".
            model: Its name in objects.
            columns: Of the printed table.
            table: A writer of the same rows; None for none.
        """
        self._form, self._model, self._table = form, model, table
        self.heard = True  # until `| head` closes the pipe; a table is written all the same
        self.progress = Progress()
        self._printed = csv.DictWriter(self, columns, restval="", extrasaction="ignore", lineterminator="\n")
        if form == CSV:
            self._printed.writeheader()

    def say(self, records: Iterable[dict[str, Any]], lines: Sequence[str], *, place: Path | None = None) -> None:
        """Add records to the table; print lines, or the records."""
        for record in records:
            if self._table is not None:
                self._table.writerow(table_row(record))
            if self._form == JSON:
                self._json(record | {"model": self._model} | ({} if place is None else {"saved": str(place)}))
            elif self._form == CSV:
                self._printed.writerow(table_row(record))
        if self._form == LINES and lines:
            self.write("\n".join(lines) + "\n")

    def unread(self, name: str, told: Sequence[str]) -> None:
        """Print an object for a file that could not be read, where objects are printed."""
        for line in told if self._form == JSON else ():
            self._json({"file": name, "error": line})

    def _json(self, value: dict[str, Any]) -> None:
        self.write(json.dumps(value) + "\n")

    def write(self, text: str) -> None:
        """Print text; nothing once nobody reads it."""
        if not self.heard:
            return
        self.progress.clear()
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            self.heard = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def open_table(target: Path | None, columns: Sequence[str]) -> Iterator[csv.DictWriter | None]:
    """Yield a writer of rows; the file takes its name at the end, and is removed if anything goes wrong before."""
    if target is None:
        yield None
        return
    beside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "x", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            rows.writeheader()
            yield rows
            file.flush()
            os.fsync(file.fileno())  # Keep: without it a power cut may leave the new name with an empty file
        os.replace(beside, target)
    except OSError as error:
        left = "the table from before is kept" if target.is_file() else "nothing is left there"
        raise InputError(f"{target}: not saved: {error.strerror}; {left}; see to that and predict again") from None
    finally:
        beside.unlink(missing_ok=True)


class Progress:
    """A line in the terminal that says how far long work is; nothing where the errors go to a file."""

    def __init__(self) -> None:
        self._began, self._shown = time.monotonic(), False

    def show(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty() and time.monotonic() - self._began > LONG:
            self.clear()
            print(text[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
