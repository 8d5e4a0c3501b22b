"""Pictures beside a list: RAF-DB's and the Hub's csv, ExpW's label.lst, YOLO's text files; what is wrong is one line that names the row."""

import numpy as np
import pytest
from PIL import Image

from ferlab.data.preparation.sources import gather
from ferlab.data.preparation.steps import plan_preparation
from ferlab.data.readers.listed import read
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS, RAFDB_CODES
from ferlab.params.sections import Face
from ferlab.paths import InputError


def write(root, *names, side=20):
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((side, 2 * side), level, np.uint8)).save(root / name)


def text(root, name, *lines):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")


def expressions(faces):
    return [ALL_EXPRESSIONS[target] if target >= 0 else None for target in faces["target"]]


@pytest.fixture
def raf(tmp_path):
    write(tmp_path, "DATASET/train/1/train_1_aligned.jpg", "DATASET/train/7/train_2_aligned.jpg", "DATASET/test/4/test_1_aligned.jpg")
    text(tmp_path, "train_labels.csv", "image,label", "train_2_aligned.jpg,7", "train_1_aligned.jpg,1")
    text(tmp_path, "test_labels.csv", "image,label", "test_1_aligned.jpg,4")
    return tmp_path


def test_raf_dbs_lists_on_kaggle(raf):
    pictures, faces = read(raf, name="rafdb", labels=RAFDB_CODES)
    assert faces["source_path"].tolist() == [
        "DATASET/test/4/test_1_aligned.jpg",
        "DATASET/train/7/train_2_aligned.jpg",
        "DATASET/train/1/train_1_aligned.jpg",
    ]
    assert faces["usage"].tolist() == ["test", "train", "train"]
    assert expressions(faces) == ["happy", "neutral", "surprise"]
    assert faces["face_id"].iloc[0] == "rafdb/DATASET/test/4/test_1_aligned.jpg"
    assert set(faces["source"]) == {"rafdb"}
    assert [int(pictures[row][0, 0]) for row in range(3)] == [2, 1, 0]


def test_numbers_are_never_guessed_at(raf):
    with pytest.raises(InputError, match=r'data row 2 .*the label is the number 1; .*labels: \{"1": \.\.\., "4": \.\.\., "7": \.\.\.\}'):
        read(raf)


def test_expws_list_has_no_header_and_several_faces_a_picture(tmp_path):
    write(tmp_path, "origin/a_1.jpg", "origin/b_1.jpg")
    text(tmp_path, "label.lst", "a_1.jpg 0 2 3 13 12 22.9 6", "b_1.jpg 0 0 0 10 10 9.0 3", "b_1.jpg 1 5 10 25 15 9.0 0")
    codes = {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}
    options = {"file": 1, "face": 2, "box": [4, 3, 5, 6], "box_form": "corners", "label": 8, "labels": codes}
    pictures, faces = read_source("listed", tmp_path, options)
    assert expressions(faces) == ["neutral", "happy", "angry"]
    assert faces["face_id"].tolist() == ["listed/origin/a_1.jpg#0", "listed/origin/b_1.jpg#0", "listed/origin/b_1.jpg#1"]
    assert faces[["box_x", "box_y", "box_w", "box_h"]].to_numpy().tolist() == [[3, 2, 10, 10], [0, 0, 10, 10], [10, 5, 15, 10]]
    assert set(faces["usage"]) == {"all"}
    assert len(pictures) == 3
    with pytest.raises(InputError, match=r"line 3: 'origin/b_1\.jpg' is listed a second time.*face"):
        read(tmp_path, file=1, label=8, labels=codes)


def test_the_hubs_metadata_names_files_by_their_path(tmp_path):
    write(tmp_path, "data/train/0.png", "data/test/0.png", "data/test/1.png")
    text(tmp_path, "data/metadata.csv", "file_name;label;split;person", "train/0.png;joyful;train;a", "test/0.png;Sad;test;b", "test/1;bored;test;b")
    with pytest.raises(InputError, match=r"'joyful' is no expression \(did you mean 'happy'\?\)"):
        read(tmp_path)
    faces = read(tmp_path, labels={"joyful": "happy"}, subject="person")[1]
    assert expressions(faces) == ["happy", "sad", None]
    assert faces["excluded"].tolist() == ["", "", "label 'bored' is none of ours"]
    assert faces["usage"].tolist() == ["train", "test", "test"]
    assert faces["subject"].tolist() == ["a", "b", "b"]


def test_of_two_pictures_of_a_name_the_one_in_the_rows_part_is_meant(tmp_path):
    write(tmp_path, "train/0.png", "val/0.png")
    text(tmp_path, "x.csv", "file,label,split", "0.png,happy,val", "0.png,sad,train")
    assert read(tmp_path)[1]["source_path"].tolist() == ["val/0.png", "train/0.png"]
    text(tmp_path, "x.csv", "file,label", "0.png,happy")
    with pytest.raises(InputError, match=r"data row 1 .*'0\.png' may be 'train/0\.png' or 'val/0\.png'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("pictures", "line", "found"),
    [
        (["test/happy/5.png", "train/happy/6.png"], "train/happy/5.png", None),  # its own is missing, the other is of test
        (["test/happy/5.png", "train/sad/6.png"], "train/happy/5.png", None),
        (["test/5.png", "train/sad/6.png"], "Train\\\\5.png", None),
        (["5.png", "train/6.png"], "train/5.png", None),
        (["train/fear/5.png", "happy/6.png"], "happy/5.png", None),
        (["a/happy/5.png", "a/sad/5.png"], "data/sad/5.png", "a/sad/5.png"),
        (["faces/5.png"], "images/5.png", "faces/5.png"),
        (["raf/train/5.png", "raf/test/5.png"], "/data/raf/train/5.png", "raf/train/5.png"),
        (["raf/train/5.png", "raf/test/5.png"], "raf/raf/train/5.png", "raf/train/5.png"),
        (["raf/train/5.png", "raf/test/5.png"], "../Train/5.png", "raf/train/5.png"),
    ],
)
def test_a_picture_of_another_folder_is_not_taken_for_a_missing_one(tmp_path, pictures, line, found):
    write(tmp_path, *pictures)
    text(tmp_path, "x.csv", "file,label", f"{line},happy")
    if found:
        assert read(tmp_path)[1]["source_path"].tolist()[0] == found
        return
    with pytest.raises(InputError, match=rf"data row 1 .* is no picture here \('{pictures[0]}' lies in another folder\)"):
        read(tmp_path)


def test_a_picture_of_another_part_is_not_taken_for_a_missing_one(tmp_path):
    write(tmp_path, "train/happy/5.png", "test/happy/6.png", "all/7.png")
    text(tmp_path, "x.csv", "file,label,split", "happy/5.png,happy,test")
    with pytest.raises(InputError, match=r"'happy/5\.png' is no picture here \('train/happy/5\.png' lies in another folder\)"):
        read(tmp_path)
    rows = ("train/happy/5.png,happy,test", "5.png,happy,validation", "7.png,happy,test")  # a path as written; no folder of that part; of no part
    for row, path in zip(rows, ("train/happy/5.png", "train/happy/5.png", "all/7.png"), strict=True):
        text(tmp_path, "x.csv", "file,label,split", row)
        assert read(tmp_path)[1]["source_path"].tolist()[0] == path


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (["file,label,who", "0.png,happy,"], {"subject": "who"}, "data row 1 .*the subject is empty; expected a person for every face"),
        (["file,label", "0.png,hapy"], {}, r"data row 1 .*'hapy' is no expression \(did you mean 'happy'\?\).*labels: \{'hapy': happy\}"),
        (["file,label", "9.png,happy"], {}, r"data row 1 .*'9\.png' is no picture here"),
        (["file,label", "0.png,happy", "0.png,happy"], {}, r"data row 2 .*listed a second time"),
        (["file,label", "0.png"], {}, "data row 1 .*1 cells; expected 2"),
        (["file,label,split", "0.png,happy,some"], {}, "the part is 'some'; expected train"),
        (["a,b", "0.png,happy"], {}, "expected a column of the file"),
        (["a,b", "0.png,happy"], {"file": "a", "label": "c"}, r"has no column 'c' \(option label\)"),
        (["0.png happy"], {"file": 1, "label": 3}, "has no column 3"),
        (["file,label,x,y,w,h", "0.png,happy,1,1,0,4"], {"box": ["x", "y", "w", "h"]}, "the box is 1, 1, 0, 4; expected four numbers, size"),
        (["file,label"], {}, "has a header and no rows"),
        ([""], {}, "is empty"),
        (["file,label", '0.png,"happy'], {}, "cannot be read as csv"),
        (["file,label", "0.png,1"], {"labels": {1: "joyous"}}, "option labels maps '1' to 'joyous'"),
        (["file,label", "0.png,happy"], {"tables": "y.csv"}, r"holds no y\.csv; expected one of its lists: x\.csv"),
        (["file,label", "0.png,happy"], {"box": ["a"]}, "expected four columns"),
        (["file,label", "0.png,happy"], {"box_form": "round"}, "box_form .* is 'round'; expected 'corners' or 'size'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, lines, options, said):
    write(tmp_path, "0.png")
    text(tmp_path, "x.csv", *lines)
    with pytest.raises(InputError, match=said) as error:
        read_source("listed", tmp_path, options)
    assert "\n" not in str(error.value)


def test_which_list_is_meant_is_asked_where_there_are_several(tmp_path):
    write(tmp_path, "0.png")
    with pytest.raises(InputError, match="holds no list of labels"):
        read(tmp_path)
    for name in ("a.csv", "b.csv"):
        text(tmp_path, name, "file,label", "0.png,happy")
    with pytest.raises(InputError, match=r"holds the lists a\.csv, b\.csv; expected one"):
        read(tmp_path)
    assert expressions(read(tmp_path, tables=["b.csv"])[1]) == ["happy"]


@pytest.fixture
def yolo(tmp_path):
    write(tmp_path, "Y/train/images/1.png", "Y/train/images/2.png", "Y/valid/images/3.png", "Y/test/images/4.png", "Y/test/images/5.png")
    text(tmp_path, "Y/data.yaml", "names: [Anger, Contempt, Happy]", "nc: 3")
    for name, lines in {"train/labels/1": ["0 0.5 0.5 1 1"], "train/labels/2": ["2 0.5 0.5 0.5 0.5", "1 0.25 0.25 0.5 0.5 0.9"]}.items():
        text(tmp_path, f"Y/{name}.txt", *lines)
    text(tmp_path, "Y/valid/labels/3.txt", "2 0.5 0.5 1.0 1.0", "")
    text(tmp_path, "Y/test/labels/4.txt", "")
    return tmp_path


def test_affectnet_in_yolos_form(yolo):
    pictures, faces = read(yolo, name="affectnet")
    assert expressions(faces) == [None, None, "angry", "happy", "contempt", "happy"]
    assert faces["excluded"].tolist() == ["no label", "no label", "", "", "", ""]
    assert faces["usage"].tolist() == ["test", "test", "train", "train", "train", "validation"]
    assert faces["face_id"].tolist()[2:5] == ["affectnet/Y/train/images/1.png", *(f"affectnet/Y/train/images/2.png#{n}" for n in (1, 2))]
    assert faces[["box_x", "box_y", "box_w", "box_h"]].to_numpy()[3:5].tolist() == [[10, 5, 20, 10], [0, 0, 20, 10]]  # of 40 x 20 pixels
    assert faces["box_w"].tolist()[2:] == [40, 20, 20, 40]
    assert faces["box_x"].isna().tolist() == [True, True, False, False, False, False]
    assert len(pictures) == len(faces)


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("Y/train/labels/1.txt", ["x 0.5 0.5 1 1"], r"labels/1\.txt, line 1: 'x 0\.5 0\.5 1 1'; expected a class and four fractions"),
        ("Y/train/labels/1.txt", ["0 0.5 0.5 1"], "expected a class and four fractions"),
        ("Y/train/labels/1.txt", ["0 5 5 10 10"], "expected a class and four fractions"),
        ("Y/train/labels/1.txt", ["7 0.5 0.5 1 1"], "the class 7 has no name; expected 0 to 2"),
        ("Y/train/labels/9.txt", ["0 0.5 0.5 1 1"], r"labels/9\.txt has no picture"),
        ("Y/data.yaml", ["names: 3"], r"data\.yaml names no classes"),
        ("Y/data.yaml", ["names: [[["], r"data\.yaml names no classes"),
    ],
)
def test_a_wrong_label_file_is_named(yolo, name, lines, said):
    text(yolo, name, *lines)
    with pytest.raises(InputError, match=said) as error:
        read(yolo)
    assert "\n" not in str(error.value)


def test_boxes_around_whole_pictures_are_none(yolo):
    text(yolo, "Y/train/labels/2.txt", "2 0.5 0.5 1 1")
    assert "box_x" not in read(yolo)[1]


def test_boxes_of_a_list_are_cut_out(yolo):
    gathered = gather(yolo, {"x": {"dataset": "listed"}})
    preparation = plan_preparation(yolo, gathered.faces, Face(detector="dataset").model_dump(), size=None, colour="as_is", equalise="none", blur=0)
    shapes = [preparation.stages(gathered.pictures[row], face).face.shape for row, face in enumerate(gathered.faces["face_id"])]
    assert shapes == [(40, 40), (20, 20), (20, 20), (40, 40)]  # as `crop_box` squares them


def test_classes_without_names_are_named_in_labels(yolo):
    (yolo / "Y" / "data.yaml").unlink()
    with pytest.raises(InputError, match="the label is the number 0"):
        read(yolo)
    assert expressions(read(yolo, labels={0: "angry", 1: None, 2: "happy"})[1])[2:] == ["angry", "happy", None, "happy"]
