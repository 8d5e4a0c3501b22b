"""What `ferlab predict` prints and writes."""

from __future__ import annotations

import csv
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ferlab.control import read
from ferlab.deployment.confidence import Confidence, Precision
from ferlab.deployment.export import export_onnx
from ferlab.deployment.face_steps import DRAWN
from ferlab.deployment.listing import check_table, confidence_notes, face_lines, predict_pictures, shown
from ferlab.deployment.predictor import Predictor, ReadFace, ReadPicture
from ferlab.paths import InputError

FACE = ReadFace(box=(3, -4, 50, 50), probs=np.array([0.2, 0.5, 0.3], np.float32), expressions=("angry", "happy", "neutral"), score=6.75)


def picture(*faces, smallest=30, size=(400, 300)):
    return ReadPicture(faces=list(faces), smallest=smallest, size=size)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


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


def test_uncertain_faces_are_marked_in_lines_and_table_and_another_risk_moves_the_mark(photo, tiny, tmp_path, capsys) -> None:
    rows = [{"risk": 0.1, "threshold": 0.999999}, {"risk": 0.2, "threshold": 0.0}]
    export_onnx(tiny, tmp_path / "calibrated.onnx", confidence={"temperature": 4.0, "risk": 0.1, "abstention": rows})
    for risk, mark in ((None, "yes"), (0.2, "no")):
        predict_pictures([photo], model=str(tmp_path / "calibrated.onnx"), table=str(tmp_path / "out.csv"), whole=True, risk=risk)
        (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
        assert row["uncertain"] == mark
        assert (": uncertain: " in capsys.readouterr().out) == (mark == "yes")
    with pytest.raises(InputError, match=r"risk 0\.3: expected one of 0\.1, 0\.2"):
        predict_pictures([photo], model=str(tmp_path / "calibrated.onnx"), whole=True, risk=0.3)


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


def scene(path, face=None):
    """A grey picture, or one with a drawn face in it."""
    pixels = np.full((240, 240), 120, np.uint8)
    if face is not None:
        pixels[60 : 60 + len(face), 70 : 70 + len(face)] = face
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_picture_without_a_face_has_a_row_with_empty_cells_and_an_unread_one_none(tiny_onnx, tmp_path) -> None:
    names = [scene(tmp_path / "one.png", read(faces=1, size=96)[0][0]), scene(tmp_path / "none.png"), str(tmp_path / "gone.png")]
    assert len(predict_pictures(names, model=str(tiny_onnx), table=str(tmp_path / "out.csv"))) == 1
    one, none = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (one["picture"], one["face"]) == (names[0], "0")
    assert float(one["score"]) > 0
    assert none.pop("picture") == names[1]
    assert set(none.values()) == {""}


def test_names_are_one_line_wherever_they_come_from(tiny_onnx, tmp_path, capsys, photo) -> None:
    names = [b"caf\xe9.png", b"new\nline.png", b"\x1b[31mred.png", "größe.png".encode()]
    paths = [os.fsdecode(os.fsencode(tmp_path) + b"/" + name) for name in names]
    for path in paths:
        os.link(photo, path)
    assert predict_pictures(paths, model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True) == []
    out = capsys.readouterr().out
    assert [line.split(": face at")[0].rsplit("/", 1)[1] for line in out.splitlines()] == [
        "caf\\udce9.png",
        "new\\nline.png",
        "\\x1b[31mred.png",
        "größe.png",
    ]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["picture"] for row in rows] == [shown(path) for path in paths]


def test_one_bad_picture_loses_neither_the_others_nor_the_table(photo, tiny_onnx, tmp_path, monkeypatch, capsys) -> None:
    bad, reading = str(tmp_path / "bad.png"), Predictor.read_image

    def stumble(self, image, **options):
        if image == bad:
            raise RuntimeError("out of\nluck")
        return reading(self, image, **options)

    monkeypatch.setattr(Predictor, "read_image", stumble)
    told = predict_pictures([bad, photo], model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True)
    assert told == [f"{bad}: cannot be read (RuntimeError: out of luck)"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    assert "photo.png: face at" in capsys.readouterr().out


def other_files(folder, photo):
    """Make what a table must never replace; return each name with what is said of it."""
    (folder / "other.csv").write_text("picture,face,mine\n1,2,3\n")
    (folder / "empty.csv").touch()
    (folder / "photo.csv").write_bytes((folder / "photo.png").read_bytes())
    (folder / "params.yaml").write_text("study: quick\n")
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    (folder / "null.csv").symlink_to("/dev/null")
    (folder / "link.csv").symlink_to(folder / "params.yaml")
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    (folder / "taken.csv").symlink_to(folder / "other.csv")
    exists = "exists and is no table that ferlab predict wrote"
    return {
        "other.csv": exists, "empty.csv": exists, "photo.csv": exists, "taken.csv": exists, "params.yaml": "does not end in .csv",
        "folder.csv": "is a folder", "pipe.csv": "is no plain file", "null.csv": "does not end in .csv", "link.csv": "does not end in .csv",
        "photo.png": "is a picture", "none/out.csv": "its folder is missing", "out": "does not end in .csv",
    }  # fmt: skip


def test_a_table_never_replaces_what_this_command_did_not_write(photo, tiny_onnx, tmp_path, capsys) -> None:
    said = other_files(tmp_path, photo)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, text in said.items():
        with pytest.raises(InputError, match=text) as error:
            predict_pictures([photo], model=str(tiny_onnx), table=str(tmp_path / name), whole=True)
        assert "\n" not in str(error.value)
    for name in ("", " "):
        with pytest.raises(InputError, match=r"expected the name of a \.csv"):
            predict_pictures([photo], model=str(tiny_onnx), table=name, whole=True)
    assert capsys.readouterr().out == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_table_is_none_of_the_pictures(photo, tmp_path) -> None:
    os.link(photo, tmp_path / "p.csv")
    with pytest.raises(InputError, match="is one of the pictures"):
        check_table(str(tmp_path / "p.csv"), [str(tmp_path / "." / "p.csv")])


def test_a_table_of_its_own_is_written_again_and_a_link_followed(photo, tiny_onnx, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "out.csv")
    for _ in range(2):
        predict_pictures([photo], model=str(tiny_onnx), table=str(tmp_path / "link.csv"), whole=True)
        assert (tmp_path / "link.csv").is_symlink()
        assert len((tmp_path / "there" / "out.csv").read_text().splitlines()) == 2


def test_a_large_picture_whose_faces_were_found_says_what_was_not_looked_for(tiny_onnx, tmp_path, capsys) -> None:
    pixels = np.full((1500, 2000), 120, np.uint8)
    pixels[400:800, 600:1000] = np.asarray(Image.fromarray(read(faces=1, size=96)[0][0]).resize((400, 400)))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    predict_pictures([str(tmp_path / "large.png")], model=str(tiny_onnx))
    assert "faces below 59 pixels were not searched for; --small searches for smaller ones" in capsys.readouterr().err
    predict_pictures([str(tmp_path / "large.png")], model=str(tiny_onnx), small=True)
    assert capsys.readouterr().err == ""
