"""The live notebooks as a person uses them: a camera that shows drawn faces, the keyboard, a phone, and no request that leaves the machine."""

from __future__ import annotations

import asyncio
import http.server
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import aiohttp
import cv2
import numpy as np
import pytest
from live_browser import (
    PATIENCE_MS,
    REPOSITORY,
    complaints,
    failed_outputs,
    in_room,
    press_every_button,
    requests_elsewhere,
    serious_violations,
    serve_lab,
    walk_by_keyboard,
)
from matplotlib.cbook import get_sample_data

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import sample_spec
from ferlab.deployment.face_search import read_picture

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FILMED = """async () => {
    try {
        const stream = await navigator.mediaDevices.getUserMedia({video: true});
        const video = document.createElement("video");
        video.srcObject = stream;
        await video.play();
        await new Promise(done => setTimeout(done, 500));
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d");
        canvas.drawImage(video, 0, 0);
        stream.getTracks().forEach(track => track.stop());
        return [canvas.canvas.width, canvas.canvas.height, ...canvas.getImageData(10, 10, 1, 1).data.slice(0, 3)];
    } catch (error) { return error.name; }
}"""
PAGE = b"""<!doctype html><html lang="en"><title>A page</title><main>
<div id="good"><label>Name <input></label></div><div id="bad"><input></div></main>"""


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def plain_page() -> Iterator[str]:
    """Serve one page on the loopback, where a browser offers the camera."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_fake_camera_shows_what_a_test_gives_it(fake_camera, plain_page) -> None:
    with fake_camera.context() as context:
        page = context.new_page()
        for size, colour in (((240, 320), (200, 30, 60)), ((480, 640), (20, 160, 90))):
            page.goto(plain_page)
            fake_camera.show([np.full((*size, 3), colour, np.uint8)] * 3)
            width, height, *seen = page.evaluate(FILMED)
            assert (height, width) == size
            assert seen == pytest.approx(colour, abs=4)


def test_a_camera_is_denied_or_absent_where_a_test_wants_it_so(fake_camera, browser, plain_page) -> None:
    with fake_camera.context(allowed=False) as denied, browser.new_context(permissions=["camera"]) as absent:
        for context, error in ((denied, "NotAllowedError"), (absent, "NotFoundError")):
            page = context.new_page()
            page.goto(plain_page)
            assert page.evaluate(FILMED) == error


def test_a_request_elsewhere_and_an_input_without_a_label_are_found(browser, plain_page) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        page.goto(plain_page)
        assert elsewhere == []
        page.evaluate("fetch('http://ferlab.invalid/x').catch(() => 0)")
        assert elsewhere == ["http://ferlab.invalid/x"]
        assert serious_violations(page, "#good") == []
        assert [line.split(":")[0] for line in serious_violations(page, "#bad")] == ["label"]


# ---- the notebooks ----

NOTEBOOKS = sorted(path.stem for path in (REPOSITORY / "notebooks" / "live").glob("*.ipynb"))
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PANEL = ".fl-panel"


def happy_room() -> np.ndarray:
    """Return a picture of a drawn person who shows happiness."""
    spec = replace(sample_spec(0, 3, subject=1, expression="happy"), occluder="none", noise=0.0)
    return in_room(draw_image(spec, 224, colour=True))


class Visit:
    """A live notebook served alone, what it asked for and complained of."""

    def __init__(self, context, address: str, name: str, *, theme: str = "light") -> None:
        context.set_default_timeout(PATIENCE_MS)
        self.page = context.new_page()
        self.elsewhere, self.complaints = requests_elsewhere(self.page), complaints(self.page)
        self.page.goto(f"{address}/voila/render/{name}.ipynb?theme={theme}", timeout=2 * PATIENCE_MS)  # its cells run first
        self.page.locator(PANEL).first.wait_for()
        self.page.locator("#rendered_cells").wait_for(state="visible")

    def check(self) -> None:
        """Assert that nothing went wrong, and nothing left the machine."""
        assert self.elsewhere == []
        assert self.complaints == []
        assert failed_outputs(self.page) == []

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def reads(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()


def is_wider_than(page, width: int) -> bool:
    return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)") > width


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_alone_by_keyboard_and_on_a_phone(fake_camera, voila, name: str) -> None:
    with fake_camera.context(viewport=DESK) as context:
        visit = Visit(context, voila, name)
        assert serious_violations(visit.page, PANEL) == []
        missed, unseen = walk_by_keyboard(visit.page)
        assert missed == [], "not reached by Tab"
        assert unseen == [], "without a visible focus"
        visit.page.set_viewport_size(PHONE)
        visit.page.wait_for_timeout(300)
        assert not is_wider_than(visit.page, PHONE["width"])
        visit.check()
        assert press_every_button(visit.page)
        visit.page.wait_for_timeout(1500)
        visit.check()


def test_two_tabs_read_a_large_picture_and_refuse_a_file_that_is_none(browser, voila) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2050, 2050, 3), dtype=np.uint8)
    portrait = read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))
    noise[300:1500, 400:1424] = cv2.resize(portrait, (1024, 1200))
    large = cv2.imencode(".png", noise, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
    assert len(large) > 12e6
    with browser.new_context(viewport=DESK) as context:
        first, second = (Visit(context, voila, "try_a_face") for _ in range(2))
        for visit, name, content in ((first, "large.png", large), (second, "letter.png", b"Dear face, this is no picture.")):
            visit.page.locator(".fl-camera input[type=file]").first.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
        second.page.locator(".fl-status", has_text="letter.png").wait_for()
        first.page.locator(".fl-status", has_text="1 face").wait_for()
        assert "letter.png" in second.page.locator(".fl-status").first.inner_text()
        for visit in (first, second):
            visit.check()


def test_a_session_by_keyboard_alone_from_denied_camera_to_erased_numbers(fake_camera, voila, live_workspace) -> None:
    fake_camera.show([happy_room()] * 3)
    stored = live_workspace / "data" / "raw" / "collected" / "sessions"
    with fake_camera.context(allowed=False, viewport=DESK) as context:
        visit = Visit(context, voila, "session")
        keyboard = visit.page.keyboard
        visit.button("Start session").focus()
        keyboard.press("Enter")
        visit.reads("The browser was not allowed to use the camera.")
        context.grant_permissions(["camera"])
        visit.page.get_by_role("spinbutton", name="Prompts").fill("2")
        keyboard.press("Tab")
        visit.page.get_by_label("numbers: prompts").focus()
        keyboard.press("Space")
        visit.button("Start session").focus()
        keyboard.press("Enter")
        visit.reads("Prompt 1 of 2")
        assert visit.page.get_by_role("spinbutton", name="Prompts").is_hidden()
        keyboard.press("Space")  # ready: the focus went to the panel
        visit.reads("Hold it.")
        visit.reads("Prompt 2 of 2")
        assert len(list(stored.glob("*.csv"))) == 1
        keyboard.press("Escape")
        visit.reads("of 1 correct")
        visit.reads("these sessions − this, points")
        assert serious_violations(visit.page, PANEL) == []
        visit.page.get_by_label("nothing", exact=True).focus()
        keyboard.press("Space")
        visit.reads("What was stored of this session is erased.")
        assert list(stored.glob("*.csv")) == []
        visit.check()


def test_a_session_in_the_dark_on_a_phone_without_a_camera(browser, voila) -> None:
    with browser.new_context(viewport=PHONE, permissions=["camera"]) as context:
        visit = Visit(context, voila, "session", theme="dark")
        visit.button("Start session").click()
        visit.reads("No camera was found.")
        assert serious_violations(visit.page, PANEL) == []
        assert not is_wider_than(visit.page, PHONE["width"])
        visit.check()


def test_an_empty_room_is_no_wrong_answer(fake_camera, voila) -> None:
    fake_camera.show([np.full((480, 640, 3), 120, np.uint8)] * 3)
    with fake_camera.context(viewport=DESK) as context:
        visit = Visit(context, voila, "session")
        visit.button("Start session").click()
        visit.reads("Prompt 1 of 21")
        visit.page.keyboard.press("Space")
        visit.reads("No face was seen for")
        visit.button("Stop (Esc)").click()
        visit.reads("nothing was scored")
        visit.check()


def test_a_kernel_that_is_restarted_serves_the_panel_again(fake_camera, live_workspace) -> None:
    fake_camera.show([happy_room()] * 3)
    path = live_workspace / "notebooks" / "live" / "session.ipynb"
    before = path.read_bytes()
    with serve_lab(live_workspace, token="for-this-test") as address, fake_camera.context(viewport=DESK) as context:
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        page.goto(f"{address}/lab/tree/notebooks/live/session.ipynb?token=for-this-test")
        page.get_by_text("| Idle").wait_for()
        for restarted in (False, True):  # the second time in the middle of a session
            page.get_by_role("menuitem", name="Kernel", exact=True).click()
            page.get_by_text("Restart Kernel and Run All Cells", exact=False).first.click()
            page.locator(".jp-Dialog .jp-mod-accept").click()
            if restarted:
                page.locator(PANEL).first.wait_for(state="detached")
            page.get_by_role("button", name="Start session").click()
            page.get_by_text("Prompt 1 of 21").first.wait_for()
        page.get_by_role("button", name="Stop (Esc)").click()
        page.get_by_text("No prompt was scored.").wait_for()
        assert elsewhere == []
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1500)
    assert path.read_bytes() == before


def test_pages_of_other_addresses_neither_drive_a_kernel_nor_show_ours_in_a_frame(voila) -> None:
    async def check() -> None:
        async with aiohttp.ClientSession() as client:
            page = await client.get(f"{voila}/voila/render/try_a_face.ipynb")
            policy = page.headers["Content-Security-Policy"]
            assert "frame-ancestors 'self'" in policy
            assert "default-src 'self'" in policy
            kernel = re.search(r'"kernelId":\s*"([0-9a-f-]+)"', await page.text())[1]
            channels = f"{voila}/api/kernels/{kernel}/channels"
            for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://evil.example", "Host": "evil.example"}):
                with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                    await client.ws_connect(channels, headers=headers)
            async with client.ws_connect(channels, headers={"Origin": voila}) as own:
                assert not own.closed
            assert (await client.get(f"{voila}/", headers={"Host": "evil.example"})).status == 403
            assert (await client.post(f"{voila}/voila/api/shutdown/{kernel}", headers={"Origin": "http://evil.example"})).status in (403, 404)

    with ThreadPoolExecutor(1) as apart:  # Playwright has the loop of this thread
        apart.submit(lambda: asyncio.run(asyncio.wait_for(check(), PATIENCE_MS / 1000))).result()
