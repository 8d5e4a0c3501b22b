"""`ferlab submit`: a tiny trained study hands in PrivateTest; what is not named, trained, fresh or delivered is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from means_model import foreign

from ferlab import cli, submissions
from ferlab.cli import main
from ferlab.data.readers import fer2013_challenge
from ferlab.evaluation.ensembles import fit_weights, mean_probs
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.submissions import COLUMNS, FOLDER, PAGE, read_submission
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError
from ferlab.submissions import submit

ROOT = Path(__file__).parents[1]
COUNT = 28  # faces of PrivateTest here, for the time's sake
SUBMIT = f"""
import sys
from ferlab.cli import main
from ferlab.data.readers import fer2013_challenge
fer2013_challenge.COUNT = {COUNT}
sys.exit(main(["submit", *sys.argv[1:]]))
"""
RUN = {"family": "cs230", "model": "five_layer", "data": "faces", "group": "tiny"}
QUICK = yaml.safe_load((ROOT / "params.yaml").read_text())
STUDY = {
    **QUICK,
    "study": "tiny",
    "prepare": {"faces": {"dataset": "fer2013", "raw": "data/raw", "equalise": "histogram", "val_fraction": 0.2}},
    "train": {**QUICK["train"], "epochs": 1, "batch_size": 32, "lr": 0.005, "precision": "32-true", "threads": 1},
    "runs": {"one": {**RUN, "seed": 0}, "two": {**RUN, "seed": 1}, "idle": {**RUN, "seed": 2}},
    "compare": {**QUICK["compare"], "ensemble": ["one", "two"]},
    "frame": {**QUICK["frame"], "models": [], "sets": []},
}
ROWS = ("one | tiny | one | flip | single model | q", "both | tiny | ensemble | flip | ensemble | q", "plain | tiny | one | none | | q",
        "idle | tiny | idle | flip | | q", "ours | fer2013_gpu | shipped | flip | | q", "means | - | means/model.onnx | none | | q")  # fmt: skip
TRAIN = """
import sys
from ferlab.data.preparation.prepared import Raw, prepared
from ferlab.params import declared, load_params, stage_params
from ferlab.training.trained import trained
params = load_params()
of = lambda stage, name: stage_params(stage, name, declared(params, stage, name))
p = of("prepare", "faces")
store = prepared(p, Raw(p.prepare)).store
for run in ("one", "two"):
    trained(of("train", run), store)
"""
PREDICT = """
from ferlab.data.store import open_store
from ferlab.evaluation.scoring import predict_tta
from ferlab.models import load_model
from ferlab.paths import artefact
import numpy as np
store = open_store(artefact("prepare", "store", "faces"))
rows = np.flatnonzero(store.faces["usage"] == "PublicTest")
models = {run: load_model(artefact("train", "weights", run)) for run in ("one", "two")}
np.savez("expected.npz", **{run: predict_tta(model, store.images[rows], tta="flip")[0]["flip"] for run, model in models.items()})
"""


def pixels(count: int, *, seed: int) -> np.ndarray:
    """Coarse noise, which histogram equalisation changes."""
    return np.random.default_rng(seed).integers(0, 200, (count, 4, 4)).repeat(12, axis=1).repeat(12, axis=2)


def texts(faces: np.ndarray) -> list[str]:
    return [" ".join(map(str, face.ravel().tolist())) for face in faces]


def deliver(root: Path) -> None:
    """Labelled faces, and a test.csv of which PublicTest's faces are the first rows, again and again."""
    raw = root / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    lines = [f"{row % 7},{text},{'Training' if row < 70 else 'PublicTest'}" for row, text in enumerate(texts(pixels(84, seed=0)))]
    (raw / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    hidden = texts(pixels(84, seed=0)[70:])
    (raw / "test.csv").write_text("\n".join(["pixels", *(hidden[row % 14] for row in range(COUNT))]) + "\n")


def name(root: Path, *rows: str) -> None:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    table = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|---|", *(f"| {row} |" for row in rows)]
    (root / PAGE).write_text("\n".join(table) + "\n")


def call(clone: Path, *arguments: str, expect: int = 0, **more: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FERLAB_")}
    environment |= {"PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1", **more}
    done = subprocess.run([sys.executable, *arguments], cwd=clone, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == expect, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone whose runs `one` and `two` are trained, and `idle` is not."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", "requirements.lock"):
        shutil.copy2(ROOT / file, root / file)
    (root / "params.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    deliver(root)
    foreign(root / "means")
    name(root, *ROWS)
    call(root, "-c", TRAIN, FERLAB_STAGING=str(root), FERLAB_PARTIAL=str(root / "data" / ".partial" / "a"))
    return root


def submitted(clone: Path, *arguments: str, expect: int = 0) -> str:
    return call(clone, "-c", SUBMIT, *arguments, expect=expect)


@pytest.mark.slow
def test_runs_and_their_ensemble_hand_in_what_they_predict(clone) -> None:
    """Rows of test.csv are PublicTest's faces, so predictions are known from the store, where they were prepared with the others."""
    call(clone, "-c", PREDICT)
    expected = np.load(clone / "expected.npz")
    assert "one.parquet: predictions for 28 faces of PrivateTest" in submitted(clone, "one")
    table, made = read_submission(clone / FOLDER / "one.parquet")
    assert table["face_id"].tolist() == [f"fer2013/{row:07d}" for row in range(32298, 32298 + COUNT)]
    assert list(table)[1:] == [f"prob_{expression}" for expression in EXPRESSIONS]
    probs = table.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probs, expected["one"][np.arange(COUNT) % 14], atol=1e-5)
    assert len(np.unique(probs, axis=0)) >= 14
    assert (made["study"], made["model"], made["tta"], made["n"]) == ("tiny", "one", "flip", COUNT)
    assert set(made["members"]["one"]) == {"params", "data", "code", "environment"}
    submitted(clone, "ensemble")
    both, facts = read_submission(clone / FOLDER / "both.parquet")
    mean = (expected["one"] + expected["two"])[np.arange(COUNT) % 14] / 2
    np.testing.assert_allclose(both.iloc[:, 1:].to_numpy(), mean, atol=1e-5)
    assert (facts["model"], list(facts["members"])) == ("ensemble of faces", ["one", "two"])
    submitted(clone, "one", "--tta", "none")
    assert not read_submission(clone / FOLDER / "plain.parquet")[0].equals(table)


@pytest.mark.slow
def test_the_same_is_not_written_again_and_another_is_refused(clone) -> None:
    submitted(clone, "one")
    path = clone / FOLDER / "one.parquet"
    before, state = path.read_bytes(), path.stat().st_mtime_ns
    assert "the same predictions lie there; nothing was written" in submitted(clone, "one")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, state)
    test = clone / "data" / "raw" / "test.csv"
    kept = test.read_text()
    header, first, second, *rest = kept.splitlines()
    test.write_text("\n".join([header, second, first, *rest]) + "\n")
    assert "one.parquet: holds other predictions of this name; expected the same." in submitted(clone, "one", expect=1)
    test.write_text(kept)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_what_is_not_trained_or_no_longer_fresh_is_refused(clone) -> None:
    assert "train@idle is stale (not computed yet); expected a result of the current params. `dvc repro train@idle` first" in submitted(
        clone, "idle", expect=1
    )
    params = clone / "params.yaml"
    kept = params.read_text()
    try:
        params.write_text(kept.replace("lr: 0.005", "lr: 0.006"))
        assert "train@one is stale (params)" in submitted(clone, "one", expect=1)
        params.write_text(kept.replace("equalise: histogram", "equalise: none"))
        assert "prepare@faces is stale (params)" in submitted(clone, "one", expect=1)
    finally:
        params.write_text(kept)


@pytest.fixture
def untrained(tmp_path, monkeypatch) -> Path:
    """A clone with delivered faces and names, and nothing trained."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    deliver(tmp_path)
    name(tmp_path, *ROWS)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(fer2013_challenge, "COUNT", COUNT)
    return tmp_path


def test_a_file_predicts_what_its_card_prepares(untrained) -> None:
    """The model that ships; its temperature is not applied, and faces that are the same in test.csv have the same probabilities."""
    path, written, count = submit("shipped", root=untrained)
    table, made = read_submission(path)
    assert (path.name, written, count, len(table)) == ("ours.parquet", True, COUNT, COUNT)
    probs = table.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probs, probs[np.arange(COUNT) % 14], atol=1e-5)
    images = pixels(84, seed=0)[70:].astype(np.uint8)
    from ferlab.deployment import Predictor

    np.testing.assert_allclose(probs[:14], Predictor.load().predict_faces(images, flip=True, raw=True), atol=1e-5)
    assert (made["study"], made["members"]["shipped"]["role"]) == ("fer2013_gpu", "untouched")
    assert submit("shipped", root=untrained)[1] is False


def test_faces_that_a_model_was_trained_on_are_not_handed_in(untrained) -> None:
    folder = foreign(untrained / "means", words=("happy", "sad", "angry"))
    card = folder / "model.yaml"
    card.write_text(card.read_text().replace("x: []", "fer2013: [Training, PrivateTest]"))
    name(untrained, f"means | - | {folder / 'model.onnx'} | none | | q")
    with pytest.raises(InputError, match="was trained on PrivateTest, as its card states"):
        submit(str(folder / "model.onnx"), tta="none", root=untrained)
    card.write_text(card.read_text().replace(", PrivateTest", ""))
    with pytest.raises(InputError, match="does not predict disgust, fear, surprise, neutral; expected a model of all of angry"):
        submit(str(folder / "model.onnx"), tta="none", root=untrained)


def evaluated(right: float) -> pd.DataFrame:
    """Predictions of val: the true class has the probability `right` in three of four faces."""
    targets, n = np.arange(40) % 7, np.arange(40)
    probs = np.full((40, 7), (1 - right) / 6)
    probs[n, np.where(n % 4 == 0, (targets + 1) % 7, targets)] = right
    return predictions_table([f"fer2013/{row}" for row in n], ["val"] * 40, targets, probs=probs, expressions=EXPRESSIONS)


def test_a_fitted_ensemble_has_the_weights_that_compare_fits_on_val(untrained, monkeypatch) -> None:
    change(untrained, compare={**STUDY["compare"], "weights": "fitted"})
    name(untrained, "both | tiny | fitted ensemble | flip | ensemble | q", "other | tiny | fitted ensemble | none | | q")
    seen, asked = {"trained_on": ["train"], "selected_on": ["val"]}, []
    kept = {"one": evaluated(0.7), "two": evaluated(0.2)}
    monkeypatch.setattr(submissions, "_fresh", lambda stage, run, _: asked.append((stage, run)))
    monkeypatch.setattr(submissions, "read_runs", lambda runs: (kept, dict.fromkeys(runs, seen)))
    probs = np.random.default_rng(0).dirichlet(np.ones(7), (2, COUNT))
    members = dict(zip(("one", "two"), probs, strict=True))
    monkeypatch.setattr(submissions, "_of_runs", lambda runs, *_, weights, **__: (mean_probs(members, weights), EXPRESSIONS, {}))
    table, made = read_submission(submit("fitted ensemble", root=untrained)[0])
    weights = made["weights"]
    assert weights == fit_weights(kept)
    assert weights["one"] > weights["two"]
    assert asked == [("evaluate", "one"), ("evaluate", "two")]
    total = sum(weights.values())
    np.testing.assert_allclose(table.iloc[:, 1:], weights["one"] / total * probs[0] + weights["two"] / total * probs[1], atol=1e-6)
    with pytest.raises(InputError, match=r"its weights are fitted on val with TTA flip; expected compare\.weights: fitted, and no other --tta"):
        submit("fitted ensemble", tta="none", root=untrained)


def change(root: Path, **sections) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({**STUDY, **sections}, sort_keys=False))


@pytest.mark.parametrize(
    ("asked", "tta", "told"),
    [
        ("on", "", "no model is called 'on'; did you mean 'one'"),
        ("two", "", r"names no submission of two of study tiny \(one of tiny, .*\); expected a row, written before the predictions are made"),
        ("one", "vote", "names one of study tiny with TTA flip, none, not vote; expected --tta flip"),
        ("shipped", "vote", "shipped: TTA vote needs a run's weights; expected none or flip of an ONNX file"),
        ("fitted ensemble", "", "fitted ensemble of faces: compare.weights is equal; expected compare.weights: fitted, and no other --tta"),
        ("ensemble of face", "", r"ensemble of face: which one\? expected one of 'ensemble of faces'"),
        ("one", "", r"train@one is stale|prepare store|not found"),
    ],
)
def test_refusals_name_what_to_do_in_one_line(untrained, asked, tta, told) -> None:
    with pytest.raises(InputError, match=told) as error:
        submit(asked, tta=tta, root=untrained)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (untrained / FOLDER).iterdir()) == ["README.md"]


@pytest.mark.parametrize(
    ("source", "told"),
    [({"dataset": "control"}, "none of FER2013"), ({"dataset": "fer2013_reshuffled"}, "holds PrivateTest's own"),
     ({"sources": {"a": {"dataset": "fer2013"}, "b": {"dataset": "captured"}}}, "holds captured faces")],
)  # fmt: skip
def test_runs_of_other_datasets_are_refused(untrained, source, told) -> None:
    change(untrained, prepare={"faces": source})
    with pytest.raises(InputError, match=f"run one: set faces .*{told}"):
        submit("one", root=untrained)
    with pytest.raises(InputError, match=r"ensemble: which one.* none: compare has no ensemble on FER2013"):
        submit("ensemble", root=untrained)


def test_without_test_csv_the_command_says_where_it_is(untrained, capsys, monkeypatch) -> None:
    (untrained / "data" / "raw" / "test.csv").unlink()
    monkeypatch.setattr("ferlab.params.load_params", lambda: submissions.load_params(untrained / "params.yaml"))
    monkeypatch.setattr(submissions.submit, "__kwdefaults__", {"tta": "", "root": untrained})
    assert main(["submit", "one"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"ferlab: {untrained}/data/raw/test.csv: not found; expected test.csv of Kaggle's challenge")
    assert said.count("\n") == 1
