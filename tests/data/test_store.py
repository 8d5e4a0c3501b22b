"""The store: what is written comes back, the same faces give the same bytes, and what does not fit is refused."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import hash_images
from ferlab.data.store import count_faces, open_store, write_store
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)


@pytest.fixture
def faces(images):
    table = pd.DataFrame(
        {
            "face_id": [f"a/{i}" for i in range(6)],
            "source": "a",
            "source_path": "x.csv",
            "usage": "Training",
            "target": [0, 1, 2, 0, 0, 6],
            "split": ["train", "train", "val", "test", "train", "test"],
            "intensity": [0.0, 1.5, np.nan, 3.0, 4.0, 5.0],
        }
    )
    return table.assign(content_hash=hash_images(images))


def test_what_is_written_comes_back(tmp_path, images, faces):
    write_store(tmp_path / "a" / "b", images, faces)
    store = open_store(tmp_path / "a" / "b")
    np.testing.assert_array_equal(store.images, images)
    pd.testing.assert_frame_equal(store.faces, faces)
    assert store.expressions == EXPRESSIONS


def test_other_expressions_travel_with_the_store(tmp_path, images, faces):
    names = (*EXPRESSIONS, "contempt")
    write_store(tmp_path, images, faces, expressions=names)
    assert open_store(tmp_path).expressions == names


def test_images_are_memory_mapped_and_read_only(tmp_path, images, faces):
    write_store(tmp_path, images, faces)
    opened = open_store(tmp_path).images
    assert isinstance(opened, np.memmap)
    assert not opened.flags.writeable


def test_colour_images_are_kept(tmp_path, images, faces):
    colour = np.repeat(images[..., None], 3, axis=-1)
    write_store(tmp_path, colour, faces)
    np.testing.assert_array_equal(open_store(tmp_path).images, colour)


def test_the_same_faces_give_the_same_bytes_whatever_their_index(tmp_path, images, faces):
    write_store(tmp_path / "one", images, faces)
    write_store(tmp_path / "two", images, faces.set_index(np.arange(10, 16)))
    for name in ("images.npy", "faces.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert b"pandas" not in (tmp_path / "one" / "faces.parquet").read_bytes()


def test_counts_per_split_and_expression_by_hand(tmp_path, images, faces):
    write_store(tmp_path, images, faces)
    counts = count_faces(open_store(tmp_path).faces, "split")
    assert list(counts.index) == ["train", "val", "test"]
    assert list(counts.columns) == list(EXPRESSIONS)
    assert counts.to_numpy().tolist() == [[2, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, f: (i[:5], f), "5 images for 6 rows"),
        (lambda i, f: (i.astype(np.float32), f), "uint8"),
        (lambda i, f: (i[..., None], f), r"\(6, 5, 4, 1\)"),
        (lambda i, f: (i, f.drop(columns="split")), "no column 'split'"),
        (lambda i, f: (i, f.assign(target=7)), "target 7; expected 0 to 6"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, images, faces, change, said):
    with pytest.raises(InputError, match=said):
        write_store(tmp_path / "x", *change(images, faces))
    assert not (tmp_path / "x").exists()


def test_a_folder_without_a_store_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match=r"images\.npy is missing.*Run the stage prepare"):
        open_store(tmp_path)


@pytest.mark.parametrize("name", ["images.npy", "faces.parquet"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_cut_file_is_refused_in_one_line(tmp_path, images, faces, name, left):
    write_store(tmp_path, images, faces)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(InputError, match="Run the stage prepare again") as error:
        open_store(tmp_path)
    assert "\n" not in str(error.value)


def test_files_of_two_stores_are_not_taken_for_one(tmp_path, images, faces):
    write_store(tmp_path / "one", images, faces)
    write_store(tmp_path / "two", images[:5], faces[:5])
    (tmp_path / "two" / "images.npy").replace(tmp_path / "one" / "images.npy")
    with pytest.raises(InputError, match="5 images for 6 rows"):
        open_store(tmp_path / "one")


def test_a_parquet_of_someone_else_is_refused(tmp_path, images, faces):
    write_store(tmp_path, images, faces)
    faces.to_parquet(tmp_path / "faces.parquet")
    with pytest.raises(InputError, match="does not name its expressions"):
        open_store(tmp_path)
