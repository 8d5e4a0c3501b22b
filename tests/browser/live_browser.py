"""What the tests of the live notebooks share: servers on the loopback, a camera that shows drawn pictures, requests, axe-core."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
AXE = Path(__file__).parent / "axe"
PATIENCE_MS = 120_000
ON_THE_MACHINE = ("data", "blob", "about", "chrome", "devtools")  # schemes that ask nobody


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def make_workspace(root: Path) -> Path:
    """Make a checkout without data and runs: sources, settings and live notebooks; what a notebook writes stays in it."""
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "conf", root / "conf", ignore=shutil.ignore_patterns("lab", "migrated"))
    shutil.copytree(REPOSITORY / "notebooks" / "live", root / "notebooks" / "live", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (root / "src").symlink_to(REPOSITORY / "src")
    (root / "reports").mkdir()
    (root / "reports" / "published").symlink_to(REPOSITORY / "reports" / "published")
    return root


@contextmanager
def serve(command: Sequence[str], *, root: Path, address: str) -> Iterator[None]:
    """Run a Jupyter server in `root` with the workspace's settings until the block ends; `address` answers once it is up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "FERLAB", "PYTHONPATH"))}
    environment |= {"JUPYTER_CONFIG_DIR": str(root / "conf" / "jupyter"), "JUPYTER_RUNTIME_DIR": str(root.parent / "runtime")}
    environment["PYTHONPATH"] = str(root / "src")
    log = root.parent / "server.log"
    with open(log, "w") as lines, subprocess.Popen(command, cwd=root, env=environment, stdout=lines, stderr=lines) as server:
        try:
            _wait_until_up(address, server, log)
            yield
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_until_up(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"no answer from {address}: {log.read_text()}")


@contextmanager
def serve_lab(root: Path, *, token: str) -> Iterator[str]:
    """Start JupyterLab on a free port of the loopback, as `make lab` does; yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.ip=127.0.0.1"]
    with serve([*command, f"--IdentityProvider.token={token}"], root=root, address=f"{address}/api"):
        yield address


@contextmanager
def serve_voila(root: Path) -> Iterator[str]:
    """Start Voila on the live notebooks on a free port, as `make live` does; yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "voila", "notebooks/live", "--no-browser", f"--port={port}"]
    with serve(command, root=root, address=f"{address}/voila/static/voila.js"):
        yield address


@dataclass(frozen=True)
class FakeCamera:
    """A browser whose only camera shows a file.

    Attributes:
        browser: Playwright's.
        path: The file; the browser opens it anew each time a page starts the camera.
    """

    browser: object
    path: Path

    def show(self, pictures: Sequence[np.ndarray], *, rate: int = 10) -> None:
        """Show pictures, uint8 (H, W, 3) in RGB with even H and W, over and over; takes effect where the camera is started next."""
        height, width = pictures[0].shape[:2]
        with open(self.path, "wb") as film:
            film.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420\n".encode())
            for picture in pictures:
                film.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())

    def context(self, *, allowed: bool = True, **options: object):
        """Return a new context of the browser in which pages may use the camera, or are denied it."""
        context = self.browser.new_context(permissions=["camera"] if allowed else [], **options)
        context.set_default_timeout(PATIENCE_MS)
        return context


def in_room(face: np.ndarray, *, size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """Place a face, uint8 (S, S, 3), in the middle of an even picture of `size`, over what continues its border."""
    width, height = size
    top, left = (height - len(face)) // 2, (width - len(face)) // 2
    room = cv2.copyMakeBorder(face, top, height - len(face) - top, left, width - len(face) - left, cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(room, (0, 0), 12)
    soft[top : top + len(face), left : left + len(face)] = face
    return soft


def requests_elsewhere(page) -> list[str]:
    """Return a list that fills with the address of each request of the page that leaves the machine, websockets included."""
    elsewhere: list[str] = []

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ON_THE_MACHINE and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            elsewhere.append(url)

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda websocket: note(websocket.url))
    return elsewhere


def serious_violations(page, selector: str) -> list[str]:
    """Return what axe-core finds serious or critical within `selector`, a line each: rule, what it asks, the first element."""
    source = gzip.decompress((AXE / "axe.min.js.gz").read_bytes())
    assert hashlib.sha256(source).hexdigest() in re.findall(r"[0-9a-f]{64}", (AXE / "README.md").read_text())
    assert page.locator(selector).count(), f"nothing on the page is {selector}"
    page.evaluate(source.decode() + "\n;0")
    found = page.evaluate("(selector) => axe.run({include: [[selector]]}, {resultTypes: ['violations'], preload: false})", selector)["violations"]
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def complaints(page) -> list[str]:
    """Return a list that fills with what the page reports as an error: scripts, and whatever could not be loaded."""
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    return told


def failed_outputs(page) -> list[str]:
    """Return the errors that cells of the notebook show, and the messages of exceptions that a panel reports as such."""
    outputs = page.locator('[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]')
    notes = page.locator(".fl-panel .fl-error", has_text=re.compile(r"\b\w+(Error|Exception): "))
    return [*outputs.all_inner_texts(), *notes.all_inner_texts()]


CONTROLS = """() => {
    const chosen = (one) => one.type !== "radio" || one.checked || ![...document.getElementsByName(one.name)].some(each => each.checked);
    const all = document.querySelectorAll(".fl-panel :is(button, input, select, textarea, a[href], [tabindex='0'])");
    return [...all].filter(one => !one.disabled && one.checkVisibility() && one.getClientRects().length && chosen(one));
}"""
FOCUS = """() => {
    const one = document.activeElement, ring = one && getComputedStyle(one.closest(".fl-file") ?? one);
    const seen = ring && (ring.outlineStyle !== "none" && parseFloat(ring.outlineWidth) >= 1 || ring.boxShadow !== "none");
    window.reached ??= new Set();
    window.unseen ??= new Set();
    const before = window.reached.has(one) && one !== document.body;
    window.reached.add(one);
    if (one.closest(".fl-panel") && !seen) window.unseen.add(one.outerHTML.slice(0, 120));
    return before;
}"""


def walk_by_keyboard(page) -> tuple[list[str], list[str]]:
    """Press Tab from the top of the page to its end; return the controls of our panels that it does not reach, and those that show no focus."""
    page.evaluate(
        "() => { document.activeElement.blur(); window.scrollTo(0, 0); window.getSelection().removeAllRanges(); window.reached = new Set(); }"
    )
    count = page.evaluate(f"({CONTROLS})().length")
    for _ in range(8 * count + 50):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS):  # once around the page
            break
    missed = page.evaluate(f"({CONTROLS})().filter(one => !window.reached.has(one)).map(one => one.outerHTML.slice(0, 120))")
    return missed, page.evaluate("[...window.unseen]")


def press_every_button(page, *, most: int = 60) -> list[str]:
    """Press each button of our panels once, those that appear meanwhile too, from the top of the page; return their names."""
    pressed: list[str] = []
    while len(pressed) < most:
        found = page.evaluate("""() => {
            const fresh = [...document.querySelectorAll(".fl-panel button")].find(one =>
                !one.disabled && one.checkVisibility() && one.getClientRects().length && !one.dataset.pressed);
            if (!fresh) return null;
            fresh.dataset.pressed = "yes";
            fresh.scrollIntoView({block: "center"});
            fresh.click();
            return fresh.textContent.trim() || fresh.getAttribute("aria-label") || fresh.title || fresh.outerHTML.slice(0, 80);
        }""")
        if found is None:
            return pressed
        pressed.append(found)
        page.wait_for_timeout(250)
    return pressed
