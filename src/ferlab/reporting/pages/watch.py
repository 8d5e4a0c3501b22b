"""The pages of the watch notebook: a drawn clip's time lines against its truth, the cost of the face search, and models on the same video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ferlab.colours import COLOURS
from ferlab.control.clips import DrawnClip
from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.smoothing import Segment, TimeLine
from ferlab.deployment.video import FaceTrack, ReadClip, read_clip
from ferlab.deployment.video_comparison import BUDGET_MS, Competitor, VideoComparison, compare_on_video, compare_searches
from ferlab.live.model import LiveModel
from ferlab.reporting.style import present, readable_on, show
from ferlab.reporting.tables import number

LANES = ("acted", "predicted")
ACHIEVED_MS, TICK_MS = 40, 200  # of cs230: its web model, and the interval of its predictions (code)
NAMES = {
    "fps": "frames per second",
    "p50_ms": "median ms",
    "p95_ms": "95th percentile ms",
    "predict_p50_ms": "median ms without search",
    "flicker": "label changes per second",
    "smoothed_flicker": "smoothed",
    "accuracy": "accuracy, %",
    "smoothed_accuracy": "accuracy smoothed, %",
}


def competitors(model: LiveModel, second: str | Path | None = None) -> dict[str, Competitor]:
    """Return two models for `ferlab.deployment.video_comparison.compare_on_video`.

    Args:
        model: The first.
        second: A run of params.yaml or an ONNX file; None: the first one, averaged over each face and its mirror image.
    """
    if second is None:
        return {model.name: Competitor(model.predictor), f"{model.name}, flip": Competitor(model.predictor, flip=True)}
    other = LiveModel.load(second)
    return {model.name: Competitor(model.predictor), other.name if other.name != model.name else str(second): Competitor(other.predictor)}


def read_drawn(clip: DrawnClip, model: LiveModel) -> None:
    """Read a drawn clip as a file, and display what was found against its truth, and what the face search costs on its first four seconds."""
    show_clip(read_clip(open_clip(clip.path), model.predictor), clip)
    show_searches(compare_searches(clip.path, most=100))


def compare_models(clip: DrawnClip, model: LiveModel, second: str | Path | None = None) -> None:
    """Run two models on a drawn clip (`competitors`), and display speed, agreement, flicker and accuracy."""
    show_comparison(compare_on_video(clip.path, competitors(model, second), truth=clip.truth))


def show_clip(read: ReadClip, clip: DrawnClip) -> None:
    """Display the time lines of a drawn clip against its truth, and what each face shows over the whole clip."""
    show(**time_lines_figure(read, clip))
    present(clip_table(read, clip), clip_sentence(read))


def time_lines_figure(read: ReadClip, clip: DrawnClip) -> dict[str, Any]:
    """Draw two lanes per face, acted and predicted; return figure and alt."""
    people = _people_of(read, clip)
    figure, axis = plt.subplots(figsize=(9, 1.1 * max(len(people), 1) + 1), layout="constrained")
    told = []
    for place, (track, person) in enumerate(people.items()):
        acted, predicted = _acted(clip, person, read), read.tracks[track].line.segments()
        _draw_lane(axis, acted, 3 * place, read.expressions)
        _draw_lane(axis, predicted, 3 * place + 1, read.expressions)
        words = [f"{read.expressions[each.label]} {each.start:.1f} to {each.end:.1f} s" for each in predicted]
        told.append(f"Face {track + 1}, predicted: {', '.join(words)}")
    axis.set_yticks([3 * place + lane for place in range(len(people)) for lane in (0, 1)], [f"face {t + 1}, {w}" for t in people for w in LANES])
    axis.set(xlabel="seconds", xlim=(0, read.clip.seconds), ylim=(3 * max(len(people), 1) - 1.4, -0.6))
    axis.grid(visible=False)
    return {"figure": figure, "alt": f"Acted and predicted expressions over time. {'; '.join(told) or 'No face was found'}."}


def _draw_lane(axis: Axes, segments: list[Segment], place: int, names: tuple[str, ...]) -> None:
    for each in segments:
        axis.barh(place, max(each.end - each.start, 0.02), left=each.start, height=0.8, color=COLOURS[names[each.label]], edgecolor="white")
        if each.end - each.start > 0.8:
            colour = readable_on(COLOURS[names[each.label]])
            axis.text(each.start + 0.06, place, names[each.label], va="center", color=colour, fontsize=9, fontweight="bold")


def _people_of(read: ReadClip, clip: DrawnClip) -> dict[int, int]:
    """Return the drawn person of each track of half a second or more: both count from left to right."""
    order = sorted({face.person for faces in clip.faces for face in faces})
    tracks = [track.id for track in read.tracks.values() if track.end - track.start >= 0.5][: len(order)]
    return dict(zip(tracks, order, strict=False))


def _acted(clip: DrawnClip, person: int, read: ReadClip) -> list[Segment]:
    """Return the true segments of a person, without the time in which something covers the face."""
    line, step = TimeLine(gap=1.5 / read.clip.rate), 1 / read.clip.rate
    for number_, faces in enumerate(clip.faces):
        for face in faces:
            if face.person == person and not face.covered:
                line.add(number_ * step, read.expressions.index(face.expression), 1.0)
    return line.segments()


def clip_table(read: ReadClip, clip: DrawnClip) -> pd.DataFrame:
    """Return a row per face: the most probable expression by the mean over frames, what was acted longest, and flicker."""
    rows = {}
    for track, person in _people_of(read, clip).items():
        known = read.tracks[track]
        acted = pd.Series([face.expression for faces in clip.faces for face in faces if face.person == person]).value_counts()
        rows[f"face {track + 1}"] = {
            "mean over frames": f"{read.expression(known)} ({100 * known.probs.max():.0f} %)",
            "frames that agree, %": number(known.share, percent=True),
            "acted longest": acted.index[0],
            "delay of onsets, s": _delay(known, _acted(clip, person, read)),
            "label changes per second": number(known.raw.per_second, digits=2),
            "smoothed": number(known.smooth.per_second, digits=2),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _delay(track: FaceTrack, acted: list[Segment]) -> str:
    """Return the mean delay of the predicted onsets after the acted ones, of those that are predicted at all."""
    onsets = [
        min(
            (each.start - true.start for each in track.line.segments() if each.label == true.label and -0.5 < each.start - true.start < 1.5),
            default=None,
        )
        for before, true in pairwise(acted)
        if before.label != true.label
    ]
    found = [onset for onset in onsets if onset is not None]
    return f"{np.mean(found):.2f} ({len(found)} of {len(onsets)})" if found else "-"


def clip_sentence(read: ReadClip) -> str:
    """Say what the mean over frames hides, and how often faces were searched."""
    if not read.tracks:
        return f"No face was found in {read.frames} frames."
    raw, smooth = (sum(getattr(track, kind).changes for track in read.tracks.values()) for kind in ("raw", "smooth"))
    return (
        "The mean over all frames (resemotenet) gives one expression per face; the time line shows when each was acted. Label changes: "
        f"{raw} without smoothing, {smooth} with. The detector ran in {read.searches} of {read.frames} frames; between, faces were followed by "
        "optical flow."
    )


def show_searches(table: pd.DataFrame) -> None:
    """Display the cost of the face search at several intervals."""
    shown = pd.DataFrame(
        {
            "searches": table["searches"].astype(int),
            "mean ms": table["mean_ms"].map(number),
            "median ms": table["p50_ms"].map(number),
            "95th percentile ms": table["p95_ms"].map(number),
            "faces found": table["faces"].astype(int),
            "movement of boxes, pixels": table["jitter"].map(lambda value: number(value, digits=2)),
        }
    )
    shown.index = ["every frame" if interval == 0 else f"every {interval:g} s" for interval in table.index]
    present(shown, searches_sentence(table, shown.index))


def searches_sentence(table: pd.DataFrame, names: Sequence[str]) -> str:
    """Compare the last interval with the first."""
    first, last = table.iloc[0], table.iloc[-1]
    text = f"Searching {names[-1]} instead of in {names[0]} takes {number(last['mean_ms'] / first['mean_ms'], percent=True)} % of the time per frame"
    if not (first["jitter"] > 0 and last["jitter"] > 0):  # also NaN: fewer than two frames with a face
        return f"{text}."
    return f"{text}; from frame to frame boxes move by {last['jitter']:.2f} instead of {first['jitter']:.2f} pixels."


def show_comparison(found: VideoComparison) -> None:
    """Display models on the same video: table, agreement, and what it says of the published figures."""
    table = found.models.rename(columns=NAMES)[list(NAMES.values())].astype(object)
    for column in table:
        table[column] = [
            number(value, percent="%" in column, digits=2 if column in ("label changes per second", "smoothed") else 1) for value in table[column]
        ]
    present(table, agreement_sentence(found), *(latency_sentence(str(name), row) for name, row in found.models.iterrows()))


def agreement_sentence(found: VideoComparison) -> str:
    """Say how often each pair of models agrees, and on what."""
    pairs = [f"{row.models} agree on {100 * row.agreement:.1f} % of {row.faces:,} faces" for row in found.agreement.itertuples()]
    known = f" {found.known:,} of them have a known truth." if found.known else " Their true expressions are unknown."
    return f"{'; '.join(pairs)}.{known} The face search takes {found.search_ms[0]:.1f} ms (median) and {found.search_ms[1]:.1f} ms (95th percentile)."


def latency_sentence(name: str, row: Mapping[str, float]) -> str:
    """Compare a model's latency, face search included, with cs230's figures; only what this run bears out is claimed."""
    kept = f"{name}: {100 * row['within_budget']:.1f} % of frames within cs230's budget of {BUDGET_MS:.0f} ms, face search included"
    median = (
        f"the median of {row['p50_ms']:.1f} ms is {'below' if row['p50_ms'] < ACHIEVED_MS else 'not below'} the {ACHIEVED_MS} ms of its web model"
    )
    ticks = TICK_MS / (1000 / row["fps"])
    tick = (
        f"{ticks:.1f} frames fit into the {TICK_MS} ms between two of its predictions"
        if ticks >= 1
        else f"a frame takes longer than its tick of {TICK_MS} ms"
    )
    return f"{kept}; {median}; {tick}."
