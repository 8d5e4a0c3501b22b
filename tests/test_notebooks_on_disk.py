"""The stored form of notebooks: what a save without an edit may not change."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferlab.notebooks import main, stored_text, strip, strip_before_save


@pytest.fixture
def stored() -> str:
    cells = [
        new_markdown_cell("# Äußerung\n\nA question?", id="cell-000"),
        new_code_cell("run = None\nparams = None", id="cell-001", metadata={"tags": ["parameters"]}),
        new_code_cell("", id="cell-002"),
    ]
    return stored_text(json.loads(nbformat.writes(new_notebook(cells=cells))))


def executed(text: str) -> dict:
    """Return what JupyterLab sends after Run All: outputs, counts, timings, its own kernelspec, a folded cell."""
    content = json.loads(text)
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
    code = content["cells"][1]
    code["outputs"] = [new_output("stream", text="hello\n")]
    code["execution_count"] = 7
    code["metadata"] |= {"execution": {"iopub.execute_input": "2026-01-01"}, "collapsed": True, "trusted": True}
    content["metadata"] = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.11.7"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
    }
    return {"type": "notebook", "format": "json", "content": content}


def save(model: dict, folder: Path, name: str = "01_x.ipynb") -> str:
    """Save as jupyter_server does: the hook, then nbformat."""
    manager = SimpleNamespace(_get_os_path=lambda path: str(folder / path))
    strip_before_save(model=model, path=name, contents_manager=manager)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.from_dict(model["content"]), folder / name)
    return (folder / name).read_text(encoding="utf-8")


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").touch()
    return tmp_path / "notebooks"


def test_saving_an_executed_notebook_leaves_its_bytes(stored: str, notebooks: Path) -> None:
    assert save(executed(stored), notebooks) == stored


def test_an_edit_changes_the_bytes(stored: str, notebooks: Path) -> None:
    model = executed(stored)
    model["content"]["cells"][1]["source"] += "\nmore = 1"
    assert save(model, notebooks) != stored


def test_outputs_outside_the_pipeline_folder_are_kept(stored: str, tmp_path: Path) -> None:
    assert "hello" in save(executed(stored), tmp_path / "elsewhere")


def test_stored_form_is_what_nbformat_writes_and_a_fixed_point(stored: str, tmp_path: Path) -> None:
    nbformat.write(nbformat.reads(stored, as_version=4), tmp_path / "x.ipynb")
    assert (tmp_path / "x.ipynb").read_text(encoding="utf-8") == stored
    assert stored_text(json.loads(stored)) == stored


def test_ids_tags_and_pasted_pictures_survive() -> None:
    picture = {"a.png": {"image/png": "AA=="}}
    cell = new_markdown_cell("![](attachment:a.png)", id="cell-000", attachments=picture, metadata={"tags": ["cover"]})
    kept = strip(new_notebook(cells=[cell]))["cells"][0]
    assert (kept["id"], kept["metadata"], kept["attachments"]) == ("cell-000", {"tags": ["cover"]}, picture)


def test_the_command_names_then_mends_a_file(tmp_path: Path, stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(executed(stored)["content"]), encoding="utf-8")
    assert main(["--check", str(file)]) == 1
    assert "not in stored form" in capsys.readouterr().out
    assert main([str(file)]) == 0
    assert file.read_text(encoding="utf-8") == stored
    assert main(["--check", str(file)]) == 0


@pytest.mark.parametrize("content", [b"[]", b"[1]", b"\xff", b"[" * 100_000, b'{"cells": 3}', None])
def test_a_file_that_is_no_notebook_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    file = tmp_path / "a.ipynb"
    if content is not None:
        file.write_bytes(content)
    assert main([str(file)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"notebooks: {file}: ")
    assert "expected a notebook of format 4" in told
    assert told.count("\n") == 1
