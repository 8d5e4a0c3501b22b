"""Which group each face belongs to under each condition: picture quality, pose, light, occluders, detection, intensity, person and attributes.

References:
    Pech-Pacheco et al. (2000), Diatom autofocusing in brightfield microscopy: variance of the Laplacian as sharpness.
    Viola & Jones (2001), Rapid object detection using a boosted cascade of simple features (OpenCV's Haar cascade).
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import laplace

from ferlab.data.preparation.detection import FRAME, STATED, open_detector

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
PERSON, DETECTED = "person", "detected"
QUANTITIES = {"yaw": "head turn", "pose_yaw": "head turn", "light": "light angle", "light_side": "side light"}  # columns cut by absolute value
GROUPS: tuple[str, ...] = ("occluder", "glasses", "skin", "gender", "race")  # columns of a face table that name groups
AGE, AGE_GROUP, AGES = "age", "age_group", (0, 4, 20, 40, 70)  # years; RAF-DB's groups
FOUND = ("no", "with margin", "yes")
SEARCHED = 1000  # faces in which Haar searches at most: half a millisecond each, a whole one where it finds nothing
BINS = 5


def image_qualities(images: np.ndarray) -> pd.DataFrame:
    """Return `brightness` (mean, 0 to 255), `contrast` (standard deviation) and `sharpness` (variance of the Laplacian, which noise raises too) of
    faces, uint8 (N, H, W) or (N, H, W, 3) RGB.
    """
    rows = []
    for image in images:  # one at a time: a store may be larger than memory
        grey = image @ np.array(GREY_WEIGHTS) if image.ndim == 3 else image.astype(np.float64)
        rows.append((grey.mean(), grey.std(), laplace(grey, mode="nearest").var()))
    return pd.DataFrame(rows, columns=["brightness", "contrast", "sharpness"])


def face_slices(images: np.ndarray, faces: pd.DataFrame) -> dict[str, pd.Series]:
    """Return per condition an ordered categorical (N,), missing where a face's group is not known; conditions of one group are dropped.

    Fifths of `brightness`, `contrast` and `sharpness`; `detected` by a face detector; where the face table has them `intensity` (rounded, 0 is
    neutral), fifths of QUANTITIES, the columns in GROUPS, `age` in groups, and `person`.
    """
    qualities = image_qualities(images)
    slices = {name: by_fifths(qualities[name]) for name in qualities.columns}
    slices[DETECTED] = by_detection(images, faces)
    if "intensity" in faces:
        slices["intensity"] = by_group(faces["intensity"].round())
    slices |= {name: by_fifths(faces[column].abs()) for column, name in QUANTITIES.items() if column in faces}
    slices |= {name: by_group(faces[name]) for name in GROUPS if name in faces}
    if AGE_GROUP in faces or AGE in faces:
        slices[AGE] = by_group(faces[AGE_GROUP]) if AGE_GROUP in faces else by_age(faces[AGE])
    if "subject" in faces:
        slices[PERSON] = by_group(faces["subject"])
    return {name: groups.cat.remove_unused_categories() for name, groups in slices.items() if groups.nunique() > 1}


def by_fifths(values: pd.Series) -> pd.Series:
    """Cut values (N,) into fifths of equal size, named by their range; fewer where many values are equal. NaN belongs to none."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(numbers)
    if not known.any():
        return pd.Series(pd.Categorical.from_codes(np.full(len(numbers), -1), categories=[], ordered=True))
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1)))
    decimals = 0 if edges[-1] >= 20 else 1 if edges[-1] - edges[0] >= 2 else 2
    ranges = pairwise(edges) if len(edges) > 1 else [(edges[0], edges[0])]
    names = [f"{low:.{decimals}f}-{high:.{decimals}f}" for low, high in ranges]
    if len(set(names)) < len(names):  # ranges that rounding makes equal
        names = [f"{name} ({place})" for place, name in enumerate(names, 1)]
    codes = np.where(known, np.searchsorted(edges[1:-1], numbers), -1)
    return pd.Series(pd.Categorical.from_codes(codes, categories=names, ordered=True))


def by_group(values: pd.Series) -> pd.Series:
    """Name groups by their value: "none" first, numbers and ranges such as "4-19" in order. A face without a value, or with "", has no group."""
    texts = values.map(_name_value, na_action="ignore")
    texts = texts.where(texts != "")
    return pd.Series(pd.Categorical(texts, categories=sorted(texts.dropna().unique(), key=_order), ordered=True))


def by_age(ages: pd.Series) -> pd.Series:
    """Group ages in years as RAF-DB does; those of control faces, a parameter of 0 to 1, are cut into fifths."""
    if not ages.max() > 1:
        return by_fifths(ages)
    names = [f"{low}-{high - 1}" for low, high in pairwise(AGES)] + [f"{AGES[-1]}+"]
    return pd.cut(ages, [*AGES, np.inf], right=False, labels=names, ordered=True).reset_index(drop=True)


def by_detection(images: np.ndarray, faces: pd.DataFrame) -> pd.Series:
    """Group faces by what a face detector finds: "yes" as it stands, "with margin" only with repeated edge pixels around it, or "no".

    Where the dataset was prepared by a detector, its record (`found_by`) decides: "with margin" stands for its looser search levels. Otherwise
    OpenCV's Haar cascade searches the prepared faces, at most SEARCHED of them, evenly spaced; the others belong to no group.
    """
    if "found_by" in faces and faces["found_by"].nunique() > 1:
        found = ["no" if level == "" else "yes" if level == STATED else "with margin" for level in faces["found_by"].fillna("")]
        return pd.Series(pd.Categorical(found, categories=list(FOUND), ordered=True))
    detector = open_detector("haar", retries=False)
    codes = np.full(len(images), -1)
    for row in np.unique(np.linspace(0, len(images) - 1, min(len(images), SEARCHED)).round().astype(int)):
        codes[row] = FOUND.index(_search(np.asarray(images[row]), detector))
    return pd.Series(pd.Categorical.from_codes(codes, categories=list(FOUND), ordered=True))


def _search(image: np.ndarray, detector: Any) -> str:
    if len(detector(image).boxes):
        return "yes"
    width = round(FRAME * min(image.shape[:2]))
    framed = np.pad(image, [(width, width), (width, width), (0, 0)][: image.ndim], mode="edge")
    return "with margin" if len(detector(framed).boxes) else "no"


def _name_value(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _order(name: str) -> tuple[Any, ...]:
    number = re.match(r"[0-9]+", name)
    return name != "none", number is None, int(number[0]) if number else 0, name
