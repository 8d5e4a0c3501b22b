"""Executing a stage's notebook through papermill: the same inputs give the same bytes, and a failure ends in one line with its cause."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil

from ferlab import paths, staging
from ferlab.imports import without
from ferlab.paths import ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.progress import follow

# A kernel that ends may find its sockets closed already: of that no one need read.
QUIET = ["--log-level=50", "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel(60)"]
NAMES = {"set_name": SET_STAGES, "run": RUN_STAGES}  # of the parameter that a notebook takes
PROGRESS = "progress.jsonl"  # of the kernel, in the work folder


def execute(source: Path, section: dict[str, Any], *, stage: str, work: Path) -> Path:
    """Run a notebook and return the executed copy.

    Args:
        source: The notebook.
        section: What its stage may see of params.yaml.
        stage: A key of `ferlab.paths.NOTEBOOKS`.
        work: The stage's work folder.

    Raises:
        InputError: A cell that failed or left early, or a kernel that died: its cause, and where the broken notebook is kept.
    """
    # Keep: jsonschema asks for the first, to check web addresses that no notebook has, papermill for the other, to read notebooks from Hadoop.
    with without("rfc3987_syntax", "pyarrow"):
        import nbformat
        import papermill
        from papermill.exceptions import PapermillExecutionError

    name = section["name"]
    parameters: dict[str, Any] = {"params": section} | {word: name for word, stages in NAMES.items() if stage in stages}
    _check_parameters(source, parameters)
    executed = work / "executed.ipynb"
    progress = work / PROGRESS
    progress.unlink(missing_ok=True)
    os.environ.update(_kernel_environment(work, progress))
    os.environ.pop("JUPYTER_PATH", None)  # it can shadow the python3 kernel of this environment
    try:
        with follow(progress, title=f"{stage} {name}".strip()), tempfile.TemporaryDirectory() as sockets:
            papermill.execute_notebook(
                source, executed, parameters, kernel_name="python3", cwd=ROOT, progress_bar=False, record_timing=False, coalesce_streams=True,
                store_widget_state=False, request_save_on_cell_execute=False, extra_arguments=QUIET,
                config=_by_files(Path(sockets)),
            )  # fmt: skip
    except PapermillExecutionError as error:
        raise InputError(f"{_cause(error)} (its notebook: {_keep_broken(executed, stage, name)})") from None
    except Exception as error:  # noqa: BLE001 - a kernel that died: papermill and nbclient raise many types here
        kept = _keep_broken(executed, stage, name)
        aside = f" (its notebook: {kept})" if kept else ""
        raise InputError(f"the kernel of {source.name} stopped: {_why(error)}{aside}") from None
    notebook = nbformat.read(executed, as_version=4)
    if any(_left_early(cell) for cell in notebook.cells):
        raise InputError(f"{source.name}: a cell left the notebook early (its notebook: {_keep_broken(executed, stage, name)})")
    nbformat.write(_stable(notebook), executed)
    return executed


def _by_files(folder: Path) -> Any:
    """Reach the kernel through sockets in a folder, not through ports: of two kernels that start at once, one may find its port taken."""
    from traitlets.config import Config

    return Config({"KernelManager": {"transport": "ipc", "ip": str(folder / "kernel")}})


def _why(error: Exception) -> str:
    if type(error).__name__ != "DeadKernelError":
        return f"{type(error).__name__}: {error}"
    memory = psutil.virtual_memory()
    free = f"{memory.available / 2**30:.0f} of {memory.total / 2**30:.0f} GiB are free now"
    return f"it was killed, as happens where memory runs out ({free}); `dvc repro` goes on where it stopped, a smaller batch_size or size needs less"


def _left_early(cell: Any) -> bool:
    """papermill takes sys.exit(0) for success and silently skips the cells behind it."""
    if cell.cell_type != "code" or not cell.source.strip():
        return False
    return cell.execution_count is None or any(out.output_type == "error" for out in cell.outputs)


def _kernel_environment(work: Path, progress: Path) -> dict[str, str]:
    return {
        paths.STAGING: str(staging.staging_of(work)),
        paths.PARTIAL: str(work / "kept"),
        paths.PROGRESS: str(progress),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(work / "ipython"),  # no start-up files of the user's
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
        "TQDM_DISABLE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait give their core away: half the CPU time on a busy machine
        **_allocator(),
    }


def _allocator() -> dict[str, str]:
    """Let glibc keep freed tensors for the next pass; the kernel zeroes every page it hands out anew, a third of the CPU time of explain."""
    library, release = platform.libc_ver()
    if library != "glibc" or tuple(int(part) for part in release.split(".")[:2]) < (2, 36):
        return {}  # earlier ones refuse a large threshold
    return {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


def _check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """papermill only warns of an unknown parameter; here it is an error."""
    cells = json.loads(source.read_text())["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    known = set(re.findall(r"^(\w+)\s*[:=]", "\n".join(tagged), flags=re.MULTILINE))
    if missing := set(parameters) - known:
        raise InputError(f"{source.name}: its parameters cell lacks {', '.join(sorted(missing))}")


def _stable(notebook: Any) -> Any:
    """Drop what differs between two runs: papermill's times and paths, random cell ids, process ids in warnings."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        for volatile in ("papermill", "execution"):
            cell.metadata.pop(volatile, None)
        for out in cell.get("outputs", []):
            if "text" in out:
                out.text = re.sub(r"/\S*ipykernel_\d+/\d+\.py", "<cell>", out.text).replace(str(ROOT), ".")
    return notebook


def _cause(error: Any) -> str:
    """The last line of a failed cell's traceback, without colour codes: an InputError reads as written, others keep their type."""
    value = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error.evalue)).split())
    return value if error.ename == "InputError" else f"{error.ename}: {value}"


def _keep_broken(executed: Path, stage: str, name: str) -> str:
    if not executed.is_file():
        return ""
    kept = ROOT / "reports" / "_failed" / paths.executed_notebook(stage, name).name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(executed, kept)  # data/.partial may lie on another disk
    return kept.relative_to(ROOT).as_posix()


