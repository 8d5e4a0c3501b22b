"""AffectNet: the same faces from both layouts, excluded rows that stay, and one line for everything that contradicts itself."""

from functools import partial

import numpy as np
import pytest
import whole_dataset
from affectnet_files import HEADER, MANUAL, csv_row, csv_tree, draw_faces, folder_tree, jpeg, landmarks, npy, write_files, write_zip

from ferlab.data.readers import affectnet
from ferlab.data.readers.images import decode_picture
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

CODES = [0, 1, 2, 3, 4, 5, 6, 7, 1, 0]
WORDS = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt", "happy", "neutral"]
TRAINING = "Manually_Annotated_file_lists/training.csv"
TREES = {
    "csv": csv_tree,
    "folders of text": folder_tree,
    "folders of numbers": lambda *args, **kwargs: folder_tree(*args, text=False, **kwargs),
}


@pytest.fixture(scope="module")
def faces():
    return draw_faces(10)


def words(table):
    return [ALL_EXPRESSIONS[target] if target >= 0 else "" for target in table["target"]]


def training(rows, **files):
    return {TRAINING: "\n".join([HEADER, *rows, ""]).encode(), **files}


refuse = partial(whole_dataset.refuse, affectnet.read)


def test_a_csv_without_rows_is_named(tmp_path):
    refuse(write_files(tmp_path, training([])), "has a header and no rows; expected a row for each image")


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
class TestBothLayouts:
    def test_labels_usages_and_affect(self, tmp_path, faces, tree):
        pictures, table = affectnet.read(write_files(tmp_path / "any" / "where", tree(faces, CODES, validation=3)))
        assert words(table) == WORDS
        assert table["usage"].tolist() == ["train"] * 7 + ["validation"] * 3
        assert set(table["excluded"]) == {""}
        np.testing.assert_allclose(table["valence"], np.arange(10) / 10 - 0.5, atol=1e-9)
        np.testing.assert_allclose(table["arousal"], 0.25)
        assert table["target"].dtype == np.int64
        assert table["valence"].dtype == table["arousal"].dtype == np.float64
        assert table["face_id"].is_unique
        assert len(pictures) == 10
        for row in (0, 9):
            np.testing.assert_array_equal(pictures[row], decode_picture(jpeg(faces[row]), where=""))

    def test_a_zip_gives_the_same_table(self, tmp_path, faces, tree):
        files = tree(faces, CODES, validation=3)
        _, lying = affectnet.read(write_files(tmp_path / "lying", files), landmarks=True)
        pictures, packed = affectnet.read(write_zip(tmp_path / "packed" / "affectnet.zip", files).parent, landmarks=True)
        assert packed.drop(columns="landmarks").equals(lying.drop(columns="landmarks"))
        np.testing.assert_array_equal(np.stack(packed["landmarks"]), np.stack(lying["landmarks"]))
        assert pictures[4].shape == (48, 48, 3)

    def test_seven_classes_leave_contempt_out_and_keep_its_row(self, tmp_path, faces, tree):
        _, table = affectnet.read(write_files(tmp_path, tree(faces, CODES, validation=3)), classes=7)
        assert table["excluded"].tolist() == [""] * 7 + ["contempt excluded"] + [""] * 2
        assert table["target"].tolist().index(-1) == 7

    def test_other_labels_stay_as_excluded(self, tmp_path, faces, tree):
        _, table = affectnet.read(write_files(tmp_path, tree(faces[:4], [8, 9, 10, 1], validation=1)))
        assert table["excluded"].tolist() == ["label 8 (none)", "label 9 (uncertain)", "label 10 (no face)", ""]
        assert table["target"].tolist() == [-1, -1, -1, ALL_EXPRESSIONS.index("happy")]

    def test_landmarks_only_when_asked_for(self, tmp_path, faces, tree):
        root = write_files(tmp_path, tree(faces, CODES, validation=3))
        assert "landmarks" not in affectnet.read(root)[1]
        _, table = affectnet.read(root, landmarks=True)
        assert table["landmarks"][4].dtype == np.float32
        np.testing.assert_allclose(np.stack(table["landmarks"]), [landmarks(row) for row in range(10)])

    def test_no_picture_is_decoded_for_the_table(self, tmp_path, faces, tree):
        files = {name: b"no picture" if name.endswith(".jpg") else data for name, data in tree(faces, CODES, validation=3).items()}
        pictures, table = affectnet.read(write_files(tmp_path, files))
        assert len(table) == 10
        with pytest.raises(InputError, match="no image"):
            pictures[0]

    def test_an_annotation_without_its_image(self, tmp_path, faces, tree):
        files = tree(faces, CODES, validation=3)
        del files[next(name for name in files if name.endswith(".jpg"))]
        refuse(write_files(tmp_path, files), "image")

    @pytest.mark.parametrize("code", [11, -1])
    def test_an_impossible_code(self, tmp_path, faces, tree, code):
        refuse(write_files(tmp_path, tree(faces[:2], [1, code], validation=0)), str(code), "0 to 10")


class TestCsv:
    def test_box_in_pixels_of_the_picture(self, tmp_path, faces):
        _, table = affectnet.read(write_files(tmp_path, csv_tree(faces, CODES, validation=3)))
        assert table[["box_x", "box_y", "box_w", "box_h"]].to_numpy().tolist() == [[3, 4, 30, 31]] * 10

    @pytest.mark.parametrize("box", ["-1,-1,-1,-1", "NULL,NULL,NULL,NULL", ",,,", "3,4,-1,5", "3,4,5,0"])
    def test_no_box_and_no_landmarks_where_there_is_no_face(self, tmp_path, faces, box):
        files = training([f"1/a.jpg,{box},NULL,10,-2,-2", csv_row("1/b.jpg", code=1, valence=1, arousal=-1)])
        root = write_files(tmp_path, {**files, f"{MANUAL}/1/a.jpg": jpeg(faces[0]), f"{MANUAL}/1/b.jpg": jpeg(faces[1])})
        _, table = affectnet.read(root, landmarks=True)
        assert table["box_x"].isna().tolist() == [True, False]
        assert table["landmarks"][0] is None
        np.testing.assert_allclose(table["landmarks"][1], landmarks(0))
        assert np.isnan(table["valence"][0])
        assert table["arousal"][1] == -1

    def test_pictures_that_no_csv_names_stay_as_excluded(self, tmp_path, faces):
        files = csv_tree(faces, CODES, validation=3)
        files[f"{MANUAL}/9/extra.JPG"] = files["Automatically_Annotated/Automatically_Annotated_Images/1/b.jpg"] = jpeg(faces[0])
        pictures, table = affectnet.read(write_files(tmp_path, files), landmarks=True)
        assert table["excluded"].tolist()[10:] == ["no annotation", "annotated by a model, not by people"]
        assert table["target"].tolist()[10:] == [-1, -1]
        assert table["valence"].isna().tolist() == [False] * 10 + [True] * 2
        assert table["box_x"].dtype == np.float64
        assert table["landmarks"][11] is None
        assert table["source_path"].tolist()[10] == f"{MANUAL}/9/extra.JPG"
        assert list(table.index) == list(range(12))
        assert pictures[11].shape == (48, 48, 3)

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_header_with_byte_order_mark_and_other_line_ends(self, tmp_path, faces, end):
        files = csv_tree(faces, CODES, validation=3)
        files[TRAINING] = b"\xef\xbb\xbf" + files[TRAINING].replace(b"\n", end.encode())
        assert words(affectnet.read(write_files(tmp_path, files))[1]) == WORDS

    def test_names_with_blanks_quotes_commas_newlines_and_other_letters(self, tmp_path, faces):
        names = ["1/a b.jpg", "1/it's.png", "1/née 脸.jpg", "1/a,b.jpg", "1/a\nb.jpg", '1/say "a".jpg']
        rows = [csv_row('"' + name.replace('"', '""') + '"', code=1, valence=0, arousal=0) for name in names]
        files = training(rows) | {f"{MANUAL}/{name}": jpeg(faces[0]) for name in names}
        pictures, table = affectnet.read(write_files(tmp_path, files))
        assert table["face_id"].tolist() == [f"affectnet/{name}" for name in names]
        assert all(pictures[row].shape == (48, 48, 3) for row in range(len(names)))

    def test_one_csv_alone_is_enough(self, tmp_path, faces):
        files = csv_tree(faces, CODES, validation=3)
        del files[TRAINING]
        _, table = affectnet.read(write_files(tmp_path, files))
        assert table["usage"].tolist() == ["validation"] * 3 + [""] * 7
        assert table["excluded"].tolist() == [""] * 3 + ["no annotation"] * 7

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("1/c.jpg,1,2,3,4,1;2,1,0,0", ["data row 2", "missing", "1/c.jpg"]),
            ("1/a.jpg,1,2,3,4,1;2,1,0,0", ["data row 2", "annotated twice"]),
            ("1/b.jpg,1,2,3,4,1;2,1,1.5,0", ["data row 2", "valence", "'1.5'", "-1 to 1"]),
            ("1/b.jpg,1,2,3,4,1;2,1,0,nan", ["data row 2", "arousal", "'nan'"]),
            ("1/b.jpg,1,2,3,4,1;2,1,0,-3", ["data row 2", "arousal", "'-3'"]),
            ("1/b.jpg,1,2,3,4,1;2,1,,0", ["data row 2", "valence is empty"]),
            ("1/b.jpg,1,2,3,4,1;2,happy,0,0", ["data row 2", "'happy'", "a code from 0 to 10"]),
            ("1/b.jpg,1,2,3,4,1;2,99999999999999999999,0,0", ["data row 2", "'99999999999999999999'"]),
            ("1/b.jpg,1,2,3,4,1;2,1_0,0,0", ["data row 2", "'1_0'", "a code from 0 to 10"]),
            ("1/b.jpg,1,2,3,4,1;2,1.5,0,0", ["data row 2", "'1.5'", "a code from 0 to 10"]),
            ("1/b.jpg,x,2,3,4,1;2,1,0,0", ["data row 2", "face_x", "'x'"]),
            ("1/b.jpg,1,2,3,4,1;2,1,0", ["data row 2", "8 columns"]),
            (",1,2,3,4,1;2,1,0,0", ["data row 2", "subDirectory_filePath is empty; expected the image"]),
        ],
    )
    def test_a_wrong_row(self, tmp_path, faces, row, said):
        files = training([csv_row("1/a.jpg", code=1, valence=0, arousal=0), row])
        files |= {f"{MANUAL}/1/{name}.jpg": jpeg(faces[0]) for name in "ab"}
        refuse(write_files(tmp_path, files), "training.csv", *said)

    def test_a_row_is_counted_from_its_own_csv(self, tmp_path, faces):
        files = csv_tree(faces, CODES, validation=3)
        name = "Manually_Annotated_file_lists/validation.csv"
        for row, said in (("1/none.jpg,1,2,3,4,1;2,1,0,0", "missing"), ("1/none.jpg,1,2", "3 columns"), ("1/none.jpg,1,2,3,4,1;2,11,0,0", "'11'")):
            tree = files | {name: files[name] + row.encode() + b"\n"}
            refuse(write_files(tmp_path, tree), "validation.csv, data row 4", said)

    @pytest.mark.parametrize(
        ("texts", "said"),
        [(";".join("1" * 134), "134 landmark coordinates"), (";".join(["1"] * 135 + ["x"]), "'x'"), (";".join(["1"] * 135 + ["inf"]), "'inf'")],
    )
    def test_wrong_landmarks(self, tmp_path, faces, texts, said):
        good = csv_row("1/a.jpg", code=1, valence=0, arousal=0)
        files = training([good, f"1/b.jpg,1,2,3,4,{texts},1,0,0"]) | {f"{MANUAL}/1/{name}.jpg": jpeg(faces[0]) for name in "ab"}
        root = write_files(tmp_path, files)
        assert len(affectnet.read(root)[1]) == 2
        refuse(root, "training.csv, data row 2", said, landmarks=True)

    @pytest.mark.parametrize("data", [b"", b"emotion,pixels,Usage\n0,1,Training\n", HEADER.replace("valence", "joy").encode() + b"\n"])
    def test_another_csv(self, tmp_path, faces, data):
        refuse(write_files(tmp_path, csv_tree(faces, CODES, validation=3) | {TRAINING: data}), "training.csv", "expected the columns")

    def test_the_same_image_twice(self, tmp_path, faces):
        files = csv_tree(faces, CODES, validation=3)
        name = next(iter(files))
        refuse(write_files(tmp_path, files | {name.replace(MANUAL, "copy"): files[name]}), "copy", "Remove one")


class TestFolders:
    def test_order_is_by_number_not_by_letter(self, tmp_path, faces):
        _, table = affectnet.read(write_files(tmp_path, folder_tree(faces, CODES, validation=3)))
        assert table["face_id"].tolist()[:4] == [f"affectnet/train_set/{7 * row}" for row in range(4)]
        assert table["source_path"].tolist()[9] == "val_set/images/63.jpg"

    @pytest.mark.parametrize("kind", ["exp", "val", "aro", "lnd"])
    def test_an_image_without_one_of_its_annotations(self, tmp_path, faces, kind):
        files = folder_tree(faces, CODES, validation=3)
        del files[f"train_set/annotations/14_{kind}.npy"]
        refuse(write_files(tmp_path, files), f"14_{kind}.npy is missing", "its image is there")

    @pytest.mark.parametrize(
        ("kind", "array", "said"),
        [
            ("val", np.array("1.01"), "1.01"),
            ("aro", np.array(np.nan), "nan"),
            ("exp", np.array(1.5), "1.5"),
            ("exp", np.array("happy"), "'happy'"),
            ("exp", np.array([1, 2]), "shape (2,)"),
            ("exp", np.array(1j), "1j"),
            ("lnd", np.zeros(134), "shape (134,)"),
            ("lnd", np.full(136, np.nan), "no numbers"),
            ("lnd", np.full(136, "x"), "no numbers"),
        ],
    )
    def test_a_wrong_annotation(self, tmp_path, faces, kind, array, said):
        files = folder_tree(faces, CODES, validation=3) | {f"train_set/annotations/14_{kind}.npy": npy(array)}
        refuse(write_files(tmp_path, files), f"14_{kind}.npy", said, landmarks=True)

    @pytest.mark.parametrize("array", [np.array(3, np.uint8), np.array([3.0]), np.array(b"3"), np.array("3"), np.array([["3"]]), np.array(3, ">i4")])
    def test_any_form_of_one_number(self, tmp_path, faces, array):
        files = folder_tree(faces, CODES, validation=3) | {"train_set/annotations/14_exp.npy": npy(array)}
        assert words(affectnet.read(write_files(tmp_path, files))[1])[2] == "surprise"

    def test_minus_two_is_not_annotated(self, tmp_path, faces):
        files = folder_tree(faces, CODES, validation=3) | {"train_set/annotations/14_val.npy": npy(np.array("-2"))}
        assert affectnet.read(write_files(tmp_path, files))[1]["valence"].isna().tolist() == [row == 2 for row in range(10)]

    @pytest.mark.parametrize("data", [b"", b"x" * 200, npy(np.array("3"))[:-1], npy(np.array("3"))[:40], npy(np.array({}), pickled=True)])
    def test_a_cut_file_or_a_pickle(self, tmp_path, faces, data):
        files = folder_tree(faces, CODES, validation=3) | {"train_set/annotations/14_exp.npy": data}
        refuse(write_files(tmp_path, files), "14_exp.npy", "cut, damaged or a pickle")

    def test_the_same_number_twice(self, tmp_path, faces):
        files = folder_tree(faces, CODES, validation=3)
        refuse(write_files(tmp_path, files | {"train_set/images/14.png": b""}), "14.png", "14.jpg", "Remove one")


class TestFindingTheLayout:
    def test_two_layouts_need_a_choice(self, tmp_path, faces):
        write_files(tmp_path, csv_tree(faces, CODES, validation=3) | folder_tree(faces[:4], CODES[:4], validation=1))
        refuse(tmp_path, "both layouts", "Set the option layout")
        assert len(affectnet.read(tmp_path, layout="folders")[1]) == 4
        _, table = affectnet.read(tmp_path, layout="csv")
        assert words(table) == WORDS

    def test_none(self, tmp_path, faces):
        refuse(write_files(tmp_path, {"a.jpg": jpeg(faces[0])}), "holds no AffectNet", "training.csv or validation.csv or train_set")

    def test_not_the_one_asked_for(self, tmp_path, faces):
        refuse(write_files(tmp_path, csv_tree(faces, CODES, validation=3)), "train_set", layout="folders")

    @pytest.mark.parametrize(("options", "said"), [({"classes": 6}, "classes .* is 6; expected 7 or 8"), ({"layout": "tar"}, "layout .* is 'tar'")])
    def test_wrong_options(self, tmp_path, options, said):
        with pytest.raises(InputError, match=said):
            read_source("affectnet", tmp_path, options)


def test_a_text_of_code_points_that_are_none_is_one_line(tmp_path):
    files = folder_tree(draw_faces(1), [3], validation=0)
    name = next(name for name in files if name.endswith("_exp.npy"))
    wrong = npy(np.array(["1"]))
    files[name] = wrong[:-4] + b"\xff\xff\xff\xff"
    write_files(tmp_path, files)
    with pytest.raises(InputError, match=r"_exp\.npy holds a value of type <U1; expected a code from 0 to 10"):
        affectnet.read(tmp_path)


@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("training_set", "validation")])
def test_parts_in_other_spellings_are_read_and_others_named(tmp_path, train, val):
    files = folder_tree(draw_faces(4), [3, 1, 2, 0], validation=2)
    write_files(tmp_path, {name.replace("train_set", train).replace("val_set", val): content for name, content in files.items()})
    assert affectnet.read(tmp_path)[1]["usage"].tolist() == ["train", "train", "validation", "validation"]
    write_files(tmp_path, {"test_set/images/1.jpg": jpeg(draw_faces(1)[0])})
    with pytest.raises(InputError, match="lies in a part 'test_set'; expected train_set and val_set alone"):
        affectnet.read(tmp_path)
