"""Class folders: names, parts, subjects; what has no label stays in the table with the reason, and a slip of the keyboard is an error."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from ferlab.data.readers.class_folders import NO_PART, read
from ferlab.data.readers.folder_names import SYNONYMS, match_expression, near_expression
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError


def write(root, *names):
    """One picture of its own grey level for each name."""
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8 + level, 9), 10 * level, np.uint8)).save(root / name)


def labels_of(root, **options):
    faces = read(root, **options)[1]
    return dict(zip(faces["source_path"], [ALL_EXPRESSIONS[target] if target >= 0 else None for target in faces["target"]]))


@pytest.mark.parametrize(
    ("word", "expression"),
    [("0 angry", "angry"), ("6 neutral", "neutral"), ("3_Happiness", "happy"), (" SADNESS ", "sad"), ("Surprised", "surprise"), ("2-fear", "fear"),
     ("contempt", "contempt"), ("3", None), ("bored", None), ("hapy", None), ("", None)],
)  # fmt: skip
def test_a_folders_name_is_matched_whatever_its_case_and_number(word, expression):
    assert match_expression(word) == expression


def test_every_synonym_names_one_expression_and_is_near_to_no_other():
    assert list(SYNONYMS) == [*ALL_EXPRESSIONS]
    words = [word for expression in SYNONYMS.values() for word in expression]
    assert len(words) == len(set(words))
    assert all(near_expression(word) == expression for expression, words in SYNONYMS.items() for word in words)
    assert near_expression("bored") is near_expression("confused") is near_expression("bad") is None


def test_pictures_come_in_the_order_of_their_paths_with_ids_and_their_own_pixels(tmp_path):
    write(tmp_path, "sad/b.png", "Anger/z.PNG", "Anger/a b'ü.jpg", "sad/line\nbreak.png")
    pictures, faces = read(tmp_path, name="mine")
    assert faces["source_path"].tolist() == ["Anger/a b'ü.jpg", "Anger/z.PNG", "sad/b.png", "sad/line\nbreak.png"]
    assert faces["face_id"].tolist()[1] == "mine/Anger/z.PNG"
    assert set(faces["source"]) == {"mine"}
    assert set(faces["usage"]) == {"all"}
    assert faces["target"].tolist() == [0, 0, 4, 4]
    assert faces["target"].dtype == np.int64
    assert [picture.shape for picture in pictures] == [(10, 9), (9, 9), (8, 9), (11, 9)]
    assert [int(picture[0, 0]) for picture in pictures] == [20, 10, 0, 30]


def test_the_same_files_give_the_same_table_from_a_zip_below_another_folder(tmp_path):
    write(tmp_path / "lying", "train/sad/b.png", "val/angry/a.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("val/angry/a.png", "train/sad/b.png"):
            archive.write(tmp_path / "lying" / name, f"lead/{name}")
    lying, zipped = read(tmp_path / "lying")[1], read(tmp_path / "x.zip")[1]
    for column in ("usage", "target", "excluded"):
        assert lying[column].tolist() == zipped[column].tolist()
    assert zipped["source_path"].tolist() == ["lead/train/sad/b.png", "lead/val/angry/a.png"]


@pytest.mark.parametrize(
    ("folders", "usages"),
    [
        (["train", "validation", "test"], ["train", "validation", "test"]),
        (["Training", "valid", "Testing"], ["train", "validation", "test"]),
        (["TRAIN", "val"], ["train", "validation"]),
        (["Training", "PublicTest", "PrivateTest"], ["Training", "PublicTest", "PrivateTest"]),
        (["train", "PublicTest"], ["Training", "PublicTest"]),
        (["images/train", "images/test"], ["train", "test"]),
        (["lead"], ["all"]),
        (["train_set", "val_set", "test_set"], ["train", "validation", "test"]),
        (["Train-images", "FER2013Test"], ["train", "test"]),
        (["train", "eval", "test"], ["train", "validation", "test"]),
        (["train", "dev", "eval"], ["train", "validation", "test"]),
        (["lead/images_train", "lead/holdout"], ["train", "test"]),
    ],
)
def test_usage_is_the_part_that_the_class_folders_lie_in(tmp_path, folders, usages):
    write(tmp_path, *(f"{folder}/happy/x.png" for folder in folders))
    faces = read(tmp_path)[1]
    found = {path.rsplit("/", 2)[0]: usage for path, usage in zip(faces["source_path"], faces["usage"])}
    assert found == dict(zip(folders, usages))
    assert set(faces["excluded"]) == {""}


def test_parts_may_lie_below_the_class_folders(tmp_path):
    write(tmp_path, "happy/train_set/1.png", "happy/test_set/1.png", "sad/train_set/1.png")
    assert read(tmp_path)[1]["usage"].tolist() == ["test", "train", "train"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["a/happy/1.png", "b/happy/1.png"],
            r"'a', 'b' over class folders are no parts that are known; .*parts: \{'a': \.\.\., 'b': \.\.\.\}.*subject",
        ),
        (["lead/a/happy/1.png", "lead/b/happy/1.png"], "'a', 'b' over class folders"),
        (["train/happy/1.png", "extra/happy/1.png"], "'extra' over class folders is no part that is known"),
        (["train/happy/1.png", "tets/happy/1.png"], r"'tets' .*\(did you mean test by 'tets'\?\).*parts: \{'tets': test\}"),
        (["happy/1.png", "sad/1.png", "augmented/happy/1.png"], "'augmented' over class folders"),
    ],
)
def test_an_unknown_name_over_class_folders_is_asked_about(tmp_path, names, said):
    write(tmp_path, *names)
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_parts_say_what_such_folders_hold(tmp_path):
    write(tmp_path, "a/happy/1.png", "b/happy/1.png", "c/happy/1.png", "d/sad/1.png")
    faces = read(tmp_path, parts={"a": "train", "b": "test", "c": None, "d": "all"})[1]
    assert faces["usage"].tolist() == ["train", "test", "all", "all"]
    assert faces["excluded"].tolist() == ["", "", "part 'c' excluded", ""]
    assert faces["target"].tolist() == [3, 3, -1, 4]
    assert set(read(tmp_path, parts=dict.fromkeys("abcd", "all"))[1]["usage"]) == {"all"}
    assert set(read(tmp_path, subject="^([a-d])/")[1]["usage"]) == {"all"}  # the folders are people


def test_words_of_others_are_asked_about_all_at_once(tmp_path):
    write(tmp_path, "Joy/1.png", "Scared/1.png", "sad/1.png", "bored/1.png")
    with pytest.raises(InputError, match=r"labels: \{'Joy': happy, 'Scared': fear, 'bored': null\}"):
        read(tmp_path)
    write(tmp_path / "german", "freude/1.png", "wuetend/1.png")
    with pytest.raises(
        InputError, match=r"no folder that names an expression, but 'freude', 'wuetend'.*labels: \{'freude': happy, 'wuetend': angry\}"
    ):
        read(tmp_path / "german")


def test_labels_in_text_files_or_lists_are_pointed_to(tmp_path):
    write(tmp_path / "yolo", "train/images/1.png")
    (tmp_path / "yolo" / "train" / "labels").mkdir()
    (tmp_path / "yolo" / "train" / "labels" / "1.txt").write_text("3 0.5 0.5 1 1")
    with pytest.raises(InputError, match=r"The labels are in text files, as 'train/labels/1\.txt': set dataset: listed"):
        read(tmp_path / "yolo")
    write(tmp_path / "list", "images/1.png")
    (tmp_path / "list" / "labels.csv").write_text("file,label\n1.png,happy\n")
    with pytest.raises(InputError, match=r"where a file lists them, as 'labels\.csv', set dataset: listed"):
        read(tmp_path / "list")


def test_what_has_no_label_of_ours_stays_in_the_table_with_the_reason(tmp_path):
    write(tmp_path, "loose.png", "train/loose.png", "train/sad/p1/a.png", "train/bored/a.png", "train/bored/p1/b.png")
    write(tmp_path, "test/x.png", "test/3/x.png", "happy/x.png")
    (tmp_path / "train" / "sad" / "notes.txt").write_text("no picture")
    faces = read(tmp_path)[1].set_index("source_path")
    assert faces["excluded"].to_dict() == {
        "loose.png": "no label",
        "train/loose.png": "no label",
        "train/sad/p1/a.png": "",
        "train/bored/a.png": "label 'bored' is none of ours",
        "train/bored/p1/b.png": "label 'bored' is none of ours",
        "test/x.png": "no label",
        "test/3/x.png": "label '3' is none of ours",
        "happy/x.png": NO_PART,
    }
    assert (faces["target"] == -1).tolist() == (faces["excluded"] != "").tolist()


def test_labels_say_what_other_folders_hold(tmp_path):
    write(tmp_path, "1/a.png", "2/a.png", "bored/a.png", "hapy/a.png", "contempt/a.png")
    found = labels_of(tmp_path, labels={1: "anger", 2: "contempt", "hapy": "happy", "contempt": None})
    assert found == {"1/a.png": "angry", "2/a.png": "contempt", "hapy/a.png": "happy", "bored/a.png": None, "contempt/a.png": None}
    excluded = read(tmp_path, labels={1: "anger", "hapy": None, "bored": None})[1].set_index("source_path")["excluded"]
    assert excluded[["hapy/a.png", "bored/a.png"]].tolist() == ["label 'hapy' excluded", "label 'bored' excluded"]


def test_a_subject_is_found_in_the_name_or_the_path(tmp_path):
    write(tmp_path, "sad/S01_1.png", "sad/S02_1.png", "none.png")
    faces = read(tmp_path, subject=r"^(S\d+)_")[1]
    assert faces["subject"].tolist() == ["", "S01", "S02"]  # none.png has no label and needs no subject
    write(tmp_path / "deep", "anna/sad/1.png", "ben/happy/1.png")
    assert read(tmp_path / "deep", subject=r"^([^/]+)/")[1]["subject"].tolist() == ["anna", "ben"]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ([], {}, "holds no pictures"),
        (["a/1.png", "b/2.png"], {}, "no folder that names an expression, but 'a', 'b'"),
        (["1.png"], {}, "no folder that names an expression, but none"),
        (["0/1.png", "1/2.png"], {}, "Name them in labels"),
        (["happy/1.png", "hapy/2.png"], {}, r"'hapy' is no expression's folder \(did you mean 'happy'\?\)"),
        (["train/sad/1.png", "train/suprise/2.png"], {}, r"'train/suprise' is no expression's folder \(did you mean 'surprise'\?\)"),
        (["sad/1.png"], {"labels": {"sat": "sad"}}, r"the folder 'sat', which .* does not hold \(did you mean 'sad'\?\)"),
        (["sad/1.png"], {"labels": {"sad": "sorrow"}}, "maps 'sad' to 'sorrow'; expected angry"),
        (["a/sad/1.png"], {"parts": {"a": "some"}}, "option parts maps 'a' to 'some'; expected train, validation, test, all, or null"),
        (["a/sad/1.png"], {"parts": {"b": "train"}}, "option parts names the folder 'b', which"),
        (["sad/1.png"], {"subject": "("}, "is no regular expression"),
        (["sad/1.png"], {"subject": "S"}, "has 0 groups; expected one"),
        (["sad/new\nline.png"], {"subject": "(S)"}, r"new\\nline\.png: the option subject, '\(S\)', finds no subject"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, names, options, said):
    write(tmp_path, *names)
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, **options)
    assert "\n" not in str(error.value)


def test_an_unreadable_picture_is_excluded_without_its_absolute_path(tmp_path):
    write(tmp_path, "happy/1.png", "sad/2.png")
    (tmp_path / "sad" / "2.png").write_bytes((tmp_path / "sad" / "2.png").read_bytes()[:50])
    pictures, _ = read(tmp_path)
    with pytest.raises(InputError, match=r"sad/2\.png is cut") as error:
        pictures[1]
    assert error.value.reason.startswith("cut or damaged (")
    assert str(tmp_path) not in error.value.reason
