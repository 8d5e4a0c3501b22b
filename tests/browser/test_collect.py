"""Collecting as a person does it: agree, be filmed, name the face, store, come back, withdraw; by mouse, by keys, on a phone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from live_browser import in_room, requests_elsewhere, serious_violations
from matplotlib.cbook import get_sample_data

from ferlab.data.readers.captured import read
from ferlab.deployment.face_search import read_picture
from ferlab.live.collection.storage import Collection

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SHOTS = os.environ.get("FERLAB_SHOTS")  # a folder for screenshots, to look at by eye


def shoot(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def on_disk(root: Path) -> set[str]:
    folder = root / "data" / "raw" / "collected"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else set()


def filmed() -> np.ndarray:
    """matplotlib's sample portrait, in a room."""
    return in_room(read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))[60:420, 90:450])


def test_a_person_agrees_stores_and_withdraws(fake_camera, voila, live_workspace) -> None:
    fake_camera.show([filmed()] * 5)
    collection = Collection(live_workspace / "data" / "raw" / "collected")
    with fake_camera.context(viewport={"width": 1440, "height": 1000}) as context:
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        page.goto(f"{voila}/voila/render/collect.ipynb")
        agree = page.get_by_role("button", name="I agree", exact=True)
        agree.wait_for()
        assert agree.is_disabled()
        assert page.get_by_role("checkbox", checked=True).count() == 0
        shoot(page, "consent")
        assert serious_violations(page, ".fl-panel") == []
        page.get_by_label("My pseudonym").first.fill("Anna")
        page.get_by_role("button", name="Come back").click()
        page.get_by_text("That is no pseudonym").wait_for()
        page.get_by_role("button", name="I do not agree").click()
        page.get_by_text("Nothing was stored. You can close this page.").wait_for()
        assert on_disk(live_workspace) == set()
        page.get_by_label("I am of age.").check()
        page.get_by_label("Research:").check()
        agree.click()
        page.get_by_text("Show: ").wait_for()
        (person,) = collection.people()
        page.get_by_role("button", name="Start camera").click()
        page.wait_for_function("[...document.querySelectorAll('video')].some((video) => video.videoWidth && !video.paused)")
        page.get_by_role("button", name="Another expression").focus()
        page.keyboard.press("t")
        page.get_by_alt_text("The face in hand").wait_for()
        assert {name.split(".")[-1] for name in on_disk(live_workspace)} == {"csv", "txt"}, "a picture in hand is on disk"
        page.keyboard.press("4")
        page.get_by_text("You say happy; the model predicts").wait_for()
        shoot(page, "in_hand")
        assert serious_violations(page, ".fl-panel") == []
        page.keyboard.press("s")
        page.get_by_text("Stored: p-").wait_for()
        faces = read(collection.folder)[1]
        assert faces["subject"].tolist() == [person]
        assert (faces["target"][0], faces["origin"][0]) == (3, "camera")
        assert faces[["pose_yaw", "live_prob_happy", "light_mean"]].notna().all(axis=None)
        shoot(page, "stored")
        page.get_by_role("button", name="Begin").click()
        page.get_by_alt_text("A face to label").wait_for()
        page.keyboard.press("7")
        page.get_by_text("No face is left to label").wait_for()
        page.get_by_role("button", name="Show the agreement").click()
        page.get_by_text("0 of 1 faces of 1 person have the same label twice").first.wait_for()
        page.set_viewport_size({"width": 390, "height": 844})
        assert serious_violations(page, ".fl-panel") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shoot(page, "phone")
        page.get_by_role("button", name="Withdraw and erase").last.click()
        page.get_by_role("button", name="Yes, erase everything of mine").click()
        page.get_by_text(f"Withdrawn. Erased of {person}: 1 picture and 2 rows.").wait_for()
        assert {name.split(".")[-1] for name in on_disk(live_workspace)} == {"csv", "txt", "json"}
        assert collection.faces().empty
        assert elsewhere == []
