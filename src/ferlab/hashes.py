"""What results are compared by: hashes of files and folders, and the files that code imports.

Hashes are DVC's own (md5 of a file's bytes; of a folder's names and hashes), so dvc.lock can be read beside them. They find changes, not attacks.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferlab.paths import ROOT, walk_files, write_whole

# Explicit tables of names; a new line in one must leave results alone.
REGISTRIES = ("src/ferlab/models/registry.py", "src/ferlab/data/readers/registry.py")
KEPT = Path("data", ".hashes.json")  # a stamp of each file or folder and what was found: what is unchanged is neither read nor parsed again
SETTLED = 2.0  # seconds: a file that changed later than this before it was hashed may change again under the same time
SMALL = 100_000  # bytes that are read as fast as they are looked up


def hash_path(path: Path) -> str:
    """Hash a file's bytes, or a folder's names and bytes, behind links too; hidden files are passed by.

    Files are named by their path in the folder, so that clones agree. What has the sizes and times of before is not read again; see KEPT.
    """
    start = len(os.path.join(path, ""))
    inside = [path] if path.is_file() else sorted(file for file, plain in walk_files(path, skip=lambda name: name.startswith(".")) if plain)
    states = {file: os.stat(file) for file in inside or [path]}
    kept: dict[str, list[Any]] = {} if _small(states.values()) else _kept("files")
    before = dict(kept)
    if path.is_file():
        found = _looked_up(path, {"": states[path]}, kept, lambda: _read_hash(path))
    else:
        named = {os.fspath(file)[start:]: state for file, state in states.items()}
        found = _looked_up(path, named, kept, lambda: _folder_hash(inside, states, kept, start=start))
    if kept != before:
        _keep("files", _kept("files") | kept)
    return found


def digest(*parts: str) -> str:
    """Return a short hash of texts: 12 hex digits."""
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:12]


def import_closure(*sources: Path, modules: Iterable[str] = ()) -> dict[Path, str]:
    """Return notebooks or Python files and every ferlab file that they import, directly or through others, sorted; with a hash of each one's code.

    Comments, docstrings, line breaks and a notebook's prose compute nothing and are not hashed. The registries are excluded: they hold names only,
    and a new line in them must leave trained runs alone. What they name is loaded by string, so the files of a stage's own model are given in
    `modules`.

    Args:
        sources: Notebooks or Python files.
        modules: Dotted module names below ferlab, e.g. "models.cs230".
    """
    parsed, known = {}, _kept("code")
    before, queue = dict(known), [*sources, *(path for module in modules for path in _files_of(f"ferlab.{module}"))]
    while queue:
        path = queue.pop()
        if path not in parsed and _relative(path).as_posix() not in REGISTRIES:
            parsed[path], imported = _parse(path, known)
            queue += [file for module in imported for file in _files_of(module)]
    if known != before:
        _keep("code", known)
    return dict(sorted(parsed.items()))


def _small(states: Collection[os.stat_result]) -> bool:
    return sum(state.st_size for state in states) <= SMALL and len(states) < 100


def _looked_up(path: Path | str, states: Mapping[str, os.stat_result], kept: dict[str, list[Any]], compute: Callable[[], str]) -> str:
    """Return the kept hash of a file or folder whose files are unchanged; else compute it, and keep it once they are settled."""
    if _small(states.values()):
        return compute()
    key, stamp = os.path.realpath(path), digest(*(f"{name} {state.st_size} {state.st_mtime_ns} {state.st_ino}" for name, state in states.items()))
    if kept.get(key, [""])[0] == stamp:
        return str(kept[key][1])
    found = compute()
    if time.time() - max(state.st_mtime for state in states.values()) > SETTLED:
        kept[key] = [stamp, found]
    return found


def _read_hash(path: Path | str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _folder_hash(inside: Sequence[str], states: Mapping[str, os.stat_result], kept: dict[str, list[Any]], *, start: int) -> str:
    hashes = {file: _looked_up(file, {"": states[file]}, kept, lambda file=file: _read_hash(file)) for file in inside}
    listed = [{"md5": found, "relpath": Path(file[start:]).as_posix()} for file, found in hashes.items()]
    listed.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _kept(kind: str) -> dict[str, list[Any]]:
    try:
        kept = json.loads((ROOT / KEPT).read_text())[kind]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return kept if isinstance(kept, dict) and all(isinstance(each, list) and len(each) > 1 for each in kept.values()) else {}


def _keep(kind: str, entries: dict[str, list[Any]]) -> None:
    kept = {each: _kept(each) for each in ("files", "code")} | {kind: {key: entry for key, entry in entries.items() if os.path.exists(key)}}
    (ROOT / KEPT).parent.mkdir(parents=True, exist_ok=True)
    write_whole(ROOT / KEPT, json.dumps(kept, sort_keys=True).encode())


def _parse(path: Path, known: dict[str, list[Any]]) -> tuple[str, list[str]]:
    """Return the hash of a file's code and the dotted ferlab names that it imports, from `known` where its text is that of before."""
    text = path.read_text()
    key, stamp = os.fspath(path.resolve()), digest(text)
    if known.get(key, [""])[0] != stamp:
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        tree = ast.parse(text)
        known[key] = [stamp, _hash_tree(tree), _imported(tree, package=_relative(path).parts[1:-1])]
    return known[key][1], known[key][2]


def _relative(path: Path) -> Path:
    return Path(os.path.relpath(path, ROOT))


def _hash_tree(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return digest(ast.dump(tree))


def _imported(tree: ast.Module, *, package: Sequence[str]) -> list[str]:
    """Return the dotted ferlab names that code imports: `from ferlab.data import store` gives ferlab.data and ferlab.data.store."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "ferlab"]


def _files_of(module: str) -> list[Path]:
    """Return the file of a dotted name and the __init__ of each package above it, as far as they exist."""
    parts = module.split(".")
    source = ROOT / "src"
    above = [source.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    return [path for path in [*above, source.joinpath(*parts).with_suffix(".py")] if path.is_file()]
