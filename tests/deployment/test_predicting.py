"""What `ferlab predict` prints and writes: lines, objects, tables and annotated copies of all that it is given."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ferlab.cli import main
from ferlab.control import read
from ferlab.control.clips import write_clip
from ferlab.deployment import gathering
from ferlab.deployment.export import export_onnx
from ferlab.deployment.listing import shown
from ferlab.deployment.predicting import predict_files
from ferlab.deployment.predictor import DRAWN, Predictor
from ferlab.paths import InputError


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_uncertain_faces_are_marked_in_lines_and_table_and_another_risk_moves_the_mark(photo, tiny, tmp_path, capsys) -> None:
    rows = [{"risk": 0.1, "threshold": 0.999999}, {"risk": 0.2, "threshold": 0.0}]
    export_onnx(tiny, tmp_path / "calibrated.onnx", confidence={"temperature": 4.0, "risk": 0.1, "abstention": rows})
    for risk, mark in ((None, "yes"), (0.2, "no")):
        predict_files([photo], model=str(tmp_path / "calibrated.onnx"), table=str(tmp_path / "out.csv"), whole=True, risk=risk)
        (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
        assert row["uncertain"] == mark
        assert (": uncertain: " in capsys.readouterr().out) == (mark == "yes")
    with pytest.raises(InputError, match=r"risk 0\.3: expected one of 0\.1, 0\.2"):
        predict_files([photo], model=str(tmp_path / "calibrated.onnx"), whole=True, risk=0.3)


def test_the_table_holds_a_row_for_each_face_whose_probabilities_sum_to_one(photo, tiny_onnx, tmp_path, capsys) -> None:
    assert predict_files([photo, photo], model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True) == []
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [(row["picture"], row["face"], row["width"]) for row in rows] == [(photo, "0", "40")] * 2
    probs = {name: float(rows[0][f"prob_{name}"]) for name in ("angry", "happy", "neutral")}
    assert sum(probs.values()) == pytest.approx(1, abs=2e-6)
    assert rows[0]["expression"] == max(probs, key=probs.get)
    assert capsys.readouterr().out.count("face at 0, 0, 40 x 40") == 2


def test_a_model_that_has_met_drawn_faces_alone_says_so_once(photo, tiny, tmp_path, capsys) -> None:
    export_onnx(replace(tiny, sources=("control",)), tmp_path / "drawn.onnx")
    predict_files([photo, photo], model=str(tmp_path / "drawn.onnx"), whole=True)
    told = capsys.readouterr()
    assert told.err.splitlines() == [f"ferlab: {tmp_path / 'drawn.onnx'}: {DRAWN}"]
    assert len(told.out.splitlines()) == 2


def test_a_bad_file_is_told_and_the_others_are_read(photo, tiny_onnx, tmp_path, capsys) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (told,) = predict_files([str(tmp_path / "broken.jpg"), photo], model=str(tiny_onnx), whole=True)
    assert "broken.jpg is no image" in told
    assert "photo.png: face at" in capsys.readouterr().out


def test_a_wrong_option_is_told_before_anything_is_read(photo, tiny_onnx, tmp_path, capsys) -> None:
    with pytest.raises(InputError, match="--top 0: expected 1 or more"):
        predict_files([photo], model=str(tiny_onnx), top=0)
    with pytest.raises(InputError, match="its folder is missing"):
        predict_files([photo], model=str(tiny_onnx), table=str(tmp_path / "none" / "out.csv"))
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
    assert len(predict_files(names, model=str(tiny_onnx), table=str(tmp_path / "out.csv"))) == 1
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
    assert predict_files(paths, model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True) == []
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
    bad, reading = str(tmp_path / "bad.png"), gathering.read_picture

    def stumble(image):
        if image == bad:
            raise RuntimeError("out of\nluck")
        return reading(image)

    monkeypatch.setattr(gathering, "read_picture", stumble)
    told = predict_files([bad, photo], model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True)
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
            predict_files([photo], model=str(tiny_onnx), table=str(tmp_path / name), whole=True)
        assert "\n" not in str(error.value)
    for name in ("", " "):
        with pytest.raises(InputError, match=r"expected the name of a \.csv"):
            predict_files([photo], model=str(tiny_onnx), table=name, whole=True)
    assert capsys.readouterr().out == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_table_of_its_own_is_written_again_and_a_link_followed(photo, tiny_onnx, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "out.csv")
    for _ in range(2):
        predict_files([photo], model=str(tiny_onnx), table=str(tmp_path / "link.csv"), whole=True)
        assert (tmp_path / "link.csv").is_symlink()
        assert len((tmp_path / "there" / "out.csv").read_text().splitlines()) == 2


def test_a_large_picture_whose_faces_were_found_says_what_was_not_looked_for(tiny_onnx, tmp_path, capsys) -> None:
    pixels = np.full((1500, 2000), 120, np.uint8)
    pixels[400:800, 600:1000] = np.asarray(Image.fromarray(read(faces=1, size=96)[0][0]).resize((400, 400)))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    predict_files([str(tmp_path / "large.png")], model=str(tiny_onnx))
    assert "faces below 59 pixels were not searched for; --small searches for smaller ones" in capsys.readouterr().err
    predict_files([str(tmp_path / "large.png")], model=str(tiny_onnx), small=True)
    assert capsys.readouterr().err == ""


@pytest.fixture
def faces(tmp_path) -> Path:
    """A folder of two pictures with a face, one without, one that is broken, and a file that is no picture by its name."""
    folder = tmp_path / "faces"
    (folder / "b").mkdir(parents=True)
    face = read(faces=1, size=96)[0][0]
    scene(folder / "a.png", face)
    scene(folder / "b" / "a.png", face)
    scene(folder / "none.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("notes")
    return folder


def printed(capsys) -> tuple[list[dict], str]:
    told = capsys.readouterr()
    return [json.loads(line) for line in told.out.splitlines()], told.err


def test_json_has_an_object_for_each_face_and_for_each_file_without_one(faces, tiny_onnx, capsys) -> None:
    assert main(["predict", str(faces), "--json", "--model", str(tiny_onnx)]) == 1
    objects, err = printed(capsys)
    assert [Path(each["file"]).relative_to(faces).as_posix() for each in objects] == ["a.png", "b/a.png", "broken.jpg", "none.png"]
    first, second, broken, none = objects
    assert first | {"file": ""} == second | {"file": ""}
    assert list(first) == ["file", "face", "box", "score", "expression", "probabilities", "uncertain", "model"]
    assert first["expression"] == max(first["probabilities"], key=first["probabilities"].get)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=5e-6)
    assert (first["face"], len(first["box"]), first["uncertain"], first["model"]) == (0, 4, False, str(tiny_onnx))
    assert "is no image" in broken["error"]
    assert {key for key, value in none.items() if value is not None} == {"file", "model"}
    assert list(none) == list(first)
    assert err.count("broken.jpg is no image") == 1


def test_csv_prints_the_table_that_a_file_would_hold(faces, tiny_onnx, tmp_path, capsys) -> None:
    names = [str(faces / "a.png"), str(faces / "none.png"), "--model", str(tiny_onnx)]
    assert main(["predict", *names, "--csv", str(tmp_path / "out.csv")]) == 0
    assert "face at" in capsys.readouterr().out
    assert main(["predict", *names, "--csv"]) == 0
    assert capsys.readouterr().out == (tmp_path / "out.csv").read_text()


def test_a_video_has_an_object_per_frame_and_an_annotated_copy(acted, tmp_path, capsys) -> None:
    assert main(["predict", str(acted[0]), "--every", "15", "--json", "--save", str(tmp_path / "out")]) == 0
    objects, err = printed(capsys)
    assert [each["frame"] for each in objects if each["face"] in (0, None)] == [0, 15, 30, 45, 60]
    assert {"time", "smoothed", "saved"} < set(objects[0])
    assert "1 annotated copy in" in err
    copy = cv2.VideoCapture(str(tmp_path / "out" / "acted.mp4"))
    whole, frame = copy.read()
    assert whole
    assert (frame.shape, copy.get(cv2.CAP_PROP_FRAME_COUNT), round(copy.get(cv2.CAP_PROP_FPS))) == ((300, 480, 3), 5, 1)
    x, y, *_ = next(each["box"] for each in objects if each["frame"] == 0 and each["face"] == 0)
    original = cv2.VideoCapture(str(acted[0])).read()[1]
    assert np.abs(frame.astype(int) - original)[y : y + 20, x : x + 3].mean() > 30  # the box
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["acted.mp4"]


def test_copies_keep_the_folders_are_numbered_and_replace_nothing(faces, tiny_onnx, tmp_path, capsys) -> None:
    out = faces / "out"
    names = [str(faces), str(faces / "a.png"), str(faces / "b" / "a.png"), "--model", str(tiny_onnx), "--save", str(out)]
    assert main(["predict", *names]) == 1
    made = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert sorted(made) == ["a.png", "a_2.png", "a_3.png", "b/a.png", "none.png"]
    capsys.readouterr()
    assert main(["predict", *names]) == 2
    assert capsys.readouterr().err == f"ferlab: --save {out}: {out / 'a.png'} is there already; name another folder, or remove it\n"
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()} == made
    with Image.open(out / "a.png") as copy, Image.open(faces / "a.png") as original:
        assert copy.size == (480, 480)  # enlarged, so that its words can be read
        assert original.size == (240, 240)
    (out / "a.png").unlink()
    shutil.rmtree(out)
    assert main(["predict", str(faces / "a.png"), "--model", str(tiny_onnx), "--save", str(faces)]) == 2  # its own folder
    assert len([path for path in faces.rglob("*") if path.is_file()]) == 5


def test_files_of_the_folder_of_copies_are_not_read_as_pictures(faces, tiny_onnx, capsys) -> None:
    scene(faces / "a.png.before.png")
    (faces / "out").mkdir()
    scene(faces / "out" / "earlier.png")
    main(["predict", str(faces), "--json", "--model", str(tiny_onnx), "--save", str(faces / "out")])
    assert "earlier" not in "".join(each["file"] for each in printed(capsys)[0])


@pytest.mark.parametrize("method", ["occlusion", "gradients"])
def test_a_map_colours_the_face_alone_and_says_what_its_colours_mean(method, tiny_onnx, tmp_path, capsys) -> None:
    name = scene(tmp_path / "a.png", read(faces=1, size=96)[0][0])
    assert main(["predict", name, "--model", str(tiny_onnx), "--save", str(tmp_path / "plain"), "--json"]) == 0
    x, y, width, height = (2 * value for value in printed(capsys)[0][0]["box"])
    assert main(["predict", name, "--model", str(tiny_onnx), "--save", str(tmp_path / "map"), "--map", method]) == 0
    plain, coloured = (np.asarray(Image.open(tmp_path / folder / "a.png")).astype(int) for folder in ("plain", "map"))
    assert coloured.shape[0] > plain.shape[0] == 480  # the line below
    inner = (slice(y + 5, y + height - 5), slice(x + 5, x + width - 5))
    assert np.ptp(coloured[inner], axis=2).max() > 100
    changed = np.abs(coloured[:480] - plain).max(axis=2) > 0
    changed[y - 2 : y + height + 3, x - 2 : x + width + 3] = False
    assert not changed.any()


def test_an_aligned_face_is_shown_in_its_box_under_its_map(tiny, tmp_path, capsys) -> None:
    """The map belongs to the face that the network sees: here the box with a margin, of 16 pixels a side."""
    prepared = {"face": {"detector": "haar", "margin": 0.4}, "size": 16, "colour": "grey"}
    export_onnx(replace(tiny, preparation=prepared, sources=("fer2013",)), tmp_path / "margin.onnx")
    name = scene(tmp_path / "a.png", read(faces=1, size=96)[0][0])
    assert main(["predict", name, "--model", str(tmp_path / "margin.onnx"), "--save", str(tmp_path), "--map", "occlusion"]) == 2
    assert main(["predict", name, "--model", str(tmp_path / "margin.onnx"), "--save", str(tmp_path / "out"), "--map", "occlusion", "--json"]) == 0
    x, y, width, height = (2 * value for value in printed(capsys)[0][0]["box"])
    drawn, box = np.asarray(Image.open(tmp_path / "out" / "a.png").convert("L")).astype(int), np.s_[y + 5 : y + height - 5, x + 5 : x + width - 5]
    seen = Predictor.load(tmp_path / "margin.onnx").prepare_boxes(np.asarray(Image.open(name)), [(x // 2, y // 2, width // 2, height // 2)])[0, 0]
    shown_there = np.asarray(Image.fromarray((255 * seen).astype(np.uint8)).resize((width, height))).astype(int)[5:-5, 5:-5]
    original = np.asarray(Image.open(name).resize((480, 480))).astype(int)[box]
    assert np.corrcoef(drawn[box].ravel(), shown_there.ravel())[0, 1] > 0.9 > np.corrcoef(drawn[box].ravel(), original.ravel())[0, 1]


def test_without_the_mirror_image_other_probabilities_come_out(faces, tiny_onnx, capsys) -> None:
    found = []
    for tta in ("none", "flip"):
        main(["predict", str(faces / "a.png"), "--json", "--model", str(tiny_onnx), "--tta", tta])
        found.append(printed(capsys)[0][0])
    assert found[0]["box"] == found[1]["box"]
    assert found[0]["probabilities"] != found[1]["probabilities"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top", "0"], "--top 0: expected 1 or more"),
        (["--risk", "0.3"], "risk 0.3: expected one of"),
        (["--map", "occlusion"], "name their folder with --save DIR"),
        (["--save", "a.png"], "--save a.png is no folder"),
        (["--save", "a.png/below"], "--save a.png/below cannot be made"),
        (["--csv", "a.png"], "is a picture"),
        (["-", "-"], "the one picture on standard input"),
        (["--model", "none.onnx"], "none.onnx: no such file"),
    ],
)
def test_what_cannot_be_done_ends_with_status_2_before_anything_is_read(options, said, faces, monkeypatch, capsys) -> None:
    monkeypatch.chdir(faces)
    assert main(["predict", "a.png", *options]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert (said in told.err, told.err.count("\n")) == (True, 1)


def test_two_forms_at_once_and_an_unknown_map_are_refused_by_the_parser(capsys) -> None:
    for options in (["--json", "--csv"], ["--map", "none"], ["--tta", "ten"]):
        with pytest.raises(SystemExit) as ended:
            main(["predict", "a.png", *options])
        assert ended.value.code == 2
    assert "invalid choice: 'none'" in capsys.readouterr().err


def test_a_picture_comes_on_standard_input(faces, tiny_onnx, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((faces / "a.png").read_bytes())))
    assert main(["predict", "-", "--json", "--model", str(tiny_onnx)]) == 0
    (piped,), _ = printed(capsys)
    main(["predict", str(faces / "a.png"), "--json", "--model", str(tiny_onnx)])
    (named,), _ = printed(capsys)
    assert piped == named | {"file": "-"}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["predict", "-", "--model", str(tiny_onnx)]) == 1
    assert "the picture on standard input is no image" in capsys.readouterr().err


def test_a_terminal_is_told_how_far_long_work_is_and_a_file_is_not(faces, tiny_onnx, monkeypatch, capsys) -> None:
    names = [str(faces / "a.png")] * 3
    predict_files(names, model=str(tiny_onnx))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("ferlab.deployment.printing.LONG", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("ferlab.deployment.printing.shutil.get_terminal_size", lambda: os.terminal_size((30, 10)))
    predict_files(names, model=str(tiny_onnx))
    err = capsys.readouterr().err
    assert f"2 of 3: {names[0]}"[:29] in err
    assert err.endswith("\r\x1b[K")


def test_a_video_whose_copy_cannot_be_saved_has_its_lines(acted, tmp_path, capsys, monkeypatch) -> None:
    def fail(*_, **__) -> None:
        raise InputError("no room")

    monkeypatch.setattr("ferlab.deployment.annotating.save_clip", fail)
    assert main(["predict", str(acted[0]), "--every", "15", "--save", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "5 frames" in told.out
    assert "no room" in told.err


def test_a_video_is_counted_by_its_frames_and_json_names_what_is_cut(tmp_path, tiny_onnx, capsys) -> None:
    write_clip(tmp_path / "plain.avi", (np.full((60, 80, 3), 90, np.uint8) for _ in range(20)), fps=10)
    (tmp_path / "cut.avi").write_bytes((tmp_path / "plain.avi").read_bytes()[:-4000])
    assert main(["predict", str(tmp_path / "cut.avi"), "--json", "--model", str(tiny_onnx)]) == 1
    *frames, error = printed(capsys)[0]
    assert len(frames) < 20
    assert {each["face"] for each in frames} == {None}
    assert "ends at frame" in error["error"]
