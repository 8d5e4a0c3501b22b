"""Joining sources: labels and usages are mapped, people stay whole, and nothing is dropped in silence."""

import numpy as np
import pandas as pd
import pytest
from fer2013_files import draw_faces, write_folders

from ferlab.data.preparation.sources import find_below, gather
from ferlab.data.readers import reading as readers
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
from ferlab.paths import InputError


def faces_of(name, count, *, people=0, usage="all", contempt=0, **columns):
    table = pd.DataFrame(
        {
            "face_id": [f"{name}/{number:03d}" for number in range(count)],
            "source": name,
            "source_path": [f"{number}.png" for number in range(count)],
            "usage": usage,
            "target": np.array([number % 7 for number in range(count - contempt)] + [7] * contempt, dtype=np.int64),
            **columns,
        }
    )
    if people:
        table["subject"] = [f"p{number % people}" for number in range(count)]
    return table


@pytest.fixture
def sources(monkeypatch):
    """Readers by name; each picture holds its row in its pixels."""
    tables = {}

    def find(name):
        table = tables[name]
        return lambda raw, **options: (np.arange(len(table), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8), table.copy())

    monkeypatch.setattr(readers, "find_reader", find)
    monkeypatch.setattr(readers, "_check_options", lambda *a, **k: None)
    return tables


def values(gathered):
    return [int(gathered.pictures[row][0, 0]) for row in range(len(gathered.pictures))]


def test_one_source_comes_as_it_is(tmp_path, sources):
    sources["a"] = faces_of("a", 14)
    gathered = gather(tmp_path, {"a": {"dataset": "a"}})
    assert values(gathered) == list(range(14))
    assert gathered.faces["face_id"].tolist() == [f"a/{n:03d}" for n in range(14)]
    assert gathered.expressions == EXPRESSIONS
    assert len(gathered.excluded) == 0


def test_what_a_reader_leaves_out_is_listed_with_its_reason(tmp_path, sources):
    table = faces_of("a", 5)
    sources["a"] = table.assign(excluded=["", "no label", "", "label 9 (uncertain)", ""], target=[0, -1, 2, -1, 4])
    gathered = gather(tmp_path, {"a": {"dataset": "a"}})
    assert values(gathered) == [0, 2, 4]
    assert gathered.excluded[["face_id", "reason"]].to_numpy().tolist() == [["a/001", "no label"], ["a/003", "label 9 (uncertain)"]]
    assert "excluded" not in gathered.faces


def test_labels_are_mapped_or_excluded(tmp_path, sources):
    sources["a"] = faces_of("a", 10, contempt=3)
    assert gather(tmp_path, {"a": {"dataset": "a"}}).expressions == ALL_EXPRESSIONS
    merged = gather(tmp_path, {"a": {"dataset": "a", "labels": {"contempt": "disgust"}}})
    assert (merged.faces["target"] == 1).sum() == 4
    assert merged.expressions == EXPRESSIONS
    dropped = gather(tmp_path, {"a": {"dataset": "a", "labels": {"contempt": None}}})
    assert values(dropped) == list(range(7))
    assert dropped.excluded["reason"].tolist() == ["contempt excluded by the label map"] * 3
    with pytest.raises(InputError, match=r"sources\.a\.labels: 'contemt' is no expression; did you mean 'contempt'"):
        gather(tmp_path, {"a": {"dataset": "a", "labels": {"contemt": None}}})


def test_labels_may_swap(tmp_path, sources):
    sources["a"] = faces_of("a", 7)
    swapped = gather(tmp_path, {"a": {"dataset": "a", "labels": {"sad": "neutral", "neutral": "sad"}}})
    assert swapped.faces["target"].tolist() == [0, 1, 2, 3, 6, 5, 4]


def test_the_true_labels_of_control_faces_are_mapped_as_the_given_ones(tmp_path, sources):
    truth = [2, 4, 6, 2, 2, 6, 6]
    sources["a"] = faces_of("a", 7).assign(true_target=truth)
    swapped = gather(tmp_path, {"a": {"dataset": "a", "labels": {"sad": "neutral", "neutral": "sad", "fear": "surprise"}}})
    assert swapped.faces["true_target"].tolist() == [5, 6, 4, 5, 5, 4, 4]
    without = gather(tmp_path, {"a": {"dataset": "a", "labels": {"fear": None}}}).faces
    assert without["face_id"].tolist() == ["a/000", "a/001", "a/003", "a/004", "a/005", "a/006"]
    assert without["true_target"].isna().tolist() == [True, False, True, True, False, False]
    assert without["true_target"].dropna().tolist() == [4, 6, 6]


def test_usages_are_mapped_or_excluded(tmp_path, sources):
    sources["a"] = faces_of("a", 14, usage=["Training"] * 7 + ["PublicTest"] * 7)
    gathered = gather(tmp_path, {"a": {"dataset": "a", "usages": {"Training": "train", "PublicTest": None}}})
    assert set(gathered.faces["usage"]) == {"train"}
    assert set(gathered.excluded["reason"]) == {"usage PublicTest excluded by the usage map"}
    with pytest.raises(InputError, match=r"sources\.a\.usages: no face has the usage 'Trainin'; did you mean 'Training'"):
        gather(tmp_path, {"a": {"dataset": "a", "usages": {"Trainin": None}}})


def test_joined_sources_follow_each_other_and_their_people_are_not_confused(tmp_path, sources):
    sources["a"] = faces_of("a", 7, people=3, intensity=1.0)
    sources["b"] = faces_of("b", 14, people=3, votes_happy=2)
    sources["c"] = faces_of("c", 7)
    gathered = gather(tmp_path, {"one": {"dataset": "a", "raw": "x"}, "two": {"dataset": "b"}, "three": {"dataset": "c"}})
    assert values(gathered) == [*range(7), *range(14), *range(7)]
    faces = gathered.faces
    assert faces["source_path"].iloc[[0, 7]].tolist() == ["x/0.png", "0.png"]
    assert faces["subject"].nunique() == 6
    assert faces["subject"].iloc[0] == "a/p0"
    assert faces["subject"].iloc[21:].isna().all()
    assert faces["votes_happy"].tolist() == [0] * 7 + [2] * 14 + [0] * 7
    assert faces["intensity"].notna().sum() == 7


def test_a_source_without_landmarks_has_none_and_texts_are_empty(tmp_path, sources):
    points = pd.Series([np.zeros(136, np.float32)] * 7, dtype=object)
    sources["a"], sources["b"] = faces_of("a", 7, landmarks=points, glasses=True, gender="male"), faces_of("b", 7)
    faces = gather(tmp_path, {"one": {"dataset": "a"}, "two": {"dataset": "b"}}).faces
    assert faces["landmarks"].map(lambda value: value is None).tolist() == [False] * 7 + [True] * 7
    assert faces["glasses"].isna().tolist() == [False] * 7 + [True] * 7
    assert faces["gender"].tolist() == ["male"] * 7 + [""] * 7


def test_a_face_that_comes_twice_is_refused(tmp_path, sources):
    sources["a"] = faces_of("a", 7)
    with pytest.raises(InputError, match="'a/000' comes from two sources"):
        gather(tmp_path, {"one": {"dataset": "a"}, "two": {"dataset": "a"}})


def test_the_web_set_is_dealt_by_person(tmp_path, sources):
    sources["web"] = faces_of("web", 258, people=12)
    gathered = gather(tmp_path, {"web": {"dataset": "web", "group_split": {"train": 0.8, "test": 0.2}}}, seed=1)
    assert (gathered.faces.groupby("subject")["usage"].nunique() == 1).all()
    assert (gathered.faces["usage"] == "train").mean() == pytest.approx(0.8, abs=0.05)
    sources["b"] = faces_of("b", 7)
    with pytest.raises(InputError, match=r"sources\.b\.group_split: expected a subject for every face; some have none"):
        gather(tmp_path, {"b": {"dataset": "b", "group_split": {"train": 0.8, "test": 0.2}}})
    with pytest.raises(InputError, match=r"add up to 0\.9; expected 1"):
        gather(tmp_path, {"web": {"dataset": "web", "group_split": {"train": 0.7, "test": 0.2}}})


def test_pictures_put_aside_by_hand_are_listed_with_who_and_why(tmp_path, sources):
    sources["a"] = faces_of("a", 7)
    (tmp_path / "poor.csv").write_text('face_id,why,who\na/003,"hand, over the mouth",EK\na/005,not a face,EK\n')
    gathered = gather(tmp_path, {"a": {"dataset": "a"}}, exclusions="poor.csv")
    assert values(gathered) == [0, 1, 2, 4, 6]
    assert gathered.excluded["reason"].tolist() == ["excluded: hand, over the mouth (EK)", "excluded: not a face (EK)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "poor.csv is missing"),
        ("", "has the columns ''; expected face_id, why, who"),
        ("face_id,why\na/001,blurred\n", r"has the columns 'face_id, why'; expected face_id, why, who\."),
        ("face_id,why,who\na/001,hand, over the mouth,EK\n", "data row 1 .*4 cells; expected 3"),
        ("face_id,why,who\na/001,,EK\n", "data row 1: an empty cell"),
        ("face_id,why,who\na/001,x,EK\na/001,y,EK\n", "data row 2: 'a/001' comes twice"),
        ("face_id,why,who\na/0O1,x,EK\n", "data row 1: no face of the set is called 'a/0O1' .did you mean 'a/001'"),
    ],
)
def test_a_wrong_list_of_exclusions_is_refused(tmp_path, sources, text, said):
    sources["a"] = faces_of("a", 7)
    if text is not None:
        (tmp_path / "poor.csv").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        gather(tmp_path, {"a": {"dataset": "a"}}, exclusions="poor.csv")
    assert "\n" not in str(error.value)


def test_an_unknown_face_in_a_large_set_does_not_list_them_all(tmp_path, sources):
    sources["a"] = faces_of("a", 700)
    (tmp_path / "poor.csv").write_text("face_id,why,who\nsomething else,x,EK\n")
    with pytest.raises(InputError, match="no face of the set is called 'something else'") as error:
        gather(tmp_path, {"a": {"dataset": "a"}}, exclusions="poor.csv")
    assert len(str(error.value)) < 300


def test_a_set_without_faces_says_why(tmp_path, sources):
    sources["a"] = faces_of("a", 3).assign(excluded="no label", target=-1)
    with pytest.raises(InputError, match=r"no face is left in the set.*no label \(3\)"):
        gather(tmp_path, {"a": {"dataset": "a"}})


def test_fer2013_behind_a_link_is_known_to_be(tmp_path):
    write_folders(tmp_path / "elsewhere", draw_faces(4), [0, 3, 0, 3], ["train/a.png", "train/b.png", "test/c.png", "test/d.png"])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "fer2013").symlink_to("../elsewhere")
    assert gather(tmp_path / "raw", {"x": {"dataset": "fer2013"}}).links == ("fer2013",)
    assert gather(tmp_path / "elsewhere", {"x": {"dataset": "fer2013"}}).links == ()


@pytest.mark.parametrize("name", ["../poor.csv", "/tmp/poor.csv", "a/../../poor.csv", "..\\poor.csv"])
def test_what_lies_outside_the_sets_folder_is_not_read(tmp_path, name):
    with pytest.raises(InputError, match=r"exclusions is '.*poor\.csv', which lies outside .*expected a path below it"):
        find_below(tmp_path, name, key="exclusions")
    with pytest.raises(InputError, match=r"sources\.x\.raw is "):
        gather(tmp_path, {"x": {"dataset": "class_folders", "raw": name}})
    assert find_below(tmp_path, "a/poor.csv", key="exclusions") == tmp_path / "a" / "poor.csv"
