"""The vocabulary of facial expression recognition, in one fixed order.

Owns the names of expressions, usages and splits, and every dataset's codes for them. Knows no files, no arrays and no models.

References:
    Goodfellow et al. (2013), Challenges in Representation Learning (FER2013 codes), arXiv 1307.0414.
    Barsoum et al. (2016), Training Deep Networks for FER with Crowd-Sourced Label Distribution (FER+), arXiv 1608.01041.
"""

from __future__ import annotations

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CONTEMPT = "contempt"

USAGES: tuple[str, ...] = ("Training", "PublicTest", "PrivateTest")
SPLITS: tuple[str, ...] = ("train", "val", "test")

# FER2013's codes 0-6 are the fixed order itself; msambare's folders carry the same names.
FER2013_CODES: dict[int, str] = dict(enumerate(EXPRESSIONS))

# FER+ names its ten-vote columns with nouns; the last two say "no label fits" and "not a face".
FERPLUS_COLUMNS: dict[str, str] = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "contempt": CONTEMPT,
    "unknown": "unknown",
    "NF": "not_a_face",
}

# Faces per class in the official FER2013, in the fixed order (Training, PublicTest; PrivateTest from cs230's notebook).
FER2013_COUNTS: dict[str, tuple[int, ...]] = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
