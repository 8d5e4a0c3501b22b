"""What a result came from: which files a notebook's code is made of, and short hashes of code, data and params."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from pathlib import Path

from ferlab.paths import ROOT, walk_files

# Explicit tables of names; a new line in one must leave trained runs alone.
REGISTRIES = ("models/registry.py", "data/registry.py")


def import_closure(source: Path, *, families: tuple[str, ...] = ()) -> list[Path]:
    """Return the notebook and every ferlab file that it imports, directly or through others; sorted.

    The registries (models/registry.py, data/registry.py) are left out on purpose: they hold names only, and a new line in them must
    leave trained runs alone. What they name is loaded by string, so the files of a stage's own model are given in `families`.

    Args:
        source: A notebook (its code cells are read) or a Python file.
        families: Dotted module names below ferlab that the stage loads by string, e.g. "models.cs230".
    """
    seen: set[Path] = {source}
    queue = [*_imported(_code_of(source), package=""), *(f"ferlab.{family}" for family in families)]
    while queue:
        for path in _files_of(queue.pop()):
            if path not in seen and path.relative_to(ROOT / "src" / "ferlab").as_posix() not in REGISTRIES:
                seen.add(path)
                package = ".".join(path.relative_to(ROOT / "src").parts[:-1])
                queue.extend(_imported(path.read_text(), package=package))
    return sorted(seen)


def hash_path(path: Path) -> str:
    """Hash a file's bytes; a folder's names and bytes, behind links too. Code is hashed by its path in the clone, so that clones agree."""
    files = [path] if path.is_file() else sorted(Path(file) for file, plain in walk_files(path, skip=lambda name: name.startswith(".")) if plain)
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.relative_to(path.parent).as_posix()))  # a name that is not UTF-8 is bytes all the same
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def digest(*parts: str) -> str:
    """Return a short hash of texts: 12 hex digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _code_of(source: Path) -> str:
    if source.suffix != ".ipynb":
        return source.read_text()
    return "\n".join("".join(cell["source"]) for cell in json.loads(source.read_text())["cells"] if cell["cell_type"] == "code")


def _imported(code: str, *, package: str) -> list[str]:
    """Return the dotted ferlab names that code imports: `from ferlab.data import store` gives ferlab.data and ferlab.data.store."""
    names: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "ferlab"]


def _files_of(module: str) -> list[Path]:
    """Return the file of a dotted name and the __init__ of each package above it, as far as they exist."""
    parts = module.split(".")
    source = ROOT / "src"
    above = [source.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    return [path for path in [*above, source.joinpath(*parts).with_suffix(".py")] if path.is_file()]
