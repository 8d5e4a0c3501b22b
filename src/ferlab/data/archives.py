"""One file out of a .tar.gz, as a stream: nothing is unpacked, so nothing in an archive can land anywhere.

An archive with a member that points outside (an absolute path, a `..`) is refused all the same: it is not the one it should be.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ferlab.paths import InputError


@contextmanager
def open_member(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open the one file called `name` in a .tar.gz, whatever folder it lies in there; check the rest of the archive afterwards.

    Args:
        path: The archive.
        name: File name without folders.

    Yields:
        A stream of the file's bytes.

    Raises:
        InputError: If the archive is cut, damaged, points outside, or does not hold exactly one such file.
    """
    found = 0
    try:
        with gzip.open(path, "rb") as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
            for member in archive:
                _check_member(member, path)
                if PurePosixPath(member.name).name != name:
                    continue
                found += 1
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or found > 1:
                    raise InputError(f"{path}: {member.name} is no plain file or comes twice; expected one file {name}. Get the archive again.")
                yield stream
            while unzipped.read(1 << 20):  # to the end, where gzip keeps the checksum
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is cut or damaged ({reason}); expected a whole .tar.gz. Get the archive again.") from None
    if not found:
        raise InputError(f"{path} holds no {name}; expected Kaggle's archive. Get the archive again, or give the csv itself.")


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    for name in (member.name, member.linkname):
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: the member {member.name!r} points outside the archive; expected paths inside it. Do not use this archive.")
