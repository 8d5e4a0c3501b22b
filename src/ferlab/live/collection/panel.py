"""The panel that collects faces: consent first, then prompts, the face in hand, its label, and the way out at all times.

What happens is in `ferlab.live.collection.collecting`, what is stored in `ferlab.live.collection.storage`; here are the widgets.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.live.camera import Camera
from ferlab.live.collection.collecting import Collecting
from ferlab.live.collection.consent import TEXT, Agreement, consent_version
from ferlab.live.collection.storage import FOLDER, Collection
from ferlab.live.collection.taken import TakenFace
from ferlab.live.frames import Still
from ferlab.live.keys import Keys
from ferlab.live.model import LiveModel
from ferlab.live.panels import Panel, announce, bars, button, buttons, large, live_region, note, png_uri, prose, quiet, row, table
from ferlab.live.verification.check import EMOJI
from ferlab.paths import ROOT, InputError

TICKS = {
    "adult": "I am of age.",
    "research": "Research: my faces may be used here to train and to test models.",
    "publication": "Publication: my faces may be shown in print, in a talk or on a web page. (You may leave this open.)",
}
KEYS = "Keys: T takes a picture, {numbers} name the expression, S stores, D discards, N asks for another expression, U erases the one stored last."


class Collect(Panel):
    """Collect faces of one person after the other; see the notebook `collect`.

    Attributes:
        session: What happens, without widgets.
    """

    def __init__(self, camera: Camera, *, folder: Path | str = FOLDER, each: int = 4, predicted: str = "after", seed: int | None = None) -> None:
        """Build the panel around a camera.

        Args:
            camera: With the model whose predictions are recorded; without one, the model that ships predicts in the kernel.
            folder: Where faces are stored, below data/raw.
            each: Faces that are asked for of each expression.
            predicted: When the prediction is shown: "after" the person's own label, or "before" it, which sways the label.
            seed: Of the order of the prompts; None: another order each time.

        Raises:
            InputError: If `predicted` is neither, or the model cannot be loaded.
        """
        if predicted not in ("after", "before"):
            raise InputError(f"predicted is {predicted!r}; expected 'after' or 'before' (the person's own label)")
        model = camera.model or LiveModel.load()
        self.session = Collecting(Collection(Path(folder)), model, each=each, seed=seed)
        self.camera, self.predicted = camera, predicted
        camera.labels = camera.labels and predicted == "before"
        self.told, self.problem = live_region(), live_region(urgent=True)
        self.agreement, self.work = _Agreement(self), _Work(self)
        self.hotkeys = Keys(self.work.functions, active=False)
        super().__init__([self.problem, self.told, self.agreement, self.work, self.hotkeys])
        camera.on_still(self._take)
        camera.on_problem(lambda text: announce(self.problem, note(text, "error")))
        self.show()

    def do(self, function: Callable[[], Any], *, told: str = "", kind: str = "done") -> Any:
        """Do something and show the result; an error is shown in one line, and the panel goes on."""
        announce(self.problem, "")
        try:
            found = function()
        except InputError as error:
            announce(self.problem, note(error, "error"))
            found = None
        else:
            if told:
                announce(self.told, note(told.format(found), kind))
        self.show()
        return found

    def show(self) -> None:
        """Show the part of the panel that is due."""
        consented = bool(self.session.person) and not self.agreement.again
        self.agreement.layout.display = "none" if consented else ""
        self.work.layout.display = "" if consented else "none"
        self.hotkeys.active = consented
        try:
            self.work.show() if consented else self.agreement.show()
        except InputError as error:  # a table that was edited by hand into something that cannot be read
            announce(self.problem, note(error, "error"))

    def _take(self, still: Still) -> None:
        if self.session.person and not self.agreement.again:
            self.do(lambda: self.session.take(still))


class _Agreement(widgets.VBox):
    """The consent screen."""

    def __init__(self, panel: Collect) -> None:
        self.panel, self.again = panel, False
        self.ticks = {name: widgets.Checkbox(False, description=text, indent=False) for name, text in TICKS.items()}
        self.agree = button("I agree", self._agree, style="primary")
        self.refuse = button("I do not agree", self._refuse)
        self.known = widgets.Text(description="My pseudonym", placeholder="p-....", style={"description_width": "initial"})
        self.come = button("Come back", self._come)
        self.out = button("Withdraw and erase", self._withdraw, style="danger")
        self.missing = widgets.HTML()
        for tick in self.ticks.values():
            tick.observe(lambda _: self.show(), "value")
        before = widgets.HTML(quiet("You were here before? Type the pseudonym that was drawn for you. Names are not accepted."))
        where = quiet(f"Folder: {_shown(panel.session.collection.folder)}. Text: version {consent_version()}.")
        text = "".join(f"<p>{_emphasised(paragraph)}</p>" for paragraph in TEXT.strip().split("\n\n"))
        content = widgets.HTML(f'<div class="fl-agreement"><h3>Before anything is stored</h3>{text}{where}</div>')
        super().__init__(
            [content, *self.ticks.values(), self.missing, buttons(self.agree, self.refuse), before, buttons(self.known, self.come, self.out)]
        )
        self.show()

    @property
    def ticked(self) -> Agreement:
        return Agreement(**{name: tick.value for name, tick in self.ticks.items()})

    def show(self) -> None:
        missing = self.ticked.missing
        self.agree.disabled = bool(missing)
        self.missing.value = quiet("Tick that you are of age, and research. Nothing is stored before." if missing else "You can agree now.")

    def _agree(self) -> None:
        if self.panel.session.person and not self.again:  # a second click
            return
        if self.panel.do(lambda: self.panel.session.agree(self.ticked), told=_welcome("{}")):
            self.again = False
            self._clear()
            self.panel.show()
            self.panel.hotkeys.take_focus()

    def _refuse(self) -> None:
        self.again = False
        self._clear()
        self.panel.do(self.panel.session.end, told="Nothing was stored. You can close this page.", kind="plain")

    def _come(self) -> None:
        known = self.panel.do(lambda: self.panel.session.come_back(self.known.value))
        if known is not None:
            self.again = not known
            told = (
                _welcome(self.panel.session.person) if known else "The text has changed since you agreed. Read it, and tick again what you agree to."
            )
            announce(self.panel.told, note(told, "done" if known else "warning"))
            self._clear()
            self.panel.show()

    def _withdraw(self) -> None:
        session = self.panel.session
        if self.panel.do(lambda: session.come_back(self.known.value)) is not None:
            self.again = False
            self._clear()
            self.panel.show()
            self.panel.work.ask_to_withdraw()

    def _clear(self) -> None:
        self.known.value = ""
        for tick in self.ticks.values():
            tick.value = False


class _Work(widgets.VBox):
    """Camera, prompt, the face in hand, labels, counts, and the way out."""

    def __init__(self, panel: Collect) -> None:
        self.panel, session = panel, panel.session
        self.names = session.model.expressions
        self.who, self.prompt, self.counts = widgets.HTML(), live_region(), widgets.HTML()
        self.hand, self.hints, self.prediction = widgets.HTML(), live_region(), live_region()
        self.labels = {name: button(f"{number} {EMOJI.get(name, '')} {name}", self._namer(name)) for number, name in enumerate(self.names, start=1)}
        self.store = button("Store (S)", self._store, style="primary")
        self.discard = button("Discard (D)", self._discard)
        self.skip = button("Another expression (N)", lambda: panel.do(session.skip))
        self.undo = button("Erase the last one (U)", lambda: panel.do(session.undo, told="Erased: {}."))
        self.end = button("End", self._end)
        self.out = button("Withdraw and erase", self.ask_to_withdraw, style="danger")
        self.sure = buttons(
            widgets.HTML(note("Erase all your faces, here and now? This cannot be undone.", "warning")),
            button("Yes, erase everything of mine", self._withdraw, style="danger"),
            button("No, keep it", self._keep),
        )
        self.sure.layout.display = "none"
        keys = widgets.HTML(quiet(KEYS.format(numbers=f"1 to {len(self.names)}")))
        taken = widgets.VBox([self.hand, self.hints, buttons(*self.labels.values()), self.prediction, buttons(self.store, self.discard)])
        others = buttons(self.skip, self.undo, self.end, self.out)
        super().__init__([self.who, self.prompt, row(panel.camera, taken), others, self.sure, keys, self.counts])
        numbered = {str(number): self._namer(name) for number, name in enumerate(self.names, start=1)}
        single = {"t": panel.camera.take, "s": self._store, "d": self._discard, "n": self.skip.click, "u": self.undo.click}
        self.functions = {**numbered, **single}

    def show(self) -> None:
        session = self.panel.session
        face = session.face
        self.who.value = note(
            f"You are {session.person}. Keep this pseudonym: with it you come back, or withdraw. Stored in this session: {len(session.stored)}."
        )
        asked = (
            f"Show: {session.prompt} {EMOJI.get(session.prompt, '')}" if session.prompt else f"Done: {session.each} of each are stored. Thank you."
        )
        if asked not in self.prompt.value:
            announce(self.prompt, large(asked))
        self.panel.camera.prompt = EMOJI.get(session.prompt, session.prompt)
        self.hand.value = _picture(face) if face else quiet("No picture in hand. Start the camera and take one, or choose a file.")
        announce(self.hints, "".join(note(hint, "warning") for hint in face.hints) if face else "")
        shown = face is not None and (session.label or self.panel.predicted == "before")
        announce(
            self.prediction, _prediction(face, session.label) if shown else quiet("The prediction is shown after your own label.") if face else ""
        )
        for name, choice in self.labels.items():
            choice.disabled, choice.button_style = face is None, "primary" if name == session.label else ""
        self.store.disabled, self.discard.disabled, self.undo.disabled = not session.label, face is None, not session.stored
        self.counts.value = table(session.progress(), caption="Faces per expression")

    def ask_to_withdraw(self) -> None:
        """Ask once more, with the focus on the panel."""
        self.sure.layout.display = ""

    def _keep(self) -> None:
        self.sure.layout.display = "none"

    def _namer(self, name: str) -> Callable[[], None]:
        return lambda: self.panel.do(lambda: self.panel.session.name(name))

    def _store(self) -> None:
        filmed = self._is_filmed()
        if self.panel.do(self.panel.session.store, told="Stored: {}."):
            self.panel.camera.clear()
            self._go_on(filmed=filmed)

    def _discard(self) -> None:
        filmed = self._is_filmed()
        self.panel.camera.clear()
        self.panel.do(self.panel.session.discard, told="Discarded: nothing of this picture was kept.", kind="plain")
        self._go_on(filmed=filmed)

    def _is_filmed(self) -> bool:
        return self.panel.session.face is not None and self.panel.session.face.origin == "camera"

    def _go_on(self, *, filmed: bool) -> None:
        """Start the camera again, which stopped for the still, and keep the focus in the panel: the button that had it may rest now."""
        if filmed and self.panel.session.prompt:
            self.panel.camera.start()
        self.panel.hotkeys.take_focus()

    def _end(self) -> None:
        person = self.panel.session.person
        if not person:  # a second click
            return
        self.sure.layout.display = "none"
        self.panel.camera.clear()
        self.panel.do(self.panel.session.end, told=f"Ended. Your pseudonym is {person}; note it down. The next person can begin.")

    def _withdraw(self) -> None:
        person = self.panel.session.person
        if not person:  # a second click
            return
        self.sure.layout.display = "none"
        self.panel.camera.clear()
        self.panel.camera.prompt = ""
        computed = f"If results were computed from them, `ferlab forget {person}` erases those too, and proves it."
        self.panel.do(self.panel.session.withdraw, told=f"Withdrawn. Erased of {person}: {{}}. {computed}")


def _welcome(person: str) -> str:
    return f"You are {person}. Note it down: it is the only way back to your faces, and to withdraw. Then start the camera."


def _emphasised(paragraph: str) -> str:
    head, _, rest = paragraph.partition(". ")
    return f"<strong>{html.escape(head)}.</strong> {prose(rest)}"


def _shown(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)


def _picture(face: TakenFace) -> str:
    about = f"{face.picture.shape[1]} x {face.picture.shape[0]} pixels; this region is stored, and no more of the picture"
    return f'<img class="fl-face" src="{png_uri(face.png())}" alt="The face in hand">{quiet(about)}'


def _prediction(face: TakenFace, label: str) -> str:
    agrees = f"You say {label}; the model predicts {face.predicted}." if label in ALL_EXPRESSIONS else f"The model predicts {face.predicted}."
    return f"<p>{html.escape(agrees)}</p>{bars(face.probs, face.expressions)}"
