"""Tables and sentences about a set: their numbers are the table's."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import add_content_hashes
from ferlab.data.splits import assign_splits, crossings
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS
from ferlab.reporting.pages import prepare_sets as sets


def store_of(usages, targets, *, images=None, **columns):
    images = images if images is not None else np.random.default_rng(0).integers(0, 256, (len(usages), 4, 4), dtype=np.uint8)
    table = pd.DataFrame({"face_id": [f"x/{i}" for i in range(len(usages))], "source": "x", "source_path": "x", "usage": usages, "target": targets})
    faces = add_content_hashes(images, table.assign(**columns))
    return Store(images=images, faces=faces if "split" in faces else assign_splits(faces), expressions=EXPRESSIONS)


@pytest.fixture
def official():
    """Training exactly as published, PublicTest short of one angry face, no PrivateTest."""
    rows = [("Training", target) for target, count in enumerate(FER2013_COUNTS["Training"]) for _ in range(count)]
    rows += [("PublicTest", target) for target, count in enumerate(FER2013_COUNTS["PublicTest"]) for _ in range(count)][1:]
    return pd.DataFrame(rows, columns=["usage", "target"]).assign(source="fer2013", face_id=lambda table: table.index.astype(str))


def test_counts_stand_beside_the_official_ones_with_their_difference(official):
    table = sets.official_table(official, EXPRESSIONS)
    assert (table.loc[("Training", "difference")] == 0).all()
    assert table.loc[("PublicTest", "difference"), "angry"] == -1
    assert table.loc[("PublicTest", "difference"), "all"] == -1
    assert table.loc[("PrivateTest", "here"), "all"] == 0
    assert table.loc[("PrivateTest", "official"), "all"] == 3589


def test_the_sentence_names_what_agrees_what_differs_and_what_is_absent(official):
    said = sets.official_sentence(official, EXPRESSIONS)
    assert "Exactly the official counts: Training (28,709)." in said
    assert "PublicTest differs from the official counts: -1 faces" in said
    assert "PrivateTest is absent; officially it has 3,589 faces" in said


def test_a_set_of_another_dataset_has_no_official_counts():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    assert sets.official_table(store.faces, EXPRESSIONS) is None
    assert sets.official_counts(store.faces, EXPRESSIONS) is None
    assert "No official counts are known" in sets.official_sentence(store.faces, EXPRESSIONS)
    assert sets.set_summary(store)["official_difference"] is None


def test_the_summary_holds_rule_and_counts():
    store = store_of(["Training"] * 70 + ["PublicTest"] * 21, np.arange(91) % 7)
    summary = sets.set_summary(store)
    assert summary["usages"] == {"Training": 70, "PublicTest": 21}
    assert sum(summary["splits"].values()) == 91
    assert summary["counts"]["test"] == dict.fromkeys(EXPRESSIONS, 3)
    assert summary["split_rule"].startswith("PrivateTest is absent")
    assert (summary["height"], summary["width"], summary["channels"], summary["votes"]) == (4, 4, 1, False)


def test_the_imbalance_sentence_by_hand():
    counts = pd.DataFrame([[30, 10], [1, 3], [6, 2]], index=["train", "val", "test"], columns=["happy", "sad"])
    said = sets.imbalance_sentence(counts)
    assert "happy (30 faces), the rarest sad (10): 3.0 times fewer" in said
    assert "25.0 % on val and 75.0 % on test, and a balanced accuracy of 50.0 %" in said


def test_crossings_are_counted_and_laid_at_the_right_door():
    hashes = [f"{number:064d}" for number in (0, 1, 2, 3, 4, 0, 1, 7)]
    split = ["train"] * 4 + ["val"] + ["test"] * 3
    faces = store_of(["Training"] * 5 + ["PublicTest"] * 3, [0, 1, 2, 3, 4, 2, 1, 6], split=split).faces.assign(content_hash=hashes)
    assert sets.crossings_sentence(crossings(faces)).endswith(".** 2 faces of test share an exact duplicate with train.")
    assert "the dataset's own division" in sets.crossings_sentence(crossings(faces))
    asked = sets.crossings_sentence(crossings(faces.assign(usage="all"), rule="random_frames"))
    assert "a split at random over frames was asked for" in asked
    other = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    assert sets.crossings_sentence(crossings(other.faces)) == "**No subject, sequence or picture is in two splits.**"


def test_what_is_excluded_is_counted_by_source_and_reason():
    reasons = ["no label", "excluded: blurred (EK)", "excluded: a hand (EK)", "no label", "unreadable: x.png is cut"]
    excluded = pd.DataFrame({"face_id": list("abcde"), "source": list("xxxyx"), "source_path": "", "usage": "", "reason": reasons})
    assert sets.excluded_sentence(excluded, kept=15).startswith("**5 of the 20 pictures that lie there (25.0 %) are not in the set.**")
    assert sets.excluded_table(excluded).to_numpy().tolist() == [
        ["x", "excluded", 2, "b"],
        ["x", "no label", 1, "a"],
        ["x", "unreadable", 1, "e"],
        ["y", "no label", 1, "d"],
    ]
    assert "Every one of the 15 pictures" in sets.excluded_sentence(excluded[:0], kept=15)
    assert len(sets.excluded_table(excluded[:0])) == 0


def test_copies_and_blends_are_counted_apart():
    store = store_of(["Training"] * 70 + ["PublicTest"] * 21, np.arange(91) % 7, derived_from="", derivation="")
    store.faces.loc[[0, 1, 2], "derived_from"] = "x/9"
    store.faces.loc[[0, 1, 2], "derivation"] = ["mirrored", "smote", "mirrored"]
    assert "3 faces were made from faces of train and added to it (2 mirrored, 1 smote)" in sets.derived_sentence(store.faces)
    summary = sets.set_summary(store)
    assert (summary["faces"], summary["derived_faces"]) == (88, 3)
    assert sum(summary["usages"].values()) == 88


def test_the_datasets_of_a_set_are_named_once_each():
    assert sets.dataset_names({"a": {"dataset": "fer2013"}, "b": {"dataset": "ckplus"}, "c": {"dataset": "fer2013"}}) == "fer2013 + ckplus"


def test_votes_and_truth_are_said_to_be_there_or_not():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7, votes_happy=7, votes_sad=3)
    assert "came with 50 of 50 faces, 10 to a face (median), over 2 answers" in sets.votes_sentence(store.faces)
    assert "photographs" in sets.truth_sentence(store.faces)
    drawn = store.faces.assign(source="control", intensity=np.linspace(0, 5, 50), occluder=["none", "hand"] * 25)
    assert "50 % are partly covered" in sets.truth_sentence(drawn)


def test_only_expressions_that_a_face_shows_are_counted():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 3)
    assert "of 3 expressions." in sets.set_sentence(store)


def test_drawn_faces_in_a_datasets_layout_are_never_called_photographs():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    faces = store.faces.assign(source="control:fer2013")
    drawn = Store(images=store.images, faces=faces, expressions=EXPRESSIONS)
    assert sets.set_sentence(drawn).startswith("**50 drawn faces (control faces in the layout of fer2013, no photographs), ")
    assert "photographs," not in sets.truth_sentence(faces)
    assert sets.official_table(faces, EXPRESSIONS) is None
    assert sets.set_summary(drawn)["drawn_faces"] == 50
    mixed = faces.assign(source=["fer2013"] * 40 + ["control:jaffe"] * 10)
    assert sets.kind_of(mixed) == "faces (10 drawn in the layout of jaffe, the others photographs)"
    assert sets.count_drawn(mixed.assign(source="control")) == 50
    assert sets.count_drawn(mixed.assign(source="fer2013")) == 0


def test_other_files_and_links_are_listed():
    assert sets.other_files_sentence([]) == "No other file lies there."
    said = sets.other_files_sentence([f"{n}.txt" for n in range(7)], ["happy"])
    assert said == "7 other files lie there, as `0.txt`, `1.txt`, `2.txt`, `3.txt`, `4.txt` and 2 more. Links to folders were followed: `happy`."
