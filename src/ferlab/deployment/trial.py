"""Trial of an untrusted model file in a separate process, where crashes, hangs and memory exhaustion do no harm.

`check_graph` and the runtime are C++, which a damaged file can abort past every exception of Python. A trial takes half a second, once per file
and process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from ferlab.paths import InputError

SECONDS = 120  # for a trial; a large model takes ten
MEMORY = 16 << 30  # bytes of address space, and eight times the file's own: VGG16 takes 3 GB
HERE = "@where@"  # stands in the trial's errors for the file's name
CHILD = "from ferlab.deployment.trial import run_trial; run_trial()"
_tried: dict[str, dict[str, Any]] = {}  # by checksum: {"faces": ...} or {"error": ...}


def try_model(content: bytes, *, where: str) -> int:
    """Check a graph, open it and score one empty face, in another process.

    Args:
        content: The file's bytes.
        where: The file's name in errors.

    Returns:
        Faces per call of the runtime.

    Raises:
        InputError: As `ferlab.deployment.model_files.check_graph`, and if the trial crashes, hangs or takes too much memory; without onnx.
    """
    if find_spec("onnx") is None:
        raise InputError(f"{where}: a model that does not ship is checked before it runs, which needs the package onnx: pip install onnx")
    key = hashlib.sha256(content).hexdigest()
    if key not in _tried:
        _tried[key] = _run_child(content)
    if "error" in _tried[key]:
        raise InputError(_tried[key]["error"].replace(HERE, where))
    return _tried[key]["faces"]


def _run_child(content: bytes) -> dict[str, Any]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CHILD]
    try:
        ran = subprocess.run(command, input=content, capture_output=True, check=False, timeout=SECONDS, env=variables)
    except subprocess.TimeoutExpired:
        return {"error": f"{HERE}: a trial of it does not end within {SECONDS} seconds; do not use this model"}
    with contextlib.suppress(ValueError):
        result = json.loads(ran.stdout)
        if isinstance(result, dict) and ran.returncode == 0:
            return result
    how = signal.Signals(-ran.returncode).name if ran.returncode < 0 else f"status {ran.returncode}"
    return {"error": f"{HERE}: a trial of it crashed ({how}); do not use this model"}


def run_trial() -> None:
    """Check the bytes on standard input and print the result as JSON; `try_model` runs this."""
    from ferlab.deployment.model_files import check_graph

    content = sys.stdin.buffer.read()
    _bound_memory(len(content))
    try:
        result: dict[str, Any] = {"faces": check_graph(content, where=HERE)}
        _score_nothing(content)
    except InputError as error:
        result = {"error": str(error)}
    print(json.dumps(result))


def _score_nothing(content: bytes) -> None:
    """Score one black face; errors of the runtime are raised again when the file is opened."""
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
