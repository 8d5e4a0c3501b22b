"""The panel of an expression check, after fersys: prompts as emoji, the time that is left, and a flag with its evidence.

The frames' numbers are judged in the kernel by `ferlab.live.verification.check`. Of the pictures only cropped faces reach the kernel, where the
browser cannot run the model, and nothing is stored. What checks found is counted in memory, by whom the tester says stood before the camera, until
the notebook is closed.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
import pandas as pd

from ferlab.evaluation.presentation_attacks import BONA_FIDE
from ferlab.live import panels
from ferlab.live.camera import Camera
from ferlab.live.frames import Frame
from ferlab.live.keys import Keys
from ferlab.live.verification.check import BLINK, EMOJI, NEUTRAL, TURN_LEFT, TURN_RIGHT, Check, Prompt, Rules, choose_expressions
from ferlab.live.verification.recalls import read_recalls
from ferlab.live.verification.verdict import FAILED, PASSED, UNDECIDED, Verdict
from ferlab.paths import InputError

TICK_S = 0.1
SPECIES = (BONA_FIDE, "print", "screen, a still", "screen, a video", "mask", "other attack")
SHOWN = {
    BLINK: ("😑", "close your eyes for a moment, then open them"),
    TURN_LEFT: ("⬅️", "turn your head to your left"),
    TURN_RIGHT: ("➡️", "turn your head to your right"),
}
REST = ("😐", "relax your face and look at the camera")
FLAG_WORDS = {
    PASSED: ("done", "Passed: a person answered the prompts, as far as this check can see."),
    FAILED: ("warning", "Failed: the evidence below does not fit a person who answers the prompts. A person should look at it."),
    UNDECIDED: ("plain", "Not decided: too little could be measured. Try again."),
}
PICTURES = {
    "browser": "Pictures stay in this browser and nothing is stored.",
    "kernel": "Cropped faces are sent to the notebook's kernel for prediction; nothing is stored.",
}
BROKEN = {
    "denied": "The browser was not allowed to use the camera. Allow it beside the page's address, then press Start.",
    "no camera": "No camera was found. Connect one, then press Start.",
    "failed": "The camera or the model failed in the browser; the reason stands beside the picture.",
    "no video": "The browser cannot play this video.",
    "ended": "The video has ended.",
}


class Verify(panels.Panel):
    """Expression checks before a camera, one after the other; with a camera that takes videos, a test of the check by a stored video.

    Attributes:
        camera: With a model, and with the spoof models for their two parts of the evidence.
        asked: The expressions that prompts ask for.
        check: The running or last check.
        outcomes: Per check its flag, score and seconds, and who stood before the camera.
    """

    def __init__(self, camera: Camera, *, rules: Rules | None = None, least_recall: float = 0.6) -> None:
        """Build the panel.

        Args:
            camera: See the class.
            rules: None for the defaults; without the spoof models their scores are not asked for.
            least_recall: Expressions that the model recalls less often are not asked for.
        """
        if camera.model is None:
            raise InputError("a check needs a model: Verify(Camera(LiveModel.load(), spoof=True))")
        self.camera, self.outcomes = camera, []
        self.check: Check | None = None
        rules = rules or Rules()
        self.rules = rules if camera.spoof else replace(rules, least_real=None, least_live=None)
        self.asked, why = _asked(camera, least_recall)
        self._running, self._announced = False, ""
        self._task: asyncio.Task[None] | None = None
        self._build(why)
        camera.on_frames(lambda frames: self._try(lambda: self.see(frames)))
        camera.on_state(self._see_state)

    def _build(self, why: str) -> None:
        wide = {"style": {"description_width": "initial"}, "layout": {"width": "230px"}}
        text = f"The camera may be used for this check. {PICTURES[self.camera.predicts]}"
        if not self.filmed:
            why += panels.note("A test of the check: press Start, then choose a video. A recording that passes is an attack that succeeds.")
        self.consent = widgets.Checkbox(not self.filmed, description=text, indent=False, layout={"width": "auto"})
        self.prompts = widgets.BoundedIntText(self.rules.prompts, min=1, max=20, description="Expressions to show", **wide)
        self.misses = widgets.BoundedIntText(self.rules.misses, min=0, max=19, description="Misses allowed", **wide)
        self.seconds = widgets.BoundedFloatText(self.rules.seconds, min=2, max=60, step=1, description="Seconds for each", **wide)
        self.start = widgets.Button(description="Start", button_style="primary", disabled=True)
        self.stop = widgets.Button(description="Stop (Esc)", disabled=True)
        self.who = widgets.Dropdown(options=[("not stated", ""), *((name, name) for name in SPECIES)], description="It was", disabled=True, **wide)
        self.shortcuts = Keys({"Escape": self.end}, active=False)
        self.shown, self.result, self.tally = widgets.HTML(), panels.live_region(), widgets.HTML()
        self.said, self.problem = panels.live_region(), panels.live_region(urgent=True)
        for button, act in ((self.start, self.begin), (self.stop, self.end)):
            button.on_click(lambda _, act=act: self._try(act))
        self.consent.observe(lambda _: self._lock(self._running), "value")
        self.who.observe(lambda change: self._try(lambda: self._state(change["new"])), "value")
        self.settings = widgets.VBox([widgets.HTML(why), self.consent, panels.buttons(self.prompts, self.misses, self.seconds)])
        side = widgets.VBox([self.settings, panels.buttons(self.start, self.stop), self.problem, self.said, self.shown])
        super().__init__([panels.row(self.camera, side), self.result, self.who, self.tally, self.shortcuts])
        self.add_class("fl-check")
        if self.filmed:
            self.add_class("fl-verify")  # hides the camera's own buttons: nothing starts it without consent
        else:
            self.consent.layout.display = "none"
        self._lock(False)
        self.who.layout.display = "none"

    @property
    def filmed(self) -> bool:
        """Whether the camera films; else a stored video tests the check."""
        return "camera" in self.camera.uses

    # ---- what the person does ----

    def begin(self) -> None:
        """Start a check with what is chosen.

        Raises:
            InputError: If the camera was not consented to, or more misses are allowed than prompts are asked for.
        """
        if not self.consent.value:
            raise InputError("tick the box first: without consent the camera stays off")
        rules = replace(self.rules, prompts=self.prompts.value, misses=self.misses.value, seconds=self.seconds.value)
        self.check, self._announced = Check(self.camera.model.expressions, self.asked, rules=rules), ""
        for place in (self.result, self.problem):
            panels.announce(place, "")
        self.who.layout.display = "none"
        self._lock(True)
        if self.filmed:
            self.camera.start()
        panels.announce(self.said, panels.quiet("Waiting for the first picture ..."))
        self._run()

    def end(self) -> None:
        """End the check undecided."""
        if self._running:
            self.check.end("The check was stopped.")
            self._finish()

    # ---- time goes on ----

    def see(self, frames: list[Frame]) -> None:
        """Judge frames that the camera reports."""
        if self._running:
            for frame in frames:
                self.check.see(frame)
            self._show()

    def tick(self) -> None:
        """Let time pass; called ten times a second while a check runs."""
        if self._running:
            if self.camera.state in ("starting", "idle", "ended"):
                self.check.wait()
            self.check.tick()
            self._show()

    def _run(self) -> None:
        try:
            self._task = asyncio.get_running_loop().create_task(self._tick_on(self.check))
        except RuntimeError:  # Keep: in a script `tick` is called by hand
            self._task = None

    async def _tick_on(self, check: Check) -> None:
        while self._running and self.check is check:
            self._try(self.tick)
            await asyncio.sleep(TICK_S)

    def _see_state(self, state: str) -> None:
        if state in BROKEN and self._running:
            self.check.end(BROKEN[state])
            self._finish()

    # ---- what is shown ----

    def _show(self) -> None:
        if self.check.verdict is not None:
            return self._finish()
        prompt = self.check.prompt
        emoji, words = _shown(prompt.step)
        key = f"{len(self.check.answers)}/{prompt.step}"
        if key != self._announced and self.check.started:
            self._announced = key
            self.camera.prompt = emoji if prompt.step else ""
            feedback = _feedback(self.check) if not prompt.step else ""
            spoken = f"{prompt.number} of {prompt.of}: {words}" if prompt.step else words  # who sees has the card below
            panels.announce(self.said, f'{feedback}<span class="fl-unseen">{html.escape(spoken)}</span>')
        self.shown.value = _card(prompt, emoji=emoji, words=words)

    def _finish(self) -> None:
        if not self._running:
            return
        verdict = self.check.verdict
        self.camera.stop()
        self.camera.prompt = self.shown.value = ""
        self._lock(False)
        panels.announce(self.said, "")
        panels.announce(self.result, _verdict(verdict))
        self.outcomes.append({"species": "", "flag": verdict.flag, "score": verdict.score, "seconds": verdict.seconds})
        self.who.value, self.who.disabled = "", False
        self.who.layout.display = "flex"

    def _state(self, species: str) -> None:
        """Note who stood before the camera in the last check, and count."""
        if self.outcomes:
            self.outcomes[-1]["species"] = species
            self.tally.value = _tally(self.stated())

    def stated(self) -> pd.DataFrame:
        """Return the checks of which a tester has stated who stood before the camera, one row each."""
        return pd.DataFrame([row for row in self.outcomes if row["species"]], columns=["species", "flag", "score", "seconds"])

    def _lock(self, running: bool) -> None:
        self._running = running
        for widget in (self.consent, self.prompts, self.misses, self.seconds):
            widget.disabled = running
        self.settings.layout.display = "none" if running else "flex"  # the prompt then stands below the picture on a phone, too
        self.start.disabled = running or not self.consent.value
        self.stop.disabled = not running
        self.camera.labels = not running  # the boxes would show the predictions, a help for attackers
        self.shortcuts.active = running
        if running:
            self.shortcuts.take_focus()

    def _try(self, act: Callable[[], Any]) -> None:
        panels.attempt(act, self.problem, what="an expression check")


def _asked(camera: Camera, least: float) -> tuple[tuple[str, ...], str]:
    """Return the expressions to ask for and, as HTML, why these."""
    name, expressions = camera.model.name, camera.model.expressions
    try:
        recalls = read_recalls(name)
        asked = choose_expressions({each: value for each, value in recalls.by_expression().items() if each in expressions}, least=least)
    except InputError as error:
        asked = tuple(each for each in expressions if each != NEUTRAL)
        return asked, panels.note(f"All expressions are asked for: {error}", "warning")
    chosen = ", ".join(f"{each} {100 * recalls.by_expression()[each]:.0f} %" for each in asked)
    return asked, panels.quiet(f"Asked for: {chosen} (recall of the model on {recalls.faces}; at least {100 * least:.0f} %).")


def _shown(step: str) -> tuple[str, str]:
    if not step:
        return REST
    return SHOWN[step] if step in SHOWN else (EMOJI[step], f"show: {step}")


def _feedback(check: Check) -> str:
    if not check.answers:
        return ""
    last = check.answers[-1]
    if last.passed:
        return panels.note("Seen.", "done")
    return panels.note(f"Missed: {last.shown}." if last.shown not in check.expressions else f"Seen as {last.shown}.", "warning")


def _card(prompt: Prompt, *, emoji: str, words: str) -> str:
    """Return the prompt with its ring (how long the expression has been held) and its bar (the time that is left)."""
    ring = f'<div class="fl-ring" style="--fl-held:{360 * prompt.held:.0f}deg"><span>{emoji}</span></div>'
    fill = f'<div class="fl-fill fl-left" style="width:{100 * prompt.left:.1f}%"></div>'
    bar = f'<div class="fl-bars fl-time"><div class="fl-track">{fill}</div></div>'
    return f'<div class="fl-ask" aria-hidden="true">{panels.quiet(f"{prompt.number} of {prompt.of}")}{ring}{panels.large(words)}{bar}</div>'


def _verdict(verdict: Verdict) -> str:
    kind, words = FLAG_WORDS[verdict.flag]
    answers = pd.DataFrame(
        [{"prompt": a.wanted, "seen": a.shown, "result": PASSED if a.passed else FAILED, "seconds": f"{a.seconds:.1f}"} for a in verdict.answers]
    )
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in verdict.reasons)
    answered = panels.table(answers, caption="Answers to the prompts") if len(answers) else ""
    evidence = panels.table(verdict.table(), caption="Evidence")
    for flag, name in ((PASSED, "passed"), (FAILED, "failed")):
        evidence, answered = (text.replace(f"<td>{flag}</td>", f'<td class="fl-{name}">{flag}</td>') for text in (evidence, answered))
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return f'{panels.note(words, kind)}{listed}<div class="fl-evidence">{evidence}{answered}</div>'


def _tally(stated: pd.DataFrame) -> str:
    if stated.empty:
        return ""
    flags = [PASSED, FAILED, UNDECIDED]
    counts = stated.groupby(["species", "flag"], sort=False).size().unstack(fill_value=0).reindex(columns=flags, fill_value=0).reset_index()
    return panels.quiet("Checks in this notebook so far, by who stood before the camera:") + panels.table(counts, caption="Checks so far")
