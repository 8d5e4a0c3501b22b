"""Kaggle's test.csv: read in order, refused in one line, and in no prepared dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fer2013_files import csv_text, draw_faces, pixel_text, write_folders, write_tar

from ferlab.data.batches import input_statistics
from ferlab.data.duplicates.audit import audit_set
from ferlab.data.duplicates.pairs import find_pairs
from ferlab.data.preparation.prepared import Raw, _prepare
from ferlab.data.readers import fer2013_challenge
from ferlab.data.readers.fer2013_challenge import read_unlabelled
from ferlab.data.readers.raw_files import raw_files
from ferlab.data.store import open_store
from ferlab.models.inputs import prepare_images
from ferlab.params import Prepare
from ferlab.paths import InputError

HIDDEN = draw_faces(4, seed=9)
PUBLIC = 12 + np.arange(4)
CODES = [number % 7 for number in range(16)]
USAGES = ["Training"] * 12 + ["PublicTest"] * 4


def challenge_text(faces: np.ndarray) -> str:
    return "\n".join(["pixels", *map(pixel_text, faces)]) + "\n"


@pytest.fixture
def few(monkeypatch) -> None:
    """PrivateTest and PublicTest of four faces each."""
    monkeypatch.setattr(fer2013_challenge, "COUNT", 4)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A FER2013 of twelve faces of Training and four of PublicTest."""
    (tmp_path / "fer2013.csv").write_text(csv_text(draw_faces(16), CODES, USAGES))
    return tmp_path


def test_ids_go_on_where_public_test_ends() -> None:
    assert (fer2013_challenge.COUNT, fer2013_challenge.FIRST) == (3589, 32298)


@pytest.mark.parametrize("header", ["pixels", '"pixels"', "\ufeffpixels", " pixels"])
def test_faces_come_in_the_order_of_the_file(raw, few, header) -> None:
    (raw / "test.csv").write_text(challenge_text(HIDDEN).replace("pixels", header, 1))
    found = read_unlabelled(raw)
    np.testing.assert_array_equal(found.images, HIDDEN)
    assert found.face_ids == ("fer2013/0032298", "fer2013/0032299", "fer2013/0032300", "fer2013/0032301")


def test_quoted_pixels_and_a_folder_of_that_name_are_read(raw, few) -> None:
    (raw / "fer2013").mkdir()
    (raw / "fer2013.csv").rename(raw / "fer2013" / "fer2013.csv")
    (raw / "fer2013" / "test.csv").write_text("\n".join(["pixels", *(f'"{pixel_text(face)}"' for face in HIDDEN)]) + "\r\n")
    np.testing.assert_array_equal(read_unlabelled(raw).images, HIDDEN)


@pytest.mark.parametrize("public_first", [True, False])
def test_public_test_is_known_by_its_pixels(raw, few, public_first) -> None:
    halves = [draw_faces(16)[PUBLIC], HIDDEN]
    (raw / "test.csv").write_text(challenge_text(np.concatenate(halves if public_first else halves[::-1])))
    np.testing.assert_array_equal(read_unlabelled(raw).images, HIDDEN)


def broken(row: int, text: str) -> str:
    lines = challenge_text(HIDDEN).splitlines()
    lines[row] = text
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (challenge_text(HIDDEN[:3]), r"test\.csv has 3 rows; expected 4, one per face of PrivateTest, or 8 with PublicTest"),
        (challenge_text(HIDDEN[[0, 1, 2, 3, 0]]), r"test\.csv has 5 rows; expected 4"),
        ("pixels\n", r"test\.csv has 0 rows; expected 4"),
        ("", r"test\.csv has the columns ''; expected one, pixels"),
        (challenge_text(HIDDEN).replace("pixels", "emotion,pixels", 1), r"test\.csv has the columns 'emotion,pixels'; expected one, pixels"),
        (broken(2, pixel_text(HIDDEN[1])[:-4]), r"test\.csv, data row 2 \(the header not counted\): 230\d pixels; expected 2304"),
        (broken(3, "300" + pixel_text(HIDDEN[2])[3:]), r"test\.csv, data row 3 .*: pixel 1 is '300\d*'; expected a whole number from 0 to 255"),
        (broken(4, "x " + pixel_text(HIDDEN[3])), r"test\.csv, data row 4 .*: pixel 1 is 'x'; expected a whole number"),
        (broken(1, "3," + pixel_text(HIDDEN[0])), r"test\.csv.*: 2 columns in .*; expected 1"),
        (challenge_text(draw_faces(16)[PUBLIC]), r"test\.csv has 4 rows, and they are PublicTest's; expected PrivateTest"),
        (challenge_text(draw_faces(8, seed=5)), r"test\.csv has 8 rows, and no half is the PublicTest of the labelled file; expected PrivateTest"),
    ],
)
def test_another_file_is_refused_in_one_line(raw, few, text, told) -> None:
    (raw / "test.csv").write_text(text)
    with pytest.raises(InputError, match=told) as error:
        read_unlabelled(raw)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told_with_where_it_comes_from(raw) -> None:
    with pytest.raises(InputError, match=r"test\.csv: not found; expected test\.csv of Kaggle's challenge \(data/raw/README\.md says where\)"):
        read_unlabelled(raw)


def test_labels_of_private_test_leave_nothing_to_hand_in(raw, few) -> None:
    (raw / "fer2013.csv").write_text(csv_text(draw_faces(16), CODES, [*USAGES[:15], "PrivateTest"]))
    (raw / "test.csv").write_text(challenge_text(HIDDEN))
    with pytest.raises(InputError, match="holds PrivateTest with its labels, so there is nothing to hand in; `ferlab evaluate` scores it"):
        read_unlabelled(raw)


def deliver(folder: Path, form: str) -> None:
    """Write 48 faces, of which test.csv repeats some, in one of the forms of FER2013."""
    faces, codes, usages = draw_faces(48), [number % 7 for number in range(48)], ["Training"] * 34 + ["PublicTest"] * 14
    folder.mkdir(parents=True)
    if form == "folders":
        write_folders(folder, faces, codes, [f"{'train' if usage == 'Training' else 'test'}/{usage}_{row}.png" for row, usage in enumerate(usages)])
    elif form == "archive":
        write_tar(folder / "fer2013.tar.gz", {"fer2013/fer2013.csv": csv_text(faces, codes, usages).encode()})
    else:
        (folder / "fer2013.csv").write_text(csv_text(faces, codes, usages))


def prepare(place: Path, raw: Path, settings: Prepare, monkeypatch) -> dict[str, bytes]:
    """Prepare a dataset; return its files, and what is computed from it, as bytes."""
    monkeypatch.setenv("FERLAB_PARTIAL", str(place / "partial" / "work"))
    (place / "facts").parent.mkdir(parents=True, exist_ok=True)
    _prepare(place / "store", place / "facts", raw=Raw(settings), name="fer2013")
    store = open_store(place / "store")
    audit = repr(audit_set(store, find_pairs(store.images, store.faces)[0]))
    train = np.flatnonzero(store.faces["split"] == "train")
    measured = input_statistics(np.asarray(store.images), train, prepare=partial(prepare_images, size=48, channels=1), scaling="standardised")
    files = {str(path.relative_to(place)): path.read_bytes() for path in sorted((place / "store").rglob("*")) if path.is_file()}
    return files | {"facts": (place / "facts").read_bytes(), "audit": audit.encode(), "statistics": repr(measured).encode()}


@pytest.mark.parametrize("form", ["csv", *(pytest.param(form, marks=pytest.mark.slow) for form in ("folders", "archive"))])
def test_a_test_csv_beside_changes_nothing_that_is_prepared_or_computed(tmp_path, form, monkeypatch) -> None:
    """Of the faces that test.csv holds, half have their exact duplicate in the dataset: groups, splits and audit would show it."""
    raw = tmp_path / "raw"
    deliver(raw, form)
    settings = Prepare(dataset="fer2013", raw=str(raw), network_input="cs231a")
    before, listed = prepare(tmp_path / "a", raw, settings, monkeypatch), raw_files(raw, settings)
    (raw / "test.csv").write_text(challenge_text(np.concatenate([draw_faces(48)[:20], draw_faces(20, seed=3)])))
    assert prepare(tmp_path / "b", raw, settings, monkeypatch) == before
    assert raw_files(raw, settings) == listed
    assert {"store/faces.parquet", "store/images.npy", "store/mean_image.npy"} <= set(before)
