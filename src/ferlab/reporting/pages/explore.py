"""The explorer of `notebooks/00_explore.ipynb`: one face with its prediction and attribution map, and the confusions of its expression.

Reads predictions, store and weights, and writes nothing. The widgets call plain functions; torch is imported for the first map.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.data.store import Store, open_store
from ferlab.error_analysis.confusions import rank_confusions
from ferlab.evaluation.predictions import expressions_of, probs_of, read_predictions
from ferlab.params import Explain, load_params
from ferlab.paths import InputError, artefact
from ferlab.reporting import faces
from ferlab.reporting.style import COLOURS
from ferlab.reporting.tables import percent

METHODS = ("none", "grad_cam", "hires_cam", "occlusion")
OUTCOMES = ("all", "correct", "misclassified")
EXAMPLES = 5  # faces of each confusion


@dataclass(frozen=True)
class Scored:
    """Predictions of a run and the store of their faces."""

    run: str
    predictions: pd.DataFrame
    store: Store
    explain: Explain

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return expressions_of(self.predictions)

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of the predictions' faces in the store, (N,)."""
        places = pd.Series(np.arange(len(self.store.faces)), index=self.store.faces["face_id"])
        return places.loc[self.predictions["face_id"]].to_numpy()

    @cached_property
    def model(self) -> Any:
        """The trained model, loaded on first use."""
        from ferlab.models import load_model

        return load_model(artefact("train", "weights", self.run))

    def image(self, row: int) -> np.ndarray:
        """The stored face of a row of predictions."""
        return np.asarray(self.store.images[self.rows[row]])


def open_run(run: str) -> Scored:
    """Open predictions and store of a run.

    Raises:
        InputError: If params.yaml has no such run, or it has not been evaluated.
    """
    params = load_params()
    if run not in params.runs:
        raise InputError(f"params.yaml: no run is called {run!r}; known: {', '.join(params.runs)}")
    predictions = read_predictions(artefact("evaluate", "predictions", run))
    return Scored(run, predictions, open_store(artefact("prepare", "store", params.runs[run].data)), params.explain)


def select_rows(predictions: pd.DataFrame, *, split: str, expression: str, outcome: str, threshold: float) -> np.ndarray:
    """Return the selected rows, in store order.

    Args:
        predictions: A predictions table.
        split: A split, or "all".
        expression: The true expression, or "all".
        outcome: "correct", "misclassified" or "all".
        threshold: Least probability of the predicted expression.
    """
    correct = (predictions["pred"] == predictions["target"]).to_numpy()
    keep = probs_of(predictions).max(axis=1) >= threshold
    if split != "all":
        keep &= (predictions["split"] == split).to_numpy()
    if expression != "all":
        keep &= (predictions["target"] == expressions_of(predictions).index(expression)).to_numpy()
    if outcome != "all":
        keep &= correct if outcome == "correct" else ~correct
    return np.flatnonzero(keep)


def attribute(scored: Scored, row: int, *, method: str, explained_class: int) -> np.ndarray:
    """Return the attribution map of one face, (H, W) float32, of the stored face's size.

    Args:
        scored: An opened run.
        row: A row of its predictions.
        method: "grad_cam", "hires_cam" or "occlusion", with the window and stride of params.yaml.
        explained_class: The class to explain.

    Raises:
        InputError: Grad-CAM or HiResCAM of a model without convolutions.
    """
    from ferlab.explanation.attributions import explain_faces

    sides = {"window": scored.explain.window, "stride": scored.explain.stride}
    images, classes = scored.image(row)[None], np.array([explained_class])
    return explain_faces(scored.model, images, explained_class=classes, methods=[method], **sides)[method][0]


def draw_face(face: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...], target: int, heat: np.ndarray | None = None) -> Figure:
    """Draw a face, its attribution map if given, and the probabilities with the true expression marked.

    Args:
        face: uint8 (H, W) or (H, W, 3).
        probs: (K,).
        expressions: K names.
        target: The true class.
        heat: (H, W); only positive values are drawn.
    """
    panels = 2 if heat is None else 3
    figure, axes = plt.subplots(1, panels, figsize=(2.7 * panels + 1, 2.9), layout="constrained")
    faces.draw_face(axes[0], face, title=f"true: {expressions[target]}")
    if heat is not None:
        faces.draw_face(axes[1], face)
        top = max(float(heat.max()), 0.0)
        if top > 0:
            axes[1].imshow(np.clip(heat, 0, None), cmap="inferno", alpha=0.55, vmin=0, vmax=top)
        axes[1].set_title(f"attribution (maximum {top:.2g})" if top > 0 else "no positive attribution")
    bars = axes[-1]
    bars.barh(range(len(probs)), probs, color=[COLOURS[name] for name in expressions])
    bars.set_yticks(range(len(probs)), [f"{name} (true)" if place == target else name for place, name in enumerate(expressions)])
    bars.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], title=f"predicted: {expressions[int(probs.argmax())]}")
    for place, value in enumerate(probs):
        bars.text(value + 0.02, place, percent(value, digits=0), va="center", fontsize=8)
    bars.invert_yaxis()
    bars.grid(visible=False, axis="y")
    return figure


def draw_confusions(scored: Scored, target: int, *, split: str) -> Figure | None:
    """Draw the three most frequent confusions of a true expression with their most confident examples; None if there are none.

    Args:
        scored: An opened run.
        target: The true class.
        split: A split, or "all".
    """
    names, predictions = scored.expressions, scored.predictions
    shown = predictions if split == "all" else predictions[predictions["split"] == split]
    pairs = rank_confusions(shown)
    pairs = pairs[pairs["target"] == names[target]].head(3)
    if pairs.empty:
        return None
    rows: list[list[np.ndarray | None]] = []
    notes, labels = [], []
    for _, pair in pairs.iterrows():
        confused = shown[(shown["target"] == target) & (shown["pred"] == names.index(pair["pred"]))]
        confident = confused[f"prob_{pair['pred']}"].sort_values(ascending=False, kind="stable").head(EXAMPLES)
        blank = EXAMPLES - len(confident)
        rows.append([*(scored.image(row) for row in confident.index), *[None] * blank])
        notes.append([*(percent(prob, digits=0) for prob in confident), *[""] * blank])
        labels.append(f"predicted as {pair['pred']}\n{pair['count']} of {pair['support']} ({percent(pair['rate'], digits=0)})")
    return faces.picture_grid(rows, labels=labels, notes=notes, cell=1.3)


def as_html(figure: Figure | None, *, alt: str) -> str:
    """Return a figure as an image with alt text, or the alt text alone; close the figure."""
    if figure is None:
        return f"<p>{html.escape(alt)}</p>"
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100, facecolor="white")
    plt.close(figure)
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


class Explorer(widgets.VBox):
    """Controls and two figures; `Explorer(["run", ...])` at the end of a cell shows it."""

    def __init__(self, runs: list[str]) -> None:
        self.scored = open_run(runs[0])
        self.run = widgets.Dropdown(options=runs, description="run")
        self.split = widgets.ToggleButtons(options=["val", "test", "all"], description="split")
        self.expression = widgets.Dropdown(options=["all", *self.scored.expressions], description="true")
        self.outcome = widgets.ToggleButtons(options=OUTCOMES, value="misclassified", description="outcome")
        self.threshold = widgets.FloatSlider(min=0, max=1, step=0.05, description="p at least", continuous_update=False)
        self.method = widgets.Dropdown(options=METHODS, description="map")
        self.face = widgets.BoundedIntText(min=0, max=0, description="face")
        self.caption, self.picture, self.confusions = widgets.HTML(), widgets.HTML(), widgets.HTML()
        controls = [widgets.HBox([self.run, self.expression, self.method]), self.split, self.outcome]
        super().__init__([*controls, widgets.HBox([self.threshold, self.face]), self.caption, self.picture, self.confusions])
        self.run.observe(self._open, "value")
        for control in (self.split, self.expression, self.outcome, self.threshold):
            control.observe(self._select, "value")
        for control in (self.face, self.method):
            control.observe(self._show, "value")
        self._select()

    def _open(self, change: dict[str, Any]) -> None:
        try:
            self.scored = open_run(change["new"])
        except InputError as error:
            self._report(error)
            return
        with self.hold_trait_notifications():
            self.expression.options = ["all", *self.scored.expressions]
        self._select()

    def _select(self, _: Any = None) -> None:
        self.rows = select_rows(
            self.scored.predictions,
            split=self.split.value,
            expression=self.expression.value,
            outcome=self.outcome.value,
            threshold=self.threshold.value,
        )
        self.face.max = max(len(self.rows) - 1, 0)
        if self.face.value:
            self.face.value = 0  # shows
        else:
            self._show()

    def _show(self, _: Any = None) -> None:
        if not len(self.rows):
            self._report("No face matches this selection.")
            return
        scored, row = self.scored, int(self.rows[self.face.value])
        face, probs = scored.predictions.iloc[row], probs_of(scored.predictions)[row]
        names, target, pred = scored.expressions, int(face["target"]), int(face["pred"])
        try:
            heat = None if self.method.value == "none" else attribute(scored, row, method=self.method.value, explained_class=pred)
        except InputError as error:
            self._report(error)
            return
        self.caption.value = f"<p>Face {self.face.value + 1} of {len(self.rows)}: <code>{html.escape(face['face_id'])}</code> ({face['split']})</p>"
        alt = f"A face of {names[target]}, predicted as {names[pred]} with probability {probs[pred]:.2f}."
        self.picture.value = as_html(draw_face(scored.image(row), probs, expressions=names, target=target, heat=heat), alt=alt)
        figure = draw_confusions(scored, target, split=self.split.value)
        none = f"No face of {names[target]} is misclassified here."
        self.confusions.value = as_html(figure, alt=f"The most frequent confusions of {names[target]}, most confident first." if figure else none)

    def _report(self, message: object) -> None:
        """Show a line instead of figures: an error inside a widget's callback would only reach the log."""
        self.caption.value, self.picture.value, self.confusions.value = f"<p>{html.escape(str(message))}</p>", "", ""
