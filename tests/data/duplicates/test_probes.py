"""The pixel probe and the rank of pictures unlike faces, on sets whose answer is known."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.data.duplicates import audited, probes, recall
from ferlab.data.duplicates.probes import find_nearly_blank, find_unlike, probe_nearest

RNG = np.random.default_rng(0)


def set_of(images, targets, splits, **columns):
    ids, groups = [f"x/{n}" for n in range(len(images))], np.arange(len(images))
    return pd.DataFrame({"face_id": ids, "target": targets, "split": splits, "duplicate_group": groups} | columns)


def test_copies_across_the_split_are_known_and_noise_is_not():
    known = RNG.integers(0, 256, (140, 48, 48), dtype=np.uint8)
    targets = np.arange(140) % 7
    copies = np.clip(known.astype(int) + RNG.integers(-9, 10, known.shape), 0, 255).astype(np.uint8)
    images = np.concatenate([known, copies, RNG.integers(0, 256, (280, 48, 48), dtype=np.uint8)])
    targets = np.concatenate([targets, targets, np.arange(280) % 7])
    faces = set_of(images, targets, ["train"] * 140 + ["test"] * 420)
    faces.loc[140:279, "duplicate_group"] = np.arange(140)
    probe = probe_nearest(images, faces)
    assert (probe["known"], probe["all"]["n"], probe["dedup"]["n"]) == (140, 420, 280)
    assert probe["all"]["accuracy"] == pytest.approx((140 + 280 * probe["dedup"]["accuracy"]) / 420)
    assert probe["dedup"]["accuracy"] < 0.25
    assert probe["majority"] == pytest.approx((targets[140:] == 0).mean())
    assert "other_subjects" not in probe


def test_the_interval_is_wilsons_of_a_textbook():
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    images = np.concatenate([RNG.integers(0, 256, (2, 48, 48), dtype=np.uint8)] * 132)[:264]
    faces = set_of(images, [0, 1] + [1] * 262, ["train"] * 2 + ["test"] * 262)
    faces = pd.concat([faces, faces.iloc[[2]].assign(face_id="y")], ignore_index=True)
    images = np.concatenate([images, images[2:3]])
    nearest = images[2:, 0, 0] == images[0, 0, 0]  # whose nearest is face 0
    faces.loc[2:, "target"] = np.where(np.arange(263) < 81, np.where(nearest, 0, 1), np.where(nearest, 1, 0))
    probe = probe_nearest(images, faces)["all"]
    assert probe["n"] == 263
    assert probe["accuracy"] == pytest.approx(81 / 263)
    assert (round(probe["accuracy_ci_low"], 4), round(probe["accuracy_ci_high"], 4)) == (0.2553, 0.3662)


def test_neighbours_of_the_same_subject_are_passed_over():
    base = RNG.integers(0, 256, (20, 48, 48), dtype=np.uint8)
    images = np.concatenate([base, base])
    subjects = [f"s{n % 10}" for n in range(20)] * 2
    targets = np.arange(20) // 10
    faces = set_of(images, np.tile(targets, 2), ["train"] * 20 + ["test"] * 20, subject=subjects)
    probe = probe_nearest(images, faces)
    assert probe["all"]["accuracy"] == 1
    assert probe["other_subjects"]["accuracy"] < 0.9


def test_rows_derived_from_others_teach_the_probe_nothing():
    images = RNG.integers(0, 256, (30, 48, 48), dtype=np.uint8)
    images[20:] = images[10:20]
    faces = set_of(images, np.arange(30) % 7, ["train"] * 20 + ["test"] * 10, derived_from=[""] * 10 + ["x/0"] * 10 + [""] * 10)
    assert probe_nearest(images, faces)["known"] == 10


def test_pictures_of_no_face_come_first():
    faces = read(faces=300, subjects=60, size=48, seed=5)[0]
    rng = np.random.default_rng(5)
    text = np.full((6, 48, 48), 250, np.uint8)
    text[:, 8::8, 6:40:2] = 30
    other = np.concatenate([text, rng.integers(0, 256, (6, 48, 48), dtype=np.uint8)])
    unlike = find_unlike(np.concatenate([faces, other]))
    first = np.argsort(-unlike["unlike"].to_numpy(), kind="stable")[:16]
    assert len(set(first.tolist()) & set(range(300, 312))) >= 11
    assert np.flatnonzero(unlike["nearly_blank"]).tolist() == list(range(300, 306))  # the text has two grey values


def test_a_picture_of_hardly_any_contrast_or_of_few_grey_values_is_nearly_blank():
    images = RNG.integers(0, 256, (4, 48, 48), dtype=np.uint8)
    images[0] = 7
    images[1] = 128 + images[1] % 5
    images[2] = (images[2] > 128) * 255
    assert find_nearly_blank(images).tolist() == [True, True, True, False]


def test_the_nearest_neighbour_is_that_of_all_distances():
    known, asked = (RNG.normal(size=(count, 20)).astype(np.float32) for count in (50, 30))
    subjects = RNG.integers(-1, 4, 30), RNG.integers(-1, 4, 50)
    distances = ((asked[:, None] - known) ** 2).sum(axis=2)
    nearest, other = probes._nearest(asked, known, subjects=subjects)
    assert nearest.tolist() == distances.argmin(axis=1).tolist()
    distances[(subjects[0][:, None] == subjects[1]) & (subjects[0][:, None] >= 0)] = np.inf
    assert other.tolist() == distances.argmin(axis=1).tolist()


def test_an_audit_measures_the_datasets_own_faces_alone(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    images[12:] = 0  # copies
    faces = pd.DataFrame({"face_id": [f"a/{row}" for row in range(20)], "derived_from": [""] * 12 + ["a/0"] * 8})
    monkeypatch.setattr(probes, "probe_nearest", lambda small, table: {"faces": [len(small), len(table)]})
    monkeypatch.setattr(recall, "search_own", lambda small, table, limit: {"faces": [len(small), len(table)]})
    monkeypatch.setattr(recall, "search_control", lambda: {})
    audited._audit(tmp_path / "audit.json", store=SimpleNamespace(images=images, faces=faces), limit=0.9, draw=lambda **options: ())
    facts = json.loads((tmp_path / "audit.json").read_text())
    assert (facts["probe"], facts["own"]) == ({"faces": [12, 12]}, {"faces": [12, 12]})
    assert (sorted(facts["unlike"]), facts["nearly_blank"]) == (list(range(12)), 0)
