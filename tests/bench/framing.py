"""The square that FER2013's faces fill, from the box of the browser's face search: the two numbers of `ferlab.live.camera.FRAMING`.

Run with `python tests/bench/framing.py fer2013.csv [N]`. N faces of Training (400), enlarged to 192 pixels, in a frame of repeated edge pixels, so
that their own square is known; Chromium searches each. Printed: how many are found, the median side of the square over the box's and its shift
down, in boxes, and the median overlap (IoU) of square and framed box before and after.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from mounted import mount, wait

from ferlab.live.camera import Camera

SIDE, MARGIN = 192, 96


def read_faces(path: str, count: int) -> list[np.ndarray]:
    """Return evenly spread faces of Training, uint8 (48, 48) each."""
    rows = pd.read_csv(path)
    rows = rows[rows["Usage"] == "Training"]
    rows = rows.iloc[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    return [np.array(pixels.split(), np.uint8).reshape(48, 48) for pixels in rows["pixels"]]


def framed(face: np.ndarray) -> np.ndarray:
    """Return the face enlarged, with its edge pixels repeated around it."""
    large = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.repeat(cv2.copyMakeBorder(large, *[MARGIN] * 4, cv2.BORDER_REPLICATE)[..., None], 3, axis=2)


def search(faces: list[np.ndarray]) -> np.ndarray:
    """Return the box of the largest face found in each frame, (n, 4); frames without one are missing."""
    from playwright.sync_api import sync_playwright

    camera, stills, boxes = Camera(framing={"side": 1.0, "down": 0.0}), [], []
    camera.on_still(stills.append)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        mount(page, camera)
        for face in faces:
            stills.clear()
            camera.show(framed(face))
            wait(page, lambda: stills)
            if stills[-1].face:
                boxes.append(stills[-1].face.box)
        browser.close()
    return np.array(boxes)


def overlaps(boxes: np.ndarray) -> np.ndarray:
    """Return the IoU of each box (n, 4) with the face's own square."""
    low = np.maximum(boxes[:, :2], MARGIN)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], MARGIN + SIDE)
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    return shared / (np.prod(boxes[:, 2:], axis=1) + SIDE**2 - shared)


if __name__ == "__main__":
    faces = read_faces(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 400)
    boxes = search(faces)
    side = float(np.median(SIDE / boxes[:, 2]))
    down = float(np.median((MARGIN + SIDE / 2 - boxes[:, 1] - boxes[:, 3] / 2) / boxes[:, 3]))
    across = float(np.median((MARGIN + SIDE / 2 - boxes[:, 0] - boxes[:, 2] / 2) / boxes[:, 2]))
    after = boxes.copy()
    after[:, :2] += boxes[:, 2:] * (1 - side) / 2 + [0, 1] * boxes[:, 2:] * down
    after[:, 2:] *= side
    print(f"{len(boxes)} of {len(faces)} found; side {side:.3f}, down {down:.3f}, across {across:.3f} (left as it is)")
    print(f"median IoU {np.median(overlaps(boxes)):.3f} -> {np.median(overlaps(after)):.3f}")
