"""The error explorer: linked views of predictions in JupyterLab and Voila.

A map of the faces, a confusion matrix, a gallery, one face in detail (of two runs side by side) and a facet for each column of the face table; each
selects for the others. The kernel holds the faces and the selection; the browser gets coordinates and classes once, then a mask of bits for each
selection, and thumbnails and attribution maps of what is in view. What runs in the browser is static/errors.js; its messages are answered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import cv2
import matplotlib
import numpy as np
import pandas as pd
import traitlets

from ferlab.colours import COLOURS
from ferlab.live.exploration.embedding import map_faces
from ferlab.live.exploration.facets import MAIN, ORDERS, accuracy_of, accuracy_text, conditions, facets_of, orders_of, select
from ferlab.live.exploration.scored import Scored, evaluated_runs, open_any, open_run
from ferlab.live.panels import STATIC
from ferlab.params import nearest
from ferlab.paths import InputError

VIEWS = ("map", "matrix", "filters", "gallery", "face")
THUMBNAIL = 64  # pixels a side, at most
MOST_PAGE, MOST_MAPS = 240, 8  # faces in one answer
Answer = tuple[dict[str, Any], list[bytes]]


class ErrorExplorer(anywidget.AnyWidget):
    """Linked views of a run's predictions; see the module.

    Attributes:
        query: The conditions: `facets`, `cells`, `lasso` (see `ferlab.live.exploration.facets.conditions`) and `order`, a key of ORDERS.
        run: The run shown.
        beside: A run to show beside it, "" for none.
    """

    _esm, _css = STATIC / "errors.js", STATIC / "errors.css"
    about, summary = traitlets.Dict().tag(sync=True), traitlets.Dict().tag(sync=True)
    points, classes, certain = (traitlets.Bytes().tag(sync=True) for _ in range(3))
    mask, palette = traitlets.Bytes().tag(sync=True), traitlets.Bytes().tag(sync=True)
    query = traitlets.Dict().tag(sync=True)
    run, beside, message = (traitlets.Unicode("").tag(sync=True) for _ in range(3))

    def __init__(
        self,
        scored: Scored | str | None = None,
        *,
        label_issues: Sequence[str] | None = None,
        views: Sequence[str] = VIEWS,
        beside: str = "",
        query: Mapping[str, Any] | None = None,
    ) -> None:
        """Open the views.

        Args:
            scored: Predictions with faces, or a run; None: as `open_any`.
            label_issues: Ids of faces with a label issue, which become a facet.
            views: Of VIEWS. Without "map" none is computed.
            beside: Another run to show beside it.
            query: The first selection.

        Raises:
            InputError: A run that cannot be opened, or a condition or view that does not exist.
        """
        if unknown := [view for view in views if view not in VIEWS]:
            raise InputError(f"views: no view is called {unknown[0]!r}; {nearest(unknown[0], VIEWS)}")
        self.views, self.issues = tuple(views), label_issues
        self.scored = self._given = scored if isinstance(scored, Scored) else open_any(scored)
        self.other: Scored | None = None
        self._listeners: list[Callable[[pd.DataFrame], object]] = []
        if beside:
            self.other = self._open_beside(beside)
        palette = (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes()
        # Keep: all traits in the first message. A server limits how fast later ones may come, and not this one.
        super().__init__(run=self.scored.run, beside=beside, palette=palette, **self._opened(query or {}))
        for name, act in {"run": self._switch_run, "beside": self._switch_beside, "query": self._switch_query}.items():
            self.observe(act, name)
        self.on_msg(self._on_message)

    @property
    def selected(self) -> pd.DataFrame:
        """The selected faces in the gallery's order: ids, names of label and prediction, confidence, probabilities, then the face table's columns."""
        rows, names = self.rows, np.array(self.scored.expressions)
        predictions = self.scored.predictions.iloc[rows].reset_index(drop=True)
        first = pd.DataFrame(
            {
                "face_id": predictions["face_id"],
                "split": predictions["split"],
                "label": names[predictions["target"].to_numpy()],
                "predicted": names[predictions["pred"].to_numpy()],
                "confidence": self.scored.probs[rows].max(axis=1),
            }
        )
        faces = self.scored.faces.iloc[rows].reset_index(drop=True)
        rest = predictions[[name for name in predictions if name.startswith("prob_")]]
        return pd.concat([first, rest, faces[[name for name in faces if name not in (*first, "target")]]], axis=1)

    def choose(self, facets: Mapping[str, Any] | None = None, **query: Any) -> None:
        """Select faces from Python; the views follow.

        Args:
            facets: Of each column a value or several, of a column of numbers its lowest and highest: `{"label": "fear", "confidence": (0.9, None)}`.
            **query: `cells`, `lasso` or `order`, see `ErrorExplorer.query`.

        Raises:
            InputError: A column, value or order that does not exist; the selection then stays.
        """
        wanted = {name: [value] if isinstance(value, str) else list(value) for name, value in (facets or {}).items()}
        asked = {"facets": wanted, "order": self.query.get("order", "label"), **query}
        self._found(asked)  # raises before anything changes
        self.query = asked

    def on_queue(self, function: Callable[[pd.DataFrame], object]) -> None:
        """Call `function` with the selected faces when the person hands them over by the button, which this makes appear."""
        self._listeners.append(function)
        self.about = {**self.about, "queue": True}

    def _opened(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the traits that show the opened predictions under a query."""
        scored = self.scored
        self.facets = facets_of(scored, label_issues=self.issues, other=self.other)
        found = map_faces(scored) if "map" in self.views else None
        self.coordinates = np.zeros((0, 2), np.float32) if found is None else found.points
        self.orders = orders_of(scored)
        about = {
            "expressions": list(scored.expressions),
            "colours": [COLOURS.get(name, "#8C6D1F") for name in scored.expressions],
            "views": list(self.views),
            "runs": list(dict.fromkeys([self._given.run, *_known_runs()])),
            "facets": [_outline(facet) for facet in self.facets.values()],
            "orders": ORDERS,
            "note": scored.note,
            "how": "" if found is None else found.how,
            "colour": scored.pictures([0]).ndim == 4,
            "total": len(scored.predictions),
            "queue": bool(self._listeners),
        }
        return {
            "about": about,
            "points": self.coordinates.tobytes(),
            "classes": scored.predictions[["target", "pred"]].to_numpy(dtype=np.uint8).T.tobytes(),
            "certain": np.round(255 * scored.probs.max(axis=1)).astype(np.uint8).tobytes(),
            "query": {"order": "label", **query},
            **self._found(query),
        }

    def _found(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Select the faces of a query, and return the traits that show them."""
        scored, order = self.scored, query.get("order", "label")
        if order not in ORDERS:
            raise InputError(f"order: no order is called {order!r}; {nearest(str(order), ORDERS)}")
        if query.get("lasso") and not len(self.coordinates):
            raise InputError("lasso: these views have no map; open them with the view 'map'")
        found = select(scored, self.facets, conditions(scored, self.facets, self.coordinates, query))
        places = self.orders[order]
        self.rows = places[found.mask[places]]
        accuracy = accuracy_of(scored, found.mask)
        summary = {**accuracy, "text": accuracy_text(accuracy, query), "matrix": found.matrix.tolist(), "counts": found.counts}
        return {"mask": np.packbits(found.mask, bitorder="little").tobytes(), "summary": summary, "message": ""}

    def _put(self, traits: Mapping[str, Any]) -> None:
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)

    def _switch_query(self, change: Mapping[str, Any]) -> None:
        self._try(lambda: self._put(self._found(change["new"])))

    def _switch_run(self, change: Mapping[str, Any]) -> None:
        run = change["new"]
        if run == self.scored.run:
            return

        def reopen() -> None:
            scored = self._given if run == self._given.run else open_run(run)
            if self.other is not None and not _shared(scored, self.other):
                self.other = None
            self.scored, self.other = scored, None if self.beside == run else self.other
            self.beside = "" if self.other is None else self.other.run
            self._put(self._opened(self._still_possible()))

        self._try(reopen)
        self.run = self.scored.run

    def _switch_beside(self, change: Mapping[str, Any]) -> None:
        run = change["new"]
        if run == ("" if self.other is None else self.other.run):
            return

        def reopen() -> None:
            self.other = self._open_beside(run) if run else None
            self._put(self._opened(self._still_possible()))

        self._try(reopen)
        self.beside = "" if self.other is None else self.other.run

    def _still_possible(self) -> dict[str, Any]:
        """Return the query without conditions on columns that the opened faces lack, and without the lasso, whose map is another."""
        facets = facets_of(self.scored, label_issues=self.issues, other=self.other)
        kept = {name: wanted for name, wanted in self.query.get("facets", {}).items() if name in facets and _occurs(facets[name], wanted)}
        return {**self.query, "facets": kept, "lasso": []}

    def _open_beside(self, run: str) -> Scored:
        other = self._given if run == self._given.run else open_run(run)
        if not _shared(self.scored, other):
            raise InputError(f"{run}: no face and classes in common with {self.scored.run}; choose a run of the same dataset")
        return other

    def _try(self, act: Callable[[], None]) -> None:
        """Show an input error as a line: inside a callback it would only reach the log."""
        try:
            act()
        except InputError as error:
            self.message = str(error)

    def _on_message(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
        ask = content.get("ask")
        answers: dict[Any, Callable[[Mapping[str, Any]], Answer]]
        answers = {"faces": self._faces, "maps": self._maps, "face": self._face, "queue": self._queue}
        if ask not in answers:
            return
        try:
            answer, sent = answers[ask](content)
        except InputError as error:
            answer, sent = {"error": str(error)}, []
        self.send({"answer": ask, "id": content.get("id"), **answer}, sent)

    def _faces(self, asked: Mapping[str, Any]) -> Answer:
        """Thumbnails of a page of the selection, or of some rows, as one sprite: uint8 (n, S, S) or (n, S, S, 3)."""
        start, count = int(asked.get("start", 0)), min(int(asked.get("count", 1)), MOST_PAGE)
        rows = np.asarray(asked["rows"], np.int64)[:MOST_PAGE] if "rows" in asked else self.rows[max(start, 0) : max(start, 0) + count]
        if not len(rows):
            return {"start": start, "rows": [], "ids": [], "side": [0, 0]}, [b""]
        sprite = thumbnails(self.scored.pictures(rows))
        ids = self.scored.predictions["face_id"].iloc[rows].tolist()
        return {"start": start, "rows": rows.tolist(), "ids": ids, "side": list(sprite.shape[1:3])}, [np.ascontiguousarray(sprite).tobytes()]

    def _maps(self, asked: Mapping[str, Any]) -> Answer:
        """Attribution maps of at most MOST_MAPS rows, one buffer a method: uint8 (n, H, W), 255 at a map's largest value, 0 from 0 down."""
        rows, explained = [int(row) for row in asked["rows"]][:MOST_MAPS], asked.get("explained", "predicted")
        scored = self.other if asked.get("beside") else self.scored
        if scored is None:
            raise InputError("no run is opened beside this one")
        places = rows if scored is self.scored else _rows_in(scored, self.scored, rows)
        column = "pred" if explained == "predicted" else "target"
        heats = scored.maps(places, scored.predictions[column].to_numpy()[places].tolist())
        tops = {method: np.clip(heat, 0, None).max(axis=(1, 2)) for method, heat in heats.items()}
        scaled = [np.clip(heat, 0, None) / np.maximum(tops[method], 1e-12)[:, None, None] for method, heat in heats.items()]
        sent = [np.round(255 * each).astype(np.uint8).tobytes() for each in scaled]
        side = list(next(iter(heats.values())).shape[1:])
        return {"rows": rows, "methods": list(heats), "tops": {m: top.tolist() for m, top in tops.items()}, "side": side}, sent

    def _face(self, asked: Mapping[str, Any]) -> Answer:
        """One face as it is stored, its columns, and its prediction by each opened run."""
        row = int(asked["row"])
        if not 0 <= row < len(self.scored.rows):
            raise InputError(f"no face {row}; expected 0 to {len(self.scored.rows) - 1}")
        place = np.flatnonzero(self.rows == row)
        picture = self.scored.pictures([row])[0]
        runs = [_prediction(self.scored, row)]
        if self.other is not None:
            found = int(pd.Index(self.other.predictions["face_id"]).get_indexer([self.scored.predictions["face_id"].iloc[row]])[0])
            runs.append(_prediction(self.other, found))
        facts = {name: _shown(value) for name, value in self.scored.faces.iloc[row].items() if name not in ("face_id", "content_hash", "target")}
        face = self.scored.predictions.iloc[row]
        told = {"row": row, "face": face["face_id"], "split": face["split"], "target": int(face["target"]), "facts": facts, "runs": runs}
        return {**told, "place": int(place[0]) if len(place) else None, "side": list(picture.shape[:2])}, [np.ascontiguousarray(picture).tobytes()]

    def _queue(self, _: Mapping[str, Any]) -> Answer:
        selected = self.selected
        for listener in self._listeners:
            listener(selected)
        return {"text": f"{len(selected):,} faces handed over to the correction queue."}, []


def thumbnails(images: np.ndarray, *, most: int = THUMBNAIL) -> np.ndarray:
    """Return faces uint8 (N, H, W) or (N, H, W, 3) with sides of at most `most` pixels, averaged where they shrink."""
    height, width = images.shape[1:3]
    scale = most / max(height, width)
    if scale >= 1:
        return images
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])


def _outline(facet: Any) -> dict[str, Any]:
    levels = list(facet.levels) if facet.kind != "text" else []
    return {"name": facet.name, "kind": facet.kind, "levels": levels, "distinct": len(facet.levels), "main": facet.name in MAIN}


def _occurs(facet: Any, wanted: Sequence[Any]) -> bool:
    return facet.kind != "levels" or set(map(str, wanted)) <= set(facet.levels)


def _prediction(scored: Scored, row: int) -> dict[str, Any]:
    if row < 0:
        return {"run": scored.run, "probs": None}
    return {"run": scored.run, "probs": np.round(scored.probs[row].astype(float), 4).tolist(), "weights": scored.load is not None}


def _shared(scored: Scored, other: Scored) -> bool:
    """Return whether two runs scored a face in common, with the same classes."""
    common = scored.predictions["face_id"].isin(set(other.predictions["face_id"])).any()
    return bool(common) and scored.expressions == other.expressions


def _rows_in(scored: Scored, own: Scored, rows: Sequence[int]) -> list[int]:
    ids = own.predictions["face_id"].iloc[rows]
    places = pd.Index(scored.predictions["face_id"]).get_indexer(ids)
    if (places < 0).any():
        raise InputError(f"{scored.run}: it did not score {ids.iloc[int((places < 0).argmax())]}")
    return [int(place) for place in places]


def _known_runs() -> list[str]:
    try:
        return evaluated_runs()
    except InputError:  # no params.yaml: faces of one's own
        return []


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return "" if value is None else str(value)
