"""Captured faces: nobody's is used by accident, and exclusions are stated."""

import numpy as np
import pytest
from captured_files import PEOPLE, write_captured, write_captures, write_consent

from ferlab.data.readers.captured import read
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

YES = "anna,yes,2024-05-31,research,,,"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("captured")
    return root, write_captured(root)


@pytest.fixture
def root(drawn, tmp_path):
    """The same files to be changed: pictures by link, csv files anew."""
    for name in drawn[1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).hardlink_to(drawn[0] / name)
    for name in ("consent.csv", "captures.csv"):
        (tmp_path / name).write_text((drawn[0] / name).read_text())
    return tmp_path


@pytest.mark.parametrize("table", [True, False], ids=["captures.csv", "folders"])
def test_everybody_who_consented_is_a_subject(root, drawn, table):
    if not table:
        (root / "captures.csv").unlink()
    pictures, faces = read(root)
    assert faces["source_path"].tolist() == drawn[1]
    assert faces["face_id"].tolist() == [f"captured/{name}" for name in drawn[1]]
    assert faces["subject"].tolist() == [name.split("/")[0] for name in drawn[1]]
    assert faces["target"].tolist() == [EXPRESSIONS.index(name.split("/")[1]) for name in drawn[1]]
    assert faces["target"].dtype == np.int64
    assert set(faces["excluded"]) == {""}
    assert set(faces["usage"]) == {"all"}
    assert set(faces["consent_scope"]) == {"research; publication"}
    assert len(pictures) == len(faces) == 28
    assert pictures[3].shape == (48, 48)


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        (None, "no consent", "(no row)"),
        ("benn,yes,2024-05-31,research,,,", "no consent", "(no row; did you mean 'benn'?)"),
        ("ben,no,,research,,,", "no consent", "no consent."),
        ("ben,,,,,,", "no consent", "no consent."),
        ("ben,pending,,research,,,", "no consent", "no consent."),
        ("ben,yes,2024-05-31,research,,,2024-07-01", "consent withdrawn", "consent withdrawn."),
        ("ben,yes,2024-05-31,teaching,,,", "consent is not for research", "not for research."),
        ("ben,yes,2024-05-31,,,,", "consent is not for research", "not for research."),
    ],
)
@pytest.mark.parametrize("table", [True, False], ids=["captures.csv", "folders"])
def test_who_did_not_consent_is_excluded_with_the_reason_and_named_in_the_log(root, caplog, row, reason, said, table):
    if not table:
        (root / "captures.csv").unlink()
    write_consent(root, [YES, *([row] if row else []), "\u00e7elik,YES,2024-05-31,Teaching;Research,,,", "dora,yes,2024-05-31,research,,,"])
    faces = read(root)[1]
    ben = (faces["subject"] == "ben").to_numpy()
    assert ben.sum() == 7
    assert set(faces["excluded"][ben]) == {reason}
    assert set(faces["target"][ben]) == {-1}
    assert set(faces["excluded"][~ben]) == {""}
    assert f"7 pictures of 'ben' are excluded: {reason}" in caplog.text
    assert said in caplog.text


def test_another_scope_can_be_asked_for(root):
    write_consent(root, [YES, "ben,yes,2024-05-31,research; publication,,,"])
    faces = read(root, scope="publication")[1]
    assert set(faces["subject"][faces["excluded"] == ""]) == {"ben"}


def test_a_person_is_the_same_however_an_accent_is_written(root):
    write_consent(root, ["c\u0327elik,yes,2024-05-31,research,,,"])
    assert set(read(root)[1].query("excluded == ''")["subject"]) == {"\u00e7elik"}


def test_corrections_by_hand_are_kept_and_rows_need_no_order(root, drawn):
    first, second, third = drawn[1][:3]
    write_captures(root, [f"{third},anna,happiness,t3,sadness", f'"{first}", anna ,Anger,t1,', f"{second},anna,bored,,"])
    faces = read(root)[1].set_index("source_path")
    assert faces.loc[[first, second, third], "target"].tolist() == [EXPRESSIONS.index("angry"), -1, EXPRESSIONS.index("happy")]
    assert faces.loc[[first, third], "corrected_from"].tolist() == ["", "sad"]
    assert faces.loc[[first, third], "time"].tolist() == ["t1", "t3"]
    assert faces.loc[second, "excluded"] == "label 'bored' is none of ours"
    assert (faces["excluded"] == "not in captures.csv").sum() == 25


def test_pictures_without_a_person_or_a_label_are_excluded(root, drawn):
    write_captures(root, [f"{drawn[1][0]},,happy,,", f"{drawn[1][1]},ben,,,", f"{drawn[1][2]},ben,sad,,"])
    assert read(root)[1]["excluded"].tolist()[:3] == ["no person", "no label", ""]
    (root / "captures.csv").unlink()
    for name in ("loose.png", "anna/loose.png"):
        (root / name).hardlink_to(root / drawn[1][0])
    faces = read(root)[1].set_index("source_path")
    assert faces.loc[["loose.png", "anna/loose.png"], "excluded"].tolist() == ["no person", "no label"]


def test_the_record_may_lie_below_another_folder(root, drawn, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    root.rename(outer / "web set")
    root.mkdir()
    faces = read(outer)[1]
    assert faces["source_path"].tolist() == [f"web set/{name}" for name in drawn[1]]
    assert set(faces["subject"]) == set(PEOPLE)


@pytest.mark.parametrize(
    ("consent", "captures", "said"),
    [
        (None, None, "holds no consent.csv"),
        ("", None, "has the columns ''"),
        ("person;consent;date;scope\n", None, "has the columns 'person;consent;date;scope'; expected person, consent, date, scope"),
        ("person,consent,date\nanna,yes,2024-05-31\n", None, "has the columns"),
        ("person,consent,date,scope,withdrawl\n", None, "'person, consent, date, scope, withdrawl'"),
        ("person,consent,date,scope\nanna,yes,31.5.2024,research\n", None, "data row 1 .*date is '31.5.2024'; expected a day such as 2024-05-31"),
        ("person,consent,date,scope\n\nanna,yes,,research\n", None, "data row 1 .*date is ''"),
        ("person,consent,date,scope,withdrawn\nanna,yes,2024-05-31,research,yes\n", None, "withdrawn is 'yes'"),
        ("person,consent,date,scope\nanna,yes,2024-05-31\n", None, "data row 1 .*3 cells; expected 4"),
        ("person,consent,date,scope\n,yes,2024-05-31,research\n", None, "the person is empty"),
        ("person,consent,date,scope\nanna,no,,\nanna,yes,2024-05-31,research\n", None, "data row 2 .*person 'anna' comes twice"),
        ("person,consent,date,scope\nanna,no,,\n", None, "nobody whose pictures are here consented to 'research'"),
        ('person,consent,date,scope\n"anna,no,,\n', None, "cannot be read as csv"),
        ("ok", "file,person\n", "captures.csv has the columns 'file, person'; expected file, person, expression"),
        ("ok", "file,person,expression\nno.png,anna,sad\n", r"captures\.csv, data row 1 .*'no.png' is no picture here"),
        ("ok", "file,person,expression\n{0},anna,sad\n./{0},anna,sad\n", "data row 2 .*comes twice"),
        ("ok", "file,person,expression\n{0},anna,suprise\n", r"data row 1 .*'suprise' is no expression \(did you mean 'surprise'\?\)"),
    ],
)
def test_what_is_wrong_with_the_record_is_said_in_one_line(root, drawn, consent, captures, said):
    if consent is None:
        (root / "consent.csv").unlink()
    elif consent != "ok":
        (root / "consent.csv").write_text(consent)
    if captures is not None:
        (root / "captures.csv").write_text(captures.format(drawn[1][0]))
    with pytest.raises(InputError, match=said) as error:
        read(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("written", ["Anna", "ANNA", "an na"])
def test_nobody_is_lost_by_another_spelling_of_the_name(root, written):
    write_consent(root, [f"{person},yes,2024-05-31,research,,," for person in (written, *PEOPLE[1:])])
    with pytest.raises(InputError, match=rf"has '{written}', and 7 pictures are of 'anna'; expected one spelling"):
        read(root)


def test_words_that_others_use_are_asked_about(root):
    write_captures(root, ["anna/angry/000.png,anna,joy,,"])
    with pytest.raises(InputError, match=r"'joy' is no expression \(did you mean 'happy'\?\)"):
        read(root)


RECORDED = "file,person,expression,time,corrected_from,box_x,box_y,box_w,box_h,pose_yaw,live_model,live_prob_happy"


def test_what_was_recorded_of_a_face_is_carried_and_empty_columns_are_not(root, drawn):
    first, second = drawn[1][:2]
    write_captures(root, [f"{first},anna,sad,,,1,2,30.5,31,,shipped,0.25", f"{second},anna,sad,,,,,,,,,"], header=RECORDED)
    faces = read(root)[1].set_index("source_path")
    assert faces.loc[first, ["box_x", "box_y", "box_w", "box_h", "live_prob_happy"]].tolist() == [1, 2, 30.5, 31, 0.25]
    assert faces["box_x"].isna().sum() == 27
    assert faces.loc[[first, second, drawn[1][2]], "live_model"].tolist() == ["shipped", "", ""]
    assert "pose_yaw" not in faces
    write_captures(root, [f"{first},anna,sad,,,1,left,30,31,,shipped,0.25"], header=RECORDED)
    with pytest.raises(InputError, match=r"captures\.csv, data row 1 .*box_y is 'left'; expected a number or nothing"):
        read(root)


def test_labels_by_others_are_kept_beside_the_persons_own_and_that_is_logged(root, drawn, caplog):
    first, second = drawn[1][:2]
    (root / "labels.csv").write_text(f"file,labeller,expression,time\n{first},l-2222,sad,t2\n{first},l-3333,fear,t1\n{second},l-2222,Happiness,t1\n")
    faces = read(root)[1].set_index("source_path")
    assert faces.loc[[first, second, drawn[1][2]], "labels_by_others"].tolist() == ["fear;sad", "happy", ""]
    assert faces.loc[first, "target"] == EXPRESSIONS.index(first.split("/")[1])
    assert "2 faces have labels by others, kept in labels_by_others; the target is the person's own label" in caplog.text
    (root / "labels.csv").write_text("file,labeller,expression,time\nno.png,l-2222,sad,t2\n")
    with pytest.raises(InputError, match=r"labels\.csv, data row 1 .*'no.png' is no picture here"):
        read(root)
