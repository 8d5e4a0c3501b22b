"""The expression check in a real browser: its panel in Voila before a fake camera, and a check over the frames that the browser reports."""

from __future__ import annotations

import random
from dataclasses import replace

import cv2
import numpy as np
import pytest
from live_browser import in_room, requests_elsewhere, serious_violations
from mounted import mount, wait

from ferlab.control.drawing.picture import draw_image
from ferlab.live.camera import Camera
from ferlab.live.model import LiveModel
from ferlab.live.verification import verdict
from ferlab.live.verification.acting import Look, Person, act
from ferlab.live.verification.check import BLINK, SIGNS, Check, Rules, draw_steps

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ASKED = ("happy", "surprise")
RULES = Rules(prompts=1, misses=0, seconds=40.0, lost=60.0, blink=False, least_real=None, least_live=None)
RATE = 10


def in_a_room(person: Person, look: Look) -> np.ndarray:
    """Draw a look in a room."""
    face = draw_image(person.spec(look), 224, colour=True)
    return in_room(cv2.resize(face, (330, 330), interpolation=cv2.INTER_CUBIC))


def film(person: Person, steps: tuple[str, ...]) -> list[np.ndarray]:
    """Film a person who does one thing after another: rest for 3 s, then each for 2.5 s with 1.5 s of rest after it; with a camera's noise."""
    looks = [Look()] * (3 * RATE)
    for step in steps:
        moves = [act(step, number / RATE, 0.6) for number in range(int(2.5 * RATE))]
        moves = [replace(look, yaw=1.5 * look.yaw) for look in moves]  # 42 degrees: the mesh reports half of it
        looks += [*moves, *(Look(step, 1 - number / 6) if step in ASKED else Look() for number in range(1, 6)), *[Look()] * RATE]
    drawn = {look: in_a_room(person, look) for look in {each.drawn() for each in looks}}
    rng = np.random.default_rng(0)
    return [np.clip(drawn[look.drawn()] + rng.normal(0, 2, (480, 640, 1)), 0, 255).astype(np.uint8) for look in looks]


@pytest.mark.parametrize(("same_order", "flag"), [(True, "passed"), (False, "failed")])
def test_a_check_over_the_frames_of_a_real_browser(fake_camera, monkeypatch, same_order, flag) -> None:
    """A film of the right actions passes as a person does (a virtual camera could show it); of the other expressions and side it fails.

    On a busy machine few frames a second are seen: the film runs at half its speed, and the rate decides nothing here.
    """
    monkeypatch.setattr(verdict, "LEAST_RATE", 0.1)
    challenge = 1
    steps = draw_steps(ASKED, RULES, random.Random(challenge))
    other = {"happy": "surprise", "surprise": "happy", "turn left": "turn right", "turn right": "turn left"}
    fake_camera.show(film(Person(1, 3, intensity=5.0), steps if same_order else tuple(other[step] for step in steps)), rate=RATE // 2)
    model = LiveModel.load()
    camera = Camera(model, uses=["camera"])
    check = Check(model.expressions, ASKED, rules=RULES, rng=random.Random(challenge))
    with fake_camera.context() as context:
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        mount(page, camera)
        page.locator("[data-ready=true]").wait_for()
        camera.on_frames(lambda frames: [check.see(frame) for frame in frames])
        camera.start()
        wait(page, lambda: check.verdict is not None, seconds=180)
        camera.stop()
    assert check.verdict.flag == flag, check.verdict.table().to_string() + str(check.verdict.answers)
    assert elsewhere == []
    assert BLINK not in {answer.wanted for answer in check.verdict.answers}
    assert {answer.wanted for answer in check.verdict.answers if answer.wanted in SIGNS} or not same_order


def test_a_drawn_head_turns_to_its_own_left(browser) -> None:
    """The sign of the yaw, which the head turn rests on: positive to the person's own left, the picture's right."""
    stills, camera = [], Camera()
    camera.on_still(stills.append)
    with browser.new_context() as context:
        page = context.new_page()
        mount(page, camera)
        page.locator("[data-ready=true]").wait_for()
        for yaw in (35.0, -35.0):
            camera.show(in_a_room(Person(1, 3), Look(yaw=yaw)), name=str(yaw))
            wait(page, lambda name=str(yaw): bool(stills) and stills[-1].name == name)
    assert stills[0].face.pose[0] > 8
    assert stills[-1].face.pose[0] < -8


def test_the_panel_before_a_face_at_rest(fake_camera, voila) -> None:
    """Consent first, prompts as emoji, nothing requested from elsewhere, axe-core finds nothing serious."""
    face = in_a_room(Person(1, 3), Look())
    rng = np.random.default_rng(1)
    fake_camera.show([np.clip(face + rng.normal(0, 2, face.shape), 0, 255).astype(np.uint8) for _ in range(40)], rate=RATE)
    with fake_camera.context(viewport={"width": 1440, "height": 1000}) as context:
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        page.goto(f"{voila}/voila/render/verify.ipynb")
        panel = page.locator(".fl-panel").first
        start = panel.get_by_role("button", name="Start", exact=True)
        start.wait_for()
        panel.locator("[data-ready=true]").wait_for()
        assert start.is_disabled()
        assert not panel.locator(".fl-camera button:visible").count(), "the camera could be started without consent"
        panel.get_by_text("The camera may be used for this check.").click()
        assert serious_violations(page, ".fl-verify") == []
        start.click()
        panel.get_by_text("1 of 6:").wait_for()
        assert panel.locator(".fl-ring").is_visible()
        page.keyboard.press("Escape")
        panel.get_by_text("Not decided: too little could be measured.").wait_for()
        panel.get_by_text("The check was stopped.").wait_for()
        assert panel.locator("table").first.get_by_text("spoof model").is_visible()
        assert serious_violations(page, ".fl-verify") == []
        assert elsewhere == []
