"""A dataset's files as delivered: a folder, archives in a folder, or one archive, read in place.

Names are posix paths below the root, sorted. Links are followed. Members of an archive count as lying beside it; where a file of the same name lies
there unpacked, that one is read. Two archives with files of the same names (happy/1.png in both train.zip and test.zip), and one named as a part or
an expression that holds no folder of one, count as folders of their names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ferlab.data.readers.archives import MOST_TABLE, is_archive, list_members, place_members, show, stem
from ferlab.paths import InputError, first_line, walk_files

# Files of macOS, Windows, and the network disks of Synology and QNAP, in small letters; ignored, as hidden files are.
HELPERS = {
    *("__macosx", "icon\r", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot", "@sharebin"),
}
HEAD = 512  # first bytes of a file, which identify it
MARKER = "CONTROL_FACES.txt"  # lies in a folder whose faces ferlab drew; `ferlab.control.layouts` writes it


class Delivery:
    """The files below a folder, with those in its archives; or those of one archive.

    Attributes:
        root: The folder or archive.
        names: Posix paths of all files, sorted, without hidden and system files.
        links: Links to folders that were followed, as posix paths.
        taken: Names of the files that were read whole so far.
    """

    def __init__(self, root: Path, *, only: Sequence[str] = ()) -> None:
        """List all files below a folder or in an archive; `only` limits them to these names directly below the folder.

        Raises:
            InputError: If it is missing; an archive is damaged, locked or too large; a name is not UTF-8; a link leads to nothing; something is no
                plain file.
        """
        if not root.exists():
            raise InputError(f"{root} does not exist; expected a dataset's folder or archive. See data/raw/README.md.")
        self.root = root
        self.taken: set[str] = set()
        lying, links = _list_files(root, only) if root.is_dir() else ([], [])
        if not root.is_dir() and not is_archive(root.name):
            raise InputError(f"{root} is neither a folder nor a .zip or .tar; expected a dataset as it was delivered. See data/raw/README.md.")
        paths = [name for name in lying if is_archive(name)] if root.is_dir() else [""]
        groups = [(name.rpartition("/")[0], stem(name), list_members(root / name)) for name in paths]
        plain = set(lying).difference(paths)
        self._members = {member.name: member for member in place_members(groups, beside=plain) if not any(map(is_helper, member.name.split("/")))}
        self.names: tuple[str, ...] = tuple(sorted((*plain, *self._members)))
        self.links = sorted(links)
        self._markers = {name for name in self.names if name.rpartition("/")[2] == MARKER}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            InputError: If there is no such file, an archive is damaged there, or it is too large for a table.
        """
        self.taken.add(name)
        return self._read(name, None)

    def text(self, name: str) -> str:
        """Return a file as text, in UTF-8 or else Latin-1; raises as `read`."""
        data = self.read(name)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def head(self, name: str) -> bytes:
        """Return the first `HEAD` bytes of a file; raises as `read`."""
        return self._read(name, HEAD)

    def open(self, name: str) -> IO[bytes]:
        """Open a stream of a file's bytes; the caller handles what a damaged archive raises while it is read."""
        self.taken.add(name)
        return self._open(name)

    def _open(self, name: str) -> IO[bytes]:
        return self._members[name].open() if name in self._members else open(self.root / name, "rb")

    def _read(self, name: str, count: int | None) -> bytes:
        member = name in self._members
        try:
            with self._open(name) as stream:
                data = stream.read(MOST_TABLE + 1 if member and count is None else -1 if count is None else count)
        except FileNotFoundError:
            raise InputError(f"{self.where(name)} is missing; expected it among the files of the dataset. Get the dataset again.") from None
        except Exception as error:  # noqa: BLE001 - zipfile, tarfile and the decompressors raise a dozen types for bytes that are wrong
            raise InputError(f"{self.where(name)} cannot be read ({first_line(error)}). Get the dataset again.") from None
        if member and len(data) > MOST_TABLE:
            raise InputError(f"{self.where(name)} unpacks to more than {MOST_TABLE:,} bytes. Do not use this archive, or unpack it yourself.")
        return data

    def where(self, name: str) -> str:
        """Return the place of a file in one line, for an error."""
        shown = show(name)
        if name in self._members:
            return f"{self._members[name].archive}, {shown}"
        return f"{self.root}/{shown}"

    def says_drawn(self, name: str) -> bool:
        """Return whether a file lies below a folder marked as control faces."""
        return any((folder / MARKER).as_posix() in self._markers for folder in PurePosixPath(name).parents)

    def index(self, keys: Iterable[tuple[Any, str]]) -> dict[Any, str]:
        """Return the name of each key's file; two files of one key are an `InputError`."""
        found: dict[Any, str] = {}
        for key, name in keys:
            if key in found:
                shown = "/".join(map(str, key)) if isinstance(key, tuple) else key
                raise InputError(f"{self.where(found[key])} and {self.where(name)} are both {shown}; expected one. Remove one of them.")
            found[key] = name
        return found

    def select(self, keep: Callable[[PurePosixPath], bool]) -> list[str]:
        """Return the names whose path passes `keep`, sorted."""
        return [name for name in self.names if keep(PurePosixPath(name))]


def is_helper(name: str) -> bool:
    """Whether a file or folder of that name is hidden or a system's."""
    return name.startswith(".") or name.casefold() in HELPERS


def _list_files(root: Path, only: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of the files below a folder, and of the links to folders."""
    start, names, links = len(os.path.join(root, "")), [], []
    try:
        for path, plain in walk_files(root, skip=is_helper, links=links):
            name = path[start:]
            if only and name.split("/", 1)[0] not in only:
                continue
            _check_file(root, name, plain=plain)
            names.append(name)
    except OSError as error:
        raise InputError(f"{root} cannot be listed ({first_line(error)}); expected folders that may be read. Mend or move that folder.") from None
    return names, [link[start:] for link in links]


def _check_file(root: Path, name: str, *, plain: bool) -> None:
    if not plain:
        linked = (root / name).is_symlink()
        found = f"is a link to {show(os.readlink(root / name))}, which is not there" if linked else "is no plain file but a pipe or a device"
        raise InputError(f"{root}/{show(name)} {found}; expected files. Mend or remove it.")
    check_name(name, root)


def check_name(name: str, root: Path) -> None:
    """Raise an `InputError` for a file name that is no text: no table could hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{root}: the file name {show(name)} is not UTF-8. Rename it.") from None
