from __future__ import annotations

import pandas as pd
import pytest

from ferlab.evaluation.ledger import read_scorings, record_scoring
from ferlab.paths import STAGING, InputError

RECORD = {"params": "p1", "data": "d", "code": "c", "environment": "e"}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The ledger, as a stage of the pipeline sees it."""
    monkeypatch.setenv(STAGING, str(tmp_path / "staging"))
    return tmp_path / "reports" / "test_scorings.csv"


def faces(*sources):
    return pd.DataFrame({"source": ["real", *sources], "split": ["train"] + ["test"] * len(sources)})


def score(path, *sources, run="a", params="p1", times=1):
    return record_scoring(
        faces(*(sources or ("fer2013",) * 3)), study="s", run=run, set_name="c", record={**RECORD, "params": params}, times=times, path=path
    )


def test_every_new_result_adds_one_line_and_no_time(path):
    assert [score(path), score(path, params="p2"), score(path, run="b, the second")] == [True] * 3
    lines = read_scorings(path)
    assert [(line["study"], line["run"], line["set"], line["n"]) for line in lines] == [("s", "a", "c", "3")] * 2 + [("s", "b, the second", "c", "3")]
    assert len({line["record"] for line in lines}) == 2


def test_a_result_that_is_taken_again_counts_once(path):
    assert [score(path), score(path), score(path, params="p2"), score(path)] == [True, False, True, False]
    assert len(read_scorings(path)) == 2


def test_exploring_by_hand_is_not_counted(path, monkeypatch):
    monkeypatch.delenv(STAGING)
    assert not score(path)
    assert not path.exists()


def test_control_faces_are_not_recorded_and_a_set_with_others_is(path):
    assert not score(path, "control")
    assert not score(path, "control", "control:ckplus")
    assert not path.exists()
    assert score(path, "fer2013", "control", "control_room")


def test_an_epochs_look_counts_as_a_scoring(path):
    assert not score(path, times=0)
    assert score(path, times=3)
    assert len(read_scorings(path)) == 3


HEADER = b"study,run,set,record,n\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "expected the columns study, run, set, record, n, got a, b"),
        (b"", "expected the columns"),
        (HEADER + b"quick,caf\xe9,control,x,3\n", "not csv in UTF-8"),
        (HEADER + b"quick," + b"a" * 200_000 + b",control,x,3\n", "not csv in UTF-8"),
        (HEADER + b"quick,a,control,x\n", "line 2: expected 5 cells, the last a number of faces"),
        (HEADER + b"quick,a,control,x,three\n", "line 2: expected 5 cells"),
    ],
)
def test_another_file_than_a_ledger_is_told_in_one_line(tmp_path, content, told):
    assert read_scorings(tmp_path / "none.csv") == []
    (tmp_path / "ledger.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_scorings(tmp_path / "ledger.csv")
    assert str(error.value).startswith(f"ledger.csv: {told}")
    assert str(error.value).endswith("; restore it with git")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
