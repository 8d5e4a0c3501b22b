"""The panel of a second person who labels stored faces without the first label, and the agreement of the two."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ferlab.expressions import EXPRESSIONS
from ferlab.live.collection.agreement import blind_queue, measure_agreement, two_labels
from ferlab.live.collection.consent import LABELLER, check_pseudonym, draw_pseudonym
from ferlab.live.collection.storage import FOLDER, Collection, counted, read_picture
from ferlab.live.collection.taken import now
from ferlab.live.keys import Keys
from ferlab.live.panels import Panel, announce, button, buttons, live_region, note, png_uri, quiet, table
from ferlab.live.verification.check import EMOJI
from ferlab.paths import InputError


class SecondLabels(Panel):
    """Label stored faces blind, one key each; see the notebook `collect`.

    Attributes:
        labeller: Pseudonym of who labels; "" before.
        file: The face that is shown; "" for none.
    """

    def __init__(self, folder: Path | str = FOLDER, *, expressions: Sequence[str] = EXPRESSIONS) -> None:
        """Build the panel on a collection; `expressions` are the labels to choose from."""
        self.collection, self.expressions = Collection(Path(folder)), tuple(expressions)
        self.labeller, self.file, self._done = "", "", []
        self.told, self.face, self.result = live_region(), widgets.HTML(), live_region()
        self.known = widgets.Text(description="My pseudonym", placeholder="none yet: leave it empty", style={"description_width": "initial"})
        self.begin = button("Begin", self._begin, style="primary")
        choices = [button(f"{number} {EMOJI.get(name, '')} {name}", self._namer(name)) for number, name in enumerate(self.expressions, start=1)]
        self.back, self.next = button("Back (B)", self._back), button("Not sure: later (N)", self._later)
        self.reveal = button("Show the agreement", self._agreement)
        self.choices = widgets.VBox([self.face, buttons(*choices), buttons(self.back, self.next, self.reveal), widgets.HTML(quiet(
            f"Keys: 1 to {len(self.expressions)} name the expression and go on, B goes back, N puts the face at the end."
        ))])  # fmt: skip
        self.choices.layout.display = "none"
        numbered = {str(number): self._namer(name) for number, name in enumerate(self.expressions, start=1)}
        self.hotkeys = Keys({**numbered, "b": self._back, "n": self._later}, active=False)
        intro = widgets.HTML(quiet("Stored: the face's file, your label, the time and a drawn pseudonym. `ferlab forget` with it erases them."))
        super().__init__([self.told, intro, buttons(self.known, self.begin), self.choices, self.result, self.hotkeys])

    def _try(self, function: Callable[[], Any]) -> None:
        try:
            function()
        except InputError as error:
            announce(self.told, note(error, "error"))

    def _begin(self) -> None:
        def begin() -> None:
            known = self.collection.people()
            labeller = check_pseudonym(self.known.value) if self.known.value.strip() else draw_pseudonym(known, kind=LABELLER)
            if self.known.value.strip() and labeller not in known:
                raise InputError(f"{labeller} is not known here. Look at it again, or leave the field empty and get a new one.")
            self.labeller, self._done, self.known.value = labeller, [], ""
            self._queue = blind_queue(self.collection, labeller)
            self.choices.layout.display, self.hotkeys.active = "", True
            announce(self.told, note(f"You are {labeller}; note it down to go on another day. {counted(len(self._queue), 'face')} to label.", "done"))
            self._show()
            self.hotkeys.take_focus()

        self._try(begin)

    def _show(self) -> None:
        """Show the next face that can be read; one that cannot is named and passed by."""
        self.file = ""
        while self._queue and not self.file:
            path = self.collection.folder / self._queue[0]
            try:
                read_picture(path)
            except InputError as error:
                announce(self.told, note(f"Passed by: {error}", "warning"))
                self._queue.pop(0)
                continue
            self.file = self._queue[0]
            left = f"{len(self._queue)} left"
            self.face.value = f'<img class="fl-face" src="{png_uri(path.read_bytes())}" alt="A face to label">{quiet(left)}'
        if not self.file:
            self.face.value = quiet("No face is left to label. Thank you.")
        self.back.disabled, self.next.disabled = not self._done, len(self._queue) < 2

    def _namer(self, name: str) -> Callable[[], None]:
        def label() -> None:
            if not self.file:
                return
            file = self._queue.pop(0)
            self._done.append(file)
            try:
                self.collection.label(file, labeller=self.labeller, expression=name, time=now())
                announce(self.told, note(f"Labelled {name}.", "plain"))
            except InputError:
                self._done.pop()
                if any(row["file"] == file for row in self.collection.rows("captures.csv")):
                    self._queue.insert(0, file)  # it is there, and could not be written: nothing is lost
                raise
            finally:
                self._show()

        return lambda: self._try(label)

    def _back(self) -> None:
        if self._done:
            self._queue.insert(0, self._done.pop())
            self._try(self._show)

    def _later(self) -> None:
        if len(self._queue) > 1:
            self._queue.append(self._queue.pop(0))
            self._try(self._show)

    def _agreement(self) -> None:
        self._try(lambda: announce(self.result, agreement_html(self.collection)))


class Agreements(Panel):
    """The agreement of first and second labels so far, of each labeller and of all."""

    def __init__(self, folder: Path | str = FOLDER) -> None:
        place = widgets.HTML()
        super().__init__([place])
        try:
            place.value = agreement_html(Collection(Path(folder)))
        except InputError as error:
            place.value = note(error, "error")


def agreement_html(collection: Collection) -> str:
    """Return kappa, n and the confusion of first and second labels, and a line per labeller where there are several."""
    pairs = two_labels(collection)
    found = measure_agreement(pairs)
    content = f"<p>{html.escape(found.sentence)}</p>"
    if not found.n:
        return content
    confusion = found.confusion.rename_axis(None, axis=1).rename_axis("own label").reset_index()
    content += table(confusion, caption="First label in rows, second label in columns, counts")
    if pairs["labeller"].nunique() > 1:
        content += "".join(quiet(f"{name}: {measure_agreement(part).sentence}") for name, part in pairs.groupby("labeller"))
    return content + quiet("Rows: the person's own label, which stays the target. Columns: the second label. 95 % interval, counted by faces.")
