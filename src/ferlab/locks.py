"""Lock files: one process at a time works in a folder; a lock is let go when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ferlab.paths import PARTIAL, ROOT, InputError

_HELD: dict[Path, int] = {}  # what this process holds: path -> the open file


def partial_folder() -> Path:
    """Return the folder for work that survives a kill; the runner names it by the fingerprint of params, inputs and code.

    Inside the runner it is held by the asking process until that ends: a kernel may outlive its runner by a moment.
    """
    path = Path(os.environ[PARTIAL]) if PARTIAL in os.environ else ROOT / "data" / "scratch" / "partial"
    path.mkdir(parents=True, exist_ok=True)
    if PARTIAL in os.environ:
        hold(lock_of(path), what=str(path.parent.name))
    return path


def lock_of(folder: Path) -> Path:
    """Return the lock file of a work folder, which lies beside it."""
    return folder.with_name(f"{folder.name}.lock")


def hold(path: Path, *, what: str, wait: float = 0.0) -> None:
    """Hold a lock file until this process ends or lets go of it; holding it twice is holding it once.

    Args:
        path: The file; it is made, and holds the process's number.
        what: What is held, for the message.
        wait: Seconds to wait for another process.

    Raises:
        InputError: Another process, which is named, holds it still.
    """
    until = time.monotonic() + wait
    path.parent.mkdir(parents=True, exist_ok=True)
    while path not in _HELD:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked(file):
            owner = os.read(file, 20).decode(errors="replace").strip() or "of another user"
            os.close(file)
            if time.monotonic() >= until:
                raise InputError(f"{what}: busy: process {owner} works on it; wait for its end, or stop it, then start this again") from None
            time.sleep(0.1)
        elif _is_still(path, file):
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
            _HELD[path] = file
        else:  # whoever held it took the file away meanwhile
            os.close(file)


@contextlib.contextmanager
def held(path: Path, *, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs; see `hold`."""
    hold(path, what=what)
    try:
        yield
    finally:
        let_go(path)


def let_go(path: Path) -> None:
    """Let go of a lock file that this process holds, and take it away."""
    file = _HELD.pop(path)
    path.unlink(missing_ok=True)
    os.close(file)


def _locked(file: int) -> bool:
    import fcntl  # Keep: Windows has none, and reads paths to predict

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):  # a disk that knows no locks: as before there were any
            raise
    return True


def _is_still(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False
