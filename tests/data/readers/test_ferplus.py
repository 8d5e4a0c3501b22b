"""FER+: votes go to the row they belong to, or nowhere."""

import numpy as np
import pandas as pd
import pytest
from fer2013_files import votes_text

from ferlab.data.readers import ferplus
from ferlab.data.readers.ferplus import BALLOT, MODES, join_votes, label_votes, read_votes, soft_targets
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
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
    table = join_votes(faces(), path.read_bytes(), where=str(path), rows=np.arange(3))
    assert table.loc[0, ["votes_neutral", "votes_sad", "votes_angry", "votes_disgust"]].tolist() == [4, 1, 3, 2]
    assert table.loc[1, ["votes_happy", "votes_contempt"]].tolist() == [9, 1]
    assert table.loc[2, ["votes_unknown", "votes_not_a_face"]].tolist() == [3, 7]
    assert (table.filter(like="votes_").sum(axis="columns") == 10).all()
    assert set(table.filter(like="votes_").dtypes) == {np.dtype("int64")}


def test_faces_in_another_order_get_the_votes_of_their_row(path):
    table = join_votes(faces(["PublicTest", "Training", "Training"]), path.read_bytes(), where=str(path), rows=np.array([2, 1, 0]))
    assert table["votes_not_a_face"].tolist() == [7, 0, 0]
    assert table["votes_happy"].tolist() == [0, 9, 0]


def test_a_file_of_all_faces_serves_a_csv_that_holds_the_first_of_them(path, monkeypatch):
    monkeypatch.setattr(ferplus, "OFFICIAL_ROWS", 3)
    assert join_votes(faces(USAGES[:2]), path.read_bytes(), where=str(path), rows=np.arange(2))["votes_happy"].tolist() == [0, 9]


def test_a_file_of_another_length_is_refused(path):
    with pytest.raises(InputError, match="has 3 rows; expected 2 or 35887"):
        join_votes(faces(USAGES[:2]), path.read_bytes(), where=str(path), rows=np.arange(2))


def test_a_row_past_the_end_is_refused(path):
    with pytest.raises(InputError, match="has 3 rows, but the faces reach row 4"):
        join_votes(faces(), path.read_bytes(), where=str(path), rows=np.array([0, 1, 3]))


def test_a_face_of_another_usage_is_refused_and_named(path):
    with pytest.raises(InputError, match=r"data row 2 .*Usage is 'Training', but the face there is of 'PublicTest'"):
        join_votes(faces(["Training", "PublicTest", "PublicTest"]), path.read_bytes(), where=str(path), rows=np.arange(3))


def test_faces_of_unknown_row_stay_as_they_are_and_it_is_said_unless_votes_are_required(path, caplog):
    pd.testing.assert_frame_equal(join_votes(faces(), path.read_bytes(), where=str(path), rows=None), faces())
    assert "votes are not joined" in caplog.text
    with pytest.raises(InputError, match="cannot be joined"):
        join_votes(faces(), path.read_bytes(), where=str(path), rows=None, required=True)


@pytest.mark.parametrize("value", ["", "11", "-1", "x", "1.0"])
def test_a_vote_that_is_no_count_is_named(path, value):
    lines = path.read_text().splitlines()
    lines[2] = f"Training,,{value},0,0,0,0,0,0,0,0,0"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"data row 2 .*neutral is '{value}'; expected a number of votes, 0 to 10"):
        read_votes(path.read_bytes(), where=str(path))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "Usage,Image name\n", '"x'])
def test_a_file_that_is_no_ferplus_is_refused_in_one_line(path, content):
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_votes(path.read_bytes(), where=str(path))
    assert "\n" not in str(error.value)


def ballots(*votes):
    """Face table of votes in the order of FER+'s columns: neutral happy surprise sad angry disgust fear contempt unknown not_a_face."""
    return pd.DataFrame(votes, columns=[f"votes_{name}" for name in BALLOT])


NONE, MANY = "no majority", "more than 3 expressions"
CASES = [  # votes, then by mode the shares or why the face is dropped; worked by hand from FER+'s rules
    ([10, 0, 0, 0, 0, 0, 0, 0, 0, 0], {"neutral": 1}, {"neutral": 1}, {"neutral": 1}, {"neutral": 1}),
    ([5, 4, 1, 0, 0, 0, 0, 0, 0, 0], {"neutral": 1}, {"neutral": 5 / 9, "happy": 4 / 9}, {"neutral": 0.5, "happy": 0.5}, {"neutral": 1}),
    ([6, 2, 1, 1, 0, 0, 0, 0, 0, 0], {"neutral": 1}, {"neutral": 1}, {"neutral": 1}, {"neutral": 1}),
    ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], NONE, {"neutral": 0.5, "happy": 0.5}, {"neutral": 0.5, "happy": 0.5}, {"neutral": 1}),
    ([0, 0, 0, 4, 3, 0, 0, 2, 1, 0], NONE, {"sad": 4 / 7, "angry": 3 / 7}, {"sad": 0.5, "angry": 0.5}, {"sad": 1}),
    ([0, 0, 4, 0, 2, 2, 2, 0, 0, 0], NONE, MANY, NONE, {"surprise": 1}),
    ([0, 0, 4, 0, 3, 3, 0, 0, 0, 0], NONE, {"surprise": 0.4, "angry": 0.3, "disgust": 0.3}, {"surprise": 1 / 3, "angry": 1 / 3, "disgust": 1 / 3},
     {"surprise": 1}),
    ([0, 2, 2, 2, 2, 2, 0, 0, 0, 0], NONE, MANY, NONE, {"happy": 1}),
    ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], NONE, NONE, NONE, {"neutral": 1}),
    ([0, 3, 0, 0, 0, 0, 0, 0, 7, 0], "unknown", "unknown", "unknown", "unknown"),
    ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], *["not a face"] * 4),
    ([6, 0, 0, 0, 0, 0, 0, 0, 4, 0], {"neutral": 1}, {"neutral": 1}, {"neutral": 1}, {"neutral": 1}),
    ([4, 0, 0, 2, 0, 0, 0, 0, 4, 0], NONE, NONE, {"neutral": 1}, {"neutral": 1}),
    ([0, 3, 0, 0, 0, 0, 0, 3, 2, 2], NONE, {"happy": 0.5, "contempt": 0.5}, {"happy": 0.5, "contempt": 0.5}, {"happy": 1}),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_labels_are_those_of_the_rules_worked_by_hand(mode):
    shares, targets, reasons = label_votes(ballots(*(case[0] for case in CASES)), mode=mode)
    place = {"majority": 1, "probability": 2, "crossentropy": 2, "multi_target": 3, "argmax": 4}[mode]
    for row, case in enumerate(CASES):
        expected = case[place]
        assert reasons[row] == (expected if isinstance(expected, str) else ""), case
        wanted = {} if isinstance(expected, str) else expected
        np.testing.assert_allclose(shares[row], [wanted.get(name, 0) for name in BALLOT[:8]], err_msg=str(case))
        assert targets[row] == (ALL_EXPRESSIONS.index(max(wanted, key=wanted.get)) if wanted else -1), case


def test_the_target_of_several_right_expressions_is_the_most_voted():
    _, targets, _ = label_votes(ballots([4, 5, 0, 0, 0, 0, 0, 0, 0, 0]), mode="multi_target")
    assert ALL_EXPRESSIONS[targets[0]] == "happy"


@pytest.mark.parametrize("mode", MODES)
def test_soft_targets_sum_to_one_or_are_missing_where_the_face_is_dropped(mode):
    rng = np.random.default_rng(0)
    faces = ballots(*(rng.multinomial(10, rng.dirichlet([0.3] * 10)) for _ in range(500)))
    faces.index = np.arange(500) * 3
    soft = soft_targets(faces, mode=mode)
    dropped = label_votes(faces, mode=mode)[2] != ""
    assert list(soft) == [f"soft_{name}" for name in ALL_EXPRESSIONS]
    assert soft.index.equals(faces.index)
    assert 50 < dropped.sum() < 450
    assert soft[dropped].isna().all(axis=None)
    np.testing.assert_allclose(soft[~dropped].sum(axis=1), 1)
    best = soft[~dropped].to_numpy()
    targets = label_votes(faces, mode=mode)[1][~dropped]
    np.testing.assert_array_equal(best[np.arange(len(best)), targets], best.max(axis=1))


def test_of_seven_expressions_the_votes_for_contempt_are_distributed_among_the_others():
    soft = soft_targets(ballots([0, 4, 0, 0, 2, 0, 0, 4, 0, 0], [0, 0, 0, 0, 0, 0, 0, 10, 0, 0]), expressions=EXPRESSIONS)
    assert list(soft) == [f"soft_{name}" for name in EXPRESSIONS]
    assert soft.loc[0, ["soft_happy", "soft_angry"]].tolist() == [1, 0]  # angry is past three quarters
    assert soft.loc[1].isna().all()


def test_an_unknown_mode_and_missing_votes_are_named():
    with pytest.raises(InputError, match=r"Unknown mode 'most'.*expected one of majority, probability"):
        label_votes(ballots([10] + [0] * 9), mode="most")
    with pytest.raises(InputError, match="no column 'votes_neutral'"):
        soft_targets(faces())
