"""What a split is to a run, under every setting that decides it."""

from __future__ import annotations

import pytest

from ferlab.roles import Exposure, joint, leak_sentence, planned, recorded

# select, refit: the roles of train, val and test
ROLES = {
    ("val", False): ("trained", "selected_on", "untouched"),
    ("val", True): ("trained", "trained", "untouched"),
    ("test", False): ("trained", "untouched", "selected_on"),
    ("none", False): ("trained", "trained", "untouched"),
}


@pytest.mark.parametrize(("setting", "roles"), ROLES.items())
def test_the_settings_of_a_run_decide_the_role_of_each_split(setting, roles):
    select, refit = setting
    seen = planned(select, refit=refit)
    assert tuple(seen.role(split) for split in ("train", "val", "test")) == roles
    assert seen.role("test_dedup") == seen.role("test_dedup") == seen.role("test")
    assert recorded({"trained_on": list(seen.trained_on), "selected_on": list(seen.selected_on)}) == seen


def test_metrics_from_before_were_selected_on_val():
    assert recorded({"trained_on": ["train"]}) == planned("val", refit=False)
    assert recorded({"trained_on": ["train", "val"]}).role("val") == "trained"


@pytest.mark.parametrize("teacher", ROLES)
@pytest.mark.parametrize("pupil", ROLES)
def test_one_run_is_beyond_another_where_a_split_was_worth_less_to_that(teacher, pupil):
    order = ("untouched", "selected_on", "trained")
    more = planned(teacher[0], refit=teacher[1]).beyond(planned(pupil[0], refit=pupil[1]))
    splits = zip(("train", "val", "test"), ROLES[teacher], ROLES[pupil], strict=True)
    assert set(more) == {split for split, own, other in splits if order.index(own) > order.index(other)}


def test_a_leak_is_told_with_both_roles():
    pupil = planned("val", refit=False)
    assert leak_sentence(planned("test", refit=False).beyond(pupil), pupil) == "it was selected on test, which this run leaves untouched"
    assert leak_sentence(planned("none", refit=False).beyond(pupil), pupil) == "it was trained on val, which this run only selects on"


def test_an_ensemble_has_seen_what_its_members_have_and_what_chose_its_weights():
    members = [planned("val", refit=False), planned("test", refit=False)]
    assert joint(members) == Exposure(("train",), ("val", "test"))
    assert joint([planned("none", refit=False)], selected_on=("val",)).role("val") == "trained"
    assert joint([planned("test", refit=False)], selected_on=("val",)).role("val") == "selected_on"
