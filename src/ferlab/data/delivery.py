"""A dataset's files as they were delivered: a folder, zips in a folder, or one zip. Zips are read in place; nothing is unpacked.

Names are posix paths below the root, sorted, whatever order the file system has them in. What a zip holds counts as lying beside it;
where a file of the same name lies there unpacked, that one is read.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ferlab.paths import InputError

MOST_BYTES = 1 << 28  # of one file inside a zip: no face is larger
MOST_TABLE = 1 << 30  # of a csv there: AffectNet's has some 420 MB
MOST_RATIO = 200  # unpacked bytes for one packed, over a zip of more than MOST_BYTES: photographs do not shrink at all
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
MARKER = "CONTROL_FACES.txt"  # lies in a folder whose faces ferlab drew; `ferlab.control.layouts` writes it


class Delivery:
    """The files below a folder, with those in its zips; or those of one zip.

    Attributes:
        root: The folder or zip.
        names: Posix paths of all files, sorted; hidden ones are left out.
    """

    def __init__(self, root: Path) -> None:
        """List all files.

        Args:
            root: A folder or a .zip.

        Raises:
            InputError: If it is missing, a zip is damaged, locked, or unpacks to more than it should, or a name is not UTF-8.
        """
        if not root.exists():
            raise InputError(f"{root} does not exist; expected a dataset's folder or zip. data/raw/README.md says how to get it.")
        self.root = root
        self._members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        lying: set[str] = set()
        if root.is_dir():
            for folder, _, files in os.walk(root):
                below = Path(folder).relative_to(root)
                for file in files:
                    self._add_file(below / file, lying)
        elif root.suffix == ".zip":
            self._add_zip(root, PurePosixPath())
        else:
            raise InputError(f"{root} is neither a folder nor a .zip; expected a dataset as it was delivered. See data/raw/README.md.")
        self._members = {name: member for name, member in self._members.items() if name not in lying}
        self.names = tuple(sorted((*lying, *self._members)))
        self._markers = {name for name in self.names if name.rpartition("/")[2] == MARKER}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            InputError: If there is no such file, or a zip is damaged there.
        """
        try:
            if name not in self._members:
                return (self.root / name).read_bytes()
            archive, member = self._members[name]
            return archive.read(member)
        except FileNotFoundError:
            raise InputError(f"{self.where(name)} is missing; expected it among the files of the dataset. Get the dataset again.") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise InputError(f"{self.where(name)} cannot be read ({_first_line(error)}). Get the dataset again.") from None

    def where(self, name: str) -> str:
        """Say in one line where a file lies, for an error."""
        shown = repr(name)[1:-1]  # a newline in a name must not break the line
        if name in self._members:
            return f"{self._members[name][0].filename}, {shown}"
        return f"{self.root}/{shown}"

    def says_drawn(self, name: str) -> bool:
        """Return whether a file lies in a folder, or below one, that says its faces were drawn."""
        return any((folder / MARKER).as_posix() in self._markers for folder in PurePosixPath(name).parents)

    def select(self, keep: Callable[[PurePosixPath], bool]) -> list[str]:
        """Return the names whose path passes a test, sorted."""
        return [name for name in self.names if keep(PurePosixPath(name))]

    def _add_file(self, path: Path, lying: set[str]) -> None:
        name = path.as_posix()
        if _ignored(PurePosixPath(name)):
            return
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{self.root}: the file name {name.encode(errors='backslashreplace').decode()} is not UTF-8. Rename it.") from None
        if path.suffix == ".zip":
            self._add_zip(self.root / path, PurePosixPath(path.parent.as_posix()))
        else:
            lying.add(name)

    def _add_zip(self, path: Path, below: PurePosixPath) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise InputError(f"{path} is cut or damaged ({_first_line(error)}); expected a whole .zip. Get it again.") from None
        members = [member for member in archive.infolist() if not member.is_dir()]
        _check_members(path, members)
        for member in members:
            if not _ignored(PurePosixPath(member.filename)):
                self._members[(below / member.filename).as_posix()] = (archive, member)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        inside = PurePosixPath(member.filename)
        if inside.is_absolute() or ".." in inside.parts:
            raise InputError(f"{path}: the member {member.filename!r} points outside the zip; expected paths inside it. Do not use this zip.")
        if member.flag_bits & 1:
            raise InputError(f"{path} is locked with a password; expected an open zip. Unpack it beside with the password you were given.")
        most = MOST_TABLE if inside.suffix == ".csv" else MOST_BYTES
        if member.file_size > most:
            found = f"{path}: {member.filename!r} unpacks to {member.file_size:,} bytes"
            raise InputError(f"{found}; expected at most {most:,}. Do not use this zip, or unpack it yourself.")
    packed, unpacked = (sum(getattr(member, size) for member in members) for size in ("compress_size", "file_size"))
    if unpacked > MOST_BYTES and unpacked > MOST_RATIO * max(packed, 1):
        raise InputError(f"{path} unpacks {packed:,} bytes to {unpacked:,}; expected at most {MOST_RATIO} times as many. Do not use this zip.")


def _ignored(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in IGNORED for part in path.parts)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
