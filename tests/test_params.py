"""params.yaml is the only truth: every wrong key, type, range or name is one line that names it."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from ferlab.params import check_params, declared, load_params, read_yaml, stage_params
from ferlab.params.names import registered
from ferlab.paths import NOTEBOOKS, RUN_STAGES, SET_STAGES, InputError
from ferlab.studies import study_text

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "conf" / "study").glob("*.yaml"))


@pytest.fixture
def raw() -> dict:
    return YAML(typ="safe").load(ROOT / "conf" / "study" / "quick.yaml")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "epoch", 3, "train.epoch: unknown key; did you mean 'epochs'?"),
        ("train", "loss", "l2_svm", "label_smoothing needs cross_entropy: expected 0.0 with loss: l2_svm"),
        ("train", "loss", "balanced_focal", "label_smoothing needs cross_entropy: expected 0.0 with loss: balanced_focal"),
        ("train", "flip", "alternate", "train.flip: input should be true, false or 'alternating', got 'alternate'"),
        ("train", "sam", -0.1, "train.sam: input should be greater than or equal to 0, got -0.1"),
        ("train", "repeats", 0, "train.repeats: input should be greater than or equal to 1, got 0"),
        ("train", "lr", "0.1", "train.lr: input should be a valid number, got '0.1'"),
        ("train", "epochs", 0, "train.epochs: input should be greater than or equal to 1, got 0"),
        ("train", "optimizer", "sgdd", "train.optimizer: input should be 'sgd', 'adam' or 'adamw', got 'sgdd'"),
        ("prepare", "control", {"datset": "control"}, "prepare.control.datset: unknown key; did you mean 'dataset'?"),
        ("prepare", "control", {"raw": "data/raw"}, "prepare.control: expected `dataset` with its options, or `sources` with theirs"),
        ("prepare", "control", {"dataset": "x", "face": {"detector": "har"}}, "prepare.control.face.detector: input should be 'none', 'haar'"),
        ("prepare", "control", {"sources": {"a": {"dataset": "x"}}, "labels": {"contempt": None}}, "`sources` with theirs, and not both"),
        ("explain", "windw", 8, "explain.windw: unknown key; did you mean 'window'?"),
        ("compare", "ensemble", ["five"], "compare.ensemble: no run is called 'five'; did you mean 'five_layer'?"),
        ("compare", "baseline", "five", "compare.baseline: no run is called 'five'; did you mean 'five_layer'?"),
        ("robustness", "sets", ["contrl"], "robustness.sets: no set is called 'contrl'; did you mean 'control'?"),
        ("robustness", "sets", ["control"], "robustness.sets: 'control' is the set of every run; expected other sets of prepare"),
        ("robustness", "faces", 1, "robustness.faces: input should be greater than or equal to 2, got 1"),
        ("compare", "contrasts", [["five", "b"]], "compare.contrasts: five against b: no run is called 'five'; did you mean 'five_layer'?"),
        ("compare", "contrasts", [["five_layer"]], "compare.contrasts.0: "),
        ("compare", "experts", [["five_layer", "b"]], "compare.experts: b for five_layer: no run is called 'b'"),
        ("compare", "experts", [["five_layer", "five_layer_seed1"]], "expected an expert with two train.expressions, for a run without; got []"),
        ("compare", "contrasts", [["five_layer", "five_layer"]], "expected two different runs, and each pair once"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(raw, section, key, value, message):
    raw[section][key] = value
    with pytest.raises(InputError) as error:
        check_params(raw)
    assert message in str(error.value)
    assert str(error.value).startswith("params.yaml: ")
    assert "\n" not in str(error.value)


def test_two_runs_of_one_recipe_and_seed_are_refused(raw):
    for name, run in raw["runs"].items():
        run |= {"factors": {"weights": "off"}, "seed": 3 + (name == "five_layer_seed1")}
    check_params({**raw, "runs": {name: raw["runs"][name] for name in ("five_layer", "five_layer_seed1")}})
    raw["runs"]["five_layer_seed1"]["seed"] = 3
    with pytest.raises(InputError, match=r"runs\.five_layer_seed1\.factors: its factors and its seed are those of five_layer; expected another seed"):
        check_params(raw)


def test_an_expert_is_contrasted_with_no_run(raw):
    raw["runs"]["five_layer_seed1"]["train"] = {"expressions": ["happy", "sad"]}
    raw["compare"]["contrasts"] = [["five_layer_seed1", "five_layer"]]
    with pytest.raises(InputError, match=r"five_layer_seed1 is an expert for two expressions, which scores other faces; name it in compare\.experts"):
        check_params(raw)


def test_a_run_of_an_unknown_set_is_refused(raw):
    raw["runs"]["five_layer"]["data"] = "contrl"
    with pytest.raises(InputError, match=r"runs\.five_layer\.data: no set is called 'contrl'; did you mean 'control'\?"):
        check_params(raw)


def test_a_name_that_cannot_be_a_file_name_is_refused(raw):
    raw["runs"]["a/b"] = copy.deepcopy(raw["runs"]["five_layer"])
    with pytest.raises(InputError, match=r"runs\.a/b: a name holds letters"):
        check_params(raw)


def test_keys_that_do_not_go_together_are_told_without_the_rest_of_their_section(raw):
    raw["train"]["loss"] = "l2_svm"
    with pytest.raises(InputError) as caught:
        check_params(raw)
    expected = "params.yaml: runs.five_layer.train: label_smoothing needs cross_entropy: expected 0.0 with loss: l2_svm"
    assert str(caught.value) == expected


def test_repeats_without_augmentation_are_refused(raw):
    raw["train"] |= {"repeats": 5, "flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0}
    with pytest.raises(InputError, match="repeats: 5 shows a face several times in a batch, so some augmentation must be on"):
        check_params(raw)
    raw["train"]["crop"] = 0.9
    assert check_params(raw).runs["five_layer"].train.repeats == 5


def test_sam_of_a_compiled_model_is_refused(raw):
    raw["train"] |= {"sam": 0.05, "compile": True}
    with pytest.raises(InputError, match=r"sam: 0.05 changes batch normalisation between its two passes, so compile must be false"):
        check_params(raw)


def test_teachers_are_runs_of_the_same_set_that_stand_above(raw):
    raw["runs"]["five_layer_seed1"]["train"] = {"teachers": ["five_layer"]}
    assert check_params(raw).runs["five_layer_seed1"].train.teachers == ["five_layer"]
    raw["runs"]["five_layer_seed1"]["train"] = {"teachers": ["five_layer", "shipped"]}
    assert check_params(raw).runs["five_layer_seed1"].train.teachers == ["five_layer", "shipped"]
    raw["prepare"]["other"] = raw["prepare"]["control"]
    for run, teacher, data, what in (
        ("five_layer_seed1", "five_layers", "control", "no run is called 'five_layers'; did you mean 'five_layer'?"),
        ("five_layer_seed1", "shiped", "control", "no run is called 'shiped'; did you mean 'shipped'?"),
        ("five_layer_seed1", "five_layer_seed1", "control", "five_layer_seed1: it is the run itself"),
        ("five_layer", "five_layer_seed1", "control", "five_layer_seed1: it is further down, and runs are trained in their order"),
        ("five_layer_seed1", "five_layer", "other", "it is trained on set 'other', not 'control'"),
        ("five_layer_seed1", "five_layer", "svm", "five_layer: its loss is l2_svm, so its outputs are no probabilities"),
        ("five_layer_seed1", "twice", "control", "five_layer: named twice"),
    ):
        wrong = copy.deepcopy(raw)
        wrong["runs"][run]["train"] = {"teachers": ["five_layer"] * 2 if teacher == "twice" else [teacher]}
        if data == "svm":
            wrong["runs"]["five_layer"]["train"] = {"loss": "l2_svm", "label_smoothing": 0.0}
        else:
            wrong["runs"]["five_layer"]["data"] = data
        with pytest.raises(InputError, match=re.escape(what)):
            check_params(wrong)


@pytest.mark.parametrize(
    ("teacher", "pupil", "what"),
    [
        ({"select": "test"}, {}, "it was selected on test, which this run leaves untouched"),
        ({"select": "none"}, {}, "it was trained on val, which this run only selects on"),
        ({"refit": True}, {}, "it was trained on val, which this run only selects on"),
        ({}, {"select": "none"}, ""),
        ({"refit": True}, {"refit": True}, ""),
    ],
)
def test_a_teacher_has_seen_no_more_of_a_split_than_its_pupil(raw, teacher, pupil, what):
    raw["runs"]["five_layer"]["train"] = teacher
    raw["runs"]["five_layer_seed1"]["train"] = {**pupil, "teachers": ["five_layer"]}
    if not what:
        assert check_params(raw).runs["five_layer_seed1"].train.teachers == ["five_layer"]
        return
    with pytest.raises(InputError, match=re.escape(what)):
        check_params(raw)


def test_weights_of_a_vote_are_not_fitted_for_a_run_that_was_selected_on_test(raw):
    raw["compare"]["weights"] = "fitted"
    assert check_params(raw).compare.weights == "fitted"
    raw["runs"]["five_layer"]["train"] = {"select": "test"}
    with pytest.raises(InputError, match=r"compare\.weights: fitted: five_layer will have been trained on val or selected on test"):
        check_params(raw)


def test_a_runs_own_train_is_merged_over_the_defaults(raw):
    raw["runs"]["five_layer"]["train"] = {"epochs": 3}
    train = check_params(raw).runs["five_layer"].train
    assert train.epochs == 3
    assert train.batch_size == raw["train"]["batch_size"]


def test_a_stage_sees_only_what_it_declares(raw):
    params = check_params(raw)
    assert set(declared(params, "train", "five_layer")) == {"study", "name", "run"}
    assert set(declared(params, "prepare", "control")) == {"study", "name", "prepare"}
    assert set(declared(params, "evaluate", "five_layer")) == {"study", "name", "run", "evaluate"}
    assert set(declared(params, "compare")) == {"study", "name", "runs", "compare"}


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_what_is_injected_reads_back_as_typed_params(raw, stage):
    name = "control" if stage in SET_STAGES else "five_layer" if stage in RUN_STAGES else ""
    typed = stage_params(stage, name, declared(check_params(raw), stage, name))
    assert typed.study == "quick"
    assert stage in ("compare", "control_faces", "frame", "claims", "worlds") or typed.set_name == "control"


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *STUDIES], ids=lambda p: p.stem)
def test_yaml_1_1_and_1_2_read_the_same(path):
    assert yaml.safe_load(path.read_text()) == YAML(typ="safe").load(path)


@pytest.mark.parametrize(("text", "message"), [("", "expected sections, got NoneType"), ("a: [", "not YAML"), (None, "not found")])
def test_a_missing_empty_or_broken_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_params(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("study", "..", "study: a name holds letters"),
        ("study", "", "study: a name holds letters"),
        ("study", "/absolute", "study: a name holds letters"),
        ("study", "-x", "study: a name holds letters"),
        ("study", "<img src=x>", "study: a name holds letters"),
        ("study", "a" * 101, "study: a name holds letters"),
        ("runs.five_layer.group", "g`<b>", "runs.five_layer.group: a name holds letters"),
        ("runs.five_layer.model", "fivelayer", "runs.five_layer.model: no model is called 'fivelayer'; did you mean 'five_layer'?"),
        ("runs.five_layer.family", "../x", "runs.five_layer.family: five_layer is of the family cs230, not '../x'"),
        ("prepare.control.dataset", "contrl", "prepare.control: no reader is called 'contrl'; did you mean 'control'?"),
        ("prepare.control.exclusions", "../poor.csv", "prepare.control.exclusions: '../poor.csv' leaves the set's raw folder"),
        ("prepare.control.face", {"boxes": "/etc/boxes.csv"}, "prepare.control.face.boxes: '/etc/boxes.csv' leaves the set's raw folder"),
        ("train", "x", "train: expected the defaults of all runs, got 'x'"),
        ("train.lr", -1, "params.yaml: train.lr: input should be greater than 0, got -1"),
        ("train.zoom", float("nan"), "train.zoom: expected a number, got nan"),
        ("prepare.control.seed", 2**80, "prepare.control.seed: expected a number within 64 bits"),
        ("prepare.control.options", {"name": "a\n```{raw} html"}, "prepare.control.options.name: expected one line of text"),
        ("prepare.control.options", {"a\x1b": 1}, "prepare.control.options: key: expected one line of text"),
    ],
)
def test_what_could_hurt_or_ends_badly_later_is_refused_at_once(raw, place, value, message):
    *sections, key = place.split(".")
    section = raw
    for part in sections:
        section = section[part]
    section[key] = value
    with pytest.raises(InputError) as error:
        check_params(raw)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_set_named_as_an_option_of_the_runner_is_refused(raw):
    raw["prepare"]["-x"] = raw["prepare"]["control"]
    with pytest.raises(InputError, match=r"prepare\.-x: a name holds letters"):
        check_params(raw)


def test_a_runs_own_wrong_value_is_told_where_it_stands(raw):
    raw["runs"]["five_layer"]["train"] = {"lr": -1}
    with pytest.raises(InputError, match=r"params\.yaml: runs\.five_layer\.train\.lr: input should be greater"):
        check_params(raw)


def test_a_model_that_normalises_its_input_itself_takes_no_other_scaling(raw):
    run = raw["runs"]["five_layer"]
    run |= {"family": "backbones", "model": "onnx_backbone", "options": {"file": "models/w600k_r50.onnx", "trained_on": "WebFace600K"}}
    with pytest.raises(InputError, match=r"five_layer\.train\.scaling: onnx_backbone normalises its input itself; expected unit, got standardised$"):
        check_params(raw)
    run["train"] = {**run.get("train", {}), "scaling": "unit"}
    assert check_params(raw).runs["five_layer"].train.scaling == "unit"


def test_models_and_readers_are_read_from_the_registries_that_build_them():
    from ferlab.data.readers.registry import READERS
    from ferlab.models.registry import MODELS

    assert registered("models") == {name: card["family"] for name, card in MODELS.items()}
    assert set(registered("readers")) == set(READERS)


LAUGHS = "a: &a [1]\nb: &b [*a, *a]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: 2024-13-45\n", "not YAML: month must be in 1..12"),
        ("train: {epochs: !!int abc}\n", "not YAML"),
        ("[" * 100_000, "more than 20 lists and sections in each other"),
        (LAUGHS, "line 2: *a repeats another place of the file; expected every value written out"),
        ("a: 0x" + "f" * 6000, "a: expected a number within 64 bits"),
        ("a: &a {b: *a}\n", "repeats another place"),
        ("study: 2024-01-13\n", "study: expected text, a number, true, false or null, got datetime.date(2024, 1, 13); put text in quotes"),
        ("a: {b: !!binary aGk=}\n", "a.b: expected text"),
        ("a: {1: b}\n", "a: key 1: expected text; put it in quotes"),
        ("a: 1\na: 2\n", "not YAML"),
        ("a: \ud800\n", "not YAML"),
        ("- 1\n", "expected sections, got list"),
        ("a: " + "x" * 1_000_001, "expected at most 1,000,000"),
    ],
)
def test_yaml_that_is_deep_cyclic_huge_or_odd_is_one_line(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    for read in (load_params, lambda path: read_yaml(path, source="params.yaml", round_trip=True)):
        with pytest.raises(InputError) as error:
            read(path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


ODD = [None, "", "x", -1, 0, 2**70, 1e309, True, [], {}, [[]], {"a": {"b": []}}, "a\nb", "<b>", "$(x)", "..", "é" * 300, [1, "a", None], {1: 2}, b"x"]
ODD_KEYS = ["epoch", "-x", "a b", "__class__", 3, None]


def places(value, path=()):
    """Every place of a nested value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def broken_values(base: dict, draw: random.Random) -> dict:
    """One value of another kind, one key gone, or one more."""
    broken = copy.deepcopy(base)
    *above, last = draw.choice([place for place in places(broken) if place])
    inside = broken
    for key in above:
        inside = inside[key]
    change = draw.choice(["value", "gone", "new"]) if isinstance(inside, dict) else "value"
    if change == "gone":
        del inside[last]
    else:
        inside[last if change == "value" else draw.choice(ODD_KEYS)] = draw.choice(ODD)
    return broken


def broken_bytes(text: str, draw: random.Random) -> bytes:
    mutated = bytearray(text.encode())
    for _ in range(draw.randint(1, 30)):
        mutated[draw.randrange(len(mutated))] = draw.randrange(256)
    return bytes(mutated)


def refusal(read, *given) -> str:
    try:
        json.dumps(read(*given).model_dump(), sort_keys=True)  # as the runner does
    except InputError as error:
        return str(error)
    return ""


def test_five_hundred_broken_params_are_each_refused_in_one_line_or_read(tmp_path):
    """Values of other types, keys that are gone or new, bytes of the file changed: what is no params says so, and nothing else is raised."""
    text, draw, path = study_text(ROOT, "fers"), random.Random(7), tmp_path / "params.yaml"
    base = YAML(typ="safe").load(text)
    told = [refusal(check_params, broken_values(base, draw)) for _ in range(400)]
    for _ in range(100):
        path.write_bytes(broken_bytes(text, draw))
        told.append(refusal(load_params, path))
    assert not [line for line in told if "\n" in line or len(line) > 1000]
    assert sum(map(bool, told)) > 300
