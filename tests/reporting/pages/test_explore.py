"""The explorer: which faces are left, what is drawn of them, and that the widgets follow."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.data.store import Store
from ferlab.evaluation.predictions import predictions_table
from ferlab.params import Explain
from ferlab.paths import InputError
from ferlab.reporting.pages import explore as explorer
from ferlab.reporting.pages.explore import Explorer, Scored, as_html, draw_confusions, draw_face, select_rows

NAMES = ("angry", "happy", "sad")
# Two angry (one predicted as sad), three happy (all correct), one sad (predicted as angry); the last two are test faces.
TARGETS = np.array([0, 0, 1, 1, 1, 2])
PROBS = np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.9, 0.0], [0.2, 0.6, 0.2], [0.0, 1.0, 0.0], [0.5, 0.2, 0.3]])


@pytest.fixture
def scored() -> Scored:
    ids = [f"control/{n:07d}" for n in range(6)]
    table = predictions_table(ids, ["val"] * 4 + ["test"] * 2, TARGETS, probs=PROBS, expressions=NAMES)
    # The store holds the faces in another order, each filled with its own number.
    faces = pd.DataFrame({"face_id": ids[::-1]})
    images = np.stack([np.full((8, 8), n, np.uint8) for n in range(5, -1, -1)])
    return Scored("a_run", table, Store(images, faces, NAMES), Explain())


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"split": "test"}, [4, 5]),
        ({"outcome": "misclassified"}, [1, 5]),
        ({"outcome": "correct", "expression": "happy"}, [2, 3, 4]),
        ({"threshold": 0.75}, [0, 2, 4]),
        ({"expression": "sad", "outcome": "correct"}, []),
    ],
)
def test_rows_that_are_left(scored, choice, rows) -> None:
    everything = {"split": "all", "expression": "all", "outcome": "all", "threshold": 0.0}
    assert select_rows(scored.predictions, **(everything | choice)).tolist() == rows


def test_faces_are_found_by_id_not_by_place(scored) -> None:
    assert [int(scored.image(row)[0, 0]) for row in range(6)] == list(range(6))


def test_the_face_figure_marks_truth_and_prediction() -> None:
    figure = draw_face(np.zeros((8, 8), np.uint8), PROBS[1], expressions=NAMES, target=0, heat=np.zeros((8, 8)))
    face, heat, bars = figure.axes
    assert face.get_title() == "true: angry"
    assert heat.get_title() == "no positive attribution"
    assert bars.get_title() == "predicted: sad"
    assert [label.get_text() for label in bars.get_yticklabels()] == ["angry (true)", "happy", "sad"]
    plt.close(figure)


def test_confusions_show_what_the_class_is_predicted_as(scored) -> None:
    figure = draw_confusions(scored, 0, split="val")
    assert figure.axes[0].get_ylabel() == "predicted as sad\n1 of 2 (50 %)"
    assert figure.axes[0].get_xlabel() == "70 %"
    assert int(figure.axes[0].images[0].get_array()[0, 0]) == 1
    plt.close(figure)
    assert draw_confusions(scored, 1, split="all") is None


def test_pictures_carry_alt_text() -> None:
    figure, _ = plt.subplots()
    assert '<img alt="a &quot;face&quot;"' in as_html(figure, alt='a "face"')
    assert as_html(None, alt="nothing") == "<p>nothing</p>"


def test_widgets_follow_the_choices(scored, monkeypatch) -> None:
    monkeypatch.setattr(explorer, "open_run", lambda run: scored)
    shown = Explorer(["a_run"])
    assert "Face 1 of 1" in shown.caption.value  # val, wrong
    assert "A face of angry, predicted as sad with probability 0.70" in shown.picture.value
    shown.outcome.value = "all"
    shown.face.value = 3
    assert "Face 4 of 4" in shown.caption.value
    shown.expression.value = "angry"
    assert "Face 1 of 2" in shown.caption.value
    shown.threshold.value = 1.0
    assert "No face matches" in shown.caption.value
    assert shown.picture.value == ""


def test_missing_weights_are_told_in_the_notebook(scored, monkeypatch) -> None:
    def fail(*_, **__):
        raise InputError("no weights there; train the run first")

    monkeypatch.setattr(explorer, "open_run", lambda run: scored)
    monkeypatch.setattr(explorer, "attribute", fail)
    shown = Explorer(["a_run"])
    shown.method.value = "grad_cam"
    assert "train the run first" in shown.caption.value


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "occlusion"])
def test_heat_maps_come_in_the_size_of_the_stored_face(scored, monkeypatch, method) -> None:
    import torch

    from ferlab.models import LoadedModel

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(512, 3)).eval()
    model = LoadedModel(
        module=module,
        name="tiny",
        options={},
        expressions=NAMES,
        mean=(0.5,),
        std=(0.2,),
        size=16,
        channels=1,
        target_layer="1",
        trained_on=("train",),
    )
    monkeypatch.setitem(scored.__dict__, "model", model)
    heat = explorer.attribute(scored, 1, method=method, explained_class=2)
    assert heat.shape == (8, 8)
    assert np.isfinite(heat).all()
