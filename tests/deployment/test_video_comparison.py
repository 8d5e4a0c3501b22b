"""Two models on one video."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.smoothing import NONE
from ferlab.deployment.video import read_clip
from ferlab.deployment.video_comparison import Competitor, compare_on_video
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.load()


class Ticks:
    """A clock that moves on by a millisecond at each look: a span without other looks lasts one."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def test_each_model_is_scored_on_the_same_boxes_against_the_truth(acted, shipped, tiny_onnx) -> None:
    true = {frame: faces for frame, faces in enumerate(frame.faces for frame in acted[1])}

    def truth(number, box):
        near = [face for face in true[number] if abs(face.box[0] + face.box[2] / 2 - box[0] - box[2] / 2) < 0.3 * box[2]]
        return near[0].expression if near and not near[0].covered else None

    models = {"shipped": Competitor(shipped), "mirrored": Competitor(shipped, flip=True), "tiny": Competitor(Predictor.load(tiny_onnx))}
    found = compare_on_video(acted[0], models, truth=truth, every=4, smoothing=NONE, clock=Ticks())
    assert list(found.models.index) == list(models)
    assert found.frames == 19
    assert 0 < found.known <= found.faces
    alone = []
    read_clip(open_clip(acted[0]), shipped, every=4, flip=False, on_frame=alone.append)
    assert sum(len(frame.faces) for frame in alone) == found.faces
    right = [
        shipped.expressions[int(face.probs.argmax())] == expected
        for frame in alone
        for face in frame.faces
        if (expected := truth(frame.number, face.box)) is not None
    ]
    assert found.models.loc["shipped", "accuracy"] == pytest.approx(np.mean(right))
    assert found.models.loc["shipped", "accuracy"] > 0.85
    assert (found.models["accuracy"] == found.models["smoothed_accuracy"]).all()  # nothing was smoothed
    pairs = found.agreement.set_index("models")["agreement"]
    assert pairs["shipped and mirrored"] > max(0.9, pairs["shipped and tiny"])
    assert found.search_ms == (pytest.approx(1), pytest.approx(1))
    assert found.models["p50_ms"].tolist() == [pytest.approx(2)] * 3  # a tick of the search, one of the model
    assert found.models["predict_p50_ms"].tolist() == [pytest.approx(1)] * 3
    assert found.models["fps"].tolist() == [pytest.approx(500)] * 3


def test_without_a_truth_accuracy_is_unknown(acted, shipped) -> None:
    found = compare_on_video(acted[0], {"a": Competitor(shipped), "b": Competitor(shipped)}, every=25)
    assert math.isnan(found.models.loc["a", "accuracy"])
    assert found.known == 0
    assert found.agreement["agreement"].tolist() == [1.0]


def test_one_model_or_a_video_without_faces_is_said(acted, shipped, tmp_path) -> None:
    from ferlab.control.clips import write_clip

    with pytest.raises(InputError, match="needs two models or more, got 1"):
        compare_on_video(acted[0], {"a": Competitor(shipped)})
    write_clip(tmp_path / "plain.avi", (np.full((60, 80, 3), 90, np.uint8) for _ in range(5)))
    with pytest.raises(InputError, match="no face in any of 5 frames"):
        compare_on_video(tmp_path / "plain.avi", {"a": Competitor(shipped), "b": Competitor(shipped)})
