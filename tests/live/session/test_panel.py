"""The panel of prompted sessions, driven by frames and times: what is scored, what is shown, and what lies on the disk."""

from __future__ import annotations

import html
import re
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest

from ferlab import locks
from ferlab.live.camera import Camera
from ferlab.live.collection.consent import Agreement
from ferlab.live.collection.storage import Collection
from ferlab.live.frames import Frame, LiveFace, Still
from ferlab.live.model import LiveModel
from ferlab.live.session import files, panel
from ferlab.live.session import keeping as session_keeping
from ferlab.live.session.panel import Session

PICTURE = np.full((120, 160, 3), 90, np.uint8)
BOX = (40.0, 20.0, 60.0, 60.0)


@pytest.fixture(scope="module")
def model() -> LiveModel:
    return LiveModel.load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    collection = Collection(tmp_path / "data" / "raw" / "collected")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr("ferlab.live.session.summary.ROOT", tmp_path)
    monkeypatch.setattr(session_keeping, "Collection", lambda: collection)
    return tmp_path


class Clock:
    """A session before a camera whose frames and clock are a test's."""

    def __init__(self, model: LiveModel, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.now, self.sent = 1000.0, []
        monkeypatch.setattr(panel.time, "monotonic", lambda: self.now)
        self.camera = Camera(model)
        monkeypatch.setattr(self.camera, "send", lambda content, buffers=None: self.sent.append(content["do"]))
        self.session = Session(self.camera, **options)
        self.expressions = model.expressions

    def probs(self, predicted: str) -> np.ndarray:
        return np.where(np.array(self.expressions) == predicted, 0.4, 0.1).astype(np.float32)

    def show(self, predicted: str | None, *, seconds: float) -> None:
        """Let time pass while the camera sees a face that the model predicts as `predicted`; None: no face."""
        for _ in range(round(10 * seconds)):
            faces = () if predicted is None else (LiveFace(0, BOX, probs=self.probs(predicted)),)
            self.camera._call("frames", [Frame(0, self.now - 1000.0, faces, 1.0, 1.0, 5.0, (160, 120))])
            self.session._try(lambda: self.session.tick(self.now))
            self.now += 0.1

    def answer(self, *, correct: bool = True, seconds: float = 30.0) -> str:
        """Show the current prompt (or another expression) until the next one comes or the session ends; return the prompt."""
        attempts, prompt = len(self.session.sitting.attempts), self.session.sitting.prompt
        shown = prompt if correct else next(one for one in self.expressions if one != prompt)
        for _ in range(round(10 * seconds)):
            self.show(shown, seconds=0.1)
            if len(self.session.sitting.attempts) > attempts and (self.session.sitting.prompt or not self.session.running):
                return prompt
        raise AssertionError("the prompt was not scored")

    def text(self) -> str:
        shown = (self.session.problem, self.session.said, self.session.result)
        return html.unescape(re.sub(r"<[^>]+>", " ", "".join(each.value for each in shown)))


@pytest.fixture
def clock(model: LiveModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(model, monkeypatch)


def begin(clock: Clock, *, n: int = 3, kept: str = "", person: str = "", condition: str = "acted") -> Session:
    session = clock.session
    session.person.value = person or session.person.value
    session.count.value, session.keep.value, session.condition.value = n, kept, condition
    session.start.click()
    clock.show("happy", seconds=0.2)
    return session


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_session_is_prompted_scored_and_summed_up(clock: Clock, folder: Path) -> None:
    session = begin(clock)
    assert clock.sent[0] == "start"
    assert session.sitting.prompt in clock.camera.prompt
    assert session.setup.layout.display == "none"
    prompts = [clock.answer(), clock.answer(correct=False), clock.answer()]
    assert prompts == list(session.sitting.prompts)
    assert not session.running
    assert clock.sent[-1] == "clear"
    assert clock.camera.prompt == ""
    assert "2 of 3 correct, 66.7 %" in clock.text()
    table = session.keeping.sessions()
    assert list(table["prompt"] == table["predicted"]) == [True, False, True]
    assert stored(folder) == []  # nothing was agreed to


def test_feedback_is_given_when_the_person_chose_it(clock: Clock) -> None:
    begin(clock)
    clock.answer(correct=False)
    clock.session.sitting.resume(clock.now)
    assert "predicted" not in clock.text()
    assert not clock.camera.labels
    clock.session.stop.click()
    assert clock.camera.labels
    clock.session.moment.value = "each"
    begin(clock)
    prompt = clock.session.sitting.prompt
    clock.show(prompt, seconds=6)
    assert f"Prompted {prompt}, predicted {prompt}." in clock.text()


def test_a_prompt_without_a_face_comes_again_and_is_not_scored(clock: Clock) -> None:
    session = begin(clock, n=1)
    prompt = session.sitting.prompt
    clock.show(None, seconds=6)
    assert f"No face was seen for {prompt}" in clock.text()
    clock.show(None, seconds=2.5)
    assert session.sitting.prompt == prompt
    clock.answer()
    assert "1 of 1 correct" in clock.text()
    assert re.search(r"no face\s+1 attempt, not scored", clock.text())


@pytest.mark.parametrize("state", ["denied", "no camera", "failed"])
def test_a_camera_that_fails_ends_the_session_in_words(clock: Clock, state: str) -> None:
    session = begin(clock)
    clock.camera.state = state
    assert panel.BROKEN[state] in clock.text()
    assert not session.running
    assert not session.start.disabled


def test_space_scores_at_once_and_escape_stops(clock: Clock) -> None:
    session = begin(clock, condition="remembered")
    session.shortcuts.press(" ")
    clock.show("happy", seconds=3)
    assert len(session.sitting.attempts) == 1  # remembering takes up to ten seconds
    session.shortcuts.press("Escape")
    assert not session.running
    assert "of 1 correct" in clock.text()
    session.shortcuts.press(" ")
    assert not session.running


def test_numbers_are_kept_where_that_is_chosen_and_erased_when_it_is_taken_back(clock: Clock, folder: Path) -> None:
    session = begin(clock, kept="numbers")
    clock.answer()
    (path,) = stored(folder)  # as soon as a prompt is scored: a closed page loses nothing
    assert path.suffix == ".csv"
    assert path.stat().st_mode & 0o077 == 0
    session.keep.value = ""
    assert stored(folder) == []
    clock.answer()
    assert stored(folder) == []
    session.keep.value = "numbers"
    clock.answer()
    table = pd.read_csv(*stored(folder))
    assert list(table["number"]) == [1, 2, 3]
    assert set(table["person"]) == {session.person.value}
    session.keep.value = ""
    assert stored(folder) == []
    assert "is erased" in clock.text()


def test_a_name_is_refused_and_not_repeated(clock: Clock, folder: Path) -> None:
    clock.session.person.value = "Ada Lovelace"
    clock.session.start.click()
    assert "no pseudonym" in clock.text()
    assert "Ada" not in clock.text()
    assert not clock.session.running
    assert stored(folder) == []


def test_faces_need_a_consent_on_record(clock: Clock, folder: Path) -> None:
    clock.session.keep.value = "faces"
    clock.session.start.click()
    assert "no consent" in clock.text()
    assert not clock.session.running
    assert stored(folder) == []


def still(clock: Clock, predicted: str) -> Still:
    return Still(PICTURE, (LiveFace(0, BOX, score=0.9, probs=clock.probs(predicted)),), 0, "", "camera")


def test_faces_are_stored_with_consent_and_go_with_it(clock: Clock, folder: Path) -> None:
    collection = clock.session.keeping.collection
    person = collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, kept="faces", person=person)
    prompt = session.sitting.prompt
    clock.show(prompt, seconds=5.5)
    assert clock.sent[-1] == "take"
    clock.camera._call("still", still(clock, prompt))
    assert clock.sent[-1] == "start"  # the camera had stopped for the picture
    assert collection.counts(person) == {prompt: 1}
    clock.show(prompt, seconds=1)
    assert session.sitting.number == 1
    collection.withdraw(person)  # meanwhile, elsewhere
    clock.show(session.sitting.prompt, seconds=5.5)
    assert "withdrawn" in clock.text()
    assert not list(folder.rglob("*.png"))
    assert not list(folder.rglob("sessions/*.csv"))
    clock.answer()
    assert not session.running
    assert not list(folder.rglob("sessions/*.csv"))


def test_the_last_prompts_face_is_stored_before_the_session_ends_and_no_picture_remains(clock: Clock, folder: Path) -> None:
    collection = clock.session.keeping.collection
    person = collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, n=2, kept="faces", person=person)
    for prompt in session.sitting.prompts:
        clock.show(prompt, seconds=5.5)
        assert clock.sent[-1] == "take"
        clock.camera._still = (1, still(clock, prompt))  # as the browser's answer leaves it
        clock.camera._call("still", clock.camera._still[1])
        clock.show(prompt, seconds=1)
    assert collection.counts(person) == dict.fromkeys(session.sitting.prompts, 1)
    assert not session.running
    assert clock.camera._still is None
    assert clock.sent[-2:] == ["take", "clear"]  # the camera is not started once more
    assert "2 of 2 correct" in clock.text()


def test_a_face_whose_picture_does_not_come_neither_holds_up_the_session_nor_its_end(clock: Clock, folder: Path) -> None:
    person = clock.session.keeping.collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, n=2, kept="faces", person=person)
    clock.show(session.sitting.prompt, seconds=5.5)
    assert clock.sent[-1] == "take"
    clock.show(None, seconds=5)
    assert clock.sent[-2:] == ["clear", "start"]  # the camera had stopped for the picture, which is no longer awaited
    clock.show(None, seconds=0.5)
    clock.show(session.sitting.prompt, seconds=6)
    assert clock.sent[-1] == "take"
    assert session.running
    clock.show(None, seconds=5)
    assert not session.running
    assert clock.sent[-1] == "clear"
    assert "2 of 2 correct" in clock.text()
    assert not list(folder.rglob("*.png"))


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_a_picture_on_its_way_is_not_stored_after_the_end(clock: Clock, folder: Path, end: str) -> None:
    person = clock.session.keeping.collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, n=1, kept="faces", person=person)
    prompt = session.sitting.prompt
    clock.show(prompt, seconds=5.5)
    if end == "stopped":
        session.shortcuts.press("Escape")
    else:
        clock.camera.state = "failed"
    assert clock.sent[-1] == ("clear" if end == "stopped" else "stop")  # a failure's reason stays on the page
    clock.camera._call("still", still(clock, prompt))
    assert not session.running
    assert not list(folder.rglob("*.png"))


def test_faces_of_the_session_are_discarded_when_fewer_are_to_be_kept(clock: Clock, folder: Path) -> None:
    person = clock.session.keeping.collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, kept="faces", person=person)
    prompt = session.sitting.prompt
    clock.show(prompt, seconds=5.5)
    clock.camera._call("still", still(clock, prompt))
    assert len(list(folder.rglob("*.png"))) == 1
    session.keep.value = "numbers"
    assert not list(folder.rglob("*.png"))
    assert len(list(folder.rglob("sessions/*.csv"))) == 1


def test_stills_score_prompts_where_no_window_is_averaged(model: LiveModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(model, monkeypatch, window_s=0)
    session = begin(clock, n=2)
    prompt = session.sitting.prompt
    clock.show(None, seconds=3.2)
    assert clock.sent[-1] == "take"
    clock.camera._call("still", still(clock, prompt))
    assert session.sitting.attempts[0].frames == 1
    clock.show(prompt, seconds=1)
    clock.show(None, seconds=3.2)
    clock.camera._call("still", Still(PICTURE, (LiveFace(0, BOX),), 0, "", "camera"))  # the browser did not predict: the kernel does
    assert session.sitting.attempts[1].probs.shape == (7,)
    clock.show(None, seconds=0.1)
    assert not session.running


def test_the_page_is_shown_at_the_end(model: LiveModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel.panels, "displayed", lambda act, table: widgets.HTML(act(table)))
    clock = Clock(model, monkeypatch, page=lambda table: f"{len(table)} attempts")
    begin(clock, n=1)
    clock.answer()
    (shown,) = clock.session.below.children
    assert shown.value == "1 attempts"
    begin(clock, n=1)
    assert clock.session.below.children == ()


def test_a_full_disk_is_told_and_the_session_goes_on(clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise files.InputError(f"{path.name}: not saved: No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    session = begin(clock, kept="numbers", n=2)
    clock.show(session.sitting.prompt, seconds=5.2)
    assert "No space left" in clock.text()
    clock.answer()
    assert len(session.keeping.sessions()) == 2


def test_a_camera_without_a_model_is_refused() -> None:
    with pytest.raises(files.InputError, match="needs a model"):
        Session(Camera())


def test_a_session_that_is_forgotten_while_it_runs_is_not_written_again(clock: Clock, folder: Path) -> None:
    session = begin(clock, kept="numbers")
    clock.answer()
    session.keeping.collection.erase(session.person.value)
    assert stored(folder) == []
    clock.answer()
    assert "erased meanwhile" in clock.text()
    assert stored(folder) == []


def test_no_face_is_stored_where_only_numbers_are_kept(clock: Clock, folder: Path) -> None:
    person = clock.session.keeping.collection.agree(Agreement(adult=True, research=True))
    session = begin(clock, kept="numbers", person=person)
    prompt = session.sitting.prompt
    clock.show(prompt, seconds=5.5)
    assert "take" not in clock.sent
    session.keeping.store_face(still(clock, prompt), clock.camera.model, prompt=prompt)
    assert not list(folder.rglob("*.png"))


@pytest.mark.parametrize("typed", [True, False], ids=["another pseudonym typed", "a new one drawn"])
@pytest.mark.parametrize(("first", "then"), [("numbers", ""), ("", "numbers")])
def test_what_the_next_person_chooses_does_not_reach_the_session_before(clock: Clock, folder: Path, first: str, then: str, typed: bool) -> None:
    session = begin(clock, n=1, kept=first, person="p-2222")
    clock.answer()
    before = {path: path.read_bytes() for path in stored(folder)}
    assert len(before) == (first == "numbers")
    if typed:
        session.person.value = "p-3333"
    else:
        session.other.click()
    assert session.keep.value == "", "nothing is chosen for the next person"
    for kept in (then, "numbers", ""):
        session.keep.value = kept
        assert {path: path.read_bytes() for path in stored(folder)} == before


def test_a_second_click_on_start_does_not_begin_anew(clock: Clock) -> None:
    session = begin(clock, n=3)
    sitting = session.sitting
    session.start.click()
    assert session.sitting is sitting


def test_a_session_is_written_while_nobody_can_be_erased(clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a person who is erased between the look at the record and the writing would come back."""
    written, real = [], session_keeping.write_session

    def write(table: pd.DataFrame) -> Path:
        written.append(folder / "data" / "raw" / ".collected.lock" in locks._HELD)
        return real(table)

    monkeypatch.setattr(session_keeping, "write_session", write)
    session = begin(clock, n=2, kept="numbers")
    clock.answer()
    session.keep.value = ""
    session.keep.value = "numbers"
    assert written == [True, True]
