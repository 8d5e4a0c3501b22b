"""Near-duplicates: copies planted among control faces are found, other pictures of the same subjects are not."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from ferlab.control import draw_face, read, sample_spec
from ferlab.copies import KINDS, alter, move
from ferlab.data.duplicates import codes as face_codes
from ferlab.data.duplicates import search as near_duplicates
from ferlab.data.duplicates.codes import SHIFTS, find_candidates, find_nearest, fit_codes, frequencies, thumbnails
from ferlab.data.duplicates.planting import judge_found, plant
from ferlab.data.duplicates.registration import compare_pairs
from ferlab.data.duplicates.search import choose_limit, find_near_pairs, group_pairs, measure_crowd, pick_pairs, score_candidates


@pytest.fixture(scope="module")
def drawn():
    """400 faces of 20 subjects: of every face, about 19 others show its subject, 3 of them its expression."""
    return read(faces=400, subjects=20, size=48, seed=7)


@pytest.fixture(scope="module")
def control(drawn):
    return drawn[0]


@pytest.fixture(scope="module")
def targets(drawn):
    return drawn[1]["target"].to_numpy()


def find(images, targets, contents=None):
    """The pairs and the limit; copies appended by `plant` bear any label, as careless raters would give."""
    return find_near_pairs(images, contents_of(images) if contents is None else contents, targets=np.resize(targets, len(images)))


def photographs(count, *, seed=0):
    """Pictures that resemble each other as little as photographs of the web do: smooth noise."""
    noise = np.random.default_rng(seed).normal(size=(count, 48, 48))
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 2.5) for one in noise])
    return np.clip(128 + 60 * smooth / smooth.std(axis=(1, 2), keepdims=True), 0, 255).astype(np.uint8)


def contents_of(images):
    return pd.factorize(pd.Series([image.tobytes() for image in images]))[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_copies_are_found_and_faces_of_the_same_subject_are_not(control, seed, targets):
    images, planted = plant(control, kinds=KINDS[:-1], each=25, seed=seed)
    contents = contents_of(images)
    pairs, _ = find(images, targets, contents)
    judged = judge_found(pairs, planted, contents)
    assert judged["per_kind"]["exact"]["recall"] == judged["per_kind"]["mirrored"]["recall"] == 1
    assert min(of["recall"] for of in judged["per_kind"].values()) >= 0.95
    assert judged["precision"] >= 0.99


@pytest.mark.slow
def test_recall_and_precision_hold_on_few_subjects_with_many_faces(targets):
    images, planted = plant(read(faces=2000, subjects=20, size=48, seed=3)[0], kinds=KINDS[:-1], each=60)
    contents = contents_of(images)
    judged = judge_found(find(images, targets, contents)[0], planted, contents)
    assert min(of["recall"] for of in judged["per_kind"].values()) >= 0.95
    assert judged["precision"] >= 0.99


def test_another_expression_of_the_same_subject_in_the_same_light_and_pose_is_no_duplicate():
    apart = []
    for index in range(40):
        spec = sample_spec(4, index, subjects=40)
        other = sample_spec(4, index + 1, subjects=40)
        if {spec.expression, other.expression} == {"happy", "sad"} or spec.expression == "surprise":
            calm = replace(spec, action_units={}, expression="neutral", intensity=0.0, noise_seed=(9, index))
            apart.append((draw_face(spec, 48).image, draw_face(calm, 48).image))
    first, second = map(np.stack, zip(*apart, strict=True))
    score = compare_pairs(first, second, shifts=np.zeros((len(first), 2)))
    strong = score < near_duplicates.MOST
    assert len(apart) >= 5
    assert strong.mean() >= 0.8  # the weakest expressions move nothing by as much as a pixel


def test_mirrored_pairs_say_so(control, targets):
    images, planted = plant(control, kinds=("mirrored", "jpeg"), each=20)
    pairs = find(images, targets)[0].set_index(["first", "second"])["mirrored"]
    said = [bool(pairs.loc[(row.origin, row.copy)].any()) for row in planted[["origin", "copy"]].itertuples(index=False)]
    assert said[:20] == [True] * 20
    assert not any(said[20:])


@pytest.mark.parametrize(("degrees", "dx", "dy", "scale"), [(0, 2, -2, 1), (5, 0, 0, 1), (-4, 1.4, 0.7, 1.04), (0, 0, 0, 0.95)])
def test_alignment_undoes_a_known_motion(control, degrees, dx, dy, scale):
    faces = control[:20]
    moved = np.stack([move(face, degrees=degrees, dx=dx, dy=dy, scale=scale) for face in faces])
    before = compare_pairs(faces, np.roll(moved, 1, axis=0), shifts=np.tile([dx, dy], (20, 1)))
    score = compare_pairs(faces, moved, shifts=np.tile([np.round(dx), np.round(dy)], (20, 1)))
    assert np.quantile(score, 0.1) > 0.98
    assert before.max() < 0.98


def test_brightness_and_contrast_leave_the_score_alone(control):
    darker = np.clip(control[:10] * 0.5 + 20, 0, 255).astype(np.uint8)
    assert compare_pairs(control[:10], darker, shifts=np.zeros((10, 2))).min() > 0.99


def test_a_code_asked_with_a_shift_is_the_code_of_the_shifted_face(control):
    shift = SHIFTS[2]
    moved = np.stack([move(face.astype(np.float32), dx=shift[0], dy=shift[1]) for face in control[:5]])
    # cv2 interpolates at 1/32 of a pixel, so the two differ a little
    np.testing.assert_allclose(frequencies(control[:5], shift=shift), frequencies(moved), atol=5e-3)


def test_frequencies_are_those_of_opencvs_cosine_transform(control):
    low = cv2.dct(control[0].astype(np.float32))[:8, :8].ravel()[1:]
    np.testing.assert_allclose(frequencies(control[:1])[0], low / (np.linalg.norm(low) + 1), atol=1e-5)


def test_candidates_are_those_of_a_plain_search(control):
    faces = control[:120]
    space = fit_codes(faces)
    space = face_codes.CodeSpace(space.mean, space.basis, 200.0)  # so low that no face reaches the most it may have
    codes = space.encode(frequencies(faces))
    expected = set()
    for mirrored, way in ((False, faces), (True, faces[:, :, ::-1])):
        asked = np.stack([space.encode(frequencies(way, shift=shift)) for shift in SHIFTS])
        distance = ((asked[:, :, None] - codes) ** 2).sum(axis=3).min(axis=0)
        expected |= {(int(i), int(j), mirrored) for i, j in np.argwhere(distance < 200.0) if i < j}
    found = find_candidates(faces, space)
    assert {(int(p["first"]), int(p["second"]), bool(p["mirrored"])) for p in found} == expected
    assert len(expected) > 3


def test_the_same_faces_give_the_same_pairs(control, targets):
    images, _ = plant(control[:150], each=10)
    one, two = (find(images, targets) for _ in range(2))
    pd.testing.assert_frame_equal(one[0], two[0])
    assert one[1] == two[1]


def test_many_frames_of_one_film_cost_no_more_than_so_many_pairs_each():
    rng, faces = np.random.default_rng(0), photographs(200)
    film = np.clip(faces[0].astype(int) + rng.integers(-2, 3, (600, 48, 48)), 0, 255).astype(np.uint8)
    images, targets = np.concatenate([film, faces[1:]]), np.concatenate([np.zeros(600, int), np.arange(1, 200) % 7])
    pairs, limit = find_near_pairs(images, contents_of(images), targets=targets)
    assert len(pairs) <= 600 * face_codes.MOST
    assert limit == near_duplicates.LEAST  # the frames, of one expression, do not raise it
    assert len(set(group_pairs(pairs, contents_of(images))[:600])) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_faces_are_enough(control, count, targets):
    assert len(find(control[:count], targets, np.arange(count))[0]) == 0


def test_blank_faces_are_duplicates_of_nothing(control, targets):
    blank = np.stack([np.full((48, 48), value, np.uint8) for value in (0, 100, 255)])
    pairs, _ = find(np.concatenate([control[:60], blank]), targets, np.arange(63))
    assert not (pairs[["first", "second"]] >= 60).to_numpy().any()


def test_a_face_excluded_is_in_no_pair(control, targets):
    images, planted = plant(control[:100], kinds=("jpeg",), each=10)
    contents = contents_of(images)
    contents[planted["copy"][0]] = -1
    pairs, _ = find(images, targets, contents)
    assert planted["copy"][0] not in pairs["second"].to_numpy()
    assert planted["copy"][1] in pairs["second"].to_numpy()


def test_large_colour_faces_are_compared_as_small_grey_ones(control, targets):
    large = np.stack([cv2.resize(face, (96, 96), interpolation=cv2.INTER_CUBIC) for face in control[:80]])
    colour = np.repeat(large[..., None], 3, axis=3)
    images, planted = plant(colour, kinds=("mirrored", "shifted", "jpeg"), each=8)
    assert thumbnails(images).shape == (104, 48, 48)
    judged = judge_found(find(images, targets)[0], planted, contents_of(images))
    assert judged["recall"] >= 0.95


def test_the_limit_lies_beyond_the_crowd_within_its_bounds():
    assert choose_limit(0.2) == near_duplicates.LEAST
    assert choose_limit(0.75) == pytest.approx(np.tanh(near_duplicates.DENSITY_RATIO * np.arctanh(0.75)), abs=1e-4)
    assert choose_limit(0.999) == near_duplicates.MOST


def test_the_crowd_is_closer_where_few_subjects_have_many_faces(control, targets):
    apart = np.random.default_rng(0).integers(0, 256, (100, 48, 48), dtype=np.uint8)
    crowds = [measure_crowd(faces, fit_codes(faces), targets=targets[: len(faces)]) for faces in (apart, control)]
    assert crowds[0] < 0.4 < 0.8 < crowds[1]


@pytest.mark.parametrize("copies", [0, 2, 5])
def test_copies_do_not_raise_the_limit(copies):
    originals, targets = photographs(200), np.arange(200) % 7
    rng = np.random.default_rng(1)
    made = [np.stack([alter(image, "combined", rng) for image in originals]) for _ in range(copies)]
    images, pictures = np.concatenate([originals, *made]), np.tile(np.arange(200), copies + 1)
    pairs, limit = find_near_pairs(images, np.arange(len(images)), targets=np.tile(targets, copies + 1))
    assert limit == near_duplicates.LEAST
    groups = pd.Series(group_pairs(pairs, np.arange(len(images)))).groupby(pictures).nunique()
    assert (groups == 1).mean() >= 0.97  # nearly every picture is one group with all of its copies
    assert (pictures[pairs["first"]] == pictures[pairs["second"]]).all()


def test_strongly_changed_copies_are_found_where_faces_are_few_or_many_have_copies(monkeypatch):
    originals, targets = photographs(150, seed=2), np.arange(150) % 7
    rng = np.random.default_rng(3)
    made = [
        np.stack([move(face, degrees=rng.uniform(-8, 8), dx=dx, dy=dy, scale=rng.uniform(0.94, 1.06)) for face in originals])
        for dx, dy in ((2, -1), (-1, 2))
    ]
    images, pictures = np.concatenate([originals, *made]), np.tile(np.arange(150), 3)

    def copied():
        pairs, _ = find_near_pairs(images, np.arange(450), targets=np.tile(targets, 3))
        assert (pictures[pairs["first"]] == pictures[pairs["second"]]).all()
        return len(set(pairs["first"]) | set(pairs["second"])) / 450

    few = copied()
    monkeypatch.setattr(near_duplicates, "FEW", 0)
    assert copied() == few  # too many faces to look far, but a quarter of them have copies
    monkeypatch.setattr(near_duplicates, "COPIED", 1.1)
    assert copied() < few - 0.1
    assert few >= 0.98


def test_the_nearest_of_another_label_are_those_of_a_plain_search(control, targets):
    faces, labels = control[:60], targets[:60]
    space = fit_codes(faces)
    codes = space.encode(frequencies(faces))
    asked = np.stack([space.encode(frequencies(faces, shift=shift)) for shift in SHIFTS])
    distance = ((asked[:, :, None] - codes) ** 2).sum(axis=3).min(axis=0)
    distance[labels[:, None] == labels] = np.inf
    found = find_nearest(faces, space, rows=np.array([3, 7]), most=4, labels=labels)
    for row, pairs in zip((3, 7), found, strict=True):
        assert set(pairs["second"].tolist()) == set(np.argsort(distance[row])[:4].tolist())
    lonely = np.where(np.arange(60) == 5, 1, 0)  # one face alone of its label: every other face has one other to ask
    assert find_nearest(faces, space, rows=np.array([3, 5]), most=4, labels=lonely)["second"].shape == (2, 1)


def test_the_nearest_are_those_of_a_plain_search(control):
    faces = control[:60]
    space = fit_codes(faces)
    codes = space.encode(frequencies(faces))
    asked = np.stack([space.encode(frequencies(faces, shift=shift)) for shift in SHIFTS])
    distance = ((asked[:, :, None] - codes) ** 2).sum(axis=3).min(axis=0)
    np.fill_diagonal(distance, np.inf)
    found = find_nearest(faces, space, rows=np.array([3, 7]), most=4)
    for row, pairs in zip((3, 7), found, strict=True):
        assert set(pairs["second"].tolist()) == set(np.argsort(distance[row])[:4].tolist())
        np.testing.assert_allclose(pairs["distance"], distance[row][pairs["second"]], rtol=1e-3)


def test_groups_are_chains_of_pairs_and_equal_contents():
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 4]})
    assert group_pairs(pairs, np.array([0, 1, 2, 0, 3, 4])).tolist() == [0, 0, 1, 0, 0, 2]


def test_pairs_to_look_at_cross_the_splits_first_and_show_no_face_twice():
    pairs = pd.DataFrame({"first": [0, 0, 2, 4], "second": [1, 2, 3, 5], "score": 1.0})
    faces = pd.DataFrame({"split": ["train", "train", "train", "test", "train", "train"]})
    chosen = pick_pairs(pairs, faces, most=3)
    assert chosen.iloc[0][["first", "second"]].tolist() == [2, 3]
    assert not chosen["first"].duplicated().any()


def test_scores_do_not_depend_on_the_batch(control, monkeypatch):
    images, _ = plant(control[:80], each=8)
    candidates = find_candidates(images, fit_codes(images))
    whole = score_candidates(images, candidates)
    monkeypatch.setattr(near_duplicates, "BATCH", 7)
    np.testing.assert_allclose(score_candidates(images, candidates), whole, atol=1e-4)
