"""The watch notebook as a person uses it: two drawn people before the camera, the controls, the csv, a video, a phone, and a denied camera."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from live_browser import requests_elsewhere, serious_violations

from ferlab.control.clips import Act, Person, draw_clip

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PEOPLE = [Person(1, (Act("happy", 1.0, 1.5),), centre=(0.3, 0.5), side=0.5), Person(8, (Act("surprise", 2.0, 1.0),), centre=(0.75, 0.5), side=0.45)]


def opened(context, voila: str, query: str = ""):
    page = context.new_page()
    elsewhere = requests_elsewhere(page)
    page.goto(f"{voila}/voila/render/watch.ipynb{query}")
    page.locator(".fl-camera[data-ready=true]").wait_for()
    return page, elsewhere


def facts(page) -> str:
    return page.locator(".fl-facts").inner_text()


def test_a_camera_is_watched_and_a_video_to_its_end(fake_camera, voila, tmp_path) -> None:
    fake_camera.show([frame.picture for frame in draw_clip(PEOPLE, seconds=5, fps=10)], rate=10)
    with fake_camera.context(viewport={"width": 1440, "height": 1000}, accept_downloads=True) as context:
        page, elsewhere = opened(context, voila)
        page.get_by_role("button", name="Start camera").focus()
        page.keyboard.press("Enter")
        page.get_by_role("region", name="Face 2").wait_for()
        page.wait_for_function("document.querySelector('canvas.fl-timeline').getAttribute('aria-label').includes('face 2: ')")
        assert "face search" in facts(page)
        page.get_by_label("Smoothing").select_option(label="none")
        page.get_by_label("Hysteresis").uncheck()
        page.wait_for_timeout(1000)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the table").click()
        download.value.save_as(tmp_path / "frames.csv")
        rows = list(csv.DictReader(Path(tmp_path / "frames.csv").read_text().splitlines()))
        assert {"1", "2"} <= {row["face"] for row in rows}
        assert all(row["expression"] == row["smoothed"] for row in rows[-4:] if row["face"])
        assert serious_violations(page, ".fl-panel") == []
        page.get_by_role("button", name="Play the drawn clip").click()
        page.get_by_text("Over the whole clip").wait_for()
        page.get_by_role("cell", name="face 1").wait_for()
        assert "frames" in facts(page)
    assert elsewhere == []


def test_a_phone_in_the_dark_and_a_denied_camera(fake_camera, voila) -> None:
    with fake_camera.context(allowed=False, viewport={"width": 390, "height": 844}) as context:
        page, elsewhere = opened(context, voila, "?theme=dark")
        page.get_by_role("button", name="Start camera").click()
        page.get_by_text("was not allowed to use the camera").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert serious_violations(page, ".fl-panel") == []
    assert elsewhere == []
