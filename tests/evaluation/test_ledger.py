from __future__ import annotations

import pandas as pd
import pytest

from ferlab.evaluation.ledger import append_scoring, count_scorings, record_scoring
from ferlab.paths import PARAMS_HASH, STAGING, InputError


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
    counts = count_scorings(path)
    assert counts["scorings"].tolist() == [2, 1]
    assert counts["params"].tolist() == [2, 1]


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


def test_no_ledger_counts_nothing_and_another_file_is_told(tmp_path):
    assert count_scorings(tmp_path / "none.csv").empty
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="restore it with git"):
        count_scorings(tmp_path / "other.csv")
