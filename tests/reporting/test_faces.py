"""Figures of faces: what stands in them, checked by their artists and labels."""

import numpy as np
import pandas as pd
import pytest

from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.faces import class_counts, faces_grid, lit, mean_faces, pick_faces, truth_grid

RNG = np.random.default_rng(0)


@pytest.fixture
def faces():
    targets = np.repeat(np.arange(7), 6)
    return pd.DataFrame(
        {"target": targets, "usage": "Training", "split": ["train", "train", "train", "val", "test", "test"] * 7, "intensity": 5 * RNG.random(42)}
    )


@pytest.fixture
def images():
    return RNG.integers(0, 256, (42, 48, 48), dtype=np.uint8)


def pixels_per_face(figure):
    figure.canvas.draw()
    return min(axes.get_window_extent().width for axes in figure.axes if axes.images) * 120 / figure.dpi


def drawn(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_the_grid_shows_every_face_given_in_the_column_of_its_expression(images, faces):
    rows = pick_faces(faces, per_class=5)
    figure = faces_grid(images[rows], faces["target"][rows], EXPRESSIONS)
    assert [axes.get_title() for axes in figure.axes[:7]] == list(EXPRESSIONS)
    shown = drawn(figure)
    assert len(shown) == 35
    for place, row in enumerate(rows):  # rows run expression after expression, axes line after line
        np.testing.assert_array_equal(shown[(place % 5) * 7 + place // 5], images[row])
    assert pixels_per_face(figure) >= 60


def test_faces_are_shown_at_their_own_brightness(images, faces):
    figure = faces_grid(images[:3] // 4, faces["target"][:3], EXPRESSIONS)
    assert {axes.images[0].get_clim() for axes in figure.axes if axes.images} == {(0.0, 255.0)}


def test_no_more_than_a_few_dozen_faces_of_a_dataset_fit_in_a_figure(images):
    with pytest.raises(ValueError, match="1 to 48 faces in a figure, got 49"):
        faces_grid(np.zeros((49, 48, 48), np.uint8), [0] * 49, EXPRESSIONS)


def test_picking_by_a_value_runs_from_lowest_to_highest(faces):
    rows = pick_faces(faces, per_class=3, by="intensity")
    values = faces["intensity"].to_numpy()[rows].reshape(7, 3)
    own = faces.groupby("target")["intensity"]
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(values[:, 0], own.min())
    np.testing.assert_array_equal(values[:, 2], own.max())
    np.testing.assert_array_equal(faces["intensity"].to_numpy()[pick_faces(faces, per_class=1, by="intensity")], own.max())


def test_picking_at_random_repeats_with_its_seed_and_takes_all_where_there_are_fewer(faces):
    assert pick_faces(faces, per_class=4, seed=1).tolist() == pick_faces(faces, per_class=4, seed=1).tolist()
    assert pick_faces(faces, per_class=4, seed=1).tolist() != pick_faces(faces, per_class=4, seed=2).tolist()
    assert sorted(pick_faces(faces, per_class=99)) == list(range(42))


def test_the_mean_of_an_expression_is_the_mean_of_its_faces(images, faces):
    figure = mean_faces(images, faces["target"].to_numpy(), EXPRESSIONS)
    shown = drawn(figure)
    np.testing.assert_allclose(shown[2], images[12:18].mean(axis=0))
    np.testing.assert_allclose(np.mean(shown[7:14], axis=0), 0, atol=1e-9)  # differences from the mean of all


def test_a_brighter_expression_does_not_colour_its_whole_difference():
    images = np.stack([np.full((4, 4), 50, np.uint8), np.full((4, 4), 200, np.uint8)])
    assert np.abs(drawn(mean_faces(images, np.array([0, 1]), EXPRESSIONS))[2:]).max() == 0


def test_bars_add_up_to_the_counts_and_official_counts_are_marked(faces):
    official = pd.DataFrame([[7] * 7], index=["Training"], columns=list(EXPRESSIONS))
    figure = class_counts(faces, EXPRESSIONS, official=official)
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.texts] == ["6"] * 7
    assert panel.get_title() == "all faces (42)"
    widths = np.array([bar.get_width() for bar in panel.patches]).reshape(3, 2, 7)[:, 1]
    assert widths.tolist() == [[3] * 7, [1] * 7, [2] * 7]
    assert {segment[0][0] for segment in panel.collections[0].get_segments()} == {7.0}


def test_a_panel_per_usage(faces):
    figure = class_counts(faces.assign(usage=["Training", "PublicTest"] * 21), EXPRESSIONS)
    assert [panel.get_title() for panel in figure.axes] == ["Training (21)", "PublicTest (21)"]


def test_the_lit_region_is_the_mask(images, faces):
    masks = RNG.random((7, 48, 48)) < 0.3
    figure = truth_grid(images[::6], masks, faces["target"][::6], EXPRESSIONS)
    shown = figure.axes[7 + 3].images[0].get_array().astype(int)
    np.testing.assert_array_equal(shown[..., 0] - shown[..., 2] > 50, masks[3])


def test_a_lit_picture_is_yellow_in_the_mask_and_dim_elsewhere():
    shown = lit(np.full((4, 4), 100, np.uint8), np.eye(4, dtype=bool))
    assert shown.shape == (4, 4, 3)
    assert shown[0, 0].tolist() == [178, 157, 50]
    assert shown[0, 1].tolist() == [65, 65, 65]
