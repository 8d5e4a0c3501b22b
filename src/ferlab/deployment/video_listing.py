"""The output of `ferlab predict` on videos: a line for each clip and each face, its time line, and a record per frame and face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ferlab.deployment.confidence import Confidence
from ferlab.deployment.following import SIDE
from ferlab.deployment.listing import confidence_notes, shown
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.video import FaceTrack, ReadClip, ReadFrame

SHORTEST = 0.5  # seconds: faces that were seen for less share one line
MOST_SEGMENTS = 12  # of a time line that is printed


def clip_lines(name: str, read: ReadClip, *, top: int, small: bool = False, confidence: Confidence | None = None) -> list[str]:
    """Return a line for the clip, and two for each face seen for half a second or more: its expression over the clip, after "uncertain" where the
    model abstains from the mean over its frames, and its time line.

    Args:
        name: The file's, as on the command line.
        read: The clip, read to its end.
        top: Expressions of a face, the most probable first.
        small: Whether small faces were searched for.
        confidence: The model's; None for one that never abstains.
    """
    long = _long_tracks(read)
    lines = [f"{shown(name)}: {_clip_facts(read, len(long), small=small)}"]
    for track in long:
        start, mark = f"{shown(name)}: face {track.id}: ", "uncertain: " if confidence and confidence.abstains(track.probs[None])[0] else ""
        lines += [f"{start}{mark}{_track_facts(read, track, top)}", f"{start}{_time_line(read, track)}"]
    if brief := len(read.tracks) - len(long):
        what = "box was" if brief == 1 else "boxes were"
        lines.append(f"{shown(name)}: {brief} more {what} seen for less than {SHORTEST} s: perhaps no faces")
    return lines


def clip_notes(clips: Sequence[ReadClip], confidence: Confidence) -> list[str]:
    """Return what the model's card states of the expressions of faces over whole clips (`ferlab.deployment.listing.confidence_notes`)."""
    faces = [(read.expression(track), bool(confidence.abstains(track.probs[None])[0])) for read in clips for track in _long_tracks(read)]
    notes = confidence_notes(confidence, [expression for expression, _ in faces], uncertain=sum(unsure for _, unsure in faces))
    return [*notes, "these rates are of single pictures; over a video the confidence is the mean over a face's frames"] if notes else []


def _long_tracks(read: ReadClip) -> list[FaceTrack]:
    return [track for track in read.tracks.values() if track.end - track.start >= SHORTEST]


def _clip_facts(read: ReadClip, faces: int, *, small: bool) -> str:
    clip = read.clip
    low, high = clip.gaps
    uneven = clip.read > 2 and high > 1.5 * low
    rate = f"{clip.rate:.1f} frames a second" + (f", {1000 * low:.0f} to {1000 * high:.0f} ms apart" if uneven else "")
    looked = f"{clip.read:,} frames" if read.frames == clip.read else f"{clip.read:,} frames, of which {read.frames:,} were searched for faces"
    found = f"{faces} face{'' if faces == 1 else 's'}, {read.empty:,} frames without one" if read.empty < read.frames else "no face in any frame"
    hint = "" if small or read.empty < read.frames or max(clip.size) <= SIDE else "; --small searches for smaller ones"
    return f"{looked}, {clip.seconds:.2f} s, {rate}, {clip.size[0]} x {clip.size[1]}: {found}{hint}"


def _track_facts(read: ReadClip, track: FaceTrack, top: int) -> str:
    order = (-track.probs).argsort(kind="stable")[:top]
    likeliest = ", ".join(f"{read.expressions[place]} {100 * track.probs[place]:.1f} %" for place in order)
    share = f"{read.expression(track)} in {100 * track.share:.0f} % of {track.frames:,} frames from {track.start:.2f} to {track.end:.2f} s"
    return f"{likeliest} (mean over its frames; {share}; {track.smooth.per_second:.1f} label changes a second, {track.raw.per_second:.1f} unsmoothed)"


def _time_line(read: ReadClip, track: FaceTrack) -> str:
    segments = track.line.segments()
    parts = [f"{read.expressions[each.label]} {each.start:.2f} to {each.end:.2f} s ({100 * each.confidence:.0f} %)" for each in segments]
    more = len(parts) - MOST_SEGMENTS
    return "; ".join(parts[:MOST_SEGMENTS]) + (f"; and {more:,} segments more (--csv FILE has every frame)" if more > 0 else "")


def frame_records(name: str, frame: ReadFrame, predictor: Predictor) -> Iterator[dict[str, Any]]:
    """Yield what is known of each face of a frame, as `ferlab.deployment.listing.picture_records` does of a picture's."""
    known = {"file": name, "frame": frame.number, "time": round(frame.time, 4)}
    for face in frame.faces:
        place = {"face": face.id, "box": list(face.box), "score": None if face.score is None else round(face.score, 2)}
        unsure = bool(predictor.confidence.abstains(face.probs[None])[0])
        probs = dict(zip(predictor.expressions, (round(float(prob), 6) for prob in face.probs), strict=True))
        labels = {"expression": predictor.expressions[int(face.probs.argmax())], "probabilities": probs, "uncertain": unsure}
        yield {**known, **place, **labels, "smoothed": predictor.expressions[face.label]}
    if not frame.faces:
        yield {**known, **dict.fromkeys(("face", "box", "score", "expression", "probabilities", "uncertain", "smoothed"))}
