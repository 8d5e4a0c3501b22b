"""Files in archives: zips, tars, compressed files, and archives in archives, read in place.

A zip and a plain tar are read where they lie. One that is compressed as a whole (.tar.gz, .csv.gz), or lies in another archive, is decompressed to an
unnamed temporary file. An archive is refused if a member points outside it (an absolute path, a `..`), if it is locked, or if it unpacks to more than
a dataset could.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import re
import tarfile
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ferlab.data.readers.folder_names import match_expression, match_part
from ferlab.paths import InputError, first_line

MOST_BYTES = 1 << 28  # of one file inside an archive: no face is larger
MOST_TABLE = 1 << 30  # of a csv there: AffectNet's has some 420 MB
MOST_UNPACKED = 1 << 33  # of an archive that must be decompressed whole
MOST_RATIO = 200  # unpacked bytes for one packed, in an archive of more than MOST_BYTES: photographs hardly shrink
DEEPEST = 3  # archives in each other
COMPRESSED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys((".gz", ".tgz"), gzip.open),
    **dict.fromkeys((".bz2", ".tbz2"), bz2.open),
    **dict.fromkeys((".xz", ".txz"), lzma.open),
}
TARS = (".tgz", ".tbz2", ".txz")
TAR_MAGIC = 257  # place of "ustar" in a tar
UNOPENED = {  # ending: name
    ".7z": "7z",
    ".rar": "RAR",
    ".zst": "Zstandard",
    ".tzst": "Zstandard",
    ".lz4": "LZ4",
    ".z": "compress",
    ".iso": "ISO",
    ".dmg": "DMG",
    ".z01": "split zip",
    ".001": "split",
}


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        archive: Place of the archive, and of those it lies in, for an error.
        name: Posix path inside; of an archive in another, from its folder.
        content: Size and checksum, which identify equal content unread; None where the archive keeps none.
        open: Opens a stream of its bytes.
    """

    archive: str
    name: str
    content: tuple[int, int] | None
    open: Callable[[], IO[bytes]]


def ending(name: str) -> str:
    """Return the last ending of a file's name in small letters, or ""."""
    base = name.rpartition("/")[2]  # Keep: strings, since a dataset has a million names
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def is_archive(name: str) -> bool:
    """Whether a name ends as an archive's that is read."""
    return ending(name) in (".zip", ".tar", *COMPRESSED)


def stem(name: str) -> str:
    """Return the name of an archive without folders and its one or two endings: "a/faces.tar.gz" is "faces"."""
    return re.sub(r"(\.tar)?\.\w+$", "", PurePosixPath(name).name, flags=re.IGNORECASE)


def list_members(path: Path) -> list[Member]:
    """List the files in an archive, and in the archives in it.

    Raises:
        InputError: If it is damaged, locked, points outside, or unpacks to more than it should, or a name is not UTF-8.
    """
    return _list(path, path.name, str(path), depth=1)


def place_members(groups: Sequence[tuple[str, str, list[Member]]], *, beside: Collection[str] = ()) -> list[Member]:
    """Return the members of archives that lie together under the names that they have in their folders.

    Args:
        groups: For each archive its folder, its `stem`, and its members.
        beside: Files that lie there unpacked, which replace members of the same name, directly or in a folder of the archive's name.
    """
    contents: dict[str, set[object]] = {}
    for number, (below, _, members) in enumerate(groups):
        for member in members:
            contents.setdefault(posixpath.join(below, member.name), set()).add(member.content or number)
    placed = []
    for below, own, members in groups:
        hidden = any(len(contents[posixpath.join(below, member.name)]) > 1 for member in members)
        named = [match for match in (match_part, match_expression) if match(own)]  # train.zip, happy.zip: unless folders inside have these names
        inside = {folder for member in members for folder in member.name.split("/")[:-1]}
        lead = own if hidden or any(not any(map(match, inside)) for match in named) else ""
        names = [posixpath.join(below, lead, member.name) for member in members]
        unpacked = [name in beside or posixpath.join(below, own, member.name) in beside for name, member in zip(names, members, strict=True)]
        placed += [replace(member, name=name) for name, member, lies in zip(names, members, unpacked, strict=True) if not lies]
    return placed


def _list(source: Path | IO[bytes], name: str, where: str, *, depth: int) -> list[Member]:
    try:
        members = _list_zip(source, where) if ending(name) == ".zip" else _list_stream(source, name, where)
    except InputError:
        _close(source)
        raise
    except Exception as error:  # noqa: BLE001 - zipfile and tarfile raise a dozen types for bytes that are wrong
        _close(source)
        raise InputError(f"{where} is cut or damaged ({first_line(error)}); expected a whole archive. Get it again.") from None
    inner = [member for member in members if is_archive(member.name) and depth < DEEPEST]
    groups = [(posixpath.dirname(member.name), stem(member.name), _list_inner(member, depth=depth)) for member in inner]
    plain = [member for member in members if member not in inner]
    return plain + place_members(groups, beside={member.name for member in plain})


def _list_inner(outer: Member, *, depth: int) -> list[Member]:
    where = f"{outer.archive}, {outer.name}"
    try:
        with outer.open() as stream:
            spooled = _spool(stream, where, packed=0)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise InputError(f"{where} is cut or damaged ({first_line(error)}); expected a whole archive. Get it again.") from None
    return _list(spooled, outer.name, where, depth=depth + 1)


def _list_zip(source: Path | IO[bytes], where: str) -> list[Member]:
    archive = zipfile.ZipFile(source)
    weakref.finalize(archive, _close, source)
    names = [(info.filename.replace("\\", "/"), info) for info in archive.infolist()]  # old Windows programs separate folders by backslashes
    infos = [(_check_name(name, where), info) for name, info in names if not name.endswith("/")]
    for name, info in infos:
        if info.flag_bits & 1:
            raise InputError(f"{where} is locked with a password; expected an open zip. Unpack it beside with the password you were given.")
        _check_size(name, info.file_size, where)
    packed, unpacked = (sum(getattr(info, size) for _, info in infos) for size in ("compress_size", "file_size"))
    _check_ratio(where, packed=packed, unpacked=unpacked)

    def opener(info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
        return lambda: archive.open(info)

    return [Member(where, name, (info.file_size, info.CRC), opener(info)) for name, info in infos]


def _list_stream(source: Path | IO[bytes], name: str, where: str) -> list[Member]:
    """List a tar, or a single compressed file as the one member of its archive."""
    if ending(name) == ".tar":
        return _list_tar(open(source, "rb") if isinstance(source, Path) else source, where)
    inner = PurePosixPath(name).stem

    def reopen() -> IO[bytes]:
        if not isinstance(source, Path):
            source.seek(0)
        return COMPRESSED[ending(name)](source, "rb")

    with reopen() as stream:
        is_tar = ending(name) in TARS or ending(inner) == ".tar" or stream.read(TAR_MAGIC + 5)[TAR_MAGIC:] == b"ustar"
    if not is_tar:
        weakref.finalize(reopen, _close, source)
        return [Member(where, inner, None, reopen)]
    packed = source.stat().st_size if isinstance(source, Path) else source.seek(0, 2)
    with reopen() as stream:
        plain = _spool(stream, where, packed=packed)
    _close(source)
    return _list_tar(plain, where)


def _list_tar(plain: IO[bytes], where: str) -> list[Member]:
    try:
        archive = tarfile.open(fileobj=plain, mode="r:")  # noqa: SIM115 - open as long as its members are
    except tarfile.TarError:
        _close(plain)
        raise
    weakref.finalize(archive, _close, plain)
    infos = {_check_name(info.name, where): info for info in archive if not info.isdir()}

    def opener(info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
        return lambda: archive.extractfile(info)  # type: ignore[return-value]

    members, total = [], 0
    for name, info in infos.items():
        _check_size(name, info.size, where)
        total += info.size
        if info.issym() or info.islnk():
            info = _link_target(name, info, infos, where)
        if not info.isreg():
            raise InputError(f"{where}: the member {name!r} is no plain file; expected pictures and tables. Do not use this archive.")
        members.append(Member(where, name, (info.size, info.offset_data), opener(info)))
    return members


def _link_target(name: str, info: tarfile.TarInfo, infos: dict[str, tarfile.TarInfo], where: str) -> tarfile.TarInfo:
    """Return the target of a link in a tar: relative to its folder if symbolic, to the archive's root if hard."""
    base = posixpath.dirname(name) if info.issym() else ""
    found = infos.get(posixpath.normpath(posixpath.join(base, info.linkname)))
    if found is None or not found.isreg():
        leads = "is a link to a folder, to a link or to nothing in there"
        raise InputError(f"{where}: the member {name!r} {leads}; expected files. Unpack it yourself, and look where {info.linkname!r} should lead.")
    return found


def _spool(stream: IO[bytes], where: str, *, packed: int) -> IO[bytes]:
    """Copy a stream to an unnamed temporary file; `packed` is its compressed size, 0 for no check of the ratio."""
    spooled = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the archive's members are
    try:
        _copy(stream, spooled, where, packed=packed)
    except BaseException:
        spooled.close()
        raise
    spooled.seek(0)
    return spooled


def _copy(stream: IO[bytes], spooled: IO[bytes], where: str, *, packed: int) -> None:
    size = 0
    while chunk := stream.read(1 << 20):
        size += len(chunk)
        if packed:
            _check_ratio(where, packed=packed, unpacked=size)
        if size > MOST_UNPACKED:
            raise InputError(f"{where} unpacks to more than {MOST_UNPACKED >> 30} GiB, too much to read in place. Unpack it beside.")
        try:
            spooled.write(chunk)
        except OSError as error:
            raise InputError(f"{where} cannot be decompressed to {tempfile.gettempdir()} ({error.strerror}). Make room there.") from None


def _close(source: Path | IO[bytes]) -> None:
    if not isinstance(source, Path):
        source.close()


def _check_name(name: str, where: str) -> str:
    """Return a member's name without `./`; it must lie inside and be text."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts or re.match(r"[A-Za-z]:/", name):
        raise InputError(f"{where}: the member {name!r} points outside the archive; expected paths inside it. Do not use this archive.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: the member {show(name)} is not UTF-8. Unpack the archive, and rename it.") from None
    return posixpath.normpath(name)


def _check_size(name: str, size: int, where: str) -> None:
    most = MOST_UNPACKED if is_archive(name) else MOST_TABLE if ending(name) == ".csv" else MOST_BYTES
    if size > most:
        found = f"{where}: {name!r} unpacks to {size:,} bytes"
        raise InputError(f"{found}; expected at most {most:,}. Do not use this archive, or unpack it yourself.")


def _check_ratio(where: str, *, packed: int, unpacked: int) -> None:
    if unpacked > MOST_BYTES and unpacked > MOST_RATIO * max(packed, 1):
        found = f"{where} unpacks {packed:,} bytes to {unpacked:,}"
        raise InputError(f"{found}; expected at most {MOST_RATIO} times as many. Do not use this archive.")


def show(name: str) -> str:
    r"""Return a file's name in one printable line: a newline and bytes that are not UTF-8 become `\n` and `\udcff`."""
    return repr(name)[1:-1].encode(errors="backslashreplace").decode()
