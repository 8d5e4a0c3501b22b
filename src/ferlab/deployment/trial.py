"""A model file from anyone, tried in a process of its own: what crashes a library, hangs it or fills the memory there does no harm here.

`check_graph` and the runtime are C++ that a spoilt file can abort, past every exception of Python. A file costs half a second the first time, and
nothing again in the same process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

from ferlab.paths import InputError

SECONDS = 120  # for a trial, of which a large model takes ten
MEMORY = 16 << 30  # bytes of address space, and eight times the file's own: VGG16 takes 3 GB
HERE = "@where@"  # stands in the trial's errors for the file's name
CHILD = "from ferlab.deployment.trial import run_trial; run_trial()"
_tried: dict[str, dict[str, Any]] = {}  # by checksum: {"faces": ...} or {"error": ...}


def try_model(content: bytes, *, where: str) -> int:
    """Check a graph, open it and score one empty face, in another process.

    Args:
        content: The file's bytes.
        where: What to call the file in an error.

    Returns:
        How many faces a call of the runtime may have.

    Raises:
        InputError: As `ferlab.deployment.model_files.check_graph`, and if the trial crashes, hangs or takes too much memory.
    """
    key = hashlib.sha256(content).hexdigest()
    if key not in _tried:
        _tried[key] = _answer(content)
    if "error" in _tried[key]:
        raise InputError(_tried[key]["error"].replace(HERE, where))
    return _tried[key]["faces"]


def _answer(content: bytes) -> dict[str, Any]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CHILD]
    try:
        ran = subprocess.run(command, input=content, capture_output=True, check=False, timeout=SECONDS, env=variables)
    except subprocess.TimeoutExpired:
        return {"error": f"{HERE}: a trial of it does not end within {SECONDS} seconds; do not use this model"}
    with contextlib.suppress(ValueError):
        answer = json.loads(ran.stdout)
        if isinstance(answer, dict) and ran.returncode == 0:
            return answer
    how = signal.Signals(-ran.returncode).name if ran.returncode < 0 else f"status {ran.returncode}"
    return {"error": f"{HERE}: a trial of it crashed ({how}); do not use this model"}


def run_trial() -> None:
    """Read a file's bytes from standard input and print what became of them, as JSON: what `try_model` runs."""
    from ferlab.deployment.model_files import check_graph

    content = sys.stdin.buffer.read()
    _bound_memory(len(content))
    try:
        answer: dict[str, Any] = {"faces": check_graph(content, where=HERE)}
        _score_nothing(content)
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _score_nothing(content: bytes) -> None:
    """Score one black face; what the runtime refuses in words it will say again to whoever opens the file."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with contextlib.suppress(Exception):
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        session.run(None, {given.name: np.zeros((1, *given.shape[1:]), np.float32)})


def _bound_memory(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 8 * size,) * 2)
