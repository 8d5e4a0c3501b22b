"""Faces outside a prepared dataset are prepared as its own are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fer2013_files import csv_text

from ferlab.control import read as draw
from ferlab.data.preparation.prepared import Raw, _prepare
from ferlab.data.preparation.unlabelled import prepare_as
from ferlab.data.store import Store, open_store
from ferlab.params import Prepare
from ferlab.paths import InputError

PICTURES, FACES = draw(faces=42, subjects=6, size=48, seed=0)
PICTURES = np.stack([np.asarray(picture) for picture in PICTURES])
IDS = [f"fer2013/{row:07d}" for row in range(len(PICTURES))]


def prepared(folder: Path, monkeypatch, **how) -> tuple[Store, Prepare]:
    """Prepare the pictures as a FER2013 with these settings."""
    monkeypatch.setenv("FERLAB_PARTIAL", str(folder / "partial" / "work"))
    (folder / "raw").mkdir()
    usages = ["Training"] * 30 + ["PublicTest"] * 12
    (folder / "raw" / "fer2013.csv").write_text(csv_text(PICTURES, (FACES["target"] % 7).tolist(), usages))
    settings = Prepare(dataset="fer2013", raw=str(folder / "raw"), **how)
    _prepare(folder / "store", folder / "facts", raw=Raw(settings), name="fer2013")
    return open_store(folder / "store"), settings


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"colour": "grey", "equalise": "histogram"},
        {"size": 64, "colour": "rgb", "equalise": "clahe", "blur": 5},
        {"cover": ["rest"]},
        {"face": {"detector": "haar", "not_found": "whole", "margin": 0.1}, "size": 48},
    ],
)
def test_a_picture_of_the_dataset_becomes_its_face_in_the_store(tmp_path, monkeypatch, how) -> None:
    store, settings = prepared(tmp_path, monkeypatch, **how)
    again = prepare_as(store, settings, PICTURES, face_ids=IDS, raw=tmp_path / "raw")
    np.testing.assert_array_equal(again, store.images)
    assert (again.dtype, len(np.unique(again)) > 10) == (np.uint8, True)


def test_a_face_does_not_depend_on_the_others(tmp_path, monkeypatch) -> None:
    store, settings = prepared(tmp_path, monkeypatch, cover=["rest"], equalise="histogram")
    alone = prepare_as(store, settings, PICTURES[5:6], face_ids=IDS[5:6], raw=tmp_path / "raw")
    np.testing.assert_array_equal(alone[0], store.images[5])


def test_a_picture_without_a_face_or_of_another_size_is_refused(tmp_path, monkeypatch) -> None:
    store, settings = prepared(tmp_path, monkeypatch)
    searched = settings.model_copy(update={"face": settings.face.model_copy(update={"detector": "haar"})})
    blank = np.full((2, 48, 48), 128, np.uint8)
    with pytest.raises(InputError, match="fer2013/0000000: no face found; expected a face in every picture"):
        prepare_as(store, searched, blank, face_ids=IDS[:2], raw=tmp_path)
    with pytest.raises(InputError, match=r"fer2013/0000000 is prepared to \(40, 40\); expected \(48, 48\), as the dataset's"):
        prepare_as(store, settings, blank[:, :40, :40], face_ids=IDS[:2], raw=tmp_path)
    by_hand = settings.model_copy(update={"face": settings.face.model_copy(update={"boxes": "boxes.csv"})})
    with pytest.raises(InputError, match=r"face\.boxes: boxes\.csv names no box for fer2013/0000000"):
        prepare_as(store, by_hand, blank, face_ids=IDS[:2], raw=tmp_path)
