"""FER+: votes go to the row they belong to, or nowhere."""

import numpy as np
import pandas as pd
import pytest
from fer2013_files import votes_text

from ferlab.data import ferplus
from ferlab.data.ferplus import join_votes, read_votes
from ferlab.paths import InputError

USAGES = ["Training", "Training", "PublicTest"]
VOTES = [[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0, 9, 0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 3, 7]]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "fer2013new.csv").write_text(votes_text(USAGES, VOTES))
    return tmp_path / "fer2013new.csv"


def faces(usages=USAGES):
    return pd.DataFrame({"face_id": [f"fer2013/{row}" for row in range(len(usages))], "usage": usages})


def test_votes_are_named_by_our_expressions(path):
    table = join_votes(faces(), path, rows=np.arange(3))
    assert table.loc[0, ["votes_neutral", "votes_sad", "votes_angry", "votes_disgust"]].tolist() == [4, 1, 3, 2]
    assert table.loc[1, ["votes_happy", "votes_contempt"]].tolist() == [9, 1]
    assert table.loc[2, ["votes_unknown", "votes_not_a_face"]].tolist() == [3, 7]
    assert (table.filter(like="votes_").sum(axis="columns") == 10).all()
    assert set(table.filter(like="votes_").dtypes) == {np.dtype("int64")}


def test_faces_in_another_order_get_the_votes_of_their_row(path):
    table = join_votes(faces(["PublicTest", "Training", "Training"]), path, rows=np.array([2, 1, 0]))
    assert table["votes_not_a_face"].tolist() == [7, 0, 0]
    assert table["votes_happy"].tolist() == [0, 9, 0]


def test_a_file_of_all_faces_serves_a_csv_that_holds_the_first_of_them(path, monkeypatch):
    monkeypatch.setattr(ferplus, "OFFICIAL_ROWS", 3)
    assert join_votes(faces(USAGES[:2]), path, rows=np.arange(2))["votes_happy"].tolist() == [0, 9]


def test_a_file_of_another_length_is_refused(path):
    with pytest.raises(InputError, match="has 3 rows; expected 2 or 35887"):
        join_votes(faces(USAGES[:2]), path, rows=np.arange(2))


def test_a_row_past_the_end_is_refused(path):
    with pytest.raises(InputError, match="has 3 rows, but the faces reach row 4"):
        join_votes(faces(), path, rows=np.array([0, 1, 3]))


def test_a_face_of_another_usage_is_refused_and_named(path):
    with pytest.raises(InputError, match=r"data row 2 .*Usage is 'Training', but the face there is of 'PublicTest'"):
        join_votes(faces(["Training", "PublicTest", "PublicTest"]), path, rows=np.arange(3))


def test_faces_of_unknown_row_stay_as_they_are_and_it_is_said_unless_votes_are_required(path, caplog):
    pd.testing.assert_frame_equal(join_votes(faces(), path, rows=None), faces())
    assert "votes are not joined" in caplog.text
    with pytest.raises(InputError, match="cannot be joined"):
        join_votes(faces(), path, rows=None, required=True)


@pytest.mark.parametrize("value", ["", "11", "-1", "x", "1.0"])
def test_a_vote_that_is_no_count_is_named(path, value):
    lines = path.read_text().splitlines()
    lines[2] = f"Training,,{value},0,0,0,0,0,0,0,0,0"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"data row 2 .*neutral is '{value}'; expected a number of votes, 0 to 10"):
        read_votes(path)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "Usage,Image name\n", '"x'])
def test_a_file_that_is_no_ferplus_is_refused_in_one_line(path, content):
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_votes(path)
    assert "\n" not in str(error.value)
