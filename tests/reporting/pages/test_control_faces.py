"""Figures and tables of control faces: what stands in them, checked by their artists and numbers."""

import numpy as np

from ferlab.control import ACTION_UNITS, read
from ferlab.control.action_units import NAMES
from ferlab.reporting.pages import control_faces as figures

SIZE = 48


def shown(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_every_unit_stands_in_one_row_of_units():
    assert sorted((unit for row in figures.UNIT_ROWS for unit in row), key=str) == sorted(ACTION_UNITS, key=str)


def test_units_rise_down_a_column_and_end_in_their_mask():
    figure = figures.units_figure((1, 26), size=SIZE, seed=0)
    pictures = np.array(shown(figure), dtype=float).reshape(5, 2, SIZE, SIZE, 3)
    change = np.abs(pictures[:4] - pictures[0]).sum(axis=(2, 3, 4))
    assert (np.diff(change, axis=0) > 0).all()
    assert (change[0] == 0).all()
    yellow = pictures[4, :, :, :, 0] - pictures[4, :, :, :, 2] > 80
    assert np.argwhere(yellow[0])[:, 0].mean() < SIZE / 2 < np.argwhere(yellow[1])[:, 0].mean()
    assert [title.split("\n")[0] for title in titles(figure)] == ["AU 1", "AU 26"]


def test_subjects_have_every_skin_tone_and_show_every_expression():
    figure = figures.subjects_figure(size=SIZE, seed=0)
    assert titles(figure) == list(NAMES)
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [f"skin {tone}" for tone in range(1, 7)]
    assert len(shown(figure)) == 6 * 8


def test_a_sequence_is_shown_whole_with_its_intensities():
    images, faces = read(faces=24, subjects=4, size=24, frames=4)
    rows = figures.strongest_sequences(faces, count=3)
    assert len(rows) == 12
    assert faces["target"].iloc[rows].nunique() == 3
    figure = figures.sequences_figure(images[rows], faces.iloc[rows])
    notes = [axes.get_xlabel() for axes in figure.axes]
    assert notes == [f"{value:.1f}" for value in faces["intensity"].iloc[rows]]
    assert notes[::4] == ["0.0"] * 3


def test_a_world_shows_labels_above_and_truth_below():
    figure = figures.world_figure("shortcut", size=SIZE, seed=0, note="shortcut")["figure"]
    assert titles(figure) == list(NAMES)
    assert {axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()} <= set(NAMES)
    truth = np.array(shown(figure)[8:], dtype=int)
    assert (truth[:, 2, 2, 0] - truth[:, 2, 2, 2] > 60).all()  # the patch in the corner is lit
    assert (np.abs(truth[:, 30, 30, 0] - truth[:, 30, 30, 2]) < 60).all()


def test_copies_differ_by_what_stands_below_them():
    figure = figures.copies_figure(size=SIZE, seed=0)
    notes = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert notes[0] == "mean 0.0"
    assert all(float(note.split()[1]) > 0.5 for note in notes[1:])


def test_sizes_are_drawn_grey_and_in_colour():
    pictures = shown(figures.sizes_figure((48, 64), seed=0))
    assert [picture.shape for picture in pictures] == [(48, 48), (64, 64), (48, 48, 3), (64, 64, 3)]


def test_every_face_has_its_point_on_the_circumplex():
    _, faces = read(faces=16, subjects=4, size=24, expressions=8)
    (axes,) = figures.affect_figure(faces).axes
    assert sum(len(points.get_offsets()) for points in axes.collections) == 16
    assert {text.get_text() for text in axes.texts} == set(NAMES)


def test_the_table_of_options_finds_what_was_asked():
    found = figures.options_table(faces=400, seed=0)["found in the table"]
    assert found["overlap of subjects"] == "50 % of PrivateTest"
    assert found["exact duplicates"] == "10 %"
    assert found["near-duplicates"] == "12 %, of 6 kinds"
    assert found["label noise"] == "20 % wrong"
    assert found["skin"] == "tones 5, 6"
    assert len(found) == 10


def test_the_summary_counts_faces_and_measures_masks():
    measured = figures.summary(faces=16, size=SIZE, seed=0)
    assert sum(measured["counts"].values()) == measured["faces"] == 16
    assert set(measured["mask_area"]) == {f"au{unit}" for unit in ACTION_UNITS}
    assert all(0.005 < area < 0.2 for area in measured["mask_area"].values())
    assert measured["valence"]["happy"] > 0 > measured["valence"]["sad"]
    assert measured["valence"]["neutral"] == measured["intensity"]["neutral"] == 0


def test_rows_are_drawn_again_as_the_reader_draws_them():
    images, faces = read(faces=12, subjects=3, size=SIZE, expressions=8, colour=True)
    chosen = faces.iloc[[1, 7]]
    np.testing.assert_array_equal(figures.draw_rows(chosen, size=SIZE), images[[1, 7]])
