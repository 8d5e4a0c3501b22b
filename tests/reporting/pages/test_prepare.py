"""The prepare page: figures checked by their artists, tables and sentences by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from ferlab.data.faces import hash_images
from ferlab.data.preparation.prepared import Raw
from ferlab.data.preparation.steps import Stages
from ferlab.data.splits import assign_splits, crossings
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS
from ferlab.params import Prepare
from ferlab.reporting.pages import prepare as page
from ferlab.reporting.pages.prepare import found_table, stages_figure, try_steps, weights_table

RNG = np.random.default_rng(0)
NAMES = ("happy", "sad", "fear")
FACE = Prepare().face.model_dump()
BOXES = [(30, 20, 50, 60), (-9, 5, 40, 80), None]


def picture(high, wide):
    return RNG.integers(0, 256, (high, wide), dtype=np.uint8)


def stages(boxes=(None, None, None), eyes=(None, None, None)):
    images = [
        {"as delivered": picture(90, 120), "cropped": picture(40, 40), "48 x 48": picture(48, 48)},
        {"as delivered": np.dstack([picture(60, 60)] * 3), "aligned": picture(48, 48)},
        {"as delivered": picture(30, 30), "48 x 48": picture(48, 48)},
    ]
    return [Stages(images=images[i], box=boxes[i], eyes=eyes[i]) for i in range(3)]


def test_every_step_is_shown_in_its_column_with_its_size():
    steps = stages()
    figure = stages_figure(steps, searched=False)["figure"]
    titles = ["as delivered", "aligned", "cropped", "48 x 48"]
    assert [axes.get_title() for axes in figure.axes[:4]] == titles
    for row, taken in enumerate(one.images for one in steps):
        for column, title in enumerate(titles):
            axes = figure.axes[4 * row + column]
            assert bool(axes.images) == (title in taken)
            if title in taken:
                np.testing.assert_array_equal(axes.images[0].get_array(), taken[title])
                assert axes.images[0].get_clim() == (0.0, 255.0) or taken[title].ndim == 3
                assert axes.get_xlabel() == f"{taken[title].shape[1]} x {taken[title].shape[0]}"


def test_the_box_and_the_eyes_are_drawn_on_the_picture_as_delivered_and_a_missed_face_is_written():
    eyes = np.array([[40.0, 50.0], [70.0, 52.0]])
    figure = stages_figure(stages(BOXES, [eyes, None, None]), searched=True)["figure"]
    first, second, third = figure.axes[0], figure.axes[4], figure.axes[8]
    (box,) = first.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (29.5, 19.5, 50, 60)
    np.testing.assert_array_equal(first.lines[0].get_xydata(), eyes)
    assert first.get_xlim() == (-0.5, 119.5)  # a box inside changes nothing
    assert (second.get_xlim(), second.get_ylim()) == ((-9.5, 59.5), (84.5, -0.5))  # one that leaves the picture is seen whole
    assert not second.lines
    assert not third.patches
    assert third.get_xlabel() == "30 x 30, no face found"
    assert all(not axes.patches for place, axes in enumerate(figure.axes) if place % 4)


def test_titles_stand_in_one_line_and_no_text_overlaps_another_picture():
    figure = stages_figure(stages(BOXES), searched=True)["figure"]
    figure.canvas.draw()
    heights = [axes.title.get_window_extent().y0 for axes in figure.axes[:4]]
    assert np.ptp(heights) < 0.2 * (max(heights) - figure.axes[4].get_window_extent().y1)


def test_without_a_search_nothing_is_said_about_faces():
    figure = stages_figure(stages(), searched=False)["figure"]
    assert not [axes for axes in figure.axes if "face" in axes.get_xlabel()]


def test_no_more_than_a_few_dozen_pictures_fit_in_a_figure():
    with pytest.raises(ValueError, match="got 17 x 3 steps"):
        stages_figure(stages()[:1] * 17, searched=False)
    with pytest.raises(ValueError, match="got 0"):
        stages_figure([], searched=False)


def test_found_faces_are_counted_in_order_of_the_search():
    found_by = ["3 neighbours", "as stated", "as stated", "box given", "1 neighbour", "as stated", ""]
    excluded = pd.DataFrame({"reason": ["no face found", "no label"]})
    table = found_table(pd.DataFrame({"found_by": found_by}), excluded)
    assert list(table["pictures"].items()) == [("box given", 1), ("as stated", 3), ("3 neighbours", 1), ("1 neighbour", 1), ("no face found", 2)]
    assert table["share, %"].tolist() == ["12.5", "37.5", "12.5", "12.5", "25.0"]
    assert found_table(pd.DataFrame({"face_id": ["a"]}), excluded) is None
    assert found_table(pd.DataFrame({"found_by": ["as stated"]}), excluded[:0])["pictures"].to_dict() == {"as stated": 1, "no face found": 0}


def test_options_that_change_no_picture_are_not_listed():
    kept = {"face": FACE, "colour": "as_is", "size": None, "equalise": "none", "blur": 0}
    assert page.settings_table(kept).empty
    haar = page.settings_table(kept | {"face": FACE | {"detector": "haar"}, "size": 48})
    assert haar["value"].to_dict() == {
        "detector": "haar", "scale_factor": "1.1", "min_neighbors": "5", "min_size": "30", "retries": "True", "not_found": "exclude", "size": "48",
    }  # fmt: skip
    assert "min_size" not in page.settings_table(kept | {"face": FACE | {"detector": "yunet"}}).index


def test_weights_are_those_of_scikit_learn_and_their_mean_over_faces_is_one():
    counts = np.array([50, 10, 3])
    table = weights_table(counts, NAMES)
    targets = np.repeat(np.arange(3), counts)
    np.testing.assert_allclose(table["weight"], compute_class_weight("balanced", classes=np.arange(3), y=targets))
    assert (table["weight"] * table["share"]).sum() == pytest.approx(1)


def test_an_expression_without_faces_has_no_weight_and_is_named():
    table = weights_table([4, 0, 2], NAMES)
    assert np.isnan(table.loc["sad", "weight"])
    assert table.loc[["happy", "fear"], "weight"].tolist() == [0.75, 1.5]  # two expressions occur: 6 / (2 * 4), 6 / (2 * 2)


def test_a_picture_that_cannot_be_read_is_not_shown_and_stops_nothing(tmp_path):
    for number, name in enumerate(("happy/1.png", "sad/1.png")):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.full((20, 20), number, np.uint8)).save(tmp_path / name)
    (tmp_path / "sad" / "1.png").write_bytes((tmp_path / "sad" / "1.png").read_bytes()[:50])
    raw = Raw(Prepare(dataset="class_folders", raw=str(tmp_path), size=10))
    assert len(try_steps(raw)) == 1
    assert try_steps(Raw(Prepare(dataset="class_folders", raw=str(tmp_path)))) == []


def store_of(usages, targets, *, images=None, **columns):
    images = images if images is not None else np.random.default_rng(0).integers(0, 256, (len(usages), 4, 4), dtype=np.uint8)
    table = pd.DataFrame({"face_id": [f"x/{i}" for i in range(len(usages))], "source": "x", "source_path": "x", "usage": usages, "target": targets})
    faces = table.assign(**columns).assign(content_hash=hash_images(images))
    return Store(images=images, faces=faces if "split" in faces else assign_splits(faces), expressions=EXPRESSIONS)


@pytest.fixture
def official():
    """Training exactly as published, PublicTest short of one angry face, no PrivateTest."""
    rows = [("Training", target) for target, count in enumerate(FER2013_COUNTS["Training"]) for _ in range(count)]
    rows += [("PublicTest", target) for target, count in enumerate(FER2013_COUNTS["PublicTest"]) for _ in range(count)][1:]
    return pd.DataFrame(rows, columns=["usage", "target"]).assign(source="fer2013", face_id=lambda table: table.index.astype(str))


def test_counts_stand_beside_the_official_ones_with_their_difference(official):
    table = page.official_table(official, EXPRESSIONS)
    assert (table.loc[("Training", "difference")] == 0).all()
    assert table.loc[("PublicTest", "difference"), "angry"] == -1
    assert table.loc[("PublicTest", "difference"), "all"] == -1
    assert table.loc[("PrivateTest", "here"), "all"] == 0
    assert table.loc[("PrivateTest", "official"), "all"] == 3589


def test_the_sentence_names_what_agrees_what_differs_and_what_is_absent(official):
    said = page.official_sentence(official, EXPRESSIONS)
    assert "Exactly the official counts: Training (28,709)." in said
    assert "PublicTest differs from the official counts: -1 faces" in said
    assert "PrivateTest is absent; officially it has 3,589 faces" in said


def test_a_set_of_another_dataset_has_no_official_counts():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    assert page.official_table(store.faces, EXPRESSIONS) is None
    assert page.official_counts(store.faces, EXPRESSIONS) is None
    assert "No official counts are known" in page.official_sentence(store.faces, EXPRESSIONS)
    assert page.set_summary(store)["official_difference"] is None


def test_the_summary_holds_rule_and_counts():
    store = store_of(["Training"] * 70 + ["PublicTest"] * 21, np.arange(91) % 7)
    summary = page.set_summary(store)
    assert summary["usages"] == {"Training": 70, "PublicTest": 21}
    assert sum(summary["splits"].values()) == 91
    assert summary["counts"]["test"] == dict.fromkeys(EXPRESSIONS, 3)
    assert summary["split_rule"].startswith("PrivateTest is absent")
    assert (summary["height"], summary["width"], summary["channels"], summary["votes"]) == (4, 4, 1, False)


def test_the_imbalance_sentence_by_hand():
    counts = pd.DataFrame([[30, 10], [1, 3], [6, 2]], index=["train", "val", "test"], columns=["happy", "sad"])
    said = page.imbalance_sentence(counts)
    assert "happy (30 faces), the rarest sad (10): imbalance ratio 3.00" in said
    assert "25.0 % on val and 75.0 % on test, and a balanced accuracy of 50.0 %" in said


def test_crossings_are_counted_and_laid_at_the_right_door():
    groups = (0, 1, 2, 3, 4, 0, 1, 7)
    split = ["train"] * 4 + ["val"] + ["test"] * 3
    faces = store_of(["Training"] * 5 + ["PublicTest"] * 3, [0, 1, 2, 3, 4, 2, 1, 6], split=split).faces.assign(duplicate_group=groups)
    assert page.crossings_sentence(crossings(faces)).endswith(".** 2 faces of test share a photograph with train.")
    assert "the dataset's own division" in page.crossings_sentence(crossings(faces))
    asked = page.crossings_sentence(crossings(faces.assign(usage="all"), rule="random_frames"))
    assert "a random split over frames was asked for" in asked
    other = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    assert page.crossings_sentence(crossings(other.faces)) == "**No subject, sequence or photograph is in two splits.**"


def test_what_is_excluded_is_counted_by_source_and_reason():
    reasons = ["no label", "excluded: blurred (EK)", "excluded: a hand (EK)", "no label", "unreadable: x.png is cut"]
    excluded = pd.DataFrame({"face_id": list("abcde"), "source": list("xxxyx"), "source_path": "", "usage": "", "reason": reasons})
    assert page.excluded_sentence(excluded, kept=15).startswith("**5 of the 20 pictures in the folder (25.0 %) are not in the dataset.**")
    assert page.excluded_table(excluded).to_numpy().tolist() == [
        ["x", "excluded", 2, "b"],
        ["x", "no label", 1, "a"],
        ["x", "unreadable", 1, "e"],
        ["y", "no label", 1, "d"],
    ]
    assert "All 15 pictures" in page.excluded_sentence(excluded[:0], kept=15)
    assert len(page.excluded_table(excluded[:0])) == 0


def test_copies_and_blends_are_counted_apart():
    store = store_of(["Training"] * 70 + ["PublicTest"] * 21, np.arange(91) % 7, derived_from="", derivation="")
    store.faces.loc[[0, 1, 2], "derived_from"] = "x/9"
    store.faces.loc[[0, 1, 2], "derivation"] = ["mirrored", "smote", "mirrored"]
    table = page.counts_table(store.faces, EXPRESSIONS)
    assert table["all"].to_dict() == {**store.faces[3:]["split"].value_counts(), "all": 88, "train, added: mirrored": 2, "train, added: smote": 1}
    summary = page.set_summary(store)
    assert (summary["faces"], summary["derived_faces"]) == (88, 3)
    assert sum(summary["usages"].values()) == 88


def test_votes_are_named_where_there_are_some():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7, votes_happy=7, votes_sad=3)
    assert "50 of 50 faces have votes, 10 to a face (median), over 2 labels." in page.set_sentence(store)
    assert "votes" not in page.set_sentence(store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7))


def test_only_expressions_that_a_face_shows_are_counted():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 3)
    assert "of 3 expressions." in page.set_sentence(store)


def test_drawn_faces_in_a_datasets_layout_are_never_called_photographs():
    store = store_of(["Training"] * 30 + ["PublicTest"] * 20, np.arange(50) % 7)
    faces = store.faces.assign(source="control:fer2013")
    drawn = Store(images=store.images, faces=faces, expressions=EXPRESSIONS)
    assert page.set_sentence(drawn).startswith("**50 control faces in the layout of fer2013 (drawn, no photographs), ")
    assert page.official_table(faces, EXPRESSIONS) is None
    assert page.set_summary(drawn)["drawn_faces"] == 50
    mixed = faces.assign(source=["fer2013"] * 40 + ["control:jaffe"] * 10)
    assert page.kind_of(mixed) == "faces (10 drawn in the layout of jaffe, the others photographs)"
    assert page.count_drawn(mixed.assign(source="control")) == 50
    assert page.count_drawn(mixed.assign(source="fer2013")) == 0


def test_other_files_and_links_are_listed():
    assert page.other_files_sentence(SimpleNamespace(other_files=[], links=())) == ""
    said = page.other_files_sentence(SimpleNamespace(other_files=[f"{n}.txt" for n in range(7)], links=["happy"]))
    files = "`0.txt`, `1.txt`, `2.txt`, `3.txt`, `4.txt` and 2 more"
    assert said == f"Files that are no pictures and were not read: {files}. Links to folders were followed: `happy`."
