from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.data.regions import Registration
from ferlab.data.store import Store
from ferlab.error_analysis.other_sets import score_other_sets
from ferlab.error_analysis.perturbed import PerturbedImages, conditions_for, kind_of, perturb, sample_rows, template_of
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")
RNG = np.random.default_rng(0)
PICTURES = np.stack([np.kron(RNG.integers(0, 256, (12, 12)), np.ones((4, 4))) for _ in range(60)]).astype(np.uint8)


def table(counts: dict[int, int], *, split: str = "val", start: int = 0) -> pd.DataFrame:
    targets = [target for target, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"face_id": [f"set/{start + n:04d}" for n in range(len(targets))], "target": targets, "split": split})


def test_a_sample_has_every_expression_with_its_share():
    faces = pd.concat([table({0: 300, 1: 60, 2: 240}), table({0: 50}, split="test", start=900)], ignore_index=True)
    rows = sample_rows(faces, "val", most=100)
    assert faces["target"].iloc[rows].value_counts().to_dict() == {0: 50, 2: 40, 1: 10}
    assert (faces["split"].iloc[rows] == "val").all()
    assert (np.diff(rows) > 0).all()
    assert len(sample_rows(faces, "val", most=10_000)) == 600


def test_which_faces_are_sampled_depends_on_ids_and_seed_and_not_on_the_order():
    faces = table({0: 100, 1: 50})
    chosen = set(faces["face_id"].iloc[sample_rows(faces, "val", most=30)])
    shuffled = faces.sample(frac=1, random_state=1)
    assert set(shuffled["face_id"].iloc[sample_rows(shuffled, "val", most=30)]) == chosen
    assert set(faces["face_id"].iloc[sample_rows(faces, "val", most=30, seed=1)]) != chosen
    assert set(faces["face_id"].iloc[sample_rows(faces, "val", most=20)]) < chosen, "a larger sample holds the smaller one"


def test_images_made_on_access_are_those_of_each_condition():
    conditions = [("clean", 0.0), ("fog", 3.0), ("mask", 1.0), ("rotation", 20.0)]
    template, ids = template_of(Registration(), (48, 48)), list("abcdefg")
    images = PerturbedImages(PICTURES[:7], ids, conditions, template, 0)
    assert (len(images), images.shape, images.ndim) == (28, (28, 48, 48), 3)
    whole = np.concatenate([perturb(PICTURES[:7], condition, template=template, face_ids=ids) for condition in conditions])
    np.testing.assert_array_equal(np.concatenate([images[start : start + 5] for start in range(0, 28, 5)]), whole)
    np.testing.assert_array_equal(whole[:7], PICTURES[:7])


def test_every_condition_has_a_kind_and_levels_fit_the_faces():
    small, large = conditions_for((10, 48, 48)), conditions_for((10, 224, 224, 3))
    assert small[0] == ("clean", 0.0)
    kinds = pd.Series([kind_of(name) for name, _ in small]).value_counts().to_dict()
    assert kinds == {"corruption": 75, "displacement": 23, "occlusion": 8, "clean": 1}
    assert {name for name, _ in large} - {name for name, _ in small} == {"desaturation"}
    assert ("resolution", 96.0) in large
    assert len(set(small)) == len(small)


def store(
    rows: range, targets: list[int], split: list[str], *, names: tuple[str, ...] = NAMES, source: str = "own", pictures: np.ndarray = PICTURES
) -> Store:
    faces = pd.DataFrame({"face_id": [f"{source}/{n}" for n in rows], "target": targets, "split": split, "duplicate_group": list(rows)})
    return Store(pictures[list(rows)], faces, names)


def certain(preds: dict[int, list[float]]):
    """Predict by the first pixel of a face."""

    def predict(images) -> np.ndarray:
        return np.array([preds[int(picture[0, 0])] for picture in np.asarray(images[: len(images)])], np.float32)

    return predict


def test_another_dataset_is_scored_on_shared_expressions_without_training_faces():
    own = store(range(30), [0, 1, 2] * 10, ["train"] * 24 + ["val"] * 6)
    own.faces.loc[28, "duplicate_group"] = 4  # a happy val face with a duplicate in train
    pictures = PICTURES.copy()
    pictures[40], pictures[41] = PICTURES[3], PICTURES[5][:, ::-1]  # an exact and a mirrored copy of training faces
    pictures[42] = np.clip(PICTURES[7].astype(int) + 6, 0, 255)  # and a brighter one
    other = store(range(40, 52), [0, 1] * 4 + [2] * 4, ["val"] * 12, names=("sad", "happy", "fear"), source="other", pictures=pictures)
    everything = np.concatenate([PICTURES, pictures])
    answers = {int(picture[0, 0]): [0.5, 0.2, 0.3] for picture in everything}
    rows, facts = score_other_sets(own, {"b": other}, split="val", predict=certain(answers), trained_on=("train",))
    counts = {"faces": 5, "duplicates": 3, "own_duplicates": 1, "lacking": 4}
    assert facts["b"] == {**counts, "expressions": ["happy", "sad"], "prepared_alike": True}
    assert list(rows.loc[rows["set"] == "", "face_id"]) == ["own/25", "own/26", "own/29"]
    scored = rows[rows["set"] == "b"]
    assert list(scored["face_id"]) == [f"other/{n}" for n in range(43, 48)]
    assert list(scored["target"]) == [1, 2, 1, 2, 1], "in the order of the run's own expressions"
    assert set(rows["pred"]) == {2}, "angry, the most likely of all, is not among the shared expressions"
    np.testing.assert_allclose(rows["prob"], np.where(rows["target"] == 2, 0.6, 0.4), rtol=1e-5)
    assert set(rows.loc[rows["set"] == "", "target"]) == {1, 2}


def test_a_run_that_was_trained_on_the_split_is_scored_on_it_nevertheless():
    own, other = (store(rows, [0, 1, 2] * 4, ["val"] * 12, source=name) for name, rows in (("own", range(12)), ("b", range(40, 52))))
    predict = certain({int(picture[0, 0]): [1.0, 0.0, 0.0] for picture in PICTURES})
    rows, facts = score_other_sets(own, {"b": other}, split="val", predict=predict, trained_on=("train", "val"))
    assert ((rows["set"] == "").sum(), facts["b"]["own_duplicates"]) == (12, 0)
    own.faces["duplicate_group"] = 0
    own.faces.loc[0, "split"] = "train"
    with pytest.raises(InputError, match="every val face of the run's own set has a duplicate among its training faces"):
        score_other_sets(own, {"b": other}, split="val", predict=predict, trained_on=("train",))


def test_a_dataset_that_shares_no_two_expressions_or_has_no_new_face_is_refused():
    own = store(range(30), [0, 1, 2] * 10, ["train"] * 24 + ["val"] * 6)
    predict = certain({int(picture[0, 0]): [1.0, 0.0, 0.0] for picture in PICTURES})
    strange = store(range(40, 46), [0, 1] * 3, ["val"] * 6, names=("fear", "sad"), source="other")
    with pytest.raises(InputError, match="shares fewer than two expressions"):
        score_other_sets(own, {"b": strange}, split="val", predict=predict, trained_on=("train",))
    same = store(range(6), [0, 1, 2] * 2, ["val"] * 6)
    with pytest.raises(InputError, match=r"none of its val faces can be scored: 0 have expressions .* 6 are among its training faces"):
        score_other_sets(own, {"b": same}, split="val", predict=predict, trained_on=("train",))
