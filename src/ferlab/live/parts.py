"""What other projects made and the browser runs: packed in static/, with version, licence and checksum.

    python -m ferlab.live.parts    write the packed parts again from their npm packages (`make live-assets`); needs npm, nothing else does

static/parts.json is the lock: each package with its version, licence and npm's integrity, and of each file in it the sha256 of its content. A part
that differs is refused. Files are stored gzipped and unpacked in the browser. LICENSES.md holds the licences' texts.

    @vladmandic/human          face search (BlazeFace), 468 landmarks (FaceMesh), spoof and liveness models; TensorFlow.js is inside
    @tensorflow/tfjs-backend-wasm   its computation on the processor
    onnxruntime-web            runs our own model
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ferlab.paths import InputError, write_whole

STATIC = Path(__file__).parent / "static"
LOCK = STATIC / "parts.json"
MOST = 14_000_000  # bytes of all packed parts
AGAIN = "get the folder again (git checkout -- src/ferlab/live/static, or install ferlab again), or run `make live-assets`"


@cache
def packed(name: str) -> bytes:
    """Return a packed part, gzipped.

    Raises:
        InputError: If the part is missing, or its content is not the one that the lock names.
    """
    expected = {name: sha for package in read_lock() for name, sha in package["files"].items()}
    path = STATIC / f"{name}.gz"
    if name not in expected or not path.is_file():
        raise InputError(f"{path}: missing; {AGAIN}")
    content = path.read_bytes()
    try:
        found = hashlib.sha256(gzip.decompress(content)).hexdigest()
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: broken ({error}); {AGAIN}") from None
    if found != expected[name]:
        raise InputError(f"{path}: its content has sha256 {found[:12]}..., expected {expected[name][:12]}...; {AGAIN}")
    return content


def read_lock() -> list[dict[str, Any]]:
    """Return the packages of the lock: name, version, licence, integrity, folder and files (name -> sha256)."""
    return json.loads(LOCK.read_text(encoding="utf-8"))["packages"]


def write_parts() -> int:
    """Fetch the packages of the lock by npm, check them and pack their files; return the bytes of all parts.

    Raises:
        InputError: If npm is missing or fails, or a package or file is not the one that the lock names. Nothing is written then.
    """
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in read_lock():
            contents |= _fetch(package, Path(folder))
    total = sum(map(len, contents.values()))
    if total > MOST:
        raise InputError(f"{STATIC}: the parts take {total:,} bytes; expected at most {MOST:,}. Drop some from {LOCK.name}.")
    for name, content in contents.items():
        write_whole(STATIC / name, content)
    return total


def _fetch(package: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """Return the files of a package by the name under which they are stored."""
    from ferlab.models.packages import npm_pack  # Keep: it brings PyTorch, which no panel needs for its parts

    named = f"{package['name']}@{package['version']}"
    tarball = npm_pack(named, folder, instead="run `make live-assets` where its registry answers")
    found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if found != package["integrity"]:
        raise InputError(f"{named}: its integrity is {found[:20]}..., {LOCK.name} names {package['integrity'][:20]}...")
    stored = {}
    with tarfile.open(tarball) as members:
        for name, sha in package["files"].items():
            content = members.extractfile(f"package/{package['folders'].get(name, package['folders']['*'])}{name}").read()
            if hashlib.sha256(content).hexdigest() != sha:
                raise InputError(f"{named}: {name} is not the file that {LOCK.name} names")
            stored[f"{name}.gz"] = gzip.compress(content, compresslevel=9, mtime=0)
    return stored


if __name__ == "__main__":
    try:
        print(f"{STATIC}: {write_parts():,} bytes")
    except InputError as error:
        sys.exit(f"ferlab: {error}")
