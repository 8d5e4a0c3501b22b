"""Every artefact path, in one place.

A stage's outputs are named here once: dvc.yaml repeats them (a test compares), the runner moves them into place, notebooks ask for them.
Inside the runner a notebook writes to a staging folder; outside it, below `data/scratch/`, so exploring never touches a stage's outputs.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STAGING = "FERLAB_STAGING"  # set by the runner for the kernel: where this stage's outputs are written before they move into place
PARTIAL = "FERLAB_PARTIAL"  # set by the runner: where a stage keeps what it needs to go on after a kill
SHIPS = "shipped"  # the model that ships, in params.yaml and on the command line
PROGRESS = "FERLAB_PROGRESS"  # set by the runner: the file of JSON lines that it tails as a progress bar
MOST_LINKS = 10_000  # to folders, below one folder: links among each other would lead around for ever


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
    "worlds": "12_worlds",  # before explain, which reads it
    "explain": "05_explain",
    "analyze_errors": "06_analyze_errors",
    "robustness": "11_robustness",  # before compare, which reads it
    "compare": "07_compare",
    "deploy": "08_deploy",
    "control_faces": "09_control_faces",
    "frame": "10_frame",
    "claims": "13_claims",
}
SET_STAGES = ("prepare", "audit")
ROWS = ("claims",)  # stages whose metrics are a list of rows, which has no place for provenance
RUN_STAGES = ("train", "evaluate", "explain", "analyze_errors", "robustness", "deploy")

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
        "train": "data/train_predictions/{name}.parquet",
        "record": "data/records/evaluate/{name}.json",
        "metrics": "reports/metrics/evaluate/{name}.json",
        "summary": "reports/summary/{name}.json",
        "confusions": "reports/plots/confusions/{name}.csv",
    },
    "explain": {
        "attributions": "data/attributions/{name}.npz",
        "faithfulness": "data/attributions/{name}.faithfulness.parquet",
        "masses": "data/attributions/{name}.masses.parquet",
        "record": "data/records/explain/{name}.json",
        "metrics": "reports/metrics/explain/{name}.json",
    },
    "analyze_errors": {
        "checked": "data/cross_validated/{name}.parquet",
        "planted": "data/planted_labels/{name}.parquet",
        "maps": "data/worst_pairs/{name}.npz",
        "record": "data/records/analyze_errors/{name}.json",
        "label_issues": "reports/tables/label_issues/{name}.csv",
        "training_issues": "reports/tables/training_label_issues/{name}.csv",
        "confused_pairs": "reports/tables/confused_pairs/{name}.csv",
        "subjects": "reports/tables/errors_by_subject/{name}.csv",
        "two_labels": "reports/tables/two_label_faces/{name}.csv",
        "metrics": "reports/metrics/analyze_errors/{name}.json",
    },
    "robustness": {
        "table": "data/robustness/{name}.parquet",
        "transfer": "data/transfer/{name}.parquet",
        "facts": "data/records/robustness/{name}.facts.json",
        "record": "data/records/robustness/{name}.json",
        "metrics": "reports/metrics/robustness/{name}.json",
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
    "frame": {
        "predictions": "data/frame/predictions.parquet",
        "facts": "data/records/frame.facts.json",
        "record": "data/records/frame.json",
        "metrics": "reports/metrics/frame.json",
    },
    "claims": {
        "leak": "data/claims/frame_leak.parquet",
        "facts": "data/records/claims.facts.json",
        "record": "data/records/claims.json",
        "metrics": "reports/metrics/claims.json",
    },
    "worlds": {
        "scores": "data/worlds/scores.parquet",
        "interventions": "data/worlds/interventions.parquet",
        "examples": "data/worlds/examples.npz",
        "facts": "data/records/worlds.facts.json",
        "record": "data/records/worlds.json",
        "metrics": "reports/metrics/worlds.json",
    },
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
    values = _read_any_json(path, made_by=made_by)
    if not isinstance(values, dict):
        raise InputError(f"{_shown(path)}: expected a JSON object, got {type(values).__name__}; {made_by} makes it anew")
    return values


def read_rows(path: Path, *, made_by: str) -> list[dict[str, Any]]:
    """Read a JSON list of objects; arguments and errors as for `read_json`."""
    values = _read_any_json(path, made_by=made_by)
    if not isinstance(values, list) or not all(isinstance(row, dict) for row in values):
        raise InputError(f"{_shown(path)}: expected a JSON list of objects, got {type(values).__name__}; {made_by} makes it anew")
    return values


def _read_any_json(path: Path, *, made_by: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{_shown(path)}: not found; {made_by} makes it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{_shown(path)}: not JSON ({' '.join(str(error).split())[:100]}); {made_by} makes it anew") from None


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def write_json(path: Path, values: dict[str, Any] | list[dict[str, Any]]) -> None:
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
