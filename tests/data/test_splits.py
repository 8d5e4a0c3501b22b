"""Splits: official where there is one; in ours no subject and no duplicate crosses; near the fractions; the same again every time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.data.splits import assign_splits, crossings, divide_groups, split_rule
from ferlab.expressions import SPLITS
from ferlab.paths import InputError


def table(usages, targets, *, groups=None, **columns):
    groups = groups if groups is not None else np.arange(len(usages))
    return pd.DataFrame({"usage": usages, "target": targets, "duplicate_group": groups, **columns})


def fer2013(counts, *, seed=0, duplicates=0):
    """Faces of seven unequal classes per usage; `duplicates` of them duplicate another face of their usage."""
    rng = np.random.default_rng(seed)
    usages = [usage for usage, count in counts.items() for _ in range(count)]
    faces = table(usages, rng.choice(7, len(usages), p=[0.14, 0.015, 0.14, 0.25, 0.17, 0.115, 0.17]))
    groups = faces["duplicate_group"].to_numpy(copy=True)
    copies = rng.permutation(counts["Training"])[:duplicates]
    groups[copies] = groups[rng.integers(counts["Training"], size=duplicates)]
    return faces.assign(duplicate_group=groups)


def subjects(people, each):
    return table(["control"] * (people * each), np.arange(people * each) % 7, subject=[f"s{person:03d}" for person in np.repeat(range(people), each)])


def test_the_official_split_is_kept_where_all_usages_are_there():
    faces = assign_splits(fer2013({"Training": 50, "PublicTest": 20, "PrivateTest": 30}))
    assert dict(zip(faces["usage"], faces["split"])) == {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
    assert split_rule(faces) == "The official split: Training trains, PublicTest selects, PrivateTest tests."


def test_without_private_test_a_tenth_of_training_selects_and_public_test_tests():
    faces = assign_splits(fer2013({"Training": 5000, "PublicTest": 600}, duplicates=400))
    assert set(faces.loc[faces["usage"] == "PublicTest", "split"]) == {"test"}
    assert set(faces.loc[faces["usage"] == "Training", "split"]) == {"train", "val"}
    rule = split_rule(faces)
    assert rule.startswith("PrivateTest is absent: a tenth of Training selects")
    assert rule.endswith("PublicTest tests; numbers published for PrivateTest are another measurement.")


def test_public_test_is_never_trained_on():
    for usages in ({"Training": 500, "PublicTest": 90}, {"Training": 500, "PublicTest": 90, "PrivateTest": 90}):
        faces = assign_splits(fer2013(usages))
        assert set(faces.loc[faces["split"] == "train", "usage"]) == {"Training"}


def test_without_public_test_private_test_still_tests():
    faces = assign_splits(fer2013({"Training": 500, "PrivateTest": 90}))
    assert set(faces.loc[faces["split"] == "test", "usage"]) == {"PrivateTest"}
    assert split_rule(faces).startswith("PublicTest is absent")


def test_both_of_fer2013s_tests_may_be_scored_together():
    faces = fer2013({"Training": 500, "PublicTest": 90, "PrivateTest": 90})
    both = assign_splits(faces.assign(usage=faces["usage"].replace({"PublicTest": "test"})), val_fraction=0.2)
    assert set(both.loc[both["split"] == "test", "usage"]) == {"test", "PrivateTest"}
    said = split_rule(both)
    assert said.startswith("No part was left to select: 20 % of Training selects")
    assert said.endswith("and PrivateTest and test tests.")


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), fraction=st.sampled_from([0.05, 0.1, 0.25]), duplicates=st.integers(0, 300))
def test_our_tenth_is_stratified_and_parts_no_duplicates(seed, fraction, duplicates):
    faces = assign_splits(fer2013({"Training": 2000, "PublicTest": 50}, seed=seed, duplicates=duplicates), val_fraction=fraction, seed=seed)
    fits = faces[faces["usage"] == "Training"]
    assert (fits.groupby("duplicate_group")["split"].nunique() == 1).all()
    per_class = fits.groupby("target")["split"].agg(lambda split: (split == "val").sum())
    wanted = fits["target"].value_counts().sort_index() * fraction
    assert ((per_class - wanted).abs() <= 2).all()


def test_duplicate_groups_with_several_labels_are_not_parted_and_leave_the_expressions_balanced():
    faces = fer2013({"Training": 5500, "PublicTest": 50}, seed=3)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(2000), np.resize([1, 1, 2, 3, 8], 2000))[:5550])
    faces = assign_splits(faces.assign(duplicate_group=groups), seed=1)
    trains = faces[faces["usage"] == "Training"]
    assert (trains.groupby("duplicate_group")["split"].nunique() == 1).all()
    wanted = trains["target"].value_counts().sort_index() / 10
    assert ((trains.groupby("target")["split"].agg(lambda split: (split == "val").sum()) - wanted).abs() <= 4).all()
    assert (crossings(faces)["rule"] == "official").all()


def test_duplicates_go_to_val_as_often_as_to_train():
    faces = assign_splits(fer2013({"Training": 20_000, "PublicTest": 50}, duplicates=3000))
    fits = faces[faces["usage"] == "Training"]
    share = fits["duplicate_group"].duplicated(keep=False).groupby(fits["split"]).mean()
    assert share["val"] == pytest.approx(share["train"], rel=0.1)


@settings(max_examples=12, deadline=None)
@given(people=st.integers(5, 40), each=st.integers(3, 21), seed=st.integers(0, 99))
def test_subjects_stay_whole_and_shares_are_near(people, each, seed):
    faces = assign_splits(subjects(people, each), val_fraction=0.2, test_fraction=0.2, seed=seed)
    assert (faces.groupby("subject")["split"].nunique() == 1).all()
    shares = faces["split"].value_counts(normalize=True)
    assert shares["val"] == pytest.approx(0.2, abs=1 / people)
    assert shares["test"] == pytest.approx(0.2, abs=1 / people)


def test_subjects_that_share_a_picture_stay_together():
    faces = subjects(20, 7)
    faces.loc[[0, 7, 14], "duplicate_group"] = 1000  # subjects 0, 1 and 2
    for seed in range(10):
        split = assign_splits(faces, seed=seed).groupby("subject")["split"].first()
        assert split["s000"] == split["s001"] == split["s002"]


def test_three_subjects_are_enough_and_two_are_not():
    assert set(assign_splits(subjects(3, 7))["split"]) == set(SPLITS)
    with pytest.raises(InputError, match=r"The split '\w+' is left without faces"):
        assign_splits(subjects(2, 7))


@pytest.mark.parametrize("targets", [[0, 1, 2], [0, 0, 1], [0, 0, 0]])
def test_three_subjects_of_one_expression_each_are_enough(targets):
    faces = subjects(3, 7).assign(target=np.repeat(targets, 7))
    assert set(assign_splits(faces)["split"]) == set(SPLITS)


@pytest.mark.parametrize("seed", range(40))
def test_a_split_of_ours_leaves_none_empty_where_there_are_three_groups(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, rng.integers(3, 8))
    target = np.concatenate([rng.choice(rng.permutation(7)[: rng.integers(1, 4)], size) for size in sizes])
    faces = pd.DataFrame({"target": target, "subject": np.repeat(np.arange(len(sizes)), sizes).astype(str)})
    part = divide_groups(faces, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=seed)
    assert set(part) == set(SPLITS)
    assert (pd.Series(part).groupby(faces["subject"]).nunique() == 1).all()


def test_faces_without_usage_or_subject_are_split_by_expression():
    faces = assign_splits(table([""] * 1000, np.arange(1000) % 5), val_fraction=0.1, test_fraction=0.2)
    assert faces.groupby("split")["target"].value_counts().unstack().loc[list(SPLITS)].to_numpy().tolist() == [[140] * 5, [20] * 5, [40] * 5]


def test_numbers_of_sequences_may_repeat_between_subjects():
    faces = subjects(20, 7).assign(sequence="001")
    assert set(assign_splits(faces)["split"]) == set(SPLITS)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    faces = fer2013({"Training": 2000, "PublicTest": 50}, duplicates=100)
    first, again, other = (assign_splits(faces, seed=seed)["split"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_table_given_is_left_as_it_was():
    faces = fer2013({"Training": 100, "PublicTest": 50})
    before = faces.copy()
    assign_splits(faces)
    pd.testing.assert_frame_equal(faces, before)


def test_a_split_without_faces_is_named():
    with pytest.raises(InputError, match="The split 'test' is left without faces, of 100 in Training"):
        assign_splits(fer2013({"Training": 100}))
    with pytest.raises(InputError, match="The split 'train' is left without faces, of 10 in PublicTest"):
        assign_splits(table(["PublicTest"] * 10, np.arange(10) % 7))


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(InputError, match="leave nothing to train on"):
        assign_splits(subjects(10, 7), val_fraction=0.5, test_fraction=0.5)


def test_crossings_by_hand():
    faces = table(
        ["Training", "Training", "Training", "PublicTest", "PublicTest"],
        [0, 0, 1, 0, 0],
        groups=["a", "b", "a", "a", "c"],
        split=["train", "train", "val", "test", "test"],
    )
    found = {(row["first"], row["second"]): (row["faces"], row["rule"]) for _, row in crossings(faces).iterrows()}
    assert found == {
        ("train", "val"): (1, "ours"),
        ("val", "train"): (1, "ours"),
        ("train", "test"): (1, "official"),
        ("val", "test"): (1, "official"),
        ("test", "train"): (1, "official"),
        ("test", "val"): (1, "official"),
    }


def test_a_crossing_in_the_official_split_is_reported_not_refused():
    faces = assign_splits(table(["Training", "PublicTest", "PrivateTest"], [0, 0, 0], groups=["a", "a", "b"]))
    assert crossings(faces)[["first", "second", "faces", "rule"]].to_numpy().tolist() == [
        ["train", "val", 1, "official"],
        ["val", "train", 1, "official"],
    ]


def test_a_crossing_in_a_split_of_ours_is_refused(monkeypatch):
    monkeypatch.setattr("ferlab.data.splits._groups", lambda faces, keys: np.arange(len(faces)))
    with pytest.raises(InputError, match=r"faces of val share their subject with train; expected none in a split of ours"):
        assign_splits(subjects(20, 14))


def test_the_rule_of_a_split_by_subject_counts_them():
    faces = subjects(10, 7)
    faces["split"] = np.repeat(["train"] * 7 + ["val"] + ["test"] * 2, 7)
    assert split_rule(faces) == "By subject: of 10 subjects, 7 train, 1 val, 2 test; no subject is in two splits."


def test_the_rule_of_leaving_one_subject_out_counts_subjects_and_no_commas():
    faces = subjects(4, 7)
    faces["subject"] = faces["subject"].str.replace("s00", "Doe, John ")
    faces["split"] = np.repeat(["train", "train", "val", "test"], 7)
    rule = split_rule(faces, rule="leave_one_subject_out")
    assert rule.startswith("Leave one subject out: test is Doe, John 3, the other 3 subjects train and select;")


def test_other_words_for_official_parts_do_the_same():
    raf = assign_splits(table(["train"] * 700 + ["test"] * 91, np.arange(791) % 7))
    assert set(raf.loc[raf["usage"] == "test", "split"]) == {"test"}
    assert set(raf.loc[raf["usage"] == "train", "split"]) == {"train", "val"}
    assert split_rule(raf) == (
        "The dataset has no part that selects: a tenth of train selects, stratified by expression and grouped by duplicates, "
        "and test tests."
    )
    affectnet = assign_splits(table(["train"] * 500 + ["validation"] * 90, np.arange(590) % 7))
    assert set(affectnet.loc[affectnet["usage"] == "validation", "split"]) == {"test"}


def test_auxiliary_faces_fit_beside_an_official_split():
    faces = table(["Training"] * 70 + ["PublicTest"] * 14 + ["PrivateTest"] * 14 + ["train"] * 21, np.arange(119) % 7)
    faces["subject"] = [None] * 98 + [f"ckplus/S{number:03d}" for number in range(21)]
    split = assign_splits(faces)
    assert set(split.loc[98:, "split"]) == {"train"}
    assert split_rule(split) == "The dataset's own split: train is Training and train, val PublicTest, test PrivateTest."


def test_an_official_split_refuses_a_usage_it_does_not_know():
    faces = table(["Training"] * 7 + ["PublicTest"] * 7 + ["all"] * 7, np.arange(21) % 7)
    with pytest.raises(InputError, match="row 14 has the usage 'all'"):
        assign_splits(faces)


def test_every_fold_of_subjects_tests_each_subject_once():
    faces = subjects(13, 7)
    tested = []
    for fold in range(4):
        split = assign_splits(faces, rule="group_k_fold", folds=4, fold=fold, seed=3)
        assert (split.groupby("subject")["split"].nunique() == 1).all()
        assert set(split["split"]) == set(SPLITS)
        tested += sorted(set(split.loc[split["split"] == "test", "subject"]))
    assert sorted(tested) == sorted(set(faces["subject"]))


def test_leaving_one_subject_out_tests_that_one():
    faces = subjects(10, 7)
    split = assign_splits(faces, rule="leave_one_subject_out", fold=4)
    assert set(split.loc[split["split"] == "test", "subject"]) == {"s004"}
    assert set(split.loc[split["split"] != "test", "subject"]) == set(faces["subject"]) - {"s004"}
    assert split_rule(split, rule="leave_one_subject_out") == (
        "Leave one subject out: test is s004, the other 9 subjects train and select; no subject is in two splits."
    )


def test_a_subject_that_shares_a_picture_with_the_one_excluded_is_excluded_too():
    faces = subjects(10, 7)
    faces.loc[[28, 35], "duplicate_group"] = 1000  # subjects 4 and 5
    split = assign_splits(faces, rule="leave_one_subject_out", fold=4)
    assert set(split.loc[split["split"] == "test", "subject"]) == {"s004", "s005"}


@pytest.mark.parametrize(("rule", "change", "said"), [
    ("group_k_fold", {"folds": 1}, "fold 0 of 1 folds over 10 groups"),
    ("group_k_fold", {"folds": 11}, "2 to 10 folds"),
    ("group_k_fold", {"folds": 5, "fold": 5}, "fold 5 of 5 folds"),
    ("leave_one_subject_out", {"fold": 10}, "expected 0 to 9"),
])  # fmt: skip
def test_a_fold_that_is_not_there_is_refused(rule, change, said):
    with pytest.raises(InputError, match=said):
        assign_splits(subjects(10, 7), rule=rule, **change)


def test_random_frames_part_subjects_and_say_so():
    faces = assign_splits(subjects(20, 15), rule="random_frames", val_fraction=0.1, test_fraction=0.2, seed=1)
    assert faces["split"].value_counts().to_dict() == {"train": 210, "test": 60, "val": 30}
    crossed = crossings(faces, rule="random_frames")
    assert set(crossed["rule"]) == {"asked for"}
    assert crossed.query("first == 'train' and second == 'test'")["faces"].item() > 50
    assert "At random over frames" in split_rule(faces, rule="random_frames")


def test_the_same_faces_by_groups_are_not_parted():
    faces = assign_splits(subjects(20, 15), rule="groups", seed=1)
    assert len(crossings(faces)) == 0
