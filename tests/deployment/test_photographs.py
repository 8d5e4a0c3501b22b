"""Photographs: labels read or refused in one line, faces searched for, failures of detection kept and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlab.control.snapshots import take_snapshot
from ferlab.control.specs import sample_spec
from ferlab.deployment import frame
from ferlab.deployment.photographs import NO_FACE, predictions_of, read_photographs, score_photographs
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Four drawn people, a wall without anyone, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("happy", "sad", "happy", "neutral")):
        (folder / name).mkdir(exist_ok=True)
        spec = sample_spec(0, number + 1, subject=number, expression=name)
        Image.fromarray(take_snapshot(replace(spec, occluder="none"), seed=3, number=number)).save(folder / name / f"p{number}_0.png")
    (folder / "fear").mkdir()
    Image.fromarray(np.full((240, 320), 128, np.uint8)).save(folder / "fear" / "p0_1.png")
    (folder / "fear" / "p0_2.png").write_bytes(b"no picture")
    return folder


def test_class_folders_and_a_csv_name_the_same_pictures(photos, tmp_path) -> None:
    folders = read_photographs(photos, person="^(p[0-9])_").sort_values("file").reset_index(drop=True)
    assert folders["person"].tolist() == ["p0", "p0", "p0", "p2", "p3", "p1"]
    lines = ["file,expression,person", *(f"{row.file},{row.expression},{row.person}" for row in folders.itertuples())]
    (tmp_path / "labels.csv").write_text("\n".join([*lines, ""]))
    assert read_photographs(photos, table=tmp_path / "labels.csv").equals(folders.astype(object))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,expression\nhappy/p0_0.png,hapy\n", r"row 1.*'hapy' is no expression \(did you mean 'happy'\?\)"),
        ("file,expression\nhappy/p0_0.png,bored\n", "'bored' is none of ours; expected angry"),
        ("file,expression\nhappy/p9_0.png,happy\n", "'happy/p9_0.png' is not in"),
        ("file,expression\nhappy/p0_0.png,happy\nhappy/p0_0.png,sad\n", "row 2.*stands there twice"),
        ("file,expression\nhappy/p0_0.png,happy\n./sad/../happy/p0_0.png,happy\n", r"row 2.*stands there twice \(as 'happy/p0_0.png'\)"),
        ("file,expression\nhappy,happy\n", "'happy' is a folder; expected a picture's path"),
        ("file,expression\n,happy\n", "'' is no name; expected a picture's path"),
        ("file,expression\np0_0.png,happy\n", r"'p0_0.png' is not in .* \(did you mean 'happy/p0_0.png'\?\)"),
        ("file,label\nhappy/p0_0.png,happy\n", "expected file, expression, and optionally person"),
        ("file,expression,person\nhappy/p0_0.png,happy,a\nsad/p1_0.png,sad,\n", "row 2.*no person, where other rows name one"),
        ("file,expression\n", "no row"),
    ],
)
def test_wrong_labels_are_told_in_one_line(photos, tmp_path, text, told) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=told) as error:
        read_photographs(photos, table=tmp_path / "labels.csv")
    assert "\n" not in str(error.value)


def test_pictures_without_a_face_are_kept_with_the_reason_and_have_no_prediction(photos) -> None:
    model = frame.open_model("shipped", {})
    scored = score_photographs(model, read_photographs(photos, person="^(p[0-9])_"), photos)
    lost = scored.set_index("file")["reason"]
    assert lost["fear/p0_1.png"] == NO_FACE
    assert lost["fear/p0_2.png"].startswith("unreadable")
    assert (lost.drop(["fear/p0_1.png", "fear/p0_2.png"]) == "").all()
    table = predictions_of(scored)
    assert sorted(table["face_id"]) == ["happy/p0_0.png", "happy/p2_0.png", "neutral/p3_0.png", "sad/p1_0.png"]
    row = scored.set_index("file").loc["happy/p0_0.png"]
    faces = model.predictor.predict_image(photos / "happy" / "p0_0.png", flip=False)
    assert (row["x"], row["y"], row["width"], row["height"]) == faces[0].box
    assert row["prob_happy"] == pytest.approx(faces[0].probs[model.predictor.expressions.index("happy")], abs=1e-6)
    with pytest.raises(InputError, match=r"no face was found in any of 2 pictures .*--whole"):
        predictions_of(scored[scored["reason"] != ""])
