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
from ferlab.data.duplicates.codes import (
    SHIFTS,
    UNSHIFTED,
    build_index,
    find_candidates,
    find_nearest,
    fit_codes,
    frequencies,
    name_search,
    thumbnails,
)
from ferlab.data.duplicates.planting import judge_found, plant
from ferlab.data.duplicates.registration import compare_pairs
from ferlab.data.duplicates.search import choose_limit, find_near_pairs, group_pairs, measure_reference, score_pairs


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


def test_a_pair_alike_in_both_orientations_is_listed_once(control, targets):
    symmetrical = control[:40].copy()
    symmetrical[:, :, 24:] = symmetrical[:, :, 23::-1]
    images = np.concatenate([symmetrical, [alter(face, "jpeg", np.random.default_rng(0)) for face in symmetrical]])
    pairs, _ = find(images, targets)
    assert len(pairs) >= 40
    assert not pairs[["first", "second"]].duplicated().any()


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


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_frequencies_of_a_shifted_face_are_those_of_the_face_moved(control, mirrored):
    faces = control[:5, :, ::-1] if mirrored else control[:5]
    for way, (dx, dy) in enumerate(SHIFTS):
        moved = np.stack([move(face.astype(np.float32), dx=dx, dy=dy) for face in faces])
        # cv2 interpolates at 1/32 of a pixel, so the two differ a little
        np.testing.assert_allclose(frequencies(control[:5])[way + 9 * mirrored], frequencies(moved)[UNSHIFTED], atol=5e-3)


def test_frequencies_are_those_of_opencvs_cosine_transform(control):
    low = cv2.dct(control[0].astype(np.float32))[:8, :8].ravel()[1:]
    np.testing.assert_allclose(frequencies(control[:1])[UNSHIFTED, 0], low / (np.linalg.norm(low) + 1), atol=1e-5)


def plain_distances(faces, space, *, mirrored=False):
    """Squared distances (N, N): of the first face's nearest of nine codes to the second face's code."""
    asked = space.encode(faces[:, :, ::-1] if mirrored else faces)[:9]
    return ((asked[:, :, None] - space.encode(faces)[UNSHIFTED]) ** 2).sum(axis=3).min(axis=0)


@pytest.mark.parametrize("exact", [1000, 0])
def test_candidates_are_those_of_a_plain_search(control, monkeypatch, exact):
    monkeypatch.setattr(face_codes, "EXACT", exact)  # 0: with an index
    faces = control[:120]
    space = replace(fit_codes(faces), limit=200.0)  # so low that no face reaches the most it may have
    expected = {
        (int(i), int(j), mirrored)
        for mirrored in (False, True)
        for i, j in np.argwhere(plain_distances(faces, space, mirrored=mirrored) < space.limit)
        if i < j
    }
    found = find_candidates(faces, space)
    assert {(pair.first, pair.second, pair.mirrored) for pair in found.itertuples()} == expected
    assert len(expected) > 3


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_shift_of_a_candidate_moves_the_first_face_onto_the_second(control, mirrored):
    faces = control[:9]
    copies = np.stack([move(face, dx=dx, dy=dy) for face, (dx, dy) in zip(faces[:, :, :: -1 if mirrored else 1], SHIFTS, strict=True)])
    found = find_candidates(np.concatenate([faces, copies]), fit_codes(control))
    pairs = found[(found["second"] == found["first"] + 9) & (found["mirrored"] == mirrored)].sort_values("first")
    np.testing.assert_allclose(SHIFTS[pairs["shift"]], SHIFTS)


def test_an_index_finds_the_pairs_of_an_exhaustive_search(monkeypatch):
    originals, rng = photographs(1500), np.random.default_rng(0)
    images = np.concatenate([originals, [alter(image, "combined", rng) for image in originals]])
    found = []
    for exact in (10_000, 0, 0):
        monkeypatch.setattr(face_codes, "EXACT", exact)
        found.append(find_near_pairs(images, np.arange(3000), targets=np.tile(np.arange(1500) % 7, 2), wide=False)[0])
    pd.testing.assert_frame_equal(found[1], found[2])
    missed = found[0].merge(found[1], on=["first", "second"], how="left", indicator=True)["_merge"] == "left_only"
    assert missed.mean() <= 0.002
    assert len(found[0]) >= 1450


def test_the_search_is_named_by_the_number_of_faces():
    assert name_search(10_000) == "exhaustive search"
    assert name_search(300_000) == "inverted-file index (faiss IVF, 16 of 2,190 clusters per query)"


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


def test_the_limit_lies_above_the_reference_within_its_bounds():
    assert choose_limit(0.2) == near_duplicates.LEAST
    assert choose_limit(0.75) == pytest.approx(np.tanh(near_duplicates.FACTOR * np.arctanh(0.75)), abs=1e-4)
    assert choose_limit(0.999) == near_duplicates.MOST


def test_the_reference_is_higher_where_few_subjects_have_many_faces(control, targets):
    apart = np.random.default_rng(0).integers(0, 256, (100, 48, 48), dtype=np.uint8)
    references = [measure_reference(faces, fit_codes(faces), targets=targets[: len(faces)]) for faces in (apart, control)]
    assert references[0] < 0.4 < 0.8 < references[1]


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


@pytest.mark.parametrize("labelled", [True, False])
def test_the_nearest_faces_are_those_of_a_plain_search(control, targets, labelled):
    faces, labels = control[:60], targets[:60] if labelled else np.arange(60)
    space, rows = fit_codes(faces), np.flatnonzero(labels == labels[3])
    distance = plain_distances(faces, space)
    distance[labels[:, None] == labels] = np.inf
    found = find_nearest(build_index(faces, space), space.encode(faces[rows])[:9], rows, most=4, among=labels != labels[3])
    for row, pairs in found.groupby("first"):
        assert pairs["second"].tolist() == np.argsort(distance[row])[:4].tolist()
        np.testing.assert_allclose(pairs["distance"], distance[row][pairs["second"]], rtol=1e-3)
    assert len(found) == 4 * len(rows)


def test_one_expression_alone_has_a_reference(control):
    assert 0 < measure_reference(control[:30], fit_codes(control), targets=np.zeros(30, int)) < 1


def test_groups_are_chains_of_pairs_and_equal_contents():
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 4]})
    assert group_pairs(pairs, np.array([0, 1, 2, 0, 3, 4])).tolist() == [0, 0, 1, 0, 0, 2]


def test_scores_do_not_depend_on_the_batch(control, monkeypatch):
    images, _ = plant(control[:80], each=8)
    candidates = find_candidates(images, fit_codes(images))
    whole = score_pairs(images, candidates)
    monkeypatch.setattr(near_duplicates, "BATCH", 7)
    np.testing.assert_allclose(score_pairs(images, candidates), whole, atol=1e-4)
