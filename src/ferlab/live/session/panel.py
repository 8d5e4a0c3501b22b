"""The panel of a prompted session, as cs231a's live test: prompts in random order, each scored by the model, and a summary with its uncertainty.

Nothing is kept unless the person chooses so: "numbers" writes `ferlab.live.session.files`, "faces" stores each scored face through
`ferlab.live.collection.storage` too, whose consent it asks for. Choosing "nothing" later erases what the session had stored.
"""

from __future__ import annotations

import asyncio
import html
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
import pandas as pd

from ferlab.live import panels
from ferlab.live.camera import Camera
from ferlab.live.collection.consent import check_pseudonym
from ferlab.live.frames import Frame, Still
from ferlab.live.keys import Keys
from ferlab.live.session.files import CONDITIONS, SessionFacts, attempts_table, new_session_name, now
from ferlab.live.session.keeping import Keeping
from ferlab.live.session.prompting import MOST_PROMPTS, Attempt, Sitting, prompt_order
from ferlab.live.session.summary import feedback, summary
from ferlab.live.verification.check import EMOJI
from ferlab.paths import InputError

LEAD_S = {"acted": 3.0, "remembered": 10.0}
WINDOW_S = 1.5
PAUSE_S = {"end": 0.8, "each": 3.0}
RETRY_S = 2.5
STILL_S = 5.0  # how long the picture of a face that is to be stored may take
TICK_S = 0.1
KEPT = {
    "nothing": "",
    "numbers: prompts, probabilities, times, condition, pseudonym": "numbers",
    "numbers and faces (consent: notebook collect)": "faces",
}
BROKEN = {
    "denied": "The browser was not allowed to use the camera. Allow it beside the page's address, then press Start session.",
    "no camera": "No camera was found. Connect one, then press Start session; the page on control faces shows what a session gives.",
    "failed": "The camera or the model failed in the browser; its reason stands beside the picture. Then press Start session.",
}


class Session(panels.Panel):
    """Prompted sessions before a camera, one after the other.

    Attributes:
        camera: With a model.
        page: Called with the table of attempts when a session ends; what it displays is shown below. None: the summary alone.
        keeping: The tables, and what of them is stored.
        sitting: The running or last session.
        running: Whether a session runs.
    """

    def __init__(self, camera: Camera, *, page: Callable[[pd.DataFrame], None] | None = None, window_s: float = WINDOW_S) -> None:
        """Build the panel.

        Args:
            camera: See the class.
            page: See the class.
            window_s: Length of the window whose frames are averaged; 0: each prompt is scored by one still.
        """
        if camera.model is None:
            raise InputError("a session needs a model: Session(Camera(LiveModel.load()))")
        self.camera, self.page, self.window_s, self.keeping = camera, page, window_s, Keeping()
        self.sitting: Sitting | None = None
        self.running = False
        self._times: list[str] = []
        self._waits = ""  # for "camera" (its first frame) or "still" (a picture to store)
        self._until, self._scored = 0.0, ""
        self._build()
        camera.on_frames(lambda frames: self._try(lambda: self._see(frames)))
        camera.on_still(lambda still: self._try(lambda: self._see_still(still)))
        camera.on_state(self._see_state)

    def _build(self) -> None:
        wide = {"style": {"description_width": "initial"}, "layout": {"width": "auto"}}
        conditions = [(f"{name}: {said}", name) for name, said in CONDITIONS.items()]
        moments = [("at the end", "end"), ("after each prompt (it changes behaviour)", "each")]
        self.person = widgets.Text(self.keeping.new_pseudonym(), description="Pseudonym, never a name", **wide)
        self.other = widgets.Button(description="New pseudonym")
        self.condition = widgets.RadioButtons(options=conditions, description="Condition", **wide)
        self.count = widgets.BoundedIntText(21, min=1, max=MOST_PROMPTS, description="Prompts", **wide)
        self.moment = widgets.RadioButtons(options=moments, description="Feedback", **wide)
        self.keep = widgets.RadioButtons(options=list(KEPT.items()), description="Kept on this machine", **wide)
        self.start = widgets.Button(description="Start session", button_style="primary")
        self.ready = widgets.Button(description="I am ready (space)", disabled=True)
        self.stop = widgets.Button(description="Stop (Esc)", disabled=True)
        self.shortcuts = Keys({" ": self.be_ready, "Escape": self.end}, active=False)
        self.shown, self.said, self.result, self.problem = widgets.HTML(), panels.live_region(), panels.live_region(), panels.live_region(urgent=True)
        self.below = widgets.VBox()
        for button, act in ((self.start, self.begin), (self.ready, self.be_ready), (self.stop, self.end), (self.other, self._change_person)):
            button.on_click(lambda _, act=act: self._try(act))
        self.person.observe(lambda _: self._leave(), "value")
        self.keep.observe(lambda change: self._try(lambda: self._change_kept(change["new"])), "value")
        self.setup = widgets.VBox([self.person, panels.buttons(self.other), self.condition, self.count, self.moment])
        tools = panels.buttons(self.start, self.ready, self.stop)
        side = widgets.VBox([self.setup, self.shown, self.said, self.problem, tools, self.keep])
        super().__init__([panels.row(self.camera, side), self.result, self.below, self.shortcuts])
        self.add_class("fl-session")  # hides the camera's own buttons: the session starts and stops it

    # ---- what the person does ----

    def begin(self) -> None:
        """Start a session with what is chosen.

        Raises:
            InputError: If the pseudonym is none or withdrew, or faces are to be stored without consent.
        """
        if self.running:  # a second click
            return
        model, seed = self.camera.model, secrets.randbelow(2**31)
        prompts = prompt_order(model.expressions, self.count.value, seed=seed)
        self.keeping.begin(
            SessionFacts(
                person=check_pseudonym(self.person.value), condition=self.condition.value, planned=len(prompts), seed=seed, model=model.name,
                expressions=tuple(model.expressions), feedback=self.moment.value, kept=self.keep.value, session=new_session_name(),
            )
        )  # fmt: skip
        self.sitting = Sitting(prompts, lead_s=LEAD_S[self.condition.value], window_s=self.window_s)
        self._times, self._waits = [], "camera"
        for place in (self.result, self.problem):
            panels.announce(place, "")
        self.below.children = []
        self._lock(True)
        panels.announce(self.said, panels.note("Waiting for the camera's first picture ..."))
        self.camera.start()
        self._run()

    def be_ready(self) -> None:
        """Score the prompt now, without waiting for its time."""
        if self.running:
            self.sitting.hurry(time.monotonic())

    def end(self) -> None:
        """End the session; what was scored so far counts."""
        if self.running:
            self._finish("Stopped.")

    # ---- time goes on ----

    def tick(self, moment: float) -> None:
        """Do what is due at a time of the monotonic clock; called ten times a second while a session runs."""
        if not self.running:
            return
        if self._waits == "still" and moment >= self._until:  # no picture came; the numbers are there all the same
            self.camera.clear()
            self._film_on()
        was = self.sitting.phase
        attempt = self.sitting.advance(moment)
        if attempt is not None:
            self._take(attempt, moment)
        elif was == "prompt" and self.sitting.phase == "window" and self.sitting.takes_still:
            self.camera.take()
        elif was == "done" and self._waits != "still":
            self._finish("All prompts were shown.")
        elif was == "between" and not self._waits and moment >= self._until:
            self.sitting.resume(moment)
            self._announce_prompt()
        self._draw(moment)

    def _run(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # Keep: in a script `tick` is called by hand
            return
        self._task = loop.create_task(self._tick_on(self.sitting))

    async def _tick_on(self, sitting: Sitting) -> None:
        while self.running and self.sitting is sitting:
            self._try(lambda: self.tick(time.monotonic()))
            await asyncio.sleep(TICK_S)

    def _see(self, frames: list[Frame]) -> None:
        if not self.running or not frames:
            return
        moment = time.monotonic()
        if self._waits == "camera":
            self._waits = ""
            if self.sitting.phase == "ready":
                self.sitting.start(moment)
                self._announce_prompt()
        self.sitting.see(frames, moment)

    def _see_still(self, still: Still) -> None:
        if not self.running:
            return
        if self._waits == "still":
            self._until = time.monotonic()
            self._film_on()
            self.keeping.store_face(still, self.camera.model, prompt=self._scored)
        elif self.sitting.phase == "window" and self.sitting.takes_still:
            self._film_on()
            self._take(self.sitting.see_still(self._predicted(still)), time.monotonic())

    def _film_on(self) -> None:
        """Start the camera again, which stops for a picture, where prompts are left."""
        self._waits = "camera"
        if self.sitting.phase != "done":
            self.camera.start()

    def _predicted(self, still: Still) -> Still:
        """Return the still with the selected face's probabilities, by the kernel where the browser gave none."""
        face = still.face
        if face is None or face.probs is not None:
            return still
        probs = self.camera.model.predict(still.picture, face.box)
        return replace(still, faces=tuple(replace(each, probs=probs) if each is face else each for each in still.faces))

    def _see_state(self, state: str) -> None:
        if state in BROKEN and self.running:
            self._finish(BROKEN[state], kind="warning")

    def _take(self, attempt: Attempt, moment: float) -> None:
        """Note an attempt that ended, store what may be stored, and report what the person chose to see."""
        facts = self.keeping.facts
        self._until = moment + (RETRY_S if attempt.probs is None else PAUSE_S[facts.feedback])
        self._times.append(now().isoformat(timespec="seconds"))
        panels.announce(self.said, feedback(attempt, facts))
        self.keeping.note(attempts_table(facts, self.sitting.attempts, self._times))
        self._take_face(attempt, moment)

    def _take_face(self, attempt: Attempt, moment: float) -> None:
        if self.keeping.facts.kept != "faces" or attempt.probs is None:
            return
        if attempt.still is not None:
            self.keeping.store_face(attempt.still, self.camera.model, prompt=attempt.prompt)
        else:
            self._waits, self._scored, self._until = "still", attempt.prompt, moment + STILL_S
            self.camera.take()

    def _change_kept(self, kept: str) -> None:
        done = self.keeping.change(kept)
        if done:
            panels.announce(self.said, panels.note(done, "done"))

    def _leave(self) -> None:
        """Let the next person choose what is kept: neither does the last choice go on, nor does a new one reach the last person's session."""
        self.keeping.leave()
        self.keep.value = ""

    def _change_person(self) -> None:
        self.person.value = self.keeping.new_pseudonym()

    # ---- what is shown ----

    def _finish(self, why: str, *, kind: str = "done") -> None:
        self.sitting.stop()
        if kind == "warning":  # the browser's reason stays beside the picture
            self.camera.stop()
        else:
            self.camera.clear()
        self.camera.prompt = self.shown.value = self._waits = ""
        self._lock(False)
        panels.announce(self.said, panels.note(why, kind))
        table = self.keeping.tables.get(self.keeping.facts.session)
        if table is None:
            panels.announce(self.result, panels.note("No prompt was scored."))
            return
        panels.announce(self.result, summary(table, self.keeping.facts))
        if self.page is not None:
            self.below.children = [panels.displayed(self.page, self.keeping.sessions())]

    def _lock(self, running: bool) -> None:
        self.running = running
        self.setup.layout.display = "none" if running else None
        self.start.disabled = running
        self.ready.disabled = self.stop.disabled = not running
        self.camera.labels = not running or self.keeping.facts.feedback == "each"  # the boxes would show the predictions
        self.shortcuts.active = running
        self.shortcuts.take_focus()

    def _announce_prompt(self) -> None:
        panels.announce(self.said, panels.quiet(f"Prompt {self.sitting.number + 1} of {len(self.sitting.prompts)}: {self.sitting.prompt}"))

    def _draw(self, moment: float) -> None:
        """Show prompt and countdown beside the picture, and over it, where the person looks."""
        prompt, text, over = self.sitting.prompt, "", ""
        if prompt:
            left = max(0, int(self.sitting.ends - moment + 0.99))
            held = self.sitting.phase == "window"
            over = f"{EMOJI[prompt]} {prompt} {'· hold' if held else left}"
            state = "Hold it." if held else f"Scored in {left} s."
            text = f'<div class="fl-large"><span aria-hidden="true">{EMOJI[prompt]}</span> {html.escape(prompt)}</div>{panels.quiet(state)}'
        if self.shown.value != text:
            self.shown.value, self.camera.prompt = text, over

    def _try(self, act: Callable[[], Any]) -> None:
        panels.attempt(act, self.problem, what="a prompted session")
