"""Fine-tuning on corrected faces, end to end in a clone of its own: planted wrong labels are corrected by truth, and both models are measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_end_to_end import call, make_clone

from ferlab.data.faces import hash_images
from ferlab.data.store import open_store
from ferlab.evaluation.ledger import read_scorings
from ferlab.evaluation.predictions import read_predictions
from ferlab.evaluation.scoring import predict_probs
from ferlab.expressions import EXPRESSIONS
from ferlab.live.correction import personalise
from ferlab.live.correction.decisions import Decisions
from ferlab.live.correction.personalise import Personalised, _cause, _copied, _flat
from ferlab.models import load_model
from ferlab.params import load_params
from ferlab.params.names import check_names
from ferlab.params.sections import Run
from ferlab.paths import InputError


def result(**difference):
    found = {"n": 200, "subjects": 10.0, "only_a": 12, "only_b": 6, "difference": 0.03, "ci_low": -0.01, "ci_high": 0.07, "p_exact": 0.24,
             "p_subjects": 0.12, "detectable": 0.05, **difference}  # fmt: skip
    scores = {"accuracy": 0.5, "balanced_accuracy": 0.4}
    return Personalised("exp", "old", "new", "set", 3, scores, scores | {"accuracy": 0.53}, found, {}, 4)


def test_the_result_is_said_with_its_interval_and_no_more_than_it_shows():
    lines = result().sentences()
    assert lines[0] == "Accuracy after fine-tuning minus before: +3.0 points, 95 % interval [-1.0, +7.0], on 200 held-out faces of 10 people."
    assert "p = 0.120 (t test over people)" in lines[1]
    assert "does not show that both are equal: the smallest detectable with 80 % power is 5.0 points" in lines[2]
    assert lines[3].startswith("4 test faces are excluded")
    clear = result(ci_low=0.01, subjects=None, p_subjects=None, p_exact=0.0001).sentences()
    assert "p < 0.001 (McNemar's exact test)" in clear[1]
    assert not [line for line in clear if "equal" in line]


def test_changes_of_params_are_written_in_hydras_grammar():
    changes = {"lr": 2e-4, "flip": True, "teachers": [], "options": {}, "pretrained": "models/a b/w.safetensors", "factors": {"a": "1"}}
    assert list(_flat("runs.new", changes)) == [
        "++runs.new.lr=0.0002", "++runs.new.flip=true", "++runs.new.teachers=[]", "++runs.new.options={}",
        '++runs.new.pretrained="models/a b/w.safetensors"', '++runs.new.factors.a="1"',
    ]  # fmt: skip


def test_a_failed_experiment_says_the_stages_own_line():
    lines = ["Running stage 'train@x'", "train: run 'x': a loss that is not finite", "ERROR: failed to reproduce 'train@x'", "hint"]
    assert _cause(lines) == "train: run 'x': a loss that is not finite"
    assert _cause(["ERROR: no Git repository", "hint"]) == "ERROR: no Git repository"
    assert _cause([]) == "it printed nothing"


def test_files_are_copied_with_their_folder_where_git_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(personalise, "ROOT", tmp_path)
    (tmp_path / "data" / "raw" / "mine").mkdir(parents=True)
    assert _copied("data/raw/mine") == "data/raw/mine"
    assert _copied("data/raw/mine.zip") == "data/raw/mine.zip"
    assert _copied("models/run/weights.safetensors") == "models/run"


def test_a_run_without_corrections_on_its_own_set_has_nothing_to_learn(monkeypatch, tmp_path):
    (tmp_path / "weights").write_bytes(b"")
    monkeypatch.setattr(personalise, "artefact", lambda *_: tmp_path / "weights")
    monkeypatch.setattr(personalise, "_by_hand", lambda prepare, name: (prepare.raw, {}, pd.DataFrame({"old": ["sad"], "new": ["sad"]})))
    with pytest.raises(InputError, match="no decision changes a label of set control"):
        personalise.personalise("five_layer")


def test_a_run_of_a_table_of_factors_that_softened_teachers_train_is_fine_tuned_by_valid_params(monkeypatch, tmp_path):
    monkeypatch.setattr(personalise, "ROOT", tmp_path)
    monkeypatch.setattr(personalise, "artefact", lambda *_: tmp_path / "weights")
    (tmp_path / "weights").write_bytes(b"")
    monkeypatch.setattr(personalise, "_by_hand", lambda prepare, name: (prepare.raw, {}, pd.DataFrame({"old": ["sad"], "new": ["happy"]})))
    params = load_params()
    distilled = params.runs["five_layer"].model_dump() | {"factors": {"teacher": "ours"}}
    distilled["train"] |= {"teachers": ["shipped"], "teacher_temperature": 4.0, "teacher_weight": 1.0, "label_smoothing": 0.0}
    params.runs["five_layer"] = Run.model_validate(distilled)
    _, changes = personalise._plan(params, "five_layer", "control", epochs=5)
    params.runs[changes["new_run"]] = Run.model_validate(changes["run"])
    check_names(params, "params.yaml")


def test_both_scorings_of_real_test_faces_are_in_the_ledger_of_the_workspace(tmp_path):
    ledger, faces = tmp_path / "test_scorings.csv", pd.DataFrame({"split": ["test", "test", "train"], "source": "captured"})
    for name in ("exp-1", "exp-1", "exp-2"):
        personalise._record(name, ("old", "old_personal"), faces, set_name="collected", ledger=ledger)
    found = [(line["study"], line["run"], line["set"], line["n"]) for line in read_scorings(ledger)]
    assert found == 2 * [("personalise", "old", "collected", "2"), ("personalise", "old_personal", "collected", "2")]


def git(clone: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=clone, capture_output=True, text=True, check=True).stdout


def state(clone: Path) -> dict[str, bytes]:
    """The bytes of params, lock and results."""
    patterns = ("params.yaml", "dvc.lock", "models/*/*", "data/prepared/*/*", "reports/metrics/*/*")
    return {str(path): path.read_bytes() for pattern in patterns for path in clone.glob(pattern)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone with a run that was trained on control faces of which a quarter have a wrong label."""
    folder = make_clone(tmp_path_factory.mktemp("personalise") / "clone")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["prepare"]["control"]["options"] = {"faces": 500, "subjects": 45, "size": 48, "seed": 0, "label_noise": 0.25}
    params["train"] |= {"epochs": 4, "batch_size": 32, "threads": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    call(folder, "dvc", "repro", "train@tiny")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Trained")
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_corrected_faces_train_on_in_an_experiment_and_the_workspace_stays(clone):
    before, faces = state(clone), open_store(clone / "data" / "prepared" / "control").faces
    wrong = faces[(faces["target"] != faces["true_target"]) & faces["split"].isin(["train", "val"])]
    assert 60 < len(wrong) < 130
    truth = Decisions(clone / "data" / "raw" / "control" / "corrections.csv", "truth")
    for face_id, old, new in zip(wrong["face_id"], wrong["target"], wrong["true_target"], strict=True):
        truth.decide(face_id, EXPRESSIONS[old], EXPRESSIONS[new], why="planted")
    printed = call(clone, "ferlab.live.correction.personalise", "tiny", "--epochs", "2")
    assert state(clone) == before
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "stash", "list") == ""
    place = clone / printed.rpartition("result: ")[2].strip()
    done, after = Personalised(**json.loads(place.read_text())), read_predictions(place.parent / "after.parquet")
    assert done.experiment in call(clone, "dvc", "exp", "list", "--all-commits")
    _check_numbers(clone, place.parent, done, after)
    _check_experiment(clone, done, wrong=len(wrong))
    print("\n".join(done.sentences()))


def _check_numbers(clone, place, done, after):
    """Accuracies and difference, computed again from weights and predictions, by person."""
    assert sorted(path.name for path in place.iterdir()) == ["after.parquet", "result.json"]
    call(clone, "dvc", "get", ".", "data/prepared/control", "--rev", done.experiment, "-o", "data/scratch/store")
    store, old = open_store(clone / "data" / "scratch" / "store"), open_store(clone / "data" / "prepared" / "control").faces
    assert store.faces["split"].tolist() == old["split"].tolist()
    fitted = (store.faces["split"] != "test").to_numpy()
    assert (store.faces["target"] == store.faces["true_target"])[fitted].all()
    assert store.faces["target"][~fitted].tolist() == old["target"][~fitted].tolist()
    assert hash_images(np.asarray(store.images)) == old["content_hash"].tolist()
    targets = store.faces["target"].to_numpy()[~fitted]
    probs = predict_probs(load_model(clone / "models" / "tiny" / "weights.safetensors"), np.asarray(store.images)[~fitted], tta="flip")
    right_before = probs.argmax(axis=1) == targets
    test = after[after["split"] == "test"]
    right_after = (test["pred"] == test["target"]).to_numpy()
    assert done.before["accuracy"] == pytest.approx(right_before.mean(), abs=1e-6)
    assert done.after["accuracy"] == pytest.approx(right_after.mean(), abs=1e-6)
    assert done.difference["difference"] == pytest.approx(right_after.mean() - right_before.mean(), abs=2e-6)
    assert done.difference["subjects"] == store.faces["subject"][~fitted].nunique()
    assert done.difference["ci_low"] <= done.difference["difference"] <= done.difference["ci_high"]
    assert done.left_out == 0


def _check_experiment(clone, done, *, wrong):
    """The experiment holds the corrections' count and the run's weights as its start, and no raw file."""
    revision = next(ref for ref in git(clone, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines() if ref.endswith(done.experiment))
    files = git(clone, "ls-tree", "-r", "--name-only", revision).splitlines()
    assert not [name for name in files if name.startswith(("data/raw/control", "models/"))]
    params = yaml.safe_load(git(clone, "show", f"{revision}:params.yaml"))
    assert params["prepare"]["control"]["corrections"] == "corrections.csv"
    assert params["runs"]["tiny_personal"]["train"]["pretrained"] == "models/tiny/weights.safetensors"
    code = f"import dvc.api; print(dvc.api.read('reports/metrics/prepare/control.json', rev={done.experiment!r}))"
    found = json.loads(subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=True).stdout)
    assert found["corrections"]["applied"] == wrong == done.corrections
    assert found["corrections"]["by"] == {"truth": {"rows": wrong, "applied": wrong}}


@pytest.mark.slow
@pytest.mark.long
def test_what_fails_says_its_last_line_and_leaves_the_workspace(clone):
    path, before = clone / "data" / "raw" / "control" / "corrections.csv", state(clone)
    kept = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text("face_id,old,new,who,why,when\ncontrol/9999999,sad,happy,anna,looked,2026-11-28\n")
    told = call(clone, "ferlab.live.correction.personalise", "tiny", expect=1).strip().splitlines()[-1]
    path.unlink() if kept is None else path.write_bytes(kept)
    assert "no face of the set is called 'control/9999999'" in told
    assert told.startswith("personalise: the experiment failed: prepare: ")
    assert state(clone) == before
    assert git(clone, "status", "--porcelain") == ""
    for arguments, why in [
        (["other"], "no run is called 'other'"),
        (["tiny", "--set", "mine"], "no set is called 'mine'"),
        (["tiny", "--epochs", "0"], "0 epochs; expected 1 to 50"),
    ]:
        assert why in call(clone, "ferlab.live.correction.personalise", *arguments, expect=1)
