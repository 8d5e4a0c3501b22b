"""docs/: what is written from the code agrees with it, and what a reader types does what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from ferlab import documents
from ferlab.control.layouts import draw_layout
from ferlab.data.readers.reading import read_source
from ferlab.reporting.site.sources import DOCUMENTS, document_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def executed(page: Path, folder: Path) -> list[str]:
    """Execute the page's blocks of sh and python in a folder, in their order; return what each prints."""
    scripts = folder / "bin"
    scripts.mkdir()
    (scripts / "ferlab").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ferlab.cli "$@"\n')
    (scripts / "ferlab").chmod(0o755)
    programs = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": programs, "PYTHONPATH": str(ROOT / "src")}
    told = []
    for language, text in re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        command = ["bash", "-euc", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        told.append(done.stdout)
    return told


def test_the_pages_written_from_the_code_are_current():
    assert (ROOT / documents.API).read_text() == documents.api_page(ROOT), "make docs writes it anew"
    studies = (ROOT / documents.STUDIES).read_text()
    assert documents.with_table(studies, documents.studies_table(ROOT)) == studies, "make docs writes it anew"


def test_a_changed_docstring_and_signature_change_the_page(tmp_path):
    shutil.copytree(ROOT / "src" / "ferlab", tmp_path / "src" / "ferlab", ignore=shutil.ignore_patterns("static", "weights", "__pycache__"))
    source = tmp_path / "src" / "ferlab" / "models" / "create.py"
    text = source.read_text().replace("Return the number of trainable parameters.", "Count them.")
    source.write_text(text.replace("count_parameters(module: nn.Module)", "count_parameters(module: nn.Module, *, all: bool = False)"))
    page = documents.api_page(tmp_path)
    assert "Count them." in page
    assert "count_parameters(module: nn.Module, *, all: bool = False) -> int" in page


def test_sections_of_a_docstring_become_lists():
    text = "Do it.\n\nArgs:\n    n: How\n        often: twice.\n    **more: The rest.\n\nReturns:\n    A row: of two.\n\n>>> 1\n1"
    assert documents.docstring_markdown(text) == (
        "Do it.\n\n*Args*\n\n- `n`: How often: twice.\n- `**more`: The rest.\n\n*Returns*\n\n- A row: of two.\n\n```pycon\n>>> 1\n1\n```\n"
    )


def test_the_site_has_a_title_for_every_page():
    assert set(DOCUMENTS) == {path.stem for path in DOCS.glob("*.md")}


def test_the_site_names_what_lies_outside_docs_and_shows_no_comments():
    text = "# A\n\n<!-- studies -->\n\n[one](../reports/one.md), [two](two.md)\n\n<!-- end -->\n\nlast\n"
    assert document_text(text) == "# A\n\none (`reports/one.md`), [two](two.md)\n\nlast\n"


def test_the_glossary_is_sorted_and_names_each_term_once():
    terms = re.findall(r"^\*\*(.+?)\*\*", (DOCS / "glossary.md").read_text(), flags=re.MULTILINE)
    assert len(terms) > 20
    assert terms == sorted(set(terms), key=str.lower)


@pytest.mark.slow
def test_the_tour_does_what_it_says(tmp_path):
    for name in ("conf", "params.yaml", "dvc.yaml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    predicted, in_python, drawn, listed, captured = executed(DOCS / "tour.md", tmp_path)
    assert "photo.jpg" in predicted
    assert in_python.startswith("(")
    assert drawn.startswith("(48, 48) {")
    assert "worlds" in listed
    assert "params.yaml now holds study quick" in listed
    assert "captured: data/raw/collected: holds CONTROL_FACES.txt" in captured


@pytest.mark.slow
def test_the_readmes_command_and_python_predict(tmp_path):
    shutil.copy(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg", tmp_path / "photo.jpg")
    predicted, in_python = executed(ROOT / "README.md", tmp_path)
    assert "neutral" in predicted
    assert "'neutral'" in in_python


@pytest.mark.parametrize("layout", ["ferplus", "ckplus", "jaffe", "class_folders", "captured"])
def test_the_folders_of_the_page_of_datasets_are_those_that_its_reader_reads(layout, tmp_path):
    text = (DOCS / "datasets.md").read_text()
    folder, listed = re.search(rf"^`ferlab draw {layout} (\S+)`.*?```text\n(.*?)```", text, flags=re.MULTILINE | re.DOTALL).groups()
    draw_layout(layout, tmp_path / folder, subjects=3, each=1, **({"size": 48} if layout == "ckplus" else {}))
    assert [path for path in listed.splitlines() if not (tmp_path / path).is_file()] == []
    pictures, faces = read_source(layout, tmp_path / folder)
    assert len(pictures) == len(faces) > 0
