"""What the browser's landmarks and spoof models report for drawn people, for a portrait, and for prints and screens simulated from them.

Run: python tests/bench/spoof_scores.py [people]. Needs chromium. The media are `ferlab.live.verification.attacks.paper` and `screen`: simulated, not
photographed from paper and glass, so the scores say how the models react to contrast, blur, tilt and Moire, not how often a real print passes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.cbook import get_sample_data
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from live_browser import in_room
from mounted import mount, wait

from ferlab.control.drawing.picture import draw_image
from ferlab.deployment.face_search import read_picture
from ferlab.live.camera import Camera
from ferlab.live.verification.acting import Look, sample_person
from ferlab.live.verification.attacks import paper, screen
from ferlab.live.verification.check import Rules

LOOKS = {
    "rest": Look(),
    "eyes closed": Look(closed=True),
    "left by 28": Look(yaw=28.0),
    "right by 28": Look(yaw=-28.0),
    "happy": Look("happy", 1.0),
}
MEDIA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    "print": lambda picture: paper(picture, 0.0, 0.0),
    "print, tilted": lambda picture: paper(picture, 25.0, 0.0),
    "screen": lambda picture: screen(picture, 0.0, 0.3),
}


def each_colour(change: Callable[[np.ndarray], np.ndarray], picture: np.ndarray) -> np.ndarray:
    """Apply a change of grey pictures to each colour."""
    return np.dstack([change(np.ascontiguousarray(picture[..., colour])) for colour in range(3)])


def pictures(people: int) -> list[tuple[str, str, str, np.ndarray]]:
    """Return (who, look, medium, picture) of everything that is shown."""
    shown = []
    for number in range(people):
        person = sample_person(11, number)
        for name, look in LOOKS.items():
            face = cv2.resize(draw_image(person.spec(look), 224, colour=True), (360, 360), interpolation=cv2.INTER_CUBIC)
            for medium, change in MEDIA.items() if name == "rest" else [("as it is", MEDIA["as it is"])]:
                shown.append(("drawn", name, medium, in_room(each_colour(change, face))))
    portrait = read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))[:512, :512]
    return shown + [("portrait", "rest", medium, each_colour(change, portrait)) for medium, change in MEDIA.items()]


def measure(people: int) -> pd.DataFrame:
    """Return one row a picture: what the browser reports of its face."""
    rows, stills = [], []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"]) as browser:
        page = browser.new_page()
        camera = Camera(spoof=True)
        camera.on_still(stills.append)
        mount(page, camera)
        page.locator("[data-ready=true]").wait_for()
        for who, look, medium, picture in pictures(people):
            before = len(stills)
            camera.show(np.ascontiguousarray(picture), name=look)
            wait(page, lambda before=before: len(stills) > before)
            for face in stills[-1].faces[:1]:
                numbers = {"real": face.real, "live": face.live, "eyes": np.mean(face.eyes), "yaw": face.pose[0]}
                rows.append({"who": who, "look": look, "medium": medium, **numbers})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    found, rules = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 12), Rules()
    found["both pass"] = (found["real"] >= rules.least_real) & (found["live"] >= rules.least_live)
    shown = {"real": "median", "live": "median", "yaw": "median", "both pass": ["sum", "size"]}
    print(found.groupby(["who", "look", "medium"], sort=False).agg(shown))
    drawn = found[(found["who"] == "drawn") & (found["medium"] == "as it is")]
    rest = drawn[drawn["look"] == "rest"]["eyes"].to_numpy()
    for look in ("eyes closed", "happy"):
        ratio = drawn[drawn["look"] == look]["eyes"].to_numpy() / rest
        print(f"eyes, {look}, of rest: {ratio.min():.2f} to {ratio.max():.2f}")
