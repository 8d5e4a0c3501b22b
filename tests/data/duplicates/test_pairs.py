"""Pairs and groups of duplicates: each pair once, with the first kind that applies and in the better orientation."""

import cv2
import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.copies import KINDS, alter
from ferlab.data.duplicates import pairs as duplicates
from ferlab.data.duplicates.pairs import find_pairs, group_faces, read_pairs, write_pairs
from ferlab.data.duplicates.planting import plant
from ferlab.data.faces import hash_images
from ferlab.paths import InputError


def face_table(images, targets):
    return pd.DataFrame({"target": np.asarray(targets)}).assign(content_hash=hash_images(images))


def triples(pairs):
    return [tuple(row) for row in pairs[["first", "second", "kind"]].itertuples(index=False)]


@pytest.fixture(scope="module")
def control():
    images, table = read(faces=200, subjects=20, size=48, seed=3)
    return images, table["target"].to_numpy()


def test_exact_and_mirrored_pairs_by_hand():
    """Contents A (faces 0 1 5), B (2 6), A mirrored (4), alone 3; a face that is its own mirror image (7) is in no pair."""
    rng = np.random.default_rng(0)
    a, b, alone, half = (rng.integers(0, 256, (6, 6), dtype=np.uint8) for _ in range(4))
    images = np.stack([a, a, b, alone, a[:, ::-1], a, b, np.hstack([half[:, :3], half[:, 2::-1]])])
    pairs, _ = find_pairs(images, face_table(images, np.arange(8)))
    assert triples(pairs[pairs["kind"] != "near"]) == [(0, 1, "exact"), (0, 4, "mirrored"), (0, 5, "exact"), (2, 6, "exact")]
    assert pairs["mirrored"].tolist() == (pairs["kind"] == "mirrored").tolist()
    assert group_faces(pairs[pairs["kind"] != "near"], 8).tolist() == [0, 0, 1, 2, 0, 0, 1, 3]


def test_planted_copies_join_the_group_of_their_original_and_other_faces_none(control):
    images, planted = plant(control[0], kinds=KINDS[:-1], each=20)
    targets = np.resize(control[1], len(images))
    pairs, limit = find_pairs(images, face_table(images, targets))
    groups = group_faces(pairs, len(images))
    joined = groups[planted["origin"]] == groups[planted["copy"]]
    assert joined[np.isin(planted["kind"], ("exact", "mirrored"))].all()
    assert joined.mean() >= 0.95
    assert len(np.unique(groups)) >= len(control[0]) - 2
    assert pairs["score"].between(limit, 1).all()
    assert not pairs[["first", "second"]].duplicated().any()
    assert (pairs["first"] < pairs["second"]).all()


def test_a_pair_found_both_ways_is_listed_once_in_the_better_orientation(monkeypatch):
    near = pd.DataFrame({"first": [0, 0, 1, 1], "second": [2, 2, 2, 2], "mirrored": [False, True, False, True], "score": [0.91, 0.95, 0.97, 0.96]})
    monkeypatch.setattr(duplicates, "find_near_pairs", lambda *_, **__: (near, 0.9))
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    pairs, _ = find_pairs(images, face_table(images, [0, 1, 2]))
    assert pairs[["first", "second", "mirrored", "score"]].to_numpy().tolist() == [[0, 2, True, 0.95], [1, 2, False, 0.97]]


def test_large_colour_faces_read_one_by_one_give_the_pairs_of_the_array(control):
    rng = np.random.default_rng(1)
    large = np.stack([cv2.resize(face, (96, 96), interpolation=cv2.INTER_CUBIC) for face in control[0][:60]])
    images = np.repeat(np.concatenate([large, np.stack([alter(face, "jpeg", rng) for face in large[:10]])])[..., None], 3, axis=3)
    faces = face_table(images, np.resize(control[1], len(images)))
    one, two = find_pairs(images, faces), find_pairs(iter(list(images)), faces)
    pd.testing.assert_frame_equal(one[0], two[0])
    assert {(row, 60 + row, "near") for row in range(10)} <= set(triples(one[0]))


def test_written_pairs_come_back_and_their_bytes_repeat(tmp_path, control):
    images = np.concatenate([control[0][:40], control[0][:3]])
    pairs, limit = find_pairs(images, face_table(images, np.resize(control[1], 43)))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_pairs(tmp_path / name, pairs, limit=limit)
    assert (tmp_path / "one" / duplicates.PAIRS).read_bytes() == (tmp_path / "two" / duplicates.PAIRS).read_bytes()
    kept, kept_limit = read_pairs(tmp_path / "one")
    pd.testing.assert_frame_equal(kept, pairs)
    assert kept_limit == limit


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_pairs_that_are_missing_or_damaged_name_the_stage_to_run(tmp_path, content):
    if content:
        (tmp_path / duplicates.PAIRS).write_bytes(content)
    with pytest.raises(InputError, match=r"duplicate_pairs\.parquet is missing or damaged; .*Run the stage prepare again"):
        read_pairs(tmp_path)
