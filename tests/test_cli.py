"""`ferlab study`: comments kept, edits never lost, a bad study leaves params.yaml as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ferlab.cli import studies, study_text, write_study
from ferlab.params import load_params
from ferlab.paths import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf" / "study", tmp_path / "conf" / "study")
    return tmp_path


def test_the_committed_params_are_the_quick_study():
    assert (ROOT / "params.yaml").read_text() == study_text(ROOT, "quick")


@pytest.mark.parametrize("name", studies(ROOT))
def test_every_study_passes_the_checks_and_keeps_the_comments(clone, name):
    write_study(clone, name)
    assert load_params(clone / "params.yaml").study == name
    assert "# cs230: +-10 degrees" in (clone / "params.yaml").read_text()


def test_a_study_replaces_sets_and_runs_whole(clone):
    write_study(clone, "cs230")
    params = load_params(clone / "params.yaml")
    assert list(params.prepare) == ["fer2013"]
    assert params.runs["five_layer_weighted"].train.class_weights
    assert not params.runs["five_layer"].train.class_weights


def test_a_hand_edit_is_kept_aside_and_said(clone, capsys):
    write_study(clone, "quick")
    edited = (clone / "params.yaml").read_text().replace("epochs: ", "epochs: 1", 1)
    (clone / "params.yaml").write_text(edited)
    write_study(clone, "cs230")
    assert (clone / "data" / "scratch" / "params-before.yaml").read_text() == edited
    assert "params-before.yaml" in capsys.readouterr().out


def test_an_unknown_or_broken_study_changes_nothing(clone):
    write_study(clone, "quick")
    before = (clone / "params.yaml").read_text()
    (clone / "conf" / "study" / "bad.yaml").write_text("train: {epoch: 3}\n")
    with pytest.raises(InputError, match=r"conf/study/bad.yaml: runs.five_layer.train.epoch: unknown key; did you mean 'epochs'\?"):
        write_study(clone, "bad")
    with pytest.raises(InputError, match="did you mean 'cs230'"):
        write_study(clone, "cs23")
    assert (clone / "params.yaml").read_text() == before
