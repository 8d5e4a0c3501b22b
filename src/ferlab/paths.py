"""Every artefact path, in one place.

A stage's outputs are named here once: dvc.yaml repeats them (a test compares), the runner moves them into place, notebooks ask for them.
Inside the runner a notebook writes to a staging folder; outside it, below `data/scratch/`, so exploring never touches a stage's outputs.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

STAGING = "FERLAB_STAGING"  # set by the runner for the kernel: where this stage's outputs are written before they move into place
PARTIAL = "FERLAB_PARTIAL"  # set by the runner: where a stage keeps what it needs to go on after a kill
PROGRESS = "FERLAB_PROGRESS"  # set by the runner: the file of JSON lines that it tails as a progress bar
PARAMS_HASH = "FERLAB_PARAMS_HASH"  # set by the runner: the hash of the params that this stage declared, for the ledger of test scorings


class InputError(ValueError):
    """Bad input, told to a person in one line: the file, the row, the value, what was expected and what to do."""


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
    "prepare": {"store": "data/prepared/{name}", "metrics": "reports/metrics/prepare/{name}.json"},
    "audit": {"twins": "data/audit/{name}/twins.parquet", "metrics": "reports/metrics/audit/{name}.json"},
    "train": {
        "weights": "models/{name}/weights.safetensors",
        "history": "models/{name}/history.csv",
        "metrics": "reports/metrics/train/{name}.json",
    },
    "evaluate": {
        "predictions": "data/predictions/{name}.parquet",
        "metrics": "reports/metrics/evaluate/{name}.json",
        "summary": "reports/summary/{name}.json",
        "confusions": "reports/plots/confusions/{name}.csv",
    },
    "explain": {"attributions": "data/attributions/{name}.npz", "metrics": "reports/metrics/explain/{name}.json"},
    "analyze_errors": {
        "label_issues": "reports/tables/label_issues/{name}.csv",
        "confused_pairs": "reports/tables/confused_pairs/{name}.csv",
        "metrics": "reports/metrics/analyze_errors/{name}.json",
    },
    "compare": {"table": "reports/tables/results.md", "metrics": "reports/metrics/compare.json"},
    "deploy": {"onnx": "models/{name}/model.onnx", "int8": "models/{name}/model_int8.onnx", "metrics": "reports/metrics/deploy/{name}.json"},
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
    """Return the folder for work that survives a kill; the runner names it by the fingerprint of params, inputs and code."""
    path = Path(os.environ[PARTIAL]) if PARTIAL in os.environ else ROOT / "data" / "scratch" / "partial"
    path.mkdir(parents=True, exist_ok=True)
    return path


def report_progress(**record: Any) -> None:
    """Append a JSON line for the runner's progress bar: `report_progress(done=3, total=12, note="val 61.2 %")`. Outside the runner: nothing."""
    if PROGRESS in os.environ:
        with open(os.environ[PROGRESS], "a") as lines:
            lines.write(json.dumps(record) + "\n")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write `values` as sorted, indented JSON, floats to 6 decimals; a NaN or infinity becomes null. Same values, same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(values), indent=2, sort_keys=True) + "\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside and rename, so that whatever happens a whole file is there: this one, or the one from before.

    Raises:
        InputError: A disk that is full or cannot be written.
    """
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        left = "the file from before is kept" if path.is_file() else "nothing is left there"
        raise InputError(f"{path}: not saved: {error.strerror} ({len(content) / 1e6:.1f} MB); {left}; see to that and save again") from None


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
