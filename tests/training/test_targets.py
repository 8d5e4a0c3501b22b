from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.data.readers.ferplus import BALLOT
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError
from ferlab.training.targets import scaled_values, wanted_targets


def faces() -> pd.DataFrame:
    """Three faces: all for happy; half sad, a third neutral; nobody sure."""
    votes = pd.DataFrame(0, index=range(3), columns=[f"votes_{name}" for name in BALLOT])
    votes.loc[0, "votes_happy"] = 10
    votes.loc[1, ["votes_sad", "votes_neutral"]] = [6, 4]
    votes.loc[2, "votes_unknown"] = 10
    return votes.assign(target=[EXPRESSIONS.index(name) for name in ("happy", "angry", "fear")], intensity=[5.0, 0.0, np.nan])


def wanted(**options: object) -> np.ndarray | None:
    plain = {"expressions": EXPRESSIONS, "loss": "cross_entropy", "ferplus_weight": 0.0, "regress": []}
    return wanted_targets(faces(), **{**plain, **options})  # type: ignore[arg-type]


def test_votes_are_mixed_with_the_label_by_their_weight() -> None:
    soft = pd.DataFrame(wanted(ferplus_weight=0.5), columns=EXPRESSIONS)
    assert soft.loc[1, ["angry", "sad", "neutral"]].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert soft.loc[2, "fear"] == 1  # FER+ drops the face, its label stands
    assert soft.sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_of_several_labels_each_is_right_or_not() -> None:
    right = pd.DataFrame(wanted(ferplus_weight=1.0, loss="multi_label"), columns=EXPRESSIONS)
    assert right.loc[1, ["angry", "sad", "neutral"]].tolist() == [0, 1, 1]


def test_values_follow_the_soft_targets_on_a_scale_of_one() -> None:
    table = wanted(regress=["intensity"])
    assert table is not None
    assert table[:, :7].tolist() == np.eye(7)[faces()["target"]].tolist()
    assert table[:2, 7].tolist() == [1, -1]
    assert np.isnan(table[2, 7])


def test_what_a_set_lacks_is_said() -> None:
    assert wanted() is None
    with pytest.raises(InputError, match="no 'arousal'"):
        scaled_values(faces(), ["arousal"], expressions=EXPRESSIONS)


def test_a_value_that_a_whole_split_lacks_cannot_be_scored_there() -> None:
    with pytest.raises(InputError, match="no face of test has a 'intensity'"):
        scaled_values(faces().assign(split=["train", "val", "test"]), ["intensity"], expressions=EXPRESSIONS)


def test_the_share_of_votes_for_the_label_is_the_crowds_intensity() -> None:
    table = wanted(regress=["vote_share"])
    assert table is not None
    assert table[:, 7].tolist() == pytest.approx([1, -1, -1])  # all ten, none (the label is angry), none
    sad = faces().assign(target=EXPRESSIONS.index("sad"))
    assert scaled_values(sad, ["vote_share"], expressions=EXPRESSIONS)[:, 0].tolist() == pytest.approx([-1, 0.2, -1])
    no_votes = faces().assign(**{f"votes_{name}": 0 for name in BALLOT})
    with pytest.raises(InputError, match=r"no 'vote_share'; .* \(FER2013 with FER\+ votes\)"):
        scaled_values(no_votes, ["vote_share"], expressions=EXPRESSIONS)
