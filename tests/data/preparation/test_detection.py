"""Boxes: who is found at which search level, who is chosen of several, what is cut out; and what is said when a detector cannot be made."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlab.control import read
from ferlab.data.preparation import detectors
from ferlab.data.preparation.detection import (
    STATED,
    Detections,
    SearchLevel,
    _change,
    _search,
    choose_face,
    crop_box,
    find_box,
    for_reading,
    haar_levels,
    open_detector,
)
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def faces():
    return read(faces=40, size=48)[0]


@pytest.fixture(scope="module")
def haar():
    return open_detector("haar")


def scene_of(face, *, x, y, side=240):
    """A face on an even ground with a soft gradient, its corner at x, y."""
    scene = np.tile(np.linspace(90, 160, side).astype(np.uint8), (side, 1))
    scene[y : y + face.shape[0], x : x + face.shape[1]] = face
    return scene


def centre(box):
    return np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])


def test_haar_finds_a_face_in_a_scene_where_it_is(haar):
    face = read(faces=1, size=96)[0][0]
    for x, y in ((10, 20), (130, 140)):
        found = find_box(scene_of(face, x=x, y=y), haar)
        assert np.linalg.norm(centre(found.box) - (x + 48, y + 48)) < 12
        assert (found.level, found.landmarks) == (STATED, None)


def test_retries_find_faces_that_the_stated_parameters_miss_and_say_on_which_level(faces, haar):
    stated = open_detector("haar", retries=False)
    first = [find_box(face, stated) for face in faces]
    all_levels = [find_box(face, haar) for face in faces]
    assert sum(found is None for found in all_levels) < sum(found is None for found in first)
    for once, again in zip(first, all_levels, strict=True):
        assert once is None or once.box == again.box
        assert once is not None or again is None or again.level != STATED
    assert {found.level for found in all_levels if found} <= {level.name for level in haar_levels(SearchLevel(STATED))}


def test_a_sliver_is_not_enlarged_beyond_memory(haar):
    assert len(haar(np.zeros((1024, 1), np.uint8)).boxes) == 0
    picture, scale, _ = _change(np.zeros((1024, 1), np.uint8), SearchLevel("enlarged", enlarge=True))
    assert (picture.shape, scale) == ((4096, 4), 4.0)


def test_a_box_found_in_a_framed_and_enlarged_picture_is_in_pixels_of_the_original(haar):
    tight = read(faces=60, size=48)[0][:, 6:42, 6:42]
    found = [find_box(face, haar) for face in tight]
    levels = [one.level for one in found if one]
    assert {"framed", "enlarged"} & set(levels)
    errors = [np.linalg.norm(centre(one.box) - 18) for one in found if one and one.level in ("framed", "enlarged")]
    assert np.median(errors) < 4


def test_the_ladder_only_ever_loosens_and_keeps_what_is_stated_looser():
    for stated in (SearchLevel(STATED), SearchLevel(STATED, scale_factor=1.02, min_neighbors=2, min_size=12)):
        whole = haar_levels(stated)
        assert whole[-2] == replace(stated, name="at 2048 px", side=2048)  # a larger copy of a large picture; never believed less than the last level
        levels = (*whole[:-2], whole[-1])
        assert levels[0] == stated
        assert len({level.name for level in levels}) == len(levels)
        for one, other in pairwise(levels):
            assert (other.scale_factor, other.min_neighbors, other.min_size) <= (one.scale_factor, one.min_neighbors, one.min_size)
        assert (levels[-1].scale_factor, levels[-1].min_neighbors, levels[-1].min_size) == (
            min(stated.scale_factor, 1.05),
            1,
            min(stated.min_size, 20),
        )


def test_no_face_is_none_and_neither_an_error_nor_a_guess(haar):
    assert find_box(np.full((64, 64), 128, np.uint8), haar) is None
    assert find_box(np.zeros((5, 3, 3), np.uint8), haar) is None
    none = haar(np.full((64, 64), 128, np.uint8))
    assert (none.boxes.shape, none.level) == ((0, 4), None)


def test_grey_repeated_in_three_channels_gives_the_same_box_and_so_does_a_second_time(faces, haar):
    for face in faces[:10]:
        one, other, again = (find_box(picture, haar) for picture in (face, np.dstack([face] * 3), face))
        assert one == other == again


def test_a_large_picture_is_searched_in_a_reduced_copy_and_its_box_is_in_its_own_pixels(monkeypatch):
    shown = []

    def look(picture, level):
        shown.append((max(picture.shape), level.min_size))
        return np.array([[10.0, 20.0, 70.0, 70.0]]), np.full((1, 5, 2), 9.5), np.array([2.5])

    for stated, least in ((30, 30), (200, 67), (20, 20)):
        shown.clear()
        found = _search(np.zeros((3072, 2048), np.uint8), look=look, levels=haar_levels(SearchLevel(STATED, min_size=stated)), small=False)
        assert shown == [(1024, least)]
        assert found.boxes.tolist() == [[30, 60, 210, 210]]
        np.testing.assert_allclose(found.landmarks, np.full((1, 5, 2), 29.5))
        assert (found.smallest, found.scores.tolist()) == (3 * least, [2.5]) or stated == 200


def test_small_faces_are_looked_for_again_and_each_is_told_once():
    sides = []

    def look(picture, level):
        sides.append(max(picture.shape))
        scale = max(picture.shape) / 4096
        boxes = np.array([[400, 400, 150, 150], [1000, 400, 160, 160], [2000, 1000, 900, 900]]) * scale
        known = boxes[:, 2] >= 37  # at 1024 pixels the second and the third, at 2048 all
        return boxes[known], None, 100 * scale * np.ones(known.sum())

    levels = haar_levels(SearchLevel(STATED))
    found = _search(np.zeros((3000, 4096), np.uint8), look=look, levels=levels, small=False)
    assert sides == [1024, 2048]
    assert found.boxes.tolist() == [[400, 400, 150, 150], [1000, 400, 160, 160], [2000, 1000, 900, 900]]
    assert found.scores.tolist() == [50, 50, 50]
    assert (found.level, found.smallest) == (STATED, 60)
    sides.clear()
    assert len(_search(np.zeros((3000, 4096), np.uint8), look=look, levels=levels, small=True).boxes) == 3
    assert sides == [1024, 2048, 4096]


def test_a_sure_box_has_a_higher_score_than_noise(faces, haar):
    haar = for_reading(haar)
    sure = haar(scene_of(read(faces=1, size=96)[0][0], x=40, y=60))
    assert sure.scores.shape == (len(sure.boxes),)
    assert sure.scores[0] > 3
    assert open_detector("haar")(scene_of(read(faces=1, size=96)[0][0], x=40, y=60)).scores is None  # not asked for: it costs time
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    doubtful = for_reading(open_detector("haar", retries=False))(np.asarray(cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)))
    assert len(doubtful.boxes) == 0 or doubtful.scores.max() < sure.scores[0]


@pytest.mark.slow
def test_the_largest_picture_is_searched_in_less_than_a_gigabyte_more():
    code = """
import re, sys
from pathlib import Path
import numpy as np
from ferlab.data.preparation.detection import open_detector
def peak():  # in kB; ru_maxrss holds the peak of the process that forked this one, too
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
picture = np.random.default_rng(0).integers(0, 256, (6144, 8192), np.uint8)
before = peak()
open_detector("haar")(picture)
sys.exit(peak() - before > 1_000_000)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_the_number_of_threads_is_as_it_was(faces, haar):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    haar(faces[0])
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)


def test_the_largest_of_central_faces_and_the_most_central_of_equals_is_chosen_by_hand():
    # Picture 100 x 100, half diagonal 70.7. Scores: 400 (1 - 0) = 400; 900 (1 - 35 sqrt 2 / 70.7) = 270; 900 (1 - 10 / 70.7) = 773.
    boxes = np.array([[40, 40, 20, 20], [0, 0, 30, 30], [35, 25, 30, 30]])
    assert choose_face(boxes, (100, 100)) == 2
    assert choose_face(boxes[:2], (100, 100)) == 0
    assert choose_face(np.array([[80, 40, 20, 20], [30, 40, 20, 20]]), (100, 100, 3)) == 1


def test_ties_go_to_the_highest_then_the_leftmost_whatever_the_order():
    mirrored = np.array([[70, 40, 20, 20], [10, 40, 20, 20]])
    assert choose_face(mirrored, (100, 100)) == 1
    assert choose_face(mirrored[::-1], (100, 100)) == 0
    assert choose_face(np.array([[40, 70, 20, 20], [40, 10, 20, 20], [10, 40, 20, 20]]), (100, 100)) == 1


def test_one_face_is_meant_and_the_others_are_counted():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    points = np.arange(20.0).reshape(2, 5, 2)
    found = find_box(np.zeros((60, 60), np.uint8), lambda image: Detections(boxes, points, "framed"))
    assert (found.box, found.others, found.level) == ((20, 20, 30, 30), 1, "framed")
    np.testing.assert_array_equal(found.landmarks, points[1])


def test_a_crop_by_hand_with_margin_and_squared():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    np.testing.assert_array_equal(crop_box(image, (2, 3, 4, 2)), image[2:6, 2:6])  # one row more above and below
    np.testing.assert_array_equal(crop_box(image, (4, 4, 2, 2), margin=0.5), image[3:7, 3:7])
    colour = np.dstack([image] * 3)
    np.testing.assert_array_equal(crop_box(colour, (2, 3, 4, 2)), colour[2:6, 2:6])


def test_a_crop_past_the_edge_repeats_the_edge():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    padded = np.pad(image, 5, mode="edge")
    for x, y in ((-3, -2), (7, 8), (-5, 4)):
        np.testing.assert_array_equal(crop_box(image, (x, y, 6, 6)), padded[y + 5 : y + 11, x + 5 : x + 11])


@given(
    box=st.tuples(st.integers(-9, 19), st.integers(-9, 14), st.integers(1, 25), st.integers(1, 25)),
    margin=st.floats(0, 0.3),
)
def test_every_overlapping_box_gives_a_square_face_of_known_pixels(box, margin):
    image = np.arange(15 * 20, dtype=np.uint16).reshape(15, 20).astype(np.uint8)
    side = round(max(box[2:]) * (1 + 2 * margin))
    left, top = box[0] + (box[2] - side) // 2, box[1] + (box[3] - side) // 2
    if left >= 20 or top >= 15 or left + side <= 0 or top + side <= 0:
        with pytest.raises(InputError, match="lies outside"):
            crop_box(image, box, margin=margin)
        return
    face = crop_box(image, box, margin=margin)
    assert face.shape[0] == face.shape[1] == side
    assert set(face.ravel()) <= set(image.ravel())


@pytest.mark.parametrize(
    ("box", "margin", "said"),
    [
        ((0, 0, 0, 5), 0, "is empty"),
        ((0, 0, 5, -1), 0, "is empty"),
        ((2, 2, 4, 4), -0.5, "is empty"),
        ((20, 0, 5, 5), 0, "lies outside its picture of 20 x 15"),
        ((-5, 0, 5, 5), 0, "lies outside"),
        ((0, 0, 10**9, 10), 0, "more than four times as large"),
    ],
)
def test_a_wrong_box_is_refused_in_one_line(box, margin, said):
    with pytest.raises(InputError, match=said) as caught:
        crop_box(np.zeros((15, 20), np.uint8), box, margin=margin)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)])
def test_what_is_no_picture_is_refused(image, haar):
    with pytest.raises(InputError, match="Expected a picture as uint8"):
        find_box(image, haar)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("har", {}, "did you mean 'haar'"),
        ("dlib", {}, "expected haar or yunet"),
        ("haar", {"scale_factor": 1.0}, "scale_factor above 1"),
        ("haar", {"scale_factor": 1.0000001}, "scale_factor above 1"),
        ("haar", {"scale_factor": float("nan")}, "scale_factor above 1"),
        ("haar", {"min_size": 10**12}, r"min_size of at least 1 .*min_size=1000000000000"),
        ("haar", {"min_neighbors": 10**12}, "min_neighbors=1000000000000"),
        ("haar", {"min_neighbors": -1}, "min_neighbors of at least 0"),
        ("haar", {"file": "x.xml"}, "comes with OpenCV"),
        ("yunet", {}, "no file was given"),
        ("yunet", {"file": "nowhere.onnx"}, "nowhere.onnx is missing"),
    ],
)
def test_a_detector_that_cannot_be_made_says_why(name, options, said):
    with pytest.raises(InputError, match=said) as caught:
        open_detector(name, **options)
    assert "\n" not in str(caught.value)


def bright_spot_net(path):
    """Write a model with the inputs and outputs of YuNet that sees a face of 48 x 48 about every 8 x 8 cell, as sure as the cell is bright."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    # Per cell: centre (.5, .5) of it, sides exp(ln 6) cells; eyes, nose and mouth in cells from its corner.
    values = {"bbox": [0.5, 0.5, np.log(6), np.log(6)], "kps": [-0.5, -0.5, 1.5, -0.5, 0.5, 0.5, -0.25, 1.5, 1.25, 1.5]}
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        for kind, wide in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            bright = kind in ("cls", "obj") and stride == 8
            weight = np.full((wide, 3, stride, stride), 1 / (3 * 255 * stride**2) if bright else 0, np.float32)
            bias = np.array(values.get(kind, [0.0]), np.float32)
            for part, value in (("w", weight), ("b", bias), ("shape", np.array([1, -1, wide]))):
                constants.append(numpy_helper.from_array(value, f"{name}_{part}"))
            nodes += [
                helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_map"], kernel_shape=[stride] * 2, strides=[stride] * 2),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, (320 // stride) ** 2, wide]))
    given = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 320, 320])]
    model = helper.make_model(helper.make_graph(nodes, "spots", given, outputs, constants), opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    checker.check_model(model)
    save(model, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    path = tmp_path_factory.mktemp("yunet") / "spots.onnx"
    return path, bright_spot_net(path)


def test_yunet_gives_boxes_and_five_points_through_opencv(spots):
    path, sha256 = spots
    scene = np.zeros((90, 130), np.uint8)
    scene[32:40, 64:72] = 255
    found = find_box(scene, open_detector("yunet", file=path, sha256=sha256.upper()))
    assert (found.box, found.level, found.others) == ((44, 12, 48, 48), STATED, 0)
    np.testing.assert_allclose(found.landmarks, [[60, 28], [76, 28], [68, 36], [62, 44], [74, 44]], atol=0.01)


def test_yunet_retries_at_lower_scores_and_brings_points_back_to_the_original(spots):
    path, sha256 = spots
    scene = np.zeros((96, 96), np.uint8)
    scene[40:48, 40:48] = 180  # as sure as .71
    detector = open_detector("yunet", file=path, sha256=sha256)
    assert find_box(scene, detector).level == "score 0.6"
    assert find_box(scene, open_detector("yunet", file=path, sha256=sha256, retries=False)) is None
    scene[:] = np.where(scene, 100, 0)  # .39: equalised white
    found = find_box(scene, detector)
    assert (found.level, found.box) == ("equalised", (20, 20, 48, 48))
    one_level = find_box(np.where(scene, 255, 0).astype(np.uint8), detector)
    np.testing.assert_allclose(one_level.landmarks, found.landmarks, atol=0.01)


def test_another_file_and_a_file_that_is_no_net_are_refused(spots, tmp_path):
    path, sha256 = spots
    with pytest.raises(InputError, match=f"has the sha256 {sha256}; none was stated"):
        open_detector("yunet", file=path)
    with pytest.raises(InputError, match=f"has the sha256 {sha256}; expected {'0' * 64}"):
        open_detector("yunet", file=path, sha256="0" * 64)
    text = tmp_path / "net.onnx"
    text.write_text("a page that says: log in first")
    with pytest.raises(InputError, match=r"cannot read .* as a model") as caught:
        open_detector("yunet", file=text, sha256=hashlib.sha256(text.read_bytes()).hexdigest())
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"is no \.onnx file"):
        open_detector("yunet", file=text.rename(tmp_path / "net.pb"), sha256="0")


def test_yunets_score_is_its_own(spots):
    path, sha256 = spots
    scene = np.zeros((90, 130), np.uint8)
    scene[32:40, 64:72] = 255
    assert open_detector("yunet", file=path, sha256=sha256)(scene).scores == pytest.approx([1.0], abs=0.01)


def test_another_net_and_one_that_crashes_are_refused(spots, tmp_path, monkeypatch):
    from onnx import load, save

    model = load(spots[0])
    del model.graph.output[0]
    save(model, tmp_path / "less.onnx")
    sha256 = hashlib.sha256((tmp_path / "less.onnx").read_bytes()).hexdigest()
    with pytest.raises(InputError, match=r"yunet: OpenCV cannot read it: .*less\.onnx") as caught:
        open_detector("yunet", file=tmp_path / "less.onnx", sha256=sha256)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(detectors, "TRIAL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    detectors._try_yunet.cache_clear()
    with pytest.raises(InputError, match="yunet: OpenCV crashes on it"):
        open_detector("yunet", file=spots[0], sha256=spots[1])
    detectors._try_yunet.cache_clear()


def test_an_opencv_without_its_cascades_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(InputError, match=r"haarcascade_frontalface_default\.xml is missing from OpenCV"):
        open_detector("haar")
