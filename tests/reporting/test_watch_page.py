"""The pages of the watch notebook, from results made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.control.clips import DrawnClip, FaceTruth
from ferlab.deployment.video import FaceTrack, ReadClip
from ferlab.deployment.video_comparison import VideoComparison
from ferlab.expressions import EXPRESSIONS
from ferlab.live.model import LiveModel
from ferlab.reporting.pages import watch
from ferlab.reporting.pages.watch import (
    agreement_sentence,
    clip_sentence,
    clip_table,
    competitors,
    latency_sentence,
    searches_sentence,
    show_comparison,
    show_searches,
    time_lines_figure,
)

HAPPY, NEUTRAL = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")


@pytest.fixture
def acted() -> tuple[ReadClip, DrawnClip]:
    """Return one person who is happy from 2 s on, predicted 0.4 s late, in ten frames a second."""
    faces = tuple((FaceTruth(0, (0, 0, 10, 10), "happy" if number >= 20 else "neutral", 5.0, number in (5, 6)),) for number in range(50))
    read = ReadClip(SimpleNamespace(rate=10.0, seconds=4.9), EXPRESSIONS, frames=50, searches=10)
    track = read.tracks[0] = FaceTrack.begin(0, 0.0, 7)
    for number in range(50):
        label = HAPPY if number >= 24 else NEUTRAL
        probs = np.eye(7)[label]
        track.add(number / 10, probs, probs, label=label)
    return read, DrawnClip(Path("a.mp4"), faces)


def row(**values: float) -> dict[str, float]:
    usual = {"fps": 50.0, "p50_ms": 12.0, "p95_ms": 60.0, "within_budget": 0.99, "predict_p50_ms": 3.0, "flicker": 0.5, "smoothed_flicker": 0.25}
    return usual | {"accuracy": 0.9, "smoothed_accuracy": 0.8} | values


def compared(**values: float) -> VideoComparison:
    models = pd.DataFrame({"one": row(), "two": row(**values)}).T.rename_axis("model")
    pairs = pd.DataFrame([{"models": "one and two", "faces": 100, "agreement": 0.75, "smoothed_agreement": 0.8}])
    return VideoComparison(models, pairs, (2.0, 40.0), frames=50, faces=100, known=0)


def test_time_lines_stand_below_what_was_acted(acted) -> None:
    shown = time_lines_figure(*acted)
    axis = shown["figure"].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["face 1, acted", "face 1, predicted"]
    lanes = {0: [], 1: []}
    for bar in axis.patches:
        lanes[round(bar.get_y() + bar.get_height() / 2)].append((round(bar.get_x(), 2), round(bar.get_width(), 2)))
    assert lanes[0] == [(0.0, 0.4), (0.7, 1.3), (2.0, 2.9)]  # without the frames in which the face was covered
    assert lanes[1] == [(0.0, 2.4), (2.4, 2.5)]
    assert "Face 1, predicted: neutral 0.0 to 2.4 s, happy 2.4 to 4.9 s" in shown["alt"]
    plt.close("all")


def test_a_clip_has_its_mean_its_share_and_the_delay_of_its_onsets(acted) -> None:
    (facts,) = clip_table(*acted).to_dict("records")
    assert facts["mean over frames"] == "happy (52 %)"
    assert facts["frames that agree, %"] == "52.0"
    assert facts["acted longest"] == "happy"
    assert facts["delay of onsets, s"] == "0.40 (1 of 1)"  # that the cover ends is no onset


def test_only_what_the_run_bears_out_is_said_of_the_published_figures() -> None:
    fast, slow = latency_sentence("a", row()), latency_sentence("b", row(fps=4.0, p50_ms=250.0, within_budget=0.1))
    assert "99.0 % of frames within cs230's budget of 100 ms" in fast
    assert "12.0 ms is below the 40 ms" in fast
    assert "10.0 frames fit into the 200 ms" in fast
    assert "250.0 ms is not below the 40 ms" in slow
    assert "longer than its tick of 200 ms" in slow


def test_the_comparison_shows_both_models_and_their_agreement(monkeypatch) -> None:
    parts = []
    monkeypatch.setattr(watch, "present", lambda *given: parts.extend(given))
    show_comparison(compared(accuracy=np.nan))
    assert parts[0].loc["one", "accuracy, %"] == "90.0"
    assert parts[0].loc["two", "accuracy, %"] not in ("90.0", "nan")
    assert "agree on 75.0 % of 100 faces" in parts[1]
    assert "true expressions are unknown" in agreement_sentence(compared())
    assert len(parts) == 4


def test_the_cost_of_searches_is_a_ratio_of_this_run(monkeypatch) -> None:
    parts = []
    monkeypatch.setattr(watch, "present", lambda *given: parts.extend(given))
    costs = {"mean_ms": [50.0, 10.0], "p50_ms": [50.0, 2.0], "p95_ms": [60.0, 50.0], "searches": [100, 20], "faces": [99, 98], "jitter": [1.5, 0.5]}
    show_searches(pd.DataFrame(costs, index=pd.Index([0.0, 0.2])))
    assert list(parts[0].index) == ["every frame", "every 0.2 s"]
    assert parts[1].endswith("takes 20.0 % of the time per frame; from frame to frame boxes move by 0.50 instead of 1.50 pixels.")


@pytest.mark.parametrize("jitter", [[0.0, 0.0], [np.nan, np.nan], [0.4, 0.0]])
def test_searches_without_movement_are_compared_by_time_alone(jitter) -> None:
    costs = pd.DataFrame({"mean_ms": [10.0, 12.0], "jitter": jitter})
    assert searches_sentence(costs, ["every frame", "every 0.2 s"]).endswith("in every frame takes 120.0 % of the time per frame.")


def test_a_clip_without_a_face_says_so(acted) -> None:
    _, clip = acted
    read = ReadClip(SimpleNamespace(rate=10.0, seconds=4.9), EXPRESSIONS, frames=50, searches=10)
    assert clip_sentence(read) == "No face was found in 50 frames."
    assert time_lines_figure(read, clip)["alt"].endswith("No face was found.")
    assert clip_table(read, clip).empty
    plt.close("all")


def test_without_a_second_model_the_first_is_compared_with_its_mirror_average() -> None:
    model = LiveModel.load()
    assert [(name, each.flip) for name, each in competitors(model).items()] == [("shipped", False), ("shipped, flip", True)]
    other = competitors(model, Path(model.predictor.where))
    assert len(other) == 2
    assert not any(each.flip for each in other.values())
