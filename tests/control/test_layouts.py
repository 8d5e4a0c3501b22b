"""Faces drawn as a dataset's files are read by that dataset's own reader, can be split, and are known as drawn wherever they go."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlab.control.layouts import LAYOUTS, MARKER, Cast, draw_layout
from ferlab.control.snapshots import take_snapshot
from ferlab.control.specs import sample_spec
from ferlab.data.faces import drawn_layouts
from ferlab.data.preparation.sources import Gathered, gather
from ferlab.data.readers import delivery
from ferlab.data.splits import assign_splits, crossings
from ferlab.deployment.face_search import find_faces
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
from ferlab.paths import InputError

READERS = {"web": "class_folders"}  # of layouts that bear another name than their reader
EIGHT = ("ckplus", "affectnet", "affectnet_csv", "ferplus")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Draw noise that differs from face to face, where only files and tables are asked about: drawing takes 7 ms a face."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("ferlab.control.layouts.draw_image", noise)
        monkeypatch.setattr("ferlab.control.layouts.take_snapshot", lambda spec, *, seed, number: noise(spec, 24, colour=True))


def noise(spec: object, size: int, *, colour: bool = False) -> np.ndarray:
    return np.random.default_rng([*spec.noise_seed, spec.frame]).integers(0, 256, (size, size, 3) if colour else (size, size), np.uint8)


@pytest.fixture
def drawn() -> None:
    """Draw real control faces."""


def gathered(folder: Path, layout: str, **source: object) -> Gathered:
    dataset = layout.removesuffix("_csv")
    if layout == "web":
        source = {"options": {"name": "web", "subject": "^(p[0-9]+)_"}, **source}
    return gather(folder, {dataset: {"dataset": READERS.get(layout, dataset), **source}})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_datasets_reader_reads_it_and_every_expression_is_in_every_split(tmp_path: Path, layout: str) -> None:
    count = draw_layout(layout, tmp_path / "raw", size=24)
    read = gathered(tmp_path / "raw", layout)
    faces = assign_splits(read.faces.assign(content_hash=read.faces["face_id"]))
    assert count == len(files(tmp_path / "raw"))
    assert set(faces["source"]) == {f"control:{layout.removesuffix('_csv')}"}
    assert (pd.crosstab(faces["split"], faces["target"]) > 0).all(axis=None)
    assert len(read.expressions) == (8 if layout in EIGHT else 7)
    assert read.pictures[0].shape[0] >= 24
    assert crossings(faces).empty


def test_the_web_set_is_cs230s_258_pictures_of_12_people_with_a_fifth_for_the_test_by_person(tmp_path: Path) -> None:
    draw_layout("web", tmp_path / "raw")
    faces = gathered(tmp_path / "raw", "web").faces
    assert (len(faces), faces["subject"].nunique()) == (258, 12)
    assert faces["usage"].value_counts().to_dict() == {"train": 206, "test": 52}
    assert not set(faces.loc[faces["usage"] == "train", "subject"]) & set(faces.loc[faces["usage"] == "test", "subject"])


def test_snapshots_are_whole_pictures_whose_faces_are_mostly_found_and_some_are_hard(drawn: None) -> None:
    specs = [sample_spec(0, number, subject=number % 12, expression=EXPRESSIONS[number % 7]) for number in range(24)]
    pictures = [take_snapshot(spec, seed=0, number=number) for number, spec in enumerate(specs)]
    assert {(picture.shape, picture.dtype.name) for picture in pictures} == {((480, 640, 3), "uint8")}
    assert (pictures[0] == take_snapshot(specs[0], seed=0, number=0)).all()
    found = [len(find_faces(picture).boxes) for picture in pictures]
    assert sum(count == 1 for count in found) >= 20
    assert 0 in found


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path, drawn: None) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        draw_layout("jaffe", tmp_path / name, subjects=3, each=1, size=24, seed=seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a").keys() == files(tmp_path / "c").keys()
    assert files(tmp_path / "a")["AA.AN1.1.tiff"] != files(tmp_path / "c")["AA.AN1.1.tiff"]


def test_the_marker_is_one_sentence_that_the_reader_knows(tmp_path: Path) -> None:
    draw_layout("jaffe", tmp_path / "raw", size=24, seed=7)
    text = (tmp_path / "raw" / MARKER).read_text()
    assert delivery.MARKER == MARKER
    assert text.count("\n") == 1
    assert "drawn by ferlab" in text
    assert "5 subjects, seed 7" in text
    assert "no picture here is a photograph" in text


def test_a_sequence_goes_from_neutral_to_its_apex(tmp_path: Path, drawn: None) -> None:
    draw_layout("ckplus", tmp_path / "raw", subjects=3, size=24)
    read = gathered(tmp_path / "raw", "ckplus", options={"rule": "first1_last3"})
    one = read.faces[read.faces["sequence"] == "S001/004"]
    assert list(one["frame"]) == [1, 7, 8, 9]
    assert [ALL_EXPRESSIONS[target] for target in one["target"]] == ["neutral", *["happy"] * 3]
    assert one["facs"].iloc[-1].split()[0].startswith("6:")  # happy is 6 and 12
    first, apex = (read.pictures[int(row)].astype(int) for row in (one.index[0], one.index[-1]))
    assert np.abs(first - apex).mean() > 0.5


def test_neutral_poses_get_an_emotion_from_ratings_as_jaffes_do(tmp_path: Path) -> None:
    draw_layout("jaffe", tmp_path / "raw", size=24)
    faces = gathered(tmp_path / "raw", "jaffe", options={"labels": "ratings"}).faces
    neutral = faces["poser_target"] == ALL_EXPRESSIONS.index("neutral")
    assert (faces["target"][neutral] != faces["poser_target"][neutral]).all()
    assert (faces["target"][~neutral] == faces["poser_target"][~neutral]).all()


def test_a_strong_face_is_rated_and_annotated_as_strong(tmp_path: Path) -> None:
    draw_layout("affectnet", tmp_path / "raw", subjects=3, each=1, size=24)
    faces = gathered(tmp_path / "raw", "affectnet").faces
    assert (faces["valence"][faces["target"] == ALL_EXPRESSIONS.index("happy")] > 0).all()
    assert (faces["arousal"][faces["target"] == ALL_EXPRESSIONS.index("neutral")] == 0).all()


@pytest.mark.parametrize(("subjects", "counts"), [(3, (1, 1, 1)), (10, (6, 2, 2)), (4, (2, 1, 1))])
def test_every_part_has_a_subject(subjects: int, counts: tuple[int, ...]) -> None:
    cast = Cast(0, subjects, 1, 24)
    parts = [cast.part(subject, {"train": 0.6, "val": 0.2, "test": 0.2}) for subject in range(subjects)]
    assert tuple(parts.count(name) for name in ("train", "val", "test")) == counts
    assert parts == sorted(parts, key=("train", "val", "test").index)


def test_nothing_is_drawn_among_other_files_and_nothing_is_left_half_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "fer2013.csv").write_text("real")
    with pytest.raises(InputError, match="holds something already; expected a new or empty folder"):
        draw_layout("fer2013", tmp_path / "raw")
    draw_layout("jaffe", tmp_path / "empty", size=24)
    with pytest.raises(InputError, match="holds drawn faces already"):
        draw_layout("jaffe", tmp_path / "empty", size=24)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ferlab.control.layouts.draw_image", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_layout("jaffe", tmp_path / "new", size=24)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "raw"]


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("ckpluss", {}, "no layout is called 'ckpluss'; did you mean 'ckplus'"),
        ("jaffe", {"subjects": 2}, "layout 'jaffe': expected 3 to 676 subjects, got 2"),
        ("jaffe", {"size": 300}, "expected a size of 24 to 224 pixels, got 300"),
        ("jaffe", {"each": 10}, "expected 1 to 9 pictures of each expression, got 10"),
        ("jaffe", {"seed": -1}, "expected a seed of 0 or more, got -1"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path: Path, layout: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        draw_layout(layout, tmp_path / "raw", **options)
    assert "\n" not in str(error.value)


class TestDrawnFacesAreKnown:
    def test_below_the_folder_of_a_set(self, tmp_path: Path) -> None:
        draw_layout("jaffe", tmp_path / "jaffe", size=24)
        assert set(gathered(tmp_path, "jaffe").faces["source"]) == {"control:jaffe"}
        assert set(gathered(tmp_path, "jaffe", raw="jaffe").faces["source"]) == {"control:jaffe"}

    @pytest.mark.parametrize("raw", [".", "fer2013", "fer2013/fer2013.csv"])
    def test_in_a_table_however_it_is_found(self, tmp_path: Path, raw: str) -> None:
        draw_layout("fer2013", tmp_path / "fer2013", subjects=3, each=1)
        assert set(gathered(tmp_path / raw, "fer2013").faces["source"]) == {"control:fer2013"}

    def test_in_a_zip(self, tmp_path: Path) -> None:
        draw_layout("jaffe", tmp_path / "jaffe", size=24)
        shutil.make_archive(str(tmp_path / "zipped" / "jaffe"), "zip", tmp_path, "jaffe")
        assert set(gathered(tmp_path / "zipped", "jaffe").faces["source"]) == {"control:jaffe"}

    def test_beside_real_faces_which_stay_what_they_are(self, tmp_path: Path) -> None:
        draw_layout("fer2013", tmp_path / "drawn", subjects=3, each=1)
        (tmp_path / "drawn" / "fer2013.csv").rename(tmp_path / "fer2013.csv")  # as if it were real: no marker lies beside it
        draw_layout("jaffe", tmp_path / "jaffe", size=24)
        sources = {"fer2013": {"dataset": "fer2013"}, "jaffe": {"dataset": "jaffe", "raw": "jaffe", "usages": {"all": "train"}}}
        faces = gather(tmp_path, sources).faces
        assert set(faces["source"]) == {"fer2013", "control:jaffe"}
        assert set(drawn_layouts(faces)) == {"", "jaffe"}

    def test_only_where_something_says_so(self, tmp_path: Path) -> None:
        draw_layout("fer2013_reshuffled", tmp_path / "raw", subjects=3, each=1, size=24)
        (tmp_path / "raw" / MARKER).unlink()
        with pytest.raises(InputError, match="It is not the 28,821-image folder"):
            gathered(tmp_path / "raw", "fer2013_reshuffled")
