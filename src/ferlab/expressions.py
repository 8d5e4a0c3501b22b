"""The vocabulary of facial expression recognition, in one fixed order.

Owns the names of expressions, usages and splits, and every dataset's codes for them. Knows no files, no arrays and no models.

References:
    Goodfellow et al. (2013), Challenges in Representation Learning (FER2013 codes), arXiv 1307.0414.
    Barsoum et al. (2016), Training Deep Networks for FER with Crowd-Sourced Label Distribution (FER+), arXiv 1608.01041.
"""

from __future__ import annotations

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CONTEMPT = "contempt"
ALL_EXPRESSIONS: tuple[str, ...] = (*EXPRESSIONS, CONTEMPT)  # sets with contempt count to eight

USAGES: tuple[str, ...] = ("Training", "PublicTest", "PrivateTest")
SPLITS: tuple[str, ...] = ("train", "val", "test")

# What datasets call their parts, by what the parts are for. Where none is for the test, the one that selects is tested on.
FITTING_USAGES: tuple[str, ...] = ("Training", "train")
SELECTING_USAGES: tuple[str, ...] = ("PublicTest", "validation")
TESTING_USAGES: tuple[str, ...] = ("PrivateTest", "test")

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

# CK+'s emotion files hold one of these (Lucey et al., 2010).
CKPLUS_CODES: dict[int, str] = {0: "neutral", 1: "angry", 2: CONTEMPT, 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}

# JAFFE's file names say what the poser was asked for; its ratings name six emotions and no neutral (Lyons et al., 1998).
JAFFE_CODES: dict[str, str] = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "SA": "sad", "SU": "surprise", "NE": "neutral"}
JAFFE_RATINGS: dict[str, str] = {"HAP": "happy", "SAD": "sad", "SUR": "surprise", "ANG": "angry", "DIS": "disgust", "FEA": "fear"}

# AffectNet's codes 0-7; 8-10 are no expression (Mollahosseini et al., 2017, arXiv 1708.03985).
AFFECTNET_CODES: dict[int, str] = {0: "neutral", 1: "happy", 2: "sad", 3: "surprise", 4: "fear", 5: "disgust", 6: "angry", 7: CONTEMPT}
AFFECTNET_OTHER: dict[int, str] = {8: "none", 9: "uncertain", 10: "no face"}

# RAF-DB's basic codes 1-7 (Li, Deng and Du, 2017).
RAFDB_CODES: dict[int, str] = {1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "angry", 7: "neutral"}

# Faces per class in the official FER2013, in the fixed order (Training, PublicTest; PrivateTest from cs230's notebook).
FER2013_COUNTS: dict[str, tuple[int, ...]] = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
