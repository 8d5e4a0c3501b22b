"""The 28,821-image folder: a copy of FER2013 that was shuffled and divided anew (Kaggle, jonathanoheix), which fersys used.

    images/train/<expression>/<image>         28,821
    images/validation/<expression>/<image>     7,066

Its halves mix Training, PublicTest and PrivateTest: a model that was fitted on FER2013 has seen most of either, and no published number
is comparable. So `fer2013` refuses it, and a study that wants it names this reader.

References:
    FER-Sys, its section 5 and Table 1: 28,821 images in a random 70/15/15. The counts of train were seen in the folder; those of
    validation are what is left of FER2013's totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.readers.class_folders import read as read_class_folders
from ferlab.data.readers.images import PictureFiles, is_picture
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS
from ferlab.paths import InputError

TRAIN_COUNTS = dict(zip(EXPRESSIONS, (3993, 436, 4103, 7164, 4938, 3205, 4982), strict=True))
_TOTALS = dict(zip(EXPRESSIONS, np.sum(list(FER2013_COUNTS.values()), axis=0).tolist(), strict=True))
RESHUFFLED_COUNTS: dict[str, dict[str, int]] = {
    "train": TRAIN_COUNTS,
    "validation": {name: _TOTALS[name] - count for name, count in TRAIN_COUNTS.items()},
}
# As FER-Sys prints it: its Table 1 has the right counts under the wrong names for five of the seven.
FERSYS_TABLE_1 = {"happy": 7164, "sad": 3205, "angry": 4938, "surprise": 4982, "neutral": 4103, "disgust": 436, "fear": 3993}

SHUFFLED = "its parts mix Training, PublicTest and PrivateTest, so no published number on FER2013 is comparable"


def read(raw: Path, *, validation: bool = True) -> tuple[PictureFiles, pd.DataFrame]:
    """Read the folder, or its half `train`.

    Args:
        raw: A folder or zip that holds `train`, and may hold `validation`, below any leading folder; or `train` itself.
        validation: Whether to keep its half `validation`. False: those rows are left out, as fersys did, who divided train alone.

    Returns:
        Pictures, and a face table without `split` and `content_hash`; `usage` is "train" or "validation", and "all" where train is alone.

    Raises:
        InputError: If it is another folder: the counts of either half are not the folder's own (but where its faces are said to be drawn). As
            of `class_folders.read`.
    """
    pictures, faces = read_class_folders(raw, name="fer2013_reshuffled")
    drawn = all(pictures.delivery.says_drawn(name) for name in pictures.names)  # faces that stand in for it have counts of their own
    for usage, part in faces.groupby("usage") if not drawn else ():
        _check_counts(raw, part, "train" if usage == "all" else str(usage))
    left = (faces["usage"] == "validation").to_numpy() & (not validation)
    faces.loc[left, "excluded"] = "validation left out"
    faces.loc[left, "target"] = -1
    if not (faces.loc[~left, "usage"] == "validation").any():
        faces.loc[~left, "usage"] = "all"
    return pictures, faces


def refuse_reshuffled(folder: Path) -> None:
    """Raise if `folder`/train holds the reshuffled copy of FER2013, which is known by its counts.

    Raises:
        InputError: With the reason.
    """
    train, validation = (sum(_count_pictures(folder / part / name) for name in EXPRESSIONS) for part in ("train", "validation"))
    _refuse(str(folder), train=train, validation=validation)


def refuse_reshuffled_names(names: Iterable[str], *, where: str) -> None:
    """As `refuse_reshuffled`, for files of an archive: their names below the folder that holds `train`."""
    counts = Counter(name.split("/")[0] for name in names if name.count("/") == 2 and is_picture(PurePosixPath(name)))
    _refuse(where, train=counts["train"], validation=counts["validation"])


def _refuse(where: str, *, train: int, validation: int) -> None:
    known = {part: sum(expected.values()) for part, expected in RESHUFFLED_COUNTS.items()}
    if train == known["train"] or validation == known["validation"]:
        found = f"{where} holds {train:,} faces in train and {validation:,} in validation: the reshuffled copy of FER2013"
        raise InputError(f"{found}; {SHUFFLED}. Get FER2013 itself, or set prepare.<set>.dataset to fer2013_reshuffled.")


def _count_pictures(folder: Path) -> int:
    return sum(is_picture(PurePosixPath(path.name)) for path in folder.iterdir()) if folder.is_dir() else 0


def _check_counts(raw: Path, part: pd.DataFrame, usage: str) -> None:
    expected = RESHUFFLED_COUNTS.get(usage, {})
    found = {name: int((part["target"] == place).sum()) for place, name in enumerate(EXPRESSIONS)}
    if found != expected:
        have = ", ".join(f"{count} {name}" for name, count in found.items())
        want = ", ".join(f"{count} {name}" for name, count in expected.items()) or "the parts train and validation alone"
        raise InputError(f"{raw}, {usage}: {have}; expected {want}. It is not the 28,821-image folder, or not all of it: name another reader.")
