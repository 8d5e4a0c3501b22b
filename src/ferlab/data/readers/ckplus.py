"""CK+, the Extended Cohn-Kanade dataset: sequences from neutral to apex, or the folders of their last three frames (CK+48).

Sequences, in the delivered trees or their zips:

    cohn-kanade-images/S005/001/S005_001_00000011.png        subject, sequence, frame
    Emotion/S005/001/S005_001_00000011_emotion.txt           one code of CKPLUS_CODES, as `   3.0000000e+00`; 327 of 593 sequences have one
    FACS/S005/001/S005_001_00000011_facs.txt                 an action unit and its intensity a line
    Landmarks/S005/001/S005_001_00000011_landmarks.txt       x and y of 68 points, a line each

Only the apex is labelled, so a rule says which frames are neutral and which show the expression. Frames are taken by the number in their
names, whatever order a file system lists them in; hidden files do not count as frames (in cs231a's code they do).

    first2_last_third   cs231a, the one used: the first two frames and the last third, max(3, n // 3) of n frames (the code rounds, but in
                        Python 2 n / 3 of whole numbers is rounded down already)
    first2_last3        cs231a, its first: the first two and the last three
    first1_last3        cs230's code: the first one and the last three; it also drops subjects S5xx and contempt (1,232 frames, then 1,193)

Left out, with the reason in the table: frames between neutral and apex; sequences without an emotion file; frames of a sequence so short
that the rule calls them both neutral and apex (cs231a's code writes both labels, cs230's stops); contempt and subjects S5xx where an option
drops them. The neutral frames of a contempt sequence stay, as in cs230: 1,232 - 13 x 3 = 1,193.
Errors: annotations without a frame, frames twice or missing between others, a code that is none, names that disagree with their folders.

References:
    Lucey et al. (2010), The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops; its ReadMe says "the last frame (the peak frame)".
    cs231a: github.com/barisakis/cs231a_eai, data_formatter.py. cs230: github.com/amilkh/cs230-fer, datasets/ck-plus_to_png.ipynb.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import PictureFiles
from ferlab.expressions import ALL_EXPRESSIONS, CKPLUS_CODES, CONTEMPT
from ferlab.paths import InputError

RULES: dict[str, int] = {"first2_last_third": 2, "first2_last3": 2, "first1_last3": 1}  # how many first frames are neutral
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
    rule: str | None = None,
    contempt: str = "keep",
    subjects_5xx: str = "keep",
    gaps: str = "refuse",
) -> tuple[PictureFiles, pd.DataFrame]:
    """Read CK+. Which of its two layouts it is, is found by the folders its frames lie in.

    Args:
        raw: Holds the trees, their zips, or CK+48's seven folders, at any depth.
        rule: A key of `RULES`; None is first2_last_third for sequences. CK+48 holds the last three frames and no neutral, so it takes none.
        contempt: "keep", or "drop" to leave out the frames that show it.
        subjects_5xx: "keep", or "drop" to leave out subjects S500 to S599.
        gaps: "refuse" a sequence that lacks a number between its first and last frame, which a cut delivery does; or "keep" it. A sequence may
            begin at any number.

    Returns:
        Pictures, and a face table of one row per frame, by subject, sequence and frame, with `subject`, `sequence` (S005/001) and `frame`; where
        the dataset has them, `facs` on the frame that was coded (`4:3 17:0`, unit and intensity as in the file; 0 is coded without an intensity) and
        `landmarks`, float32 (136,) x y x y in pixels.

    Raises:
        InputError: See the module's text; in one line.
    """
    _check_options(rule=rule, contempt=contempt, subjects_5xx=subjects_5xx, gaps=gaps)
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
    rows = [
        _row(sequence, frame, file, _leave_out(label, sequence, contempt=contempt, subjects_5xx=subjects_5xx))
        for sequence, files in frames.items()
        for (frame, file), label in zip(files.items(), labels[sequence])
    ]
    faces = pd.DataFrame(rows).astype({"target": np.int64, "frame": np.int64})
    faces = _add_annotations(faces, delivery, frames)
    return PictureFiles(delivery, tuple(faces["source_path"])), faces


def label_frames(count: int, *, emotion: str | None, rule: str | None = None) -> list[str]:
    """Say what each frame of a sequence shows by a rule.

    Args:
        count: Number of frames in the sequence.
        emotion: The expression at its apex; None if it has no emotion file.
        rule: A key of `RULES`; None is first2_last_third.

    Returns:
        An expression, or why the frame is left out, per frame in order.
    """
    if emotion is None:
        return ["sequence without an emotion file"] * count
    rule = rule or "first2_last_third"
    apex = max(LAST, count // 3) if rule == "first2_last_third" else LAST
    labels = []
    for place in range(count):
        first, last = place < RULES[rule], place >= count - apex
        if first and last:
            labels.append("both neutral and apex in a short sequence")
        elif not first and not last:
            labels.append("between neutral and apex")
        else:
            labels.append("neutral" if first else emotion)
    return labels


def _check_options(**options: str | None) -> None:
    known: dict[str, tuple[str | None, ...]] = {"rule": (None, *RULES), "gaps": ("refuse", "keep")}
    for option, value in options.items():
        words = known.get(option, ("keep", "drop"))
        if value not in words:
            expected = ", ".join(word for word in words if word)
            raise InputError(f"Unknown {option} {value!r} of the dataset 'ckplus' in prepare.<set>.options; expected one of {expected}.")


def _leave_out(label: str, sequence: str, *, contempt: str, subjects_5xx: str) -> str:
    if subjects_5xx == "drop" and sequence.startswith("S5"):
        return "subject S5xx left out"
    return "contempt left out" if label == CONTEMPT and contempt == "drop" else label


def _row(sequence: str, frame: int, file: str, label: str) -> dict[str, str | int]:
    known = label in ALL_EXPRESSIONS
    subject, number = sequence.split("/")
    return {
        "face_id": f"ckplus/{subject}_{number}_{frame:08d}",  # of the frame, so the same in both layouts and in a zip
        "source": "ckplus",
        "source_path": file,
        "usage": "all",
        "target": ALL_EXPRESSIONS.index(label) if known else -1,
        "excluded": "" if known else label,
        "subject": subject,
        "sequence": sequence,
        "frame": frame,
    }


# Frames


def _find_frames(delivery: Delivery) -> tuple[Frames, dict[str, str]]:
    """Return the frames, sorted by sequence and number, and in CK+48 the expression that each file's folder names."""
    found: Frames = defaultdict(dict)
    classes: dict[str, str] = {}
    foreign: list[str] = []
    for name in picture_names(delivery):  # Keep: strings, since a Path for each of 10,000 names costs a fifth of decoding small faces
        match = NAME.fullmatch(name.rpartition("/")[2].rpartition(".")[0])
        if not match:
            foreign.append(name)
            continue
        sequence, folder = f"{match[1]}/{match[2]}", _folder(name)
        expression = FOLDERS.get(folder.rpartition("/")[2].lower())
        if expression:
            classes[name] = expression
        else:
            _check_place(name, sequence, delivery, also=f", or in CK+48 one of {', '.join(FOLDERS)}")
        _add_once(found[sequence], int(match[3]), name, delivery)
    _check_layout(found, classes, foreign, delivery)
    return {sequence: dict(sorted(found[sequence].items())) for sequence in sorted(found)}, classes


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _check_place(name: str, sequence: str, delivery: Delivery, *, also: str = "") -> None:
    if not f"/{_folder(name)}".endswith(f"/{sequence}"):
        place = f"the folder {sequence} that its name says{also}"
        raise InputError(f"{delivery.where(name)} lies in the wrong folder; expected {place}. Rename or move it, or get the dataset again.")


def _add_once(files: dict[int, str], frame: int, name: str, delivery: Delivery) -> None:
    if frame in files:
        raise InputError(f"{delivery.where(name)} is frame {frame}, as is {files[frame]!r}; expected every frame once. Remove one of the two.")
    files[frame] = name


def _check_layout(found: Frames, classes: Mapping[str, str], foreign: Iterable[str], delivery: Delivery) -> None:
    files = [name for frames in found.values() for name in frames.values()]
    if not files:
        expected = "expected frames such as cohn-kanade-images/S005/001/S005_001_00000011.png or CK+48/happy/S010_006_00000013.png"
        for name in delivery.names:
            if name.rpartition("/")[2].lower() == "ckextended.csv":
                lacks = "is a copy of CK+ without subjects and sequences, which cannot be split soundly"
                raise InputError(f"{delivery.where(name)} {lacks}; {expected}. Use the delivered trees or CK+48.")
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
    ending = f"_{kind}.txt"
    found: Frames = defaultdict(dict)
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
        _add_once(found[sequence], frame, name, delivery)
    return found


def _read_emotions(delivery: Delivery, frames: Frames) -> dict[str, str]:
    found = _find_annotations(delivery, frames, kind="emotion")
    if not found:
        expected = "expected files such as Emotion/S005/001/S005_001_00000011_emotion.txt"
        raise InputError(f"{delivery.root} holds frames of CK+ but no emotion file; {expected}. Put Emotion_labels.zip beside the frames.")
    emotions = {}
    for sequence, files in found.items():
        if len(files) > 1:
            raise InputError(f"{delivery.where(max(files.values()))} is the second emotion file of {sequence}; expected one. Remove the wrong one.")
        emotions[sequence] = _read_emotion(delivery, next(iter(files.values())))
    return emotions


def _read_emotion(delivery: Delivery, name: str) -> str:
    text = _text(delivery, name).strip()
    codes = {float(code): expression for code, expression in CKPLUS_CODES.items()}
    try:
        return codes[float(text)]
    except (ValueError, KeyError):
        raise InputError(f"{delivery.where(name)} holds {text[:40]!r}; expected one whole number, 0 to {max(CKPLUS_CODES)}. {AGAIN}.") from None


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
    for row, line in enumerate(_text(delivery, name).splitlines(), start=1):
        words = line.split()
        if words and len(words) != 2:
            raise InputError(f"{delivery.where(name)}, line {row}: {line.strip()[:40]!r}; expected an action unit and its intensity. {AGAIN}.")
        if words:
            units.append(":".join(map(_plain_number, words)))
    return " ".join(units)


def _read_landmarks(delivery: Delivery, name: str) -> np.ndarray:
    words = _text(delivery, name).split()
    try:
        points = np.array(words, dtype=np.float32)
    except ValueError:
        points = np.empty(0, np.float32)
    if len(points) != 2 * POINTS or not np.isfinite(points).all():
        raise InputError(f"{delivery.where(name)} holds {len(words)} words; expected {2 * POINTS} numbers, x and y of {POINTS} points. {AGAIN}.")
    return points


def _text(delivery: Delivery, name: str) -> str:
    return delivery.read(name).decode("utf-8", errors="replace")


def _plain_number(word: str) -> str:
    try:
        return f"{float(word):g}"
    except ValueError:
        return word  # a side or an intensity in letters stays as it is in the file
