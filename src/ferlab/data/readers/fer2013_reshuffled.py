"""The 28,821-image folder: a copy of FER2013, shuffled and split anew (Kaggle, jonathanoheix), as FER-Sys used it.

    images/train/<expression>/<image>         28,821
    images/validation/<expression>/<image>     7,066

Both parts mix Training, PublicTest and PrivateTest: no published number is comparable, and a model trained on FER2013 has seen most of either. So
`fer2013` refuses it, and a study that wants it names this reader.

References:
    FER-Sys, its section 5 and Table 1: 28,821 images in a random 70/15/15.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ferlab.data.readers.class_folders import read as read_class_folders
from ferlab.data.readers.fer2013_forms import RESHUFFLED_COUNTS
from ferlab.data.readers.images import PictureFiles
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError


def read(raw: Path, *, validation: bool = True) -> tuple[PictureFiles, pd.DataFrame]:
    """Read the folder, or its part `train`.

    Args:
        raw: A folder or zip that holds `train`, and may hold `validation`, below any leading folder; or `train` itself.
        validation: Whether to keep the part `validation`; FER-Sys split train alone.

    Returns:
        Pictures, and a face table; `usage` is "train" or "validation", and "all" where train is alone.

    Raises:
        InputError: If the counts of a part are not the folder's own (but for control faces). As of `class_folders.read`.
    """
    pictures, faces = read_class_folders(raw, name="fer2013_reshuffled")
    drawn = all(pictures.delivery.says_drawn(name) for name in pictures.names)
    for usage, part in faces.groupby("usage") if not drawn else ():
        _check_counts(raw, part, "train" if usage == "all" else str(usage))
    left = (faces["usage"] == "validation").to_numpy() & (not validation)
    faces.loc[left, ["target", "excluded"]] = [-1, "validation excluded"]
    if not (faces.loc[~left, "usage"] == "validation").any():
        faces.loc[~left, "usage"] = "all"
    return pictures, faces


def _check_counts(raw: Path, part: pd.DataFrame, usage: str) -> None:
    expected = RESHUFFLED_COUNTS.get(usage, {})
    found = {name: int((part["target"] == place).sum()) for place, name in enumerate(EXPRESSIONS)}
    if found != expected:
        have = ", ".join(f"{count} {name}" for name, count in found.items())
        want = ", ".join(f"{count} {name}" for name, count in expected.items()) or "the parts train and validation alone"
        raise InputError(f"{raw}, {usage}: {have}; expected {want}. It is not the 28,821-image folder, or not all of it: name another reader.")
