"""CK+, the Extended Cohn-Kanade dataset: sequences from neutral to apex, or the folders of their last three frames (CK+48).

Sequences, in the delivered trees or their zips:

    cohn-kanade-images/S005/001/S005_001_00000011.png        subject, sequence, frame
    Emotion/S005/001/S005_001_00000011_emotion.txt           one code of CKPLUS_CODES, as `   3.0000000e+00`; 327 of 593 sequences have one
    FACS/S005/001/S005_001_00000011_facs.txt                 an action unit and its intensity a line
    Landmarks/S005/001/S005_001_00000011_landmarks.txt       x and y of 68 points, a line each

Only the apex is labelled, so a rule states which frames are neutral and which show the expression. Frames are ordered by the number in their names;
hidden files do not count as frames (in cs231a's code they do).

    first2_last_third   cs231a, the one used: the first two frames and the last third, max(3, n // 3) of n frames (the code rounds, but in
                        Python 2 n / 3 of whole numbers is rounded down already)
    first2_last3        cs231a, its first: the first two and the last three
    first1_last3        cs230's code: the first one and the last three; it also drops subjects S5xx and contempt (1,232 frames, then 1,193)

Excluded, with the reason: frames between neutral and apex; sequences without an emotion file; frames of a sequence so short that the rule makes them
both neutral and apex (cs231a's code writes both labels, cs230's stops); contempt and subjects S5xx where an option drops them. The neutral frames of
a contempt sequence stay, as in cs230: 1,232 - 13 x 3 = 1,193.
Errors: annotations without a frame, repeated frames, gaps, an unknown code, names that contradict their folders.

References:
    Lucey et al. (2010), The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops; its ReadMe says "the last frame (the peak frame)".
    cs231a: github.com/barisakis/cs231a_eai, data_formatter.py. cs230: github.com/amilkh/cs230-fer, datasets/ck-plus_to_png.ipynb.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import face_table, parse_numbers
from ferlab.expressions import CKPLUS_CODES, CONTEMPT
from ferlab.paths import InputError

Rule = Literal["first2_last_third", "first2_last3", "first1_last3"]
DEFAULT_RULE: Rule = get_args(Rule)[0]
FOLDERS: dict[str, str] = {  # of CK+48
    "anger": "angry",
    "contempt": CONTEMPT,
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "sadness": "sad",
    "surprise": "surprise",
}
LAST = 3  # frames of a sequence in CK+48; at least as many are apex under every rule
POINTS = 68
NAME = re.compile(r"(S\d{3})_(\d{3})_(\d{1,9})")
AGAIN = "Get the dataset again"

Frames = dict[str, dict[int, str]]  # sequence -> frame -> file


def read(
    raw: Path,
    *,
    rule: Rule | None = None,
    contempt: Literal["keep", "drop"] = "keep",
    subjects_5xx: Literal["keep", "drop"] = "keep",
    gaps: Literal["refuse", "keep"] = "refuse",
) -> tuple[PictureFiles, pd.DataFrame]:
    """Read CK+. The folders of its frames tell which of the two layouts it is.

    Args:
        raw: Holds the trees, their zips, or CK+48's seven folders, at any depth.
        rule: None is first2_last_third for sequences. CK+48 holds the last three frames and no neutral, so it takes none.
        contempt: "drop" excludes the frames that show it.
        subjects_5xx: "drop" excludes subjects S500 to S599.
        gaps: "refuse" a sequence that lacks a number between its first and last frame, as in an incomplete delivery. A sequence may begin at any
            number.

    Returns:
        Pictures, and a face table of one row per frame, by subject, sequence and frame, with `subject`, `sequence` (S005/001) and `frame`; where
        the dataset has them, `facs` on the frame that was coded (`4:3 17:0`, unit and intensity as in the file; 0 is coded without an intensity) and
        `landmarks`, float32 (136,) x y x y in pixels.

    Raises:
        InputError: See the module's text.
    """
    delivery = Delivery(raw)
    frames, classes = _find_frames(delivery)
    if gaps == "refuse":
        _check_gaps(frames, delivery)
    if classes:
        _check_folders(frames, classes, rule=rule, delivery=delivery)
        labels = {sequence: [classes[file] for file in files.values()] for sequence, files in frames.items()}
    else:
        emotions = _read_emotions(delivery, frames)
        labels = {sequence: label_frames(len(files), emotion=emotions.get(sequence), rule=rule) for sequence, files in frames.items()}
    shown = [
        "subject S5xx excluded"
        if subjects_5xx == "drop" and sequence.startswith("S5")
        else f"{CONTEMPT} excluded"
        if label == CONTEMPT and contempt == "drop"
        else label
        for sequence in frames
        for label in labels[sequence]
    ]
    rows = pd.DataFrame([(sequence, frame, file) for sequence, files in frames.items() for frame, file in files.items()])
    sequences, numbers, paths = (rows[column] for column in rows)
    ids = [f"{sequence.replace('/', '_')}_{frame:08d}" for sequence, frame in zip(sequences, numbers)]  # the same in both layouts
    subjects = sequences.str.partition("/")[0]
    faces = face_table("ckplus", paths.tolist(), shown, ids=ids, subject=subjects, sequence=sequences, frame=numbers)
    return PictureFiles(delivery, paths.tolist()), _add_annotations(faces, delivery, frames)


def label_frames(count: int, *, emotion: str | None, rule: Rule | None = None) -> list[str]:
    """Return the expression of each frame of a sequence, or why the frame is excluded.

    Args:
        count: Number of frames in the sequence.
        emotion: The expression at its apex; None if it has no emotion file.
        rule: None is first2_last_third.
    """
    if emotion is None:
        return ["sequence without an emotion file"] * count
    rule = rule or DEFAULT_RULE
    neutral, apex = (1 if rule == "first1_last3" else 2), (max(LAST, count // 3) if rule == "first2_last_third" else LAST)
    names = {
        (True, True): "both neutral and apex in a short sequence",
        (False, False): "between neutral and apex",
        (True, False): "neutral",
        (False, True): emotion,
    }
    return [names[place < neutral, place >= count - apex] for place in range(count)]


# Frames


def _find_frames(delivery: Delivery) -> tuple[Frames, dict[str, str]]:
    """Return the frames, sorted by sequence and number, and in CK+48 the expression of each file's folder."""
    keys: list[tuple[tuple[str, int], str]] = []
    classes: dict[str, str] = {}
    foreign: list[str] = []
    for name in picture_names(delivery):  # Keep: strings, since a Path for each of 10,000 names costs a fifth of decoding small faces
        match = NAME.fullmatch(name.rpartition("/")[2].rpartition(".")[0])
        if not match:
            foreign.append(name)
            continue
        sequence = f"{match[1]}/{match[2]}"
        expression = FOLDERS.get(_folder(name).rpartition("/")[2].lower())
        if expression:
            classes[name] = expression
        else:
            _check_place(name, sequence, delivery, also=f", or in CK+48 one of {', '.join(FOLDERS)}")
        keys.append(((sequence, int(match[3])), name))
    frames = _by_sequence(delivery.index(keys))
    _check_layout([name for _, name in keys], classes, foreign, delivery)
    return frames, classes


def _by_sequence(files: Mapping[tuple[str, int], str]) -> Frames:
    frames: Frames = defaultdict(dict)
    for sequence, frame in sorted(files):
        frames[sequence][frame] = files[sequence, frame]
    return frames


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _check_place(name: str, sequence: str, delivery: Delivery, *, also: str = "") -> None:
    if not f"/{_folder(name)}".endswith(f"/{sequence}"):
        place = f"the folder {sequence} that its name states{also}"
        raise InputError(f"{delivery.where(name)} lies in the wrong folder; expected {place}. Rename or move it, or get the dataset again.")


def _check_layout(files: list[str], classes: Mapping[str, str], foreign: Iterable[str], delivery: Delivery) -> None:
    if not files:
        expected = "expected frames such as cohn-kanade-images/S005/001/S005_001_00000011.png or CK+48/happy/S010_006_00000013.png"
        copies = [name for name in delivery.names if name.rpartition("/")[2].lower() == "ckextended.csv"]
        if copies:
            lacks = "is a copy of CK+ without subjects and sequences, which cannot be split soundly"
            raise InputError(f"{delivery.where(copies[0])} {lacks}; {expected}. Use the delivered trees or CK+48.")
        raise InputError(f"{delivery.root} holds no frames of CK+; {expected}. See data/raw/README.md.{say_unread(delivery)}")
    if classes and len(classes) < len(files):
        both = "holds both sequences and CK+48's folders, which are the same frames twice"
        raise InputError(f"{delivery.root} {both}; expected one of them. Let prepare.<set>.raw name the one you mean.")
    folders = set(map(_folder, files))
    for name in foreign:
        if _folder(name) in folders:  # elsewhere below raw it may be another dataset's
            raise InputError(f"{delivery.where(name)} is no frame of CK+; expected names such as S005_001_00000011.png. Rename or remove it.")


def _check_gaps(frames: Frames, delivery: Delivery) -> None:
    for sequence, files in frames.items():
        first, last = min(files), max(files)
        if last - first + 1 > len(files):
            missing = next(frame for frame in range(first, last) if frame not in files)
            lacks = f"the sequence {sequence} lacks frame {missing}; expected {first} to {last} without a gap"
            raise InputError(f"{delivery.root}: {lacks}. {AGAIN}, or set the option gaps to keep.")


def _check_folders(frames: Frames, classes: Mapping[str, str], *, rule: str | None, delivery: Delivery) -> None:
    if rule is not None:
        lacks = "holds CK+48, the last three frames of each sequence and none that is neutral"
        raise InputError(f"{delivery.root} {lacks}; the rule {rule!r} needs whole sequences. Use the delivered trees, or set no rule.")
    for sequence, files in frames.items():
        if len(files) != LAST:
            raise InputError(f"{delivery.root}: CK+48 has {len(files)} frames of {sequence}; expected its last {LAST}. {AGAIN}.")
        found = sorted({classes[file] for file in files.values()})
        if len(found) > 1:
            raise InputError(f"{delivery.root}: CK+48 has the sequence {sequence} as {' and as '.join(found)}; expected one expression. {AGAIN}.")


# Annotations: the emotion, and where they were delivered, action units and landmarks


def _find_annotations(delivery: Delivery, frames: Frames, *, kind: str) -> Frames:
    return _by_sequence(delivery.index(_annotation_keys(delivery, frames, f"_{kind}.txt")))


def _annotation_keys(delivery: Delivery, frames: Frames, ending: str) -> Iterator[tuple[tuple[str, int], str]]:
    for name in delivery.names:
        if not name.lower().endswith(ending):
            continue
        match = NAME.fullmatch(name.rpartition("/")[2][: -len(ending)])
        if not match:
            raise InputError(f"{delivery.where(name)} is misnamed; expected a name such as S005_001_00000011{ending}. Rename or remove it.")
        sequence, frame = f"{match[1]}/{match[2]}", int(match[3])
        _check_place(name, sequence, delivery)
        if sequence not in frames:
            raise InputError(f"{delivery.where(name)} belongs to the sequence {sequence}, of which there are no frames. {AGAIN}, or remove the file.")
        if frame not in frames[sequence]:
            has = f"{min(frames[sequence])} to {max(frames[sequence])}"
            raise InputError(f"{delivery.where(name)} belongs to frame {frame}, which is missing; the sequence {sequence} has {has}. {AGAIN}.")
        yield (sequence, frame), name


def _read_emotions(delivery: Delivery, frames: Frames) -> dict[str, str]:
    found = _find_annotations(delivery, frames, kind="emotion")
    if not found:
        expected = "expected files such as Emotion/S005/001/S005_001_00000011_emotion.txt"
        raise InputError(f"{delivery.root} holds frames of CK+ but no emotion file; {expected}. Put Emotion_labels.zip beside the frames.")
    codes = {float(code): expression for code, expression in CKPLUS_CODES.items()}
    emotions = {}
    for sequence, files in found.items():
        if len(files) > 1:
            raise InputError(f"{delivery.where(max(files.values()))} is the second emotion file of {sequence}; expected one. Remove the wrong one.")
        name = next(iter(files.values()))
        text = delivery.text(name).strip()
        try:
            emotions[sequence] = codes[float(text)]
        except (ValueError, KeyError):
            raise InputError(f"{delivery.where(name)} holds {text[:40]!r}; expected one whole number, 0 to {max(CKPLUS_CODES)}. {AGAIN}.") from None
    return emotions


def _add_annotations(faces: pd.DataFrame, delivery: Delivery, frames: Frames) -> pd.DataFrame:
    readers = {"facs": (_read_facs, ""), "landmarks": (_read_landmarks, None)}
    for kind, (read_file, absent) in readers.items():
        files = _find_annotations(delivery, frames, kind=kind)
        if files:
            named = [files.get(sequence, {}).get(frame) for sequence, frame in zip(faces["sequence"], faces["frame"])]
            values = [absent if name is None else read_file(delivery, name) for name in named]
            faces[kind] = pd.Series(values, dtype=str if absent == "" else object)
    return faces


def _read_facs(delivery: Delivery, name: str) -> str:
    units = []
    for row, line in enumerate(delivery.text(name).splitlines(), start=1):
        words = line.split()
        if words and len(words) != 2:
            raise InputError(f"{delivery.where(name)}, line {row}: {line.strip()[:40]!r}; expected an action unit and its intensity. {AGAIN}.")
        if words:
            units.append(":".join(map(_plain_number, words)))
    return " ".join(units)


def _read_landmarks(delivery: Delivery, name: str) -> np.ndarray:
    words = delivery.text(name).split()
    points = parse_numbers(words, count=2 * POINTS)
    if points is None:
        raise InputError(f"{delivery.where(name)} holds {len(words)} words; expected {2 * POINTS} numbers, x and y of {POINTS} points. {AGAIN}.")
    return points.astype(np.float32)


def _plain_number(word: str) -> str:
    try:
        return f"{float(word):g}"
    except ValueError:
        return word  # a side or an intensity in letters stays as in the file
