"""How OpenCV is run, wherever faces are drawn, detected or aligned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenCV on one thread: on small pictures its threads double the CPU time and save none, and make the order of a detector's hits random."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
