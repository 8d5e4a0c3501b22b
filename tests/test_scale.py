"""docs/scale.md: its numbers are those of reports/published/scale.json."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests" / "bench"
PAGE = ROOT / "docs" / "scale.md"


def script(name: str) -> ModuleType:
    """Return a script of tests/bench as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published() -> dict:
    return json.loads((ROOT / "reports" / "published" / "scale.json").read_text())


def test_the_pages_tables_are_those_of_the_measured_numbers() -> None:
    tables, page = script("scale_tables"), PAGE.read_text()
    marks = re.findall(r"^<!-- (\w+) -->$", page, flags=re.MULTILINE)
    assert marks == [mark for part in tables.TABLES if part in published() for mark in (part, "end")]
    assert tables.rewritten(page, published()) == page


def test_a_number_that_moves_moves_on_the_page() -> None:
    moved = published()
    moved["growth"]["store"]["sizes"][0]["cpu"] += 1
    assert script("scale_tables").rewritten(PAGE.read_text(), moved) != PAGE.read_text()


def test_exponents_are_the_slopes_of_what_was_measured() -> None:
    for work in script("scale_tables").WORKS.keys() & published()["growth"].keys():
        of = published()["growth"][work]
        sizes = of["sizes"][1:] if len(of["sizes"]) > 2 else of["sizes"]
        for cost, exponent in of["exponents"].items():
            slope = np.polyfit(np.log([each["n"] for each in sizes]), np.log([each[cost] for each in sizes]), 1)[0]
            assert exponent == pytest.approx(slope, abs=1e-9)
