"""The 28,821-image folder: known by its counts, refused as FER2013, read where it is asked for."""

import numpy as np
import pytest
from PIL import Image

from ferlab.data.readers import fer2013, fer2013_forms, fer2013_reshuffled
from ferlab.data.readers.fer2013_forms import RESHUFFLED_COUNTS
from ferlab.data.readers.fer2013_reshuffled import read
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

SMALL = {
    "train": dict(zip(EXPRESSIONS, (3, 1, 2, 4, 2, 1, 2))),
    "validation": dict(zip(EXPRESSIONS, (1, 1, 1, 2, 1, 1, 1))),
}


def write(root, *, parts=("train", "validation"), more=0):
    for part in parts:
        for expression, count in SMALL[part].items():
            (root / part / expression).mkdir(parents=True)
            for number in range(count + more):
                Image.fromarray(np.full((48, 48), number, np.uint8)).save(root / part / expression / f"{number}.jpg")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(fer2013_reshuffled, "RESHUFFLED_COUNTS", SMALL)
    monkeypatch.setattr(fer2013_forms, "RESHUFFLED_COUNTS", SMALL)


# As FER-Sys prints its Table 1.
FERSYS_TABLE_1 = {"happy": 7164, "sad": 3205, "angry": 4938, "surprise": 4982, "neutral": 4103, "disgust": 436, "fear": 3993}


def test_counts_are_those_of_the_folder_and_the_paper_names_five_of_them_otherwise():
    assert {part: sum(counts.values()) for part, counts in RESHUFFLED_COUNTS.items()} == {"train": 28_821, "validation": 7_066}
    train = RESHUFFLED_COUNTS["train"]
    assert {name for name in EXPRESSIONS if FERSYS_TABLE_1[name] != train[name]} == {"angry", "fear", "sad", "surprise", "neutral"}
    assert sorted(FERSYS_TABLE_1.values()) == sorted(train.values())
    assert RESHUFFLED_COUNTS["validation"]["disgust"] == 111


@pytest.mark.parametrize("folder", ["images", "fer2013/images", "."])
@pytest.mark.parametrize("parts", [("train",), ("train", "validation"), ("validation",)])
def test_it_is_refused_as_fer2013_with_the_reason(tmp_path, small, folder, parts):
    write(tmp_path / folder, parts=parts)
    (tmp_path / folder / "train").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=r"reshuffled copy of FER2013; its parts mix Training.*fer2013_reshuffled") as error:
        fer2013.read(tmp_path)
    assert "\n" not in str(error.value)


def test_another_folder_is_not_taken_for_it(tmp_path, small):
    write(tmp_path, more=1)
    with pytest.raises(InputError, match="test is missing"):
        fer2013.read(tmp_path)


def test_read_by_its_name_it_has_both_parts(tmp_path, small):
    write(tmp_path / "images")
    pictures, faces = read(tmp_path)
    assert faces["usage"].value_counts().to_dict() == {"train": 15, "validation": 8}
    assert set(faces["source"]) == {"fer2013_reshuffled"}
    assert faces["face_id"].iloc[0] == "fer2013_reshuffled/images/train/angry/0.jpg"
    assert set(faces["excluded"]) == {""}
    assert pictures[0].shape == (48, 48)


@pytest.mark.parametrize("whole", [True, False])
def test_train_alone_has_the_usage_all(tmp_path, small, whole):
    write(tmp_path, parts=("train", "validation") if whole else ("train",))
    faces = read(tmp_path, validation=False)[1]
    kept = faces[faces["excluded"] == ""]
    assert len(kept) == 15
    assert set(kept["usage"]) == {"all"}
    assert (faces["excluded"] == "validation excluded").sum() == (8 if whole else 0)
    assert set(faces.loc[faces["excluded"] != "", "target"]) <= {-1}
    assert set(read(tmp_path / "train")[1]["usage"]) == {"all"}


def test_a_folder_of_other_counts_is_refused_under_this_name(tmp_path, small):
    write(tmp_path, more=1)
    with pytest.raises(InputError, match=r"train: 4 angry, 2 disgust.*expected 3 angry, 1 disgust.*not the 28,821-image folder"):
        read(tmp_path)
