"""Packages of pip and npm as archives: fetched by their own clients, whose settings name the registry, and read file by file."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from ferlab.paths import InputError

CLIENT_SECONDS = 600


def npm_pack(named: str, folder: Path, *, instead: str) -> Path:
    """Fetch the tarball of an npm package, such as "some-package@1.2.3", into a folder by npm, and return its path.

    Args:
        instead: What to do where it cannot be fetched, for the error.

    Raises:
        InputError: npm is missing, or fails.
    """
    done = _run(["npm", "pack", "--silent", named], named, folder=folder, instead=instead)
    return folder / done.split()[-1]


def pip_download(wanted: str, folder: Path, *, instead: str) -> Path:
    """Fetch the wheel of a requirement into a folder by pip, and return its path; arguments and errors as for `npm_pack`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), wanted]
    _run(command, wanted, folder=folder, instead=instead)
    return next(folder.glob("*.whl"))


def archived_file(content: bytes, name: str, *, where: Path) -> bytes:
    """Return one file of a wheel or a tarball.

    Args:
        content: The archive.
        name: The file's path in it; npm's tarballs begin with "package/".
        where: The archive's path, for the error.

    Raises:
        InputError: No archive, or one without the file.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return zipfile.ZipFile(io.BytesIO(content)).read(name)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            file = tar.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{where}: {name} cannot be read from it ({error}); fetch it again") from None


def _run(command: list[str], wanted: str, *, folder: Path, instead: str) -> str:
    """Run a package client and return what it printed."""
    try:
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=CLIENT_SECONDS)
        problem = "" if ran.returncode == 0 else (ran.stderr.strip().splitlines() or [f"{command[0]} failed"])[-1]
    except FileNotFoundError:
        problem = f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        problem = f"no answer within {CLIENT_SECONDS} seconds"
    if problem:
        raise InputError(f"{wanted}: not fetched ({problem[:200]}); {instead}")
    return ran.stdout
