"""A small finished project for the tests of the page of faces: 40 drawn faces, a run, and files as the stages write them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ferlab import paths
from ferlab.control.source import read
from ferlab.data.faces import hash_images
from ferlab.data.store import Store, open_store, write_store
from ferlab.evaluation.predictions import predictions_table, write_predictions
from ferlab.expressions import EXPRESSIONS
from ferlab.params import Params, check_params

RUN, SET = "a_run", "drawn"
TRAIN, VAL, TEST = slice(0, 4), slice(4, 28), slice(28, 40)
ALT = "Confusion matrix of a_run on test, counts and percentages of each row."
SETTINGS = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}


def faces_params(dataset: str = "control") -> Params:
    run = {"family": "cs230", "model": "five_layer", "data": SET, "seed": 0, "group": "a"}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    return check_params({"study": "t", "prepare": {SET: {"dataset": dataset}}, "train": SETTINGS, "runs": {RUN: run}, **sections})


@contextmanager
def faces_project(root: Path) -> Iterator[Path]:
    """Write the project to a folder, which is ROOT meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        write_faces_project()
        yield root


def write_faces_project() -> Store:
    """Write the project below ROOT; return its store.

    Of val face 0 a train face is an exact duplicate, and val face 1 a mirrored near-duplicate. Val faces 5 and 6 have label issues, 2 and 3 maps.
    """
    images, faces = read(faces=40, subjects=8, size=48, seed=0)
    splits = np.repeat(["train", "val", "test"], [4, 24, 12])
    groups = np.arange(40)
    groups[[4, 5]] = 0
    faces = faces.assign(split=splits, duplicate_group=groups, content_hash=hash_images(images))
    store = paths.artefact("prepare", "store", SET)
    write_store(store, images, faces)
    scored = faces.iloc[4:]
    target = scored["target"].to_numpy()
    probs = np.random.default_rng(0).dirichlet(np.ones(7), 36)
    right = np.arange(36) % 3 > 0  # two of three faces are classified correctly
    probs[right] = 0.5 * probs[right] + 0.5 * np.eye(7)[target[right]]
    table = predictions_table(scored["face_id"].tolist(), scored["split"].tolist(), target, probs=probs, expressions=EXPRESSIONS)
    write_predictions(paths.artefact("evaluate", "predictions", RUN), table.assign(subject=scored["subject"].to_numpy()))
    ids = faces["face_id"].to_numpy()
    pairs = {"face_id_first": ids[[0, 4]], "face_id_second": ids[[4, 5]], "kind": ["exact", "near"], "mirrored": [False, True], "score": [1.0, 0.97]}
    pd.DataFrame(pairs).to_parquet(_made(paths.artefact("audit", "duplicates", SET)))
    issues = {"face_id": ids[[10, 9]], "given": "sad", "suggested": "fear", "label_quality": [0.01, 0.02], "prob_suggested": [0.9, 0.8]}
    pd.DataFrame(issues).to_csv(_made(paths.artefact("analyze_errors", "label_issues", RUN)), index=False)
    paths.write_json(paths.artefact("analyze_errors", "metrics", RUN), {"split": "val"})
    paths.write_json(paths.artefact("evaluate", "metrics", RUN), {"trained_on": ["train"], "selected_on": ["val"]})
    paths.write_json(paths.artefact("worlds", "metrics"), {"ranking": [{"method": "grad_cam", "verdict": "not believed"}]})
    half = np.zeros((2, 48, 48), np.float32)
    half[1, :, :24] = 0.25  # of the second face the left half supports
    maps = {"grad_cam": half, "hires_cam": half, "occlusion": half - half.mean()}
    classes = {"face_id": ids[[6, 7]].astype(str), "explained_class": np.array([2, 3]), "target": np.array([2, 3]), "probs": np.zeros((2, 7))}
    np.savez(_made(paths.artefact("explain", "attributions", RUN)), **classes, **maps)
    _write_notebook()
    return open_store(store)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_notebook() -> None:
    png = io.BytesIO()
    Image.new("L", (64, 64), 200).save(png, "PNG")
    shown = {"image/png": base64.b64encode(png.getvalue()).decode()}
    figure = new_output("display_data", data=shown, metadata={"image/png": {"alt": ALT}})
    cells = [new_markdown_cell("# Evaluate"), new_markdown_cell("## 1. Confusions"), new_code_cell("show()", execution_count=1, outputs=[figure])]
    nbformat.write(new_notebook(cells=cells), _made(paths.executed_notebook("evaluate", RUN)))
