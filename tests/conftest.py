"""Lets test files import what lies beside them, begins with the files that take minutes, and runs a small study once for all of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
LONGEST = (  # begun last, one of them would run on alone; of those that wait for `tiny_study` one comes first, the next after others
    "test_papers_end_to_end.py",
    "test_every_setting.py",
    "browser/test_live.py",
    "live/correction/test_personalise.py",
    "test_end_to_end.py",
    "test_pipeline.py",
    "test_changes.py",
    "evaluation/test_coverage.py",
    "browser/test_camera.py",
    "live/serving/test_soak.py",
    "explanation/test_worlds.py",
)
sys.path.insert(0, str(TESTS))
# Before torch and NumPy are imported: where test processes are as many as cores, a second thread of each waits for the others and costs ten times
# the time. Trainings state their threads themselves.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Behind a shell's & Ctrl-C is ignored, and what tests start would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests alone are asked for, import no file without one: that costs each process seconds."""
    asked = config.option.markexpr.startswith("slow") and collection_path.match("test_*.py")
    return True if asked and "mark.slow" not in collection_path.read_text() else None


@pytest.hookimpl(trylast=True)  # once those that are not asked for are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, in the order of LONGEST, then with those of most tests."""
    places, tests = {TESTS / name: place for place, name in enumerate(LONGEST)}, Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path, len(places)), -tests[item.path]))


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory) -> Path:
    """A clone in which `dvc repro` ran a study of one small run, its results committed; made once for all processes. To be copied, not changed."""
    from test_end_to_end import call, make_clone

    ours = tmp_path_factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "tiny_study"
    made = folder.with_suffix(".made")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_clone(folder)
            call(folder, "dvc", "repro")
            changed = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True).stdout
            assert changed == "?? dvc.lock\n"
            subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
            subprocess.run(["git", "commit", "-q", "-m", "Results"], cwd=folder, check=True)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def needed_options(tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    """Options without which a model of the registry cannot be built: of `onnx_backbone` a made-up file and its data, of the others none."""
    from tiny_models import write_iresnet

    path = tmp_path_factory.mktemp("backbone") / "made_up.onnx"

    def options(model: str) -> dict[str, Any]:
        if model != "onnx_backbone":
            return {}
        return {"file": str(path if path.is_file() else write_iresnet(path)), "trained_on": "made-up faces"}

    return options
