"""ferlab: a reproducible research workspace for facial expression recognition (FER)."""

from __future__ import annotations

from importlib import import_module


def __getattr__(name: str) -> str:
    """Return `__version__`, read when it is asked for.

    Keep: by name; every result's code includes this file and what it imports, and a new version makes no result stale.
    """
    if name == "__version__":
        return str(import_module("ferlab.version").ferlab_version())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
