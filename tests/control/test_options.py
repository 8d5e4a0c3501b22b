from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.control.options import assign_usages, spoil_labels

pytestmark = pytest.mark.usefixtures("undrawn")


def crossing_share(faces: pd.DataFrame) -> float:
    test = faces[faces["usage"] == "PrivateTest"]
    known = set(faces.loc[faces["usage"] == "Training", "subject"])
    return float(test["subject"].isin(known).mean())


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 1.0])
def test_overlap_is_the_share_of_test_faces_whose_subject_trains(overlap: float) -> None:
    _, faces = read(faces=1000, subjects=100, size=24, overlap=overlap)
    assert crossing_share(faces) == pytest.approx(overlap, abs=0.01)
    assert faces["overlap"].sum() == round(crossing_share(faces) * (faces["usage"] == "PrivateTest").sum())
    assert (faces["usage"] == "PrivateTest").mean() == pytest.approx(0.2, abs=0.02)
    selects = set(faces.loc[faces["usage"] == "PublicTest", "subject"])
    assert not selects & set(faces.loc[faces["usage"] != "PublicTest", "subject"])


def test_few_subjects_still_leave_one_for_training() -> None:
    usage, crosses = assign_usages(np.repeat([0, 1, 2], 5), seed=0, test_share=0.3, val_share=0.3, overlap=0.0)
    assert sorted(set(usage)) == ["PrivateTest", "PublicTest", "Training"]
    assert not crosses.any()


def test_label_noise_spoils_the_share_asked_for_and_keeps_the_truth() -> None:
    _, faces = read(faces=700, subjects=50, size=24, label_noise=0.2)
    _, rows = read(faces=700, subjects=50, size=24)
    assert (faces["true_target"] == rows["target"]).all()
    wrong = faces["target"] != faces["true_target"]
    assert wrong.sum() == 140
    assert faces["target"].dtype == np.int64
    steps = (faces["target"] - faces["true_target"])[wrong] % 7
    assert steps.value_counts().min() > 10  # every other class is hit


def test_a_sequence_is_spoilt_as_a_whole() -> None:
    _, faces = read(faces=200, subjects=10, size=24, frames=4, label_noise=0.3)
    assert (faces.groupby("sequence")["target"].nunique() == 1).all()
    assert (faces["target"] != faces["true_target"]).sum() == 60


def test_wrong_labels_stay_among_those_there_are() -> None:
    targets = np.array([0, 2, 4, 6] * 25)
    spoilt = spoil_labels(targets, np.arange(100), share=1.0, classes=np.array([0, 2, 4, 6]), seed=1)
    assert set(spoilt) == {0, 2, 4, 6}
    assert (spoilt != targets).all()


@pytest.mark.parametrize(("factor", "expressions"), [(10, 7), (100, 8)])
def test_class_shares_have_the_ratio_asked_for(factor: float, expressions: int) -> None:
    _, faces = read(faces=2000, subjects=100, size=24, imbalance=factor, expressions=expressions)
    counts = faces["target"].value_counts().reindex(range(expressions)).to_numpy()
    order = [3, 6, 4, 2, 0, 5, 1, 7][:expressions]  # as common as in FER2013: happy first, disgust and contempt last
    wanted = factor ** -np.linspace(0, 1, expressions)
    np.testing.assert_allclose(counts[order], 2000 * wanted / wanted.sum(), atol=4)


def test_imbalance_does_not_depend_on_how_many_faces_follow() -> None:
    more, fewer = (read(faces=count, subjects=10, size=24, imbalance=5)[1] for count in (60, 30))
    pd.testing.assert_frame_equal(more.iloc[:30], fewer)
