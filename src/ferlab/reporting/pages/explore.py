"""The explorer of `notebooks/00_explore.ipynb`: one face at a time, what the model says of it, where it looks, what it is taken for.

Reads what the pipeline wrote (predictions, store, weights) and writes nothing. Choosing and drawing are plain functions; the widgets only call them.
torch is imported when the first heat map is asked for.
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

METHODS = ("none", "grad_cam", "hires_cam", "occlusion")
ANSWERS = ("all", "right", "wrong")
EXAMPLES = 5  # faces shown of each confusion


@dataclass(frozen=True)
class Scored:
    """One run's predictions beside the faces they were made for."""

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
        """Where each prediction's face lies in the store, (N,)."""
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
    """Open what the pipeline knows about a run.

    Raises:
        InputError: If params.yaml names no such run, or it has not been evaluated yet.
    """
    params = load_params()
    if run not in params.runs:
        raise InputError(f"params.yaml: no run is called {run!r}; known: {', '.join(params.runs)}")
    predictions = read_predictions(artefact("evaluate", "predictions", run))
    return Scored(run, predictions, open_store(artefact("prepare", "store", params.runs[run].data)), params.explain)


def select_rows(predictions: pd.DataFrame, *, split: str, expression: str, answer: str, threshold: float) -> np.ndarray:
    """Return the rows to look through, in store order.

    Args:
        predictions: A predictions table.
        split: A split, or "all".
        expression: The true expression, or "all".
        answer: "right", "wrong" or "all".
        threshold: The least probability of the predicted expression.
    """
    right = (predictions["pred"] == predictions["target"]).to_numpy()
    keep = probs_of(predictions).max(axis=1) >= threshold
    if split != "all":
        keep &= (predictions["split"] == split).to_numpy()
    if expression != "all":
        keep &= (predictions["target"] == expressions_of(predictions).index(expression)).to_numpy()
    if answer != "all":
        keep &= right if answer == "right" else ~right
    return np.flatnonzero(keep)


def attribute(scored: Scored, row: int, *, method: str, explained_class: int) -> np.ndarray:
    """Return the heat map of one face, (H, W) float32, in the size of the stored face.

    Args:
        scored: An opened run.
        row: A row of its predictions.
        method: "grad_cam", "hires_cam" or "occlusion", with the window and stride of params.yaml.
        explained_class: The class whose evidence is shown.

    Raises:
        InputError: Grad-CAM or HiResCAM of a model without convolutions.
    """
    from ferlab.explanation.attributions import explain_faces

    sides = {"window": scored.explain.window, "stride": scored.explain.stride}
    images, classes = scored.image(row)[None], np.array([explained_class])
    return explain_faces(scored.model, images, explained_class=classes, methods=[method], **sides)[method][0]


def draw_face(face: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...], target: int, heat: np.ndarray | None = None) -> Figure:
    """Draw a face, its heat map if there is one, and the probabilities; the true expression is marked.

    Args:
        face: uint8 (H, W) or (H, W, 3).
        probs: (K,).
        expressions: K names.
        target: The true class.
        heat: (H, W); negative values (covering helps the class) are left out of the picture.
    """
    panels = 2 if heat is None else 3
    figure, axes = plt.subplots(1, panels, figsize=(2.7 * panels + 1, 2.9), layout="constrained")
    faces.draw_face(axes[0], face, title=f"true: {expressions[target]}")
    if heat is not None:
        faces.draw_face(axes[1], face)
        top = max(float(heat.max()), 0.0)
        if top > 0:
            axes[1].imshow(np.clip(heat, 0, None), cmap="inferno", alpha=0.55, vmin=0, vmax=top)
        axes[1].set_title(f"where (top {top:.2g})" if top > 0 else "no positive evidence")
    bars = axes[-1]
    bars.barh(range(len(probs)), probs, color=[COLOURS[name] for name in expressions])
    bars.set_yticks(range(len(probs)), [f"{name} (true)" if place == target else name for place, name in enumerate(expressions)])
    bars.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], title=f"predicted: {expressions[int(probs.argmax())]}")
    for place, value in enumerate(probs):
        bars.text(value + 0.02, place, f"{100 * value:.0f} %", va="center", fontsize=8)
    bars.invert_yaxis()
    bars.grid(visible=False, axis="y")
    return figure


def draw_confusions(scored: Scored, target: int, *, split: str) -> Figure | None:
    """Draw what faces of this true expression are most often taken for, with the surest examples; None if they are never mistaken.

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
    across = max(3, min(EXAMPLES, int(pairs["count"].max())))
    figure = plt.figure(figsize=(1.4 * across, 1.9 * len(pairs)), layout="constrained")
    for part, (_, pair) in zip(np.atleast_1d(figure.subfigures(len(pairs), 1)), pairs.iterrows(), strict=True):
        told = f"taken for {pair['pred']}: {pair['count']} of {pair['support']} ({100 * pair['rate']:.0f} %)"
        part.suptitle(told, x=0.01, horizontalalignment="left", fontsize=10, weight="bold")
        mistaken = shown[(shown["target"] == target) & (shown["pred"] == names.index(pair["pred"]))]
        surest = mistaken.sort_values(f"prob_{pair['pred']}", ascending=False, kind="stable").index[:EXAMPLES]
        line = part.subplots(1, across)
        for axis in line:
            axis.set_axis_off()
        for axis, row in zip(line, surest, strict=False):
            faces.draw_face(axis, scored.image(row), title=f"{100 * predictions.loc[row, 'prob_' + pair['pred']]:.0f} %")
    return figure


def as_html(figure: Figure | None, *, alt: str) -> str:
    """Return a figure as an image with alt text, or the alt text alone; the figure is closed."""
    if figure is None:
        return f"<p>{html.escape(alt)}</p>"
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100, facecolor="white")
    plt.close(figure)
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


class Explorer(widgets.VBox):
    """The controls and the two pictures they change. `Explorer(["run", ...])` at the end of a cell shows it."""

    def __init__(self, runs: list[str]) -> None:
        self.scored = open_run(runs[0])
        self.run = widgets.Dropdown(options=runs, description="run")
        self.split = widgets.ToggleButtons(options=["val", "test", "all"], description="split")
        self.expression = widgets.Dropdown(options=["all", *self.scored.expressions], description="true")
        self.answer = widgets.ToggleButtons(options=ANSWERS, value="wrong", description="answers")
        self.threshold = widgets.FloatSlider(min=0, max=1, step=0.05, description="at least p", continuous_update=False)
        self.method = widgets.Dropdown(options=METHODS, description="heat map")
        self.face = widgets.BoundedIntText(min=0, max=0, description="face")
        self.told, self.picture, self.confusions = widgets.HTML(), widgets.HTML(), widgets.HTML()
        controls = [widgets.HBox([self.run, self.expression, self.method]), self.split, self.answer]
        super().__init__([*controls, widgets.HBox([self.threshold, self.face]), self.told, self.picture, self.confusions])
        self.run.observe(self._open, "value")
        for control in (self.split, self.expression, self.answer, self.threshold):
            control.observe(self._select, "value")
        for control in (self.face, self.method):
            control.observe(self._show, "value")
        self._select()

    def _open(self, change: dict[str, Any]) -> None:
        try:
            self.scored = open_run(change["new"])
        except InputError as error:
            self._say(error)
            return
        with self.hold_trait_notifications():
            self.expression.options = ["all", *self.scored.expressions]
        self._select()

    def _select(self, _: Any = None) -> None:
        self.rows = select_rows(
            self.scored.predictions,
            split=self.split.value,
            expression=self.expression.value,
            answer=self.answer.value,
            threshold=self.threshold.value,
        )
        self.face.max = max(len(self.rows) - 1, 0)
        if self.face.value:
            self.face.value = 0  # shows
        else:
            self._show()

    def _show(self, _: Any = None) -> None:
        if not len(self.rows):
            self._say("No face fits these choices.")
            return
        scored, row = self.scored, int(self.rows[self.face.value])
        face, probs = scored.predictions.iloc[row], probs_of(scored.predictions)[row]
        names, target, pred = scored.expressions, int(face["target"]), int(face["pred"])
        try:
            heat = None if self.method.value == "none" else attribute(scored, row, method=self.method.value, explained_class=pred)
        except InputError as error:
            self._say(error)
            return
        self.told.value = f"<p>Face {self.face.value + 1} of {len(self.rows)}: <code>{html.escape(face['face_id'])}</code> ({face['split']})</p>"
        alt = f"A face of {names[target]}, taken for {names[pred]} with probability {probs[pred]:.2f}."
        self.picture.value = as_html(draw_face(scored.image(row), probs, expressions=names, target=target, heat=heat), alt=alt)
        figure = draw_confusions(scored, target, split=self.split.value)
        wrong = f"Faces of {names[target]} and what they are most often taken for, surest first."
        self.confusions.value = as_html(figure, alt=wrong if figure else f"No face of {names[target]} is mistaken here.")

    def _say(self, message: object) -> None:
        """Show a line instead of pictures: an error inside a widget's callback would only reach the log."""
        self.told.value, self.picture.value, self.confusions.value = f"<p>{html.escape(str(message))}</p>", "", ""
