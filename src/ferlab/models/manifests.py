"""TensorFlow.js's weights manifests: tensors by name in a JSON file, their values, often quantised, in binary files beside it.

References:
    tensorflow/tfjs, weights_list and its quantization: value = quantised x scale + min.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ferlab.paths import InputError

STORED = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "uint16": "<u2"}
BROKEN = (OSError, KeyError, TypeError, AttributeError, ValueError)


def read_manifest(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a manifest by name, float32, quantised ones restored.

    Args:
        path: The .json; the binary files that it names lie beside it.

    Raises:
        InputError: No such manifest, a missing or too short binary file, or an unknown type.
    """
    try:
        return {name: tensor for group in _groups(path) for name, tensor in _tensors(path, group).items()}
    except BROKEN as error:
        raise error if isinstance(error, InputError) else _no_manifest(path, error) from None


def binary_files(path: Path) -> list[Path]:
    """Return the binary files that a manifest names, beside it and in order, whether they exist or not.

    Raises:
        InputError: No such manifest, or a name that leads to another folder.
    """
    try:
        return [path.with_name(name) for group in _groups(path) for name in _names(path, group)]
    except BROKEN as error:
        raise error if isinstance(error, InputError) else _no_manifest(path, error) from None


def manifest_sha256(path: Path) -> str:
    """Return the SHA-256 of a manifest and its binary files, one after the other, in hexadecimal.

    Raises:
        InputError: As `binary_files`; a binary file that is missing.
    """
    found = hashlib.sha256()
    for file in (path, *binary_files(path)):
        if not file.is_file():
            raise InputError(f"{file}: no such file; {path.name} names it")
        found.update(file.read_bytes())
    return found.hexdigest()


def _groups(path: Path) -> list[dict[str, Any]]:
    groups = json.loads(path.read_text())
    if not isinstance(groups, list):
        raise TypeError("expected a list of groups of weights")
    return groups


def _names(path: Path, group: dict[str, Any]) -> Sequence[str]:
    for name in group["paths"]:
        if name in ("", ".", "..") or PurePosixPath(name).name != name:
            raise InputError(f"{path}: names the binary file {name!r}; expected one beside it")
    return group["paths"]


def _tensors(path: Path, group: dict[str, Any]) -> dict[str, np.ndarray]:
    content, start, tensors = b"".join(path.with_name(name).read_bytes() for name in _names(path, group)), 0, {}
    for entry in group["weights"]:
        quantised = entry.get("quantization")
        kind = quantised["dtype"] if quantised else entry["dtype"]
        if kind not in STORED:
            raise InputError(f"{path}: {entry['name']} is stored as {kind!r}; known: {', '.join(STORED)}")
        dtype, count = np.dtype(STORED[kind]), prod(entry["shape"])
        stop = start + count * dtype.itemsize
        if stop > len(content):
            raise InputError(f"{path}: its binary file has {len(content):,} bytes; {entry['name']} ends at {stop:,}. Get the file again.")
        values = np.frombuffer(content[start:stop], dtype).astype(np.float32).reshape(entry["shape"])
        tensors[entry["name"]] = values * np.float32(quantised["scale"]) + np.float32(quantised["min"]) if quantised else values
        start = stop
    return tensors


def _no_manifest(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: no weights manifest ({type(error).__name__}: {error})")
