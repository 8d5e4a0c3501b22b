"""What `ferlab predict` prints and writes."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ferlab.deployment.export import export_onnx
from ferlab.deployment.face_steps import DRAWN
from ferlab.deployment.listing import face_lines, predict_pictures
from ferlab.deployment.predictor import ReadFace
from ferlab.paths import InputError

FACE = ReadFace(box=(3, -4, 50, 50), probs=np.array([0.2, 0.5, 0.3], np.float32), expressions=("angry", "happy", "neutral"))


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_a_line_names_the_picture_the_box_and_the_likeliest_first() -> None:
    assert face_lines("a.jpg", [FACE], top=2) == ["a.jpg: face at 3, -4, 50 x 50: happy 50.0 %, neutral 30.0 %"]
    assert len(face_lines("a.jpg", [FACE, FACE], top=9)) == 2


def test_a_picture_without_a_face_has_a_line_that_says_so() -> None:
    assert face_lines("a.jpg", [], top=3) == ["a.jpg: no face found; --whole reads the whole picture as one face"]


def test_the_table_holds_a_row_for_each_face_whose_probabilities_sum_to_one(photo, tiny_onnx, tmp_path, capsys) -> None:
    assert predict_pictures([photo, photo], model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True) == []
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [(row["picture"], row["face"], row["width"]) for row in rows] == [(photo, "0", "40")] * 2
    probs = {name: float(rows[0][f"prob_{name}"]) for name in ("angry", "happy", "neutral")}
    assert sum(probs.values()) == pytest.approx(1, abs=2e-6)
    assert rows[0]["expression"] == max(probs, key=probs.get)
    assert capsys.readouterr().out.count("face at 0, 0, 40 x 40") == 2


def test_a_model_that_has_met_drawn_faces_alone_says_so_once(photo, tiny, tmp_path, capsys) -> None:
    export_onnx(replace(tiny, sources=("control",)), tmp_path / "drawn.onnx")
    predict_pictures([photo, photo], model=str(tmp_path / "drawn.onnx"), whole=True)
    told = capsys.readouterr()
    assert told.err.splitlines() == [f"ferlab: {tmp_path / 'drawn.onnx'}: {DRAWN}"]
    assert len(told.out.splitlines()) == 2


def test_a_bad_file_is_told_and_the_others_are_read(photo, tiny_onnx, tmp_path, capsys) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (told,) = predict_pictures([str(tmp_path / "broken.jpg"), photo], model=str(tiny_onnx), whole=True)
    assert "broken.jpg is no image" in told
    assert "photo.png: face at" in capsys.readouterr().out


def test_a_wrong_option_is_told_before_anything_is_read(photo, tiny_onnx, tmp_path, capsys) -> None:
    with pytest.raises(InputError, match="--top 0: expected 1 or more"):
        predict_pictures([photo], model=str(tiny_onnx), top=0)
    with pytest.raises(InputError, match="its folder is missing"):
        predict_pictures([photo], model=str(tiny_onnx), table=str(tmp_path / "none" / "out.csv"))
    assert capsys.readouterr().out == ""
