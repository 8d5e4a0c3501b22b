"""Any folder of class folders: <expression>/<image>, below train, validation and test or not.

    [...]/[train | validation | test]/<expression>/[...]/<image>

A class folder is told by its name: case, leading numbers (`0 angry`) and blanks aside, one of `folder_names.SYNONYMS`. The nearest to the image
counts. So is a part, in any spelling that `folder_names.match_part` knows (train_set, Train-images, dev, FER2013Test). What is neither is not guessed
at. A name near to an expression's (hapy), or one that others use for it (joy, freude), is an error that says what to write; so is an unknown name
over class folders, which may tell a part, a person or a source. Any other is a label that is none of ours, and its pictures are left out. So are bare
numbers: codes differ between datasets. The options `labels` and `parts` say what such folders hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import PARTS, match_expression, match_part, near_expression, near_part, part_of, settle_part
from ferlab.data.readers.images import PictureFiles
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

NO_PART = "in no part (train, validation, test)"
ALL = "all"  # the usage where there are no parts
EXCLUDED = "part"  # how a reason begins that stands for a usage
Words = Mapping[str | int, str | None]


def read(
    raw: Path, *, name: str = "class_folders", labels: Words | None = None, parts: Words | None = None, subject: str | None = None
) -> tuple[PictureFiles, pd.DataFrame]:
    r"""Read all pictures below a folder or in an archive.

    Args:
        raw: Holds class folders at any depth.
        name: What to call the dataset: `source`, and the beginning of every `face_id`.
        labels: What folders hold that are not told by their names: {folder: expression, or null to leave its pictures out}.
        parts: Likewise what folders over class folders hold: {folder: train, validation or test, "all" if it tells no part, or null}.
        subject: Regular expression with one group that finds the subject in a file's name (`^(S\d+)_`), or, where the expression
            holds a `/`, in its path below `raw`.

    Returns:
        Pictures, and a face table without `split` and `content_hash`, in the order of the paths. `usage` is the part, "all" where there are
        none; with PublicTest or PrivateTest, train is "Training". `excluded` is "" or: "no label" (a picture in no class folder), "label
        'bored' is none of ours", "label 'bored' left out" (by `labels`), "part 'x' left out" (by `parts`), or
            "in no part ..." where other pictures are in one.

    Raises:
        InputError: If there are no pictures or no labels; a folder's name is near to an expression's; a folder over class folders tells no part
            where it may; `labels` or `parts` names a folder that is not there or a word that is none; `subject` is no such pattern or does not match
            a file that has a label.
    """
    delivery = Delivery(raw)
    files = picture_names(delivery)
    if not files:
        expected = "expected one folder per expression with image files. Check prepare.<set>.raw."
        raise InputError(f"{raw} holds no pictures; {expected}{say_unread(delivery)}")
    names, places = np.unique([file.rpartition("/")[0] for file in files], return_inverse=True)
    folders = [PurePosixPath(str(folder)) for folder in names]
    chosen = _check_words(labels or {}, folders, raw, option="labels", known={name: match_expression(name) for name in _words(labels)})
    dealt = _check_words(parts or {}, folders, raw, option="parts", known={name: _known_part(name) for name in _words(parts)} | {ALL: ALL})
    classes = {folder: _class_folder(folder, chosen) for folder in folders}
    usages = _usages(folders, dealt)
    _check_parts(classes, usages, raw, people="/" in (subject or ""))
    targets, excluded = (of_folder[places] for of_folder in _label(classes, chosen, delivery))
    usages = np.array([usages[folder] for folder in folders], dtype=object)[places]
    none = np.char.startswith(usages.astype(str), EXCLUDED)
    lost = ((usages == "") & (usages != "").any() | none) & (excluded == "")
    targets[lost], excluded[lost] = -1, np.where(none, usages, NO_PART)[lost]
    usages[none] = ""
    faces = pd.DataFrame(
        {
            "face_id": [f"{name}/{file}" for file in files],
            "source": name,
            "source_path": files,
            "usage": np.where(usages == "", ALL, usages),
            "target": targets,
            "excluded": pd.Series(excluded, dtype="str"),
        }
    )
    if subject is not None:
        faces["subject"] = find_subjects(faces, subject, delivery=delivery)
    return PictureFiles(delivery, files), faces


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
    for path, excluded in zip(faces["source_path"], faces["excluded"], strict=True):
        found = finds.search(path if "/" in pattern else path.rsplit("/", 1)[-1])
        if not (found and found[1]) and not excluded:
            where = delivery.where(path)
            raise InputError(f"{where}: the option subject, {pattern!r}, finds no subject; expected one in every file. Mend the pattern.")
        subjects.append((found[1] or "") if found else "")
    return subjects


def _label(classes: dict[PurePosixPath, PurePosixPath | None], chosen: dict[str, str | None], delivery: Delivery) -> tuple[np.ndarray, np.ndarray]:
    """Return the target of each folder's pictures (F,), -1 for what is left out, and the reason (F,) to leave out, "" for what stays."""
    if not any(found and _expression(found.name, chosen) for found in classes.values()):
        _refuse_without_labels(list(classes), delivery)
    parts = {at for folder in classes for at in (folder, *folder.parents) if match_part(at.name)}
    above = {parent for found in classes.values() if found for parent in found.parents} | parts
    words, unknown = [], {}
    for folder, found in classes.items():
        if found:
            words.append(_expression(found.name, chosen) or f"label {found.name!r} left out")
        elif folder in above:
            words.append("no label")
        else:
            while folder.parent not in above:
                folder = folder.parent
            unknown[folder] = near_expression(folder.name)
            words.append(f"label {folder.name!r} is none of ours")
    if any(unknown.values()):
        _refuse_near(unknown, delivery.root)
    known = {expression: place for place, expression in enumerate(ALL_EXPRESSIONS)}
    targets = np.array([known.get(word, -1) for word in words], dtype=np.int64)
    return targets, np.array(["" if word in known else word for word in words], dtype=object)


def _refuse_near(unknown: dict[PurePosixPath, str | None], raw: Path) -> None:
    folder, near = next((folder, near) for folder, near in unknown.items() if near)
    words = {folder.name: near for folder, near in unknown.items()}
    written = ", ".join(f"{name!r}: {near or 'null'}" for name, near in words.items())
    hint = f"no expression's folder (did you mean {near!r}?)"
    way = f"Rename it, or name it in labels: {{{written}}}; null leaves pictures out."
    raise InputError(f"{raw}/{str(folder)!r} is {hint}; expected {', '.join(ALL_EXPRESSIONS)}. {way}")


def _refuse_without_labels(folders: list[PurePosixPath], delivery: Delivery) -> None:
    names = [folder.name for folder in folders if folder.name]
    have = ", ".join(sorted(map(repr, set(names)))[:8]) or "none"
    near = {name: near_expression(name) for name in dict.fromkeys(names)}
    way = "Name them in labels"
    if any(near.values()):
        way += f": {{{', '.join(f'{name!r}: {expression}' for name, expression in near.items() if expression)}}}"
    beside = [name for name in delivery.names if name.lower().endswith((".csv", ".lst", ".txt")) and not name.lower().endswith("classes.txt")]
    if any(name.lower().endswith(".txt") and "labels" in name.lower().split("/")[:-1] for name in beside):
        way = f"The labels are in text files, as {beside[-1]!r}: set dataset: listed"
    elif any(name.lower().endswith((".csv", ".lst")) for name in beside):
        way += f"; where a file lists them, as {beside[0]!r}, set dataset: listed"
    expected = f"expected folders {', '.join(ALL_EXPRESSIONS[:-1])}"
    raise InputError(f"{delivery.root} holds pictures and no folder that names an expression, but {have}; {expected}. {way}.")


def _class_folder(folder: PurePosixPath, chosen: dict[str, str | None]) -> PurePosixPath | None:
    """Return the nearest folder at or above `folder` that names a class."""
    return next((at for at in (folder, *folder.parents) if at.name in chosen or match_expression(at.name)), None)


def _expression(name: str, chosen: dict[str, str | None]) -> str | None:
    return chosen[name] if name in chosen else match_expression(name)


# Parts


def _usages(folders: list[PurePosixPath], dealt: dict[str, str | None]) -> dict[PurePosixPath, str]:
    """Return each folder's part, "" where it is in none, or why the option `parts` leaves it out."""
    named = {folder: next((at.name for at in (folder, *folder.parents) if at.name in dealt), None) for folder in folders}
    found = {folder: part_of(folder) if name is None else dealt[name] for folder, name in named.items()}
    present = set(found.values())
    official = {"PublicTest", "PrivateTest"} & present
    usages = {}
    for folder, part in found.items():
        settled = f"{EXCLUDED} {named[folder]!r} left out" if named[folder] and part is None else settle_part(part, present)
        usages[folder] = "Training" if official and settled == "train" else settled
    return usages


def _check_parts(classes: dict[PurePosixPath, PurePosixPath | None], usages: dict[PurePosixPath, str], raw: Path, *, people: bool) -> None:
    """Refuse an unknown name over class folders, where there are several such names or parts beside: its pictures would be dealt anew."""
    over = {usage: {found.parent for folder, found in classes.items() if found and usages[folder] == usage} for usage in set(usages.values())}
    unknown = over.pop("", set())
    known = {parent for parents in over.values() for parent in parents}
    if known:
        unknown = {parent for parent in unknown if not any(parent in (at, *at.parents) for at in known)}
    elif people or len(unknown) < 2:
        return
    depth = len(_common([*unknown, *known]))
    names = sorted({parent.parts[depth] for parent in unknown if len(parent.parts) > depth and not match_expression(parent.parts[depth])})
    if not names:
        return
    near = {name: near_part(name) for name in names}
    hint = next((f" (did you mean {part} by {name!r}?)" for name, part in near.items() if part), "")
    written = ", ".join(f"{name!r}: {part or '...'}" for name, part in list(near.items())[:4])
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    are = "is no part that is known" if len(names) == 1 else "are no parts that are known"
    way = f"Say what it holds in options, parts: {{{written}}}; all if it tells no part, null to leave it out"
    people_too = "" if known else ", or subject: '^([^/]+)/' if it tells a person"
    raise InputError(f"{raw}: {listed} over class folders {are}{hint}; expected train, validation or test. {way}{people_too}.")


def _common(folders: list[PurePosixPath]) -> tuple[str, ...]:
    """Return the parts that all paths begin with."""
    first, last = min(folder.parts for folder in folders), max(folder.parts for folder in folders)
    same = [one for one, other in zip(first, last) if one == other]
    return first[: next((place for place, pair in enumerate(zip(first, last)) if pair[0] != pair[1]), len(same))]


# Options


def _words(option: Words | None) -> list[str]:
    return [str(word) for word in (option or {}).values() if word is not None]


def _known_part(word: str) -> str | None:
    found = match_part(word)
    return found if found in PARTS else None


def _check_words(
    option_words: Words, paths: list[PurePosixPath], raw: Path, *, option: str, known: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Return an option's words by folder, as the vocabulary has them."""
    folders = {part for path in paths for part in path.parts}
    chosen: dict[str, str | None] = {}
    for folder, word in ((str(key), value) for key, value in option_words.items()):
        if folder not in folders:
            near = difflib.get_close_matches(folder, sorted(folders), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"The option {option} names the folder {folder!r}, which {raw} does not hold{hint}. Mend the option.")
        chosen[folder] = None if word is None else known[str(word)]
        if word is not None and chosen[folder] is None:
            expected = ", ".join(ALL_EXPRESSIONS if option == "labels" else ("train", "validation", "test", ALL))
            raise InputError(f"The option {option} says {word!r} of {folder!r}; expected {expected}, or null. Mend the option.")
    return chosen
