"""FER+ as a benchmark of its own: the pictures of FER2013, eight expressions, labels made of ten raters' votes.

Its authors train on Training with labels of any mode, and score PublicTest and PrivateTest by majority always; so does this reader,
unless told otherwise. What a mode drops stays in the table, with the reason. Papers that take the argmax of the votes score other
faces: their numbers are not comparable with those by majority.

References:
    Barsoum et al. (2016), Training Deep Networks for FER with Crowd-Sourced Label Distribution, arXiv 1608.01041.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.readers import fer2013
from ferlab.data.readers.ferplus import SOFT, label_votes, soft_targets
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS

MAJORITY_FACES: dict[str, int] = {"Training": 25_060, "PublicTest": 3_199, "PrivateTest": 3_153}  # counted in fer2013new.csv


def read(raw: Path, *, mode: str = "majority", test_mode: str | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Read FER2013 in any of its forms with fer2013new.csv beside it.

    Args:
        raw: As for `fer2013.read`; the csv of votes must be there.
        mode: What makes labels of the votes of Training; one of `ferplus.MODES`.
        test_mode: The same for PublicTest and PrivateTest; None: argmax if `mode` is argmax, else majority.

    Returns:
        Images uint8 (N, 48, 48), and a face table without `split` and `content_hash`: the votes; `soft_<expression>`, the target as shares
        that sum to 1 over eight expressions (NaN where a face is left out); `fer2013_expression`, FER2013's own label; and `excluded`:
        "no majority", "unknown", "not a face", "more than 3 expressions", or "".

    Raises:
        InputError: As of `fer2013.read`; if the votes are missing or cannot be joined; if a mode is unknown.
    """
    images, faces = fer2013.read(raw, votes=True)
    modes = {True: mode, False: test_mode or ("argmax" if mode == "argmax" else "majority")}
    fits = (faces["usage"] == "Training").to_numpy()
    soft = pd.DataFrame(np.nan, index=faces.index, columns=[SOFT + name for name in ALL_EXPRESSIONS])
    targets, reasons = np.empty(len(faces), dtype=np.int64), np.empty(len(faces), dtype=object)
    for part in (True, False):
        rows = np.flatnonzero(fits == part)
        _, targets[rows], reasons[rows] = label_votes(faces.iloc[rows], mode=modes[part])
        soft.iloc[rows] = soft_targets(faces.iloc[rows], mode=modes[part])
    labelled = faces.assign(
        face_id=faces["face_id"].str.replace("fer2013/", "ferplus/", n=1),
        source="ferplus",
        fer2013_expression=np.array(EXPRESSIONS)[faces["target"]],
        target=targets,
        excluded=pd.Series(reasons, dtype="str"),
    )
    return images, pd.concat([labelled, soft], axis=1)
