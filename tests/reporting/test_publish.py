"""The published summary: numbers as they stand in the metrics, val's own row before a refit, and a missing stage named."""

from __future__ import annotations

import pytest

from ferlab.params import load_params
from ferlab.paths import InputError
from ferlab.reporting.publish import publish, summary_table

SCORES = {"accuracy": 0.64451, "accuracy_ci_low": 0.6287, "accuracy_ci_high": 0.66, "macro_f1": 0.6011, "nll": 0.9783, "ece": 0.0472}
TRAINED = {"n": {"val": 100}, "val": {"accuracy": 0.64, "loss": 0.98}}


def evaluated(*fitted_on: str) -> dict:
    scores = {"val": SCORES, "test": SCORES, "test_clean": None, "n": {"val": 100, "test": 3589}}
    return {**scores, "fitted_on": list(fitted_on), "single_view": {"test": {"accuracy": 0.6344}}}


def rows(*fitted_on: str, trained: dict = TRAINED) -> list[str]:
    params = load_params()
    return summary_table(params, {name: {"evaluate": evaluated(*fitted_on), "train": trained} for name in params.runs}).splitlines()[2:]


def test_a_row_tells_accuracy_with_interval_n_and_the_single_view():
    assert "| five_layer | test | 3,589 | 64.45% [62.87%, 66.00%] | 63.44% | 0.601 | 0.978 | 0.047 |" in rows("train")


def test_a_split_without_faces_has_no_row():
    assert not [row for row in rows("train") if "test_clean" in row]


def test_val_of_a_refitted_net_is_told_as_it_was_before_the_refit():
    val = next(row for row in rows("train", "val") if "| val" in row)
    assert "before the refit" in val
    assert "64.00% [54.24%, 72.73%]" in val  # Wilson by hand: 64 of 100


def test_val_has_no_row_where_nothing_was_selected():
    assert not [row for row in rows("train", "val", trained={**TRAINED, "val": {}}) if "| val" in row]


def test_a_stage_that_has_not_run_is_named_and_leaves_what_was_published(tmp_path, monkeypatch):
    from ferlab import paths

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = tmp_path / "published" / "quick"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("the last one")
    params = load_params(paths.find_root() / "params.yaml")
    with pytest.raises(InputError, match=r"reports/metrics/prepare/control\.json: not found"):
        publish(params, folder)
    assert (folder / "README.md").read_text() == "the last one"
