"""Light and pose of a face in words, before it is stored: too dark, light from one side, turned away.

The bounds of light are those of FER2013's Training faces, whole crops, n = 28,709: 95 % have a mean grey level between .25 and .76, 97.5 % a standard
deviation of at least .11, and 97.5 % a difference between left and right half of at most .34. A model that was trained on such faces has seen little
beyond them. The bounds of pose are where one eye begins to be hidden or foreshortened, a rule of thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferlab.data.preparation.detection import crop_box
from ferlab.live.frames import Box

LUMA = (0.299, 0.587, 0.114)
DARK, BRIGHT, FLAT, ONE_SIDE = 0.25, 0.76, 0.11, 0.34
TURNED, TILTED, LEANING = 25.0, 20.0, 20.0  # degrees of yaw, pitch and roll


@dataclass(frozen=True)
class Light:
    """Light on a face, of its grey levels in [0, 1].

    Attributes:
        mean: Mean grey level.
        contrast: Standard deviation.
        side: Mean of the left half of the picture less that of the right half; positive: lit from the left of the picture.
    """

    mean: float
    contrast: float
    side: float


def measure_light(picture: np.ndarray, box: Box) -> Light:
    """Measure the light within a box (x, y, width, height, pixels) of a picture, uint8 (H, W) or (H, W, 3) in RGB.

    Raises:
        InputError: As `ferlab.data.preparation.detection.crop_box`.
    """
    x, y, width, height = (round(value) for value in box)
    face = crop_box(picture, (x, y, width, height)) / 255.0
    grey = face @ np.array(LUMA) if face.ndim == 3 else face
    half = grey.shape[1] // 2
    side = grey[:, :half].mean() - grey[:, -half:].mean() if half else 0.0
    return Light(float(grey.mean()), float(grey.std()), float(side))


def hints(light: Light, pose: tuple[float, float, float] | None) -> list[str]:
    """Return what to mend before the face is stored, one short sentence each; none for a face as in the training data.

    Args:
        light: Of the face.
        pose: Yaw, pitch and roll in degrees; None where no landmarks were found.
    """
    told = []
    if light.mean < DARK:
        told.append("Too dark: turn on a light, or face the window.")
    elif light.mean > BRIGHT:
        told.append("Too bright: move away from the light.")
    if light.contrast < FLAT:
        told.append("Little contrast: the light is flat, or the picture is hazy.")
    if abs(light.side) > ONE_SIDE:
        told.append(f"Lit from the {'left' if light.side > 0 else 'right'} of the picture: turn to the light.")
    if pose is not None:
        yaw, pitch, roll = pose
        if abs(yaw) > TURNED:
            told.append("Turned away: turn to the camera.")
        if abs(pitch) > TILTED:
            told.append("Head up or down: look into the camera.")
        if abs(roll) > LEANING:
            told.append("Head leaning: hold it upright.")
    return told
