"""The code that each stage depends on, file by file, written into dvc.yaml: `make deps`, or `python -m ferlab.dependencies`.

DVC needs the files by name. Their lists are the import closures of the notebooks, so nobody edits them; everything else of dvc.yaml is
written by hand and stays as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ferlab.data.readers.registry import READERS
from ferlab.hashes import import_closure
from ferlab.params import Worlds
from ferlab.paths import NOTEBOOKS, ROOT, RUN_STAGES, write_whole
from ferlab.results import LOCK, SHIPPED_CARD, SHIPPED_MODEL, STAGES, claimed_families

DVC_YAML = ROOT / "dvc.yaml"
CREATE = "src/ferlab/models/create.py"  # it opens the file of the run's family by name


def main() -> int:
    """Write the lists of dvc.yaml anew; return the exit status."""
    write_whole(DVC_YAML, rewritten(DVC_YAML.read_text()).encode())
    return 0


def code_of(stage: str) -> list[str]:
    """Return the notebook, the ferlab files and the pinned packages of a stage, relative to the clone's root, sorted."""
    if stage == "report":
        return [LOCK, *_relative(import_closure(ROOT / "src" / "ferlab" / "reporting" / "site" / "build.py"))]
    # The readers are named by string in data/readers/registry.py.
    readers = [reader.split(":")[0].removeprefix("ferlab.") for reader in READERS.values()] if stage == "prepare" else []
    code = _relative(import_closure(ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb", modules=readers))
    if stage in RUN_STAGES and (STAGES[stage].card or CREATE in code):
        shared = ("models/cards/__init__", "models/descriptors", "models/graphs", "models/layers")  # all that families may share
        own = ("models/${item.family}", "models/cards/${item.family}", *shared)
        code += [f"src/ferlab/{module}.py" for module in own]
    if stage == "frame":
        code.append(SHIPPED_MODEL)
    if stage == "claims":  # models are opened by the family that a claim names
        code.append(SHIPPED_CARD)
        families = sorted(claimed_families())
    if stage == "worlds":
        families = [Worlds().family]
    if stage in ("claims", "worlds"):
        code += _relative(import_closure(modules=[f"models.{module}" for family in families for module in (family, f"cards.{family}")]))
    return sorted({LOCK, *code})


def rewritten(text: str) -> str:
    """Return dvc.yaml's text with the code of every stage that has a notebook, and of the report, listed as it is today."""
    for stage in (*NOTEBOOKS, "report"):
        head, found, rest = text.partition(f"\n  {stage}:\n")
        body, end = (rest[: m.start()], rest[m.start() :]) if (m := re.search(r"^  \w", rest, flags=re.MULTILINE)) else (rest, "")
        text = head + found + _with_code(body, code_of(stage)) + end
    return text


def _with_code(body: str, code: list[str]) -> str:
    """Put `code` where the first file of code stands in a stage's `deps`."""
    lines = body.splitlines(keepends=True)
    listed = [number for number, line in enumerate(lines) if re.match(rf" +- (src|notebooks)/| +- {LOCK}$", line)]
    indent = lines[listed[0]].partition("-")[0]
    kept = [line for number, line in enumerate(lines) if number not in listed]
    kept[listed[0] : listed[0]] = [f"{indent}- {path}\n" for path in code]
    return "".join(kept)


def _relative(paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


if __name__ == "__main__":
    sys.exit(main())
