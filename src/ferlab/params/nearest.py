"""The known word that somebody meant."""

from __future__ import annotations

import difflib
from typing import Any


def nearest(word: str, known: Any) -> str:
    """Return "did you mean ...?" for the known word nearest to a misspelt one, or the list of what is known."""
    match = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(map(str, known)) or 'none'}"
