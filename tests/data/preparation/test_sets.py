"""A set from pictures to store: split before it is multiplied, gone on with after an interruption, nothing lost."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ferlab.data.duplicates.pairs import read_pairs
from ferlab.data.faces import originals
from ferlab.data.preparation import sets
from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import Gathered
from ferlab.data.store import EXCLUDED_COLUMNS, open_store, read_excluded
from ferlab.paths import InputError

COUNT, PEOPLE = 140, 20
SPLIT = {"rule": "groups", "val_fraction": 0.1, "test_fraction": 0.2, "seed": 0}


@pytest.fixture
def gathered():
    faces = pd.DataFrame(
        {
            "face_id": [f"a/{number:03d}" for number in range(COUNT)],
            "source": "a",
            "source_path": [f"{number}.png" for number in range(COUNT)],
            "usage": "all",
            "target": np.arange(COUNT) % 7,
            "subject": [f"s{number % PEOPLE}" for number in range(COUNT)],
        }
    )
    excluded = pd.DataFrame([["a/x", "a", "x.png", "all", "no label"]], columns=list(EXCLUDED_COLUMNS))
    return Gathered(pictures=np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), dtype=np.uint8), faces=faces, excluded=excluded)


def step(row, picture):
    if row == 5:
        raise NotAFace("no face found")
    return picture[::-1], {"found_by": "stated"}


def build(folder, gathered, step=step, plan=None, **options):
    return prepare_set(folder / "store", gathered, step, split=SPLIT, work=folder / "work", plan=plan or {"size": 8}, **options)


def test_two_notebooks_do_not_prepare_into_one_work_folder(tmp_path, gathered):
    """As two kernels that both run 01_prepare by hand: the second is told who is busy, and nothing of it is mixed in."""
    code = "import sys, pathlib, ferlab.locks as p; p.hold(pathlib.Path(sys.argv[1]), what='x'); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "work.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    with other:
        other.stdout.readline()
        with pytest.raises(InputError, match=f"set work: busy: process {other.pid} works on it"):
            build(tmp_path, gathered)
        other.communicate(b"\n")
    build(tmp_path, gathered)
    assert not (tmp_path / "work.lock").exists()


def test_a_set_holds_the_prepared_faces_and_lists_the_others(tmp_path, gathered):
    store = build(tmp_path, gathered)
    kept = [row for row in range(COUNT) if row != 5]
    assert (store.images == gathered.pictures[kept][:, ::-1]).all()
    assert store.faces["face_id"].tolist() == gathered.faces["face_id"][kept].tolist()
    assert set(store.faces["found_by"]) == {"stated"}
    excluded = read_excluded(tmp_path / "store")
    assert excluded[["face_id", "reason"]].to_numpy().tolist() == [["a/x", "no label"], ["a/005", "no face found"]]


@pytest.mark.parametrize("shards", [0, 50])
def test_duplicates_are_found_before_faces_are_split_and_never_parted(tmp_path, gathered, shards):
    pictures = gathered.pictures.copy()
    pictures[100:110], pictures[110:120] = pictures[:10], pictures[10:20, :, ::-1]
    faces = gathered.faces.drop(columns="subject")
    alike = Gathered(pictures=pictures, faces=faces, excluded=gathered.excluded)
    store = build(tmp_path, alike, lambda row, picture: (picture, {}), shards=shards)
    groups = store.faces["duplicate_group"].to_numpy()
    assert (groups[100:120] == groups[:20]).all()
    assert len(set(groups)) == COUNT - 20
    assert (store.faces.groupby("duplicate_group")["split"].nunique() == 1).all()
    pairs, _ = read_pairs(tmp_path / "store")
    assert pairs["kind"].value_counts().to_dict() == {"exact": 10, "mirrored": 10}


def test_derived_faces_keep_the_group_of_their_origin_and_synthetic_ones_have_their_own(tmp_path, gathered):
    gathered.faces["target"] = np.where(np.arange(COUNT) % 5 == 0, 1, 3)
    gathered.faces["votes_happy"] = 10  # as FER+ counts them of photographs
    faces = build(tmp_path, gathered, copies=True, method="smote").faces
    assert set(faces.loc[faces["derivation"] == "smote", "votes_happy"]) == {0}
    own, made = faces[faces["derived_from"] == ""], faces[faces["derivation"].isin(["mirrored"])]
    assert (made["duplicate_group"].to_numpy() == own.set_index("face_id")["duplicate_group"][made["derived_from"]].to_numpy()).all()
    synthetic = faces.loc[faces["derivation"] == "smote", "duplicate_group"]
    assert len(synthetic)
    assert synthetic.is_unique
    assert not synthetic.isin(own["duplicate_group"]).any()


def test_copies_are_made_of_train_alone_after_the_split(tmp_path, gathered):
    plain, store = build(tmp_path / "plain", gathered), build(tmp_path / "copies", gathered, copies=True)
    pd.testing.assert_frame_equal(originals(store.faces).drop(columns=["derived_from", "derivation"]), plain.faces)
    made = store.faces[store.faces["derived_from"] != ""]
    train = plain.faces.query("split == 'train'")
    assert set(made["split"]) == {"train"}
    assert len(made) == 3 * len(train)
    assert set(made["derived_from"]) == set(train["face_id"])
    mirrored = made[made["derivation"] == "mirrored"]
    rows = pd.Index(store.faces["face_id"]).get_indexer(mirrored["derived_from"])
    assert (store.images[mirrored.index] == store.images[rows][:, :, ::-1]).all()


def test_synthetic_samples_even_out_the_expressions_of_train(tmp_path, gathered):
    gathered.faces["target"] = np.where(np.arange(COUNT) % 5 == 0, 1, 3)
    store = build(tmp_path, gathered, method="smote")
    train = store.faces.query("split == 'train'")
    assert train["target"].value_counts().nunique() == 1
    made = store.faces[store.faces["derived_from"] != ""]
    assert set(made["target"]) == {1}
    assert set(made["split"]) == {"train"}
    assert len(store.images) == len(store.faces)


def test_what_copies_and_synthetic_samples_lack_is_missing(tmp_path, gathered):
    gathered.faces["target"] = np.where(np.arange(COUNT) % 5 == 0, 1, 3)
    gathered.faces["glasses"] = np.arange(COUNT) % 2 == 0
    gathered.faces["landmarks"] = pd.Series([np.full(10, row, np.float32) if row % 3 else None for row in range(COUNT)], dtype=object)
    gathered.faces["gender"] = "female"
    faces = build(tmp_path, gathered, copies=True, method="smote").faces
    made = faces[faces["derivation"] == "smote"]
    assert made["glasses"].isna().all()
    assert made["landmarks"].map(type).eq(type(None)).all()
    assert set(made["gender"]) == {""}
    copied = faces[faces["derivation"] == "mirrored"]
    own = faces.set_index("face_id").loc[copied["derived_from"]]
    assert copied["glasses"].tolist() == own["glasses"].tolist()
    assert [None if points is None else points[0] for points in copied["landmarks"]] == [
        None if points is None else points[0] for points in own["landmarks"]
    ]


def test_synthetic_samples_that_would_not_fit_in_memory_are_refused(tmp_path, gathered, monkeypatch):
    monkeypatch.setattr(sets, "MOST_SYNTHETIC", 1000)
    with pytest.raises(InputError, match="adasyn would take"):
        build(tmp_path, gathered, method="adasyn")


def test_an_interrupted_set_ends_in_the_same_bytes(tmp_path, gathered):
    def stopping(row, picture):
        if row == 100:
            raise KeyboardInterrupt
        return step(row, picture)

    build(tmp_path / "whole", gathered, copies=True)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "again", gathered, stopping, copies=True)
    taken = []
    build(tmp_path / "again", gathered, lambda row, picture: taken.append(row) or step(row, picture), copies=True)
    assert taken[0] == 64
    for name in ("images.npy", "faces.parquet", "excluded.parquet", "duplicate_pairs.parquet"):
        assert (tmp_path / "again" / "store" / name).read_bytes() == (tmp_path / "whole" / "store" / name).read_bytes()


def test_another_plan_starts_afresh(tmp_path, gathered):
    with pytest.raises(ZeroDivisionError):
        build(tmp_path, gathered, lambda row, picture: (picture // (1 if row < 100 else 1 // 0), {}), plan={"size": 8})
    store = build(tmp_path, gathered, lambda row, picture: (255 - picture, {}), plan={"size": 9})
    assert (store.images == 255 - gathered.pictures).all()


def test_a_split_that_cannot_be_made_is_found_out_before_any_picture_is_prepared(tmp_path, gathered):
    gathered.faces["subject"] = "one"

    def never(row, picture):
        raise AssertionError

    with pytest.raises(InputError, match="left without faces"):
        build(tmp_path, gathered, never)


def test_a_set_in_which_no_face_is_found_says_so(tmp_path, gathered):
    def nothing(row, picture):
        raise NotAFace("no face found")

    with pytest.raises(InputError, match=r"None of 140 pictures gave a face \(no face found\)"):
        build(tmp_path, gathered, nothing)


def test_the_mean_image_is_that_of_train(tmp_path, gathered):
    store = build(tmp_path, gathered, keep_mean=True)
    train = (store.faces["split"] == "train").to_numpy()
    expected = store.images[train].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(np.load(tmp_path / "store" / "mean_image.npy"), expected, atol=1e-3)


def test_a_store_of_another_kind_is_replaced(tmp_path, gathered):
    whole = build(tmp_path, gathered)
    images = np.array(whole.images)
    sharded = build(tmp_path, gathered, shards=50)
    assert not (tmp_path / "store" / "images.npy").exists()
    assert (np.asarray(sharded.images) == images).all()
    build(tmp_path, gathered)
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert names == ["duplicate_pairs.parquet", "excluded.parquet", "faces.parquet", "images.npy"]
    assert (open_store(tmp_path / "store").images == images).all()


@pytest.mark.parametrize("rule", ["groups", "leave_one_subject_out"])
def test_a_split_of_one_expression_is_refused_before_anything_is_prepared(tmp_path, gathered, rule):
    faces = gathered.faces.assign(target=6)
    if rule != "groups":
        faces = gathered.faces.assign(target=np.where(gathered.faces["subject"] == "s0", 6, gathered.faces["target"]))
    alone = Gathered(pictures=gathered.pictures, faces=faces, excluded=gathered.excluded)
    with pytest.raises(
        InputError, match=r"holds neutral alone, in \d+ faces; expected at least 2 expressions in each.*Excluded were: no label \(1\)"
    ):
        prepare_set(tmp_path / "store", alone, step, split=SPLIT | {"rule": rule}, work=tmp_path / "work", plan={})
    assert not (tmp_path / "work").exists()
