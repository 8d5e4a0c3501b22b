"""What the names of folders say, in the spellings that people have."""

import pytest

from ferlab.data.readers.folder_names import EITHER, HINTS, PARTS, SYNONYMS, match_expression, match_part, near_expression, near_part, settle_part
from ferlab.expressions import ALL_EXPRESSIONS

SPELLINGS = {
    "train": "train-48x48 Train training train_set train_data Train-images images_train TrainSet traindata fer2013_train 01_train trn rafdbTrain",
    "validation": "val valid validation val_set Validation_Set dev DevSet validation-images",
    "test": "test Testing test_set FER2013Test testimages raf-db-test testA test_48x48",
    "PublicTest": "PublicTest public_test Public-Test",
    "PrivateTest": "PrivateTest fer2013_privatetest",
    None: "anna web archive images faces dataset CK+48 fold1 latest contest trained2 valentina fitness 3 S001 devon",
}


@pytest.mark.parametrize(("part", "words"), SPELLINGS.items())
def test_parts_are_known_in_their_spellings(part, words):
    assert {word: match_part(word) for word in words.split()} == dict.fromkeys(words.split(), part)


def test_words_for_either_part_take_the_one_that_is_not_there():
    assert set(EITHER) == {"eval", "evaluation", "holdout", "heldout"}
    assert settle_part(match_part("eval_set"), ["train", "eval"]) == "validation"
    assert settle_part(match_part("eval"), ["train", "validation", "eval"]) == "test"
    assert settle_part(match_part("hold-out"), ["train", "holdout"]) == "test"
    assert settle_part(match_part("holdout"), ["train", "test", "holdout"]) == "validation"
    assert settle_part("train", []) == "train"
    assert settle_part(None, []) == ""


@pytest.mark.parametrize(
    ("word", "part"), [("tets", "test"), ("trian", "train"), ("validaton", "validation"), ("train_val", "train"), ("anna", None)]
)
def test_a_slip_of_the_keyboard_is_near_to_a_part(word, part):
    assert match_part(word) is None
    assert near_part(word) == part


def test_words_of_others_are_hints_and_no_matches():
    assert list(HINTS) == list(SYNONYMS) == list(ALL_EXPRESSIONS)
    words = [word for listed in HINTS.values() for word in listed.split()]
    assert len(words) == len(set(words))
    for expression, listed in HINTS.items():
        assert {near_expression(word) for word in listed.split()} == {expression}
        assert {match_expression(word) for word in listed.split()} == {None}


@pytest.mark.parametrize(
    ("word", "expression"),
    [("Joy", "happy"), ("Scared", "fear"), ("3_calm", "neutral"), ("Wuetend", "angry"), ("überrascht", "surprise"), ("U\u0308berrascht", "surprise"),
     ("colere", "angry"), ("喜び", "happy"), ("No Emotion", "neutral"), ("hapy", "happy"), ("bored", None), ("none", None)],
)  # fmt: skip
def test_hints_know_accents_and_their_lack(word, expression):
    assert near_expression(word) == expression


def test_parts_are_named_as_the_vocabulary_has_them():
    assert list(PARTS) == ["train", "validation", "test", "PublicTest", "PrivateTest"]
