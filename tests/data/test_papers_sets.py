"""The papers' sets end to end, from files as delivered to a store: cs231a's CK+ with JAFFE and custom photos, cs230's FER2013 with auxiliary data."""

import io
from itertools import product

import captured_files
import ckplus_files
import jaffe_files
import numpy as np
import pytest
from fer2013_files import csv_text
from PIL import Image

from ferlab.control import read as draw_control_faces
from ferlab.control.drawing.picture import draw_image
from ferlab.control.recipe import Recipe, compose
from ferlab.data.faces import originals
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import gather
from ferlab.data.preparation.steps import plan_preparation, step_of
from ferlab.data.splits import crossings, split_rule
from ferlab.data.store import read_excluded
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
from ferlab.params import Prepare

pytestmark = pytest.mark.slow


def prepare(folder, raw, **settings):
    """What 01_prepare does."""
    p = Prepare(raw=str(raw), **settings)
    values = p.model_dump()
    gathered = gather(raw, p.all_sources, exclusions=p.exclusions, seed=p.seed)
    look = {key: values[key] for key in ("size", "colour", "equalise", "blur")}
    step = step_of(plan_preparation(raw, gathered.faces, values["face"], **look), gathered.faces)
    split = {"rule": p.split} | {key: values[key] for key in ("val_fraction", "test_fraction", "folds", "fold", "seed")}
    more = {"copies": p.copies, "method": p.oversample, "shards": p.shards}
    return prepare_set(folder / "store", gathered, step, split=split, work=folder / "work", plan=values, **more)


def drawn_ckplus(subjects, codes, *, frames=9):
    """CK+'s files, each person and sequence drawn as its own: the small trees draw one for all, and duplicates stay together."""
    files = {}
    for person, (sequence, code) in product(range(subjects), enumerate(codes)):
        name = f"S{person:03d}/{sequence + 1:03d}"
        files |= ckplus_files.sequence_files(name, frames, code)
        for number in range(frames):
            spec = compose(Recipe(frames=frames), seed=0, index=(person * len(codes) + sequence) * frames + number, subject=person)
            file = io.BytesIO()
            Image.fromarray(draw_image(spec, 48)).save(file, "PNG")
            files[f"cohn-kanade-images/{name}/{name.replace('/', '_')}_{number + 1:08d}.png"] = file.getvalue()
    return files


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """CK+ as its zips, JAFFE as a folder, four people's captures, and a FER2013 csv."""
    root = tmp_path_factory.mktemp("raw")
    (root / "ckplus").mkdir()
    ckplus_files.write_zips(root / "ckplus", drawn_ckplus(12, (1, 2, 3, 5, 7, None)))
    posed = [f"{who}.{code}{1}.{serial}" for serial, (who, code) in enumerate(((w, c) for w in ("KA", "KL", "KM") for c in ("AN", "HA", "NE")), 1)]
    rows = [f"{n} 1.5 2.0 1.2 {4 if '.AN' in name else 1} 1.1 1.3 {name[:2]}-{name[3:6]}" for n, name in enumerate(posed, 1)]
    jaffe_files.write_files(root / "jaffe", jaffe_files.jaffe_files(posed, rows))
    captured_files.write_captured(root / "web")
    images, faces = draw_control_faces(faces=140, subjects=20, size=48, seed=1)
    usages = ["Training"] * 100 + ["PublicTest"] * 20 + ["PrivateTest"] * 20
    (root / "fer2013.csv").write_text(csv_text(images, faces["target"].tolist(), usages))
    return root


CS231A = {
    "sources": {
        "ckplus": {"dataset": "ckplus", "raw": "ckplus", "labels": {"contempt": None}},
        "jaffe": {"dataset": "jaffe", "raw": "jaffe", "options": {"labels": "ratings"}},
        "custom": {"dataset": "captured", "raw": "web"},
    },
    "face": {"detector": "haar", "not_found": "whole"},
    "size": 64,
    "colour": "grey",
    "blur": 5,
}


def test_cs231as_random_frames_put_the_same_people_on_both_sides_and_its_honest_split_does_not(tmp_path, raw):
    random = prepare(tmp_path / "random", raw, **CS231A, split="random_frames", val_fraction=0.1)
    honest = prepare(tmp_path / "honest", raw, **CS231A, split="groups")
    assert (np.asarray(random.images) == np.asarray(honest.images)).all()
    assert random.faces.drop(columns="split").equals(honest.faces.drop(columns="split"))
    crossed = crossings(random.faces, rule="random_frames").query("key == 'subject' and first == 'train' and second == 'test'")
    assert crossed["faces"].item() > 0.9 * (random.faces["split"] == "test").sum()
    assert len(crossings(honest.faces, rule="groups")) == 0
    assert split_rule(random.faces, rule="random_frames").startswith("At random over frames, as cs231a split")
    assert random.expressions == EXPRESSIONS


def test_what_a_joined_set_does_not_hold_is_listed_by_source(tmp_path, raw):
    prepare(tmp_path, raw, **CS231A)
    counts = read_excluded(tmp_path / "store").groupby(["source", "reason"]).size()
    assert counts[("ckplus", "contempt excluded by the label map")] == 12 * 3
    assert counts[("ckplus", "sequence without an emotion file")] == 12 * 9
    assert counts["ckplus"].sum() == 12 * (3 + 9 + 5 * 4)


def test_contempt_makes_eight_expressions(tmp_path, raw):
    store = prepare(tmp_path, raw, dataset="ckplus", options={"rule": "first1_last3"}, size=48)
    assert store.expressions == ALL_EXPRESSIONS
    assert (store.faces["target"] == 7).sum() == 12 * 3
    assert "S5" not in set(store.faces["subject"].str[:2])


def test_cs230s_auxiliary_faces_fit_and_its_web_faces_are_dealt_by_person(tmp_path, raw):
    sources = {
        "fer2013": {"dataset": "fer2013", "raw": "fer2013.csv", "options": {"votes": False}},
        "ckplus": {"dataset": "ckplus", "raw": "ckplus", "options": {"rule": "first1_last3", "contempt": "drop"}, "usages": {"all": "train"}},
        "jaffe": {"dataset": "jaffe", "raw": "jaffe", "usages": {"all": "train"}},
        "web": {"dataset": "captured", "raw": "web", "group_split": {"train": 0.75, "test": 0.25}},
    }
    store = prepare(tmp_path, raw, sources=sources, size=48, colour="grey", copies=True)
    faces = originals(store.faces)
    splits = faces.groupby("source")["split"].unique().map(set).to_dict()
    assert splits == {"fer2013": {"train", "val", "test"}, "ckplus": {"train"}, "jaffe": {"train"}, "captured": {"train", "test"}}
    assert (faces[faces["source"] == "captured"].groupby("subject")["split"].nunique() == 1).all()
    assert set(faces.loc[faces["usage"] == "PublicTest", "split"]) == {"val"}
    assert len(store.faces) == len(faces) + 3 * (faces["split"] == "train").sum()
