"""Two or more models on the same video: speed, latency with the face search included, agreement, flicker, and accuracy where the truth is known.

Each frame is read once and searched once; every model then predicts the same boxes, in turns that change their order from frame to frame. A model's
latency is that of the search plus its own. No batches: a face is predicted when it is seen, as before a camera.

References:
    FER-Sys (papers/004) compares two models (DeepFace and a network of its own) by accuracy and live before a camera.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.face_search import Box
from ferlab.deployment.following import EVERY, FaceFollower
from ferlab.deployment.latency import summarise_latency
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.smoothing import Flicker, Smoother, Smoothing
from ferlab.paths import InputError

BUDGET_MS = 100.0  # cs230's

Truth = Callable[[int, Box], str | None]  # frame number and box -> true expression; None where it is unknown


@dataclass(frozen=True)
class Competitor:
    """A model to compare: its predictor, and whether it averages over each face and its mirror image."""

    predictor: Predictor
    flip: bool = False


@dataclass
class _Tally:
    """What is counted of one model; labels are kept as places of `expressions`, one per face and frame."""

    expressions: tuple[str, ...]
    milliseconds: list[float] = field(default_factory=list)
    predicting: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    smoothed: list[str] = field(default_factory=list)
    smoothers: dict[int, Smoother] = field(default_factory=dict)
    raw_flicker: dict[int, Flicker] = field(default_factory=dict)
    smooth_flicker: dict[int, Flicker] = field(default_factory=dict)

    def add(self, face: int, seconds: float, probs: np.ndarray, *, smoothing: Smoothing) -> None:
        _, label = self.smoothers.setdefault(face, Smoother(smoothing)).add(seconds, probs)
        best = int(probs.argmax())
        self.raw_flicker.setdefault(face, Flicker()).add(seconds, best)
        self.smooth_flicker.setdefault(face, Flicker()).add(seconds, label)
        self.labels.append(self.expressions[best])
        self.smoothed.append(self.expressions[label])


@dataclass(frozen=True)
class VideoComparison:
    """The result of `compare_on_video`.

    Attributes:
        models: A row per model, indexed by name: `fps`, `p50_ms`, `p95_ms` and `within_budget` (fraction of at most 100 ms) of frames with a face,
            search included, decoding of the file not; `predict_p50_ms` without the search; `flicker` and `smoothed_flicker` in label changes per
            second and face; `accuracy` and `smoothed_accuracy` over faces with a known truth (NaN without).
        agreement: A row per pair of models: `faces`, and the fraction for which both predict the same expression, unsmoothed and smoothed.
        search_ms: Search and following per frame: median and 95th percentile.
        frames: Frames of the video.
        faces: Faces over all frames.
        known: Faces with a known truth.
    """

    models: pd.DataFrame
    agreement: pd.DataFrame
    search_ms: tuple[float, float]
    frames: int
    faces: int
    known: int


def compare_on_video(
    video: Path | str,
    models: Mapping[str, Competitor],
    *,
    truth: Truth | None = None,
    every: int = 1,
    smoothing: Smoothing | None = None,
    search_every: float = EVERY,
    clock: Callable[[], float] = time.perf_counter,
) -> VideoComparison:
    """Run models on the same video and the same boxes.

    Args:
        video: A file.
        models: Name -> model, two or more; the first one's detector, where its training dataset had one, searches for all.
        truth: True expression of a face of a frame, by the frame's number and the face's box.
        every: Look at every n-th frame.
        smoothing: None for the default.
        search_every: Seconds between two face searches.
        clock: Returns seconds.

    Raises:
        InputError: If there are less than two models, the file is no video, or no frame has a face.
    """
    if len(models) < 2:
        raise InputError(f"a comparison needs two models or more, got {len(models)}: name a second ONNX file, or the same one with flip=True")
    steps = next(iter(models.values())).predictor.steps
    follower = FaceFollower(steps.detector if steps else None, every=search_every)
    tallies = {name: _Tally(model.predictor.expressions) for name, model in models.items()}
    search, true, frames = [], [], 0
    for frame in open_clip(video).frames(every=every):
        start = clock()
        faces = follower.update(frame.time, frame.picture)
        spent, frames = clock() - start, frames + 1
        search.append(1000 * spent)
        true += [truth(frame.number, face.box) if truth else None for face in faces]
        for name in _turned(list(models), frames) if faces else ():
            start = clock()
            inputs = models[name].predictor.prepare_boxes(frame.picture, [face.box for face in faces])
            rows = models[name].predictor.predict_inputs(inputs, flip=models[name].flip)
            took = clock() - start
            tallies[name].predicting.append(1000 * took)
            tallies[name].milliseconds.append(1000 * (spent + took))
            for face, probs in zip(faces, rows, strict=True):
                tallies[name].add(face.id, frame.time, probs, smoothing=smoothing or Smoothing())
    if not true:
        raise InputError(f"{video}: no face in any of {frames:,} frames; expected a video with faces")
    middle, high = (float(value) for value in np.percentile(search, [50, 95]))
    table = pd.DataFrame({name: _summary(tally, true) for name, tally in tallies.items()}).T.rename_axis("model")
    known = sum(each is not None for each in true)
    return VideoComparison(table, _agreement(tallies), (middle, high), frames=frames, faces=len(true), known=known)


def _turned(names: list[str], turn: int) -> list[str]:
    """Return names in an order that changes with each turn: caches and clock speed favour no model.

    >>> _turned(["a", "b", "c"], 1)
    ['b', 'c', 'a']
    """
    place = turn % len(names)
    return names[place:] + names[:place]


def _summary(tally: _Tally, true: list[str | None]) -> dict[str, float]:
    took = np.array(tally.milliseconds)
    latency = summarise_latency(took, budget_ms=BUDGET_MS)
    flickers = {"flicker": tally.raw_flicker, "smoothed_flicker": tally.smooth_flicker}
    right = {"accuracy": tally.labels, "smoothed_accuracy": tally.smoothed}
    return {
        "fps": 1000 / float(took.mean()),
        "p50_ms": float(latency["p50_ms"]),
        "p95_ms": float(latency["p95_ms"]),
        "within_budget": float(latency["fraction_within_budget"]),
        "predict_p50_ms": float(np.median(tally.predicting)),
        **{key: _rate(list(each.values())) for key, each in flickers.items()},
        **{key: _accuracy(labels, true) for key, labels in right.items()},
    }


def _rate(flickers: list[Flicker]) -> float:
    seconds = sum(each.seconds for each in flickers)
    return sum(each.changes for each in flickers) / seconds if seconds > 0 else float("nan")


def _accuracy(labels: list[str], true: list[str | None]) -> float:
    """Return the fraction of faces with a known truth whose label is it; NaN where none is known."""
    known = [label == expected for label, expected in zip(labels, true, strict=True) if expected is not None]
    return float(np.mean(known)) if known else float("nan")


def _agreement(tallies: Mapping[str, _Tally]) -> pd.DataFrame:
    rows = []
    for one, other in combinations(tallies, 2):
        raw, smooth = (
            float(np.mean([left == right for left, right in zip(getattr(tallies[one], kind), getattr(tallies[other], kind), strict=True)]))
            for kind in ("labels", "smoothed")
        )
        rows.append({"models": f"{one} and {other}", "faces": len(tallies[one].labels), "agreement": raw, "smoothed_agreement": smooth})
    return pd.DataFrame(rows)


def compare_searches(
    video: Path | str,
    *,
    intervals: tuple[float, ...] = (0.0, EVERY),
    most: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Time the face search at several intervals on the same video.

    Args:
        video: A file.
        intervals: Seconds between two searches; 0 is the detector in every frame, as in resemotenet.
        most: Frames from the start that are read; None for all.
        clock: Returns seconds.

    Returns:
        A row per interval in seconds: `searches`, `mean_ms`, `p50_ms` and `p95_ms` per frame, `faces` over all frames, and `jitter`: the mean change
        of a box's centre and side from frame to frame in pixels, which holds the face's own movement too.
    """
    rows = {}
    for interval in intervals:
        follower, took, faces = FaceFollower(every=interval), [], 0
        last: dict[int, np.ndarray] = {}
        moved: list[float] = []
        for frame in islice(open_clip(video).frames(), most):
            start = clock()
            found = follower.update(frame.time, frame.picture)
            took.append(1000 * (clock() - start))
            boxes = {face.id: np.array([face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2, face.box[2]]) for face in found}
            moved += [np.abs(box - last[face]).mean() for face, box in boxes.items() if face in last]
            last, faces = boxes, faces + len(found)
        middle, high = np.percentile(took, [50, 95])
        times = {"mean_ms": float(np.mean(took)), "p50_ms": float(middle), "p95_ms": float(high)}
        rows[interval] = {"searches": follower.searches, **times, "faces": faces, "jitter": float(np.mean(moved)) if moved else float("nan")}
    return pd.DataFrame(rows).T.rename_axis("interval")
