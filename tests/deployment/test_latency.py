"""Timing single faces against a budget."""

from __future__ import annotations

import numpy as np
import pytest

from ferlab.deployment import latency
from ferlab.deployment.latency import measure_latency, measure_side_by_side, summarise_latency


def test_each_call_gets_one_face_and_warm_up_is_not_timed(monkeypatch) -> None:
    clock = iter(np.arange(0, 100, 0.005))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: float(next(clock)))
    seen = []
    times = measure_latency(lambda face: seen.append(face.copy()), np.arange(3)[:, None], repeats=4, warm_up=2)
    assert [face.shape for face in seen] == [(1, 1)] * 6
    assert [int(face[0, 0]) for face in seen] == [1, 2, 0, 1, 2, 0]
    np.testing.assert_allclose(times, 5.0)


def test_ways_are_timed_in_turns_and_as_often(monkeypatch) -> None:
    clock = iter(np.arange(0, 100, 0.005))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: float(next(clock)))
    called = []
    ways = {"a": lambda face: called.append("a"), "b": lambda face: called.append("b")}
    times = measure_side_by_side(ways, np.zeros((2, 1)), repeats=5, rounds=2, warm_up=1)
    assert "".join(called) in ("aaabbbaaaabbbb", "aaaabbbbaaabbb")
    assert {name: len(part) for name, part in times.items()} == {"a": 5, "b": 5}


def test_another_clock_is_read(monkeypatch) -> None:
    monkeypatch.setattr(latency.time, "perf_counter", lambda: pytest.fail("the wall's clock was read"))
    np.testing.assert_allclose(measure_latency(lambda face: None, np.zeros((1, 1)), repeats=2, clock=iter(np.arange(0, 1, 0.01)).__next__), 10)


def test_fewer_repeats_than_rounds_are_kept() -> None:
    assert len(measure_side_by_side({"a": lambda face: None}, np.zeros((2, 1)), repeats=3)["a"]) == 3


def test_summary_by_hand() -> None:
    summary = summarise_latency(np.array([1.0] * 19 + [200.0]), budget_ms=100)
    assert summary["p50_ms"] == 1
    assert summary["fraction_within_budget"] == 0.95
    assert summary["p95_within_budget"] is True
    assert summarise_latency(np.array([150.0, 150.0]), budget_ms=100)["p95_within_budget"] is False


def test_no_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one face"):
        measure_latency(print, np.zeros((0, 2)), repeats=3)
