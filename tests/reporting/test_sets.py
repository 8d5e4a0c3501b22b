"""Tables and sentences about a set: their numbers are the table's."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.audit import audit_set, find_twins
from ferlab.data.faces import add_content_hashes
from ferlab.data.splits import assign_splits, crossings
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS
from ferlab.reporting import sets


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
    return pd.DataFrame(rows, columns=["usage", "target"]).assign(source="fer2013")


def test_counts_stand_beside_the_official_ones_with_their_difference(official):
    table = sets.official_table(official, EXPRESSIONS)
    assert (table.loc[("Training", "difference")] == 0).all()
    assert table.loc[("PublicTest", "difference"), "angry"] == -1
    assert table.loc[("PublicTest", "difference"), "all"] == -1
    assert table.loc[("PrivateTest", "here"), "all"] == 0
    assert table.loc[("PrivateTest", "official"), "all"] == 3589


def test_the_sentence_names_what_agrees_what_differs_and_what_is_absent(official):
    said = sets.official_sentence(official, EXPRESSIONS)
    assert "Training (28,709) holds exactly" in said
    assert "PublicTest differs from the official counts: -1 faces" in said
    assert "PrivateTest is absent; officially it has 3,589 faces" in said


def test_a_set_of_another_dataset_has_no_official_counts():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    assert sets.official_table(store.faces, EXPRESSIONS) is None
    assert sets.official_counts(store.faces) is None
    assert "no official count" in sets.official_sentence(store.faces, EXPRESSIONS)
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
    assert "25.0 % on val, 75.0 % on test, and a balanced accuracy of 50.0 %" in said


def planted():
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    images[5] = images[0]  # train angry = test fear
    images[6] = images[1]  # train disgust = test disgust
    split, twin_of = ["train"] * 4 + ["val"] + ["test"] * 3, [""] * 5 + ["x/0", "x/1", ""]
    return store_of(["Training"] * 5 + ["PublicTest"] * 3, [0, 1, 2, 3, 4, 2, 1, 6], images=images, split=split, twin_of=twin_of)


def test_sentences_about_twins_by_hand():
    store = planted()
    audit, twins = audit_set(store), find_twins(store.faces)
    said = sets.twins_sentence(audit, test_faces=3)
    assert said.startswith("**4 faces are byte-identical to at least one other, in 2 groups; the largest has 2.**")
    assert "2 of the 3 test faces (66.7 %)" in said
    assert "keep 1." in said
    assert "In 1 of 2 groups (50.0 %)" in sets.conflicts_sentence(audit)
    assert sets.label_pairs(store.faces, twins, EXPRESSIONS).to_numpy().tolist() == [["angry and fear", 1]]
    assert "2 copies were planted among these faces; the audit found 2 of them, and 0 faces that are no copy" in sets.planted_sentence(
        store.faces, twins
    )
    assert "(2 faces of test have one in train)" in sets.crossings_sentence(crossings(store.faces))
    assert sets.twins_table(audit["cross_split"], audit["within_split"]).loc["train", "test"] == 2


def test_sentences_where_there_are_no_twins():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    audit = audit_set(store)
    assert sets.twins_sentence(audit, test_faces=20).startswith("**No two faces")
    assert sets.conflicts_sentence(audit) == "Without twins, no picture has two labels."
    assert len(sets.label_pairs(store.faces, find_twins(store.faces), EXPRESSIONS)) == 0
    assert sets.crossings_sentence(crossings(store.faces)) == "**No subject, sequence or picture is in two splits.**"
    assert sets.twins_table(audit["cross_usage"], audit["within_usage"]).to_numpy().sum() == 0


def test_votes_and_truth_are_said_to_be_there_or_not():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7, votes_happy=7, votes_sad=3)
    assert "came with 50 of 50 faces, 10 to a face, over 2 answers" in sets.votes_sentence(store.faces)
    assert "photographs" in sets.truth_sentence(store.faces)
    drawn = store.faces.assign(source="control", intensity=np.linspace(0, 5, 50), occluder=["none", "hand"] * 25)
    assert "50 % are partly covered" in sets.truth_sentence(drawn)
