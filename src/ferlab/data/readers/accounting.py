"""Every file of a delivery is accounted for: a face, a table that the reader took, an excluded picture with a reason, or no picture at all.

Pictures are told by content. A file with a picture's ending is checked when it is decoded; one with the ending of a text or table is none; any
other (.jfif, .JPG_large, no ending) is identified by its first bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pandas as pd

from ferlab.data.readers.archives import UNOPENED, ending, is_archive
from ferlab.data.readers.delivery import MARKER, Delivery
from ferlab.data.readers.images import ENDINGS, FORMATS, picture_format, way_out
from ferlab.paths import InputError

ALSO_PICTURES = (".jfif", ".jpe", ".jif", ".pjpeg", ".pjp", ".pbm", ".pnm", ".dib", ".mpo")  # further endings of formats that are read
NO_PICTURES = (".txt", ".csv", ".tsv", ".npy", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".pts", ".lst", ".mat", ".py", ".ipynb")
RAW = (".nef", ".nrw", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw")  # TIFF by content, with a thumbnail in it
OTHERS = {  # endings of formats that are not read, for a file whose first bytes are unknown
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    ".avif": "AVIF",
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx"), "JPEG 2000"),
    ".jxl": "JPEG XL",
    ".psd": "Photoshop's PSD",
    ".tga": "TGA",
    ".svg": "SVG",
}
NOT_MEANT = ("PDF", "a web page", "an icon", "a pointer of Git LFS")  # beside a dataset these are no pictures of it
ARCHIVE_SIGNS = {b"PK\3\4": "zip", b"Rar!": "RAR", b"7z\xbc\xaf": "7z", b"\x28\xb5\x2f\xfd": "Zstandard"}
DOCUMENTS = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".npz", ".whl", ".jar", ".pt", ".pth", ".keras", ".apk", ".epub")  # zips by content
NOT_NAMED = "a picture that the dataset's layout does not name"


def picture_names(delivery: Delivery, *, expected: str = "") -> list[str]:
    """Return the names of the files that are pictures of a format that is read, sorted.

    Raises:
        InputError: If there are none, where `expected` says what should be there.
    """
    names = [name for name in delivery.names if _is_picture(delivery, name)]
    if expected and not names:
        raise InputError(f"{delivery.root} holds no pictures; expected {expected}{say_unread(delivery)}")
    return names


def unread_files(delivery: Delivery, known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return why each picture, or archive that may hold some, without a row in the face table is excluded; and the other files that were not read."""
    known = set(known)
    reasons = {
        name: _why_unread(delivery, name)
        for name in delivery.names
        if name not in known and name not in delivery.taken and name.rpartition("/")[2] != MARKER
    }
    return {name: reason for name, reason in reasons.items() if reason}, [name for name, reason in reasons.items() if not reason]


def unread_rows(delivery: Delivery, known: Collection[str], *, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the result of `unread_files` as rows of the table of excluded pictures: `face_id`, `source`, `source_path`, `usage`, `reason`."""
    excluded, others = unread_files(delivery, known)
    rows = {"face_id": [f"{source}/{name}" for name in excluded], "source": source, "source_path": list(excluded), "usage": ""}
    return pd.DataFrame({**rows, "reason": list(excluded.values())}, dtype="str"), others


def say_unread(delivery: Delivery) -> str:
    """Return what to add to the error of a reader that found nothing: which files are there that are not read; "" if none."""
    excluded = {name: reason for name, reason in unread_files(delivery, ())[0].items() if reason != NOT_NAMED}
    if not excluded:
        return ""
    counts = ", ".join(f"{count} x {reason}" for reason, count in Counter(excluded.values()).most_common(3))
    return f" There are {counts}, as {next(iter(excluded))!r}."


def _is_picture(delivery: Delivery, name: str) -> bool:
    kind = ending(name)
    if kind in ENDINGS or kind in ALSO_PICTURES:
        return True
    if kind in NO_PICTURES or kind in RAW or kind in UNOPENED or is_archive(name):
        return False
    return picture_format(delivery.head(name)) in FORMATS


def _why_unread(delivery: Delivery, name: str) -> str:
    """Return why a picture or archive is not read, "" for a file that is neither."""
    kind, head = ending(name), delivery.head(name)
    if kind in UNOPENED or is_archive(name):
        return f"{UNOPENED.get(kind, 'nested')} archive, not opened: unpack it here"
    signs = next((label for sign, label in ARCHIVE_SIGNS.items() if head.startswith(sign)), "")
    if signs and kind not in DOCUMENTS:
        return f"{signs} archive under another ending, not opened: unpack it here"
    found = "a camera's raw file" if kind in RAW else picture_format(head)
    if found in FORMATS:
        return NOT_NAMED
    found = OTHERS.get(kind, "") if not found or found in NOT_MEANT else found
    return f"{found} is not read: {way_out(found)}" if found else ""
