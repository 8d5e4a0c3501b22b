"""An audit's measurements as they lie on disk: taken where their record holds, made otherwise, and read back either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.faces import originals
from ferlab.data.store import Store
from ferlab.params import StageParams
from ferlab.paths import read_json, write_json
from ferlab.results import obtain

Draw = Callable[..., tuple[np.ndarray, pd.DataFrame]]
CONTROL = {"faces": 300, "subjects": 15, "size": 48, "seed": 1}  # the control faces that copies are planted among
UNLIKE = 48  # images that are kept as resembling the dataset's faces least


@dataclass(frozen=True)
class Audited:
    """What an audit measures.

    Attributes:
        probe: From `probes.probe_nearest`.
        own: From `recall.search_own`.
        control: From `recall.search_control`.
        unlike: Rows of the images that resemble the dataset's faces least, most unlike first, at most 48.
        nearly_blank: Images that are nearly blank.
    """

    probe: dict[str, Any]
    own: dict[str, Any]
    control: dict[str, Any]
    unlike: list[int]
    nearly_blank: int


def audited(p: StageParams, store: Store, *, limit: float, draw: Draw) -> Audited:
    """Take the measurements of an audit, or make them.

    Args:
        p: The set's sections of params.yaml.
        store: The prepared dataset, opened from disk.
        limit: Score from which its pairs are near-duplicates.
        draw: `ferlab.control.read`.
    """
    made = obtain("audit", p, _audit, store=store, limit=limit, draw=draw)
    return Audited(**read_json(made.places["facts"], made_by="stage audit"))


def _audit(facts: Path, *, store: Store, limit: float, draw: Draw) -> None:
    from ferlab.data.duplicates import probes, recall  # Keep: a page whose audit is taken searches nothing

    faces = originals(store.faces)  # copies and synthetic samples come after them
    small = thumbnails(store.images)[: len(faces)]  # large images are read once
    unlike = probes.find_unlike(small)
    write_json(facts, {
        "probe": probes.probe_nearest(small, faces),
        "own": recall.search_own(small, faces, limit=limit),
        "control": recall.search_control(*draw(**CONTROL)),
        "unlike": np.argsort(-unlike["unlike"].to_numpy(), kind="stable")[:UNLIKE],
        "nearly_blank": unlike["nearly_blank"].sum(),
    })  # fmt: skip
