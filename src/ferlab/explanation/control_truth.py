"""What maps are worth where the truth is known: control faces tell which parts carry their expression.

Owns the comparison of template and maps with the true masks of control faces, and the maps that need no model and that any
method has to beat. Numbers from here are about control faces and say nothing about photographs.

References:
    Zhang et al. (2018), Top-down Neural Attention by Excitation Backprop, arXiv 1608.00507: a centred blob as baseline.
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv 1810.03292: an edge detector looks like an explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, sobel

from ferlab.control import carrying_mask, region_masks
from ferlab.explanation.regions import iou, with_rest
from ferlab.explanation.shares import class_shares, region_shares

SOURCE = "control"


def is_control(faces: pd.DataFrame) -> bool:
    """Tell whether all faces of a table are control faces, so that their truth is known."""
    return bool((faces["source"] == SOURCE).all())


def true_masks(faces: pd.DataFrame, *, size: int) -> dict[str, np.ndarray]:
    """Return the true region masks (N, S, S) of control faces, under the names of the template."""
    return with_rest(region_masks(faces, size=size))


def compare_regions(template: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], *, maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Set the template's regions against the true ones, and the shares that either gives.

    Args:
        template: Masks (H, W).
        truth: Masks (N, H, W) of the same regions.
        maps: Per method the maps (N, H, W).

    Returns:
        One row per region: `region`, mean `iou`, mean `area_template` and `area_true`, and per method `<method>_template` and
        `<method>_true`, the mean share of the map over faces whose map has one.
    """
    rows = []
    for region, mask in template.items():
        row = {"region": region, "iou": np.nanmean(iou(mask, truth[region]))}
        row |= {"area_template": mask.mean(), "area_true": truth[region].mean()}
        for method, values in maps.items():
            row[f"{method}_template"] = region_shares(values, {region: mask})[region].mean()
            row[f"{method}_true"] = region_shares(values, {region: truth[region]})[region].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def carrying_shares(
    faces: pd.DataFrame, *, maps: Mapping[str, np.ndarray], classes: np.ndarray, expressions: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Share of each map that falls on the pixels that carry the face's expression: the union of its moving parts.

    Args:
        faces: Rows of a control face table (N).
        maps: Per method the maps (N, S, S); `reference_maps` may be among them.
        classes: Class of each face (N,), -1 for faces to leave out; neutral faces have no moving part and are left out too.
        expressions: Names of the classes.
        seed: Of the bootstrap.

    Returns:
        One row per method and expression, and per method one over `all` expressions that any face shows: `method, expression, n,
        share, ci_low, ci_high, area, density_ratio` (share per area: 1 where the map does not care).
    """
    size = next(iter(maps.values())).shape[1]
    carrying = carrying_mask(faces, size=size)
    known = carrying.any(axis=(1, 2)) & (np.asarray(classes) >= 0)
    tables = []
    for method, values in maps.items():
        shares = region_shares(values[known], {"carrying": carrying[known]})
        counted = shares["carrying"].notna().to_numpy()  # the area is that of the same faces: a map of zeros has no share
        for names, own in ((expressions, np.asarray(classes)[known]), (("all",), np.zeros(int(known.sum()), int))):
            chosen = [counted & (own == number) for number in range(len(names))]
            areas = [carrying[known][faces_of].mean() if faces_of.any() else np.nan for faces_of in chosen]
            table = class_shares(shares, own, expressions=names, seed=seed).assign(method=method, area=areas)
            tables.append(table[table["n"] > 0])
    table = pd.concat(tables, ignore_index=True)
    columns = ["method", "expression", "n", "share", "ci_low", "ci_high", "area"]
    return table[columns].assign(density_ratio=table["share"] / table["area"])


def reference_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    """Maps that know no net: a blob in the middle of the frame, and the edges of the face. A map worth its name beats both.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).

    Returns:
        "centre" and "edges", (N, H, W) float64, >= 0.
    """
    grey = np.asarray(images, dtype=np.float64)
    grey = grey.mean(axis=-1) if grey.ndim == 4 else grey
    count, height, width = grey.shape
    point = np.zeros((height, width))
    point[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 1
    blob = gaussian_filter(point, (height / 6, width / 6), mode="constant")
    smooth = gaussian_filter(grey, (0, 1, 1))
    edges = np.hypot(sobel(smooth, axis=1), sobel(smooth, axis=2))
    return {"centre": np.repeat(blob[None], count, axis=0), "edges": edges}
