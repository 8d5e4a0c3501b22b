"""Every file of a delivery is accounted for: a picture of the set, a table that the reader took, excluded with a reason, or no picture at all.

What is a picture is told by content. Where the ending is a picture's, the content is looked at when it is decoded; where it is that of a text or
table, it is none; anything else (.jfif, .JPG_large, no ending) is told by its first bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pandas as pd

from ferlab.data.readers.archives import UNOPENED, ending, is_archive
from ferlab.data.readers.delivery import MARKER, Delivery
from ferlab.data.readers.images import ENDINGS, FORMATS, picture_format, way_out

ALSO_PICTURES = (".jfif", ".jpe", ".jif", ".pjpeg", ".pjp", ".pbm", ".pnm", ".dib", ".mpo")  # further endings of formats that are read
NO_PICTURES = (".txt", ".csv", ".tsv", ".npy", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".pts", ".lst", ".mat", ".py", ".ipynb")
RAW = (".nef", ".nrw", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw")  # TIFF by content, with a thumbnail in it
OTHERS = {  # endings of pictures that are not read, for a file whose first bytes do not tell
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


def picture_names(delivery: Delivery) -> list[str]:
    """Return the names of the files that are pictures of a format that is read, sorted."""
    return [name for name in delivery.names if _is_picture(delivery, name)]


def unread_files(delivery: Delivery, known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Account for the files that a reader made no row of.

    Args:
        delivery: What was delivered.
        known: Names of the files that have a row.

    Returns:
        Why each picture, or archive that may hold some, is excluded; and the names of the others that the reader did not take either.
    """
    known = set(known)
    excluded, others = {}, []
    for name in delivery.names:
        if name not in known and name not in delivery.taken and name.rpartition("/")[2] != MARKER:
            reason = _why_unread(delivery, name)
            if reason:
                excluded[name] = reason
            else:
                others.append(name)
    return excluded, others


def unread_rows(delivery: Delivery, known: Collection[str], *, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return what `unread_files` does as rows of the table of excluded pictures: `face_id`, `source`, `source_path`, `usage`, `reason`."""
    excluded, others = unread_files(delivery, known)
    rows = {"face_id": [f"{source}/{name}" for name in excluded], "source": source, "source_path": list(excluded), "usage": ""}
    return pd.DataFrame({**rows, "reason": list(excluded.values())}, dtype="str"), others


def say_unread(delivery: Delivery) -> str:
    """Return what to add to the error of a reader that found nothing: which files lie there that are not read, and the way out; "" if none."""
    reasons = Counter(reason for reason in unread_files(delivery, ())[0].values() if reason != NOT_NAMED)
    if not reasons:
        return ""
    first = next(name for name, reason in unread_files(delivery, ())[0].items() if reason != NOT_NAMED)
    return f" There lie {', '.join(f'{count} x {reason}' for reason, count in reasons.most_common(3))}, as {first!r}."


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
