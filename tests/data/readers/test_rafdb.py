"""RAF-DB: labels, attributes and boxes as the dataset has them, and one line for everything that contradicts itself."""

from functools import partial

import numpy as np
import pytest
import whole_dataset
from rafdb_files import LIST, draw_faces, jpeg, landmarks, rafdb_tree, write_files, write_zip

from ferlab.data.readers import rafdb
from ferlab.data.readers.images import decode_picture
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

CODES = [1, 2, 3, 4, 5, 6, 7, 4]
WORDS = ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral", "happy"]
MANUAL = "basic/Annotation/manual/train_00002_manu_attri.txt"
BOX = "basic/Annotation/boundingbox/train_00002_boundingbox.txt"


@pytest.fixture(scope="module")
def faces():
    return draw_faces(8)


@pytest.fixture
def files(faces):
    return rafdb_tree(faces, CODES, test=3)


refuse = partial(whole_dataset.refuse, rafdb.read)


@pytest.mark.parametrize("prefix", ["", "RAF-DB/copy of mine/"])
def test_labels_usages_and_aligned_faces(tmp_path, faces, files, prefix):
    pictures, table = rafdb.read(write_files(tmp_path, {prefix + name: data for name, data in files.items()}))
    assert [ALL_EXPRESSIONS[target] for target in table["target"]] == WORDS
    assert table["target"].dtype == np.int64
    assert table["usage"].tolist() == ["train"] * 5 + ["test"] * 3
    assert table["face_id"].tolist()[4:6] == ["rafdb/train_00005", "rafdb/test_0001"]
    assert table["source_path"][0] == f"{prefix}basic/Image/aligned/train_00001_aligned.jpg"
    assert set(table["excluded"]) == {""}
    for row in (0, 7):
        np.testing.assert_array_equal(pictures[row], decode_picture(jpeg(faces[row]), where=""))


def test_attributes_in_words(tmp_path, files):
    _, table = rafdb.read(write_files(tmp_path, files))
    assert table["gender"].tolist() == ["male", "female", "unsure"] * 2 + ["male", "female"]
    assert table["race"].tolist() == ["Caucasian", "African-American", "Asian"] * 2 + ["Caucasian", "African-American"]
    assert table["age_group"].tolist() == ["0-3", "4-19", "20-39", "40-69", "70+", "0-3", "4-19", "20-39"]


def test_landmarks_and_box_belong_to_original_faces_alone(tmp_path, files):
    root = write_files(tmp_path, files)
    assert not {"landmarks", "box_x"} & set(rafdb.read(root)[1].columns)
    pictures, table = rafdb.read(root, faces="original")
    assert pictures[0].shape == (59, 63, 3)
    assert table["landmarks"][3].dtype == np.float32
    np.testing.assert_array_equal(np.stack(table["landmarks"]), [landmarks(row) for row in range(8)])
    assert table[["box_x", "box_y", "box_w", "box_h"]].to_numpy().tolist() == [[7, 5, 48.5, 48]] * 8


def test_landmarks_apart_by_blanks(tmp_path, files):
    files = {name: data.replace(b"\t", b" ") if "manual" in name else data for name, data in files.items()}
    _, table = rafdb.read(write_files(tmp_path, files), faces="original")
    np.testing.assert_array_equal(np.stack(table["landmarks"]), [landmarks(row) for row in range(8)])


def test_zips_inside_give_the_same_table(tmp_path, files):
    _, lying = rafdb.read(write_files(tmp_path / "lying", files))
    packed = tmp_path / "packed"
    write_files(packed, {name: data for name, data in files.items() if "/Image/" not in name})
    start = "basic/Image/"
    write_zip(packed / start / "aligned.zip", {name[len(start) :]: data for name, data in files.items() if name.startswith(f"{start}aligned/")})
    pictures, table = rafdb.read(packed)
    assert table.equals(lying)
    assert pictures[2].shape == (48, 48, 3)


def test_without_annotations_there_are_no_such_columns(tmp_path, faces):
    _, table = rafdb.read(write_files(tmp_path, rafdb_tree(faces, CODES, test=3, annotations=False)), faces="original")
    assert not {"gender", "race", "age_group", "landmarks", "box_x"} & set(table.columns)


def test_a_face_without_attributes_stays(tmp_path, files):
    del files[MANUAL], files[BOX]
    _, table = rafdb.read(write_files(tmp_path, files), faces="original")
    assert table["gender"].tolist().index("") == table["race"].tolist().index("") == table["age_group"].tolist().index("") == 1
    assert table["landmarks"][1] is None
    assert table["box_w"].isna().tolist() == [row == 1 for row in range(8)]


def test_a_picture_beside_the_folders_is_not_read(tmp_path, files):
    beside = {name.removeprefix("basic/"): data for name, data in files.items()} | {"sample.jpg": jpeg(draw_faces(1)[0])}
    assert len(rafdb.read(write_files(tmp_path, beside))[1]) == 8


def test_compound_part_beside_is_not_read(tmp_path, files):
    beside = {name.replace("basic/", "compound/", 1): data for name, data in files.items()}
    beside["compound/EmoLabel/list_patition_label.txt"] = b"train_00001.jpg 11\n"
    pictures, table = rafdb.read(write_files(tmp_path, files | beside))
    assert len(table) == len(pictures) == 8


def test_line_ends_byte_order_mark_and_no_last_line_end(tmp_path, files):
    files[LIST] = b"\xef\xbb\xbf" + files[LIST].replace(b"\n", b"\r\n").rstrip()
    assert len(rafdb.read(write_files(tmp_path, files))[1]) == 8


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"train_00009.jpg 4", "line 9: its image is missing"),
        (b"train_00001.jpg 4", "line 9: 'train_00001' stands in line 1 already"),
        (b"train_00009.jpg 0", "line 9: the code is 0; expected 1 to 7"),
        (b"train_00009.jpg 8", "line 9: the code is 8; expected 1 to 7"),
        (b"train_00009.jpg", "line 9: 'train_00009.jpg'"),
        (b"train_00009.jpg happy", "line 9: 'train_00009.jpg happy'"),
        (b"valid_00009.jpg 4", "line 9: 'valid_00009.jpg 4'"),
        (b"\ntrain_00009.jpg 4", "line 9: ''"),
        (b"train_\xff.jpg 4", "line 9: its image is missing"),
    ],
)
def test_a_wrong_line(tmp_path, files, line, said):
    files[LIST] += line + b"\n"
    refuse(write_files(tmp_path, files), "list_patition_label.txt", said)


@pytest.mark.parametrize(("folder", "end"), [("aligned", "_aligned"), ("original", "")])
def test_an_image_without_its_line(tmp_path, files, folder, end):
    files[f"basic/Image/{folder}/train_00099{end}.jpg"] = b""
    refuse(write_files(tmp_path, files), f"train_00099{end}.jpg has no line", faces=folder)


def test_the_same_face_in_two_files(tmp_path, files):
    files["basic/Image/aligned/train_00001_aligned.png"] = b""
    refuse(write_files(tmp_path, files), "train_00001_aligned.jpg", "train_00001_aligned.png", "are both train_00001")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\t2\n" * 5 + "0\n0\n", "has 7 lines"),
        ("1\t2\n" * 5 + "3\n0\n0\n", "line 6: gender is '3'; expected 0 to 2"),
        ("1\t2\n" * 5 + "0\nx\n0\n", "line 7: race is 'x'"),
        ("1\t2\n" * 5 + "0\n0\n5\n", "line 8: age_group is '5'; expected 0 to 4"),
        ("1\t2\n" * 4 + "1\n0\n0\n0\n", "line 5: '1'; expected 2 numbers"),
        ("1\tnan\n" + "1\t2\n" * 4 + "0\n0\n0\n", "line 1"),
    ],
)
def test_wrong_attributes(tmp_path, files, text, said):
    files[MANUAL] = text.encode()
    refuse(write_files(tmp_path, files), "train_00002_manu_attri.txt", said)


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 x", "5 5 5 9", "5 5 9 4"])
def test_a_wrong_box(tmp_path, files, text):
    files[BOX] = text.encode()
    refuse(write_files(tmp_path, files), "train_00002_boundingbox.txt", faces="original")


def test_attributes_of_a_face_that_is_not_listed(tmp_path, files):
    files[MANUAL.replace("00002", "00099")] = files[MANUAL]
    refuse(write_files(tmp_path, files), "train_00099_manu_attri.txt", "no line lists")


def test_no_list_and_two_lists(tmp_path, files):
    refuse(write_files(tmp_path / "none", {name: data for name, data in files.items() if name != LIST}), "holds no RAF-DB")
    refuse(write_files(tmp_path / "two", files | {f"copy/{LIST}": files[LIST]}), "both there")
    refuse(write_files(tmp_path / "empty", files | {LIST: b"\n"}), "is empty")


def test_wrong_option(tmp_path):
    with pytest.raises(InputError, match="faces of the dataset 'rafdb' is 'cropped'; expected 'aligned' or 'original'"):
        read_source("rafdb", tmp_path, {"faces": "cropped"})
