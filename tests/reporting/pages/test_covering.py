"""The prepare page of a dataset with covered regions: area, outline, faces before and after."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ferlab.data.preparation.steps import Preparation
from ferlab.data.regions import Registration, cover_regions, template_masks
from ferlab.data.store import Store
from ferlab.reporting.pages.covering import covered_figure, covered_sentence

NAMES = tuple("abcdefg")
PLACED = Registration(shift_y=1 / 48, correlation=0.8, found=True)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)


@pytest.fixture
def faces() -> pd.DataFrame:
    return pd.DataFrame({"face_id": [f"a/{number}" for number in range(8)], "target": np.arange(8) % 7})


def test_area_and_placement_are_reported_and_nothing_where_none_is_covered(pictures: np.ndarray, faces: pd.DataFrame) -> None:
    preparation = {"cover": ["rest", "nose"], "placement": vars(PLACED)}
    said = covered_sentence(Store(images=pictures, faces=faces, expressions=NAMES, preparation=preparation))
    masks = template_masks((48, 48), PLACED)
    area = 100 * (masks["rest"] | masks["nose"]).mean()
    assert f"the rest and the nose, {area:.1f} % of the frame" in said
    assert "1.0 px down" in said
    assert covered_sentence(Store(images=pictures, faces=faces, expressions=NAMES)) == ""


def test_the_figure_shows_each_face_before_and_after(pictures: np.ndarray, faces: pd.DataFrame) -> None:
    stored = cover_regions(pictures, ["mouth"], placed=PLACED)
    store = Store(images=stored, faces=faces, expressions=NAMES, preparation={"cover": ["mouth"], "placement": vars(PLACED)})
    raw = SimpleNamespace(gathered=SimpleNamespace(faces=faces, pictures=pictures), preparation=Preparation())
    figure = covered_figure(store, raw)["figure"]  # type: ignore[arg-type]
    above, below = figure.axes[:6], figure.axes[6:]
    for one, other in zip(above, below, strict=True):
        whole, covered = one.images[0].get_array(), other.images[0].get_array()
        row = next(number for number in range(8) if np.array_equal(pictures[number], whole))
        np.testing.assert_array_equal(covered, stored[row])
        assert one.collections  # the outline
        assert one.get_title() == NAMES[faces["target"][row]]
    gone = SimpleNamespace(gathered=SimpleNamespace(faces=faces.assign(face_id="b"), pictures=pictures), preparation=Preparation())
    assert not covered_figure(store, gone)["figure"].axes[0].images  # type: ignore[arg-type]
