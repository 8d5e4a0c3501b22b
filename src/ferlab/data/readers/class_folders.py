"""Any folder of class folders: <expression>/<image>, with or without folders train, validation and test.

    [...]/[train | validation | test]/<expression>/[...]/<image>

A class folder is one of `folder_names.SYNONYMS`, whatever its case, leading number (`0 angry`) and blanks; the nearest to the image counts. So does
the nearest part, in any spelling that `folder_names.match_part` knows (train_set, Train-images, dev, FER2013Test). Nothing else is guessed. A name
near to an expression's (hapy), or a word that others use for one (joy, freude), is an error with the option to set; so is an unknown name over class
folders, which may state a part, a person or a source. Pictures in any other folder are excluded, as are those in folders of bare numbers: codes
differ between datasets. The options `labels` and `parts` state what such folders hold.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import EITHER, match_expression, match_part, near_expression, near_part, part_of, settle_part
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import face_table
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

NO_PART = "in no part (train, validation, test)"
ALL = "all"  # the usage where there are no parts
EXCLUDED = "part"  # beginning of a reason in place of a usage
Words = Mapping[str | int, str | None]


def read(
    raw: Path, *, name: str = "class_folders", labels: Words | None = None, parts: Words | None = None, subject: str | None = None
) -> tuple[PictureFiles, pd.DataFrame]:
    r"""Read all pictures below a folder or in an archive.

    Args:
        raw: Holds class folders at any depth.
        name: Name of the dataset: `source`, and the beginning of every `face_id`.
        labels: Content of folders with other names: {folder: expression, or null to exclude its pictures}.
        parts: Likewise of folders over class folders: {folder: train, validation or test, "all" for no part, or null}.
        subject: Regular expression with one group that finds the subject in a file's name (`^(S\d+)_`), or, where the expression
            holds a `/`, in its path below `raw`.

    Returns:
        Pictures, and a face table in the order of the paths. `usage` is the part, "all" where there are none; beside PublicTest or PrivateTest, train
        is "Training".

    Raises:
        InputError: If there are no pictures or no labels; a folder's name is near to an expression's; a folder over class folders states no part
            where it may; `labels` or `parts` names an absent folder or unknown word; `subject` is no such pattern or does not match a labelled file.
    """
    delivery = Delivery(raw)
    files = picture_names(delivery, expected="one folder per expression with image files. Check prepare.<set>.raw.")
    names, places = np.unique([file.rpartition("/")[0] for file in files], return_inverse=True)
    folders = [PurePosixPath(str(folder)) for folder in names]
    chosen = _check_words(labels or {}, folders, raw, option="labels")
    divided = _check_words(parts or {}, folders, raw, option="parts")
    classes = {folder: next((at for at in (folder, *folder.parents) if at.name in chosen or match_expression(at.name)), None) for folder in folders}
    usages = _usages(folders, divided)
    _check_parts(classes, usages, raw, people="/" in (subject or ""))
    found = dict(zip(folders, _label(classes, chosen, delivery), strict=True))
    some = any(usages.values())
    for folder, usage in usages.items():
        if found[folder] in ALL_EXPRESSIONS and (usage.startswith(EXCLUDED) or (some and not usage)):
            found[folder] = usage or NO_PART
        usages[folder] = usage if usage and not usage.startswith(EXCLUDED) else ALL
    of_file = [folders[place] for place in places]
    faces = face_table(name, files, [found[folder] for folder in of_file], usage=[usages[folder] for folder in of_file])
    if subject is not None:
        faces["subject"] = _find_subjects(faces, subject, delivery=delivery)
    return PictureFiles(delivery, files), faces


def _find_subjects(faces: pd.DataFrame, pattern: str, *, delivery: Delivery) -> list[str]:
    """Return each face's subject by its `source_path`, "" where an excluded face has none."""
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


def _label(classes: dict[PurePosixPath, PurePosixPath | None], chosen: dict[str, str | None], delivery: Delivery) -> list[str]:
    """Return the expression of each folder's pictures, or why they are excluded."""
    if not any(found and _expression(found.name, chosen) for found in classes.values()):
        _refuse_without_labels(list(classes), delivery)
    parts = {at for folder in classes for at in (folder, *folder.parents) if match_part(at.name)}
    above = {parent for found in classes.values() if found for parent in found.parents} | parts
    words, unknown = [], {}
    for folder, found in classes.items():
        if found:
            words.append(_expression(found.name, chosen) or f"label {found.name!r} excluded")
        elif folder in above:
            words.append("no label")
        else:
            while folder.parent not in above:
                folder = folder.parent
            unknown[folder] = near_expression(folder.name)
            words.append(f"label {folder.name!r} is none of ours")
    if any(unknown.values()):
        _refuse_near(unknown, delivery.root)
    return words


def _refuse_near(unknown: dict[PurePosixPath, str | None], raw: Path) -> None:
    folder, near = next((folder, near) for folder, near in unknown.items() if near)
    words = {folder.name: near for folder, near in unknown.items()}
    written = ", ".join(f"{name!r}: {near or 'null'}" for name, near in words.items())
    hint = f"no expression's folder (did you mean {near!r}?)"
    way = f"Rename it, or name it in labels: {{{written}}}; null excludes pictures."
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


def _expression(name: str, chosen: dict[str, str | None]) -> str | None:
    return chosen[name] if name in chosen else match_expression(name)


# Parts


def _usages(folders: list[PurePosixPath], divided: dict[str, str | None]) -> dict[PurePosixPath, str]:
    """Return each folder's part, "" where it is in none, or why the option `parts` excludes it."""
    named = {folder: next((at.name for at in (folder, *folder.parents) if at.name in divided), None) for folder in folders}
    found = {folder: part_of(folder) if name is None else divided[name] for folder, name in named.items()}
    present = set(found.values())
    official = {"PublicTest", "PrivateTest"} & present
    usages = {}
    for folder, part in found.items():
        settled = f"{EXCLUDED} {named[folder]!r} excluded" if named[folder] and part is None else settle_part(part, present)
        usages[folder] = "Training" if official and settled == "train" else settled
    return usages


def _check_parts(classes: dict[PurePosixPath, PurePosixPath | None], usages: dict[PurePosixPath, str], raw: Path, *, people: bool) -> None:
    """Refuse an unknown name over class folders, where there are several such names or parts beside: its pictures would be split anew."""
    over = {usage: {found.parent for folder, found in classes.items() if found and usages[folder] == usage} for usage in set(usages.values())}
    unknown = over.pop("", set())
    known = {parent for parents in over.values() for parent in parents}
    if known:
        unknown = {parent for parent in unknown if not any(parent in (at, *at.parents) for at in known)}
    elif people or len(unknown) < 2:
        return
    depth = len(PurePosixPath(posixpath.commonpath(map(str, [*unknown, *known]))).parts)
    names = sorted({parent.parts[depth] for parent in unknown if len(parent.parts) > depth and not match_expression(parent.parts[depth])})
    if not names:
        return
    near = {name: near_part(name) for name in names}
    hint = next((f" (did you mean {part} by {name!r}?)" for name, part in near.items() if part), "")
    written = ", ".join(f"{name!r}: {part or '...'}" for name, part in list(near.items())[:4])
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    are = "is no part that is known" if len(names) == 1 else "are no parts that are known"
    way = f"State what it holds in options, parts: {{{written}}}; all for no part, null to exclude it"
    people_too = "" if known else ", or subject: '^([^/]+)/' if it names a person"
    raise InputError(f"{raw}: {listed} over class folders {are}{hint}; expected train, validation or test. {way}{people_too}.")


# Options


def _check_words(words: Words, paths: list[PurePosixPath], raw: Path, *, option: str) -> dict[str, str | None]:
    """Return an option's words by folder, as the vocabulary has them."""
    folders = {part for path in paths for part in path.parts}
    chosen: dict[str, str | None] = {}
    for folder, word in ((str(key), value) for key, value in words.items()):
        if folder not in folders:
            near = difflib.get_close_matches(folder, sorted(folders), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"The option {option} names the folder {folder!r}, which {raw} does not hold{hint}. Mend the option.")
        known = None if word is None else match_expression(word) if option == "labels" else ALL if word == ALL else match_part(word)
        if word is not None and (known is None or known in EITHER):
            expected = ", ".join(ALL_EXPRESSIONS if option == "labels" else ("train", "validation", "test", ALL))
            raise InputError(f"The option {option} maps {folder!r} to {word!r}; expected {expected}, or null. Mend the option.")
        chosen[folder] = known
    return chosen
