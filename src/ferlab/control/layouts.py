"""Control faces as files in the layout of a dataset, in place of one that cannot be had; that dataset's reader reads them.

    ckplus               cohn-kanade-images/S001/001/S001_001_00000001.png, Emotion/..., FACS/...: sequences from neutral to apex
    jaffe                AA.AN1.1.tiff and README_FIRST.txt with ratings
    affectnet            train_set and val_set, each images/<N>.jpg and annotations/<N>_{exp,val,aro,lnd}.npy
    affectnet_csv        Manually_Annotated/Manually_Annotated_Images/<folder>/<name>.jpg, training.csv, validation.csv
    class_folders        train, validation and test, each <expression>/<subject>_<number>.png
    captured             consent.csv, captures.csv, <person>/<expression>/<number>.png
    fer2013              fer2013.csv with all three usages
    fer2013_reshuffled   images/train and images/validation, each <expression>/<number>.jpg
    web                  train and test, each <expression>/<person>_<number>.jpg: cs230's set of a web app, whole pictures with a background
    ferplus              fer2013.csv and fer2013new.csv, the votes of ten raters; contempt, which FER2013 does not have, is neutral there

Every folder holds `CONTROL_FACES.txt`, which marks its faces as drawn on every page. Every subject shows every expression, and no subject is in
two parts of a dataset (but in fer2013_reshuffled). FER2013's layouts and AffectNet's train_set have happy three times as often as the rarest
expression. Landmarks are zeros or NULL, the box is the whole picture (in captured: the drawn face in it).
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ferlab.control.action_units import NAMES, affect
from ferlab.control.drawing.picture import draw_image
from ferlab.control.recipe import frame_of
from ferlab.control.snapshots import take_snapshot
from ferlab.control.specs import FaceSpec, sample_spec
from ferlab.expressions import AFFECTNET_CODES, CKPLUS_CODES, CONTEMPT, EXPRESSIONS, FERPLUS_COLUMNS, JAFFE_CODES, JAFFE_RATINGS, USAGES
from ferlab.opencv import one_thread
from ferlab.params import nearest
from ferlab.paths import InputError

MARKER = "CONTROL_FACES.txt"  # `ferlab.data.readers.delivery` knows it by the same name
FRAMES = 9  # of a sequence in the layout of CK+: two neutral, three at the apex, four between
JAFFE_SIDE = 256
COMMON, RARE = "happy", ("disgust", CONTEMPT)  # three and one face of a subject where others have two
AFFECTNET_HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
WEB_FACES, WEB_PEOPLE, WEB_EACH, WEB_PARTS = 258, 12, 3, {"train": 0.8, "test": 0.2}
_VOTES, _RATINGS, _SHUFFLE = 30, 31, 32  # streams of random numbers

Files = Iterator[tuple[str, bytes]]  # name below the folder, content


@dataclass(frozen=True)
class Cast:
    """Who is drawn how often: `each` pictures of every expression of every subject, `size` pixels wide."""

    seed: int
    subjects: int
    each: int
    size: int

    def faces(self, expressions: Sequence[str] = EXPRESSIONS, *, uneven: bool = False, posed: bool = False) -> Iterator[tuple[int, FaceSpec]]:
        """Yield subject and face, by subject, expression and take.

        `uneven`: the commonest expression is drawn three times, the rarest once where others are drawn twice. `posed`: without occluders.
        """
        index = 0
        for subject in range(self.subjects):
            for name in expressions:
                share = 1 if not uneven or name in RARE else 3 if name == COMMON else 2
                for _ in range(self.each * share):
                    spec = sample_spec(self.seed, index, subject=subject, expressions=NAMES, expression=name)
                    yield subject, replace(spec, occluder="none") if posed else spec
                    index += 1

    def part(self, subject: int, shares: Mapping[str, float]) -> str:
        """Return the part that a subject belongs to, each of `shares` with at least one subject, in their order."""
        names, last = list(shares), 0
        for place, name in enumerate(names):
            last = min(max(last + 1, round(sum(list(shares.values())[: place + 1]) * self.subjects)), self.subjects - (len(names) - place - 1))
            if subject < last:
                return name
        return names[-1]


@dataclass(frozen=True)
class Layout:
    """How a layout is drawn, and its own numbers: small, and enough for every expression in every split."""

    draw: Callable[[Cast], Files]
    subjects: int
    each: int
    size: int
    fewest: int = 3  # subjects: one to each split
    most: int = 999


def draw_layout(layout: str, folder: Path, *, subjects: int | None = None, each: int | None = None, size: int | None = None, seed: int = 0) -> int:
    """Draw faces into a new folder, in the layout of a dataset.

    Args:
        layout: A key of `LAYOUTS`.
        folder: Must be absent or empty: nothing is drawn among the files of a real dataset. Complete or absent afterwards.
        subjects: How many; None: the layout's own number.
        each: Pictures (in ckplus, sequences) of each expression of a subject; None: the layout's own number.
        size: Side of a drawn face in pixels, 24 to 224; None: the layout's own. JAFFE's pictures are enlarged to 256 from it.
        seed: The same arguments give the same bytes.

    Returns:
        The number of files, the marker among them.

    Raises:
        InputError: An unknown layout, a number out of range, or a folder that holds something.
    """
    if layout not in LAYOUTS:
        raise InputError(f"no layout is called {layout!r}; {nearest(layout, LAYOUTS)}")
    known = LAYOUTS[layout]
    asked = {"subjects": subjects, "each": each, "size": size}
    cast = Cast(seed, **{key: getattr(known, key) if value is None else value for key, value in asked.items()})
    _check(layout, cast, folder)
    beside = folder.with_name(f".{folder.name}.drawing")
    shutil.rmtree(beside, ignore_errors=True)
    count = 0
    try:
        with one_thread():
            for name, content in (*_marker(layout, cast), *known.draw(cast)):
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                (beside / name).write_bytes(content)
                count += 1
        if folder.is_dir():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return count


def _check(layout: str, cast: Cast, folder: Path) -> None:
    known = LAYOUTS[layout]
    rules = (
        (known.fewest <= cast.subjects <= known.most, f"{known.fewest} to {known.most} subjects", cast.subjects),
        (1 <= cast.each <= 9, "1 to 9 pictures of each expression", cast.each),
        (24 <= cast.size <= 224, "a size of 24 to 224 pixels", cast.size),
        (cast.seed >= 0, "a seed of 0 or more", cast.seed),
    )
    for holds, expected, got in rules:
        if not holds:
            raise InputError(f"layout {layout!r}: expected {expected}, got {got}")
    if not folder.name:
        raise InputError(f"{str(folder)!r} is no folder to draw into; expected the name of a new or empty one.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "drawn faces already" if (folder / MARKER).is_file() else "something already"
        raise InputError(f"{folder} holds {what}; expected a new or empty folder. Name another, or remove it.")


def _marker(layout: str, cast: Cast) -> Files:
    faces = f"These faces were drawn by ferlab from facial action units ({cast.subjects} subjects, seed {cast.seed}) in the layout of {layout}"
    yield MARKER, f"{faces}: no picture here is a photograph, and numbers measured on them are about control faces.\n".encode()


# Pictures


def _drawn(cast: Cast, spec: FaceSpec, ending: str = "PNG", *, colour: bool = False) -> bytes:
    return _encoded(draw_image(spec, cast.size, colour=colour), ending)


def _framed(picture: np.ndarray) -> np.ndarray:
    """Put a face in the middle of a picture of 4:3, on the grey or colour of its upper edge."""
    size = len(picture)
    height, width = size * 5 // 4, size * 5 // 3
    whole = np.empty((height, width, *picture.shape[2:]), np.uint8)
    whole[:] = np.median(picture[0], axis=0).astype(np.uint8)
    top, left = (height - size) // 2, (width - size) // 2
    whole[top : top + size, left : left + size] = picture
    return whole


def _encoded(picture: np.ndarray, ending: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, ending, **({"quality": 95} if ending == "JPEG" else {}))
    return file.getvalue()


def _array(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()


# One function for each layout


def _ckplus(cast: Cast) -> Files:
    codes, numbers = {name: code for code, name in CKPLUS_CODES.items()}, [0] * cast.subjects
    for index, (subject, apex) in enumerate(cast.faces([name for name in NAMES if name != "neutral"], posed=True)):
        numbers[subject] += 1
        sequence = f"S{subject + 1:03d}/{numbers[subject]:03d}"
        stem = f"{sequence}/{sequence.replace('/', '_')}_"
        for frame in range(FRAMES):
            spec = frame_of(apex, frame, frames=FRAMES, seed=cast.seed, number=index)
            yield f"cohn-kanade-images/{stem}{frame + 1:08d}.png", _encoded(_framed(draw_image(spec, cast.size)), "PNG")
        yield f"Emotion/{stem}{FRAMES:08d}_emotion.txt", f"   {codes[apex.expression]:.7e}\n".encode()
        units = sorted((int(str(unit).rstrip("LR")), strength) for unit, strength in apex.action_units.items())
        lines = [f"   {unit:.7e}   {max(1, round(5 * strength)):.7e}\n" for unit, strength in units]
        yield f"FACS/{stem}{FRAMES:08d}_facs.txt", "".join(lines).encode()


def _jaffe(cast: Cast) -> Files:
    codes = {name: code for code, name in JAFFE_CODES.items()}
    rows = ["# " + " ".join(JAFFE_RATINGS) + " PIC", "-" * 60]
    takes: dict[tuple[int, str], int] = {}
    for serial, (subject, spec) in enumerate(cast.faces(posed=True), start=1):
        take = takes[subject, spec.expression] = takes.get((subject, spec.expression), 0) + 1
        who, posed = f"{chr(65 + subject // 26)}{chr(65 + subject % 26)}", f"{codes[spec.expression]}{take}"
        picture = cv2.resize(draw_image(spec, cast.size), (JAFFE_SIDE, JAFFE_SIDE), interpolation=cv2.INTER_LINEAR)
        yield f"{who}.{posed}.{serial}.tiff", _encoded(picture, "TIFF")
        others = np.random.default_rng([cast.seed, _RATINGS, serial]).uniform(1.0, 1.8, len(JAFFE_RATINGS))
        seen = [2.4 + spec.intensity / 2 if name == spec.expression else other for name, other in zip(JAFFE_RATINGS.values(), others, strict=True)]
        rows.append(f"{serial} {' '.join(f'{rating:.2f}' for rating in seen)} {who}-{posed}")
    said = "Drawn faces; their ratings, 1 low to 5 high, follow the strength they were drawn with."
    yield "README_FIRST.txt", "\n".join([said, "", *rows, ""]).encode()


def _annotated(cast: Cast) -> Iterator[tuple[bool, int, FaceSpec]]:
    """Yield whether a face is for validation, its number in AffectNet and the face: validation by subjects of its own, all expressions alike."""
    seen: dict[tuple[int, str], int] = {}
    for number, (subject, spec) in enumerate(cast.faces(NAMES, uneven=True)):
        seen[subject, spec.expression] = seen.get((subject, spec.expression), 0) + 1
        validates = cast.part(subject, {"train": 0.75, "validation": 0.25}) == "validation"
        if not validates or seen[subject, spec.expression] <= cast.each:
            yield validates, number, spec


def _affectnet(cast: Cast) -> Files:
    codes = {name: code for code, name in AFFECTNET_CODES.items()}
    for validates, number, spec in _annotated(cast):
        part, (valence, arousal) = "val_set" if validates else "train_set", affect(spec.expression, spec.intensity)
        yield f"{part}/images/{number}.jpg", _drawn(cast, spec, "JPEG", colour=True)
        for kind, value in {"exp": codes[spec.expression], "val": round(valence, 4), "aro": round(arousal, 4)}.items():
            yield f"{part}/annotations/{number}_{kind}.npy", _array(str(value))  # text, as delivered
        yield f"{part}/annotations/{number}_lnd.npy", _array(np.zeros(136))


def _affectnet_csv(cast: Cast) -> Files:
    codes = {name: code for code, name in AFFECTNET_CODES.items()}
    rows: dict[str, list[str]] = {"training.csv": [AFFECTNET_HEADER], "validation.csv": []}  # the published validation.csv has no header
    for validates, number, spec in _annotated(cast):
        valence, arousal = affect(spec.expression, spec.intensity)
        name = f"{number % 3 + 1}/{number:056x}.jpg"
        yield f"Manually_Annotated/Manually_Annotated_Images/{name}", _drawn(cast, spec, "JPEG", colour=True)
        row = f"{name},0,0,{cast.size},{cast.size},NULL,{codes[spec.expression]},{valence:.4f},{arousal:.4f}"
        rows["validation.csv" if validates else "training.csv"].append(row)
    for name, lines in rows.items():
        yield f"Manually_Annotated_file_lists/{name}", "\n".join([*lines, ""]).encode()


def _class_folders(cast: Cast) -> Files:
    for number, (subject, spec) in enumerate(cast.faces()):
        part = cast.part(subject, {"train": 0.6, "validation": 0.2, "test": 0.2})
        yield f"{part}/{spec.expression}/s{subject:04d}_{number:06d}.png", _drawn(cast, spec)


def _captured(cast: Cast) -> Files:
    consent, captures = ["person,consent,date,scope"], ["file,person,expression,box_x,box_y,box_w,box_h"]
    consent += [f"person{subject + 1:02d},yes,2024-05-31,research; publication" for subject in range(cast.subjects)]
    for number, (subject, spec) in enumerate(cast.faces(posed=True)):
        name = f"person{subject + 1:02d}/{spec.expression}/{number:04d}.png"
        whole = _framed(draw_image(spec, cast.size, colour=True))
        yield name, _encoded(whole, "PNG")
        box = (whole.shape[1] - cast.size) // 2, (whole.shape[0] - cast.size) // 2, cast.size, cast.size
        captures.append(f"{name},person{subject + 1:02d},{spec.expression},{','.join(map(str, box))}")
    for name, lines in {"consent.csv": consent, "captures.csv": captures}.items():
        yield name, "\n".join([*lines, ""]).encode()


def _usages(cast: Cast, expressions: Sequence[str]) -> Iterator[tuple[str, FaceSpec]]:
    """Yield usage and face, all of Training first."""
    for subject, spec in cast.faces(expressions, uneven=True):
        yield cast.part(subject, dict(zip(USAGES, (0.6, 0.2, 0.2), strict=True))), spec


def _fer2013(cast: Cast, expressions: Sequence[str] = EXPRESSIONS) -> Files:
    rows = ["emotion,pixels,Usage"]
    for usage, spec in _usages(cast, expressions):
        face = cv2.resize(draw_image(spec, cast.size), (48, 48), interpolation=cv2.INTER_AREA)
        label = "neutral" if spec.expression == CONTEMPT else spec.expression
        rows.append(f"{EXPRESSIONS.index(label)},{' '.join(map(str, face.ravel().tolist()))},{usage}")
    yield "fer2013.csv", "\n".join([*rows, ""]).encode()


def _ferplus(cast: Cast) -> Files:
    yield from _fer2013(cast, NAMES)
    rows = ["Usage,Image name," + ",".join(FERPLUS_COLUMNS)]
    for number, (usage, spec) in enumerate(_usages(cast, NAMES)):
        right = int(np.random.default_rng([cast.seed, _VOTES, number]).integers(6, 11))
        other = "sad" if spec.expression == "neutral" else "neutral"
        votes = {spec.expression: right, other: 10 - right}
        rows.append(f"{usage},fer{number:07d}.png,{','.join(str(votes.get(name, 0)) for name in FERPLUS_COLUMNS.values())}")
    yield "fer2013new.csv", "\n".join([*rows, ""]).encode()


def _fer2013_reshuffled(cast: Cast) -> Files:
    specs = [spec for _, spec in cast.faces(uneven=True)]
    order = np.random.default_rng([cast.seed, _SHUFFLE]).permutation(len(specs))
    for place, number in enumerate(order.tolist()):
        part = "train" if place < 0.8 * len(specs) else "validation"
        yield f"images/{part}/{specs[number].expression}/{number}.jpg", _drawn(cast, specs[number], "JPEG")


def _web(cast: Cast) -> Files:
    """Draw cs230's set of its web app: 258 pictures of 12 people, a fifth of the people and of the pictures for the test.

    cs230 splits at random, so that people are in both parts; here they are not.
    """
    people = {part: [n for n in range(cast.subjects) if cast.part(n, WEB_PARTS) == part] for part in WEB_PARTS}
    total = round(WEB_FACES * cast.subjects * cast.each / (WEB_PEOPLE * WEB_EACH))
    number = 0
    for part, members in people.items():
        count = round(total * WEB_PARTS[part])
        for place, subject in enumerate(members):
            for take in range(count // len(members) + (place < count % len(members))):
                name = EXPRESSIONS[(take + subject) % len(EXPRESSIONS)]
                spec = sample_spec(cast.seed, number, subject=subject, expression=name)
                snapshot = take_snapshot(spec, seed=cast.seed, number=number)
                yield f"{part}/{name}/p{subject + 1:02d}_{number:04d}.jpg", _encoded(snapshot, "JPEG")
                number += 1


LAYOUTS: dict[str, Layout] = {
    "ckplus": Layout(_ckplus, subjects=12, each=1, size=96),
    "jaffe": Layout(_jaffe, subjects=5, each=2, size=128, most=26 * 26),
    "affectnet": Layout(_affectnet, subjects=8, each=2, size=224),
    "affectnet_csv": Layout(_affectnet_csv, subjects=8, each=2, size=160),
    "class_folders": Layout(_class_folders, subjects=12, each=2, size=64),
    "captured": Layout(_captured, subjects=3, each=4, size=96, most=99),
    "fer2013": Layout(_fer2013, subjects=30, each=2, size=48),
    "fer2013_reshuffled": Layout(_fer2013_reshuffled, subjects=30, each=2, size=48),
    "web": Layout(_web, subjects=WEB_PEOPLE, each=WEB_EACH, size=96, most=99),
    "ferplus": Layout(_ferplus, subjects=30, each=2, size=48),
}
