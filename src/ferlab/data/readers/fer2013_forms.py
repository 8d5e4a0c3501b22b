"""Where FER2013 and FER+'s votes lie: in which form, folder and archive.

Forms are searched in one order; all hold the same faces. Archives come last, in the order of their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from ferlab.data.readers.archives import UNOPENED, ending, is_archive, list_members
from ferlab.data.readers.delivery import MARKER, Delivery, is_helper
from ferlab.data.readers.folder_names import match_expression, match_part
from ferlab.data.readers.images import is_picture
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS
from ferlab.paths import InputError, check_plain_file

CSVS = ("fer2013.csv", "icml_face_data.csv")
FORMS = (*CSVS, "fer2013.tar.gz")  # then train/ and test/, then other archives
VOTES_FILE = "fer2013new.csv"
CALLED = ("fer", "icml", "archive", "challenges")  # names of Kaggle's archives of it, with Kaggle's own name for any
ELSEWHERE = "expected fer2013.csv, icml_face_data.csv, fer2013.tar.gz, train/ and test/, or an archive of one"

_TOTALS = np.sum(list(FER2013_COUNTS.values()), axis=0)
_TRAIN = (3993, 436, 4103, 7164, 4938, 3205, 4982)  # FER-Sys's Table 1 has these counts under the wrong names for five of the seven
RESHUFFLED_COUNTS: dict[str, dict[str, int]] = {  # of the copy that `fer2013_reshuffled` reads; validation is what remains of FER2013's totals
    "train": dict(zip(EXPRESSIONS, _TRAIN, strict=True)),
    "validation": dict(zip(EXPRESSIONS, (_TOTALS - _TRAIN).tolist(), strict=True)),
}


def find_source(raw: Path) -> Path:
    """Return the file, archive, or folder that holds `train`, that FER2013 is read from.

    Raises:
        InputError: If there is none, or only the reshuffled copy of FER2013 in a folder `images`.
    """
    if raw.is_file():
        if ending(raw.name) == ".csv" or is_archive(raw.name):
            return raw
        raise InputError(f"{raw} is no form of FER2013; expected a .csv, an archive, or a folder that holds one. See data/raw/README.md.")
    folders = [folder for folder in (raw, raw / "fer2013") if folder.is_dir()]
    for folder in folders:
        files = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
        for form in FORMS:
            if form in files:
                return files[form]
        if _holds_face_folders(folder):
            return folder
    for folder in folders:
        refuse_reshuffled(("/".join(path.parts[-3:]) for path in (folder / "images").glob("*/*/*")), where=str(folder / "images"))
    return _find_archive(raw, [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file() and not is_helper(path.name)])


def refuse_reshuffled(names: Iterable[str], *, where: str) -> None:
    """Raise an `InputError` if files named <part>/<expression>/<image> are the reshuffled copy of FER2013, which is known by its counts."""
    counts = Counter(name.split("/")[0] for name in names if name.count("/") == 2 and is_picture(PurePosixPath(name)))
    if any(counts[part] == sum(known.values()) for part, known in RESHUFFLED_COUNTS.items()):
        found = f"{where} holds {counts['train']:,} faces in train and {counts['validation']:,} in validation: the reshuffled copy of FER2013"
        why = "its parts mix Training, PublicTest and PrivateTest, so no published number on FER2013 is comparable"
        raise InputError(f"{found}; {why}. Get FER2013 itself, or set prepare.<set>.dataset to fer2013_reshuffled.")


def find_form(names: Iterable[str]) -> str | None:
    """Return the form of FER2013 among an archive's files.

    Returns:
        The csv; or the folder that holds `train`, with a slash at its end, "" for the archive's root; or None.
    """
    names = sorted(names)
    for form in CSVS:
        found = next((name for name in names if name.rpartition("/")[2].lower() == form), None)
        if found:
            return found
    for name in names:
        parts = name.split("/")
        if len(parts) > 2 and match_part(parts[-3]) == "train" and match_expression(parts[-2]):
            return "".join(f"{part}/" for part in parts[:-3])
    return None


def find_votes(source: Path, delivery: Delivery | None, *, look_beside: bool) -> tuple[str, bytes] | None:
    """Return the place of FER+'s votes, and the file's bytes; None where there are none.

    Args:
        source: The file, archive or folder of FER2013.
        delivery: Its files, if it is an archive.
        look_beside: Whether to search the folder of a file or archive, and archives there named after FER+.
    """
    plain, called = _beside(source) if source.is_dir() or look_beside else ([], [])
    if plain:
        check_plain_file(plain[0], expected="FER+'s csv")
        return str(plain[0]), plain[0].read_bytes()
    for held in ([delivery] if delivery else []) + [Delivery(path) for path in called]:
        for name in held.names:
            if name.rpartition("/")[2].lower() == VOTES_FILE:
                return held.where(name), held.read(name)
    return None


def files_read(raw: Path) -> list[Path]:
    """Return the files and folders that FER2013 and FER+'s votes are read from; raises as `find_source`."""
    source = find_source(raw)
    parts = [path for path in source.iterdir() if path.is_dir() and match_part(path.name)] if source.is_dir() else [source]
    plain, called = _beside(source) if raw.is_dir() else ([], [])
    markers = [folder / MARKER for folder in {raw, source, source.parent} if (folder / MARKER).is_file()]
    return [*parts, *plain[:1], *called, *markers]


def _beside(source: Path) -> tuple[list[Path], list[Path]]:
    """Return FER+'s files, and the archives that are called as FER+'s, in the folder that FER2013 is read from."""
    folder = source if source.is_dir() else source.parent
    files = sorted(path for path in folder.iterdir() if not is_helper(path.name))
    plain = [path for path in files if path.name.lower() == VOTES_FILE]
    return plain, [path for path in files if is_archive(path.name) and ("fer2013new" in path.name.lower() or "ferplus" in path.name.lower())]


def _holds_face_folders(folder: Path) -> bool:
    """Whether a folder holds `train`, or one of another spelling with class folders in it."""
    parts = [path for path in folder.iterdir() if path.is_dir() and match_part(path.name) == "train"]
    return any(path.name == "train" or any(match_expression(inside.name) for inside in path.iterdir() if inside.is_dir()) for path in parts)


def _find_archive(raw: Path, files: list[Path]) -> Path:
    tried = []
    for path in files:
        if is_archive(path.name) and _holds_form(path):
            return path
        if is_archive(path.name) or ending(path.name) in UNOPENED:
            tried.append(f"{path.name} ({'holds none' if is_archive(path.name) else 'not opened: unpack it'})")
    what = "does not exist" if not raw.exists() else "holds no FER2013"
    lie = f" There are {', '.join(tried[:5])}." if tried else ""
    raise InputError(f"{raw} {what}; {ELSEWHERE}. See data/raw/README.md; the study quick needs no data.{lie}")


def _holds_form(path: Path) -> bool:
    """Whether an archive holds FER2013; a damaged one of another name may be another dataset's, which its reader refuses."""
    called = any(word in path.name.lower() for word in CALLED)
    if not called and ending(path.name) != ".zip":
        return False  # Keep: listing a tar of another dataset may decompress gigabytes
    try:
        return find_form(member.name for member in list_members(path)) is not None
    except InputError:
        if called:
            raise
        return False
