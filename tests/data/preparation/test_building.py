"""Building a store: what goes in comes out, what is excluded has a reason, and an interruption changes no byte."""

import io
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import content_hash, hash_images
from ferlab.data.preparation.building import RECORDS, NotAFace, append_images, prepare_pictures
from ferlab.data.shards import ShardFiles
from ferlab.data.store import ImageFile
from ferlab.paths import PROGRESS, InputError

COUNT = 200


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 5, 4), dtype=np.uint8)


NAMES = pd.Series([f"{row}.png" for row in range(COUNT)])


def step(row, picture):
    if row % 10 == 3:
        raise NotAFace("no face found")
    return picture[::-1], {"level": row % 4}


def build(folder, pictures, step=step, **options):
    with ImageFile(folder / "images.npy") as writer:
        records = prepare_pictures(pictures, NAMES[: len(pictures)], step, writer=writer, work=folder, **options)
        writer.finish()
    return records


def test_faces_and_records_agree(tmp_path, pictures):
    records = build(tmp_path, pictures)
    kept = [row for row in range(COUNT) if row % 10 != 3]
    images = np.load(tmp_path / "images.npy")
    assert (images == pictures[kept][:, ::-1]).all()
    assert records.loc[kept, "content_hash"].tolist() == hash_images(images)
    assert set(records.drop(index=kept)["reason"]) == {"no face found"}
    assert records.loc[kept, "level"].tolist() == [row % 4 for row in kept]
    assert "shape" not in records


def test_the_file_has_the_bytes_that_numpy_would_write(tmp_path, pictures):
    build(tmp_path, pictures)
    whole = io.BytesIO()
    np.save(whole, pictures[[row for row in range(COUNT) if row % 10 != 3]][:, ::-1])
    assert (tmp_path / "images.npy").read_bytes() == whole.getvalue()


def test_a_picture_that_cannot_be_prepared_is_named_or_excluded(tmp_path, pictures):
    def outside(row, picture):
        if row == 3:
            raise InputError("The box 9, 9, 4 x 4 lies outside its picture of 4 x 5; expected it to overlap. Correct the box.")
        return (cv2.resize(picture, (0, 0)) if row == 5 else picture), {}

    for rows, said in (
        (pictures, r"^3\.png cannot be prepared: The box 9, 9, 4 x 4 lies outside"),
        (pictures[4:], r"^\d\.png cannot be prepared: OpenCV"),
    ):
        with pytest.raises(InputError, match=said) as error:
            build(tmp_path / said[1:3], rows, step=outside if rows is pictures else lambda row, picture: (cv2.resize(picture, (0, 0)), {}))
        assert "\n" not in str(error.value)
        assert "`unreadable: exclude`" in str(error.value)
    reasons = build(tmp_path, pictures, step=outside, skip_unreadable=True)["reason"]
    assert reasons[reasons != ""].index.tolist() == [3, 5]
    assert reasons[3].startswith("cannot be prepared: The box")


class Stopped(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 63, 64, 65, 150, 199])
def test_an_interrupted_preparation_goes_on_and_ends_in_the_same_bytes(tmp_path, pictures, at):
    whole, taken = build(tmp_path / "whole", pictures), []

    def stopping(row, picture):
        if row == at:
            raise Stopped
        return step(row, picture)

    def counting(row, picture):
        taken.append(row)
        return step(row, picture)

    with pytest.raises(Stopped):
        build(tmp_path / "again", pictures, stopping)
    records = build(tmp_path / "again", pictures, counting)
    assert min(taken) == at - at % 64
    pd.testing.assert_frame_equal(records, whole)
    for name in ("images.npy", RECORDS):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["images.npy", RECORDS])
@pytest.mark.parametrize("cut", [1, 7, 700, 10**9])
def test_files_cut_anywhere_are_cut_back_to_what_both_hold(tmp_path, pictures, name, cut):
    build(tmp_path / "whole", pictures)
    build(tmp_path / "cut", pictures)
    whole = (tmp_path / "cut" / name).read_bytes()
    (tmp_path / "cut" / name).write_bytes(whole[: max(len(whole) - cut, 0)])
    build(tmp_path / "cut", pictures)
    for other in ("images.npy", RECORDS):
        assert (tmp_path / "cut" / other).read_bytes() == (tmp_path / "whole" / other).read_bytes()


def test_kept_faces_that_a_power_cut_blanked_are_prepared_again(tmp_path, pictures, monkeypatch):
    """Ten faces of the kept images become zeros: what a disk may leave of pages that were never written."""
    monkeypatch.setenv(PROGRESS, str(tmp_path / "progress.jsonl"))
    build(tmp_path / "whole", pictures)
    build(tmp_path / "cut", pictures)
    with open(tmp_path / "cut" / "images.npy", "r+b") as images:
        images.seek(128 + 90 * 20)
        images.write(bytes(200))
    again = []
    build(tmp_path / "cut", pictures, lambda row, picture: again.append(row) or step(row, picture))
    assert again[0] == 100  # 90 faces before it, one of ten pictures has none
    told = "90 of 180 faces that were kept do not have the pixels that were recorded, as after a power cut; they are prepared again"
    assert told in (tmp_path / "progress.jsonl").read_text()
    for name in ("images.npy", RECORDS):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


GARBAGE = [b"\0" * 40, b"[]", b'{"reason": ""}', b'{"content_hash": "x", "reason": "", "shape": "no"}', b"\xff{" + b"[" * 9999]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["zeros", "list", "no hash", "no shape", "deep"])
def test_a_garbled_record_is_prepared_again_with_all_behind_it(tmp_path, pictures, garbage):
    build(tmp_path / "whole", pictures)
    build(tmp_path / "cut", pictures)
    lines = (tmp_path / "cut" / RECORDS).read_bytes().splitlines(keepends=True)
    lines[120] = garbage + b"\n"
    (tmp_path / "cut" / RECORDS).write_bytes(b"".join(lines))
    again = []
    build(tmp_path / "cut", pictures, lambda row, picture: again.append(row) or step(row, picture))
    assert again == list(range(120, COUNT))
    for name in ("images.npy", RECORDS):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_kept_shards_are_compared_with_their_records_too(tmp_path, pictures):
    def build_shards(folder, step=step):
        with ShardFiles(folder, faces_per_shard=16) as writer:
            prepare_pictures(pictures, NAMES, step, writer=writer, work=folder)
            writer.finish()

    build_shards(tmp_path / "whole")
    build_shards(tmp_path / "cut")
    shards = tmp_path / "cut" / "shards"
    shutil.copy(shards / "shard-000002.tar", shards / "shard-000003.tar")  # a shard of other faces
    (shards / "shard-000005.tar").write_bytes(b"\0" * 4096)
    again = []
    build_shards(tmp_path / "cut", lambda row, picture: again.append(row) or step(row, picture))
    assert again[0] == 54  # three whole shards are 48 faces, and 6 pictures before row 54 have none
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_face_of_another_size_is_named(tmp_path, pictures):
    with pytest.raises(InputError, match=r"'70\.png' gives a face of 2 x 5, grey, those before it 4 x 5, grey; expected one size"):
        build(tmp_path, pictures, lambda row, picture: (picture if row < 70 else picture[:, :2], {}))


class Broken:
    def __len__(self):
        return 4

    def __getitem__(self, row):
        if row == 2:
            raise InputError("2.png is cut")
        return np.full((2, 2), row, np.uint8)


def test_an_unreadable_picture_stops_or_is_excluded(tmp_path):
    with pytest.raises(InputError, match=r"2\.png is cut"):
        build(tmp_path / "a", Broken(), lambda row, picture: (picture, {}))
    records = build(tmp_path / "b", Broken(), lambda row, picture: (picture, {}), skip_unreadable=True)
    assert records["reason"].tolist() == ["", "", "unreadable: 2.png is cut", ""]
    assert np.load(tmp_path / "b" / "images.npy")[:, 0, 0].tolist() == [0, 1, 3]


def test_derived_faces_are_appended_behind(tmp_path, pictures):
    mirrored = pictures[:2, :, ::-1]
    with ImageFile(tmp_path / "images.npy") as writer:
        prepare_pictures(pictures[:5], NAMES[:5], lambda row, picture: (picture, {}), writer=writer, work=tmp_path)
        assert list(append_images(mirrored, writer)) == [content_hash(image) for image in mirrored]
        writer.finish()
    assert (np.load(tmp_path / "images.npy") == np.concatenate([pictures[:5], mirrored])).all()
