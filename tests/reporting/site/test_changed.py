"""The page of what changed between two states: params, paired tests, figures; what is not at hand is named."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from toy_project import PARAMS

from ferlab import paths
from ferlab.cli import main
from ferlab.evaluation.comparison import compare_pairs
from ferlab.evaluation.predictions import predictions_table
from ferlab.params import check_params
from ferlab.paths import InputError
from ferlab.reporting.site import changed
from ferlab.reporting.site.changed import State, changed_figures, changed_params, changes_page, compare_metrics
from ferlab.reporting.tables import MISSING, p_value

NAMES = ("angry", "happy", "sad")
FIGURES = (b"one", b"two")
METRICS, PREDICTIONS, PAGE = "reports/metrics/evaluate/a.json", "data/predictions/a.parquet", "reports/notebooks/04_evaluate-a.ipynb"


def predicted(hits: np.ndarray, *, subjects: bool = False) -> bytes:
    """Return a predictions table of 100 test and 100 val faces, of which those of `hits` are classified correctly."""
    targets = np.arange(200) % 3
    preds = np.where(hits, targets, (targets + 1) % 3)
    probs = np.full((200, 3), 0.1)
    probs[np.arange(200), preds] = 0.8
    splits = ["test"] * 100 + ["val"] * 100
    table = predictions_table([f"f/{n:03}" for n in range(200)], splits, targets, probs=probs, expressions=NAMES)
    if subjects:
        table["subject"] = [f"s{n % 20}" for n in range(200)]
    raw = io.BytesIO()
    table.to_parquet(raw)
    return raw.getvalue()


def score(accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "accuracy_ci_low": accuracy - 0.1, "accuracy_ci_high": accuracy + 0.1, "macro_f1": 0.5, "ece": 0.1}


def notebook(*figures: bytes) -> bytes:
    cells = [
        {
            "id": f"cell{place}",
            "cell_type": "code",
            "outputs": [{"data": {"image/png": base64.b64encode(png).decode()}, "metadata": {"image/png": {"alt": f"Figure <{place}> of it."}}}],
        }
        for place, png in enumerate(figures)
    ]
    return json.dumps({"cells": cells}).encode()


def state(
    title: str,
    *,
    lr: float,
    hits: np.ndarray,
    figures: tuple[bytes, ...] = FIGURES,
    without: str = "",
    subjects: bool = False,
    trained_on: tuple[str, ...] = ("train",),
) -> State:
    params = {"prepare": {"faces": {}}, "runs": {"a": {"train": {"lr": lr}}}}
    metrics = {"test": score(hits[:100].mean()), "val": score(hits[100:].mean()), "trained_on": trained_on}
    files = {
        "params.yaml": yaml.safe_dump(params).encode(),
        METRICS: json.dumps(metrics).encode(),
        PREDICTIONS: predicted(hits, subjects=subjects),
        PAGE: notebook(*figures),
    }
    return State(title, {path: raw for path, raw in files.items() if path != without}.get)


@pytest.fixture
def old_hits() -> np.ndarray:
    return np.random.default_rng(0).random(200) < 0.5


def test_params_that_differ_stand_with_both_values(old_hits: np.ndarray) -> None:
    table = changed_params(state("old", lr=0.1, hits=old_hits), state("new", lr=0.2, hits=old_hits))
    assert table.to_dict("index") == {"runs.a.train.lr": {"old": "0.1", "new": "0.2"}}


@pytest.mark.parametrize("subjects", [False, True])
def test_accuracies_are_tested_on_the_same_faces_as_compare_does(old_hits: np.ndarray, *, subjects: bool) -> None:
    better = old_hits | (np.random.default_rng(1).random(200) < 0.5)
    old, new = state("old", lr=0.1, hits=old_hits, subjects=subjects), state("new", lr=0.1, hits=better, subjects=subjects)
    table, told = compare_metrics(old, new)
    assert told == []
    row = table.loc["a, test"]
    tables = {title: pd.read_parquet(io.BytesIO(one.read(PREDICTIONS))) for title, one in (("new", new), ("old", old))}
    wanted = compare_pairs(tables).iloc[0]
    assert row["paired difference, points"].startswith(f"{100 * wanted['difference']:.1f} [{100 * wanted['ci_low']:.1f}, ")
    assert row["accuracy is"] == "significantly higher"
    assert row["NLL, paired difference"].startswith("-")
    back, _ = compare_metrics(new, old)
    assert back.loc["a, test", "accuracy is"] == "significantly lower"


def test_a_few_faces_are_no_significant_difference_and_equal_predictions_are_said_to_be(old_hits: np.ndarray) -> None:
    nearly = old_hits.copy()
    nearly[:2] = ~nearly[:2]
    old = state("old", lr=0.1, hits=old_hits)
    table, _ = compare_metrics(old, state("new", lr=0.1, hits=nearly))
    assert table.loc["a, test", "accuracy is"] == "not significantly different"
    table, told = compare_metrics(old, state("new", lr=0.2, hits=old_hits))
    assert table.empty
    assert told == ["a: the predictions are the same, byte for byte."]


@pytest.mark.parametrize("trained", ["old", "new"])
def test_a_split_that_either_state_was_trained_on_is_not_tested_nor_counted(old_hits: np.ndarray, trained: str) -> None:
    better = old_hits | (np.random.default_rng(1).random(200) < 0.05)
    both = {title: ("train", "val") if title == trained else ("train",) for title in ("old", "new")}
    table, told = compare_metrics(
        state("old", lr=0.1, hits=old_hits, trained_on=both["old"]), state("new", lr=0.1, hits=better, trained_on=both["new"])
    )
    assert told == []
    assert table.loc["a, val", "accuracy is"] == "trained on: not tested"
    assert set(table.loc["a, val", ["paired difference, points", "Holm p", "NLL, paired difference"]]) == {MISSING}
    tables = {title: pd.read_parquet(io.BytesIO(predicted(hits))) for title, hits in (("new", better), ("old", old_hits))}
    assert table.loc["a, test", "Holm p"] == p_value(compare_pairs(tables)["p_exact"].iloc[0])  # one test, uncorrected


@pytest.mark.parametrize(
    ("lacking", "said", "rows"),
    [
        ("data/predictions/a.parquet", "no predictions at hand of new, so nothing is tested", 2),
        (METRICS, "no metrics at hand of new", 0),
    ],
)
def test_what_is_not_at_hand_is_named(old_hits: np.ndarray, lacking: str, said: str, rows: int) -> None:
    table, told = compare_metrics(state("old", lr=0.1, hits=old_hits), state("new", lr=0.1, hits=~old_hits, without=lacking))
    assert len(table) == rows
    assert said in told[0]


def test_figures_that_differ_stand_side_by_side_and_the_others_are_counted(old_hits: np.ndarray) -> None:
    old, new = state("old", lr=0.1, hits=old_hits), state("new", lr=0.1, hits=old_hits, figures=(b"one", b"three"))
    parts, same = changed_figures(old, new)
    assert same == 1
    assert parts[0] == "<h3>evaluate a</h3>"
    shown = [base64.b64encode(png).decode() in parts[1] for png in (b"one", b"two", b"three")]
    assert shown == [False, True, True]
    assert "Figure &lt;1&gt; of it." in parts[1]
    assert changed_figures(old, old) == ([], 0)


def test_the_page_asks_nothing_of_the_network_and_escapes(old_hits: np.ndarray) -> None:
    page = changes_page(state("<old>", lr=0.1, hits=old_hits), state("new", lr=0.2, hits=~old_hits))
    assert "What changed: &lt;old&gt; → new" in page
    assert "http" not in page
    assert "<script" not in page


def test_a_revision_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["changes", "no-such-revision"]) == 1
    assert "no-such-revision: no commit, branch, tag or DVC experiment" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"has no params\.yaml"):
        changed_params(State("empty", lambda path: None), State("empty", lambda path: None))


@pytest.mark.parametrize("where", ["here", "old", "new", "nowhere"])
def test_a_page_of_captured_faces_is_its_owners_alone(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_hits: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = yaml.safe_load(PARAMS)
    if where == "here":
        params["prepare"]["control"] |= {"dataset": "captured", "options": {}}
    monkeypatch.setattr("ferlab.params.load_params", lambda: check_params(params))

    def state_at(revision: str) -> State:
        found = state(revision, lr=0.1, hits=old_hits)
        kinds = {"a": {"dataset": "fer2013"}, "b": {"sources": {"web": {"dataset": "captured" if revision == where else "fer2013"}}}}
        raw = yaml.safe_dump({"prepare": kinds, "runs": {"a": {}}}).encode()
        return State(revision, lambda path: raw if path == "params.yaml" else found.read(path))

    monkeypatch.setattr(changed, "state_at", state_at)
    (tmp_path / "reports" / "changes").mkdir(parents=True)
    (tmp_path / "reports" / "changes").chmod(0o755)
    before = os.umask(0o022)
    try:
        assert main(["changes", "old", "new"]) == 0
        assert main(["changes", "old", "new", "--output", str(tmp_path / "page.html")]) == 0
    finally:
        os.umask(before)
    place, page = tmp_path / "reports" / "changes", tmp_path / "reports" / "changes" / "old-new.html"
    assert f"page: {page}" in capsys.readouterr().out
    modes = [path.stat().st_mode & 0o777 for path in (place, page, tmp_path / "page.html")]
    assert modes == ([0o755, 0o644, 0o644] if where == "nowhere" else [0o700, 0o600, 0o600])


@pytest.mark.slow
def test_a_commit_is_read_through_dvcs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_hits: np.ndarray) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)

    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    def write(one: State) -> None:
        for path in ("params.yaml", METRICS, PREDICTIONS, PAGE):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(one.read(path))

    run("git", "init", "-q")
    run("git", "config", "user.name", "a")
    run("git", "config", "user.email", "a@example.org")
    run(sys.executable, "-m", "dvc", "init", "-q")
    write(state("old", lr=0.1, hits=old_hits))
    run(
        sys.executable,
        "-m",
        "dvc",
        "add",
        "-q",
        "reports/metrics/evaluate/a.json",
        "data/predictions/a.parquet",
        "reports/notebooks/04_evaluate-a.ipynb",
    )
    run("git", "add", ".")
    run("git", "commit", "-qm", "One")
    write(state("new", lr=0.2, hits=~old_hits, figures=(b"one", b"three")))
    assert main(["changes", "HEAD"]) == 0
    page = (tmp_path / "reports" / "changes" / "HEAD-here.html").read_text()
    assert "runs.a.train.lr" in page
    assert "significantly" in page
    assert base64.b64encode(b"two").decode() in page
