"""Decisions about labels: saved at once, beside those of others, and taken back to any depth."""

import datetime
import subprocess
import sys

import pytest

from ferlab.data.preparation.corrections import read_corrections
from ferlab.live.correction import decisions
from ferlab.live.correction.decisions import Decisions, corrections_file
from ferlab.params import Prepare
from ferlab.paths import InputError


def now():
    return datetime.datetime(2026, 11, 28, 10, 31, 5, 999)


def news(path):
    return {(row["face_id"], row["who"]): row["new"] for row in read_corrections(path).to_dict("records")}


def test_a_decision_is_on_disk_before_the_next_and_replaces_the_persons_own_alone(tmp_path):
    path = tmp_path / "set" / "corrections.csv"
    anna, ben = Decisions(path, "anna", now), Decisions(path, "ben", now)
    anna.decide("a/1", "sad", "neutral", why="label issue, low confidence")
    assert read_corrections(path).to_dict("records") == [
        {"face_id": "a/1", "old": "sad", "new": "neutral", "who": "anna", "why": "label issue, low confidence", "when": "2026-11-28T10:31:05"}
    ]
    ben.decide("a/1", "sad", "sad", why="models disagree")
    anna.decide("a/2", "fear", "fear|surprise", why="models disagree")
    anna.decide("a/1", "sad", "exclude", why="no face")
    assert news(path) == {("a/1", "anna"): "exclude", ("a/1", "ben"): "sad", ("a/2", "anna"): "fear|surprise"}
    assert [path.name for path in path.parent.iterdir()] == ["corrections.csv"]


def test_undo_takes_back_to_any_depth_and_brings_earlier_decisions_back(tmp_path):
    path = tmp_path / "corrections.csv"
    Decisions(path, "anna", now).decide("a/1", "sad", "happy", why="yesterday")
    anna = Decisions(path, "anna", now)
    for new in ("neutral", "fear"):
        anna.decide("a/1", "sad", new, why="today")
    anna.decide("a/2", "sad", "angry", why="today")
    seen = [anna.undo() for _ in range(3)]
    assert seen == ["a/2", "a/1", "a/1"]
    assert news(path) == {("a/1", "anna"): "happy"}
    assert anna.undo() is None
    assert anna.made == 0


def test_undo_leaves_what_the_person_decided_since_in_another_window(tmp_path):
    path = tmp_path / "corrections.csv"
    first, second = Decisions(path, "anna", now), Decisions(path, "anna", lambda: now() + datetime.timedelta(minutes=1))
    for face_id in ("a/1", "a/2"):
        first.decide(face_id, "sad", "neutral", why="x")
    second.decide("a/2", "sad", "happy", why="x")
    assert [first.undo(), first.undo(), first.undo()] == ["a/2", "a/1", None]
    assert news(path) == {("a/2", "anna"): "happy"}
    assert second.undo() == "a/2"
    assert news(path) == {("a/2", "anna"): "neutral"}


def test_one_name_in_two_forms_of_unicode_is_one_person(tmp_path):
    path = tmp_path / "corrections.csv"
    for who, new in (("Zoe\u0301", "fear"), ("Zo\u00e9", "happy")):
        Decisions(path, who, now).decide("a/1", "sad", new, why="x")
    assert news(path) == {("a/1", "Zo\u00e9"): "happy"}


def test_names_with_commas_and_quotes_survive(tmp_path):
    path = tmp_path / "corrections.csv"
    who = 'çelik, "the second"'
    Decisions(path, who, now).decide('x/a,"b".png', "sad", "fear", why="he said, 'no'")
    assert news(path) == {('x/a,"b".png', who): "fear"}


@pytest.mark.parametrize("who", ["", "  ", "x" * 61, "\x07", "=cmd|'/c calc'!A1", "@SUM(A1)", "anna\u202egnp"])
def test_a_person_needs_a_name_in_one_line(tmp_path, who):
    with pytest.raises(InputError, match="your name or pseudonym"):
        Decisions(tmp_path / "c.csv", who)


def test_a_damaged_file_stops_the_decision_and_stays_as_it_is(tmp_path):
    path = tmp_path / "corrections.csv"
    anna = Decisions(path, "anna", now)
    anna.decide("a/1", "sad", "fear", why="x")
    path.write_text(path.read_text() + "a/2,sad\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match="data row 2"):
        anna.decide("a/3", "sad", "fear", why="x")
    with pytest.raises(InputError, match="data row 2"):
        anna.undo()
    assert path.read_bytes() == before
    assert anna.made == 1  # it can be taken back once the file is mended


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "corrections.csv"
    anna = Decisions(path, "anna", now)
    anna.decide("a/1", "sad", "fear", why="x")

    def full(*_):
        raise InputError("corrections.csv: not saved: No space left on device")

    monkeypatch.setattr(decisions, "write_whole", full)
    with pytest.raises(InputError, match="No space left"):
        anna.decide("a/2", "sad", "fear", why="x")
    assert news(path) == {("a/1", "anna"): "fear"}
    assert anna.made == 1


@pytest.mark.slow
def test_two_people_at_once_lose_no_row(tmp_path):
    path = tmp_path / "corrections.csv"
    code = (
        "import sys, pathlib; from ferlab.live.correction.decisions import Decisions\n"
        "d = Decisions(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "for number in range(40): d.decide(f'a/{number}', 'sad', 'fear', why='x')"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path), who], env={"PYTHONPATH": ":".join(sys.path)}) for who in ("anna", "ben", "cem")
    ]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert len(read_corrections(path)) == 120


def test_corrections_lie_in_the_raw_folder_and_an_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decisions, "ROOT", tmp_path)
    (tmp_path / "data" / "raw" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "mine.zip").write_bytes(b"")
    (tmp_path / "data" / "raw" / "README.md").write_text("")
    folder = Prepare(dataset="class_folders", raw="data/raw/mine")
    assert corrections_file(folder, "mine") == tmp_path / "data" / "raw" / "mine" / "corrections.csv"
    assert corrections_file(folder.model_copy(update={"corrections": "by/hand.csv"}), "mine").name == "hand.csv"
    with pytest.raises(InputError, match=r"prepare\.mine\.raw: data/raw/mine\.zip is a file"):
        corrections_file(Prepare(dataset="class_folders", raw="data/raw/mine.zip"), "mine")
    with pytest.raises(InputError, match="is missing"):
        corrections_file(Prepare(dataset="class_folders", raw="data/raw/other"), "mine")
    drawn = Prepare(dataset="control", raw="data/raw/README.md")
    assert corrections_file(drawn, "control") == tmp_path / "data" / "raw" / "control" / "corrections.csv"
