"""CK+: frame order, the three rules by hand, what is excluded and why, both layouts, and one line for what is wrong."""

import re
from collections import Counter

import numpy as np
import pytest
from ckplus_files import ck48_files, picture, png, sequence_files, write_files, write_zips

from ferlab.data.readers import ckplus
from ferlab.data.readers.ckplus import label_frames
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

BETWEEN, BOTH = "between neutral and apex", "both neutral and apex in a short sequence"


@pytest.fixture
def files():
    """A happy sequence of 11 frames, one of 12 without an emotion, and one of contempt by a subject S5xx."""
    return {**sequence_files("S005/001", 11, 5), **sequence_files("S010/002", 12, None), **sequence_files("S503/002", 6, 2)}


def read(tmp_path, files, **options):
    write_files(tmp_path, files)
    return ckplus.read(tmp_path, **options)


def named(faces):
    return [ALL_EXPRESSIONS[target] if target >= 0 else "" for target in faces["target"]]


# The rules


@pytest.mark.parametrize(
    ("rule", "count", "neutral", "apex"),
    [
        ("first2_last_third", 8, [1, 2], [6, 7, 8]),  # a third is 2, but never fewer than 3
        ("first2_last_third", 11, [1, 2], [9, 10, 11]),  # 11 / 3 = 3.67 is 3 in cs231a's Python 2, though its text would round to 4
        ("first2_last_third", 12, [1, 2], [9, 10, 11, 12]),
        ("first2_last_third", 20, [1, 2], [15, 16, 17, 18, 19, 20]),  # 6.67 is 6
        ("first2_last3", 20, [1, 2], [18, 19, 20]),
        ("first1_last3", 20, [1], [18, 19, 20]),
        ("first1_last3", 4, [1], [2, 3, 4]),
        ("first2_last3", 5, [1, 2], [3, 4, 5]),
    ],
)
def test_rules_take_the_frames_counted_by_hand(rule, count, neutral, apex):
    labels = label_frames(count, emotion="fear", rule=rule)
    assert [place for place, label in enumerate(labels, 1) if label == "neutral"] == neutral
    assert [place for place, label in enumerate(labels, 1) if label == "fear"] == apex
    assert all(label == BETWEEN for place, label in enumerate(labels, 1) if place not in neutral + apex)


@pytest.mark.parametrize(
    ("rule", "count", "labels"),
    [
        ("first2_last3", 4, ["neutral", BOTH, "sad", "sad"]),
        ("first2_last_third", 3, [BOTH, BOTH, "sad"]),
        ("first1_last3", 3, [BOTH, "sad", "sad"]),
        ("first2_last3", 2, [BOTH, BOTH]),
        ("first1_last3", 1, [BOTH]),
    ],
)
def test_a_frame_that_a_short_sequence_has_twice_is_excluded(rule, count, labels):
    assert label_frames(count, emotion="sad", rule=rule) == labels


def test_the_rule_that_was_used_is_the_default():
    assert label_frames(30, emotion="happy") == label_frames(30, emotion="happy", rule="first2_last_third")


# The table


def test_frames_come_by_their_numbers_whatever_the_order_of_the_files(tmp_path, files):
    write_files(tmp_path / "a", files, seed=1)
    write_files(tmp_path / "b", files, seed=2)
    pictures, faces = ckplus.read(tmp_path / "a")
    again = ckplus.read(tmp_path / "b")[1]
    assert faces.equals(again)
    assert faces["frame"].tolist() == [*range(1, 12), *range(1, 13), *range(1, 7)]
    assert [int(picture[0, 0]) for picture in pictures] == faces["frame"].tolist()
    np.testing.assert_array_equal(pictures[10], picture(11))


def test_numbers_are_ordered_as_numbers(tmp_path):
    files = {re.sub("_0{4,}", "_", name): content for name, content in sequence_files("S005/001", [8, 9, 10, 11, 100], 5).items()}
    _, faces = read(tmp_path, files, gaps="keep")
    assert faces["frame"].tolist() == [8, 9, 10, 11, 100]
    assert faces["face_id"].iloc[0] == "ckplus/S005_001_00000008"


def test_a_row_says_where_a_frame_comes_from_and_what_it_shows(tmp_path, files):
    _, faces = read(tmp_path, files)
    last = faces.iloc[10]
    assert last["face_id"] == "ckplus/S005_001_00000011"
    assert last["source_path"] == "cohn-kanade-images/S005/001/S005_001_00000011.png"
    assert (last["source"], last["usage"], last["subject"], last["sequence"], last["frame"]) == ("ckplus", "all", "S005", "S005/001", 11)
    assert named(faces)[:11] == ["neutral"] * 2 + [""] * 6 + ["happy"] * 3
    assert faces["excluded"].tolist()[:11] == [""] * 2 + [BETWEEN] * 6 + [""] * 3
    assert set(faces["excluded"][11:23]) == {"sequence without an emotion file"}
    assert named(faces)[23:] == ["neutral", "neutral", "", "contempt", "contempt", "contempt"]
    assert faces["target"].dtype == faces["frame"].dtype == np.int64
    assert faces["face_id"].is_unique
    assert ((faces["target"] == -1) == (faces["excluded"] != "")).all()


def test_contempt_dropped_leaves_its_neutral_frames(tmp_path, files):
    _, faces = read(tmp_path, files, contempt="drop")
    assert faces["excluded"].tolist()[23:] == ["", "", BETWEEN] + ["contempt excluded"] * 3
    assert len(faces) == 29


def test_subjects_5xx_dropped_stay_in_the_table(tmp_path, files):
    _, faces = read(tmp_path, files, subjects_5xx="drop")
    assert (faces["excluded"] == "subject S5xx excluded").tolist() == [False] * 23 + [True] * 6


def test_every_code_has_its_expression(tmp_path):
    files = {}
    for code in range(8):
        files |= sequence_files(f"S01{code}/001", 4, code)
    _, faces = read(tmp_path, files, rule="first1_last3")
    assert named(faces)[3::4] == ["neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"]


def published(frames):
    """All 327 labelled sequences by class (Lucey et al., 2010), 19 of them of subjects S5xx, 5 of these contempt (cs230's notebook prints both)."""
    counts = {1: 45, 2: 18, 3: 59, 4: 25, 5: 69, 6: 28, 7: 83}
    codes = [code for code, count in counts.items() for _ in range(count)]
    young = set(range(45, 50)) | set(range(300, 314))
    face = png(1)
    files = {}
    for place, code in enumerate(codes):
        sequence = f"S{(500 if place in young else 100) + place % 90:03d}/{place:03d}"
        stem = f"{sequence}/{sequence.replace('/', '_')}_"
        files |= {f"cohn-kanade-images/{stem}{number:08d}.png": face for number in range(1, frames + 1)}
        files[f"Emotion/{stem}{frames:08d}_emotion.txt"] = b"   %d.0000000e+00\n" % code
    return files


def test_published_counts_come_out(tmp_path):
    files = published(4)
    _, faces = read(tmp_path, files, rule="first1_last3", subjects_5xx="drop")
    assert (faces["excluded"] == "").sum() == 1232  # cs230, before and after contempt is dropped
    _, faces = ckplus.read(tmp_path, rule="first1_last3", subjects_5xx="drop", contempt="drop")
    assert (faces["excluded"] == "").sum() == 1193
    _, faces = ckplus.read(tmp_path, rule="first1_last3")
    apex = Counter(named(faces)) - Counter({"neutral": 327})
    assert sum(apex.values()) == 981
    assert apex == {"angry": 135, "contempt": 54, "disgust": 177, "fear": 75, "happy": 207, "sad": 84, "surprise": 249}


def test_action_units_stand_on_the_coded_frame(tmp_path, files):
    _, faces = read(tmp_path, files)
    assert faces.loc[faces["facs"] != "", "frame"].tolist() == [11, 12, 6]
    assert faces["facs"].iloc[10] == "4:3 17:0"


def test_landmarks_come_with_their_frame_where_there_are_any(tmp_path, files):
    _, faces = read(tmp_path, files | sequence_files("S022/003", 4, 7, landmarks=True))
    row = faces[faces["sequence"] == "S022/003"].iloc[2]
    assert row["landmarks"].shape == (136,)
    assert row["landmarks"].dtype == np.float32
    assert row["landmarks"][:4].tolist() == [3, 0, 4, 2]
    assert faces["landmarks"].iloc[0] is None


def test_without_those_trees_there_are_no_such_columns(tmp_path):
    files = {name: content for name, content in sequence_files("S005/001", 6, 5).items() if not name.startswith("FACS")}
    assert not {"facs", "landmarks"} & set(read(tmp_path, files)[1].columns)


# How it is delivered


def test_zips_as_delivered_give_the_same_faces(tmp_path, files):
    files |= sequence_files("S022/003", 4, 7, landmarks=True)
    (tmp_path / "zips").mkdir()
    write_zips(tmp_path / "zips", files, seed=3)
    write_files(tmp_path / "trees", files)
    zipped, unpacked = ckplus.read(tmp_path / "zips"), ckplus.read(tmp_path / "trees")
    assert zipped[1].drop(columns="landmarks").equals(unpacked[1].drop(columns="landmarks"))
    assert all(np.array_equal(one, other) for one, other in zip(zipped[0], unpacked[0]))


def test_any_folder_above_and_any_name_of_it_works(tmp_path, files):
    above = "my 'CK+' \"größe\"\n/here"
    _, faces = read(tmp_path, {f"{above}/{name}": content for name, content in files.items()})
    _, plain = read(tmp_path / "my 'CK+' \"größe\"\n" / "here", {})
    assert faces["face_id"].equals(plain["face_id"])
    assert faces["source_path"].iloc[0] == f"{above}/cohn-kanade-images/S005/001/S005_001_00000001.png"


def test_another_datasets_pictures_and_hidden_files_beside_it_are_left_alone(tmp_path, files):
    others = {"jaffe/KA.AN1.39.tiff": b"", "fer2013/train/happy/a.png": b""}
    others |= {"cohn-kanade-images/S005/001/.DS_Store": b"x", "Emotion/S010/002/.DS_Store": b""}
    assert len(read(tmp_path, files | others)[1]) == 29


def test_empty_emotion_folders_are_as_good_as_none(tmp_path, files):
    (tmp_path / "Emotion" / "S010" / "002").mkdir(parents=True)
    assert len(read(tmp_path, files)[1]) == 29


def test_a_sequence_may_begin_at_any_number(tmp_path):
    _, faces = read(tmp_path, sequence_files("S005/001", [7, 8, 9, 10, 11, 12], 5), rule="first2_last3")
    assert named(faces) == ["neutral", "neutral", "", "happy", "happy", "happy"]


def test_ck48_is_found_by_its_folders(tmp_path):
    pictures, faces = read(tmp_path, ck48_files({"S010/004": "anger", "S011/002": "sadness", "S503/002": "contempt"}))
    assert named(faces) == ["angry"] * 3 + ["sad"] * 3 + ["contempt"] * 3
    assert faces["subject"].tolist()[::3] == ["S010", "S011", "S503"]
    assert faces["sequence"].tolist()[::3] == ["S010/004", "S011/002", "S503/002"]
    assert faces["frame"].tolist() == [10, 11, 12] * 3
    assert faces["face_id"].iloc[0] == "ckplus/S010_004_00000010"
    assert faces["source_path"].iloc[0] == "CK+48/anger/S010_004_00000010.png"
    assert [int(picture[0, 0]) for picture in pictures] == [10, 11, 12] * 3


def test_ck48_takes_the_same_exclusions(tmp_path):
    files = ck48_files({"S010/004": "contempt", "S503/002": "contempt", "S011/001": "happy"})
    _, faces = read(tmp_path, files, contempt="drop", subjects_5xx="drop")
    assert faces["excluded"].tolist() == ["contempt excluded"] * 3 + [""] * 3 + ["subject S5xx excluded"] * 3


def test_ck48_refuses_a_rule(tmp_path):
    with pytest.raises(InputError, match=r"holds CK\+48, the last three frames .*'first2_last3' needs whole sequences"):
        read(tmp_path, ck48_files({"S010/004": "anger"}), rule="first2_last3")


# What is wrong


IMAGE = "cohn-kanade-images/S005/001/S005_001_000000{}.png"
EMOTION = "Emotion/S005/001/S005_001_00000011_emotion.txt"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({EMOTION: b""}, r"S005_001_00000011_emotion\.txt holds ''; expected one whole number, 0 to 7"),
        ({EMOTION: b"  3.0e+00  5.0e+00\n"}, r"holds '3\.0e\+00  5\.0e\+00'; expected one whole number"),
        ({EMOTION: b"8.0000000e+00"}, r"holds '8\.0000000e\+00'; expected one whole number, 0 to 7"),
        ({EMOTION: b"2.5"}, r"holds '2\.5'"),
        ({EMOTION: b"nan"}, r"holds 'nan'"),
        ({EMOTION: b"happy\xff"}, r"expected one whole number"),
        ({"Emotion/S005/001/S005_001_00000010_emotion.txt": b"5"}, r"is the second emotion file of S005/001"),
        ({"Emotion/S099/001/S099_001_00000010_emotion.txt": b"5"}, r"belongs to the sequence S099/001, of which there are no frames"),
        ({"Emotion/S005/001/S006_001_00000010_emotion.txt": b"5"}, r"lies in the wrong folder; expected the folder S006/001"),
        ({"Emotion/S005/001/S05_001_00000010_emotion.txt": b"5"}, r"S05_001_00000010_emotion\.txt is misnamed"),
        ({IMAGE.format("11"): None}, r"_emotion\.txt belongs to frame 11, which is missing; the sequence S005/001 has 1 to 10"),
        ({IMAGE.format("05"): None}, r"the sequence S005/001 lacks frame 5; expected 1 to 11 without a gap.*option gaps to keep"),
        ({"copy/S005/001/S005_001_00000004.png": b"x"}, r"and .*copy/S005/001/S005_001_00000004\.png are both S005/001/4; expected one"),
        ({"cohn-kanade-images/S005/001/S005_001_4.png": b"x"}, r"S005_001_4\.png are both S005/001/4"),
        ({"cohn-kanade-images/S005/001/S006_001_00000012.png": b"x"}, r"00012\.png lies in the wrong folder; expected the folder S006/001"),
        ({"cohn-kanade-images/S005/001/face 12.png": b"x"}, r"face 12\.png is no frame of CK\+"),
        ({"happy/S010_006_00000013.png": b"x"}, r"holds both sequences and CK\+48's folders"),
        ({"FACS/S005/001/S005_001_00000011_facs.txt": b"4 3 2\n"}, r"_facs\.txt, line 1: '4 3 2'; expected an action unit and its intensity"),
        ({"FACS/S005/001/S005_001_00000012_facs.txt": b"4 3\n"}, r"_facs\.txt belongs to frame 12, which is missing"),
        ({"Landmarks/S005/001/S005_001_00000001_landmarks.txt": b"1 2\n"}, r"_landmarks\.txt holds 2 words; expected 136 numbers"),
        ({"Landmarks/S005/001/S005_001_00000001_landmarks.txt": b"x 2\n" * 68}, r"holds 136 words; expected 136 numbers"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, files, change, said):
    files = {name: content for name, content in (files | change).items() if content is not None}
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, files)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"readme.txt": b"x"}, r"holds no frames of CK\+; expected frames such as cohn-kanade-images/S005/001/S005_001_00000011\.png"),
        ({"ckextended.csv": b"emotion,pixels,Usage\n"}, r"ckextended\.csv is a copy of CK\+ without subjects.*Use the delivered trees or CK\+48"),
        ({"S005/001/S005_001_00000001.png": b"x"}, r"but no emotion file; .*Put Emotion_labels\.zip beside"),
        ({"neutral/S010_006_00000013.png": b"x"}, r"lies in the wrong folder; expected the folder S010/006 .*or in CK\+48 one of anger, contempt"),
        (dict(list(ck48_files({"S010/004": "anger"}).items())[:2]), r"CK\+48 has 2 frames of S010/004; expected its last 3"),
        (
            {"fear/S010_004_00000010.png": b"x", "anger/S010_004_00000011.png": b"x", "anger/S010_004_00000012.png": b"x"},
            r"CK\+48 has the sequence S010/004 as angry and as fear",
        ),
    ],
)
def test_a_folder_that_is_not_ckplus_is_told_what_to_be(tmp_path, files, said):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, files)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", [{"rule": "last_third"}, {"contempt": "yes"}, {"subjects_5xx": "no"}, {"gaps": "fill"}])
def test_unknown_options_are_refused(tmp_path, files, option):
    write_files(tmp_path, files)
    name, value = next(iter(option.items()))
    with pytest.raises(InputError, match=rf"options\.{name} of the dataset 'ckplus' is '{value}'; expected '.*' or '"):
        read_source("ckplus", tmp_path, option)


def test_a_gap_that_is_kept_changes_nothing_else(tmp_path, files):
    del files[IMAGE.format("05")]
    _, faces = read(tmp_path, files, gaps="keep")
    assert faces["frame"].tolist()[:10] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_a_broken_frame_is_named_when_it_is_asked_for(tmp_path, files):
    pictures, _ = read(tmp_path, files | {IMAGE.format("03"): png(3)[:200]})
    with pytest.raises(InputError, match=r"S005_001_00000003\.png is cut or damaged"):
        pictures[2]
