"""fers's figure of samples: correctly predicted faces of the two most and the two least frequent expressions, with the confidence of each."""

from __future__ import annotations

import html
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from ferlab.data.readers.captured import is_for
from ferlab.live.collection.storage import FOLDER, Collection
from ferlab.live.panels import Panel, note, png_uri, quiet
from ferlab.paths import InputError


def choose_samples(faces: pd.DataFrame, *, each: int = 2) -> pd.DataFrame:
    """Return the rows of up to `each` faces of the two most and the two least frequent expressions, by their people's labels.

    Among the faces of an expression whose label the model predicted, those with the highest probability come first; faces of new people before
    further ones of the same. With fewer than four expressions, all of them.

    Args:
        faces: As `Collection.faces`.
        each: Faces of an expression.
    """
    counts = faces["expression"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    chosen = list(dict.fromkeys([*counts.index[:2], *counts.index[-2:]]))
    right = faces[faces["live_predicted"] == faces["expression"]]
    parts = []
    for name in chosen:
        own = right[right["expression"] == name].assign(probability=lambda rows, name=name: pd.to_numeric(rows[f"live_prob_{name}"]))
        own = own.sort_values("probability", ascending=False, kind="stable")
        own = own.assign(turn=own.groupby("person").cumcount()).sort_values(["turn", "probability"], ascending=[True, False], kind="stable")
        parts.append(own.head(each).assign(count=counts[name]))
    return pd.concat(parts, ignore_index=True) if parts else faces.assign(probability=0.0, count=0)


class Samples(Panel):
    """The figure, of the faces that may be shown in print; nothing where there are none."""

    def __init__(self, folder: Path = FOLDER, *, scope: str = "publication", each: int = 2) -> None:
        """Show samples of a collection.

        Args:
            folder: Of the collection.
            scope: Consent that a face must have to be shown: "publication", or "research" for a look on this machine.
            each: Faces of each expression.
        """
        self.place = widgets.HTML()
        super().__init__([self.place])
        try:
            self.place.value = _figure(Collection(folder), scope=scope, each=each)
        except InputError as error:
            self.place.value = note(error, "error")


def _figure(collection: Collection, *, scope: str, each: int) -> str:
    faces = collection.faces()
    faces = faces[faces["scope"].map(lambda agreed: is_for(agreed, scope)).astype(bool)]
    samples = choose_samples(faces, each=each)
    if samples.empty:
        return ""
    cells = "".join(_cell(collection, row) for row in samples.to_dict("records"))
    told = f"Faces whose people agreed to {scope}, n = {len(faces)} of {faces['person'].nunique()} people: of the two most and the two least frequent"
    told = f"{told} expressions those that the model predicts as their people do, most confident first."
    return f'<div class="fl-samples">{cells}</div>{quiet(told)}'


def _cell(collection: Collection, row: dict[str, object]) -> str:
    path = collection.folder / str(row["file"])
    shown = png_uri(path.read_bytes() if path.is_file() else b"")
    text = f"{row['expression']} {100 * float(row['probability']):.0f} %"
    picture = f'<img src="{shown}" alt="A face labelled {html.escape(text)}">'
    caption = f'<figcaption>{html.escape(text)} <span class="fl-quiet">n = {row["count"]}</span></figcaption>'
    return f'<figure class="fl-sample">{picture}{caption}</figure>'
