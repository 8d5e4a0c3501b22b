"""What `ferlab predict` prints and writes of videos: a line for each clip and each face, its time line, and a table with a row per frame and face.

Pictures and videos may be mixed; what lies on the command line is read in its order. The table has the columns of `ferlab.deployment.listing` and
`CLIP_COLUMNS`, which are empty for pictures. It is written while a video is read and takes its name when all is read: an interrupted command
leaves the one from before.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ferlab.deployment.clip_files import ClipFile, is_clip, open_clip
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.following import SIDE
from ferlab.deployment.listing import CLIP_COLUMNS, COLUMNS, check_table, confidence_notes, load_at_risk, predict_pictures, print_lines, shown
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.video import FaceTrack, ReadClip, ReadFrame, read_clip
from ferlab.paths import InputError

SHORTEST = 0.5  # seconds: faces that were seen for less share one line
MOST_SEGMENTS = 12  # of a time line that is printed


@dataclass(frozen=True)
class _Wanted:
    """What is asked of the videos; `read` collects them."""

    top: int
    every: int
    small: bool
    read: list[ReadClip] = field(default_factory=list)


def predict_files(
    names: Sequence[str],
    *,
    model: str | None = None,
    top: int = 3,
    table: str | None = None,
    small: bool = False,
    every: int = 1,
    risk: float | None = None,
    **options: Any,
) -> list[str]:
    """Print the predictions for some pictures and videos.

    Args:
        names: Paths.
        model: The ONNX file; None for the shipped model.
        top: Expressions on a line, the most probable first.
        table: A .csv to write as well.
        small: Whether small faces are searched for too.
        every: Look at every n-th frame of a video.
        risk: As in `ferlab.deployment.listing.predict_pictures`.
        options: Of pictures alone: see there.

    Returns:
        One line for each file that could not be read, or not to its end.

    Raises:
        InputError: As there; `every` below 1.
    """
    told = {"model": model, "top": top, "small": small, "risk": risk, **options}
    if every < 1:
        raise InputError(f"--every {every}: expected 1 or more")
    if not any(is_clip(name) for name in names):
        return predict_pictures(names, table=table, **told)
    if top < 1:
        raise InputError(f"--top {top}: expected 1 or more")
    target = None if table is None else check_table(table, names)
    predictor = load_at_risk(model, risk)
    for note in predictor.notes if all(map(is_clip, names)) else ():  # else they are printed with the pictures
        print(f"ferlab: {model or 'the shipped model'}: {note}", file=sys.stderr)
    unread, wanted = [], _Wanted(top, every, small)
    with _table(target, predictor.expressions) as rows:
        for clips, group in groupby(names, key=is_clip):
            if not clips:
                unread += _pictures(list(group), rows, told)
                continue
            for name in group:
                unread += _clip(name, predictor, rows, wanted)
    for note in clip_notes(wanted.read, predictor.confidence):
        print(f"ferlab: {note}", file=sys.stderr)
    return unread


def _pictures(names: list[str], rows: csv.DictWriter | None, told: dict[str, Any]) -> list[str]:
    """Predict pictures as `predict_pictures` does, and take over the rows of its table."""
    if rows is None:
        return predict_pictures(names, **told)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.csv"
        unread = predict_pictures(names, table=str(path), **told)
        with path.open(newline="", encoding="utf-8") as file:
            rows.writerows(csv.DictReader(file))
    return unread


def _clip(name: str, predictor: Predictor, rows: csv.DictWriter | None, wanted: _Wanted) -> list[str]:
    """Predict one video; return what could not be read of it."""
    try:
        clip = open_clip(name)
        with _progress(clip) as advance:

            def take(frame: ReadFrame) -> None:
                advance(frame)
                if rows is not None:
                    rows.writerows(frame_rows(name, frame, predictor))

            read = read_clip(clip, predictor, every=wanted.every, small=wanted.small, on_frame=take)
    except InputError as error:
        return [shown(" ".join(str(error).split()))]
    except OSError:  # of the table
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library raises for one video, the others are read and the table is written
        return [f"{shown(name)}: cannot be read to its end ({type(error).__name__}: {shown(' '.join(str(error).split()))})"]
    wanted.read.append(read)
    print_lines(clip_lines(name, read, top=wanted.top, small=wanted.small, confidence=predictor.confidence))
    return [shown(line) for line in clip.problems]


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


def frame_rows(name: str, frame: ReadFrame, predictor: Predictor) -> Iterator[dict[str, object]]:
    """Yield a row of the table for each face of a frame, and one without a face for a frame that has none."""
    known = {"picture": shown(name), "frame": frame.number, "time": f"{frame.time:.4f}"}
    for face in frame.faces:
        x, y, width, height = face.box
        place = {"face": face.id, "x": x, "y": y, "width": width, "height": height, "score": "" if face.score is None else f"{face.score:.2f}"}
        unsure = "yes" if predictor.confidence.abstains(face.probs[None])[0] else "no"
        labels = {"expression": predictor.expressions[int(face.probs.argmax())], "uncertain": unsure, "smoothed": predictor.expressions[face.label]}
        yield known | place | labels | {f"prob_{key}": f"{prob:.6f}" for key, prob in zip(predictor.expressions, face.probs, strict=True)}
    if not frame.faces:
        yield known


@contextmanager
def _table(target: Path | None, expressions: Sequence[str]) -> Iterator[csv.DictWriter | None]:
    """Yield a writer of rows; the file takes its name at the end, and is removed if anything goes wrong before."""
    if target is None:
        yield None
        return
    beside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "x", newline="", encoding="utf-8") as file:
            columns = [*COLUMNS, *(f"prob_{name}" for name in expressions), *CLIP_COLUMNS]
            rows = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            rows.writeheader()
            yield rows
            file.flush()
            os.fsync(file.fileno())  # Keep: without it a power cut may leave the new name with an empty file
        os.replace(beside, target)
    except OSError as error:
        left = "the table from before is kept" if target.is_file() else "nothing is left there"
        raise InputError(f"{target}: not saved: {error.strerror}; {left}; see to that and predict again") from None
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _progress(clip: ClipFile) -> Iterator[Callable[[ReadFrame], None]]:
    """Show a bar in the terminal while a video is read; nothing where the errors go to a file."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.completed:,} frames"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(shown(Path(clip.name).name), total=clip.expected)
        yield lambda frame: bar.update(task, completed=frame.number + 1)
