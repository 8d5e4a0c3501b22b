"""What remains of a person below some folders: the pseudonym, ids of their faces, and their pictures, in whatever file they lie.

Files are opened as what they are: tables (parquet), arrays (npy, npz), archives and shards (zip, tar, gzip), pictures, and pictures inside notebooks
and pages. A picture is found by its bytes and by its decoded pixels, so a copy that was saved anew without loss is found too. A picture that was
drawn into a figure, scaled or saved with loss is not: pages of a dataset that held the face are removed by name.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import mmap
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ferlab.data.faces import content_hash, hash_images
from ferlab.data.readers.images import FORMATS, decode_picture, picture_format
from ferlab.paths import InputError

HEAD = 512
MOST_PACKED = 1 << 31  # bytes of a member of an archive that are looked into
AT_ONCE = 1024  # faces of an array that are hashed at once
INSIDE = re.compile(rb"(?:image/(?:png|jpeg|webp)\"?[;:]\s*\"?(?:base64,)?)((?:[A-Za-z0-9+/=]|\\n)+)")


@dataclass(frozen=True)
class Traces:
    """What is searched for.

    Attributes:
        texts: Words that stand for the person or a face of theirs and for nothing else.
        files: sha256 of the bytes of their pictures.
        pixels: `content_hash` of their pictures and of faces that were prepared from them.
    """

    texts: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    pixels: frozenset[str] = frozenset()

    @cached_property
    def pattern(self) -> re.Pattern[bytes] | None:
        """A pattern of the texts as whole words."""
        words = b"|".join(re.escape(text.encode()) for text in sorted(self.texts))
        return re.compile(rb"(?<![0-9A-Za-z-])(?:" + words + rb")(?![0-9A-Za-z])") if words else None


@dataclass(frozen=True)
class Remains:
    """What a search found: how many files were opened, and why each one that was found is listed."""

    searched: int = 0
    found: dict[Path, str] = field(default_factory=dict)


def search(roots: Collection[Path], traces: Traces, *, skip: Collection[Path] = ()) -> Remains:
    """Search all files below some folders, hidden ones too; links to folders are not followed.

    Args:
        roots: Folders or files.
        traces: What is searched for.
        skip: Files that are not opened.

    Raises:
        OSError: If a file cannot be read: it may hold anything, so nothing is proved.
    """
    searched, found = 0, {}
    for path in sorted({path for root in roots for path in _files(root)} - set(skip)):
        searched += 1
        if why := _why(path, traces):
            found[path] = why
    return Remains(searched, found)


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, _, names in os.walk(root):
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def _why(path: Path, traces: Traces) -> str:
    """Return what was found in a file or its name, "" for nothing."""
    if traces.pattern and traces.pattern.search(path.name.encode(errors="surrogateescape")):
        return "its name"
    if path.stat().st_size == 0:
        return ""
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # Keep: closed when nothing points into it; close() fails before
    if traces.files and hashlib.sha256(content).hexdigest() in traces.files:
        return "the bytes of a picture"
    try:
        return _why_content(content, traces, path=path)
    except Exception as error:  # noqa: BLE001 - a damaged table or array fails in the library that reads it, in a dozen ways
        return f"damaged ({type(error).__name__}), so what it holds is unknown"


def _why_content(content: mmap.mmap | bytes, traces: Traces, *, path: Path | None = None) -> str:
    if traces.pattern and traces.pattern.search(content):
        return "the pseudonym or the id of a face"
    head = bytes(content[:HEAD])
    if head.startswith(b"PAR1"):
        return _why_table(content, traces)
    if head.startswith(b"\x93NUMPY"):
        return _why_array(np.load(path, mmap_mode="r") if path else np.load(io.BytesIO(content)), traces) if _is_plain(head) else ""
    if head.startswith((b"PK\3\4", b"\x1f\x8b")) or head[257:262] == b"ustar":
        return next((f"{why}, packed" for member in _members(content, head) if (why := _why_member(member, traces))), "")
    if traces.pixels and picture_format(head[:32]) in FORMATS:
        return _why_picture(bytes(content), traces)
    if traces.pixels and b"image/" in content[:]:
        pictures = (_unpacked(found[1]) for found in INSIDE.finditer(content))
        return next((f"{why}, in a page" for picture in pictures if (why := _why_picture(picture, traces))), "")
    return ""


def _unpacked(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.replace(rb"\n", b"") + b"==")
    except ValueError:  # no whole picture
        return b""


def _is_plain(head: bytes) -> bool:
    return b"'descr': '|O'" not in head  # objects would have to be unpickled; no artefact of ours holds any


def _why_member(content: bytes, traces: Traces) -> str:
    return "the bytes of a picture" if hashlib.sha256(content).hexdigest() in traces.files else _why_content(content, traces)


def _members(content: mmap.mmap | bytes, head: bytes) -> Iterator[bytes]:
    """Yield the unpacked members of an archive, none of one that is damaged."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else _Mapped(content)
    try:
        if head.startswith(b"\x1f\x8b"):
            yield gzip.GzipFile(fileobj=stream).read(MOST_PACKED)
        elif head.startswith(b"PK"):
            with zipfile.ZipFile(stream) as archive:
                yield from (archive.read(member) for member in archive.infolist() if member.file_size <= MOST_PACKED and not member.flag_bits & 1)
        else:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                yield from (archive.extractfile(member).read() for member in archive if member.isfile() and member.size <= MOST_PACKED)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError):
        return


class _Mapped(io.RawIOBase):
    """A mapped file as a stream: archives read the parts they need."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._place = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self._content)}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io hands over a memoryview
        part = self._content[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def _why_table(content: mmap.mmap | bytes, traces: Traces) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
        for batch in table.iter_batches(batch_size=65536):
            for column in batch.columns:
                if isinstance(column, pa.DictionaryArray):
                    column = column.dictionary_decode()
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                    text = "\n".join(value for value in column.to_pylist() if value)
                    if traces.pattern and traces.pattern.search(text.encode(errors="surrogateescape")):
                        return "the pseudonym or the id of a face"
                elif pa.types.is_binary(column.type) and (why := next(filter(None, (_why_member(v, traces) for v in column.to_pylist() if v)), "")):
                    return why
    except pa.ArrowInvalid:
        return ""
    return ""


def _why_array(array: np.ndarray, traces: Traces) -> str:
    if array.dtype.kind == "U" and traces.pattern and traces.pattern.search("\n".join(map(str, array.ravel())).encode()):
        return "the pseudonym or the id of a face"
    if array.dtype != np.uint8 or array.ndim not in (2, 3, 4) or not traces.pixels:
        return ""
    shapes = ([array[None]] if array.ndim == 2 or array.shape[-1] == 3 else []) + ([array] if array.ndim > 2 else [])
    for faces in (each for each in shapes if each.ndim == 3 or each.shape[-1] == 3):
        for start in range(0, len(faces), AT_ONCE):
            if not traces.pixels.isdisjoint(hash_images(np.asarray(faces[start : start + AT_ONCE]))):
                return "the pixels of a face"
    return ""


def _why_picture(content: bytes, traces: Traces) -> str:
    try:
        pixels = decode_picture(content, where="a picture")
    except InputError:
        return ""
    return "the pixels of a face" if content_hash(pixels) in traces.pixels else ""
