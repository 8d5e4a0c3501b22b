"""On control faces a map of the truth has mass 1 and is believed, a uniform one has the mass of its area, and counts decide what is undecided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferlab import control
from ferlab.control import carrying_mask
from ferlab.data.faces import missing_truth
from ferlab.data.preparation.steps import prepared_as
from ferlab.data.regions import REGIONS, template_masks
from ferlab.data.store import Store
from ferlab.explanation import explained
from ferlab.explanation.baselines import baseline_maps
from ferlab.explanation.control_truth import (
    BELIEVED,
    FEWEST,
    NOT_BELIEVED,
    UNDECIDED,
    compare_regions,
    compare_with_truth,
    ground_truth_mass,
    iou,
    judge_methods,
    true_masks,
)
from ferlab.expressions import EXPRESSIONS
from ferlab.params import Prepare

NEUTRAL = EXPRESSIONS.index("neutral")


def prepared(face: dict[str, str]) -> dict[str, Any]:
    """Return what a dataset records of its preparation."""
    steps = {"size": 48, "colour": "as_is", "equalise": "clahe", "blur": 0}
    return prepared_as(Prepare(dataset="control", face=face).face.model_dump(), **steps, shape=(48, 48))


PLAIN = prepared({})


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, pd.DataFrame]:
    return control.read(faces=56, subjects=28, seed=2)


def test_map_of_the_truth_falls_on_the_ground_truth_pixels_and_a_uniform_one_on_their_area(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = drawn
    truth = control.carrying_mask(faces, size=48)
    maps = {"truth": truth.astype(float), "uniform": np.ones(truth.shape)}
    table = ground_truth_mass(faces, maps=maps, classes=faces["target"].to_numpy(), expressions=EXPRESSIONS).set_index(["method", "expression"])
    assert table.loc["truth", "mass"].to_numpy() == pytest.approx(1.0)
    assert table.loc["uniform", "density_ratio"].to_numpy() == pytest.approx(1.0)
    assert "neutral" not in table.loc["truth"].index
    assert table.loc[("truth", "all"), "n"] == (faces["target"] != NEUTRAL).sum()


def test_faces_of_class_minus_one_are_excluded(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = drawn
    classes = np.where(faces["target"] == 3, 3, -1)
    table = ground_truth_mass(faces, maps=baseline_maps(images), classes=classes, expressions=EXPRESSIONS)
    assert set(table["expression"]) == {"happy", "all"}
    assert set(table["n"]) == {int((faces["target"] == 3).sum())}


def test_the_area_is_that_of_the_faces_whose_maps_count(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = control.carrying_mask(drawn[1], size=48)
    uniform = np.ones(truth.shape)
    uniform[:40] = 0  # these maps are zero everywhere
    table = ground_truth_mass(drawn[1], maps={"uniform": uniform}, classes=drawn[1]["target"].to_numpy(), expressions=EXPRESSIONS)
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


def test_iou_equals_the_hand_counted_overlap() -> None:
    template = np.array([[True, True, False], [False, False, False]])
    truth = np.array([[[True, True, False], [False, False, False]], [[False, True, True], [True, False, False]], np.zeros((2, 3), bool)])
    np.testing.assert_allclose(iou(template, truth), [1.0, 1 / 4, 0.0])


def test_rest_is_what_no_true_region_covers(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    masks = true_masks(drawn[1], size=48)
    named = np.logical_or.reduce([masks[region] for region in REGIONS if region != "rest"])
    np.testing.assert_array_equal(masks["rest"], ~named)


def test_only_tables_of_control_faces_have_a_truth(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = drawn
    known = {"maps": {"flat": np.ones((56, 48, 48))}, "template": template_masks((48, 48)), "classes": faces["target"], "expressions": EXPRESSIONS}
    known |= {"preparation": PLAIN}
    found = compare_with_truth(faces, images, **known)
    assert list(found) == ["regions", "ground_truth", "verdict"]
    assert set(found["ground_truth"]["method"]) == {"flat", "random", "centre", "edges"}
    assert compare_with_truth(faces.assign(source=["fer2013"] + ["control"] * 55), images, **known) == {}


@pytest.mark.parametrize("face", [{"detector": "haar"}, {"boxes": "boxes.csv"}, {"align": "eyes"}])
def test_control_faces_that_were_moved_have_no_truth(drawn: tuple[np.ndarray, pd.DataFrame], face: dict[str, str]) -> None:
    images, faces = drawn
    maps, moved = np.random.default_rng(0).random((56, 48, 48)), prepared(face)
    known = {"maps": {"noise": maps}, "template": template_masks((48, 48)), "classes": faces["target"], "expressions": EXPRESSIONS}
    assert compare_with_truth(faces, images, preparation=moved, **known) == {}
    for preparation, truth in ((PLAIN, {"truth"}), (moved, set())):
        store = Store(images=images, faces=faces, expressions=EXPRESSIONS, preparation=preparation)
        assert set(explained._masses(store, np.arange(9), maps={"noise": maps[:9]})["method"]) == {"noise"} | truth


def test_copies_of_control_faces_have_no_truth(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    copied = drawn[1].assign(derived_from=[""] * 55 + ["control/0000001"])
    assert missing_truth(copied, PLAIN) == "some are mirrored or turned copies, whose ground-truth pixels are not drawn"
    assert missing_truth(copied.head(55), PLAIN) == ""


@pytest.mark.parametrize("face", [{}, {"align": "eyes"}])
def test_the_page_prepare_lights_the_pixels_of_faces_as_they_were_drawn(drawn: tuple[np.ndarray, pd.DataFrame], face: dict[str, str]) -> None:
    notebook = json.loads(Path(__file__).parents[2].joinpath("notebooks", "01_prepare.ipynb").read_text())
    imports, lit = ("".join(cell["source"]) for cell in notebook["cells"] if cell["id"] in ("cell-002", "cell-019"))
    shown: list[str] = []
    store = Store(images=drawn[0], faces=drawn[1], expressions=EXPRESSIONS, preparation=prepared(face))
    names = {"store": store, "faces": drawn[1], "train": drawn[1], "drawn": True}
    exec(imports, names)
    exec(lit, names | {"show": lambda figure, alt: shown.append(alt)})
    assert len(shown) == (not face)


def judge(drawn: tuple[np.ndarray, pd.DataFrame], maps: dict[str, np.ndarray], *, right: np.ndarray | None = None) -> pd.DataFrame:
    images, faces = drawn
    classes = faces["target"].to_numpy() if right is None else np.where(right, faces["target"], -1)
    return judge_methods(faces, maps=maps, baselines=baseline_maps(images), classes=classes).set_index("method")


def true_maps(drawn: tuple[np.ndarray, pd.DataFrame]) -> np.ndarray:
    """The ground-truth pixels as maps; a neutral face has none, its map is flat, so that it is not zero everywhere."""
    truth = control.carrying_mask(drawn[1], size=48) * 1.0
    truth[~truth.any(axis=(1, 2))] = 1.0
    return truth


def test_the_truth_is_believed_its_opposite_and_a_flat_map_are_not(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = control.carrying_mask(drawn[1], size=48)
    judged = judge(drawn, {"truth": true_maps(drawn), "opposite": ~truth * 1.0, "flat": np.ones(truth.shape)})
    assert judged["verdict"].to_dict() == {"truth": BELIEVED, "opposite": NOT_BELIEVED, "flat": NOT_BELIEVED}
    moving = truth.any(axis=(1, 2))
    assert judged.loc["truth", "n"] == moving.sum()
    assert judged.loc["truth", "ratio"] == pytest.approx(1 / truth[moving].mean())  # all mass on the truth, by its area
    assert judged.loc["flat", "ratio"] == pytest.approx(1)
    assert judged.loc["flat", "baseline"] == "centre"


def test_a_method_whose_maps_are_often_zero_is_not_believed(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    some, many = true_maps(drawn), true_maps(drawn)
    some[:2], many[:28] = 0, 0
    judged = judge(drawn, {"some": some, "many": many})
    assert judged["verdict"].to_dict() == {"some": BELIEVED, "many": NOT_BELIEVED}
    assert judged[["zero", "maps"]].loc["many"].tolist() == [28, 56]
    assert judged.loc["many", "n"] < judged.loc["some", "n"]
    assert judged.loc["many", "baseline_ratio"] != judged.loc["some", "baseline_ratio"]  # the baseline is asked on the same faces


def test_too_few_maps_or_an_interval_over_zero_decide_nothing(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    truth = true_maps(drawn)
    few = judge(drawn, {"truth": truth}, right=np.arange(len(truth)) < FEWEST - 4)
    assert few.loc["truth", "verdict"] == UNDECIDED
    none = judge(drawn, {"truth": truth}, right=np.zeros(len(truth), bool))
    assert (none.loc["truth", "verdict"], none.loc["truth", "n"]) == (UNDECIDED, 0)
    blob = judge(drawn, {"blob": 3 * baseline_maps(drawn[0])["centre"]}).loc["blob"]  # as good as the baseline, for it is the baseline
    assert (blob["verdict"], blob["ahead"]) == (UNDECIDED, pytest.approx(0))


def test_subjects_are_resampled_whole(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    images, faces = drawn
    noise = np.random.default_rng(0).random((56, 48, 48)) ** 4
    one = judge((images, faces.assign(subject="s1")), {"m": noise}).loc["m"]
    assert np.isnan([one["ratio_ci_low"], one["ratio_ci_high"]]).all()  # of one subject every resample is the same
    assert one["verdict"] == UNDECIDED
    twice = (np.concatenate([images] * 2), pd.concat([faces] * 2).assign(face_id=range(112)))
    whole, copied = judge((images, faces), {"m": noise}).loc["m"], judge(twice, {"m": np.concatenate([noise] * 2)}).loc["m"]
    assert copied["ratio_ci_low"] == pytest.approx(whole["ratio_ci_low"])  # twice the faces of the same subjects tell nothing more


def test_a_map_that_is_the_same_for_a_class_is_not_ahead_of_its_class_s_mean(drawn: tuple[np.ndarray, pd.DataFrame]) -> None:
    _, faces = drawn
    masks = carrying_mask(faces, size=48).astype(float)
    own = judge(drawn, {"own": masks}).loc["own"]
    assert own["own_ci_low"] > 0
    target = faces["target"].to_numpy()
    mean = np.stack([masks[target == cls].mean(axis=0) for cls in target])
    assert judge(drawn, {"mean": mean}).loc["mean", "own"] == pytest.approx(0, abs=1e-9)
