"""Any folder of class folders: <expression>/<image>, below train, validation and test or not.

    [...]/[train | validation | test]/<expression>/[...]/<image>

A class folder is told by its name: case, leading numbers (`0 angry`) and blanks aside, one of `SYNONYMS`. The nearest to the image counts.
What is no expression's name is not guessed at: a name near to one is an error, as a slip of the keyboard; any other is a label that
is none of ours, and its pictures are left out. So are bare numbers: codes differ between datasets. The option `labels` says what such
folders hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.delivery import Delivery
from ferlab.data.pictures import PictureFiles, is_picture
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

SYNONYMS: dict[str, tuple[str, ...]] = {
    "angry": ("angry", "anger"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid"),
    "happy": ("happy", "happiness"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral", "neutrality"),
    "contempt": ("contempt", "contemptuous"),
}
PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
    "PublicTest": ("publictest",),
    "PrivateTest": ("privatetest",),
}
NEAR = 0.8  # of difflib's ratio: "hapy" is 0.89 to "happy", "bored" is 0.44 to the nearest
NO_PART = "in no part (train, validation, test)"
_EXPRESSION_OF = {word: expression for expression, words in SYNONYMS.items() for word in words}
_PART_OF = {word: part for part, words in PARTS.items() for word in words}
Labels = Mapping[object, str | None]


def read(raw: Path, *, name: str = "class_folders", labels: Labels | None = None, subject: str | None = None) -> tuple[PictureFiles, pd.DataFrame]:
    r"""Read all pictures below a folder or in a zip.

    Args:
        raw: Holds class folders at any depth. Files that are no pictures are passed by.
        name: What to call the dataset: `source`, and the beginning of every `face_id`.
        labels: What folders hold that are not told by their names: {folder: expression, or null to leave its pictures out}.
        subject: Regular expression with one group that finds the subject in a file's name (`^(S\d+)_`), or, where the expression
            holds a `/`, in its path below `raw`.

    Returns:
        Pictures, and a face table without `split` and `content_hash`, in the order of the paths. `usage` is the part, "all" where there are
        none; with PublicTest or PrivateTest, train is "Training". `left_out` is "" or: "no label" (a picture in no class folder), "label
        'bored' is none of ours", "label 'bored' left out" (by `labels`), or "in no part ..." where other pictures are in one.

    Raises:
        InputError: If there are no pictures or no labels; a folder's name is near to an expression's; `labels` names a folder that is
            not there or no expression; `subject` is no such pattern or does not match a file that has a label.
    """
    delivery = Delivery(raw)
    files = delivery.select(is_picture)
    if not files:
        raise InputError(f"{raw} holds no pictures; expected one folder per expression with image files. Check prepare.<set>.raw.")
    names, places = np.unique([file.rpartition("/")[0] for file in files], return_inverse=True)
    folders = [PurePosixPath(str(folder)) for folder in names]
    targets, left_out = (of_folder[places] for of_folder in _label(folders, _check_labels(labels or {}, folders, raw), raw))
    usages = _usages(folders)[places]
    lost = (usages == "") & (left_out == "")
    if (usages != "").any():
        targets[lost], left_out[lost] = -1, NO_PART
    faces = pd.DataFrame(
        {
            "face_id": [f"{name}/{file}" for file in files],
            "source": name,
            "source_path": files,
            "usage": np.where(usages == "", "all", usages),
            "target": targets,
            "left_out": pd.Series(left_out, dtype="str"),
        }
    )
    if subject is not None:
        faces["subject"] = find_subjects(faces, subject, delivery=delivery)
    return PictureFiles(delivery, files), faces


def match_expression(word: str) -> str | None:
    """Return the expression that a word names, or None: `match_expression("0 Anger")` is "angry"."""
    return _EXPRESSION_OF.get(_plain(word))


def near_expression(word: str) -> str | None:
    """Return the expression that a word which names none may have been meant for, or None."""
    near = difflib.get_close_matches(_plain(word), list(_EXPRESSION_OF), n=1, cutoff=NEAR)
    return _EXPRESSION_OF[near[0]] if near else None


def find_subjects(faces: pd.DataFrame, pattern: str, *, delivery: Delivery) -> list[str]:
    """Find each face's subject in its `source_path`; "" where a face that is left out has none.

    Raises:
        InputError: If the pattern is none or has not one group, or does not match a face that stays.
    """
    try:
        finds = re.compile(pattern)
    except re.error as error:
        raise InputError(f"The option subject, {pattern!r}, is no regular expression ({error}); expected one such as '^(S[0-9]+)_'.") from None
    if finds.groups != 1:
        raise InputError(f"The option subject, {pattern!r}, has {finds.groups} groups; expected one, which holds the subject.")
    subjects = []
    for path, left_out in zip(faces["source_path"], faces["left_out"], strict=True):
        found = finds.search(path if "/" in pattern else path.rsplit("/", 1)[-1])
        if not (found and found[1]) and not left_out:
            where = delivery.where(path)
            raise InputError(f"{where}: the option subject, {pattern!r}, finds no subject; expected one in every file. Mend the pattern.")
        subjects.append((found[1] or "") if found else "")
    return subjects


def _label(folders: list[PurePosixPath], chosen: dict[str, str | None], raw: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the target of each folder's pictures (F,), -1 for what is left out, and the reason (F,) to leave out, "" for what stays."""
    labelled = {folder: _class_folder(folder, chosen) for folder in folders}
    if not any(found and _expression(found.name, chosen) for found in labelled.values()):
        have = ", ".join(sorted({repr(folder.name) for folder in folders if folder.name})[:8]) or "none"
        expected = f"expected folders {', '.join(ALL_EXPRESSIONS[:-1])}"
        raise InputError(f"{raw} holds pictures and no folder that names an expression, but {have}; {expected}. Name them in labels.")
    above = {parent for found in labelled.values() if found for parent in found.parents} | _part_folders(labelled)
    words = []
    for folder, found in labelled.items():
        words.append(_expression(found.name, chosen) or f"label {found.name!r} left out" if found else _say_unknown(folder, above, raw))
    known = {expression: place for place, expression in enumerate(ALL_EXPRESSIONS)}
    targets = np.array([known.get(word, -1) for word in words], dtype=np.int64)
    return targets, np.array(["" if word in known else word for word in words], dtype=object)


def _say_unknown(folder: PurePosixPath, above: set[PurePosixPath], raw: Path) -> str:
    """Say why the pictures of a folder have no label: it holds class folders itself (is in `above`), or it or a folder over it names none."""
    if folder in above:
        return "no label"
    while folder.parent not in above:
        folder = folder.parent
    near = near_expression(folder.name)
    if near:
        hint = f"no expression's folder (did you mean {near!r}?)"
        raise InputError(f"{raw}/{str(folder)!r} is {hint}; expected {', '.join(ALL_EXPRESSIONS)}. Rename it, or name it in labels.")
    return f"label {folder.name!r} is none of ours"


def _part_folders(folders: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    return {at for folder in folders for at in (folder, *folder.parents) if _plain(at.name) in _PART_OF}


def _class_folder(folder: PurePosixPath, chosen: dict[str, str | None]) -> PurePosixPath | None:
    """Return the nearest folder at or above `folder` that names a class."""
    return next((at for at in (folder, *folder.parents) if at.name in chosen or match_expression(at.name)), None)


def _expression(name: str, chosen: dict[str, str | None]) -> str | None:
    return chosen[name] if name in chosen else match_expression(name)


def _usages(folders: list[PurePosixPath]) -> np.ndarray:
    """Return each folder's part (F,), "" where it is in none."""
    parts = [_part(folder) for folder in folders]
    official = {"PublicTest", "PrivateTest"} & set(parts)
    return np.array(["Training" if official and part == "train" else part for part in parts], dtype=object)


def _part(folder: PurePosixPath) -> str:
    return next((_PART_OF[_plain(at.name)] for at in (folder, *folder.parents) if _plain(at.name) in _PART_OF), "")


def _check_labels(labels: Labels, paths: list[PurePosixPath], raw: Path) -> dict[str, str | None]:
    folders = {part for path in paths for part in path.parts}
    chosen: dict[str, str | None] = {}
    for folder, label in ((str(key), value) for key, value in labels.items()):
        if folder not in folders:
            near = difflib.get_close_matches(folder, sorted(folders), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"The option labels names the folder {folder!r}, which {raw} does not hold{hint}. Mend the option.")
        chosen[folder] = None if label is None else match_expression(str(label))
        if label is not None and chosen[folder] is None:
            raise InputError(f"The option labels says {label!r} of {folder!r}; expected {', '.join(ALL_EXPRESSIONS)}, or null. Mend the option.")
    return chosen


def _plain(word: str) -> str:
    """Lower case, without a leading number and blanks around: "0 Angry" and "3_angry" are "angry"."""
    return re.sub(r"^\d+[\s_.-]*(?=\D)", "", word.strip()).strip().casefold()
