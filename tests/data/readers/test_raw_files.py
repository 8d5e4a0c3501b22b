"""Which raw files a set is prepared from: a change of these makes it stale, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferlab.data.readers.raw_files import raw_files, reader_modules
from ferlab.data.readers.registry import READERS, READS
from ferlab.params import Prepare
from ferlab.paths import InputError

FER2013 = Prepare(dataset="fer2013")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("fer2013.csv", "README.md", "ckplus/S005.png", "jaffe.zip", "happy/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def test_control_faces_are_prepared_from_nothing(raw):
    assert raw_files(raw / "README.md", Prepare(dataset="control")) == {}


def test_fer2013_among_other_datasets_is_its_own_file(raw):
    assert raw_files(raw, FER2013) == {"fer2013.csv": raw / "fer2013.csv"}


@pytest.mark.parametrize("name", ["fer2013new.csv", "ferplus.zip", "CONTROL_FACES.txt"])
def test_what_would_change_fer2013_is_seen_when_it_appears(raw, name):
    (raw / name).write_bytes(b"1")
    assert raw_files(raw, FER2013) == {"fer2013.csv": raw / "fer2013.csv", name: raw / name}


def test_a_marker_beside_a_file_that_is_named_is_read_and_seen(raw):
    (raw / "CONTROL_FACES.txt").write_bytes(b"1")
    assert set(raw_files(raw / "fer2013.csv", FER2013).values()) == {raw / "fer2013.csv", raw / "CONTROL_FACES.txt"}


def test_a_form_that_comes_first_takes_the_place_of_another(raw):
    (raw / "fer2013.csv").rename(raw / "icml_face_data.csv")
    assert set(raw_files(raw, FER2013)) == {"icml_face_data.csv"}
    (raw / "fer2013.csv").write_bytes(b"1")
    assert set(raw_files(raw, FER2013)) == {"fer2013.csv"}


def test_fer2013_in_folders_is_its_parts(raw):
    (raw / "fer2013.csv").unlink()
    for part in ("train", "test"):
        (raw / part / "happy").mkdir(parents=True)
    assert set(raw_files(raw, FER2013)) == {"train", "test"}


def test_a_reader_of_folders_reads_all_of_its_folder_and_a_set_its_lists(raw):
    (raw / "put_aside.csv").write_bytes(b"1")
    sources = {"ck": {"dataset": "ckplus", "raw": "ckplus"}, "fer": {"dataset": "fer2013"}}
    several = Prepare.model_validate({"sources": sources, "exclusions": "put_aside.csv"})
    assert set(raw_files(raw, several)) == {"ckplus", "fer2013.csv", "put_aside.csv"}
    assert raw_files(raw, Prepare(dataset="class_folders")) == {".": raw}


def test_a_source_that_is_not_there_is_named(raw):
    for dataset in ("ckplus", "fer2013"):
        with pytest.raises(InputError, match=r"prepare\.<set>\.sources\.ck\.raw: not found; there is no ckpus in"):
            raw_files(raw, Prepare(sources={"ck": {"dataset": dataset, "raw": "ckpus"}}))
    assert raw_files(raw, Prepare(sources={"drawn": {"dataset": "control", "raw": "ckpus"}})) == {}


def test_a_missing_folder_and_an_unknown_dataset_are_named(raw):
    with pytest.raises(InputError, match="data/raw/none: not found; put the dataset there"):
        raw_files(raw / "none", Prepare(dataset="jaffe", raw="data/raw/none"))
    with pytest.raises(InputError, match=r"No dataset is called 'fer2031'.*did you mean 'fer2013'"):
        reader_modules(Prepare(dataset="fer2031"))


def test_the_code_of_a_set_is_that_of_its_own_readers():
    assert reader_modules(Prepare(dataset="ferplus")) == ("data.readers.fer2013",)
    assert set(READS) <= set(READERS)
