"""Preparation: figures checked by their artists, tables and sentences by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from ferlab.data.preparation.prepared import Raw
from ferlab.params import Prepare
from ferlab.reporting.pages import prepare as preparation
from ferlab.reporting.pages.prepare import before_and_after, found_sentence, found_table, weights_sentence, weights_table
from ferlab.reporting.pages.prepare_text import try_steps

RNG = np.random.default_rng(0)
NAMES = ("happy", "sad", "fear")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def picture(high, wide):
    return RNG.integers(0, 256, (high, wide), dtype=np.uint8)


def rows():
    return [
        {"as delivered": picture(90, 120), "cut out": picture(40, 40), "48 x 48": picture(48, 48)},
        {"as delivered": np.dstack([picture(60, 60)] * 3), "aligned": picture(48, 48)},
        {"as delivered": picture(30, 30), "48 x 48": picture(48, 48)},
    ]


def test_every_step_is_shown_in_its_column_with_its_size():
    steps = rows()
    figure = before_and_after(steps, names=["a", "b", "c"])
    titles = ["as delivered", "aligned", "cut out", "48 x 48"]
    assert [axes.get_title() for axes in figure.axes[:4]] == titles
    for row, taken in enumerate(steps):
        for column, title in enumerate(titles):
            axes = figure.axes[4 * row + column]
            assert bool(axes.images) == (title in taken)
            if title in taken:
                np.testing.assert_array_equal(axes.images[0].get_array(), taken[title])
                assert axes.images[0].get_clim() == (0.0, 255.0) or taken[title].ndim == 3
                assert axes.get_xlabel() == f"{taken[title].shape[1]} x {taken[title].shape[0]}"
    assert [figure.axes[4 * row].get_ylabel() for row in range(3)] == ["a", "b", "c"]


def test_the_box_and_the_eyes_are_drawn_on_the_picture_as_delivered_and_a_missed_face_is_written():
    eyes = np.array([[40.0, 50.0], [70.0, 52.0]])
    figure = before_and_after(rows(), boxes=[(30, 20, 50, 60), (-9, 5, 40, 80), None], eyes=[eyes, None, None])
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
    figure = before_and_after(rows(), boxes=[(30, 20, 50, 60), (-9, 5, 40, 80), None])
    figure.canvas.draw()
    heights = [axes.title.get_window_extent().y0 for axes in figure.axes[:4]]
    assert np.ptp(heights) < 0.2 * (max(heights) - figure.axes[4].get_window_extent().y1)


def test_without_a_search_nothing_is_said_about_faces():
    figure = before_and_after(rows())
    assert not [axes for axes in figure.axes if "face" in axes.get_xlabel()]


def test_no_more_than_a_few_dozen_pictures_fit_in_a_figure():
    with pytest.raises(ValueError, match="got 17 x 3 steps"):
        before_and_after(rows()[:1] * 17)
    with pytest.raises(ValueError, match="got 0"):
        before_and_after([])


def test_rungs_are_counted_in_order_of_the_ladder():
    found_by = ["3 neighbours", "as stated", "", "as stated", "box given", "1 neighbour", "as stated", ""]
    table = found_table(found_by)
    assert table["pictures"].to_dict() == {"box given": 1, "as stated": 3, "3 neighbours": 1, "1 neighbour": 1, "no face found": 2}
    assert list(table.index) == ["box given", "as stated", "3 neighbours", "1 neighbour", "no face found"]
    assert table["share"].sum() == pytest.approx(1)
    assert found_sentence(found_by) == (
        "A face was found in 6 of 8 pictures (75.0 %): box given (1), as stated (3), 3 neighbours (1), 1 neighbour (1). "
        "In 2 (25.0 %) none was found on any rung. The last rung takes almost anything for a face: look at its 1."
    )


def test_sentences_at_the_ends():
    assert found_sentence(["as stated"] * 3) == "A face was found in 3 of 3 pictures (100.0 %): as stated (3). None was missed."
    assert found_sentence(["", ""]) == "A face was found in 0 of 2 pictures (0.0 %). In 2 (100.0 %) none was found on any rung."
    assert found_sentence([]) == "No pictures were searched for faces."


def test_every_picture_without_a_face_is_listed():
    faces = pd.DataFrame({"face_id": ["x/0", "x/1", "x/2"], "source_path": ["a", "b", "c"], "found_by": ["", "framed", ""]})
    assert preparation.not_found_table(faces).to_dict("list") == {"face_id": ["x/0", "x/2"], "source_path": ["a", "c"]}


def test_weights_are_those_of_scikit_learn_and_their_mean_over_faces_is_one():
    counts = np.array([50, 10, 3])
    table = weights_table(counts, NAMES)
    targets = np.repeat(np.arange(3), counts)
    np.testing.assert_allclose(table["weight"], compute_class_weight("balanced", classes=np.arange(3), y=targets))
    assert (table["weight"] * table["share"]).sum() == pytest.approx(1)
    assert weights_sentence(counts, NAMES) == "Weighed by N / (K n), a face of fear counts 7.00, one of happy 0.42: 16.7 times."


def test_an_expression_without_faces_has_no_weight_and_is_named():
    table = weights_table([4, 0, 2], NAMES)
    assert np.isnan(table.loc["sad", "weight"])
    assert table.loc[["happy", "fear"], "weight"].tolist() == [0.75, 1.5]  # two expressions occur: 6 / (2 * 4), 6 / (2 * 2)
    assert weights_sentence([4, 0, 2], NAMES).endswith("No face shows sad: weight 0, and K counts the others.")
    assert weights_sentence([0, 0, 0], NAMES) == "There are no faces to weigh."


def test_what_resampling_adds_is_counted_beside_what_there_was():
    table = preparation.resampled_table(np.array([0, 0, 0, 1]), {"smote": np.array([1, 1]), "copies": np.array([0, 2])}, NAMES)
    assert table.loc["happy"].to_dict() == {"faces": 3, "+ smote": 0, "+ copies": 1, "all": 4}
    assert table.loc["all"].to_dict() == {"faces": 4, "+ smote": 2, "+ copies": 2, "all": 8}
    assert list(table.index) == [*NAMES, "all"]


def test_a_picture_that_cannot_be_read_is_not_shown_and_stops_nothing(tmp_path):
    for number, name in enumerate(("happy/1.png", "sad/1.png")):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.full((20, 20), number, np.uint8)).save(tmp_path / name)
    (tmp_path / "sad" / "1.png").write_bytes((tmp_path / "sad" / "1.png").read_bytes()[:50])
    raw = Raw(Prepare(dataset="class_folders", raw=str(tmp_path), size=10))
    assert len(try_steps(raw)) == 1
    assert try_steps(Raw(Prepare(dataset="class_folders", raw=str(tmp_path)))) == []
