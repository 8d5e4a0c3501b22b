"""Preparation: the steps that params name are taken in order, by hand-made pictures whose face is known."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.detection import Detections
from ferlab.data.preparation.steps import Preparation, plan_preparation, read_boxes, step_of
from ferlab.params import Face
from ferlab.paths import InputError

FACES = pd.DataFrame({"face_id": ["a/0", "a/1", "a/2"]})


WRONG = (("--5", "4"), ("²", "4"), ("٣", "4"), ("1", "4" * 400), ("9" * 5000, "4"), ("+1", "4"), ("1.5", "4"))  # x and width


def picture():
    """A bright square of 20 x 20 at (30, 10) on black."""
    image = np.zeros((60, 80), np.uint8)
    image[10:30, 30:50] = 200
    return image


def finds(*boxes):
    return lambda image: Detections(np.array(boxes, np.int64).reshape(-1, 4), None, "stated" if boxes else None)


def plan(raw=None, faces=FACES, *, size=None, colour="as_is", equalise="none", blur=0, **face):
    return plan_preparation(raw, faces, Face(**face).model_dump(), size=size, colour=colour, equalise=equalise, blur=blur)


def test_without_steps_a_picture_stays_as_it_is():
    stages = plan().stages(picture(), "a/0")
    assert list(stages.images) == ["as delivered"]
    assert (stages.face == picture()).all()
    assert stages.found == {}


def test_the_found_face_is_cut_out_and_recorded():
    stages = Preparation(detector=finds((30, 10, 20, 20), (0, 50, 5, 5)), size=10).stages(picture(), "a/0")
    assert list(stages.images) == ["as delivered", "cropped", "10 x 10"]
    assert (stages.face == 200).all()
    assert stages.box == (30, 10, 20, 20)
    assert stages.found == {"found_x": 30, "found_y": 10, "found_w": 20, "found_h": 20, "found_by": "stated", "other_faces": 1}


def test_a_margin_shows_what_is_around_the_face():
    face = Preparation(detector=finds((30, 10, 20, 20)), margin=0.5).stages(picture(), "a/0").face
    assert face.shape == (40, 40)
    assert (face[10:30, 10:30] == 200).all()
    assert face.sum() == 400 * 200


def test_a_picture_without_a_face_is_excluded_or_kept_whole():
    with pytest.raises(NotAFace, match="no face found"):
        Preparation(detector=finds(), size=10).stages(picture(), "a/0")
    whole = Preparation(detector=finds(), size=10, whole=True).stages(picture(), "a/0")
    assert list(whole.images) == ["as delivered", "10 x 10"]
    assert whole.found == {"found_x": None, "found_y": None, "found_w": None, "found_h": None, "found_by": "", "other_faces": 0}


def test_a_box_by_hand_comes_before_the_detector(tmp_path):
    (tmp_path / "boxes.csv").write_text("face_id,x,y,width,height\na/1,0,0,10,10\n")
    preparation = plan(tmp_path, boxes="boxes.csv")
    assert preparation.stages(picture(), "a/1").found["found_by"] == "box given"
    assert (preparation.stages(picture(), "a/1").face == 0).all()
    with pytest.raises(NotAFace):
        preparation.stages(picture(), "a/0")


def test_the_datasets_own_boxes_are_used_where_it_has_them():
    faces = FACES.assign(box_x=[30.2, 0, np.nan], box_y=[9.8, 0, 1], box_w=[20.0, 4, 1], box_h=[20.0, 4, 1])
    preparation = plan(faces=faces, detector="dataset")
    assert preparation.boxes == {"a/0": (30, 10, 20, 20), "a/1": (0, 0, 4, 4)}
    with pytest.raises(InputError, match="the dataset gives no boxes"):
        plan(detector="dataset")


def test_steps_come_in_their_order():
    colour = np.stack([picture()] * 3, axis=-1)
    stages = plan(size=20, colour="grey", equalise="clahe", blur=5).stages(colour, "a/0")
    assert list(stages.images) == ["as delivered", "grey", "20 x 20", "CLAHE", "smoothed 5 x 5"]
    assert stages.face.shape == (20, 20)
    assert plan(colour="rgb").stages(picture(), "a/0").face.shape == (60, 80, 3)


def test_landmarks_that_are_asked_for_must_be_there():
    with pytest.raises(InputError, match=r"face\.align is 'landmarks', but the dataset gives none"):
        plan(align="landmarks")
    faces = FACES.assign(landmarks=[np.zeros(10, np.float32), None, None])
    with pytest.raises(NotAFace, match="no landmarks to align by"):
        plan(faces=faces, align="landmarks", size=10).stages(picture(), "a/1", None)


def test_a_face_is_aligned_by_the_landmarks_of_its_row():
    points = np.float32([[33, 17], [47, 17], [40, 22], [35, 26], [45, 26]])  # eyes 14 apart and level
    faces = FACES.assign(landmarks=[None, points.ravel(), None])
    step = step_of(plan(faces=faces, align="landmarks", size=48), faces)
    face, found = step(1, picture())
    assert face.shape == (48, 48)
    assert found == {}
    assert face[20:30, 20:28].min() == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "boxes.csv is missing"),
        ("face_id,x,y,w,h\n", "has the columns 'face_id, x, y, w, h'; expected face_id, x, y, width, height"),
        ("face_id,x,y,width,height\na/9,0,0,1,1\n", "data row 1: 'a/9' is no face of the dataset"),
        ("face_id,x,y,width,height\na/0,0,0,1,1\na/0,0,0,1,1\n", "data row 2: 'a/0' comes twice"),
        ("face_id,x,y,width,height\na/0,0,0,0,1\n", "data row 1: the box is 0, 0, 0, 1; expected four whole numbers"),
        ("face_id,x,y,width,height\na/0,0,0,1.5,1\n", r"data row 1: the box is 0, 0, 1\.5, 1"),
        *((f"face_id,x,y,width,height\na/0,{x},0,{width},4\n", "expected four whole numbers") for x, width in WRONG),
    ],
)
def test_a_wrong_list_of_boxes_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_boxes(tmp_path / "boxes.csv", known=FACES["face_id"])
