"""What made a result, whether it still holds, and taking it again.

A result that costs (a prepared dataset, duplicate groups, weights, predictions, attributions, an exported model) lies beside a record: the
hashes of the params that shape it, of its inputs, of the code that computes it, of the pinned packages, and of its own files. A notebook asks
for the result. Where the record agrees it is taken byte for byte; otherwise it is computed. Telling is no part of a record: neither the
notebook nor `ferlab.reporting` makes a result stale.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ferlab.paths import ROOT, STAGING, artefact, output, report_progress, walk_files, write_json, write_whole

# Explicit tables of names; a new line in one must leave results alone.
REGISTRIES = ("models/registry.py", "data/readers/registry.py")
TELLING = "reporting"  # the room that computes nothing
LOCK = "requirements.lock"
HASHES = Path("data", ".hashes.json")  # per file its size, time and hash, so that an unchanged file is not read again
SETTLED = 2.0  # seconds: a file that changed later than this before it was hashed may change again under the same time
KINDS = ("params", "data", "code", "environment")


def obtain(
    stage: str, name: str, compute: Callable[..., None], /, *, what: Iterable[str], record: Mapping[str, str], **given: Any
) -> dict[str, Path]:
    """Take a result as it lies where its record holds; compute it otherwise.

    Args:
        stage: A key of `ferlab.paths.OUTPUTS`, which names a `record` there.
        name: The set or the run.
        compute: Called with the place of each output by name, and with `given`; writes every output.
        what: The outputs that make up the result.
        record: What would make it now, from `record_of`.
        given: Passed on to `compute`.

    Returns:
        Where each output lies now. In the pipeline: staged. Outside it: where the pipeline left it if it holds, else below data/scratch.
    """
    kept = {each: artefact(stage, each, name) for each in what}
    reason = why_stale(stage, name, what=kept, record=record)
    if reason is None and STAGING not in os.environ:  # exploring: read where it lies, for a second name would let scratch work write into it
        return kept
    places = {each: output(stage, each, name) for each in kept}
    for place in places.values():
        _clear(place)
    if reason is None:
        for each, place in places.items():
            _take(kept[each], place)
    else:
        compute(**places, **given)
    report_progress(result="taken" if reason is None else f"computed: {reason}")
    write_json(output(stage, "record", name), {**record, "outputs": {each: hash_path(place) for each, place in places.items()}})
    return places


def record_of(compute: Callable[..., Any], *, params: Any, inputs: Mapping[str, Path], families: Iterable[str] = ()) -> dict[str, str]:
    """Return what would make a result now: a short hash of each of KINDS.

    Args:
        compute: The function that computes it; its module's import closure is the code, without the room that only reports.
        params: What shapes the result, as plain values.
        inputs: What it reads: a word for each -> file or folder.
        families: Dotted modules below ferlab that it loads by name, e.g. "models.cs230".
    """
    function = compute.func if isinstance(compute, partial) else compute
    source = (ROOT / "src").joinpath(*function.__module__.split(".")).with_suffix(".py")
    code = [path for path in import_closure(source, families=tuple(families)) if TELLING not in path.relative_to(ROOT).parts]
    return {
        "params": digest(json.dumps(params, sort_keys=True)),
        "data": digest(*(f"{word}={hash_path(path)}" for word, path in sorted(inputs.items()))),
        "code": digest(*(hash_path(path) for path in code)),
        "environment": hash_path(ROOT / LOCK)[:12],
    }


def why_stale(stage: str, name: str, *, what: Iterable[str], record: Mapping[str, str]) -> str | None:
    """Return why a result has to be computed: "missing", "damaged", or which of KINDS changed; None where it holds."""
    path = artefact(stage, "record", name)
    places = {each: artefact(stage, each, name) for each in what}
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return "missing"
    if not isinstance(kept, dict) or not all(place.exists() for place in places.values()):
        return "missing"
    if changed := [kind for kind in KINDS if kept.get(kind) != record[kind]]:
        return ", ".join(changed)
    intact = kept.get("outputs") == {each: hash_path(place) for each, place in places.items()}
    return None if intact else "damaged"


def import_closure(source: Path, *, families: tuple[str, ...] = ()) -> list[Path]:
    """Return a notebook or Python file and every ferlab file that it imports, directly or through others; sorted.

    The registries (models/registry.py, data/readers/registry.py) are excluded: they hold names only, and a new line in them must leave trained runs
    alone. What they name is loaded by string, so the files of a stage's own model are given in `families`.

    Args:
        source: A notebook (its code cells are read) or a Python file.
        families: Dotted module names below ferlab that the stage loads by string, e.g. "models.cs230".
    """
    seen: set[Path] = {source}
    queue = [*_imported(_code_of(source), package=_package_of(source)), *(f"ferlab.{family}" for family in families)]
    while queue:
        for path in _files_of(queue.pop()):
            if path not in seen and path.relative_to(ROOT / "src" / "ferlab").as_posix() not in REGISTRIES:
                seen.add(path)
                queue.extend(_imported(path.read_text(), package=_package_of(path)))
    return sorted(seen)


def hash_path(path: Path) -> str:
    """Hash a file's bytes; a folder's names and bytes, behind links too. Files are named by their path in the folder, so that clones agree.

    A file of a size and time that were seen before is not read again; see HASHES.
    """
    files = [path] if path.is_file() else sorted(Path(file) for file, plain in walk_files(path, skip=lambda name: name.startswith(".")) if plain)
    kept = _kept_hashes()
    before, whole = dict(kept), hashlib.sha256()
    for file in files:
        whole.update(os.fsencode(file.relative_to(path.parent).as_posix()))  # a name that is not UTF-8 is bytes all the same
        whole.update(bytes.fromhex(_hash_file(file, kept)))
    if kept != before:
        _keep_hashes(kept)
    return whole.hexdigest()


def digest(*parts: str) -> str:
    """Return a short hash of texts: 12 hex digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _hash_file(file: Path, kept: dict[str, list[Any]]) -> str:
    """Return a file's SHA-256, from `kept` where its size, time and number are those seen before; and keep it there."""
    state = file.stat()
    key, seen = os.fspath(file.resolve()), [state.st_size, state.st_mtime_ns, state.st_ino]
    if kept.get(key, [])[:3] == seen:
        return str(kept[key][3])
    with open(file, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if time.time() - state.st_mtime > SETTLED and state.st_size > 100_000:  # a small file is read as fast as it is looked up
        kept[key] = [*seen, found]
    return found


def _kept_hashes() -> dict[str, list[Any]]:
    try:
        kept = json.loads((ROOT / HASHES).read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) and all(isinstance(each, list) and len(each) == 4 for each in kept.values()) else {}


def _keep_hashes(kept: dict[str, list[Any]]) -> None:
    there = {key: each for key, each in kept.items() if os.path.exists(key)}
    (ROOT / HASHES).parent.mkdir(parents=True, exist_ok=True)
    write_whole(ROOT / HASHES, json.dumps(there, sort_keys=True).encode())


def _take(source: Path, place: Path) -> None:
    """Put the bytes of `source` at `place`: linked where the disk allows it, copied elsewhere."""
    if source.is_dir():
        shutil.copytree(source, place, copy_function=_link)
    else:
        _link(os.fspath(source), os.fspath(place))


def _clear(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, place)


def _package_of(source: Path) -> str:
    below = source.is_relative_to(ROOT / "src")
    return ".".join(source.relative_to(ROOT / "src").parts[:-1]) if below else ""


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
