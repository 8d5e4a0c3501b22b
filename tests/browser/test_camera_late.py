"""What reaches the camera's page too late, after the camera was stopped or the picture discarded: a permission, a denial, a picture."""

from __future__ import annotations

import numpy as np
import pytest
from live_browser import PATIENCE_MS
from matplotlib.cbook import get_sample_data
from mounted import deliver, mount, wait

from ferlab.control.clips import write_clip
from ferlab.deployment.face_search import read_picture
from ferlab.live.camera import Camera
from ferlab.live.model import LiveModel

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HELD = """{
  window.asked = []; window.streams = []; window.posted = []; window.decoded = 0; window.open = {};
  const gates = Object.fromEntries(["bitmap", "worker"].map((name) => [name, new Promise((done) => { window.open[name] = done; })]));
  const decode = window.createImageBitmap, Bare = Worker;
  window.createImageBitmap = async (...given) => { const made = await decode(...given); window.decoded++; await gates.bitmap; return made; };
  window.Worker = class extends Bare {
    set onmessage(act) { super.onmessage = async (event) => { await gates.worker; if (!this.ended) act(event); }; }
    terminate() { this.ended = true; super.terminate(); }
    postMessage(message, ...rest) { window.posted.push(message.do); super.postMessage(message, ...rest); }
  };
  const film = () => {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    setInterval(() => context.fillRect(0, 0, canvas.width, canvas.height), 50);
    return canvas.captureStream();
  };
  navigator.mediaDevices.getUserMedia = () => new Promise((allow, deny) => {
    const number = window.asked.length;
    window.asked.push({ allow: () => allow(window.streams[number] = film()), deny: () => deny(new DOMException("", "NotAllowedError")) });
  });
}"""
IN_TURN = """async (messages) => {
  for (const each of messages) { window.fromKernel([each]); await new Promise((done) => setTimeout(done)); }
}"""
FOUND = """() => window.workers.at(-1).dispatchEvent(new MessageEvent("message", { data: {
  kind: "frame", key: 0, born: performance.now(), time: 0, size: [640, 480], search_ms: 1, predict_ms: 1, tensor: null,
  faces: [{ id: 0, box: [10, 10, 50, 50], score: 0.9 }], crops: [{ data: new Uint8Array(48), width: 4, height: 4 }],
} }))"""
TRACKS = "window.streams.map((stream) => stream?.getTracks()[0].readyState ?? null)"


class Held:
    """A camera in a page whose permissions, decoded pictures and worker's messages wait until a test lets them go."""

    def __init__(self, page, camera: Camera) -> None:
        self.page, self.camera = page, camera
        page.add_init_script(HELD)
        mount(page, self.camera)

    def tell(self, *acts: str) -> None:
        """Let the kernel ask for acts of the camera, one after the other."""
        for act in acts:
            getattr(self.camera, act)()
            deliver(self.page)

    def let(self, name: str) -> None:
        self.page.evaluate(f"window.open.{name}()")

    def answer(self, number: int, *, by: str = "allow") -> list[str | None]:
        """Answer a request for the camera; return the states of all streams a moment later."""
        self.page.evaluate(f"window.asked[{number}].{by}()")
        self.page.wait_for_timeout(300)
        return self.page.evaluate(TRACKS)

    def becomes(self, state: str) -> None:
        wait(self.page, lambda: self.camera.state == state, seconds=60)

    @property
    def filmed(self) -> bool:
        return self.page.evaluate("document.querySelector('video').srcObject !== null")


@pytest.fixture
def held(browser):
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        yield Held(context.new_page(), Camera())


@pytest.mark.parametrize("end", ["stop", "clear", "leave"])
def test_a_camera_that_is_allowed_after_its_end_stays_off(held, end) -> None:
    held.tell("start")
    held.becomes("starting")
    held.page.evaluate("window.leave()") if end == "leave" else held.tell(end)
    held.becomes("idle")
    assert held.answer(0) == ["ended"]
    assert not held.filmed
    assert held.camera.state == "idle"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_starts_during_one_prompt_leave_one_stream_which_stops(held, order) -> None:
    held.tell("start", "stop", "start")
    for number in order:
        tracks = held.answer(number)
    assert tracks == ["ended", "live"]
    assert held.filmed
    held.tell("stop")
    assert held.page.evaluate(TRACKS) == ["ended", "ended"]


def test_a_camera_that_waits_for_a_replaced_worker_runs_with_the_next(held) -> None:
    held.tell("start")
    held.becomes("starting")
    held.answer(0)
    held.camera.model = LiveModel.load()
    deliver(held.page)
    held.let("worker")
    held.becomes("running")


def test_a_denial_after_a_stop_changes_nothing(held) -> None:
    held.tell("start", "stop")
    held.answer(0, by="deny")
    held.becomes("idle")
    held.tell("start", "stop", "start")
    held.answer(1, by="deny")
    held.becomes("starting")
    held.answer(2, by="deny")
    held.becomes("denied")


def test_a_second_video_that_is_played_before_the_first_has_begun_is_played_to_its_end(held, tmp_path) -> None:
    ended = []
    held.camera.on_ended(ended.append)
    for gate in ("bitmap", "worker"):
        held.let(gate)
    held.page.locator("[data-ready=true]").wait_for()
    write_clip(tmp_path / "film.webm", [np.zeros((120, 160, 3), np.uint8)] * 10, fps=10)
    for name in ("first", "second"):
        held.camera.play((tmp_path / "film.webm").read_bytes(), name=name, kind="video/webm")
    messages = [message for message in held.page.pending if message[0] == "message"]
    held.page.pending.clear()
    held.page.evaluate(IN_TURN, messages)
    wait(held.page, lambda: ended == ["second"], seconds=60)
    assert not held.page.evaluate("document.querySelector('video').controls")  # played again, it would not be read


def test_predictions_of_the_kernel_are_not_those_of_the_next_person(held) -> None:
    seen, asked = [], []
    held.camera.on_frames(lambda frames: seen.extend(face.probs for frame in frames for face in frame.faces))
    held.camera._predict_crops = lambda content, _: asked.append(content["key"])
    held.camera.predicts, held.camera.expressions = "kernel", ["happy", "sad"]
    for gate in ("bitmap", "worker"):
        held.let(gate)
    held.page.locator("[data-ready=true]").wait_for()

    def probs() -> list[float] | None:
        """Let the worker find the face of a frame; return what the frame reports of it."""
        seen.clear()
        held.page.evaluate(FOUND)
        wait(held.page, lambda: seen)
        return None if seen[0] is None else seen[0].tolist()

    def predict() -> None:
        wait(held.page, lambda: asked)
        held.camera.send({"do": "probs", "key": asked.pop(), "rows": [[0, [0.75, 0.25]]]})
        deliver(held.page)

    held.tell("start")
    held.answer(0)
    assert probs() is None
    predict()
    assert probs() == [0.75, 0.25]
    held.tell("stop", "start")
    held.answer(1)
    assert probs() is None
    predict()  # what was asked before the stop
    assert probs() is None
    predict()
    assert probs() == [0.75, 0.25]


def test_a_face_search_that_does_not_load_is_told_at_each_start_and_picture(browser) -> None:
    camera = Camera()
    camera._parts = {}
    with browser.new_context() as context:
        held = Held(context.new_page(), camera)
        for gate in ("bitmap", "worker"):
            held.let(gate)
        held.becomes("failed")
        states = []
        camera.on_state(states.append)
        held.tell("start")
        held.becomes("starting")
        held.answer(0)
        assert (states[-1], "could not load the face search" in held.page.locator(".fl-status").inner_text()) == ("failed", True)
        states.clear()
        camera.show(read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False)))
        wait(held.page, lambda: states[:1] == ["starting"] and states[-1] == "failed")
        assert "could not load the face search" in held.page.locator(".fl-status").inner_text()


@pytest.mark.parametrize("last", ["bitmap", "worker"])
def test_a_picture_that_is_discarded_on_its_way_stays_away(held, last) -> None:
    """Either the picture is decoded, or the worker is ready, after the kernel discarded it."""
    first = "worker" if last == "bitmap" else "bitmap"
    held.let(first)
    held.camera.show(read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    deliver(held.page)
    held.page.wait_for_function("window.decoded")
    if last == "worker":
        held.page.get_by_text("Searching for faces ...").wait_for()
    held.tell("clear")
    held.let(last)
    held.page.locator("[data-ready=true]").wait_for()
    held.page.wait_for_timeout(300)
    assert "still" not in held.page.evaluate("window.posted"), "the worker got the picture"
    assert held.page.evaluate("[...document.querySelectorAll('.fl-camera canvas')].map((each) => each.width * each.height)") == [0, 0]
    assert held.page.locator(".fl-status").inner_text() == "No picture yet."
