"""On control faces a map made of the truth scores 1, a uniform one its area, and the template its printed overlap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab import control
from ferlab.explanation.control_truth import carrying_shares, compare_regions, is_control, reference_maps, true_masks
from ferlab.explanation.regions import REGIONS, iou, template_masks
from ferlab.expressions import EXPRESSIONS

NEUTRAL = EXPRESSIONS.index("neutral")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, pd.DataFrame]:
    return control.read(faces=28, subjects=14, seed=2)


def test_map_of_the_truth_falls_on_the_carrying_pixels_and_a_uniform_one_on_their_area(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = drawn
    truth = control.carrying_mask(faces, size=48)
    maps = {"truth": truth.astype(float), "uniform": np.ones(truth.shape)}
    table = carrying_shares(faces, maps=maps, classes=faces["target"].to_numpy(), expressions=EXPRESSIONS).set_index(["method", "expression"])
    assert table.loc["truth", "share"].to_numpy() == pytest.approx(1.0)
    assert table.loc["uniform", "density_ratio"].to_numpy() == pytest.approx(1.0)
    assert "neutral" not in table.loc["truth"].index
    assert table.loc[("truth", "all"), "n"] == (faces["target"] != NEUTRAL).sum()


def test_faces_of_class_minus_one_are_excluded(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = drawn
    classes = np.where(faces["target"] == 3, 3, -1)
    table = carrying_shares(faces, maps=reference_maps(images), classes=classes, expressions=EXPRESSIONS)
    assert set(table["expression"]) == {"happy", "all"}
    assert set(table["n"]) == {int((faces["target"] == 3).sum())}


def test_the_area_is_that_of_the_faces_whose_maps_count(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = control.carrying_mask(drawn[1], size=48)
    uniform = np.ones(truth.shape)
    uniform[:20] = 0  # these maps are zero everywhere
    table = carrying_shares(drawn[1], maps={"uniform": uniform}, classes=drawn[1]["target"].to_numpy(), expressions=EXPRESSIONS)
    assert table["density_ratio"].to_numpy() == pytest.approx(1.0)


def test_regions_are_compared_with_their_own_truth(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = drawn
    truth, template = true_masks(faces, size=48), template_masks((48, 48))
    assert tuple(truth) == REGIONS
    table = compare_regions(template, truth, maps={"mouth": truth["mouth"].astype(float)}).set_index("region")
    assert table.loc["mouth", "mouth_true"] == pytest.approx(1.0)
    assert 0.1 < table.loc["mouth", "mouth_template"] < 1.0
    assert table.loc["eyes", "iou"] == pytest.approx(iou(template["eyes"], truth["eyes"]).mean())
    assert table.loc["mouth", "area_true"] == pytest.approx(truth["mouth"].mean())
    assert table.loc["rest", "area_template"] == pytest.approx(template["rest"].mean())


def test_reference_maps_know_the_middle_and_the_edges() -> None:
    images = np.zeros((1, 48, 48), np.uint8)
    images[:, :, 24:] = 200
    maps = reference_maps(images)
    assert np.unravel_index(maps["centre"][0].argmax(), (48, 48)) in {(23, 23), (23, 24), (24, 23), (24, 24)}
    np.testing.assert_allclose(maps["centre"], maps["centre"][:, ::-1, ::-1])
    assert set(np.argsort(maps["edges"][0].sum(axis=0))[-2:]) == {23, 24}


def test_only_tables_of_control_faces_have_a_truth(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    assert is_control(drawn[1])
    assert not is_control(drawn[1].assign(source=["fer2013"] + ["control"] * 27))
