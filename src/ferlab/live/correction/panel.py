"""The panel that corrects labels: one doubtful face at a time, one key per expression, undo, two labels; each decision is saved at once.

Blind by default: what models predict is shown after the decision, since a person who sees it first tends to agree with it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ferlab.colours import COLOURS
from ferlab.data.preparation.corrections import EXCLUDE, labels_of
from ferlab.data.store import Store, open_store
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.live.correction.decisions import Decisions, corrections_file
from ferlab.live.correction.doubtful import MEANING, SOURCES, Scores, neighbours, read_scores, score_split
from ferlab.live.correction.practice import practice_store
from ferlab.live.correction.scorers import predictor_of, prepared_sets, scorers
from ferlab.live.correction.sitting import WORKED_ON, Sitting
from ferlab.live.correction.tuning import Tuning
from ferlab.live.keys import Keys
from ferlab.live.panels import Panel, announce, buttons, facts, live_region, note, png_uri, quiet, row, swatch
from ferlab.paths import ROOT, InputError, artefact

LETTERS = dict(zip(ALL_EXPRESSIONS, "asdfghjk", strict=True))
PRACTICE = "practice (control faces, planted errors)"
PRACTISED = ROOT / "data" / "scratch" / "practice" / "corrections.csv"
BIASED = "Test faces: labels that are corrected with predictions in sight bias the test score. Prepare reports how many were."
SIDE = 320  # pixels of the face on the page


class Correct(Panel):
    """Goes through the doubtful faces of a prepared set.

    Attributes:
        sitting: What is shown and decided, without widgets.
        heard: The keys of the panel: one per expression (or its digit), Shift for two labels, Enter, x, n, u, r, Escape.
        tuning: Its lower part; None while practising.
    """

    def __init__(self, set_name: str | None = None, *, who: str = "", scores: Mapping[str, pd.DataFrame] | None = None) -> None:
        """Open a set.

        Args:
            set_name: A set of params.yaml; None: the first that is prepared, else control faces to practise on.
            who: Your name or pseudonym, which is written beside each decision.
            scores: Further predictions tables by model, as from a notebook.
        """
        self.params, self.prepared = prepared_sets()
        self.extra = dict(scores or {})
        self.tuning: Tuning | None = None
        self.set_choice = widgets.Dropdown(options=[*self.prepared, PRACTICE], description="set", layout={"width": "400px", "max_width": "100%"})
        self.who = widgets.Text(who, placeholder="name or pseudonym", description="you are", continuous_update=False)
        self.sources = {source: _box(source, tooltip=MEANING[source]) for source in SOURCES}
        self.splits = {split: _box(split, on=split in WORKED_ON) for split in (*WORKED_ON, "test")}
        self.blind = _box("blind: predictions after the decision")
        self.again = _box("also faces that others decided", on=False)
        self.scorer = widgets.Dropdown(options=scorers(self.params), description="model")
        self.score = widgets.Button(description="Score the chosen splits")
        self.warning, self.picture, self.facts, self.counts = (widgets.HTML() for _ in range(4))
        self.shown, self.told = live_region(), live_region(urgent=True)
        self.choices = widgets.Box()
        self.choices.add_class("fl-buttons")
        self.heard = Keys({})
        super().__init__([self.heard, *self._layout()])
        self.add_class("fl-correct")
        self.set_choice.value = set_name if set_name in self.prepared else next(iter(self.prepared), PRACTICE)
        self._open()
        if set_name is not None and set_name not in self.prepared:
            self._tell(f"set {set_name} is not prepared: dvc repro prepare@{set_name} makes it", "error")
        self._watch()

    def _layout(self) -> list[widgets.Widget]:
        side = widgets.VBox([self.shown, self.choices, self._actions(), self.told])
        which = [
            widgets.HTML(quiet("Doubtful by, with how many faces of the chosen splits each finds:")),
            buttons(*self.sources.values()),
            widgets.HTML(quiet("Faces of:")),
            buttons(*self.splits.values(), self.again),
            buttons(self.scorer, self.score),
        ]
        self.lower = widgets.Accordion([widgets.VBox(which), widgets.VBox()], titles=("Which faces", "Fine-tune on the corrected faces"))
        face = widgets.VBox([self.picture, self.facts])
        return [buttons(self.set_choice, self.who, self.blind), self.warning, row(face, side), self.counts, self.lower]

    def _actions(self) -> widgets.Box:
        self.acts = {
            "Enter": ("Label is right (Enter)", self._confirm),
            "n": ("Skip (n)", self._skip),
            "x": ("Exclude (x)", self._exclude),
            "u": ("Undo (u)", self._undo),
            "r": ("Show predictions (r)", self._reveal),
        }
        made = [widgets.Button(description=text) for text, _ in self.acts.values()]
        for button, (_, act) in zip(made, self.acts.values(), strict=True):
            button.on_click(lambda _, act=act: act())
        return buttons(*made)

    def _watch(self) -> None:
        self.set_choice.observe(lambda _: self._open(), "value")
        self.who.observe(lambda _: self._guarded(self._sign), "value")
        for box in (*self.sources.values(), *self.splits.values(), self.again):
            box.observe(lambda _: self._guarded(self._choose), "value")
        self.blind.observe(lambda _: self._show(), "value")
        self.score.on_click(lambda _: self._guarded(self._score))

    def _guarded(self, act: Callable[[], Any]) -> None:
        """Do something; bad input is told in the panel."""
        try:
            act()
        except (InputError, OSError) as error:
            self._tell(error, "error")

    def _tell(self, text: object, kind: str = "plain") -> None:
        announce(self.told, note(text, kind) if str(text) else "")

    def take(self, faces: pd.DataFrame) -> None:
        """Queue chosen faces instead of the doubtful ones, such as those selected in the error explorer, in their order.

        Args:
            faces: With `face_id` and `split`; faces that the set lacks are excluded, and told.
        """
        taken = self.sitting.take(faces["face_id"].tolist())
        self.warning.value = note(BIASED, "warning") if (faces["split"] == "test").any() else ""
        self._show()
        missing = len(faces) - taken
        lacking = f" {missing:,} are no original faces of {self.set_choice.value} and are excluded." if missing else ""
        self._tell(f"{taken:,} chosen faces are queued.{lacking}", "warning" if missing else "plain")

    # Opening a set

    def _open(self) -> None:
        """Open the chosen set; what cannot be opened is told, and faces to practise on are opened instead."""
        self._tell("")
        try:
            self._load()
        except (InputError, OSError) as error:
            self.set_choice.unobserve_all()
            self.set_choice.value = PRACTICE
            self._load()
            self.set_choice.observe(lambda _: self._open(), "value")
            self._tell(error, "error")

    def _load(self) -> None:
        practising = self.set_choice.value == PRACTICE
        self.store: Store = practice_store() if practising else open_store(artefact("prepare", "store", self.set_choice.value))
        self.file = PRACTISED if practising else corrections_file(self.params.prepare[self.set_choice.value], self.set_choice.value)
        scores = Scores({}, {}) if practising or not self.params else read_scores(self.params, self.set_choice.value)
        for name, table in ({} if practising else self.extra).items():
            scores = scores.with_model(name, table)
        self.sitting = Sitting(self.store.faces, self.store.expressions, scores, self._decisions())
        self.tuning = None if practising or not self.params else Tuning(self.params, self.set_choice.value)
        untrained = widgets.HTML(note("Prepare a set and train a run first: `dvc repro`. Control faces that are drawn to practise on train nothing."))
        self.lower.children = (self.lower.children[0], self.tuning or untrained)
        self._make_keys()
        if practising:
            self._score()
        self._choose()

    def _decisions(self) -> Decisions | None:
        return Decisions(self.file, self.who.value) if self.who.value.strip() else None

    def _sign(self) -> None:
        """Take the person's name; what is queued is what this person has not decided. The keys are ready then, without a click."""
        self.sitting.sign(self._decisions())
        self._tell("")
        self._choose()
        self.heard.take_focus()

    def _choose(self) -> None:
        """Queue the faces of the chosen sources and splits."""
        self.sitting.sources = [source for source, box in self.sources.items() if box.value]
        self.sitting.splits = [split for split, box in self.splits.items() if box.value]
        self.sitting.again = self.again.value
        self.sitting.find()
        for source, count in self.sitting.counts().items():
            self.sources[source].description = f"{source} ({count:,})"
        self.warning.value = note(BIASED, "warning") if self.splits["test"].value else ""
        self._show()

    def _score(self) -> None:
        """Score the chosen splits with the chosen model."""
        name = self.scorer.value
        predict, seen = predictor_of(name, self.store.expressions)
        present = set(self.store.faces["split"])
        chosen = [split for split, box in self.splits.items() if box.value and split in present]
        for split in chosen:
            self.sitting.scores = self.sitting.scores.with_model(name, score_split(self.store, split, predict))
        self._choose()
        if known := [split for split in chosen if split in seen and self.params and self.params.runs[name].data == self.set_choice.value]:
            self._tell(f"{name} was trained or selected on {' and '.join(known)}: there it repeats wrong labels, so fewer are found.", "warning")

    # Keys and buttons

    def _make_keys(self) -> None:
        """Give each expression of the set its letter, its digit, and both with Shift."""
        functions: dict[str, Callable[[], Any]] = {"ctrl+z": self._undo, "Escape": self._drop_first}
        functions |= {key: act for key, (_, act) in self.acts.items()}
        made = []
        for number, name in enumerate(self.store.expressions, start=1):
            for key in (LETTERS[name], str(number)):
                functions |= {key: partial(self._label, name), f"shift+{key}": partial(self._two, name)}
            told = f"keys {LETTERS[name]} or {number}; with Shift: one of two labels"
            button = widgets.Button(description=f"{name} ({LETTERS[name]})", tooltip=told, layout={"border_left": f"6px solid {COLOURS[name]}"})
            button.on_click(lambda _, name=name: self._label(name))
            made.append(button)
        self.choices.children = tuple(made)
        self.heard.functions, self.heard.heard = functions, list(functions)

    def _label(self, expression: str) -> None:
        self._decide(lambda: self.sitting.label(expression))

    def _confirm(self) -> None:
        self._decide(self.sitting.confirm)

    def _exclude(self) -> None:
        self._decide(self.sitting.exclude)

    def _two(self, expression: str) -> None:
        if self._ready() and (self.sitting.first or self.sitting.current):
            if self.sitting.first:
                self._decide(lambda: self.sitting.label(expression))
            else:
                self.sitting.begin_two(expression)
                self._tell(f"First label: {expression}. Press the key of the second; Escape drops it.")

    def _drop_first(self) -> None:
        self.sitting.first = ""
        self._tell("")

    def _skip(self) -> None:
        self.sitting.skip()
        self._tell("Skipped: it comes again at the end." if self.sitting.queue else "")
        self._show()

    def _undo(self) -> None:
        self._guarded(self._step_back)

    def _step_back(self) -> None:
        face_id = self.sitting.undo()
        self._tell(f"Taken back: {face_id}" if face_id else "Nothing to take back in this session.")
        self._show()

    def _reveal(self) -> None:
        """Show what models predict for the face, on request."""
        if face_id := self.sitting.current:
            announce(self.shown, self._question(face_id) + self._predictions(face_id))

    def _ready(self) -> bool:
        if self.sitting.decisions is None:
            self._tell("Give your name or a pseudonym first: it is written beside each decision.", "warning")
            return False
        return self.sitting.current is not None

    def _decide(self, decide: Callable[[], str]) -> None:
        if not self._ready():
            return
        face_id = self.sitting.current or ""
        try:
            new = decide()
        except (InputError, OSError) as error:
            self._tell(error, "error")
            return
        announce(self.told, self._said(face_id, new))
        self._show()

    # What is shown

    def _said(self, face_id: str, new: str) -> str:
        """Tell what was saved, and only now what models predict."""
        old = self.sitting.given(face_id)
        verdict = "excluded" if new == EXCLUDE else f"{old} confirmed" if new == old else f"{old} becomes {new.replace('|', ', or ')}"
        truth = ""
        if self.set_choice.value == PRACTICE:
            rows = self.store.faces[self.store.faces["face_id"] == face_id]
            right = self.store.expressions[int(rows["true_target"].iloc[0])]
            truth = note(f"It was drawn as {right}.", "done" if right in labels_of(new) else "warning")
        return note(f"Saved: {verdict} ({face_id}).", "done") + truth + self._predictions(face_id)

    def _question(self, face_id: str) -> str:
        """Ask for the label of a face, with its given one and why it is doubtful."""
        given = self.sitting.given(face_id)
        asked = f"<div>{swatch(given)}given label <strong>{html.escape(given)}</strong></div>"
        return asked + quiet(f"Which expression does the face show? Doubtful by: {self.sitting.why(face_id)}.")

    def _predictions(self, face_id: str) -> str:
        found = self.sitting.scores.of(face_id)
        return facts({model: f"{name}, {100 * prob:.0f} %" for model, (name, prob) in found.items()}) if found else ""

    def _show(self) -> None:
        """Show the current face, or say that there is none."""
        self.heard.turn += 1
        face_id = self.sitting.current
        if face_id is None:
            self.picture.value, self.facts.value = "", ""
            announce(self.shown, note(self._nothing_left(), "plain"))
        else:
            place = int(np.flatnonzero((self.store.faces["face_id"] == face_id).to_numpy())[0])
            self.picture.value = self._picture_of(place, face_id)
            self.facts.value = facts(_described(self.store.faces.iloc[place]))
            announce(self.shown, self._question(face_id) + ("" if self.blind.value else self._predictions(face_id)))
        self.counts.value = quiet(self._counted())

    def _nothing_left(self) -> str:
        if not self.sitting.scores.tables and not self.sitting.scores.issues:
            return "No model has scored this set yet: `dvc repro` evaluates its runs, or score it with the model that ships."
        return "No doubtful face is left for these choices. Choose more sources or splits, or score with another model."

    def _counted(self) -> str:
        left, made = len(self.sitting.queue), self.sitting.decisions.made if self.sitting.decisions else 0
        found = ", ".join(f"{source} {count:,}" for source, count in self.sitting.counts().items())
        return f"{left:,} faces to go ({found}); {made:,} decided in this session, each saved at once in {_shown(self.file)}."

    def _picture_of(self, place: int, face_id: str) -> str:
        """The face, large, and its neighbours in time below it."""
        label = f"Face {face_id}, given label {self.sitting.given(face_id)}"
        picture = png_uri(np.asarray(self.store.images[place]))
        large = f'<img src="{picture}" alt="{html.escape(label)}" style="width:{SIDE}px;max-width:100%;height:auto">'
        around = neighbours(self.store.faces, place)
        if not around:
            return large
        small = [f'<img src="{png_uri(np.asarray(self.store.images[each]))}" alt="" style="width:64px;height:64px">' for each in around]
        return f'{large}<div>{" ".join(small)}</div>{quiet("before and after it")}'


def _box(text: str, *, on: bool = True, **options: Any) -> widgets.Checkbox:
    return widgets.Checkbox(on, description=text, indent=False, layout={"width": "auto"}, **options)


def _described(face: pd.Series) -> dict[str, object]:
    keys = ("face_id", "split", "subject", "sequence", "frame")
    return {key: face[key] for key in keys if key in face and not pd.isna(face[key])}


def _shown(path: Any) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
