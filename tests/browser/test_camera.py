"""The camera's page side against the real widget of this process, without a server."""

from __future__ import annotations

import io

import cv2
import numpy as np
import onnx
import pytest
from live_browser import in_room, requests_elsewhere, serious_violations
from matplotlib.cbook import get_sample_data
from mounted import ask_worker, mount, wait
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import sample_spec
from ferlab.data.preparation.detection import crop_box
from ferlab.deployment.face_search import read_picture
from ferlab.deployment.foreign import card_beside
from ferlab.deployment.inputs import prepare_faces
from ferlab.live.camera import Camera
from ferlab.live.model import LiveModel

pytestmark = [pytest.mark.browser, pytest.mark.slow]
READY = "[data-ready=true]"
COLOUR_CARD = """
name: colours
title: the mean of each colour
source: a test
licence: MIT
trained_on: {datasets: null, stated: nobody}
size: 16
colour: bgr
layout: NHWC
scaling: {range: 1, mean: 0, std: 1}
output: logits
classes: [{sad: sad}, {calm: neutral}, {rage: angry}]
"""


def portrait() -> np.ndarray:
    return read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))


def png(picture: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=1, **options)
    return file.getvalue()


class Shown:
    """A camera in a page, and all that it reported."""

    def __init__(self, page, camera: Camera) -> None:
        self.page, self.camera = page, camera
        self.stills, self.frames, self.problems, self.ended = [], [], [], []
        camera.on_still(self.stills.append)
        camera.on_frames(self.frames.extend)
        camera.on_problem(self.problems.append)
        camera.on_ended(self.ended.append)
        mount(page, camera)
        page.locator(READY).wait_for()

    def until(self, condition, *, seconds: float = 30) -> None:
        wait(self.page, condition, seconds=seconds)

    def choose(self, name: str, content: bytes, kind: str = "image/png") -> None:
        self.page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})

    def forget(self) -> None:
        """Leave no picture and no report."""
        self.camera.clear()
        self.until(lambda: self.status == "No picture yet.")
        for told in (self.stills, self.frames, self.problems, self.ended):
            told.clear()

    @property
    def status(self) -> str:
        return self.page.locator(".fl-status").inner_text()


@pytest.fixture(scope="module")
def model() -> LiveModel:
    return LiveModel.load()


@pytest.fixture(scope="module")
def one_camera(browser, model):
    with browser.new_context(viewport={"width": 900, "height": 900}) as context:
        yield Shown(context.new_page(), Camera(model, spoof=True))


@pytest.fixture
def shown(one_camera):
    """The camera of all tests without one of their own; each finds it without a picture."""
    one_camera.forget()
    return one_camera


def test_two_hundred_faces_get_the_probabilities_that_the_kernel_gives(shown, model) -> None:
    sizes = [24, 47, 48, 49, 96, 131, 200]
    drawn = [draw_image(sample_spec(0, n), 96, colour=True) for n in range(150)]
    faces = [cv2.resize(face, (sizes[n % len(sizes)],) * 2, interpolation=cv2.INTER_AREA) for n, face in enumerate(drawn)]
    picture = portrait()
    faces += [crop_box(picture, (100 + 4 * n, -60 + 7 * n, 120 + 5 * n, 120 + 5 * n)) for n in range(50)]
    answer = ask_worker(shown.page, {"do": "faces", "key": 1}, faces)
    expected = np.concatenate([model.predictor.predict_faces(face[None]) for face in faces])
    assert np.abs(np.array(answer["probs"]) - expected).max() < 1e-3
    seen = np.array(answer["tensors"]).reshape(-1, 1, 48, 48)
    wanted = np.concatenate([prepare_faces(face[None], size=48, channels=1) for face in faces])
    assert np.abs(seen - wanted).max() < 1e-5


def test_a_still_is_read_as_the_kernel_reads_it(shown, model) -> None:
    elsewhere = requests_elsewhere(shown.page)
    shown.choose("grace.png", png(portrait()))
    shown.until(lambda: shown.stills)
    still = shown.stills[-1]
    assert (still.name, still.source, still.chosen) == ("grace.png", "file", 0)
    np.testing.assert_array_equal(still.picture, portrait())
    assert still.face.probs == pytest.approx(model.predict(still.picture, still.face.box, flip=False), abs=1e-3)
    assert still.face.real is not None
    assert abs(still.face.pose[0]) < 15
    assert shown.status == "1 face."
    assert elsewhere == []
    assert serious_violations(shown.page, ".fl-camera") == []


def test_a_turned_photograph_is_upright(shown) -> None:
    file = io.BytesIO()
    turned = Image.fromarray(np.rot90(portrait()).copy())
    exif = turned.getexif()
    exif[0x0112] = 6  # turn it by a quarter clockwise
    turned.save(file, format="JPEG", quality=95, exif=exif)
    shown.choose("phone.jpg", file.getvalue(), "image/jpeg")
    shown.until(lambda: shown.stills)
    assert shown.stills[-1].picture.shape == portrait().shape
    assert len(shown.stills[-1].faces) == 1


def colour_model(path):
    """Write a model, and its card, of three expressions whose logits are the means of blue, green and red."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"]),
    ]
    given, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("image", ["N", 16, 16, 3]), ("scores", ["N", 3])))
    weights = numpy_helper.from_array(6 * np.eye(3, dtype=np.float32), "weights")
    made = helper.make_graph(nodes, "colours", [given], [out], [weights])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    card_beside(path).write_text(COLOUR_CARD)
    return path


BITMAPS = """async () => {
  const video = document.querySelector("video"), plain = window.createImageBitmap, before = video.getVideoPlaybackQuality().totalVideoFrames;
  let made = 0;
  window.createImageBitmap = (...given) => { made++; return plain(...given); };
  await new Promise((done) => setTimeout(done, 2000));
  window.createImageBitmap = plain;
  return {made, video: video.getVideoPlaybackQuality().totalVideoFrames - before};
}"""


BAD = {
    "a text": (b"not a picture", "no image"),
    "nothing": (b"", "no image"),
    "sixteen bits": (png(np.zeros((60, 60), np.uint16)), "more than 8 bits"),
    "huge": (png(np.zeros((20_000, 20_000), np.uint8)), "at most 50,331,648"),
    "cut": (png(np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8))[:9000], "cut or damaged"),
}


def test_a_file_that_is_no_picture_is_told_in_one_line(shown) -> None:
    animated, cmyk = io.BytesIO(), io.BytesIO()
    frames = [Image.new("L", (50, 50), shade) for shade in (0, 200)]
    frames[0].save(animated, format="GIF", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (50, 50)).save(cmyk, format="JPEG")
    for name, (content, words) in {**BAD, "animated": (animated.getvalue(), "2 frames"), "four inks": (cmyk.getvalue(), "CMYK")}.items():
        shown.problems.clear()
        shown.choose(name, content)
        shown.until(lambda: shown.problems)
        assert words in shown.problems[0], name
        assert "\n" not in shown.problems[0]
        shown.until(lambda: shown.status == shown.problems[0], seconds=5)
        assert shown.camera.state == "no picture"
    assert shown.stills == []


DROP = """(megabytes) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(megabytes * 1e6)], "larger.png", {type: "image/png"}));
  document.querySelector(".fl-stage").dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


def test_a_file_of_several_parts_arrives_whole_and_one_beyond_the_limit_is_not_sent(shown) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1300, 3)).astype(np.uint8)
    assert len(png(noise)) > 4_000_000  # a part
    shown.choose("large.png", png(noise))
    shown.until(lambda: shown.stills, seconds=60)
    np.testing.assert_array_equal(shown.stills[-1].picture, noise)
    assert shown.camera.state == "no face"
    shown.page.evaluate(DROP, 33)
    shown.until(lambda: shown.camera.state == "too large")
    assert "33.0 MB; pictures of at most 32 MB are read" in shown.status
    assert len(shown.stills) == 1


DROP_FOLDER = """() => {
  const folder = new File([""], "faces"), event = new Event("drop", {bubbles: true, cancelable: true});
  folder.arrayBuffer = () => Promise.reject(new DOMException("", "NotFoundError"));
  Object.defineProperty(event, "dataTransfer", {value: {files: [folder]}});
  document.querySelector(".fl-stage").dispatchEvent(event);
}"""


def test_a_dropped_folder_is_told(shown) -> None:
    shown.page.evaluate(DROP_FOLDER)
    shown.until(lambda: shown.camera.state == "no picture")
    assert "faces cannot be read" in shown.status


def test_boxes_are_moved_drawn_and_removed_by_keyboard_and_mouse(shown) -> None:
    shown.choose("grace.png", png(portrait()))
    shown.until(lambda: shown.stills)
    before = shown.stills[-1].face
    box = shown.page.locator(".fl-boxes g").first
    box.focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("+")
    shown.until(lambda: len(shown.stills) >= 3)
    moved = shown.stills[-1].face
    assert moved.box == pytest.approx((before.box[0], before.box[1] - 2, before.box[2] + 4, before.box[3] + 4))
    assert moved.score is None
    assert not np.allclose(moved.probs, before.probs, atol=1e-6)
    stage = shown.page.locator(".fl-stage").bounding_box()
    shown.page.mouse.move(stage["x"] + 20, stage["y"] + 20)
    shown.page.mouse.down()
    shown.page.mouse.move(stage["x"] + 90, stage["y"] + 60, steps=4)
    shown.page.mouse.up()
    shown.until(lambda: len(shown.stills[-1].faces) == 2)
    assert shown.stills[-1].face.box[2] == pytest.approx(70 / stage["width"] * portrait().shape[1], rel=0.1)
    shown.page.locator(".fl-boxes g").nth(1).focus()
    shown.page.keyboard.press("Delete")
    shown.until(lambda: len(shown.stills[-1].faces) == 1)
    shown.page.locator(".fl-boxes g").first.focus()
    shown.page.keyboard.press("Delete")
    shown.until(lambda: shown.camera.state == "no face")
    assert shown.stills[-1].face is None


def test_a_box_drawn_after_another_was_removed_is_the_selected_face(shown) -> None:
    shown.choose("grace.png", png(portrait()))
    shown.until(lambda: shown.stills)
    shown.camera.propose([(300, 300, 120, 120), (20, 20, 60, 60)])
    shown.until(lambda: len(shown.stills[-1].faces) == 2)
    shown.page.locator(".fl-boxes g").first.focus()
    shown.page.keyboard.press("Delete")
    shown.until(lambda: len(shown.stills[-1].faces) == 1)
    stage = shown.page.locator(".fl-stage").bounding_box()
    right = stage["x"] + stage["width"]
    shown.page.mouse.move(right - 120, stage["y"] + 20)
    shown.page.mouse.down()
    shown.page.mouse.move(right - 50, stage["y"] + 60, steps=4)
    shown.page.mouse.up()
    shown.until(lambda: len(shown.stills[-1].faces) == 2)
    assert shown.stills[-1].face.box[0] > 200


def test_without_a_camera_the_page_says_so(shown) -> None:
    shown.page.get_by_text("Start camera").click()
    shown.until(lambda: shown.camera.state == "no camera")
    assert "No camera was found" in shown.status


def test_a_denied_camera_is_a_state_of_its_own(fake_camera, model) -> None:
    with fake_camera.context(allowed=False) as context:
        shown = Shown(context.new_page(), Camera(model))
        shown.page.get_by_text("Start camera").click()
        shown.until(lambda: shown.camera.state == "denied")
        assert "not allowed" in shown.status


def test_the_camera_reports_frames_with_a_steady_id_and_stops(fake_camera, model) -> None:
    face = portrait()[60:420, 90:450]
    fake_camera.show([in_room(np.roll(face, 3 * n, axis=1)) for n in range(4)])
    with fake_camera.context() as context:
        shown = Shown(context.new_page(), Camera(model))
        shown.page.get_by_text("Start camera").click()
        shown.until(lambda: len(shown.frames) >= 15, seconds=60)
        assert {face.id for frame in shown.frames for face in frame.faces} == {0}
        times = [frame.time for frame in shown.frames]
        assert times == sorted(times)
        assert all(frame.total_ms >= frame.search_ms + frame.predict_ms for frame in shown.frames)
        assert shown.frames[-1].faces[0].probs.sum() == pytest.approx(1, abs=1e-4)
        for _ in range(3):
            shown.page.get_by_role("button", name="Stop").click()
            assert shown.page.locator(".fl-seen").is_hidden()
            shown.page.get_by_text("Start camera").click()
            count = len(shown.frames)
            shown.until(lambda count=count: len(shown.frames) > count)
        read = shown.page.evaluate(BITMAPS)
        assert read["video"] >= 3
        assert read["made"] <= read["video"] + 3, "stopping left a loop behind, which reads each frame again"
        shown.page.get_by_text("Take a picture").click()
        shown.until(lambda: shown.stills)
        assert shown.stills[-1].picture.shape == (480, 640, 3)
        assert shown.page.evaluate("document.querySelector('video').srcObject") is None


def test_a_video_file_is_played_and_its_end_is_told(shown, tmp_path) -> None:
    film = tmp_path / "clip.webm"
    video = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"VP80"), 10, (640, 480))
    for _ in range(15):
        video.write(in_room(portrait()[60:420, 90:450])[..., ::-1].copy())
    video.release()
    shown.choose("clip.webm", film.read_bytes(), "video/webm")
    shown.until(lambda: shown.ended == ["clip.webm"], seconds=60)
    assert 1 <= len(shown.frames) <= 15  # all that a busy machine has time for
    assert shown.frames[-1].faces
    assert shown.page.locator(".fl-boxes g").count() == 0  # nor may it be played again, as nothing would be read
    assert not shown.page.evaluate("document.querySelector('video').controls")
    shown.choose("broken.webm", b"no video", "video/webm")
    shown.until(lambda: shown.camera.state == "no video")


def test_a_model_that_the_browser_cannot_run_predicts_in_the_kernel(fake_camera, model, monkeypatch) -> None:
    class Prepared:
        """Training faces that were darkened: more than a crop."""

        detector, notes = None, ()

        def change(self, faces):
            return faces // 2

    monkeypatch.setattr(model.predictor, "steps", Prepared())
    fake_camera.show([in_room(portrait()[60:420, 90:450])] * 3)
    with fake_camera.context() as context:
        shown = Shown(context.new_page(), Camera(model))
        assert shown.camera.predicts == "kernel"
        shown.choose("grace.png", png(portrait()))
        shown.until(lambda: shown.stills)
        expected = model.predict(portrait(), shown.stills[-1].face.box)
        assert shown.stills[-1].face.probs == pytest.approx(expected, abs=1e-6)
        shown.page.get_by_text("Start camera").click()
        shown.until(lambda: any(face.probs is not None for frame in shown.frames for face in frame.faces))
        assert shown.frames[-1].faces[0].probs == pytest.approx(expected, abs=0.2)  # the same face, filmed


def test_a_model_of_three_channels_replaces_a_running_one_and_reads_as_the_kernel_does(fake_camera, model, tmp_path) -> None:
    other = LiveModel.load(colour_model(tmp_path / "other.onnx"))
    faces = [draw_image(sample_spec(0, n), size, colour=True) for n, size in enumerate((7, 16, 40, 96))]
    fake_camera.show([in_room(portrait()[60:420, 90:450])] * 3)
    with fake_camera.context() as context:
        shown = Shown(context.new_page(), Camera(model))
        shown.page.get_by_text("Take a picture").wait_for()
        shown.camera.show(portrait())
        shown.until(lambda: shown.stills)
        shown.page.get_by_text("Start camera").click()
        shown.until(lambda: len(shown.frames) >= 3)
        shown.camera.model = other  # must neither stop the camera nor show the still again
        shown.until(lambda: shown.frames[-1].faces and shown.frames[-1].faces[0].probs is not None and len(shown.frames[-1].faces[0].probs) == 3)
        assert (shown.camera.state, len(shown.stills)) == ("running", 1)
        assert "RGB" in shown.page.locator(".fl-seen").inner_text()
        shown.page.get_by_role("button", name="Stop").click()
        shown.until(lambda: shown.camera.state == "idle")
        shown.page.wait_for_timeout(500)  # the worker's last frame
        answer = ask_worker(shown.page, {"do": "faces", "key": 1}, faces)
        expected = np.concatenate([other.predictor.predict_faces(face[None]) for face in faces])
        assert np.abs(np.array(answer["probs"]) - expected).max() < 1e-3
        assert np.ptp(expected, axis=1).min() > 0.05  # the channels differ, so their order shows
        count = len(shown.frames)
        shown.page.get_by_text("Start camera").click()
        shown.until(lambda: len(shown.frames) > count)


def test_another_model_predicts_a_still_with_its_boxes_and_selected_face(browser, model, tmp_path) -> None:
    other = LiveModel.load(colour_model(tmp_path / "other.onnx"))
    with browser.new_context() as context:
        shown = Shown(context.new_page(), Camera(model))
        shown.choose("grace.png", png(portrait()))
        shown.until(lambda: shown.stills)
        shown.camera.propose([(20, 20, 60, 60), (300, 300, 120, 120)])
        shown.until(lambda: len(shown.stills[-1].faces) == 2)
        shown.page.locator(".fl-boxes g").nth(1).focus()
        shown.page.keyboard.press("Enter")
        shown.until(lambda: shown.stills[-1].chosen == 1)
        before = shown.stills[-1]
        shown.camera.model = other
        shown.until(lambda: shown.stills[-1].faces and len(shown.stills[-1].faces[0].probs) == 3, seconds=60)
        after = shown.stills[-1]
        assert [face.box for face in after.faces] == [face.box for face in before.faces]
        assert (after.chosen, after.name, after.source, after.content) == (1, "grace.png", "file", before.content)
        assert shown.page.locator(".fl-boxes g").nth(1).get_attribute("aria-pressed") == "true"


def test_what_is_cleared_is_forgotten_in_kernel_page_and_worker(shown) -> None:
    shown.choose("grace.png", png(portrait()))
    shown.until(lambda: shown.stills)
    shown.camera.clear()
    shown.until(lambda: shown.status == "No picture yet.")
    assert shown.camera._still is None
    assert shown.page.evaluate("[...document.querySelectorAll('.fl-camera canvas')].map((each) => each.width * each.height)") == [0, 0]
    assert shown.page.locator(".fl-boxes g").count() == 0
    late = {"kind": "file", "key": 99, "name": "late.png", "source": "file", "part": 0, "parts": 1, "bytes": 4, "cleared": 0}
    shown.camera._receive(late, [b"late"])  # sent before the page knew
    assert (shown.camera._still, shown.problems) == (None, [])
    shown.choose("again.png", png(portrait()))
    shown.until(lambda: shown.stills[-1].name == "again.png")


def test_labels_of_neighbours_stand_apart_and_boxes_lie_on_a_wide_picture(shown) -> None:
    face = portrait()[60:420, 120:430]
    shown.page.set_viewport_size({"width": 390, "height": 800})
    shown.camera.show(np.concatenate([face, face, face], axis=1), name="three")
    shown.until(lambda: shown.stills and len(shown.stills[-1].faces) == 3)
    picture, boxes = (shown.page.locator(name).bounding_box() for name in ("canvas.fl-picture", ".fl-boxes"))
    assert boxes == pytest.approx(picture, abs=1)
    spots = [text.bounding_box() for text in shown.page.locator(".fl-boxes text").all()]
    assert len(spots) == 3
    for place, one in enumerate(spots):
        assert picture["x"] <= one["x"]
        assert one["x"] + one["width"] <= picture["x"] + picture["width"] + 1
        for other in spots[:place]:
            beside = one["x"] >= other["x"] + other["width"] or other["x"] >= one["x"] + one["width"]
            assert beside or abs(one["y"] - other["y"]) >= 0.8 * one["height"]
    shown.page.set_viewport_size({"width": 900, "height": 900})
