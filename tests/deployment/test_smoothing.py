"""Smoothing, flicker and time lines, by hand and by properties."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from smoothed_whole import find_segments, flicker_rate, smooth_probs

from ferlab.deployment.smoothing import MOST_FRAMES, NONE, Flicker, Smoother, Smoothing, TimeLine

TIMES = np.arange(50) / 25
METHODS = [
    NONE,
    Smoothing(),
    Smoothing("mean", seconds=0.2, margin=0, hold=0),
    Smoothing("mean", seconds=math.inf),
    Smoothing("exponential", seconds=0.3),
    Smoothing("none", margin=0.2, hold=0.1),
]


def noise(count: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(7), count)


@pytest.mark.parametrize("smoothing", METHODS)
def test_a_constant_face_is_unchanged(smoothing) -> None:
    probs = np.tile([0.1, 0.6, 0.3], (50, 1))
    rows, labels = smooth_probs(TIMES, probs, smoothing)
    np.testing.assert_allclose(rows, probs, rtol=1e-12)
    assert set(labels) == {1}


@pytest.mark.parametrize("smoothing", METHODS)
def test_smoothed_rows_are_probabilities_and_depend_on_earlier_frames_alone(smoothing) -> None:
    probs = noise()
    rows, labels = smooth_probs(TIMES, probs, smoothing)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert rows.min() >= 0
    first, first_labels = smooth_probs(TIMES[:20], probs[:20], smoothing)
    np.testing.assert_array_equal(first, rows[:20])
    np.testing.assert_array_equal(first_labels, labels[:20])


def test_without_smoothing_the_label_is_the_most_probable_expression() -> None:
    probs = noise()
    np.testing.assert_array_equal(smooth_probs(TIMES, probs, NONE)[1], probs.argmax(axis=1))


def test_the_mean_over_a_window_is_that_of_its_frames() -> None:
    probs = noise()
    rows, _ = smooth_probs(TIMES, probs, Smoothing("mean", seconds=0.2))  # five frames of 25 a second
    expected = pd.DataFrame(probs).rolling(5, min_periods=1).mean().to_numpy()
    np.testing.assert_allclose(rows, expected)


def test_the_mean_without_end_closes_with_the_average_of_the_clip() -> None:
    probs = noise()
    rows, _ = smooth_probs(TIMES, probs, Smoothing("mean", seconds=math.inf))
    np.testing.assert_allclose(rows[-1], probs.mean(axis=0))


def test_the_exponential_average_is_pandas_own() -> None:
    probs = noise()
    rows, _ = smooth_probs(TIMES, probs, Smoothing("exponential", seconds=0.2))
    expected = pd.DataFrame(probs).ewm(alpha=1 - math.exp(-0.04 / 0.2), adjust=False).mean().to_numpy()
    np.testing.assert_allclose(rows, expected)


def test_half_the_frames_give_the_same_exponential_average_of_a_step() -> None:
    step = np.where(TIMES[:, None] >= 0.5, [0.0, 1.0], [1.0, 0.0])
    smoothing = Smoothing("exponential", seconds=0.4)
    every, _ = smooth_probs(TIMES, step, smoothing)
    half, _ = smooth_probs(TIMES[::2], step[::2], smoothing)
    assert abs(half[-1, 1] - every[-1, 1]) < 0.01


@pytest.mark.parametrize("smoothing", [Smoothing(), Smoothing("exponential", seconds=0.5), Smoothing("none", margin=0.1, hold=0.05)])
def test_one_frame_off_does_not_change_the_label(smoothing) -> None:
    probs = np.tile([0.8, 0.1, 0.1], (50, 1))
    probs[25] = [0.02, 0.96, 0.02]
    assert set(smooth_probs(TIMES, probs, NONE)[1]) == {0, 1}
    assert set(smooth_probs(TIMES, probs, smoothing)[1]) == {0}


def test_the_label_changes_when_another_leads_by_the_margin_for_the_hold() -> None:
    smoothing = Smoothing("none", margin=0.3, hold=0.2)
    rows = [(0.0, 0.9), (0.1, 0.4), (0.2, 0.3), (0.3, 0.3), (0.4, 0.3), (0.5, 0.3), (0.6, 0.9)]  # probability of 0, against 1
    labels = smooth_probs([time for time, _ in rows], np.array([[prob, 1 - prob] for _, prob in rows]), smoothing)[1]
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]  # it leads by 0.2, then by 0.4 from 0.2 s on: changed at 0.4 s; one frame back is no change


def test_where_frames_come_further_apart_than_the_hold_one_is_enough() -> None:
    probs = np.eye(2)[[0, 0, 1, 1]]
    smoothing = Smoothing("none", margin=0.1, hold=0.2)
    assert smooth_probs([0.0, 0.3, 0.6, 0.9], probs, smoothing)[1].tolist() == [0, 0, 1, 1]
    assert smooth_probs([0.0, 0.1, 0.2, 0.3], probs, smoothing)[1].tolist() == [0, 0, 0, 0]


def test_a_lead_that_is_lost_or_goes_to_a_third_begins_again() -> None:
    smoothing = Smoothing("none", margin=0.1, hold=0.2)
    probs = np.eye(3)[[0, 1, 1, 2, 2, 0, 1, 1]]
    assert set(smooth_probs(np.arange(8) / 10, probs, smoothing)[1]) == {0}


def test_smoothing_lowers_the_flicker_of_a_noisy_face() -> None:
    probs = np.array([0.55, 0.45]) + np.random.default_rng(1).normal(0, 0.15, (250, 1)) * [1, -1]
    times = np.arange(250) / 25
    raw, smoothed = (flicker_rate(times, smooth_probs(times, probs, smoothing)[1]) for smoothing in (NONE, Smoothing()))
    assert raw > 3
    assert smoothed < raw / 5


def test_flicker_counts_changes_over_the_time_between_first_and_last_frame() -> None:
    assert flicker_rate([0, 1, 2, 3, 4], [0, 1, 1, 0, 2]) == pytest.approx(3 / 4)
    assert math.isnan(flicker_rate([1.0], [0]))
    assert math.isnan(Flicker().per_second)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    rows, _ = smooth_probs([0.0, 1.0, 0.5, 1.5], noise(4), Smoothing("exponential", seconds=0.1))
    assert np.isfinite(rows).all()
    assert rows.min() >= 0


def test_a_window_is_bounded() -> None:
    smoother = Smoother(Smoothing("mean", seconds=1e6))
    for row in noise(3 * MOST_FRAMES):
        smoother.add(0.0, row)
    assert len(smoother._window) == MOST_FRAMES


def test_segments_tile_the_time_and_hold_the_mean_confidence() -> None:
    times, labels = np.array([0.0, 0.1, 0.2, 0.3, 0.4]), np.array([6, 6, 3, 3, 6])
    probs = np.zeros((5, 7))
    probs[[0, 1, 2, 3, 4], labels] = [0.4, 0.6, 0.5, 0.9, 1.0]
    found = [(each.start, each.end, each.label, round(each.confidence, 6), each.frames) for each in find_segments(times, labels, probs)]
    assert found == [(0.0, 0.2, 6, 0.5, 2), (0.2, 0.4, 3, 0.7, 2), (0.4, 0.4, 6, 1.0, 1)]


def test_a_gap_ends_a_segment_even_of_the_same_label() -> None:
    times = np.array([0.0, 0.5, 3.0, 3.5])
    found = find_segments(times, np.zeros(4, int), np.ones((4, 2)))
    assert [(each.start, each.end) for each in found] == [(0.0, 0.5), (3.0, 3.5)]


def test_a_bounded_time_line_counts_what_it_drops() -> None:
    line = TimeLine(most=3)
    for number in range(10):
        line.add(number / 10, number % 2, 0.5)
    assert len(line.segments()) == 4
    assert line.dropped == 6
    assert [each.start for each in line.segments(since=0.85)] == [pytest.approx(0.8), pytest.approx(0.9)]


ENDLESS = {"method": "exponential", "seconds": math.inf}


@pytest.mark.parametrize("wrong", [{"method": "median"}, {"seconds": 0.0}, {"seconds": math.nan}, {"margin": 1.5}, {"hold": -1.0}, ENDLESS])
def test_wrong_options_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Smoothing(**wrong)
