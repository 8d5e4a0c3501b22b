"""What explanations say, as tables and sentences whose numbers come from the measured ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ferlab.explanation.regions import REGIONS, Registration
from ferlab.reporting.pages.explain import METHOD_NAMES
from ferlab.reporting.tables import cell, number

NAMES: dict[str, str] = METHOD_NAMES | {"centre": "blob in the middle", "edges": "edges of the face"}


def sample_sentence(target: np.ndarray, pred: np.ndarray, *, scored: int, split: str, source: str, dead: Mapping[str, int]) -> str:
    """Say how many faces are explained, of what, and how many maps say nothing.

    Args:
        target: True classes of the explained faces (N,).
        pred: Their predicted classes (N,).
        scored: Faces of the split.
        split: Its name.
        source: What the faces are.
        dead: Per method the number of maps that are zero everywhere.
    """
    right = int((target == pred).sum())
    silent = ", ".join(f"{NAMES[method]} {count}" for method, count in dead.items())
    return (
        f"{len(target)} of {scored:,} {split} faces ({source}) are explained: {right} that the model names right and {len(target) - right} it names "
        f"wrong. Each map is for the expression the model named. Maps that are zero everywhere: {silent}."
    )


def zero_sentence(dead: Mapping[str, int], *, maps: int) -> str:
    """Say what the maps that are zero everywhere come from, as far as the counts of this run tell.

    Args:
        dead: Per method the number of maps that are zero everywhere.
        maps: Maps of each method.
    """
    grad, hires = dead.get("grad_cam", 0), dead.get("hires_cam")
    if not any(dead.values()):
        return "No map is zero everywhere."
    told = "A map that is zero everywhere is shown as such and excluded from all means; each mean names the number of maps it rests on."
    if hires is None or grad <= hires:
        return told
    return (
        f"{told} Grad-CAM is zero for {grad} of {maps} faces; HiResCAM, from the same layer and the same gradients, for {hires}. The evidence "
        "is there: it is lost where Grad-CAM averages gradients over space, before a linear layer that weighs every place of the flattened "
        "features on its own."
    )


def gallery_sentence(pairs: list[tuple[int | None, int | None]], expressions: tuple[str, ...]) -> str:
    """Say what the gallery holds and what it lacks."""
    missing = [f"no {kind} {name} face" for name, pair in zip(expressions, pairs) for kind, row in zip(("right", "wrong"), pair) if row is None]
    held = sum(row is not None for pair in pairs for row in pair)
    lack = f" Missing: {', '.join(missing)}." if missing else ""
    return f"{held} faces: per expression one that is named right and one that is named wrong, of each kind the one of median confidence.{lack}"


def registration_sentence(registration: Registration, size: int) -> str:
    """Say how the template was moved to meet the mean face.

    Args:
        registration: From `register_template`.
        size: Side of the faces in pixels.
    """
    if not registration.found:
        return (
            f"The mean face looks too little like a frontal face (correlation {number(registration.correlation, digits=2)}), so the template "
            "stays where it lies on FER2013; shares of regions mean little here."
        )
    down, right = registration.shift_y * size, registration.shift_x * size
    shifts = f"{number(abs(down))} px {'down' if down >= 0 else 'up'} and {number(abs(right))} px to the {'right' if right >= 0 else 'left'}"
    scales = (
        f"{number(registration.scale_y, percent=True, digits=0)} % in height and {number(registration.scale_x, percent=True, digits=0)} % in width"
    )
    likeness = number(registration.correlation, digits=2)
    return f"The template was moved {shifts} and scaled to {scales}; its drawing then correlates {likeness} with the mean face."


def shares_table(table: pd.DataFrame, areas: pd.Series) -> pd.DataFrame:
    """Return shares in percent with intervals, expressions as rows, regions as columns, the area of each region in the last row.

    Args:
        table: From `class_shares`.
        areas: Area share per region.
    """
    rows = table.rename(columns={"ci_low": "share_ci_low", "ci_high": "share_ci_high"}).to_dict("records")
    cells = pd.DataFrame([{"expression": row["expression"], "region": row["region"], "cell": cell(row, "share")} for row in rows])
    wide = cells.pivot(index="expression", columns="region", values="cell").loc[list(dict.fromkeys(table["expression"])), list(areas.index)]
    counts = table.groupby("expression", sort=False)["n"].max()
    wide.insert(0, "faces", [str(counts[name]) for name in wide.index])
    wide.loc["area, %"] = ["", *(number(area, percent=True) for area in areas)]
    return wide.rename_axis(None, axis=1)


def density_ratio_sentence(tables: Mapping[str, pd.DataFrame], areas: pd.Series) -> str:
    """Say per method which part of which expression is looked at most densely, of those whose interval lies above its area.

    Args:
        tables: Per method a table of `class_shares`.
        areas: Area share per region.
    """
    said = []
    for method, table in tables.items():
        rows = table.assign(density_ratio=table["share"] / table["region"].map(areas))
        sure = rows[(rows["ci_low"] > rows["region"].map(areas)) & (rows["region"] != REGIONS[-1])].sort_values("density_ratio", ascending=False)
        if sure.empty:
            said.append(f"{NAMES[method]} prefers no part of any expression beyond its interval")
            continue
        top = sure.iloc[0]
        said.append(
            f"{NAMES[method]} is densest on the {top['region']} of {top['expression']} faces, {number(top['density_ratio'])} times its area; "
            f"{len(sure)} of {len(rows[rows['region'] != REGIONS[-1]])} parts lie above their area with their whole interval"
        )
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in said) + "."


def findings_table(findings: pd.DataFrame) -> pd.DataFrame:
    """Return cs230's findings beside ours as a reader meets them.

    Args:
        findings: From `cs230_findings`.
    """
    shown = findings.assign(
        density_ratio_named=[number(value, digits=2) for value in findings["density_ratio_named"]],
        density_ratio_others=[number(value, digits=2) for value in findings["density_ratio_others"]],
    )
    names = {"cs230": "cs230 saw", "measured": "here above their area", "n": "faces"}
    lifts = {"density_ratio_named": "share per area, cs230's parts", "density_ratio_others": "share per area, other parts"}
    return shown.rename(columns=names | lifts).set_index("expression")


def regions_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return template and truth side by side in percent.

    Args:
        table: From `compare_regions`, with any of the methods of METHOD_NAMES.
    """
    shown = {"IoU": [number(value, digits=2) for value in table["iou"]]}
    for column, name in (("area", "area"), *((method, NAMES[method]) for method in _methods(table))):
        for kind in ("template", "true"):
            shown[f"{name}, {kind}, %"] = [number(value, percent=True) for value in table[f"{column}_{kind}"]]
    return pd.DataFrame(shown, index=pd.Index(table["region"], name="region"))


def regions_sentence(table: pd.DataFrame) -> str:
    """Say how well the template meets the truth, and how far its shares are off."""
    parts = table[table["region"] != REGIONS[-1]]
    overlaps = ", ".join(f"{row.region} {number(row.iou, digits=2)}" for row in parts.itertuples())
    off = {method: float((table[f"{method}_template"] - table[f"{method}_true"]).abs().max()) for method in _methods(table)}
    worst = max(off, key=lambda method: off[method])
    return (
        f"Mean IoU of the template with the true regions of control faces: {overlaps}. The share of a region by template and by truth "
        f"differs by at most {number(off[worst], percent=True)} points ({NAMES[worst]})."
    )


def _methods(table: pd.DataFrame) -> list[str]:
    """Return the methods of a table of `compare_regions`: a model without convolutions has no Grad-CAM, one without flattened maps no HiResCAM."""
    return [method for method in METHOD_NAMES if f"{method}_true" in table]


def carrying_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the maps on the carrying pixels in percent: methods as rows, expressions as columns.

    Args:
        table: From `carrying_shares`.
    """
    rows = table.rename(columns={"ci_low": "share_ci_low", "ci_high": "share_ci_high"}).to_dict("records")
    cells = pd.DataFrame([{"method": NAMES[r["method"]], "expression": r["expression"], "cell": cell(r, "share")} for r in rows])
    order = list(dict.fromkeys(table["expression"]))
    wide = cells.pivot(index="method", columns="expression", values="cell").loc[list(dict.fromkeys(cells["method"])), order]
    areas = table.sort_values("n", kind="stable").groupby("expression")["area"].last()  # of most faces: methods with zero maps count fewer
    wide.loc["area, %"] = [number(areas[name], percent=True) for name in order]
    used = {NAMES[row["method"]]: str(row["n"]) for row in rows if row["expression"] == "all"}
    wide.insert(0, "maps", [used.get(name, "") for name in wide.index])
    return wide.rename_axis(None, axis=1)


def carrying_sentence(table: pd.DataFrame) -> str:
    """Say whether the model's maps fall on what carries the expression, and whether they beat maps that know no model."""
    all_faces = table[table["expression"] == "all"].set_index("method")
    if all_faces.empty:
        return "No face with a moving part is named right: there is nothing to compare with the truth."
    lifts = {method: float(all_faces.loc[method, "density_ratio"]) for method in all_faces.index}
    own = ", ".join(f"{NAMES[method]} {number(lifts[method], digits=2)}" for method in METHOD_NAMES if method in lifts)
    other = ", ".join(f"{NAMES[method]} {number(lifts[method], digits=2)}" for method in lifts if method not in METHOD_NAMES)
    return f"Share on the carrying pixels per share of area (1: no preference): {own}; maps that know no net: {other}."


def truth_sentence(compared: pd.DataFrame | None, carrying: pd.DataFrame | None) -> str:
    """Say what is known of the truth; both tables are None for faces whose truth is unknown."""
    if compared is None or carrying is None:
        return (
            "No truth is known for these faces, so nothing here was checked on them: how far template and maps can be trusted is what the "
            "same section of a run on control faces says, about control faces."
        )
    return f"{regions_sentence(compared)} {carrying_sentence(carrying)}"
