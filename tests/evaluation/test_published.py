from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ferlab.evaluation.published import read_paper, read_published, rows_beside, stated_per_class
from ferlab.models import MODELS
from ferlab.paths import InputError
from ferlab.reporting.pages.compare import comparability_note

FOLDER = Path(__file__).parents[2] / "conf" / "published"
ROW = "{system: A, dataset: fer2013, split: PrivateTest, expressions: 7, n: 3589, accuracy: 0.7, note: x}"


def test_every_row_names_its_split_and_where_it_comes_from():
    rows = read_published(FOLDER)
    assert {"fers", "cs230", "cs231a", "resemotenet", "fersys", "anchors"} == set(rows["paper"])
    assert (rows["split"].str.len() > 2).all()
    assert (rows["note"].str.len() > 6).all()
    assert not rows.duplicated(["paper", "system", "dataset", "split", "expressions"]).any()


@pytest.mark.parametrize(
    ("paper", "system", "accuracy"),
    [
        ("fers", "AlexNet variant 9-7-5-3-3", 0.5509),
        ("cs230", "Five-layer model", 0.663),
        ("cs230", "Ensemble of seven", 0.758),
        ("cs231a", "LeNet, no contempt", 0.986),
        ("resemotenet", "ResEmoteNet", 0.619),
        ("fersys", "DeepFace", 0.82),
    ],
)
def test_headline_numbers_are_those_of_the_papers(paper, system, accuracy):
    rows = read_published(FOLDER)
    assert rows[(rows["paper"] == paper) & (rows["system"] == system)]["accuracy"].tolist() == [accuracy]


def test_intervals_are_wilsons_or_the_papers_own_margin():
    rows = read_published(FOLDER).set_index("system")
    assert rows.loc["Final model, webcam", "ci_low"] == pytest.approx(0.4231, abs=1e-4)  # 28 of 50
    assert tuple(rows.loc["Human level", ["ci_low", "ci_high"]]) == pytest.approx((0.6, 0.7))
    unknown = rows[rows["n"].isna() & rows["margin"].isna()]
    assert unknown["ci_low"].isna().all()


def test_a_row_whose_net_we_have_names_it_as_the_registry_does():
    named = read_published(FOLDER)["model"].dropna()
    assert {"five_layer"} <= set(named) & set(MODELS)


def test_values_per_expression_are_those_of_fersys_and_no_others():
    """Its table 2 and section 6.3.1."""
    stated = stated_per_class(read_published(FOLDER))
    assert set(stated) == {"fersys: CNN", "fersys: DeepFace"}
    values = {(s, e, m): v for s, of in stated.items() for e, measures in of.items() for m, v in measures.items() if v is not None}
    assert values == {
        ("fersys: CNN", "happy", "f1"): 0.83, ("fersys: CNN", "disgust", "f1"): 0.04,
        ("fersys: DeepFace", "fear", "f1"): 0.8931, ("fersys: DeepFace", "fear", "precision"): 0.9174,
        ("fersys: DeepFace", "surprise", "f1"): 0.9142, ("fersys: DeepFace", "angry", "f1"): 0.7666,
        ("fersys: DeepFace", "disgust", "f1"): 0.7658, ("fersys: DeepFace", "neutral", "recall"): 0.8286,
    }  # fmt: skip
    assert stated["fersys: CNN"]["happy"] == {"precision": None, "recall": None, "f1": 0.83}


@pytest.mark.parametrize(
    ("per_class", "told"),
    [
        ("{happiness: {f1: 0.8}}", "no expression is called 'happiness'"),
        ("{happy: {f2: 0.8}}", "happy.f2"),
        ("{happy: {f1: 80}}", "rows.0.per_class.happy.f1"),
    ],
)
def test_a_value_of_an_unknown_expression_or_measure_or_in_percent_is_named(tmp_path, per_class, told):
    path = tmp_path / "one.yaml"
    path.write_text(f"paper: p\ntitle: t\nrows:\n  - {ROW.replace('note: x', f'per_class: {per_class}, note: x')}\n")
    with pytest.raises(InputError, match=told):
        read_paper(path)


def ours(dataset: str, split: str, *, hollow: bool = False) -> pd.DataFrame:
    return pd.DataFrame([{"dataset": dataset, "split": split, "hollow": hollow}])


def test_beside_ours_stand_the_papers_of_our_nets_and_anchors_of_our_sets():
    published = read_published(FOLDER)
    real = rows_beside(published, datasets=["fer2013"], papers=["cs230"])
    assert set(real["paper"]) == {"cs230", "anchors"}
    assert {"human", "live"} <= set(real["kind"])
    note = comparability_note(real, ours("fer2013", "PublicTest"))
    assert f"of {len(real)} published rows were measured on the dataset of ours (fer2013), " in note
    assert f", {((real['dataset'] == 'fer2013') & (real['split'] == 'PublicTest')).sum()} on the same split;" in note
    assert f"Open circles ({(real['selected_on'] == 'test').sum() + 1})" in comparability_note(real, ours("fer2013", "PublicTest", hollow=True))
    drawn = rows_beside(published, datasets=["control"], papers=["cs230"])
    assert set(drawn["paper"]) == {"cs230"}
    assert "None of the" in comparability_note(drawn, ours("control", "test"))
    assert "Open circles" not in comparability_note(drawn[drawn["selected_on"] != "test"], ours("control", "test"))
    assert comparability_note(drawn[:0], ours("control", "test")) == "No published row belongs to these runs."


def test_a_row_without_split_or_with_an_unknown_key_is_named(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(f"paper: p\ntitle: t\nrows:\n  - {ROW.replace('split: PrivateTest, ', '')}\n")
    with pytest.raises(InputError, match=r"one.yaml: rows.0.split: field required"):
        read_paper(path)
    path.write_text(f"paper: p\ntitle: t\nrows:\n  - {ROW.replace('note: x', 'note: x, acuracy: 1')}\n")
    with pytest.raises(InputError, match=r"rows.0.acuracy"):
        read_paper(path)
    path.write_text(f"paper: p\ntitle: t\nrows:\n  - {ROW.replace('0.7', '70')}\n")
    with pytest.raises(InputError, match=r"rows.0.accuracy"):
        read_paper(path)
    path.write_text("paper: [")
    with pytest.raises(InputError, match="not YAML"):
        read_paper(path)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="restore them with git"):
        read_published(tmp_path)
