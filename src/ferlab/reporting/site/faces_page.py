"""The page of a run's faces: a confusion matrix whose cells open them, offline, from files beside the page.

A browser reads no JSON from a file, so tables are scripts that assign a variable: `data/<set>/faces/<split>.js` with sheets of thumbnails, which all
runs of the dataset share, and `runs/<run>/faces/<split>.js`. reports/_static/faces.js shows them; without scripts the figure of the page evaluate
stands there. What the files hold: `ferlab.reporting.site.face_tables`.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ferlab import paths
from ferlab.colours import COLOURS
from ferlab.data.store import Store, open_store
from ferlab.evaluation.predictions import faces_in, read_predictions
from ferlab.params import Params, Prepare
from ferlab.paths import InputError, artefact, first_line, read_json
from ferlab.reporting.exposure import split_sentence
from ferlab.reporting.site import cards
from ferlab.reporting.site.face_tables import check_scored, faces_of_split, map_tiles, scored_of_split
from ferlab.reporting.site.html import Picture
from ferlab.roles import recorded

SPLITS = ("val", "test")  # errors are read on val; the page opens with it
FIGURES = {"evaluate": "Confusion matrix", "analyze_errors": "The most frequent confused pairs"}  # as the alt text of the figure begins
LINK = "[Open the faces of each cell](faces.md): their probabilities, maps, label issues and duplicates."
Read = TypeVar("Read")


def has_faces(params: Params, run: str) -> bool:
    """Return whether a run's predictions and the faces that they are of lie on disk."""
    store = artefact("prepare", "store", params.runs[run].data)
    return artefact("evaluate", "predictions", run).is_file() and (store / "faces.parquet").is_file()


def links(params: Params, stage: str, name: str) -> dict[str, str]:
    """Return the link to the page of faces that stands below a figure of a stage, by how its alt text begins."""
    return {FIGURES[stage]: LINK} if stage in FIGURES and has_faces(params, name) else {}


def faces_page(params: Params, run: str, *, box: str, figure: Picture | None, folder: Path) -> str:
    """Return the page as Markdown; the figure is written beside it.

    Args:
        params: Names the run's dataset.
        run: The run.
        box: The banner of its dataset.
        figure: Its confusion matrix, shown where scripts are off.
        folder: Where the page will lie.
    """
    parts = [
        "---\nhtml_theme.sidebar_secondary.remove: true\n---",
        f"# Faces ({run})",
        box,
        _terms(params.prepare[params.runs[run].data]),
        "Each cell of the confusion matrix opens its faces: probabilities, attribution maps, label issues, duplicates and conditions."
        " Errors are read on val. The address of the page names the selection, so it can be passed on.",
    ]
    shown = "The faces are shown by a script; here scripts are off."
    if figure is not None:
        file = figure.write(folder, "confusion")
        caption = "The confusion matrix of the page [Evaluate](evaluate.ipynb). With scripts its cells open their faces here."
        shown = cards.figure(file, alt=figure.alt, caption=caption, least=figure.least)
    return "\n\n".join(filter(None, [*parts, f"::::{{container}} faces-static\n{shown}\n::::"])) + "\n"


def add_scripts(app: Any, page: str, *_: Any) -> None:
    """Add the script and the look to the pages of faces alone; Sphinx calls it for each page (`html-page-context`)."""
    if re.fullmatch(r"runs/[^/]+/faces", page):
        app.add_css_file("faces.css")
        app.add_js_file("faces.js", loading_method="defer")


def _is_captured(prepare: Prepare) -> bool:
    return any(source["dataset"] == "captured" for source in prepare.all_sources.values())


def _terms(prepare: Prepare) -> str:
    """Return whose terms hold for a page that shows all faces of a split; '' of drawn ones."""
    if _is_captured(prepare):
        return "These are pictures of people who agreed to research here. Show them to others only where they agreed to publication."
    names = dict.fromkeys(source["dataset"] for source in prepare.all_sources.values() if source["dataset"] != "control")
    return f"The terms of {' and '.join(names)} hold for the faces on this page: pass them on only where these allow it." if names else ""


def write_files(params: Params, site: Path) -> None:
    """Write what the pages of faces read into a site: tables as scripts and sheets of thumbnails.

    Raises:
        InputError: A file of the pipeline that cannot be read, or predictions that are not of the dataset as it is.
    """
    for set_name, prepare in params.prepare.items():
        runs = [run for run, settings in params.runs.items() if settings.data == set_name and has_faces(params, run)]
        if not runs:
            continue
        store = open_store(artefact("prepare", "store", set_name))
        predictions = {run: read_predictions(artefact("evaluate", "predictions", run)) for run in runs}
        for run, table in predictions.items():
            check_scored(table, store, run=run)
        folders = [site / "data" / set_name / "faces", *(site / "runs" / run / "faces" for run in runs)]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            if _is_captured(prepare):  # Keep: a report built outside the pipeline is not guarded
                folder.chmod(0o700)
        pairs = _read(artefact("audit", "duplicates", set_name), pd.read_parquet, stage="audit")
        for run, folder in zip(runs, folders[1:], strict=True):
            (folder / "about.js").write_text(_assigned("about", _about(run, set_name, set(predictions[run]["split"]))), encoding="utf-8")
        for split in SPLITS:
            scoring = {run: faces_in(table, split) for run, table in predictions.items() if (table["split"] == split).any()}
            if scoring:
                values, sheets = faces_of_split(store, split, pairs=pairs)
                _write(folders[0], split, f"data/{set_name}", values, sheets)
                for run, table in scoring.items():
                    _write_run(site / "runs" / run / "faces", run, store=store, predictions=table, ids=values["ids"])


def _about(run: str, set_name: str, scored: set[str]) -> dict[str, Any]:
    """Return what the page of a run is told first: its files, and of each split that it scored what its errors are worth."""
    metrics = artefact("evaluate", "metrics", run)
    seen = recorded(read_json(metrics, made_by="stage evaluate") if metrics.is_file() else {})
    splits = {split: split_sentence(seen, split).replace("**", "") for split in SPLITS if split in scored}
    return {"run": run, "set": set_name, "splits": splits, "colours": COLOURS}


def _write_run(folder: Path, run: str, *, store: Store, predictions: pd.DataFrame, ids: list[str]) -> None:
    split = predictions["split"].iloc[0]
    maps = _read(artefact("explain", "attributions", run), _load, stage="explain")
    values = scored_of_split(predictions, ids, issues=_label_issues(run, split), maps=maps)
    methods, sheets = [], []
    if maps and values["explained"]:
        rows = pd.Index(store.faces["face_id"]).get_indexer(maps["face_id"])
        methods, sheets = map_tiles(maps, store.images[rows], verdicts=_verdicts())
    _write(folder, split, f"runs/{run}", {**values, "methods": methods}, sheets, kind="-maps")


def _label_issues(run: str, split: str) -> pd.DataFrame | None:
    """Return a run's label issues; None where another split was searched, or none."""
    metrics = artefact("analyze_errors", "metrics", run)
    if not metrics.is_file() or read_json(metrics, made_by="stage analyze_errors").get("split") != split:
        return None
    return _read(artefact("analyze_errors", "label_issues", run), lambda path: pd.read_csv(path, dtype={"face_id": str}), stage="analyze_errors")


def _verdicts() -> dict[str, str]:
    metrics = artefact("worlds", "metrics")
    return {row["method"]: row["verdict"] for row in read_json(metrics, made_by="stage worlds").get("ranking", [])} if metrics.is_file() else {}


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read(path: Path, read: Callable[[Path], Read], *, stage: str) -> Read | None:
    """Return what a file holds, None where its stage has not run."""
    try:
        return read(path) if path.is_file() else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.relative_to(paths.ROOT)}: cannot be read ({first_line(error)}); run stage {stage} again") from None


def _write(folder: Path, split: str, owner: str, values: Mapping[str, Any], sheets: list[bytes], *, kind: str = "") -> None:
    """Write values as a script, and sheets as `<split><kind>-<number>.jpg`."""
    (folder / f"{split}.js").write_text(_assigned(f"{owner}/{split}", values), encoding="utf-8")
    for number, sheet in enumerate(sheets):
        (folder / f"{split}{kind}-{number}.jpg").write_bytes(sheet)


def _assigned(key: str, values: Mapping[str, Any]) -> str:
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return f"(window.ferlabFaces ??= {{}})[{json.dumps(key)}] = {text};\n"
