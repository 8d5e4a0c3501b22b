"""The version of ferlab. pyproject.toml states it; an installed package repeats it in its metadata."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def ferlab_version() -> str:
    """Return the version of the code that runs: of its clone, which may be on PYTHONPATH uninstalled, else of the installed package."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        known = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if known.get("name") == "ferlab":
            return str(known["version"])
    try:
        return version("ferlab")
    except PackageNotFoundError:  # copied files, without metadata
        return "unknown"
