"""`ferlab evaluate`: what it writes, scores once, counts and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from means_model import foreign
from PIL import Image

from ferlab import evaluations
from ferlab.cli import main
from ferlab.data.store import ImageFile, write_faces
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.ledger import read_scorings
from ferlab.evaluations import Asked, evaluate
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

COUNT = 90
PARAMS = (Path(__file__).parents[1] / "params.yaml").read_text()


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder with params and one prepared set of noise, of a real dataset by name."""
    folder = tmp_path / "data" / "prepared" / "control"
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    with ImageFile(folder / "images.npy") as images:
        images.resume(0, None)
        for _ in range(COUNT):
            images.append(draws.integers(0, 256, (48, 48)).astype(np.uint8))
        images.finish()
    split = np.array(["train"] * 20 + ["test"] * (COUNT - 20))
    faces = pd.DataFrame(
        {
            "face_id": [f"jaffe/{n}" for n in range(COUNT)],
            "content_hash": [f"{n:064x}" for n in range(COUNT)],
            "duplicate_group": range(COUNT),
            "source": "jaffe",
            "source_path": "x.png",
            "usage": "all",
            "split": split,
            "target": np.arange(COUNT) % 7,
            "subject": [f"p{n % 6}" for n in range(COUNT)],
        }
    )
    gone = pd.DataFrame({"face_id": ["jaffe/a"], "source": "jaffe", "source_path": "a", "usage": "all", "reason": ["no face found"]})
    write_faces(folder, faces, expressions=EXPRESSIONS, excluded=gone)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr(evaluations, "artefact", lambda *_: folder)
    return tmp_path


def test_a_set_is_scored_once_per_result_and_stands_in_the_ledger(clone) -> None:
    ledger = clone / "ledger.csv"
    page, lines = evaluate(Asked("shipped", "control"), root=clone, ledger=ledger)
    assert page == clone / "reports" / "evaluations" / "shipped-control" / "index.html"
    again = evaluate(Asked("shipped", "control"), root=clone, ledger=ledger)[1]
    assert [(row["study"], row["run"], row["set"], row["n"]) for row in read_scorings(ledger)] == [("evaluate", "shipped", "control", "70")]
    assert "taken as they lay" in again[-1]
    assert again[:-1] == lines
    evaluate(Asked("shipped", "control", flip=True), root=clone, ledger=ledger)
    assert len(read_scorings(ledger)) == 2


def test_a_corrected_card_is_another_result(clone) -> None:
    folder = foreign(clone / "means")
    ledger, asked = clone / "ledger.csv", Asked(str(folder), "control")
    page, _ = evaluate(asked, root=clone, ledger=ledger)
    before = pd.read_parquet(page.with_name("predictions.parquet"))
    card = folder / "model.yaml"
    card.write_text(card.read_text().replace("happy: happy", "happy: sad"))
    lines = evaluate(asked, root=clone, ledger=ledger)[1]
    after = pd.read_parquet(page.with_name("predictions.parquet"))
    assert "taken" not in lines[-1]
    np.testing.assert_array_equal(after["prob_sad"], before["prob_happy"])
    assert before["prob_happy"].min() > after["prob_happy"].max()
    assert len(read_scorings(ledger)) == 2
    assert "It has no class for disgust, fear, happy, surprise and neutral: these faces count as wrong." in page.read_text()


def test_intervals_are_over_people_and_the_calibration_is_stated(clone) -> None:
    page, lines = evaluate(Asked("shipped", "control"), root=clone, ledger=clone / "ledger.csv")
    table = pd.read_parquet(page.with_name("predictions.parquet"))
    low, high = cluster_proportion((table["pred"] == table["target"]).to_numpy(), table["subject"].to_numpy(dtype=str))
    assert f" [{100 * low:.1f}, {100 * high:.1f}] of 70 faces" in lines[0]
    text = page.read_text()
    assert f"[{100 * low:.1f}, {100 * high:.1f}] of 70 faces correctly" in text
    assert f"Brackets hold 95 % intervals over {table['subject'].nunique()} subjects." in text
    assert "ECE, % (over faces)" in text
    assert "has no class" not in text
    assert "temperature 0.94, fitted on 2,800 faces (fer2013, PublicTest, deduplicated)" in text


def test_a_broken_record_is_no_result(clone) -> None:
    page, lines = evaluate(Asked("shipped", "control"), root=clone, ledger=clone / "ledger.csv")
    page.with_name("record.json").write_text("{")
    assert evaluate(Asked("shipped", "control"), root=clone, ledger=clone / "ledger.csv")[1] == lines


def test_pictures_in_no_folder_of_an_expression_are_counted(clone, tmp_path) -> None:
    for place in ("happy", "sad", "holiday", "."):
        (tmp_path / "photos" / place).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 256, (40, 40)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / place / f"p{number}.png")
    page, lines = evaluate(Asked("shipped", folder=tmp_path / "photos", whole=True, person="^(p[0-9])"), root=clone)
    said = "4 pictures lie in no folder of an expression and are not scored"
    assert said in lines
    assert f"{said}." in page.read_text()
    metrics = json.loads(page.with_name("metrics.json").read_text())
    assert (metrics["pictures"], metrics["n"]) == (4, 4)
    assert metrics["accuracy_of_all_ci_high"] == metrics["accuracy_ci_high"]  # a face in every picture: the same


def test_nothing_is_written_where_nothing_could_be_scored(clone, tmp_path) -> None:
    (tmp_path / "photos" / "happy").mkdir(parents=True)
    Image.fromarray(np.full((90, 90), 128, np.uint8)).save(tmp_path / "photos" / "happy" / "a.png")
    with pytest.raises(InputError, match="no face was found in any of 1 pictures"):
        evaluate(Asked("shipped", folder=tmp_path / "photos"), root=clone)
    assert not (clone / "reports").exists()


def test_the_page_is_self_contained_has_alt_texts_and_repeats_the_metrics(clone) -> None:
    page, lines = evaluate(Asked("shipped", "control"), root=clone, ledger=clone / "ledger.csv")
    metrics, text = json.loads(page.with_name("metrics.json").read_text()), page.read_text()
    table = pd.read_parquet(page.with_name("predictions.parquet"))
    assert metrics["accuracy"] == pytest.approx((table["pred"] == table["target"]).mean(), abs=1e-6)
    assert (metrics["n"], metrics["not_found"], metrics["pictures"], metrics["role"]) == (70, 1, 91, "untouched")
    assert f"{100 * metrics['accuracy']:.1f} %" in lines[0]
    assert "1 of the set's 91 pictures were excluded in preparation" in " ".join(lines)
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert all(len(alt) > 20 for alt in re.findall(r'alt="([^"]*)"', text))
    assert text.count("<img") == 3
    for heading in ("Accuracy", "Confusions", "Expressions", "Calibration", "Possible biases"):
        assert f"<h2>{heading}</h2>" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shipped"], "expected --set NAME or --folder PHOTOS, and not both"),
        (["shipped", "--set", "contrl"], "no set is called 'contrl'; did you mean 'control'"),
        (["nosuch", "--set", "control"], "nosuch: no model; expected shipped, five_layer"),
        (["shipped", "--set", "control", "--csv", "labels.csv"], "--csv is of photographs (--folder)"),
        (["shipped", "--set", "control", "--whole"], "--whole is of photographs (--folder)"),
        (["shipped", "--folder", "/no/such/folder"], "no such folder; expected one of photographs"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_one_line(arguments, told, capsys) -> None:
    assert main(["evaluate", *arguments]) == 1
    assert told in capsys.readouterr().err
