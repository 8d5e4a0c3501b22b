"""Every table that a notebook of the pipeline shows has a caption, by the code that makes it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).parents[3]
# `protocol.by_task` gives each part of the first a caption; the others write files.
OTHERS = {"runs_table", "markdown_table", "write_tables"}


def called(node: ast.AST) -> set[str]:
    """Return the names of the functions that code calls or passes on."""
    return {each.attr if isinstance(each, ast.Attribute) else each.id for each in ast.walk(node) if isinstance(each, ast.Attribute | ast.Name)}


def test_tables_of_notebooks_have_captions() -> None:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "src" / "ferlab" / "reporting").rglob("*.py") if path.parent.name != "site"]
    calls = {each.name: called(each) for tree in trees for each in tree.body if isinstance(each, ast.FunctionDef)}
    told = {"captioned"}
    while more := {name for name, names in calls.items() if names & told} - told:
        told |= more
    cells = [cell for path in (ROOT / "notebooks").glob("[01]*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    shown = {name for source in code for name in called(ast.parse(source))} & calls.keys()
    tables = {name for name in shown if name.endswith(("_table", "_tables"))}
    assert len(tables) > 30
    assert tables - told == OTHERS
