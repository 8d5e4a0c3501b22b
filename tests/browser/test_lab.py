"""JupyterLab as `make lab` starts it: run all cells and save, and a pipeline notebook's bytes stay; edit, and they change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_browser import serve_lab
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ferlab.notebooks import stored_text

pytestmark = [pytest.mark.slow, pytest.mark.browser]

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "for-this-test"
NOTEBOOK = "notebooks/01_light.ipynb"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a small checkout: dvc.yaml, our Jupyter settings, the sources, one light notebook."""
    root = tmp_path / "workspace"
    (root / "notebooks").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    shutil.copytree(REPOSITORY / "conf" / "jupyter", root / "conf" / "jupyter", ignore=shutil.ignore_patterns("lab", "migrated"))
    (root / "src").symlink_to(REPOSITORY / "src")
    cells = [
        new_markdown_cell("# Light", id="cell-000"),
        new_code_cell("run = None", id="cell-001", metadata={"tags": ["parameters"]}),
        new_code_cell("from ferlab.paths import ROOT\n\nprint('root is', ROOT.name)", id="cell-002"),
    ]
    (root / NOTEBOOK).write_text(stored_text(new_notebook(cells=cells)))
    return root


@pytest.fixture
def lab(workspace: Path) -> Iterator[str]:
    """Start JupyterLab on a free port of the loopback, as `make lab` does; return its address."""
    with serve_lab(workspace, token=TOKEN) as address:
        yield address


def _save(page, path: Path) -> bytes:
    """Save with the keyboard, wait until the file was written, return its bytes."""
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    for _ in range(120):
        if path.stat().st_mtime_ns != before:
            page.wait_for_timeout(500)
            return path.read_bytes()
        page.wait_for_timeout(250)
    return pytest.fail("the notebook was not saved")


def test_running_and_saving_leaves_the_bytes_and_an_edit_changes_them(browser, lab, workspace) -> None:
    path = workspace / NOTEBOOK
    stored = path.read_bytes()
    with browser.new_context(viewport={"width": 1366, "height": 768}) as context:
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(f"{lab}/lab/tree/{NOTEBOOK}?token={TOKEN}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("| Idle").wait_for()  # before that, running asks which kernel to take
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.get_by_text("root is workspace").wait_for()  # the kernel imports ferlab and finds the root from notebooks/
        assert _save(page, path) == stored
        assert page.get_by_text("root is workspace").is_visible()  # the reader keeps the outputs on screen

        page.locator(".jp-CodeCell .cm-content").last.click()
        page.keyboard.type("# edited")
        edited = _save(page, path)
    assert edited != stored
    assert not [cell for cell in json.loads(edited)["cells"] if cell.get("outputs")]
