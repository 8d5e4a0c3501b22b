"""README's picture is the one that its script makes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlab.reporting.site import readme_picture

ROOT = Path(__file__).parents[3]


def grey(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float32)


@pytest.mark.slow
def test_the_committed_picture_is_made_again():
    """A processor that rounds otherwise may move a colour of the maps: the mean difference counts."""
    committed = grey((ROOT / readme_picture.PICTURE).read_bytes())
    again = grey(readme_picture.picture_bytes())
    assert committed.shape == again.shape
    assert np.abs(committed - again).mean() < 0.5, "make docs makes it anew"


def test_the_readme_shows_it_with_a_text_for_those_who_do_not_see_it():
    text = (ROOT / "README.md").read_text()
    assert f"]({readme_picture.PICTURE.as_posix()})" in text
    assert len(text.partition("![")[2].partition("]")[0]) > 40
