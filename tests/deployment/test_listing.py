"""What `ferlab predict` prints and writes."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ferlab.deployment.confidence import Confidence, Precision
from ferlab.deployment.listing import check_table, confidence_notes, face_lines
from ferlab.deployment.predictor import ReadFace, ReadPicture
from ferlab.paths import InputError

FACE = ReadFace(box=(3, -4, 50, 50), probs=np.array([0.2, 0.5, 0.3], np.float32), expressions=("angry", "happy", "neutral"), score=6.75)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def picture(*faces, smallest=30, size=(400, 300)):
    return ReadPicture(faces=list(faces), smallest=smallest, size=size)


def test_a_line_names_the_picture_the_box_its_score_and_the_likeliest_first() -> None:
    assert face_lines("a.jpg", picture(FACE), top=2) == ["a.jpg: face at 3, -4, 50 x 50 (score 6.8): happy 50.0 %, neutral 30.0 %"]
    assert face_lines("a.jpg", picture(replace(FACE, score=None)), top=1) == ["a.jpg: face at 3, -4, 50 x 50: happy 50.0 %"]
    assert len(face_lines("a.jpg", picture(FACE, FACE), top=9)) == 2
    assert face_lines("a.jpg", picture(replace(FACE, uncertain=True)), top=1)[0].endswith(": uncertain: happy 50.0 %")


def test_the_card_is_stated_once_for_what_was_predicted() -> None:
    known = {"happy": Precision(30, 40, 0.6, 0.86, "neutral"), "angry": Precision(1, 2, 0.1, 0.9, "")}
    confidence = Confidence(risk=0.1, threshold=0.6, precision=known, measured_on="jaffe, test")
    rates, unsure = confidence_notes(confidence, [FACE.likeliest(1)[0]] * 2, uncertain=1)
    assert rates == "right on test faces (jaffe, test) when predicted: happy 75.0 % of 40"
    assert unsure.startswith("uncertain (1 of 2 faces): confidence below 60.0 %, above which at most 10 % of such faces are wrong")
    assert confidence_notes(confidence, [], uncertain=0) == confidence_notes(Confidence(), FACE.likeliest(1), uncertain=0) == []
    raw = replace(confidence, threshold=None, fitted_on="no split is held out")
    assert confidence_notes(raw, FACE.likeliest(1), uncertain=0)[1] == "Confidences are not calibrated: no split is held out."
    never = confidence_notes(replace(raw, temperature=1.2), FACE.likeliest(1), uncertain=0)[1]
    assert "no threshold was found that keeps an error rate of at most 10 %" in never


def test_a_table_from_before_the_mark_may_be_replaced(tmp_path) -> None:
    old = "picture,face,x,y,width,height,score,expression,prob_happy,prob_sad\n"
    (tmp_path / "old.csv").write_text(old)
    assert check_table(str(tmp_path / "old.csv"), []) == (tmp_path / "old.csv").resolve()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (picture(), "no face found of 30 pixels or more"),
        (picture(size=(120, 90)), "no face found of 30 pixels or more; for a cropped face use --whole"),
        (picture(smallest=59, size=(4000, 3000)), "no face found of 59 pixels or more; --small searches for smaller ones"),
        (picture(smallest=30, size=(4000, 3000)), "no face found of 30 pixels or more"),
        (picture(smallest=None, size=(4000, 1)), "no face found; the picture is too narrow to hold one"),
    ],
)
def test_a_picture_without_a_face_has_a_line_that_says_what_was_looked_for(given, said) -> None:
    assert face_lines("a.jpg", given, top=3) == [f"a.jpg: {said}"]


def test_a_table_is_none_of_the_pictures(photo, tmp_path) -> None:
    os.link(photo, tmp_path / "p.csv")
    with pytest.raises(InputError, match="is one of the pictures"):
        check_table(str(tmp_path / "p.csv"), [str(tmp_path / "." / "p.csv")])


