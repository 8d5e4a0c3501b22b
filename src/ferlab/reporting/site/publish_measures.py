"""Measures per face, kept beside the predictions of a published study: what its evidence is recomputed from. They hold no pixels.

| file | of | row |
|---|---|---|
| masses-RUN | explain | attribution mass of each region, a face and method |
| robustness-RUN | robustness | prediction, a face and condition |
| transfer-RUN | robustness | prediction, a face of a dataset |
| worlds, worlds_interventions | worlds | scores, a face, model and method; effect of a swapped part, a face and model |
| frame_leak | claims | prediction under either split, a frame |
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.paths import artefact
from ferlab.reporting.site.publish_stages import Ran, existing

MEASURES = "measures"  # the folder of a published study
LARGEST = 700_000  # bytes of a file; a larger one is not kept
UNUSED = ("prob",)  # no published number needs it


def write_measures(ran: Ran, folder: Path) -> list[str]:
    """Write the measures of the stages that ran; return the names of those that are too large to keep."""
    too_large = []
    for name, path in _sources(ran):
        table = pd.read_parquet(existing(path))
        if not len(table):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{name}.parquet"
        small = pa.Table.from_pandas(_small(table), preserve_index=False).replace_schema_metadata(None)
        pq.write_table(small, place, compression="zstd", compression_level=19)
        if place.stat().st_size > LARGEST:
            place.unlink()
            too_large.append(name)
    return too_large


def measured(ran: Ran) -> bool:
    """Return whether any stage that ran leaves measures."""
    return any(True for _ in _sources(ran))


def read_measures(path: Path) -> pd.DataFrame:
    """Read a table that `write_measures` wrote; numbers come back as float64 and int64."""
    table = pq.read_table(path).to_pandas()
    wide = {name: np.float64 for name in table.select_dtypes("floating")} | {name: np.int64 for name in table.select_dtypes("integer")}
    return table.astype(wide)


def _sources(ran: Ran) -> Iterator[tuple[str, Path]]:
    for run in ran.of("explain"):
        yield f"masses-{run}", artefact("explain", "masses", run)
    for run, found in ran.of("robustness").items():
        yield f"robustness-{run}", artefact("robustness", "table", run)
        if found.get("other_sets"):
            yield f"transfer-{run}", artefact("robustness", "transfer", run)
    if "worlds" in ran.study:
        yield "worlds", artefact("worlds", "scores")
        yield "worlds_interventions", artefact("worlds", "interventions")
    if "claims" in ran.study:
        yield "frame_leak", artefact("claims", "leak")


def _small(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with float32 and the smallest integers, without the columns that no published number needs."""
    kept = table.drop(columns=[name for name in UNUSED if name in table]).reset_index(drop=True)
    floats = {name: np.float32 for name in kept.select_dtypes("floating")}
    whole = {name: np.min_scalar_type(int(kept[name].abs().max()) * -1 - 1) for name in kept.select_dtypes("integer")}
    return kept.astype(floats | whole)
