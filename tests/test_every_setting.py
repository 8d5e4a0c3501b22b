"""Pages of a small study under every setting that decides what a split is to a run, rendered for real: what they must say and must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from test_end_to_end import call, make_clone

STUDY = """
prepare:
  control:
    dataset: control
    raw: data/raw/README.md
    options: {faces: 210, subjects: 28, size: 48, seed: 0, duplicates: 0.05}
    val_fraction: 0.2
    test_fraction: 0.25
    seed: 0
train: {epochs: 2, batch_size: 64}
runs:
  chosen: {family: cs230, model: five_layer, data: control, seed: 0, group: chosen}
  chosen_seed1: {family: cs230, model: five_layer, data: control, seed: 1, group: chosen}
  refitted: {family: cs230, model: five_layer, data: control, seed: 0, group: refitted, train: {refit: true}}
  peeking: {family: cs230, model: five_layer, data: control, seed: 0, group: peeking, train: {select: test}}
  whole: {family: cs230, model: five_layer, data: control, seed: 0, group: whole, train: {select: none}}
evaluate: {bootstrap: 100}
robustness: {faces: 8}
"""
TRAINING, BIASED = "Scores on val are training scores.", "Scores on {} describe the best of several epochs and are optimistically biased."
# run -> roles of val and test, as its metrics must hold them
ROLES = {
    "chosen": ("selected_on", "untouched"),
    "refitted": ("trained", "untouched"),
    "peeking": ("untouched", "selected_on"),
    "whole": ("trained", "untouched"),
}
pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = make_clone(tmp_path_factory.mktemp("every") / "clone")
    (folder / "conf" / "study" / "every.yaml").write_text(STUDY)
    call(folder, "ferlab.cli", "study", "every")
    for stage in ("prepare", "audit"):
        call(folder, "ferlab.pipeline", stage, "--set", "control")
    for run in (*ROLES, "chosen_seed1"):
        for stage in ("train", "evaluate", "robustness", *(["analyze_errors"] if run in ROLES else [])):
            call(folder, "ferlab.pipeline", stage, "--run", run)
    call(folder, "ferlab.pipeline", "compare")
    return folder


def page(clone: Path, stage: str, name: str = "") -> str:
    """All prose and all that was printed on a page, figures' alt texts among it."""
    stem = next(path.stem for path in (clone / "notebooks").glob(f"0*_{stage}.ipynb"))
    notebook = json.loads((clone / "reports" / "notebooks" / f"{stem}{f'-{name}' * bool(name)}.ipynb").read_text())
    return "\n".join(part for cell in notebook["cells"] for part in told(cell))


def told(cell: dict) -> list[str]:
    if cell["cell_type"] == "markdown":
        return ["".join(cell["source"])]
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        parts += ["".join(data[kind]) for kind in ("text/markdown", "text/html") if kind in data][:1]
        parts += [of["alt"] for of in output.get("metadata", {}).values() if isinstance(of, dict) and "alt" in of]
    return parts


def metrics(clone: Path, stage: str, run: str) -> dict:
    return json.loads((clone / "reports" / "metrics" / stage / f"{run}.json").read_text())


def test_every_page_of_a_run_says_what_it_has_seen_of_each_split(clone):
    for run, (val, test) in ROLES.items():
        pages = {stage: page(clone, stage, run) for stage in ("train", "evaluate")}
        for text in pages.values():
            assert (TRAINING in text) is (val == "trained"), run
            assert (BIASED.format("val") in text) is (val == "selected_on"), run
            assert (BIASED.format("test") in text) is (test == "selected_on"), run
            assert "came to rest" not in text
        assert ("do not compare" in pages["evaluate"]) is (val == "trained")
        assert ("The training page reports the val accuracy without augmentation" in pages["evaluate"]) is (val == "selected_on")


def test_epochs_compared_on_test_stand_under_test_and_nowhere_under_val(clone):
    for run in ROLES:
        history = pd.read_csv(clone / "models" / run / "history.csv")
        assert ("test_accuracy" in history) is (run == "peeking")
        assert history["val_accuracy"].notna().any() == (run in ("chosen", "refitted"))
        trained = metrics(clone, "train", run)
        assert (bool(trained["test"]), bool(trained["val"])) == (run == "peeking", run in ("chosen", "refitted"))
    text = page(clone, "train", "peeking")
    assert "By test accuracy epoch" in text
    assert "val accuracy" not in text.lower()
    assert "Val accuracy" in page(clone, "train", "chosen")
    assert "accuracy epoch" not in page(clone, "train", "whole")


def test_the_curves_are_read_as_they_ran(clone):
    for run in ("chosen", "peeking"):
        last = metrics(clone, "train", run)["best_epoch"] == 2
        assert ("more epochs might help" in page(clone, "train", run)) is last


def test_confident_learning_is_cross_validated_on_faces_that_a_run_was_trained_on(clone):
    for run, (val, _) in ROLES.items():
        text, found = page(clone, "analyze_errors", run), metrics(clone, "analyze_errors", run)
        assert (found["role"], found["held_out"]) == (val, val != "trained")
        assert ("Confident learning on cross-validated probabilities, as the run was trained on these faces," in text) is (val == "trained")
        assert ("Confident learning on out-of-sample probabilities" in text) is (val != "trained")
        assert ("they selected its epoch" in text) is (val == "selected_on")


def test_the_comparison_marks_what_test_selected_and_gives_each_dataset_an_axis(clone):
    text = page(clone, "compare")
    assert "epoch selected on test: peeking; **scores on test describe the best of several epochs" in text
    assert "epoch selected on val: chosen, chosen_seed1." in text
    assert "no split selected the epoch: whole; scores on val are training scores" in text
    assert re.search(r"test scores are biased by peeking \(selected on it\)", text)
    assert re.search(r"val scores are biased by refitted, whole \(trained on it\)", text)
    assert "1 of 4 groups has more than one seed" in text
    assert "published rows was measured on our faces" in text
    compared = json.loads((clone / "reports" / "metrics" / "compare.json").read_text())
    assert {run: (of["val"]["role"], of["test"]["role"]) for run, of in compared["runs"].items() if run in ROLES} == ROLES
    results = (clone / "reports" / "tables" / "results.md").read_text()
    assert "## Changes" not in results  # no run names factors: a heading above nothing
    assert "| live |" in results


def test_the_sets_pages_conclude_nothing_that_is_not_there(clone):
    prepare, audit = page(clone, "prepare", "control"), page(clone, "audit", "control")
    assert "1.0 times fewer" not in prepare
    assert "No official counts are known for these faces." in prepare
    assert "No official counts are known for these faces." in audit
    conflicts = json.loads((clone / "reports" / "metrics" / "audit" / "control.json").read_text())["label_conflicts"]
    assert ("errs on at least" in audit) is bool(conflicts)
    for text in (prepare, audit):
        for table in re.findall(r"<table.*?</table>", text, flags=re.DOTALL):
            assert table.count("<td") > 1, table  # neither a header alone nor one cell


def test_the_overview_marks_each_split_and_names_the_augmentation(clone):
    call(clone, "ferlab.reporting.site.build")
    text = (clone / "reports" / "site" / "index.html").read_text()
    assert "the mean over a face and its mirror image" in text
    assert "interval over subjects" in text
    assert "Where test selected the epoch, its scores are optimistically biased." in text
    rows = re.findall(r"<tr.*?</tr>", text, flags=re.DOTALL)
    marked = [row for row in rows if "selected its epoch" in row or "trained on" in row]
    assert sum("trained on" in row for row in marked) == 2
    assert sum("selected its epoch" in row for row in marked) == 3  # val of two, test of one: deduplicated it has the same faces
    assert metrics(clone, "evaluate", "peeking")["n"]["test_dedup"] == metrics(clone, "evaluate", "peeking")["n"]["test"]
