"""The panel that corrects labels, by the keyboard alone, in Voila and on a phone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from live_browser import PATIENCE_MS, serious_violations

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def rows(workspace: Path) -> list[dict[str, str]]:
    """The decisions on disk."""
    path = workspace / "data" / "scratch" / "practice" / "corrections.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []


def test_faces_are_labelled_by_keys_alone_and_saved_at_once(browser, voila, live_workspace) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(f"{voila}/voila/render/correct.ipynb?theme=dark")
        panel = page.locator(".fl-correct")
        panel.locator("img").first.wait_for()
        before = len(rows(live_workspace))
        panel.get_by_placeholder("name or pseudonym").focus()
        page.keyboard.type("an")  # no key of the panel acts while a text is typed
        page.keyboard.type("na")
        page.keyboard.press("Tab")
        page.wait_for_function("document.activeElement.classList.contains('fl-correct')")  # the name is taken, the keys are ready
        assert len(rows(live_workspace)) == before
        page.keyboard.press("d")
        panel.get_by_text("1 decided in this session").wait_for()
        assert panel.get_by_text("It was drawn as").is_visible()
        page.keyboard.press("Shift+F")
        panel.get_by_text("First label: happy").wait_for()
        page.keyboard.press("Shift+G")
        panel.get_by_text("2 decided in this session").wait_for()
        page.keyboard.press("x")
        panel.get_by_text("3 decided in this session").wait_for()
        assert [row["new"] for row in rows(live_workspace)[before:]] == ["fear", "happy|sad", "exclude"]
        page.keyboard.press("Control+z")
        panel.get_by_text("Taken back").wait_for()
        assert [row["new"] for row in rows(live_workspace)[before:]] == ["fear", "happy|sad"]
        panel.get_by_text("Which faces").click()
        panel.get_by_text("improbable label (").wait_for()
        assert serious_violations(page, ".fl-correct") == []
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
