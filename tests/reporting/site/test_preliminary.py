"""The box of pages whose numbers are not of the current state."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ferlab import paths, results
from ferlab.params import Params, check_params
from ferlab.paths import InputError
from ferlab.reporting.site import preliminary
from ferlab.reporting.site.entries import Entry
from ferlab.reporting.site.preliminary import preliminary_box, stale_results, uncommitted_code

TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}


@pytest.fixture
def params() -> Params:
    runs = {run: {"family": "cs230", "model": "five_layer", "data": data, "seed": 0, "group": run} for run, data in (("a", "one"), ("b", "two"))}
    sets = {name: {"dataset": "control"} for name in ("one", "two")}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    return check_params({"study": "t", "prepare": sets, "train": TRAIN, "runs": runs, **sections})


def test_a_box_stands_on_the_pages_of_a_stale_run_and_of_all_runs_together(params: Params) -> None:
    def boxed(stage: str, name: str) -> bool:
        return "Stale: train a (code)" in preliminary_box(params, stage, name, stale={("train", "a"): "code"}, uncommitted=[])

    assert all(boxed(*page) for page in (("train", "a"), ("evaluate", "a"), ("", "a"), ("compare", ""), ("", "")))
    assert not any(boxed(*page) for page in (("evaluate", "b"), ("", "b"), ("prepare", "one"), ("worlds", ""), ("claims", "")))


def test_a_stale_set_makes_its_runs_preliminary_and_a_stale_page_itself_alone(params: Params) -> None:
    stale = {("prepare", "two"): "params", ("worlds", ""): "code"}
    boxes = {page: preliminary_box(params, *page, stale=stale, uncommitted=[]) for page in (("evaluate", "b"), ("worlds", ""), ("evaluate", "a"))}
    assert "Stale: prepare two (params)." in boxes["evaluate", "b"]
    assert "Stale: worlds (code)." in boxes["worlds", ""]
    assert boxes["evaluate", "a"] == ""


def test_uncommitted_code_is_named_on_every_page(params: Params) -> None:
    box = preliminary_box(params, "evaluate", "a", stale={}, uncommitted=["src/a.py", "src/b.py", "src/c.py", "src/d.py"])
    assert "code that no commit holds: `src/a.py`, `src/b.py`, `src/c.py` and 1 more." in box
    assert ":class: warning preliminary" in box


def test_results_that_a_notebook_shows_are_asked_whether_they_hold(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def record_under(_: Params, stage: str, name: str) -> tuple[dict[str, str], list[str]]:
        if name == "two":
            raise InputError("its raw files are not here")
        return {}, ["code", "environment"] if stage == "train" else []

    monkeypatch.setattr(preliminary, "record_under", record_under)
    monkeypatch.setattr(preliminary, "outdated_compare", lambda _: ["data"])
    shown = [("train", "a"), ("evaluate", "a"), ("prepare", "two"), ("compare", "")]
    entries = [Entry(stage, name, "page", {"cells": []}) for stage, name in shown] + [Entry("train", "b", "page", None)]
    assert stale_results(params, entries) == {("train", "a"): "code, environment: requirements.lock", ("compare", ""): "data"}


def test_a_comparison_of_another_study_or_of_earlier_results_is_outdated(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(results, "hash_inputs", lambda inputs: "hash of the runs' results")
    with pytest.raises(InputError, match=r"compare\.json: not found"):
        preliminary.outdated_compare(params)
    section = preliminary.declared(params, "compare", "")
    own = {"study": params.study, "params": results.digest(json.dumps(section, sort_keys=True)), "data": "hash of the runs' results"}
    for changed in ([], ["study"], ["data"], ["study", "params"]):
        paths.write_json(paths.artefact("compare", "metrics"), {"provenance": {**own, **dict.fromkeys(changed, "another")}})
        assert preliminary.outdated_compare(params) == changed


def test_code_and_pins_that_differ_from_the_commit_are_found_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert uncommitted_code() == []  # outside Git
    (tmp_path / "src").mkdir()
    for name in ("src/a.py", "requirements.lock", "params.yaml"):
        (tmp_path / name).write_text("one")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "One"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    assert uncommitted_code() == []
    (tmp_path / "params.yaml").write_text("two")  # pages state it
    (tmp_path / "src" / "a.py").write_text("two")
    (tmp_path / "src" / "new.py").write_text("one")
    assert uncommitted_code() == ["src/a.py", "src/new.py"]
