"""`ferlab runs`: each run of params.yaml with its accuracy, as a table and as JSON, and whether it still holds."""

from __future__ import annotations

import json

import pytest

from ferlab.cli import main
from ferlab.commands import runs
from ferlab.params import load_params
from ferlab.paths import write_json
from ferlab.status import FRESH, PAGE, STALE, State


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two runs of params.yaml, of which the first was evaluated and selected on test; its training holds, its evaluation does not."""
    scores = {"accuracy": 0.8216667, "accuracy_ci_low": 0.781, "accuracy_ci_high": 0.856}
    metrics = {"val": scores, "test": {**scores, "accuracy": 0.7}, "n": {"val": 300, "test": 600}, "trained_on": ["train"], "selected_on": ["test"]}
    write_json(tmp_path / "five_layer.json", metrics)
    states = {"five_layer": (FRESH, STALE), "five_layer_seed1": (PAGE, FRESH)}
    made = [
        State(f"{stage}@{name}", state, "code" if state != FRESH else "")
        for name, pair in states.items()
        for stage, state in zip(("train", "evaluate"), pair, strict=True)
    ]
    monkeypatch.setattr("ferlab.status.read_status", lambda params: made)
    monkeypatch.setattr(runs, "artefact", lambda stage, what, name: tmp_path / f"{name}.json")
    return tmp_path


def test_json_holds_the_metrics_of_every_run_of_params(project, capsys):
    assert main(["runs", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert [first["run"], second["run"]] == list(load_params().runs)
    assert first["test"] == {"n": 600, "accuracy": 0.7, "accuracy_ci_low": 0.781, "accuracy_ci_high": 0.856, "role": "selected_on"}
    assert first["val"]["role"] == "untouched"
    assert (first["state"], first["why"], second["state"]) == (STALE, "code", PAGE)
    assert second["test"] == dict.fromkeys(("n", "accuracy", "accuracy_ci_low", "accuracy_ci_high", "role"))


def test_the_table_marks_a_test_split_that_the_run_has_seen(project, capsys):
    assert main(["runs"]) == 0
    head, first, second, note = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "model", "set", "val", "accuracy", "test", "accuracy", "state"]
    assert first.split("  ")[0] == "five_layer"
    assert "82.2 % [78.1, 85.6] " in first
    assert "70.0 % [78.1, 85.6]*" in first
    assert first.endswith("stale: code")
    assert second.split()[:4] == ["five_layer_seed1", "cs230", "five_layer", "control"]
    assert second.split()[4:6] == ["-", "-"]
    assert note == "* test was used to train the model or to select its epoch"


def test_on_a_terminal_the_same_cells_stand_in_a_table(project, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["runs"]) == 0
    table = capsys.readouterr().out
    assert all(cell in table for cell in ("five_layer_seed1", "cs230 five_layer", "82.2 % [78.1, 85.6]", "stale: code", "page only: code"))
