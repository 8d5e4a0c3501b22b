"""Every artefact path, in one place.

A stage's outputs are named here once: dvc.yaml repeats them (a test compares), the runner moves them into place, notebooks ask for them.
Inside the runner a notebook writes to a staging folder; outside it, below `data/scratch/`, so exploring never touches a stage's outputs.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STAGING = "FERLAB_STAGING"  # set by the runner for the kernel: where this stage's outputs are written before they move into place
PARTIAL = "FERLAB_PARTIAL"  # set by the runner: where a stage keeps what it needs to go on after a kill
PROGRESS = "FERLAB_PROGRESS"  # set by the runner: the file of JSON lines that it tails as a progress bar
MOST_LINKS = 10_000  # to folders, below one folder: links among each other would lead around for ever


_HELD: dict[Path, int] = {}  # what this process holds: path -> the open file


class InputError(ValueError):
    """Bad input, told to a person in one line: the file, the row, the value, what was expected and what to do.

    Attributes:
        reason: What is wrong with a picture, without its path: what an output may keep. "" where it is told by the line alone.
    """

    reason: str = ""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` (default: the working directory) that holds dvc.yaml."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    return here


ROOT = find_root()

NOTEBOOKS: dict[str, str] = {
    "prepare": "01_prepare",
    "audit": "02_audit",
    "train": "03_train",
    "evaluate": "04_evaluate",
    "explain": "05_explain",
    "analyze_errors": "06_analyze_errors",
    "compare": "07_compare",
    "deploy": "08_deploy",
    "control_faces": "09_control_faces",
}
SET_STAGES = ("prepare", "audit")
RUN_STAGES = ("train", "evaluate", "explain", "analyze_errors", "deploy")

# What each stage writes, relative to ROOT; {name} is the set or the run.
OUTPUTS: dict[str, dict[str, str]] = {
    "prepare": {
        "store": "data/prepared/{name}",
        "facts": "data/records/prepare/{name}.facts.json",
        "record": "data/records/prepare/{name}.json",
        "metrics": "reports/metrics/prepare/{name}.json",
    },
    "audit": {
        "duplicates": "data/audit/{name}/duplicates.parquet",
        "facts": "data/records/audit/{name}.facts.json",
        "record": "data/records/audit/{name}.json",
        "metrics": "reports/metrics/audit/{name}.json",
    },
    "train": {
        "weights": "models/{name}/weights.safetensors",
        "history": "models/{name}/history.csv",
        "facts": "data/records/train/{name}.facts.json",
        "record": "data/records/train/{name}.json",
        "metrics": "reports/metrics/train/{name}.json",
    },
    "evaluate": {
        "predictions": "data/predictions/{name}.parquet",
        "tta": "data/tta/{name}.npz",
        "record": "data/records/evaluate/{name}.json",
        "metrics": "reports/metrics/evaluate/{name}.json",
        "summary": "reports/summary/{name}.json",
        "confusions": "reports/plots/confusions/{name}.csv",
    },
    "explain": {
        "attributions": "data/attributions/{name}.npz",
        "record": "data/records/explain/{name}.json",
        "metrics": "reports/metrics/explain/{name}.json",
    },
    "analyze_errors": {
        "label_issues": "reports/tables/label_issues/{name}.csv",
        "confused_pairs": "reports/tables/confused_pairs/{name}.csv",
        "metrics": "reports/metrics/analyze_errors/{name}.json",
    },
    "compare": {"table": "reports/tables/results.md", "metrics": "reports/metrics/compare.json"},
    "deploy": {
        "onnx": "models/{name}/model.onnx",
        "int8": "models/{name}/model_int8.onnx",
        "facts": "data/records/deploy/{name}.facts.json",
        "record": "data/records/deploy/{name}.json",
        "metrics": "reports/metrics/deploy/{name}.json",
    },
    "control_faces": {"metrics": "reports/metrics/control_faces.json"},
}


def artefact(stage: str, what: str, name: str = "") -> Path:
    """Return where the finished output `what` of a stage lies, for reading.

    Args:
        stage: A key of OUTPUTS.
        what: One of that stage's outputs, e.g. "weights".
        name: The set or the run; empty for a stage that has neither.
    """
    return ROOT / OUTPUTS[stage][what].format(name=name)


def executed_notebook(stage: str, name: str = "") -> Path:
    """Return where the executed notebook of a stage lies, relative to no one's input but the report's."""
    return ROOT / "reports" / "notebooks" / (f"{NOTEBOOKS[stage]}-{name}.ipynb" if name else f"{NOTEBOOKS[stage]}.ipynb")


def output(stage: str, what: str, name: str = "") -> Path:
    """Return where a notebook writes output `what`: staging inside the runner, `data/scratch/` outside it. Its folder is made."""
    base = Path(os.environ[STAGING]) if STAGING in os.environ else ROOT / "data" / "scratch"
    path = base / OUTPUTS[stage][what].format(name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


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


def report_progress(**record: Any) -> None:
    """Append a JSON line for the runner's progress bar: `report_progress(done=3, total=12, note="val 61.2 %")`. Outside the runner: nothing."""
    if PROGRESS in os.environ:
        with open(os.environ[PROGRESS], "a") as lines:
            lines.write(json.dumps(record) + "\n")


def read_json(path: Path, *, made_by: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: It is missing, not JSON, or another thing than an object; with `made_by`, what makes it anew.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{_shown(path)}: not found; {made_by} makes it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{_shown(path)}: not JSON ({' '.join(str(error).split())[:100]}); {made_by} makes it anew") from None
    if not isinstance(values, dict):
        raise InputError(f"{_shown(path)}: expected a JSON object, got {type(values).__name__}; {made_by} makes it anew")
    return values


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write `values` as sorted, indented JSON, floats to 6 decimals; a NaN or infinity becomes null. Same values, same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(values), indent=2, sort_keys=True) + "\n")


def check_plain_file(path: Path, *, expected: str) -> str:
    """Return a file's name in one line, for errors, if it is a plain file: a FIFO never ends, a device is nobody's data.

    Raises:
        InputError: It is missing, a folder or no plain file.
    """
    shown = repr(str(path))[1:-1]  # a newline in a name must not break the line
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no plain file" if path.exists() else "a link to nothing" if path.is_symlink() else "missing"
        raise InputError(f"{shown} is {what}; expected {expected}. Name the file.")
    return shown


def write_whole(path: Path, content: bytes) -> None:
    """Write beside and rename, so that whatever happens a whole file is there: this one, or the one from before.

    Raises:
        InputError: A disk that is full or cannot be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)  # a link that lies there is taken away, not followed
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # Keep: without it a power cut may leave the new name with an empty file
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        left = "the file from before is kept" if path.is_file() else "nothing is left there"
        raise InputError(f"{path}: not saved: {error.strerror} ({len(content) / 1e6:.1f} MB); {left}; see to that and save again") from None


def walk_files(root: Path, *, skip: Callable[[str], bool] = lambda name: False, links: list[str] | None = None) -> Iterator[tuple[str, bool]]:
    """Yield the path of all that lies below a folder and is no folder, in any order, and whether it is a file (not a pipe, a device, a link to
    nothing). Links to folders are followed, but for one to a folder above itself.

    Args:
        root: The folder.
        skip: Names of files and folders that are passed by.
        links: Where the links to folders that were followed are noted.

    Raises:
        InputError: If links lead around among more than `MOST_LINKS` folders.
        OSError: If a folder cannot be listed.
    """
    links = [] if links is None else links
    folders = [(str(root), frozenset([_identity(root)]))]
    while folders:
        folder, above = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                linked = entry.is_symlink()
                if skip(entry.name):
                    continue
                if not (Path(entry).is_dir() if linked else entry.is_dir()):  # Keep: Path's is no error for a link that leads around in a circle
                    yield entry.path, Path(entry).is_file() if linked else entry.is_file()
                elif (here := _identity(entry)) not in above:
                    if linked:
                        links.append(entry.path)
                    if len(links) > MOST_LINKS:
                        many = f"{root}: more than {MOST_LINKS:,} links to folders, as {entry.path}"
                        raise InputError(f"{many}; expected links that do not lead to each other. Remove some.")
                    folders.append((entry.path, above | {here}))


def _identity(folder: Path | os.DirEntry[str]) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return round(value, 6) if value - value == 0 else None
    return value
