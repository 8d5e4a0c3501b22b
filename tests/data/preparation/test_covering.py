"""Covered regions: exactly the template's pixels are grey, in every face, and nothing else of the dataset changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from ferlab import control
from ferlab.data.duplicates.pairs import read_pairs
from ferlab.data.faces import hash_images
from ferlab.data.preparation import covering
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import Gathered
from ferlab.data.preparation.steps import Preparation, step_of
from ferlab.data.regions import REGIONS, placement_of, register_template, template_masks
from ferlab.data.store import EXCLUDED_COLUMNS, Store, open_store
from ferlab.params import Prepare, validated
from ferlab.params.sections import Region
from ferlab.paths import InputError

SPLIT = {"rule": "groups", "val_fraction": 0.1, "test_fraction": 0.2, "seed": 0}
AS_IT_COMES = {"face": Prepare().face.model_dump(), "size": None, "colour": "as_is", "equalise": "none", "blur": 0}


@pytest.fixture(scope="module")
def gathered() -> Gathered:
    images, faces = control.read(faces=112, subjects=28, size=48, seed=0, duplicates=0.05)
    return Gathered(pictures=images, faces=faces, excluded=pd.DataFrame(columns=list(EXCLUDED_COLUMNS), dtype="str"))


def build(folder: Path, gathered: Gathered, **options: Any) -> Store:
    step = step_of(Preparation(), gathered.faces)
    return prepare_set(folder / "store", gathered, step, split=SPLIT, work=folder / "work", plan=options, preparation=AS_IT_COMES, **options)


@pytest.fixture(scope="module")
def whole(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("whole"), gathered)


@pytest.fixture(scope="module")
def covered(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("covered"), gathered, cover=["rest", "nose"])


def test_the_pixels_of_the_regions_are_grey_and_no_other_pixel_changes(whole: Store, covered: Store) -> None:
    masks = template_masks((48, 48), register_template(whole.images))
    grey = masks["rest"] | masks["nose"]
    assert (covered.images[:, grey] == 128).all()
    np.testing.assert_array_equal(covered.images[:, ~grey], whole.images[:, ~grey])
    assert 0 < grey.mean() < 1


def test_ids_splits_and_duplicates_are_those_of_the_uncovered_dataset(whole: Store, covered: Store) -> None:
    columns = ["face_id", "target", "split", "duplicate_group", "subject"]
    pd.testing.assert_frame_equal(covered.faces[columns], whole.faces[columns])
    assert whole.folder is not None
    assert covered.folder is not None
    pd.testing.assert_frame_equal(read_pairs(covered.folder)[0], read_pairs(whole.folder)[0])
    assert covered.faces["content_hash"].tolist() == hash_images(covered.images)


def test_the_placement_is_recorded_since_a_covered_mean_face_cannot_give_it(whole: Store, covered: Store) -> None:
    placed = register_template(whole.images)
    assert covered.preparation["cover"] == ["rest", "nose"]
    assert placement_of(covered.images, covered.preparation) == placed
    assert placement_of(whole.images, whole.preparation) == placed
    assert "cover" not in whole.preparation


def test_a_face_is_covered_alone_as_it_was_in_its_dataset(whole: Store, covered: Store) -> None:
    steps = Preparation(cover=("rest", "nose"), placement=placement_of(covered.images, covered.preparation))
    np.testing.assert_array_equal(steps.change(whole.images[3])["covered"], covered.images[3])


def test_colour_copies_and_the_mean_image_are_covered_too(gathered: Gathered, tmp_path: Path) -> None:
    coloured = Gathered(pictures=np.repeat(gathered.pictures[..., None], 3, axis=3), faces=gathered.faces, excluded=gathered.excluded)
    store = build(tmp_path, coloured, cover=["mouth"], copies=True, keep_mean=True)
    mouth = template_masks((48, 48), placement_of(store.images, store.preparation))["mouth"]
    assert len(store.faces) > len(gathered.faces)
    assert (np.asarray(store.images)[:, mouth] == 128).all()
    assert (np.load(tmp_path / "store" / "mean_image.npy")[mouth] == 128).all()


def test_many_faces_are_covered_in_chunks(whole: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "all.npy", whole.images)
    np.save(tmp_path / "chunks.npy", whole.images)
    hashes, placed = covering.cover_file(tmp_path / "all.npy", ["eyes"])
    monkeypatch.setattr(covering, "CHUNK", 17)
    assert covering.cover_file(tmp_path / "chunks.npy", ["eyes"]) == (hashes, placed)
    assert (tmp_path / "chunks.npy").read_bytes() == (tmp_path / "all.npy").read_bytes()


def test_pictures_that_are_no_frontal_faces_are_refused_and_left_as_they_were(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 48), dtype=np.uint8)
    np.save(tmp_path / "noise.npy", noise)
    with pytest.raises(InputError, match=r"cover: the template of regions does not fit these faces: its correlation with their mean is"):
        covering.cover_file(tmp_path / "noise.npy", ["rest"])
    np.testing.assert_array_equal(np.load(tmp_path / "noise.npy"), noise)


def test_params_name_the_regions_of_the_template_and_refuse_what_cannot_be_covered() -> None:
    assert get_args(Region) == REGIONS
    assert Prepare(cover=["rest"]).cover == ["rest"]
    for wrong, told in (
        ({"cover": ["rest"], "shards": 64}, "expected shards: 0, got 64"),
        ({"cover": list(REGIONS)}, "one of brows, eyes, nose, mouth, rest that is not covered"),
        ({"cover": ["eyes", "eyes"]}, "expected different regions in cover"),
        ({"cover": ["chin"]}, "chin"),
    ):
        with pytest.raises(InputError, match=told):
            validated(Prepare, wrong, "prepare")


def test_a_store_that_is_not_covered_has_the_bytes_that_it_had(whole: Store, gathered: Gathered, tmp_path: Path) -> None:
    again = build(tmp_path, gathered, cover=())
    assert again.folder is not None
    assert whole.folder is not None
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == {path.name: path.read_bytes() for path in whole.folder.iterdir()}
    assert open_store(again.folder).preparation == whole.preparation
