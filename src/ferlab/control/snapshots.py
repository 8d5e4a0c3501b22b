"""Control faces in whole pictures, as a web app's users take them: 640 x 480 in colour, a background, the face anywhere and of any size.

Some faces are hard to detect, by design: far away, turned, in the dark, cut by the picture's edge or covered. `HARDSHIPS` states how often.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import FaceSpec

WIDTH, HEIGHT = 640, 480
SMALLEST, LARGEST, FAR = 150, 300, 34  # side of the drawn head in pixels
DRAWN = 224  # largest side that is drawn; larger heads are enlarged
HARDSHIPS = {"none": 0.80, "far": 0.05, "turned": 0.05, "dark": 0.04, "cut": 0.03, "covered": 0.03}
TURNED = (50.0, 80.0)  # degrees of roll, either way
DARK = 0.05  # of the light that is left
EDGE = 0.10  # of the head's side, over which it fades into the background
_SNAPSHOT = 34  # stream of random numbers


def take_snapshot(spec: FaceSpec, *, seed: int, number: int) -> np.ndarray:
    """Draw a face in a whole picture, uint8 (480, 640, 3); the same bytes for the same arguments.

    Args:
        spec: The face; its pose and occluder are changed where the picture is made hard.
        seed: As `number`, of the picture: hardship, place, size and background are drawn from both.
    """
    rng = np.random.default_rng([seed, _SNAPSHOT, number])
    hardship = str(rng.choice(list(HARDSHIPS), p=list(HARDSHIPS.values())))
    side = FAR if hardship == "far" else int(rng.integers(SMALLEST, LARGEST))
    pose = replace(spec.pose, scale=0.9, shift_x=0.0, shift_y=-0.03)
    if hardship == "turned":
        pose = replace(pose, roll=float(rng.choice([-1, 1]) * rng.uniform(*TURNED)))
    spec = replace(spec, pose=pose, occluder={"covered": "hand", "none": "none"}.get(hardship, spec.occluder))
    head = draw_image(spec, min(side, DRAWN), colour=True).astype(np.float32)
    head = cv2.resize(head, (side, side), interpolation=cv2.INTER_LINEAR)
    picture = _background(rng, tone=np.median(head[0], axis=0))
    outside = side // 3 if hardship == "cut" else 0
    left = int(rng.integers(-outside, 1)) - outside if outside else int(rng.integers(0, WIDTH - side))
    _blend(picture, head, left=left, top=int(rng.integers(0, max(1, min(HEIGHT - side, 160)))))
    light = DARK if hardship == "dark" else 1.0
    noisy = picture * light + rng.standard_normal(picture.shape[:2])[..., None] * 3
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _background(rng: np.random.Generator, *, tone: np.ndarray) -> np.ndarray:
    """Return a wall of the face's own backdrop with furniture out of focus, float32 (480, 640, 3)."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    picture[:] = tone * np.linspace(0.85, 1.1, WIDTH)[None, :, None]
    for _ in range(int(rng.integers(3, 9))):
        x, y = int(rng.integers(-60, WIDTH)), int(rng.integers(-60, HEIGHT))
        corner = (x + int(rng.integers(30, 220)), y + int(rng.integers(20, 260)))
        cv2.rectangle(picture, (x, y), corner, (tone * rng.uniform(0.55, 1.25) * rng.uniform(0.88, 1.12, 3)).tolist(), -1)
    return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(2, 7)))


def _blend(picture: np.ndarray, head: np.ndarray, *, left: int, top: int) -> None:
    """Put the head into the picture; its square fades out at the edges, and what lies outside the picture is cut."""
    side = len(head)
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) / (EDGE * side)
    share = np.clip(np.minimum(from_edge[:, None], from_edge[None]), 0, 1)[..., None].astype(np.float32)
    share[side // 2 :, :] = np.clip(from_edge, 0, 1)[None, :, None]  # the shoulders go on below
    rows, columns = slice(top, min(top + side, HEIGHT)), slice(max(left, 0), min(left + side, WIDTH))
    inside = slice(0, rows.stop - top), slice(columns.start - left, columns.stop - left)
    part = picture[rows, columns]
    part += (head[inside] - part) * share[inside]
