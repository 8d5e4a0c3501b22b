"""Summaries of faithfulness scores, and the long table of a small model's maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from ferlab.explanation import judged as judged_room
from ferlab.explanation.faithfulness import (
    METRICS,
    clusters_of,
    face_scores,
    in_order,
    mean_curves,
    mean_interval,
    nested_summary,
    oriented,
    summarise,
)
from ferlab.explanation.judged import judge_maps, spread_rows
from ferlab.models import LoadedModel

FACES = [f"f{number}" for number in range(6)]


def long(values: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    """Scores that need no curve: (metric, method) -> a value per face."""
    parts = [
        pd.DataFrame({"face_id": FACES[: len(each)], "method": method, "metric": metric, "imputation": "", "at": np.nan, "value": each})
        for (metric, method), each in values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def curve(method: str, metric: str, values: list[float], at: tuple[float, ...] = (0, 0.25, 1)) -> pd.DataFrame:
    return pd.DataFrame({"face_id": "f0", "method": method, "metric": metric, "imputation": "blur", "at": at, "value": values})


def test_areas_are_trapezoids_and_the_gain_is_their_difference():
    judged = pd.concat([curve("grad_cam", "deletion", [1, 0.2, 0]), curve("grad_cam", "insertion", [0, 0.8, 1])])
    scores = face_scores(judged)
    assert scores["deletion_blur"].loc["f0", "grad_cam"] == pytest.approx(0.25 * 0.6 + 0.75 * 0.1)
    assert scores["insertion_blur"].loc["f0", "grad_cam"] == pytest.approx(0.25 * 0.4 + 0.75 * 0.9)
    assert scores["gain_blur"].loc["f0", "grad_cam"] == pytest.approx(0.775 - 0.225)
    assert set(scores) <= set(METRICS)


def test_methods_stand_in_the_order_asked_for_and_baselines_last():
    values = {("infidelity", name): [0.1, 0.2] for name in ("grad_cam", "random", "occlusion")}
    ordered = in_order(long(values), ["occlusion", "grad_cam"])
    assert list(face_scores(ordered)["infidelity"]) == ["occlusion", "grad_cam", "random"]
    assert ordered["face_id"].tolist() == FACES[:2] * 3
    pd.testing.assert_frame_equal(face_scores(ordered)["infidelity"][["random"]], face_scores(long(values))["infidelity"][["random"]])


def test_only_the_model_with_all_layers_random_is_compared():
    judged = long({("infidelity", "grad_cam"): [1.0]})
    stages = pd.DataFrame({"face_id": "f0", "method": "grad_cam", "metric": "randomised", "imputation": "", "at": [0.5, 1.0], "value": [0.9, 0.1]})
    assert face_scores(pd.concat([judged, stages]))["randomised"].loc["f0", "grad_cam"] == 0.1


def test_intervals_over_faces_are_students():
    values = pd.Series([0.1, 0.4, 0.2, np.nan, 0.6])
    found = mean_interval(values, list("abcde"), key="value")
    kept = values.dropna()
    low, high = stats.t.interval(0.95, 3, loc=kept.mean(), scale=kept.std(ddof=1) / 2)
    assert found == pytest.approx({"n": 4, "value": kept.mean(), "value_ci_low": low, "value_ci_high": high})


def test_faces_of_one_subject_widen_the_interval_and_one_subject_has_none():
    values = pd.Series([0.1, 0.1, 0.5, 0.5, 0.9, 0.9])
    apart, together = (mean_interval(values, clusters, key="v") for clusters in (list("abcdef"), list("aabbcc")))
    assert together["v_ci_high"] - together["v_ci_low"] > 1.5 * (apart["v_ci_high"] - apart["v_ci_low"])
    assert np.isnan(mean_interval(values, list("aaaaaa"), key="v")["v_ci_low"])


def test_the_best_is_named_only_where_every_paired_difference_excludes_0():
    noise = np.array([0.3, 0.1, 0.25, 0.15, 0.2, 0.2])
    scores = face_scores(long({
        ("infidelity", "random"): list(noise + 0.5), ("infidelity", "grad_cam"): list(noise), ("infidelity", "occlusion"): list(noise + 0.1),
        ("max_sensitivity", "grad_cam"): list(noise), ("max_sensitivity", "occlusion"): list(noise[::-1]),
        ("sparseness", "grad_cam"): list(noise), ("sparseness", "occlusion"): list(noise + 1),
    }))  # fmt: skip
    summary = summarise(scores, clusters=FACES).set_index(["metric", "method"])
    assert summary["best"].to_dict() == {key: key == ("infidelity", "grad_cam") for key in summary.index}
    assert summary.loc[("infidelity", "grad_cam"), "ahead"] == pytest.approx(0.5)  # lower is better: ahead of the random map
    assert np.isnan(summary.loc[("infidelity", "random"), "ahead"])
    assert summary.loc[("infidelity", "random"), "n"] == 6


@pytest.mark.parametrize(("metric", "ends"), [("randomised", (-1, 1)), ("other_class", (-1, 1)), ("sparseness", (0, 1))])
def test_no_interval_leaves_the_range_of_its_metric(metric, ends):
    near = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.4])
    scores = face_scores(long({(metric, "occlusion"): list(near), (metric, "gradients"): list(sum(ends) - near)}))
    summary = summarise(scores, clusters=FACES).set_index("method")
    assert summary.loc["occlusion", "value_ci_high"] == ends[1]
    assert summary.loc["gradients", "value_ci_low"] == ends[0]
    low, _ = stats.t.interval(0.95, 5, loc=near.mean(), scale=near.std(ddof=1) / np.sqrt(6))
    assert summary.loc["occlusion", "value_ci_low"] == pytest.approx(low)


def test_a_lone_method_is_not_the_best():
    scores = face_scores(long({("infidelity", "random"): [1.0] * 6, ("infidelity", "occlusion"): [0.1, 0.2] * 3}))
    assert not summarise(scores, clusters=FACES)["best"].any()


def test_nested_summaries_hold_no_nan():
    summary = summarise(face_scores(long({("infidelity", "random"): [1.0, 2.0], ("infidelity", "occlusion"): [0.1, 0.2]})), clusters=["a", "b"])
    nested = nested_summary(summary)
    assert nested["infidelity"]["occlusion"]["ahead"] == pytest.approx(1.35)
    assert "ahead" not in nested["infidelity"]["random"]


def test_oriented_scores_are_higher_for_the_better_map_and_without_controls():
    scores = face_scores(
        long({("infidelity", "random"): [1.0] * 6, ("infidelity", "occlusion"): [0.1] * 6, ("infidelity", "grad_cam"): [np.nan] * 6})
    )
    own = oriented(scores)["infidelity"]
    assert list(own) == ["occlusion"]
    assert (own["occlusion"] == -0.1).all()


def test_clusters_are_subjects_where_known_and_faces_elsewhere():
    judged = long({("infidelity", "occlusion"): [0.1] * 3})
    faces = pd.DataFrame({"face_id": ["f2", "f1", "f0"], "subject": ["s2", None, "s0"]})
    assert clusters_of(faces, judged).tolist() == ["s0", "f1", "s2"]
    assert clusters_of(faces.drop(columns="subject"), judged).tolist() == ["f0", "f1", "f2"]


def test_rows_are_spread_over_the_classes():
    classes = np.array([0, 0, 0, 0, 1, 2, 2])
    assert spread_rows(classes, at_most=3).tolist() == [0, 4, 5]
    assert spread_rows(classes, at_most=5).tolist() == [0, 1, 4, 5, 6]
    assert spread_rows(classes, at_most=99).tolist() == list(range(7))


@pytest.fixture(scope="module")
def judged() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A small colour model's maps, judged in one order of the faces and in another."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 81, 7)).eval()
    model = LoadedModel(module, "small", {}, tuple("abcdefg"), (0.5,) * 3, (0.25,) * 3, 24, 3, None, ())
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)  # not the size of the model
    maps = {"gradients": np.random.default_rng(1).random((4, 20, 20)).astype(np.float32)}
    settings = {"recomputed": 4, "squares": 3, "samples": 1, "copies": 2, "stages": 2}
    found = []
    for order in (np.arange(4), np.array([2, 0, 3, 1])):
        own = {"maps": {name: values[order] for name, values in maps.items()}, "face_id": np.array(FACES[:4])[order]}
        found.append(judge_maps(model, images[order], explained_class=np.array([0, 1, 2, 3])[order], **own, **settings))
    return found[0], found[1]


def test_every_map_has_every_score_and_controls_those_that_need_no_method(judged):
    table = judged[0]
    assert table["value"].notna().all()
    kinds = table.groupby("method")["metric"].unique().map(set).to_dict()
    of_map = {"deletion", "insertion", "infidelity", "sparseness"}
    assert kinds == {
        "gradients": of_map | {"max_sensitivity", "other_class", "randomised", "entropy_rise"},
        "random": of_map, "centre": of_map, "edges": of_map,
    }  # fmt: skip
    assert set(mean_curves(table)["metric"]) == {"deletion", "insertion"}
    assert set(face_scores(table)) == set(METRICS)


def test_maps_are_computed_again_as_they_were_and_slow_methods_on_few_faces(monkeypatch):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 100, 7)).eval()
    model = LoadedModel(module, "small", {}, tuple("abcdefg"), (0.5,), (0.25,), 12, 1, None, ())
    calls: dict[str, list[dict[str, Any]]] = {"xrai": [], "gradients": [], "occlusion": []}

    def attribute(method: str, module: nn.Module, faces: torch.Tensor, **options: Any) -> torch.Tensor:
        calls[method].append(options | {"faces": len(faces)})
        return torch.rand(len(faces), 1, 12, 12)

    monkeypatch.setattr(judged_room, "attribute", attribute)
    images = np.random.default_rng(0).integers(0, 256, (10, 12, 12), dtype=np.uint8)
    maps = {name: np.random.default_rng(1).random((10, 12, 12)) for name in calls}
    given = {"maps": maps, "explained_class": np.arange(10) % 7, "face_id": np.array([f"f{n}" for n in range(10)])}
    table = judge_maps(model, images, settings={"window": 6, "stride": 3, "steps": 5}, recomputed=9, samples=1, copies=1, stages=1, **given)
    assert {name: {options["faces"] for options in own} for name, own in calls.items()} == {"xrai": {7}, "gradients": {9}, "occlusion": {9}}
    assert {(options["window"], options["stride"]) for options in calls["occlusion"]} == {(6, 3)}
    assert {options["steps"] for options in calls["xrai"]} == {5}
    assert table[table["metric"] == "other_class"].groupby("method").size().to_dict() == {"xrai": 7, "gradients": 9, "occlusion": 9}


def test_permuting_the_faces_changes_no_score(judged):
    keys = ["method", "metric", "imputation", "at", "face_id"]
    plain, permuted = (table.sort_values(keys).reset_index(drop=True) for table in judged)
    pd.testing.assert_frame_equal(plain[keys], permuted[keys])
    np.testing.assert_allclose(permuted["value"], plain["value"], atol=1e-5)
