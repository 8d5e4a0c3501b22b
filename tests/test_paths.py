from __future__ import annotations

import json

import numpy as np
import pytest

from ferlab import paths


def test_json_is_sorted_rounded_and_says_null_for_nan(tmp_path):
    path = tmp_path / "a" / "m.json"
    paths.write_json(path, {"b": np.float32(0.1), "a": {"x": float("nan"), 1: np.arange(2)}})
    assert path.read_text() == '{\n  "a": {\n    "1": [\n      0,\n      1\n    ],\n    "x": null\n  },\n  "b": 0.1\n}\n'
    assert json.loads(path.read_text())["b"] == 0.1


def test_the_root_is_the_nearest_parent_that_holds_dvc_yaml(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    assert paths.find_root(deep) == tmp_path.resolve()


def test_outside_the_runner_a_notebook_writes_to_scratch_and_inside_to_staging(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.delenv(paths.STAGING, raising=False)
    assert paths.output("train", "weights", "r") == tmp_path / "data" / "scratch" / "models" / "r" / "weights.safetensors"
    monkeypatch.setenv(paths.STAGING, str(tmp_path / "staging"))
    assert paths.output("train", "weights", "r") == tmp_path / "staging" / "models" / "r" / "weights.safetensors"


def test_progress_is_silent_outside_the_runner_and_a_json_line_inside(tmp_path, monkeypatch):
    monkeypatch.delenv(paths.PROGRESS, raising=False)
    paths.report_progress(done=1, total=2)
    monkeypatch.setenv(paths.PROGRESS, str(tmp_path / "p.jsonl"))
    paths.report_progress(done=1, total=2, note="epoch 1")
    assert (tmp_path / "p.jsonl").read_text() == '{"done": 1, "total": 2, "note": "epoch 1"}\n'


def test_rows_are_written_and_read_as_a_list_and_nothing_else(tmp_path):
    path = tmp_path / "rows.json"
    paths.write_json(path, [{"b": 1, "a": float("nan")}, {"a": np.float32(0.5)}])
    assert paths.read_rows(path, made_by="x") == [{"a": None, "b": 1}, {"a": 0.5}]
    with pytest.raises(paths.InputError, match="expected a JSON object, got list"):
        paths.read_json(path, made_by="x")
    for wrong in ("{}", "[1]"):
        path.write_text(wrong)
        with pytest.raises(paths.InputError, match=r"rows\.json: expected a JSON list of objects"):
            paths.read_rows(path, made_by="x")
