"""Faces found and followed: ids that stay, boxes near the drawn faces, and few searches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from scipy.optimize import linear_sum_assignment

from ferlab.data.preparation.detection import overlaps
from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.following import FaceFollower, assign, drop_overlapping, match_boxes

INNER = np.array([0.1, 0.14, 0.8, 0.8])  # the face within its drawn picture


def inner(box) -> np.ndarray:
    x, y, width, height = box
    return np.array([[x + INNER[0] * width, y + INNER[1] * height, INNER[2] * width, INNER[3] * height]])


@pytest.fixture(scope="module")
def followed(acted):
    follower = FaceFollower()
    return follower, [follower.update(frame.time, frame.picture) for frame in open_clip(acted[0]).frames()]


def test_two_people_keep_their_ids_also_after_a_second_out_of_sight(followed, acted) -> None:
    ids = {0: set(), 1: set()}
    for frame, faces in zip(acted[1], followed[1], strict=True):
        for truth in frame.faces:
            near = [face.id for face in faces if overlaps(np.array([face.box], float), inner(truth.box))[0, 0] > 0.3]
            assert len(near) <= 1
            ids[truth.person] |= set(near)
    assert len(ids[0]) == len(ids[1]) == 1
    assert (ids[0], ids[1]) == ({0}, {1})  # from left to right


def test_boxes_lie_on_the_faces_and_a_covered_or_absent_face_has_none(followed, acted) -> None:
    seen, close, ghosts = 0, 0, 0
    for frame, faces in zip(acted[1], followed[1], strict=True):
        boxes = np.array([face.box for face in faces], float).reshape(-1, 4)
        for truth in frame.faces:
            best = overlaps(boxes, inner(truth.box)).max(initial=0)
            seen, close = seen + (not truth.covered), close + (not truth.covered and best > 0.5)
            ghosts += truth.covered and best > 0.3
        ghosts += len(faces) > len(frame.faces)
    assert close / seen > 0.97
    assert ghosts <= 4  # of a face that is covered or gone, until the flow fails


def test_few_frames_are_searched_and_boxes_are_steadier_than_the_detectors(followed, acted) -> None:
    def jitter(rows, frames) -> float:
        offsets = [np.subtract(faces[0].box, frame.faces[0].box) for faces, frame in zip(rows, frames, strict=True) if faces]
        return float(np.abs(np.diff(offsets, axis=0)).mean())

    follower, rows = followed
    assert follower.searches <= 35  # of 75 frames in 5 s: five a second, and where a face was lost
    every = FaceFollower(every=0)
    searched = [every.update(frame.time, frame.picture) for frame in acted[1][:12]]
    assert every.searches == 12
    assert jitter(rows[:12], acted[1][:12]) < 0.7 * jitter(searched, acted[1][:12])


def test_a_photographed_face_is_followed_while_the_camera_pans_and_zooms() -> None:
    picture = cv2.cvtColor(cv2.imread(get_sample_data("grace_hopper.jpg", asfileobj=False)), cv2.COLOR_BGR2RGB)
    follower, boxes = FaceFollower(every=10.0), []  # searched once: all else is flow
    for step in range(12):
        matrix = np.array([[1 + 0.01 * step, 0, 4.0 * step], [0, 1 + 0.01 * step, -3.0 * step]])
        moved = cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        (face,) = follower.update(step / 25, moved)
        boxes.append(face.box)
    assert follower.searches == 1
    assert face.id == 0
    start = np.array(boxes[0], float)
    expected = np.array([*(start[:2] * 1.11 + (44, -33)), *(start[2:] * 1.11)])
    assert overlaps(np.array([boxes[-1]], float), expected[None])[0, 0] > 0.85


def test_another_size_of_frame_starts_afresh() -> None:
    follower = FaceFollower()
    for size in ((120, 160), (90, 90)):
        assert follower.update(0.0, np.full((*size, 3), 90, np.uint8)) == []
    assert follower.searches == 2


def test_of_overlapping_boxes_the_better_stays() -> None:
    boxes = np.array([[0, 0, 100, 100], [40, 60, 30, 30], [200, 0, 50, 50.0]])
    assert drop_overlapping(boxes, np.array([6.0, 2.0, 1.0])).tolist() == [0, 2]
    assert drop_overlapping(boxes, np.array([2.0, 6.0, 1.0])).tolist() == [1, 2]
    assert drop_overlapping(np.zeros((0, 4)), np.zeros(0)).tolist() == []


def test_boxes_go_to_the_faces_they_overlap_most_and_a_lost_face_may_have_moved() -> None:
    known = [(np.array([0, 0, 100, 100.0]), False), (np.array([300, 0, 100, 100.0]), True)]
    found = np.array([[10, 0, 100, 100], [350, 20, 90, 90], [600, 0, 100, 100.0]])
    assert match_boxes(found, known) == {0: 0, 1: 1, 2: None}
    assert match_boxes(found[1:2], [(known[1][0], False)]) == {0: None}  # of a face in sight: it overlaps by 0.28
    assert match_boxes(np.array([[380, 0, 100, 100.0]]), [(known[1][0], True)]) == {0: None}  # too far
    assert match_boxes(np.array([[330, 0, 30, 30.0]]), [(known[1][0], True)]) == {0: None}  # too small
    assert match_boxes(np.zeros((0, 4)), known) == {}


def test_boxes_are_assigned_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    for trial in range(300):
        worth = rng.random((rng.integers(1, 8), rng.integers(1, 8))).round(1 if trial % 3 == 0 else 6)
        worth[rng.random(worth.shape) < 0.5] = 0
        pairs = assign(worth)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs) == min(worth.shape)
        assert sum(worth[pair] for pair in pairs) == pytest.approx(worth[linear_sum_assignment(-worth)].sum(), abs=1e-9)
