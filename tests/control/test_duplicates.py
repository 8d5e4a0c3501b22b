from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from ferlab.control import read, region_masks
from ferlab.control.source import NEAR_KINDS


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1])


def test_planted_near_duplicates_are_of_every_kind_and_say_of_whom() -> None:
    images, faces = read(faces=240, subjects=20, size=48, near_duplicates=0.25, duplicates=0.1)
    plain, _ = read(faces=240, subjects=20, size=48)
    copied = faces["duplicate_of"] != ""
    assert copied.sum() == 84
    assert Counter(faces["duplicate_kind"][copied]) == Counter(exact=24) + Counter(dict.fromkeys(NEAR_KINDS, 10))
    place = {face_id: number for number, face_id in enumerate(faces["face_id"])}
    for number, duplicate in faces[copied].iterrows():
        original = place[duplicate["duplicate_of"]]
        assert faces["duplicate_of"][original] == ""
        assert (faces.loc[original, ["subject", "target", "intensity"]] == duplicate[["subject", "target", "intensity"]]).all()
        upright = images[number][:, ::-1] if duplicate["duplicate_kind"] == "mirrored" else images[number]
        assert likeness(upright, images[original]) > 0.5
        assert (images[number] == images[original]).all() == (duplicate["duplicate_kind"] == "exact")
    assert (images[~copied] == plain[~copied]).all()
    assert (faces["duplicate_kind"][~copied] == "").all()


def test_byte_copies_stay_where_they_were_when_near_ones_are_planted() -> None:
    with_near, without = (read(faces=120, subjects=12, size=24, duplicates=0.2, near_duplicates=share)[1] for share in (0.2, 0.0))
    exact = without["duplicate_of"] != ""
    pd.testing.assert_series_equal(with_near["duplicate_of"][exact], without["duplicate_of"][exact])


def test_masks_of_a_near_duplicate_moved_with_its_picture() -> None:
    _, faces = read(faces=240, subjects=20, size=48, near_duplicates=0.3)
    place = {face_id: number for number, face_id in enumerate(faces["face_id"])}
    first = {kind: int(np.flatnonzero(faces["duplicate_kind"] == kind)[0]) for kind in NEAR_KINDS}
    rows = [row for number in first.values() for row in (number, place[faces["duplicate_of"][number]])]
    masks = dict(zip(rows, region_masks(faces.iloc[rows], size=64)["mouth"]))
    for kind, number in first.items():
        original = masks[place[faces["duplicate_of"][number]]]
        if kind == "mirrored":
            assert (masks[number] == original[:, ::-1]).all()
        elif kind in ("shifted", "rotated"):
            assert (masks[number] != original).any()
            assert (masks[number] & original).sum() > 0.4 * original.sum()
        else:
            assert (masks[number] == original).all()
