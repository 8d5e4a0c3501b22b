"""Lets test files import the helpers that lie beside them, and begins with the files that take minutes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST = (  # begun last, one of them would run on alone
    "test_end_to_end.py",
    "browser/test_live.py",
    "test_every_setting.py",
    "live/correction/test_personalise.py",
    "test_pipeline.py",
    "test_changes.py",
    "evaluation/test_coverage.py",
    "browser/test_camera.py",
    "live/serving/test_soak.py",
    "explanation/test_worlds.py",
)
sys.path.insert(0, str(TESTS))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests alone are asked for, import no file without one: that costs each process seconds."""
    asked = config.option.markexpr == "slow" and collection_path.match("test_*.py")
    return True if asked and "mark.slow" not in collection_path.read_text() else None


@pytest.hookimpl(trylast=True)  # once those that are not asked for are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, in the order of LONGEST, then with those of most tests."""
    places, tests = {TESTS / name: place for place, name in enumerate(LONGEST)}, Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path, len(places)), -tests[item.path]))
