"""FER+ as a benchmark: eight classes, Training by any mode, the other parts by majority, nothing lost."""

import numpy as np
import pytest
from fer2013_files import csv_text, draw_faces, votes_text, write_folders

from ferlab.data.readers.fer2013 import read_ferplus as read
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

USAGES = ["Training", "Training", "Training", "PublicTest", "PrivateTest"]
CODES = [0, 3, 6, 1, 3]
VOTES = [
    [0, 0, 0, 0, 2, 0, 0, 8, 0, 0],  # contempt
    [0, 5, 5, 0, 0, 0, 0, 0, 0, 0],  # happy or surprise
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
    [0, 0, 5, 0, 5, 0, 0, 0, 0, 0],
    [6, 0, 0, 4, 0, 0, 0, 0, 0, 0],
]


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "fer2013.csv").write_text(csv_text(draw_faces(5), CODES, USAGES))
    (tmp_path / "fer2013new.csv").write_text(votes_text(USAGES, VOTES))
    return tmp_path


def words(faces):
    return [ALL_EXPRESSIONS[target] if target >= 0 else reason for target, reason in zip(faces["target"], faces["excluded"])]


def test_faces_are_those_of_fer2013_in_their_order_and_the_dropped_stay_with_the_reason(raw):
    images, faces = read(raw)
    np.testing.assert_array_equal(images, draw_faces(5))
    assert words(faces) == ["contempt", "no majority", "not a face", "no majority", "neutral"]
    assert faces["face_id"].tolist()[:2] == ["ferplus/0000000", "ferplus/0000001"]
    assert set(faces["source"]) == {"ferplus"}
    assert faces["usage"].tolist() == USAGES
    assert faces["fer2013_expression"].tolist() == ["angry", "happy", "neutral", "disgust", "happy"]
    assert faces["target"].dtype == np.int64
    assert faces["votes_contempt"].tolist() == [8, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mode": "crossentropy"}, ["contempt", "happy", "not a face", "no majority", "neutral"]),
        ({"mode": "argmax"}, ["contempt", "happy", "not a face", "surprise", "neutral"]),
        ({"test_mode": "argmax"}, ["contempt", "no majority", "not a face", "surprise", "neutral"]),
    ],
)
def test_the_mode_is_for_training_and_the_rest_is_by_majority_unless_told(raw, options, expected):
    assert words(read(raw, **options)[1]) == expected


def test_soft_columns_follow_the_mode_of_each_part(raw):
    soft = read(raw, mode="crossentropy")[1].filter(like="soft_")
    assert list(soft) == [f"soft_{name}" for name in ALL_EXPRESSIONS]
    assert soft.loc[0, "soft_contempt"] == 1  # eight of ten are three quarters
    assert soft.loc[1, ["soft_happy", "soft_surprise"]].tolist() == [0.5, 0.5]
    assert soft.loc[4, "soft_neutral"] == 1
    assert soft.loc[[2, 3]].isna().all(axis=None)
    assert set(soft.dtypes) == {np.dtype("float64")}


def test_folders_that_tell_their_rows_are_the_same_benchmark(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    names = [f"{'train' if usage == 'Training' else 'test'}/{usage}_{row}.png" for row, usage in enumerate(USAGES)]
    write_folders(folder, draw_faces(5), CODES, names)
    (folder / "fer2013new.csv").write_bytes((raw / "fer2013new.csv").read_bytes())
    assert words(read(folder)[1]) == words(read(raw)[1])


def test_without_votes_or_with_an_unknown_mode_it_is_refused_in_one_line(raw):
    for option in ("mode", "test_mode"):
        with pytest.raises(InputError, match=rf"options\.{option} of the dataset 'ferplus' is 'most'; expected 'majority', "):
            read_source("ferplus", raw, {option: "most"})
    (raw / "fer2013new.csv").unlink()
    with pytest.raises(InputError, match=r"fer2013new\.csv is missing; .*README\.md\.$"):
        read(raw)
