"""The committed claims, their golden verdicts, and what a reader meets who adds or breaks a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ferlab.evaluation.claims import COLUMNS, VERDICTS, audit_claims, measure_models, read_claims
from ferlab.paths import InputError

ROOT = Path(__file__).parents[3]
MADE_UP = """
paper: made_up
title: A paper that nobody wrote
claims:
  - {claim: "Forty of a hundred", where: table 9, check: difference, stated: higher, pairs: [[{hits: 90, n: 100}, {hits: 40, n: 100}]]}
  - {claim: "Ten and twenty make thirty-one", where: table 9, check: sizes, sizes: {a: 10, b: 20}, total: 31}
"""
# paper, words of the claim, words of the check -> verdict, words of the evidence: each finding that a reader of the papers has to know
GOLDEN = [
    ("cs230", "Class weights were applied", "not recomputed", "cannot be told", "Keras 2.2.5"),
    ("cs230", "score 0.3 to 0.9 points lower", "negative", "cannot be told", "Holm over 3 pairs"),
    ("cs230", "private test set", "3,589 faces", "does not hold", "27 batches of 128 hold 3,456 of 3,589"),
    ("cs230", "ensemble of seven", "members", "does not hold", "PrivateTest"),
    ("cs230", "existing publications", "positive", "cannot be told", "p = 0.564"),
    ("cs230", "baseline has 37.8M", "parameters", "cannot be told", "(fc_units 8192) 37.84M (fits)"),
    ("cs230", "five-layer model has 2.4M", "parameters", "holds", "2.44M"),
    ("cs230", "VGG16 with dense", "parameters", "does not hold", "94.42M"),
    ("cs230", "ResNet50 with dense", "parameters", "does not hold", "36.10M"),
    ("cs230", "fifth of 258", "GRIM", "does not hold", "37 of 53 [56.5, 80.5 %]"),
    ("cs230", "from 61 % to 34 %", "GRIM", "holds", "34 of 56"),
    ("cs230", "web app images kept out", "people", "does not hold", "258 images of 12 people"),
    ("cs231a", "eight expressions", "accuracy 0.972", "does not hold", "anger predicted as sadness, 1 to 0 (488 of 502 = 0.9721)"),
    ("cs231a", "eight expressions", "precision", "does not hold", "sadness 0.943 (printed 0.97)"),
    ("cs231a", "seven expressions", "accuracy 0.986", "holds", "480 of 487"),
    ("cs231a", "final model", "accuracy 0.985", "holds", "592 of 601"),
    ("cs231a", "classified as neutral", "missed face", "does not hold", "at least 200"),
    ("cs231a", "less dependent on the actors", "apart", "does not hold", "99.2 to 100.0 %"),
    ("cs231a", "final model improves live", "positive", "cannot be told", "28 of 50"),
    ("cs231a", "nearly as good as those on test", "negative", "holds", "[42.3, 68.8]"),
    ("cs231a", "Pretrained AlexNet", "not retrained", "does not hold", "4096×12544 (pretrained 4096×9216)"),
    ("cs231a", "JAFFE adds", "not recomputed", "cannot be told", "neutral"),
    ("cs231a", "precision and recall of every class", "rises", "does not hold", "fear 1 to 0.97"),
    ("fersys", "by expression", "counts of", "does not hold", "5 labels differ"),
    ("fersys", "DeepFace generalises", "not trained on", "does not hold", "a mix gives 85.1 %"),
    ("fersys", "worst Angry", "worst", "does not hold", "0.7658 (disgust)"),
    ("fersys", "best class is Fear", "best", "does not hold", "0.9142 (surprise)"),
    ("resemotenet", "62.6 %", "positive", "cannot be told", "p = 0.389"),
    ("resemotenet", "1774 happy", "counts", "holds", "PublicTest and PrivateTest"),
    ("resemotenet", "better in real time", "not recomputed", "cannot be told", "No accuracy"),
    ("fers", "65.5 %", "human accuracy", "does not hold", "null models"),
    ("fers", "0.5509", "epoch", "does not hold", "best of 13"),
    ("fers", "2048", "dense layer", "holds", "2,048"),
    ("fers", "134,915", "counts", "holds", "training faces and validation faces"),
    ("anchors", "LetheSec", "epoch", "does not hold", "best of 300"),
    ("anchors", "79.79", "agree", "does not hold", "+8.2 points"),
]


@pytest.fixture(scope="module")
def sizes() -> dict[str, dict[str, Any]]:
    return measure_models()


@pytest.fixture(scope="module")
def rows(sizes) -> pd.DataFrame:
    return audit_claims(sizes=sizes)


@pytest.mark.parametrize(("paper", "claim", "check", "verdict", "evidence"), GOLDEN)
def test_each_known_finding_is_a_row(rows, paper, claim, check, verdict, evidence):
    own = rows[(rows["paper"] == paper) & rows["claim"].str.contains(claim, regex=False) & rows["check"].str.contains(check, regex=False)]
    assert own["verdict"].tolist() == [verdict]
    assert evidence in own["evidence"].iloc[0]


def test_rows_are_short_and_name_their_place(rows):
    assert list(rows) == COLUMNS
    assert set(rows["verdict"]) == set(VERDICTS)
    assert {"fers", "cs230", "cs231a", "resemotenet", "fersys", "ferlab"} <= set(rows["paper"])
    assert (rows["evidence"].str.len() < 700).all()
    assert rows["evidence"].str.endswith(".").all()
    assert rows["claim"].str.endswith(")").all()
    assert not rows.duplicated(["paper", "claim", "check"]).any()


def test_what_is_reported_is_never_claimed_to_be_recomputed(rows):
    cited = rows[rows["check"].str.contains("not recomputed")]
    assert len(cited) >= 8
    assert set(cited["verdict"]) == {"cannot be told"}


def test_a_file_holds_numbers_and_no_verdict():
    for path in (ROOT / "conf" / "claims").glob("*.yaml"):
        assert "verdict" not in path.read_text()


def test_measured_models_give_the_same_rows_without_pytorch(rows, sizes, tmp_path):
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps(sizes))
    code = (
        "import json, sys; from pathlib import Path; from ferlab.evaluation.claims import audit_claims; "
        f"rows = audit_claims(sizes=json.loads(Path({str(path)!r}).read_text())); "
        "print(json.dumps([rows.to_dict('records'), 'torch' in sys.modules]))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env, check=True)
    assert json.loads(told.stdout) == [rows.to_dict("records"), False]


def test_a_reader_adds_a_paper_by_adding_a_file(tmp_path):
    (tmp_path / "made_up.yaml").write_text(MADE_UP)
    found = audit_claims(tmp_path)
    assert found[["paper", "verdict"]].to_numpy().tolist() == [["made_up", "holds"], ["made_up", "does not hold"]]
    assert found["claim"].tolist()[1] == "Ten and twenty make thirty-one (table 9)"
    assert "10 + 20 = 30, not 31" in found["evidence"].iloc[1]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("stated: higher", "stated: higher, verdict: holds", r"claims/made_up.yaml: claims.0: verdict: unknown key"),
        ("check: sizes", "check: size", r"made_up.yaml: claims.1.check: no check is called 'size'; did you mean 'sizes'"),
        ("total: 31", "total: many", r"made_up.yaml: claims.1: total: "),
        ("hits: 90, n: 100", "hits: 90", r"made_up.yaml: claims.0: pairs.0.0: expected `system`, or `hits` and `n`"),
        ("hits: 90, n: 100", "hits: 190, n: 100", r"made_up.yaml: claims.0: pairs.0.0: hits: expected at most n = 100"),
        ("title: A paper that nobody wrote", "", r"made_up.yaml: title: field required"),
        ("where: table 9, check: d", "check: d", r"made_up.yaml: claims.0: where: field required"),
        ("{hits: 90, n: 100}", "{system: LeNet}", r"claims: made_up: claims.0 \(difference\): conf/published has no row 'LeNet' of made_up"),
        ("claims:", "claims: [", r"made_up.yaml: not YAML"),
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path, old, new, told):
    assert old in MADE_UP
    (tmp_path / "made_up.yaml").write_text(MADE_UP.replace(old, new, 1))
    with pytest.raises(InputError, match=told) as error:
        audit_claims(tmp_path)
    assert "\n" not in str(error.value)


def test_two_files_of_one_paper_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="no claims"):
        read_claims(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(MADE_UP)
    with pytest.raises(InputError, match=r"b.yaml: paper: 'made_up' has a file already"):
        read_claims(tmp_path)


@pytest.fixture
def clone(tmp_path):
    """This project's pages and what their numbers are computed from."""
    for name in ("README.md", "docs/results.md", "src/ferlab/deployment/weights/card.json", "reports/published/fer2013_audit.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in [*(ROOT / "reports" / "published").glob("*/summary.json"), *(ROOT / "reports/published/shipped/predictions").glob("*.parquet")]:
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    (tmp_path / "claims").mkdir()
    shutil.copy(ROOT / "conf" / "claims" / "ferlab.yaml", tmp_path / "claims")
    return tmp_path


def printed(root: Path) -> pd.DataFrame:
    own = audit_claims(root / "claims", root=root)
    return own[own["evidence"].str.contains("^Stated in |has no number")]


def test_every_accuracy_of_this_projects_pages_comes_again(clone):
    own = printed(clone)
    assert len(own) >= 12
    assert "does not hold" not in set(own["verdict"])
    assert not own["evidence"].str.contains("has no number").any()
    sealed = own[own["verdict"] == "cannot be told"]
    assert sealed["claim"].str.contains("PrivateTest").all()
    assert sealed["evidence"].str.contains("not recomputed").all()


@pytest.mark.parametrize(("old", "new"), [("69.9 % [68.3, 71.3]", "70.9 % [68.3, 71.3]"), ("69.9 % [68.3, 71.3]", "69.9 % [68.4, 71.3]")])
def test_a_spoiled_number_of_the_readme_does_not_hold(clone, old, new):
    page = clone / "README.md"
    assert page.read_text().count(old) == 1
    page.write_text(page.read_text().replace(old, new))
    bad = printed(clone)
    bad = bad[bad["verdict"] == "does not hold"]
    assert bad["claim"].tolist() == ["PublicTest, flip (README.md)"]
    assert f"Stated in README.md: {new}; the committed predictions" in bad["evidence"].iloc[0]


def test_a_spoiled_number_of_the_results_page_and_a_moved_row(clone):
    page = clone / "docs" / "results.md"
    text = page.read_text()
    assert text.count("| 67.4 % [65.8, 68.9] |") == 1
    page.write_text(text.replace("| 67.4 % [65.8, 68.9] |", "| 69.4 % [65.8, 68.9] |").replace("| `compact_plain` |", "| `renamed` |"))
    own = printed(clone).set_index("claim")
    assert own.loc["cs230's five-layer model, one cycle of 60 epochs (docs/results.md)", "verdict"] == "does not hold"
    assert own.loc["compact_plain (docs/results.md)", "verdict"] == "cannot be told"
