"""Sessions on disk: whole, exact, refused where they are broken, and erased."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
from session_tables import answers, facts, hits

from ferlab.live.session import files
from ferlab.paths import InputError


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    return tmp_path


def test_what_is_written_is_read(workspace: Path) -> None:
    first = answers(("happy", "happy"), ("sad", None), ("sad", "fear"))
    second = hits(4, 9, session="20260531-130000-0a1b2c", condition="remembered")
    for table in (first, second):
        files.write_session(table)
    pd.testing.assert_frame_equal(files.read_sessions(), pd.concat([first, second], ignore_index=True), atol=1e-6)


def test_nothing_is_written_without_agreement(workspace: Path) -> None:
    with pytest.raises(InputError, match="agreement"):
        files.write_session(answers(("happy", "happy"), kept=""))
    assert list(workspace.rglob("*")) == []
    assert files.read_sessions().empty


def test_no_sessions_are_an_empty_table(workspace: Path) -> None:
    table = files.read_sessions()
    assert table.empty
    assert list(table.columns) == list(files.COLUMNS)


def test_a_session_is_erased(workspace: Path) -> None:
    path = files.write_session(hits(2, 3))
    assert path.is_file()
    assert files.erase_session(facts().session)
    assert not path.exists()
    assert not files.erase_session(facts().session)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("happy,1,", "merry,1,", "line 2: predicted is 'merry'"),
        (",acted,", ",slept,", "condition is 'slept'"),
        (",scored,", ",lost,", "outcome is 'lost'"),
        ("p-7k3q", "", "person is empty"),
        ("scored,happy,1,", "scored,happy,0,", "contradict the probabilities"),
        ("scored,happy,1,", "scored,sad,1,", "contradict the probabilities"),
        ("0.0571429", "0.9", "sum to"),
        ("0.0571429", "much", "no number"),
        ("prob_sad", "prob_gloomy", "other columns"),
    ],
)
def test_a_broken_file_is_named_with_its_line(workspace: Path, old: str, new: str, said: str) -> None:
    path = files.write_session(answers(("happy", "happy")))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=said) as error:
        files.read_sessions()
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_session_names_differ_and_sort_by_time() -> None:
    names = {files.new_session_name() for _ in range(50)}
    assert len(names) == 50
    assert all(files.NAME.fullmatch(name) for name in names)


def test_attempts_without_a_face_have_no_rank() -> None:
    row = answers(("happy", None)).iloc[0]
    assert (row["outcome"], row["predicted"], row["frames"]) == ("no face", "", 0)
    assert math.isnan(row["rank"])
    assert dataclasses.asdict(facts())["condition"] == "acted"


def test_a_person_is_erased_from_every_session(workspace: Path) -> None:
    files.write_session(hits(2, 3, session="20260531-120000-0a1b2c"))
    other = files.write_session(hits(3, 3, session="20260531-130000-0a1b2c", person="p-2222"))
    folder = other.parent
    mixed = folder / "joined.csv"
    pd.concat([pd.read_csv(path, dtype=str) for path in folder.glob("2*.csv")]).to_csv(mixed, index=False)
    (folder / "note.csv").write_text("a,b\n1,2\n")
    assert files.people_of(folder) == ["p-2222", "p-7k3q"]
    assert files.erase_person(folder, "p-7k3q") == 6
    assert "p-7k3q" not in "".join(path.read_text() for path in folder.iterdir())
    assert other.read_text() in mixed.read_text()
    assert (folder / "note.csv").exists()
    assert files.erase_person(folder, "p-7k3q") == 0
