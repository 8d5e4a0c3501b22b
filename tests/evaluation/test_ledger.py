from __future__ import annotations

import pandas as pd
import pytest

from ferlab.evaluation.ledger import append_scoring, read_scorings, record_scoring
from ferlab.paths import PARAMS_HASH, SCORED, STAGING, InputError


def score(path, run="a", params_hash="p1"):
    append_scoring(path, study="quick", run=run, set_name="control", params_hash=params_hash, n=600)


def faces(*sources):
    return pd.DataFrame({"source": ["real", *sources], "split": ["train"] + ["test"] * len(sources)})


def test_every_scoring_adds_one_line_and_no_time(tmp_path):
    path = tmp_path / "reports" / "test_scorings.csv"
    score(path)
    score(path, params_hash="p2")
    score(path, run="b, the second")
    assert path.read_text() == (
        'study,run,set,params_hash,n\nquick,a,control,p1,600\nquick,a,control,p2,600\nquick,"b, the second",control,p1,600\n'
    )
    assert [(line["run"], line["params_hash"], line["n"]) for line in read_scorings(path)] == [
        ("a", "p1", "600"), ("a", "p2", "600"), ("b, the second", "p1", "600"),
    ]  # fmt: skip


def test_exploring_by_hand_is_not_counted_and_a_stage_is(tmp_path, monkeypatch):
    path = tmp_path / "ledger.csv"
    monkeypatch.delenv(STAGING, raising=False)
    assert not record_scoring(faces("fer2013"), study="s", run="r", set_name="c", path=path)
    assert not path.exists()
    monkeypatch.setenv(STAGING, str(tmp_path))
    monkeypatch.setenv(PARAMS_HASH, "abc")
    assert record_scoring(faces("fer2013", "control", "control_room"), study="s", run="r", set_name="c", path=path)
    assert path.read_text() == "study,run,set,params_hash,n\ns,r,c,abc,3\n"


def test_control_faces_are_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv(STAGING, str(tmp_path))
    for sources in (["control"], ["control", "control:ckplus"]):
        assert not record_scoring(faces(*sources), study="s", run="r", set_name="c", path=tmp_path / "ledger.csv")
    assert not (tmp_path / "ledger.csv").exists()


def test_a_stage_killed_after_scoring_and_run_again_counts_once(tmp_path, monkeypatch):
    path = tmp_path / "ledger.csv"
    monkeypatch.setenv(STAGING, str(tmp_path / "staging"))
    for work, counted in (("one", True), ("one", False), ("other", True)):  # the work folder is named by params, inputs and code
        monkeypatch.setenv(SCORED, str(tmp_path / work))
        assert record_scoring(faces("fer2013"), study="s", run="r", set_name="c", path=path) is counted
    assert len(read_scorings(path)) == 2


def test_an_epochs_look_counts_as_a_scoring(tmp_path, monkeypatch):
    path = tmp_path / "ledger.csv"
    monkeypatch.setenv(STAGING, str(tmp_path))
    assert not record_scoring(faces("fer2013"), study="s", run="r", set_name="c", times=0, path=path)
    record_scoring(faces("fer2013"), study="s", run="r", set_name="c", times=13, path=path)
    assert len(read_scorings(path)) == 13


HEADER = b"study,run,set,params_hash,n\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "expected the columns study, run, set, params_hash, n, got a, b"),
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
