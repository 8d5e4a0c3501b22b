"""What `ferlab predict` prints and writes of videos."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ferlab.control.clips import Person, draw_clip, write_clip
from ferlab.deployment import predicting
from ferlab.deployment.listing import check_table
from ferlab.deployment.predicting import predict_files
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.video import read_clip
from ferlab.paths import InputError


@pytest.fixture
def plain(tmp_path):
    """Return a clip of two seconds in which there is no face."""
    write_clip(tmp_path / "plain.avi", (np.full((60, 80, 3), 90, np.uint8) for _ in range(20)), fps=10)
    return str(tmp_path / "plain.avi")


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def table(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_clip_has_a_line_and_each_face_its_expression_and_its_time_line(acted, tmp_path, capsys) -> None:
    assert predict_files([str(acted[0])], every=3, table=str(tmp_path / "out.csv")) == []
    lines = [line.removeprefix(f"{acted[0]}: ") for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("75 frames, of which 25 were searched for faces, 4.93 s, 15.0 frames a second, 480 x 300: 2 faces")
    assert [line[:8] for line in lines[1:]] == ["face 0: "] * 2 + ["face 1: "] * 2
    assert "(mean over its frames; " in lines[1]
    assert "label changes a second" in lines[1]
    assert "neutral 0.00 to" in lines[2]
    assert "; happy 1." in lines[2]
    rows = table(tmp_path / "out.csv")
    assert {int(row["frame"]) for row in rows} == set(range(0, 75, 3))
    assert {row["face"] for row in rows} <= {"0", "1", ""}
    for row in rows[:5]:
        probs = {key.removeprefix("prob_"): float(value) for key, value in row.items() if key.startswith("prob_")}
        assert sum(probs.values()) == pytest.approx(1, abs=1e-5)
        assert row["expression"] == max(probs, key=probs.get)
        assert row["uncertain"] in ("yes", "no")
        assert float(row["time"]) == pytest.approx(int(row["frame"]) / 15, abs=1e-3)
    assert "happy" in {row["smoothed"] for row in rows}


@pytest.mark.parametrize(("threshold", "marked"), [(0.01, 0), (0.99, 2)])
def test_uncertain_faces_of_a_clip_are_marked_and_the_card_is_stated_once(acted, threshold, marked, monkeypatch, capsys) -> None:
    shipped = Predictor.load()
    changed = replace(shipped, confidence=replace(shipped.confidence, threshold=threshold))
    monkeypatch.setattr(predicting.Predictor, "load", lambda model: changed)
    assert predict_files([str(acted[0])] * 2, every=5) == []
    said = capsys.readouterr()
    means = [line for line in said.out.splitlines() if "(mean over its frames; " in line]
    assert len(means) == 4
    assert sum(": uncertain: " in line for line in means) == 2 * marked
    assert said.err.count(f"uncertain ({2 * marked} of 4 faces): confidence below 99.0 %") == (marked > 0)
    for line in means:
        likeliest = re.search(r": (?:uncertain: )?(\w+) [\d.]+ %", line).group(1)
        right, n, *_ = shipped.confidence.precision_of(likeliest)
        assert said.err.count(f"{likeliest} {100 * right / n:.1f} % of {n:,}") == 1
    assert said.err.count("these rates are of single pictures") == 1


def test_pictures_and_videos_are_read_in_the_order_of_the_command_line(photo, plain, tiny_onnx, tmp_path, capsys) -> None:
    out = tmp_path / "out.csv"
    assert predict_files([photo, plain, photo], model=str(tiny_onnx), table=str(out), whole=True) == []
    printed = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [photo, plain, photo]
    rows = table(out)
    assert [row["picture"] for row in rows] == [photo, *[plain] * 20, photo]
    assert [row["frame"] for row in rows] == ["", *map(str, range(20)), ""]
    assert rows[0]["width"] == "40"
    assert rows[1]["face"] == rows[1]["prob_happy"] == ""
    assert check_table(str(out), []) == out  # it may be written again


def test_a_video_that_cannot_be_read_costs_no_other_file(photo, plain, tiny_onnx, tmp_path, capsys) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(Path(plain).read_bytes()[:-4000])
    names = [str(tmp_path / "empty.mp4"), str(cut), str(tmp_path / "none.mov"), plain]
    unread = predict_files(names, model=str(tiny_onnx))
    assert [line.split(" ")[0] for line in unread] == [names[0], names[1], names[2]]
    assert "is empty" in unread[0]
    assert "ends at frame" in unread[1]
    assert "is missing" in unread[2]
    out = capsys.readouterr().out
    assert f"{cut}: " in out  # what lies before the cut is reported
    assert f"{plain}: 20 frames, 1.90 s, 10.0 frames a second, 80 x 60: no face in any frame" in out


def test_an_error_of_a_library_in_one_video_loses_neither_the_others_nor_the_table(plain, tiny_onnx, tmp_path, monkeypatch) -> None:
    calls = []

    def broken(clip, *given, **options):
        calls.append(clip.name)
        if len(calls) == 1:
            raise cv2.error("of a\nfilter")
        return read_clip(clip, *given, **options)

    monkeypatch.setattr(predicting, "read_clip", broken)
    unread = predict_files([plain, plain], model=str(tiny_onnx), table=str(tmp_path / "out.csv"))
    assert unread == [f"{plain}: cannot be read to its end (error: of a filter)"]
    assert len(table(tmp_path / "out.csv")) == 20


def test_pictures_alone_are_read_as_before(photo, tiny_onnx, tmp_path, capsys) -> None:
    assert predict_files([photo], model=str(tiny_onnx), table=str(tmp_path / "out.csv"), whole=True) == []
    assert "face at 0, 0, 40 x 40" in capsys.readouterr().out
    assert "frame" not in table(tmp_path / "out.csv")[0]


def test_options_out_of_range_and_a_model_that_is_none_are_refused_before_anything_is_read(plain, photo) -> None:
    for wrong in ({"every": 0}, {"top": 0}, {"model": photo}, {"table": plain}, {"risk": 0.5}):
        with pytest.raises(InputError):
            predict_files([plain], **wrong)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(tmp_path) -> None:
    write_clip(tmp_path / "long.avi", (frame.picture for frame in draw_clip([Person(1)], seconds=60, fps=25, size=(320, 240))))
    before = b"picture,face,x,y,width,height,score,expression,uncertain,prob_happy\n"
    (tmp_path / "out.csv").write_bytes(before)
    command = [sys.executable, "-m", "ferlab.cli", "predict", "long.avi", "--csv", "out.csv"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(6000):
            if list(tmp_path.glob("*.part")) or process.poll() is not None:
                break
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert (process.returncode, said.strip()) == (130, "ferlab: stopped")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.avi", "out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == before
