"""Each study says what its paper did, names what there is, and runs: in short, on control faces in the layout of the data that it wants."""

from __future__ import annotations

from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from ferlab.control.layouts import draw_layout
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import gather
from ferlab.data.preparation.steps import plan_preparation, step_of
from ferlab.data.readers.reading import find_reader
from ferlab.data.store import Store, count_faces
from ferlab.models import create_model, model_card
from ferlab.models.create import input_shape
from ferlab.params import Params, Prepare, check_params
from ferlab.studies import BASE, studies, study_text
from ferlab.training.fit import fit

ROOT = Path(__file__).parents[1]
STUDIES = studies(ROOT)
PAPERS = [name for name in STUDIES if name != BASE and not name.startswith(("fer2013", "captured", "frame", "worlds"))]


@cache
def study(name: str) -> Params:
    return check_params(YAML(typ="safe").load(study_text(ROOT, name)), source=name)


def every(name: str, key: str) -> set[Any]:
    """The values of a training key over all runs of a study."""
    return {getattr(run.train, key) for run in study(name).runs.values()}


# What is named is there


@pytest.mark.parametrize("name", STUDIES)
def test_nets_exist_with_their_options_and_take_faces(name: str) -> None:
    """On layers without memory; one batch through each distinct model, with as many classes as its set has at most."""
    distinct = {(run.model, run.family, str(sorted(run.options.items()))): run for run in study(name).runs.values()}
    for run in distinct.values():
        assert model_card(run.model, family=run.family)["build"]
        channels, size = input_shape(run.model, run.options)
        with torch.device("meta"):
            net = create_model(run.model, 8, channels, **run.options).eval()
            assert net(torch.empty(2, channels, size, size)).shape == (2, 8)


@pytest.mark.parametrize("name", STUDIES)
def test_readers_exist_and_every_set_is_used(name: str) -> None:
    params = study(name)
    for prepare in params.prepare.values():
        for source in prepare.all_sources.values():
            assert callable(find_reader(source["dataset"]))
    assert {run.data for run in params.runs.values()} | set(params.frame.sets) == set(params.prepare)


@pytest.mark.parametrize("name", PAPERS)
def test_a_study_begins_by_saying_what_is_whose_what_it_costs_and_what_it_reads(name: str) -> None:
    head = " ".join(takewhile(lambda line: line.startswith("#"), (ROOT / "conf" / "study" / f"{name}.yaml").read_text().splitlines()))
    if name != "cs230":  # published as it is
        assert all(words in head for words in ("The paper's own:", "Cost", "data/raw", "`ferlab draw"))


@pytest.mark.parametrize("name", PAPERS)
def test_factors_tell_the_runs_of_a_study_apart(name: str) -> None:
    if name == "cs230":
        pytest.skip("published without factors")
    places = [tuple(run.factors.items()) for run in study(name).runs.values()]
    assert len({(place, run.seed) for place, run in zip(places, study(name).runs.values(), strict=True)}) == len(places)
    assert len({tuple(factor for factor, _ in place) for place in places}) == 1
    for factor in dict(places[0]):
        assert len({dict(place)[factor] for place in places}) > 1, factor


# The papers' numbers, by hand


def test_fers_is_run_as_the_paper_chose_its_epoch_and_as_it_should_have() -> None:
    assert (every("fers", "epochs"), every("fers", "lr"), every("fers", "optimizer")) == ({13}, {0.001}, {"adam"})
    runs = study("fers").runs
    each_seed = [("test", True), ("val", True), ("test", False), ("val", False)]
    assert [(run.train.select, run.train.class_weights) for run in runs.values()] == 3 * each_seed
    assert [run.seed for run in runs.values()] == [0] * 4 + [1] * 4 + [2] * 4
    assert study("fers").prepare["affectnet"].size == 224
    assert runs["weighted_test"].train.model_copy(update={"select": "val"}) == runs["weighted_val"].train


def test_fers_on_ferplus_is_fers_but_for_its_faces() -> None:
    fers, here = study("fers"), study("fers_ferplus")
    assert {name: run.model_copy(update={"data": "affectnet"}) for name, run in here.runs.items()} == fers.runs
    same = ("size", "colour", "network_input", "shards", "split", "val_fraction")
    (faces,), (stand_in,) = fers.prepare.values(), here.prepare.values()
    assert [getattr(faces, key) for key in same] == [getattr(stand_in, key) for key in same]


def test_cs230s_recipes() -> None:
    text, code = (study("cs230_paper").runs[f"five_layer_{name}"].train for name in ("text", "code"))
    assert (text.lr, text.momentum, text.batch_size, text.weight_decay, text.epochs, text.schedule) == (0.1, 0.9, 128, 0.0001, 300, "plateau")
    assert (code.lr, code.nesterov, code.batch_size, code.epochs) == (0.01, True, 128, 300)
    assert {run.options["dropout"] for run in study("cs230_paper").runs.values() if run.model == "five_layer"} == {0.3}
    assert (text.rotation, text.zoom, text.shift, text.flip) == (10.0, 0.1, 0.1, True)
    assert (every("cs230", "epochs"), list(study("cs230").runs)) == ({24}, ["five_layer", "five_layer_weighted"])


def test_smote_undersamples_to_the_mean_number_of_faces_of_an_expression() -> None:
    training = {"angry": 3995, "disgust": 436, "fear": 4097, "happy": 7215, "sad": 4830, "surprise": 3171, "neutral": 4965}
    under = study("cs230_paper").runs["five_layer_smote_under"].train.most_per_expression
    assert abs(under - 0.9 * sum(training.values()) / 7) < 1  # val is a tenth


def test_cs230_in_short_is_cs230_but_for_epochs_and_schedule() -> None:
    whole, short = study("cs230_paper"), study("cs230_short")
    assert set(whole.runs) - set(short.runs) == {"five_layer_code"}
    changed = {"epochs": 8, "schedule": "one_cycle", "threads": 1}
    for name, run in short.runs.items():
        assert run == whole.runs[name].model_copy(update={"train": whole.runs[name].train.model_copy(update=changed)})
    assert short.prepare == whole.prepare


SWEPT = {"cnn": "base", "cnn_lr1e-2": "lr1e-2", "cnn_lr1e-4": "lr1e-4", "cnn_4_stages": "stages_4", "cnn_5_stages": "stages_5"}


@pytest.mark.parametrize(
    ("whole", "short", "runs", "changed"),
    [
        ("resemotenet", "resemotenet_short", {"cnn": ("cnn_short", 5), "resemotenet": ("resemotenet_short", 2)}, {"schedule": "one_cycle"}),
        ("fers_ferplus", "fers_short", {"weighted_val": ("weighted", 2), "plain_val": ("plain", 2)}, {"select": "val"}),
        ("cs231a", "cs231a_short", {f"lenet_caffe_ckplus8_{split}": (f"lenet_{split}", 8) for split in ("random", "subjects")}, {}),
        ("resemotenet", "resemotenet_sweep", {long: (name, 2) for long, name in SWEPT.items()}, {"schedule": "one_cycle"}),
    ],
)
def test_a_short_study_is_the_papers_but_for_epochs_and_schedule(whole: str, short: str, runs: dict[str, Any], changed: dict[str, Any]) -> None:
    here, there = study(short), study(whole)
    assert here.prepare == {name: there.prepare[name] for name in here.prepare}
    assert set(here.runs) == {name for name, _ in runs.values()}
    for long, (name, epochs) in runs.items():
        train = there.runs[long].train.model_copy(update=changed | {"epochs": epochs, "threads": 1})
        told = {"group": name, "factors": here.runs[name].factors}
        assert here.runs[name] == there.runs[long].model_copy(update={"train": train} | told)


def test_cs230s_table_2_is_whole() -> None:
    runs = dict(study("cs230_table2").runs)
    for held in (runs.pop("resnet50_held"), runs.pop("recognition_held")):
        assert (held.options, held.train.epochs, held.train.pretrained) == ({"freeze": "all_but_head"}, 20, "published")
    places = {tuple(run.factors.values()) for run in runs.values()}
    nets = ("five_layer", "resnet50", "senet50", "vgg16", "recognition")
    assert places == {(w, a, n) for w in ("with", "without") for a in ("none", "CK+ and JAFFE") for n in nets}
    for run in runs.values():
        assert run.train.class_weights == (run.factors["class weights"] == "with")
        assert run.data == ("fer2013" if run.factors["auxiliary data"] == "none" else "fer2013_aux")
        assert run.factors["network"] in run.model
        assert (run.train.optimizer, run.train.lr, run.train.batch_size) == ("sgd", 0.01, 128)
        assert run.train.pretrained == ("" if run.model == "five_layer" else "published")
        assert run.options == ({"freeze": "paper"} if run.family == "cs230_transfer" else {})
        assert run.train.epochs == (122 if run.factors["network"] in ("resnet50", "senet50") else 100)
    assert {run.model: input_shape(run.model, run.options) for run in runs.values() if "cs230_" in run.model} == {
        f"cs230_{net}": (3, 197) for net in nets[1:4]
    }


def test_cs231as_stages_stand_beside_an_honest_split() -> None:
    params = study("cs231a")
    assert (every("cs231a", "lr"), every("cs231a", "weight_decay"), every("cs231a", "batch_size")) == ({0.001}, {0.0005}, {32})
    assert {prepare.split for prepare in params.prepare.values()} == {"random_frames", "groups"}
    for name, prepare in params.prepare.items():
        if name.endswith("_random"):
            beside = params.prepare[name.replace("_random", "_subjects")]
            assert prepare.model_copy(update={"split": "groups"}) == beside
    for run in params.runs.values():
        beside = params.runs[run.group.replace("_random", "_subjects")]
        assert (run.train, run.model) == (beside.train, beside.model)
        assert run.factors["split"] == {"random_frames": "random frames", "groups": "by subject"}[params.prepare[run.data].split]


@pytest.mark.parametrize(
    ("data", "faces"),
    [("ckplus8", 503 / 0.2), ("ckplus7", 487 / 0.2), ("ckplus7_jaffe", 487 / 0.2 + 213), ("ckplus7_jaffe_custom", 2104 + 300 + 601)],
)
def test_cs231as_epochs_are_five_thousand_batches_of_thirty_two(data: str, faces: float) -> None:
    epochs = {run.train.epochs for run in study("cs231a").runs.values() if run.data == f"{data}_random"}
    train = 0.7 * faces * 4  # each with its mirror image and turned either way
    assert epochs == {round(5000 * 32 / train)}


def test_inputs_are_scaled_as_the_papers_say() -> None:
    scalings = {name: every(name, "scaling") for name in STUDIES}
    unit = [name for name in STUDIES if name == "fers" or name.startswith(("fers_", "resemotenet"))]
    papers = {key: {"unit"} for key in unit} | {key: {"mean_image"} for key in ("cs231a", "cs231a_short")}
    assert scalings == {name: papers.get(name, {"standardised"}) for name in STUDIES}
    for run in study("cs231a").runs.values():  # grey levels for Caffe's gaussian weights; Caffe's LeNet with Caffe's pools
        assert run.options == ({"ceil_mode": True} if run.model == "lenet_caffe" else {"grey_std": 255.0})
    assert all(prepare.network_input == "cs231a" for prepare in study("cs231a").prepare.values())


def test_resemotenets_paper_and_its_sweep() -> None:
    runs = study("resemotenet").runs
    assert (every("resemotenet", "epochs"), every("resemotenet", "batch_size"), every("resemotenet", "optimizer")) == ({50}, {64}, {"adam"})
    assert runs["cnn"].train == runs["resemotenet"].train
    assert {run.train.lr for run in runs.values() if run.model == "resemotenet_cnn"} == {0.01, 0.001, 0.0001}
    assert all(float(run.factors["learning rate"]) == run.train.lr for run in runs.values())
    prepare = study("resemotenet").prepare["fer2013"]
    assert (prepare.val_fraction, prepare.usages) == (0.2, {"PublicTest": "test"})


def test_fersys_divides_the_folder_as_its_paper_did() -> None:
    prepare, runs = study("fersys").prepare["reshuffled"], study("fersys").runs
    assert (prepare.val_fraction, prepare.test_fraction, prepare.options) == (0.15, 0.15, {"validation": False})
    assert (every("fersys", "epochs"), every("fersys", "optimizer")) == ({30}, {"adam"})
    assert {run.model for run in runs.values()} == {"fersys_cnn", "deepface_emotion"}
    assert all(run.train.patience for run in runs.values())


def test_the_honest_half_of_fersys_is_as_in_the_whole() -> None:
    whole, half = study("fersys"), study("fersys_official")
    assert half.prepare["official"] == whole.prepare["official"]
    for run in half.runs.values():  # but for its seed
        assert run.train == whole.runs["cnn_official"].train.model_copy(update={"threads": 1})
        beside = whole.runs[run.group].model_copy(update={"seed": run.seed})
        assert run.model_dump(exclude={"factors", "train"}) == beside.model_dump(exclude={"factors", "train"})
    assert [(run.group, run.seed) for run in half.runs.values()] == [
        (group, seed) for group in ("cnn_official", "deepface_scratch_official") for seed in (0, 1, 2)
    ]


def test_the_embedding_of_fersys_is_as_published_and_its_head_alone_is_trained() -> None:
    runs, beside = list(study("fersys_embedding").runs.values()), study("fersys_official")
    assert [(run.model, run.seed) for run in runs] == [("face_recognition", seed) for seed in (0, 1, 2)]
    assert study("fersys_embedding").prepare == beside.prepare
    expected = beside.runs["cnn_official"].train.model_copy(update={"pretrained": "published"})
    assert all(run.train == expected for run in runs)
    with torch.device("meta"):
        net = create_model(runs[0].model, 7, 3, **runs[0].options)
    trained = {name.partition(".")[0] for name, weights in net.named_parameters() if weights.requires_grad}
    assert (net.descriptor.out_features, trained) == (128, {"hidden", "logits"})


# Each in short, on what stands in for its data

LAYOUTS_OF = {  # study -> folder below data/raw -> layout; one set, and the smallest model that its paper has
    "captured": ({"collected": "captured"}, "five_layer"),
    "cs230": ({"fer2013": "fer2013"}, "five_layer"),
    "cs230_paper": ({"fer2013": "fer2013"}, "five_layer_text"),
    "cs230_short": ({"fer2013": "fer2013"}, "five_layer_text"),
    "cs230_table2": ({"fer2013": "fer2013", "ckplus": "ckplus", "jaffe": "jaffe"}, "five_layer_aux_wcw"),
    "cs231a": ({"ckplus": "ckplus", "jaffe": "jaffe", "custom": "captured"}, "lenet_caffe_ckplus8_random"),
    "cs231a_short": ({"ckplus": "ckplus"}, "lenet_random"),
    "fers": ({"affectnet": "affectnet"}, "weighted_test"),
    "fers_ferplus": ({"ferplus": "ferplus"}, "weighted_test"),
    "fers_short": ({"ferplus": "ferplus"}, "weighted"),
    "fersys": ({"fer2013": "fer2013", "fer2013_reshuffled": "fer2013_reshuffled"}, "cnn_reshuffled"),
    "fersys_embedding": ({"fer2013": "fer2013"}, "embedding_0"),
    "fersys_official": ({"fer2013": "fer2013"}, "cnn_official"),
    "resemotenet": ({"fer2013": "fer2013"}, "cnn"),
    "resemotenet_short": ({"fer2013": "fer2013"}, "cnn_short"),
    "resemotenet_sweep": ({"fer2013": "fer2013"}, "base"),
}


def noise(spec: Any, size: int, *, colour: bool = False) -> np.ndarray:
    return np.random.default_rng([*spec.noise_seed, spec.frame]).integers(0, 256, (size, size, 3) if colour else (size, size), np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All layouts that a study wants, below one folder as below data/raw; noise in place of drawings, which take 7 to 100 ms each."""
    root = tmp_path_factory.mktemp("drawn")
    wanted = {folder: layout for folders, _ in LAYOUTS_OF.values() for folder, layout in folders.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ferlab.control.layouts.draw_image", noise)
        for folder, layout in wanted.items():
            draw_layout(layout, root / folder, each=1 if layout in ("captured", "jaffe") else None, size=48 if layout != "affectnet" else 24)
    return root


def prepare_drawn(prepare: Prepare, raw: Path, folder: Path) -> Store:
    """What 01_prepare does, without looking for faces in noise."""
    own = raw / Path(prepare.raw).relative_to("data/raw")
    values = prepare.model_dump()
    gathered = gather(own, prepare.all_sources, seed=prepare.seed)
    assert gathered.faces["source"].str.startswith("control:").all()
    look = {key: values[key] for key in ("colour", "equalise", "blur")} | {"size": prepare.size}
    step = step_of(plan_preparation(own, gathered.faces, values["face"] | {"detector": "none"}, **look), gathered.faces)
    split = {"rule": prepare.split} | {key: values[key] for key in ("val_fraction", "test_fraction", "folds", "fold", "seed")}
    return prepare_set(folder / "store", gathered, step, split=split, work=folder / "work", plan=values)


def test_every_papers_study_has_a_stand_in() -> None:
    assert set(LAYOUTS_OF) == {*PAPERS, "captured"}


def distinct_sets() -> dict[str, tuple[Prepare, int]]:
    """Return each way in which studies prepare data, small, with its number of expressions, by the studies and sets that have it."""
    sets: dict[tuple[str, int], tuple[list[str], Prepare]] = {}
    for name, data in [(each, data) for each in LAYOUTS_OF for data in study(each).prepare]:
        small = study(name).prepare[data].model_copy(update={"size": 24, "shards": 0})
        expressions = 8 if name.startswith("fers_") or name == "fers" or data.startswith("ckplus8") else 7
        sets.setdefault((small.model_dump_json(), expressions), ([], small))[0].append(f"{name}-{data}")
    return {" ".join(names): (small, expressions) for (_, expressions), (names, small) in sets.items()}


@pytest.mark.parametrize(("small", "expressions"), distinct_sets().values(), ids=distinct_sets())
def test_every_set_can_be_split_from_what_stands_in_for_its_data(drawn: Path, tmp_path: Path, small: Prepare, expressions: int) -> None:
    store = prepare_drawn(small, drawn, tmp_path)
    assert len(store.expressions) == expressions
    assert (count_faces(store.faces, "split", expressions=store.expressions).loc[["train", "val", "test"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    "name", ["captured", "cs230", "cs230_short", "cs231a_short", "fers_ferplus", "fers_short", "resemotenet_short", "resemotenet_sweep"]
)
def test_a_shortened_run_goes_through(drawn: Path, tmp_path: Path, name: str) -> None:
    """One epoch of few faces, of the studies that do not run whole in test_papers_end_to_end."""
    run = study(name).runs[LAYOUTS_OF[name][1]]
    size = input_shape(run.model, run.options)[1]
    store = prepare_drawn(study(name).prepare[run.data].model_copy(update={"size": size, "shards": 0}), drawn, tmp_path)
    store = few(store, per_expression=3 if size > 100 else 6)
    settings = run.train.model_copy(update={"epochs": 1, "batch_size": 16, "threads": 1, "precision": "32-true", "refit": False})
    fitted = fit(store, run=name, model=run.model, options=run.options, seed=0, settings=settings, partial=tmp_path / "partial")
    assert fitted.epochs_run == 1
    assert np.isfinite({"val": fitted.val, "test": fitted.test}[run.train.select]["loss"])
    assert tuple(fitted.card["expressions"]) == store.expressions


def few(store: Store, *, per_expression: int) -> Store:
    """The first faces of each expression in each split."""
    place = store.faces.groupby(["split", "target"]).cumcount()
    rows = np.flatnonzero((place < per_expression).to_numpy())
    return Store(images=np.asarray(store.images)[rows], faces=store.faces.iloc[rows].reset_index(drop=True), expressions=store.expressions)
