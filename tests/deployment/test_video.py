"""Expressions of a clip against the truth that drew it."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from smoothed_whole import find_segments

from ferlab.deployment.clip_files import ClipFrame, open_clip
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.smoothing import NONE, Smoothing
from ferlab.deployment.video import FaceTrack, read_clip


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.load()


@pytest.fixture(scope="module")
def read(acted, shipped):
    frames = []
    return read_clip(open_clip(acted[0]), shipped, flip=False, on_frame=frames.append), frames


def times_of(segments, read, expression):
    return [(segment.start, segment.end) for segment in segments if read.expressions[segment.label] == expression]


def test_the_time_line_shows_the_acted_expression_where_it_was_acted(read, acted) -> None:
    clip, _ = read
    true = [frame.time for frame in acted[1] if frame.faces[0].expression == "happy"]
    ((start, end),) = times_of(clip.tracks[0].line.segments(), clip, "happy")
    assert 0 <= start - true[0] < 0.6  # window, margin and hold come after the onset
    assert 0 <= end - true[-1] < 0.7


def test_without_smoothing_the_onset_is_within_three_frames(read, acted) -> None:
    clip, frames = read
    times, probs = zip(*[(frame.time, face.probs) for frame in frames for face in frame.faces if face.id == 0], strict=True)
    true = [frame.time for frame in acted[1] if frame.faces[0].expression == "happy"]
    raw = np.argmax(probs, axis=1)
    spans = [span for span in times_of(find_segments(times, raw, np.array(probs)), clip, "happy") if span[1] - span[0] > 0.5]
    assert len(spans) == 1
    assert abs(spans[0][0] - true[0]) <= 3 / 15
    assert abs(spans[0][1] - true[-1]) <= 4 / 15


def test_every_frame_is_reported_once_in_order_and_its_faces_sum_up_to_the_tracks(read, acted) -> None:
    clip, frames = read
    assert [frame.number for frame in frames] == list(range(75))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(75) / 15, atol=1e-6)
    assert clip.frames == 75
    assert clip.empty == sum(not frame.faces for frame in frames)
    for track in clip.tracks.values():
        rows = np.array([face.probs for frame in frames for face in frame.faces if face.id == track.id])
        np.testing.assert_allclose(track.probs, rows.mean(axis=0), rtol=1e-5)
        assert track.frames == len(rows)
        assert track.share == pytest.approx((rows.argmax(axis=1) == track.label).mean())
    assert len(clip.tracks) == 2
    assert clip.expression(clip.tracks[1]) == "neutral"
    assert clip.tracks[1].end < 4.3  # that person left after 4 s


def test_a_batch_gives_the_probabilities_of_a_face_alone(read, shipped) -> None:
    frame = read[1][0]
    (picture, *_) = (each.picture for each in open_clip(read[0].clip.name).frames())
    for face in frame.faces:
        alone = shipped.predict_inputs(shipped.prepare_boxes(picture, [face.box]), flip=False)[0]
        np.testing.assert_allclose(face.probs, alone, atol=1e-5)


def test_every_nth_frame_is_looked_at(acted, shipped) -> None:
    numbers = []
    clip = read_clip(open_clip(acted[0]), shipped, every=25, on_frame=lambda frame: numbers.append(frame.number))
    assert numbers == [0, 25, 50]
    assert clip.frames == 3


class Endless:
    """A clip of many small frames that need no file."""

    def __init__(self, count: int) -> None:
        self.count = count

    def frames(self, *, every: int = 1):
        picture = np.full((24, 32, 3), 80, np.uint8)
        for number in range(0, self.count, every):
            yield ClipFrame(number, number / 25, picture)


def test_memory_does_not_grow_with_the_clip(shipped) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        read = read_clip(Endless(count), shipped, search_every=math.inf)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read.frames == read.empty == count
        return top

    peak(100)
    assert peak(3000) < peak(300) + 200_000


def test_a_track_is_the_mean_of_its_frames() -> None:
    track = FaceTrack.begin(3, 0.5, 3)
    for time, probs in ((0.5, [0.2, 0.7, 0.1]), (1.0, [0.6, 0.3, 0.1]), (1.5, [0.1, 0.8, 0.1])):
        track.add(time, np.array(probs), np.array(probs), label=1)
    np.testing.assert_allclose(track.probs, [0.3, 0.6, 0.1])
    assert (track.label, track.frames, track.share, track.end) == (1, 3, pytest.approx(2 / 3), 1.5)
    assert track.raw.per_second == pytest.approx(2.0)
    assert track.smooth.per_second == 0


@pytest.mark.slow
def test_smoothing_takes_flicker_from_a_clip_of_noise(shipped, tmp_path) -> None:
    from ferlab.control.clips import Person, draw_clip, write_clip

    rng = np.random.default_rng(0)
    frames = [frame.picture for frame in draw_clip([Person(3)], seconds=3, fps=15, size=(240, 180))]
    noisy = [np.clip(picture + rng.normal(0, 28, picture.shape), 0, 255).astype(np.uint8) for picture in frames]
    write_clip(tmp_path / "a.avi", noisy, fps=15)
    raw, smooth = (read_clip(open_clip(tmp_path / "a.avi"), shipped, smoothing=each) for each in (NONE, Smoothing()))
    rates = [max(read.tracks.values(), key=lambda track: track.frames).smooth.changes for read in (raw, smooth)]
    assert rates[0] >= 4
    assert rates[1] <= rates[0] / 2
