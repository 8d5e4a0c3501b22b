"""What faces are to a model: by the face for runs, by what is stated for others."""

from __future__ import annotations

import pandas as pd
import pytest

from ferlab.origins import Origin, of_foreign, of_run, of_shipped, role_mark, trained_words
from ferlab.roles import Exposure

FACES = pd.DataFrame(
    {
        "face_id": ["a/0", "a/1", "a/2", "a/3"],
        "source": ["fer2013"] * 4,
        "usage": ["Training", "Training", "PublicTest", "PublicTest"],
        "split": ["train", "val", "test", "test"],
    }
)
TEST = FACES[FACES["split"] == "test"]


@pytest.mark.parametrize(
    ("trained", "selected", "role"),
    [
        ({"fer2013": ("Training",)}, {}, "untouched"),
        ({"fer2013": ("Training", "PublicTest")}, {}, "trained"),
        ({"fer2013": ("Training",)}, {"fer2013": ("PublicTest",)}, "selected_on"),
        ({"fer2013": ()}, {}, "unknown"),
        ({"fer2013": ()}, {"fer2013": ("PublicTest",)}, "selected_on"),
        ({"affectnet": ()}, {}, "untouched"),
        (None, {}, "unknown"),
    ],
)
def test_the_role_of_faces_follows_from_what_is_stated(trained, selected, role) -> None:
    assert Origin("a model", trained, selected).role(TEST) == role


@pytest.mark.parametrize(
    ("seen", "role"),
    [
        (Exposure(("train",), ("val",)), "untouched"),
        (Exposure(("train",), ("test",)), "selected_on"),
        (Exposure(("train", "val", "test")), "trained"),
    ],
)
def test_a_runs_role_is_decided_face_by_face_even_where_all_splits_have_one_usage(seen, role) -> None:
    faces = FACES.assign(usage="all")
    assert of_run("r", seen, faces).role(faces[faces["split"] == "test"]) == role


def test_a_run_is_untouched_by_another_sets_faces_and_trained_on_its_own_there() -> None:
    origin = of_run("r", Exposure(("train",), ("val",)), FACES)
    assert origin.role(FACES.assign(face_id=["b/0", "b/1", "b/2", "b/3"])) == "untouched"
    assert origin.role(FACES) == "trained"


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "role"),
    [
        ("fer2013", "ferplus", "trained"),
        ("ferplus", "fer2013", "trained"),
        ("fer2013", "fer2013_reshuffled", "unknown"),
        ("fer2013_reshuffled", "ferplus", "unknown"),
        ("fer2013_reshuffled", "fer2013_reshuffled", "trained"),
        ("fer2013", "jaffe", "untouched"),
    ],
)
def test_photographs_are_known_again_under_another_readers_name(trained_on, tested_on, role) -> None:
    of = {name: FACES.assign(source=name, face_id=FACES["face_id"].str.replace("a/", f"{name}/")) for name in (trained_on, tested_on)}
    seen = of_run("r", Exposure(("train",)), of[trained_on])
    assert seen.role(of[tested_on]) == role
    assert Origin("a model", {trained_on: ("Training",)}).role(of[tested_on]) == role


@pytest.mark.parametrize(
    ("dataset", "trained_on", "tested_on", "role"),
    [
        ("rafdb", ["train_1", "train_2", "test_1"], ["x/train/1/train_1_aligned.jpg", "x/train/4/train_2_aligned.jpg"], "unknown"),
        ("rafdb", ["train_1", "train_2", "test_1"], ["train_1_aligned.jpg", "train_2_aligned.jpg"], "unknown"),
        ("fer2013", ["0000000", "0000001", "0000002"], ["train/happy/im0", "train/sad/im1"], "unknown"),
        ("fer2013", ["train/happy/im0", "train/sad/im1", "test/sad/im1"], ["0000000", "0000001"], "unknown"),
        ("fer2013", ["train/happy/im0", "train/sad/im1", "test/sad/im1"], ["test/sad/im1"], "untouched"),
    ],
)
def test_photographs_of_a_dataset_whose_faces_are_named_in_another_form_are_known_by_their_pixels_or_unknown(
    dataset, trained_on, tested_on, role
) -> None:
    faces = pd.DataFrame({"face_id": trained_on, "split": ["train", "train", "test"], "source": dataset, "usage": "all"})
    faces["face_id"] = dataset + "/" + faces["face_id"]
    tested = pd.DataFrame({"face_id": [f"{dataset}/{own}" for own in tested_on], "source": dataset, "usage": "all"})
    seen = Exposure(("train",))
    assert of_run("r", seen, faces).role(tested) == role
    hashed = of_run("r", seen, faces.assign(content_hash=["h0", "h1", "h1"]))  # the last is a duplicate across splits
    assert hashed.role(tested.assign(content_hash="h9")) == role
    assert hashed.role(tested.assign(content_hash="h1")) == ("trained" if role == "unknown" else "untouched")


def test_pixels_know_a_photograph_under_any_name() -> None:
    faces = FACES.assign(content_hash=["h0", "h1", "h2", "h3"])
    origin, other = of_run("r", Exposure(("train",), ("val",)), faces), FACES.assign(face_id=["b/0", "b/1", "b/2", "b/3"], content_hash="h9")
    assert origin.role(other) == "untouched"
    assert origin.role(other.assign(content_hash="h1")) == "selected_on"


@pytest.mark.parametrize(("usage", "role"), [("train", "unknown"), ("all", "unknown"), ("PublicTest", "untouched"), ("Training", "trained")])
def test_usages_in_other_words_than_those_stated_are_unknown(usage, role) -> None:
    assert Origin("a model", {"fer2013": ("Training",)}).role(FACES.assign(usage=usage)) == role


def test_what_is_stated_counts_before_what_is_not_in_any_order_of_sources() -> None:
    faces = FACES.assign(source=["jaffe", "jaffe", "ckplus", "ckplus"], usage="all")
    origin = Origin("a model", {"jaffe": (), "ckplus": ("all",)})
    assert [origin.role(rows) for rows in (faces, faces[::-1])] == ["trained", "trained"]


def test_origins_say_what_was_trained_on_and_who_states_it() -> None:
    foreign = {
        "title": "net",
        "licence": "MIT",
        "trained_on": {"datasets": {"fer2013": ["Training"]}, "selected_on": {"fer2013": ["PublicTest"]}, "stated": "its script"},
    }
    origin = of_foreign(foreign)
    assert trained_words(origin) == "fer2013 (Training); epoch selected on fer2013 (PublicTest)"
    assert (origin.stated, role_mark(origin.role(TEST))) == ("its script", "selected its epoch")
    unknown = of_foreign({**foreign, "trained_on": {"datasets": None, "stated": "nobody"}})
    assert (trained_words(unknown), role_mark(unknown.role(TEST))) == ("not stated", "training data not stated")
    shipped = of_shipped({"title": "compact", "trained_on": {"dataset": "fer2013", "usages": ["Training"]}})
    assert (trained_words(shipped), shipped.role(TEST)) == ("fer2013 (Training)", "untouched")
