"""The panel of the expression check, with a camera whose frames this process makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted import PLAIN, Clock, Scripted, frame, probs

from ferlab.expressions import EXPRESSIONS
from ferlab.live.camera import Camera
from ferlab.live.model import LiveModel
from ferlab.live.verification.check import BLINK, SIGNS
from ferlab.live.verification.panel import Verify
from ferlab.live.verification.recalls import read_recalls
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def model():
    return LiveModel.load()


@pytest.fixture
def panel(model, monkeypatch):
    """Return a panel, and in `sent` what it tells the browser."""
    shown = Verify(Camera(model, uses=["camera"]), rules=PLAIN)
    shown.sent = []
    monkeypatch.setattr(shown.camera, "send", lambda content, buffers=None: shown.sent.append(content["do"]))
    return shown


def go_through(panel, person, *, until=lambda _: False):
    """Let a person answer the running check of a panel."""
    clock = Clock()
    panel.check._clock = clock
    prompts = []
    for shown in person.frames(panel.check, clock):
        panel.camera._receive({"kind": "frames", "frames": [as_row(shown)]}, [])
        panel.tick()
        if panel.camera.prompt not in ("", *prompts[-1:]):
            prompts.append(panel.camera.prompt)
        if panel.check.verdict is not None or until(panel):
            return prompts
    raise AssertionError


def as_row(shown):
    """Return a frame as the browser sends it."""
    faces = [
        {"id": f.id, "box": list(f.box), "score": 0.9, "probs": f.probs.tolist(), "pose": list(f.pose), "eyes": list(f.eyes), "mouth": f.mouth}
        for f in shown.faces
    ]
    times = {key: getattr(shown, key) for key in ("number", "time", "search_ms", "predict_ms", "total_ms")}
    return {**times, "faces": faces, "size": list(shown.size)}


def test_without_consent_nothing_starts(panel):
    assert panel.start.disabled
    panel.start.click()
    assert panel.check is None
    assert panel.sent == []
    assert "tick the box first" in panel.problem.value
    panel.consent.value = True
    assert not panel.start.disabled


def test_the_consent_says_whether_faces_leave_the_browser(panel, model, monkeypatch):
    assert "Pictures stay in this browser" in panel.consent.description
    monkeypatch.setattr(model.predictor, "steps", object())  # training faces prepared by more than a crop: the kernel predicts
    consent = Verify(Camera(model, uses=["camera"])).consent.description
    assert "stay in this browser" not in consent
    assert "Cropped faces are sent to the notebook's kernel" in consent


def begin(panel):
    panel.consent.value = True
    panel.start.click()
    assert panel.sent[-1] == "start"


def test_a_person_passes_and_sees_every_prompt(panel):
    begin(panel)
    prompts = go_through(panel, Scripted())
    assert panel.check.verdict.flag == "passed"
    assert set(prompts) <= {"😠", "😀", "😮", "😑", "⬅️", "➡️"}
    assert "Passed" in panel.result.value
    assert "neutral to apex" in panel.result.value
    assert panel.sent[-1] == "stop"
    assert (panel.shown.value, panel.camera.prompt) == ("", "")
    assert not panel.start.disabled


def test_each_prompt_is_announced_and_predictions_are_hidden_meanwhile(panel):
    begin(panel)
    go_through(panel, Scripted(), until=lambda shown: shown.check.prompt.step in EXPRESSIONS)
    assert f"show: {panel.check.prompt.step}" in panel.said.value
    assert 'aria-live="polite"' in panel.said.value
    assert "fl-ring" in panel.shown.value
    assert not panel.camera.labels
    panel.shortcuts.press("Escape")
    assert panel.camera.labels
    assert "Not decided" in panel.result.value
    assert "The check was stopped." in panel.result.value


def test_a_wrong_side_fails_with_its_reason(panel):
    begin(panel)
    go_through(panel, Scripted(says=lambda step: BLINK if step in SIGNS else step))
    assert panel.check.verdict.flag == "failed"
    assert "<li>head turn:" in panel.result.value


@pytest.mark.parametrize(
    ("state", "words"),
    [("denied", "not allowed to use the camera"), ("no camera", "No camera was found"), ("failed", "the reason stands beside")],
)
def test_a_camera_that_cannot_is_not_decided(panel, state, words):
    begin(panel)
    panel.camera.set_state({"state": state})
    assert panel.check.verdict.flag == "not decided"
    assert words in panel.result.value
    assert not panel.start.disabled


def test_a_camera_that_gets_ready_has_all_the_time_it_needs(panel):
    begin(panel)
    clock = Clock()
    panel.check._clock, panel.check._arrived = clock, 0.0
    panel.camera.set_state({"state": "starting"})
    for clock.now in (5.0, 60.0):
        panel.tick()
    assert panel.check.verdict is None
    panel.camera.set_state({"state": "running"})
    clock.now = 80.0
    panel.tick()
    assert panel.check.verdict.flag == "not decided"


def test_more_misses_than_prompts_are_one_line(panel):
    panel.consent.value = True
    panel.prompts.value, panel.misses.value = 2, 2
    panel.start.click()
    assert "fewer allowed misses" in panel.problem.value
    assert panel.sent == []
    panel.misses.value = 0
    panel.start.click()
    assert "fewer allowed misses" not in panel.problem.value
    assert len([step for step in panel.check.steps if step in EXPRESSIONS]) == 2


def test_checks_are_counted_by_who_stood_there_and_nothing_is_written(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for person, who in ((Scripted(), "bona fide"), (Scripted(says=lambda _: "neutral"), "print"), (Scripted(says=lambda _: "neutral"), "")):
        begin(panel)
        go_through(panel, person)
        panel.who.value = who
    assert panel.stated()[["species", "flag"]].to_numpy().tolist() == [["bona fide", "passed"], ["print", "failed"]]
    assert "<td>print</td>" in panel.tally.value
    assert list(tmp_path.iterdir()) == []


def test_the_expressions_follow_from_recalls_on_public_test(panel):
    recalls = read_recalls("shipped")
    assert recalls.confusions.sum() == 3589
    assert recalls.by_expression()["happy"] == pytest.approx(791 / 895)
    assert panel.asked == ("angry", "happy", "surprise")
    with pytest.raises(InputError, match="no_such: no predictions"):
        read_recalls("no_such")


def test_a_model_without_recalls_asks_for_all_and_says_so(model):
    shown = Verify(Camera(replace(model, name="mine"), uses=["camera"]))
    assert shown.asked == EXPRESSIONS[:6]
    assert shown.rules.least_real is None


def test_a_stored_video_tests_the_check_without_a_camera(model, monkeypatch):
    shown = Verify(Camera(model, uses=["video"], spoof=True))
    sent = []
    monkeypatch.setattr(shown.camera, "send", lambda content, buffers=None: sent.append(content["do"]))
    shown.start.click()
    assert sent == []
    shown.see([frame(0, 0.0, probs("neutral")), frame(1, 0.04, probs("neutral"))])
    shown.camera.set_state({"state": "ended"})
    assert "The video has ended." in shown.result.value
    assert shown.rules.least_real == 0.6


def test_a_camera_without_a_model_is_refused():
    with pytest.raises(InputError, match="needs a model"):
        Verify(Camera(uses=["camera"]))
