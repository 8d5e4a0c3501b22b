"""A real browser, where there is one: Debian's chromium, driven by Playwright; and the servers that the live notebooks run in.

`browser` has no camera, `fake_camera` one that shows drawn faces. `voila` serves the live notebooks alone. `live_browser` holds what tests call.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live_browser import FakeCamera, make_workspace, serve_voila

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NO_CAMERA = "--use-fake-device-for-media-stream=device-count=0"  # whatever the machine has


@pytest.fixture(scope="session")
def playwright() -> Iterator[object]:
    """Start Playwright; skip, and say why, where there is no browser for it."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` brings it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright) -> Iterator[object]:
    """Start chromium without a window and without a camera."""
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, NO_CAMERA])
    yield started
    started.close()


@pytest.fixture(scope="session")
def fake_camera(playwright, tmp_path_factory) -> Iterator[FakeCamera]:
    """Start chromium with a camera that shows what a test gives it: `fake_camera.show(pictures)`, then `fake_camera.context()`."""
    film = tmp_path_factory.mktemp("camera") / "film.y4m"
    args = [*QUIET, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
    camera = FakeCamera(started, film)
    camera.show([np.full((480, 640, 3), 128, np.uint8)])
    yield camera
    started.close()


@pytest.fixture(scope="session")
def live_workspace(tmp_path_factory) -> Path:
    """Return a fresh checkout without data or runs, in which the live notebooks run and write."""
    return make_workspace(tmp_path_factory.mktemp("live") / "workspace")


@pytest.fixture(scope="session")
def voila(playwright, live_workspace) -> Iterator[str]:
    """Serve the live notebooks alone, once for all tests; a notebook is at `<address>/voila/render/<name>.ipynb`."""
    with serve_voila(live_workspace) as address:
        yield address
