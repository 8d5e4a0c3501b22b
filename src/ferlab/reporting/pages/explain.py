"""The explain page, but for its gallery: mean maps, attribution mass per region, and the validation of the methods on control faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS, PAGE_INK
from ferlab.data.regions import REST
from ferlab.explanation.attribution_mass import relative_density
from ferlab.explanation.baselines import TITLES as BASELINE_TITLES
from ferlab.explanation.control_truth import BELIEVED, FEWEST, MOST_ZERO, NOT_BELIEVED, zero_fraction
from ferlab.explanation.methods import METHODS
from ferlab.params import Train
from ferlab.reporting.exposure import trained_sentence
from ferlab.reporting.maps import GREY, add_colour_bar, draw_map, top_density, write_in
from ferlab.reporting.tables import MISSING, captioned, cell, number, percent
from ferlab.roles import listed, planned

METHOD_MARKERS: dict[str, str] = dict(zip(METHODS, "o^sv<>dPDX*", strict=True))
METHOD_NAMES: dict[str, str] = {name: method.title for name, method in METHODS.items()}
NAMES: dict[str, str] = METHOD_NAMES | BASELINE_TITLES
CRITERION = (
    f"Criterion: at most {percent(MOST_ZERO, digits=0)} of the maps are zero; the 95 % interval of the density ratio on the ground-truth pixels lies "
    "above 1, and that of its difference from the best baseline map, on the same faces, above 0."
)
REGIONS_CAPTION = "Template regions beside the true ones of control faces: overlap, area and attribution mass"
VERDICT_CAPTION = "Verdict on each method by the ground-truth pixels of these faces"


def plot_mean_maps(
    images: np.ndarray, *, maps: Mapping[str, np.ndarray], classes: np.ndarray, expressions: Sequence[str], masks: Mapping[str, np.ndarray]
) -> Figure:
    """Draw the mean density of each expression over its mean face, with the outlines of the regions and the number of maps that are not zero.

    Images, maps and expressions as in `plot_gallery`; `classes` (N,), where -1 excludes a face; `masks` (H, W) of the template.
    """
    density = {method: relative_density(values) for method, values in maps.items()}
    alive = {method: values.any(axis=(1, 2)) for method, values in density.items()}
    means = {m: np.stack([_mean_of(values, alive[m] & (classes == c)) for c in range(len(expressions))]) for m, values in density.items()}
    top = top_density(means, range(len(expressions)))
    figure, axes = plt.subplots(
        len(maps), len(expressions), figsize=(1.4 * len(expressions) + 0.9, 1.55 * len(maps) + 0.4), layout="constrained", squeeze=False
    )
    for line, (method, values) in zip(axes, means.items(), strict=True):
        for c, axis in enumerate(line):
            own = classes == c
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)
            if own.any():
                draw_map(axis, np.asarray(images[own]).mean(axis=0), values[c], top=top)
                for region, mask in masks.items():
                    if region != REST:
                        axis.contour(mask, levels=[0.5], colors="white", linewidths=0.6)
            else:
                write_in(axis, "no correctly\nclassified face")
            axis.set_xlabel(f"{int(alive[method][own].sum())} of {int(own.sum())} maps", fontsize=9)
        line[0].set_ylabel(METHOD_NAMES[method])
    for axis, name in zip(axes[0], expressions, strict=True):
        axis.set_title(name, color=INKS.get(name, PAGE_INK))
    add_colour_bar(figure, axes, top)
    return figure


def plot_region_mass(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the attribution mass of each region per expression with 95 % intervals, over bars of the regions' areas.

    Args:
        tables: Per method a table of `mass_by_expression`; "rest" is not drawn.
    """
    areas = _areas(tables).drop(REST, errors="ignore")
    names, regions, places = list(dict.fromkeys(next(iter(tables.values()))["expression"])), list(areas.index), np.arange(len(areas))
    high = 0.14 * max(3, len(tables)) * len(regions) + 1.2
    how: dict[str, Any] = {"layout": "constrained", "sharex": True, "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(names), figsize=(1.45 * len(names) + 0.8, high), **how)
    spread = 0.16 if len(tables) <= 3 else 0.36
    offsets = np.linspace(-spread, spread, len(tables)) if len(tables) > 1 else [0.0]
    faces = {method: "white" if place == 0 and len(tables) > 1 else None for place, method in enumerate(tables)}
    for axis, name in zip(axes[0], names, strict=True):
        colour = COLOURS.get(name, "black")
        axis.hlines(places, 0, 100 * areas.to_numpy(), color="#D0D0D0", linewidth=11, zorder=1)
        for offset, (method, table) in zip(offsets, tables.items(), strict=True):
            rows = 100 * table[table["expression"] == name].set_index("region").loc[regions, ["mass", "mass_ci_low", "mass_ci_high"]]
            spans = np.nan_to_num(np.abs(rows[["mass_ci_low", "mass_ci_high"]].sub(rows["mass"], axis=0)).to_numpy().T)  # (2, regions)
            style: dict[str, Any] = {"fmt": METHOD_MARKERS[method], "markersize": 5, "capsize": 2, "color": colour, "zorder": 2}
            axis.errorbar(rows["mass"], places + offset, xerr=spans, markerfacecolor=faces[method], **style)
        counts = [str(int(table.loc[table["expression"] == name, "n"].max())) for table in tables.values()]
        axis.set_title(f"{name}\nn = {' / '.join(counts)}", color=INKS.get(name, PAGE_INK))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set(yticks=places, yticklabels=regions, ylim=(len(regions) - 0.5, -0.5), xlim=(0, None))
    figure.supxlabel("attribution mass, %", fontsize=10)
    line: dict[str, Any] = {"linestyle": "", "color": GREY}
    handles = [plt.Line2D([], [], marker=METHOD_MARKERS[m], markerfacecolor=faces[m] or GREY, label=METHOD_NAMES[m], **line) for m in tables]
    area = plt.Line2D([], [], color="#D0D0D0", linewidth=8, label="area: a uniform map")
    figure.legend(handles=[*handles, area], loc="outside upper center", ncols=min(len(handles) + 1, 6))
    return figure


def sample_sentence(target: np.ndarray, pred: np.ndarray, *, scored: int, split: str, source: str, dead: Mapping[str, int], settings: Train) -> str:
    """Report the explained faces, of the `scored` ones of a split, whether `settings` trained on them, and per method the maps that are zero."""
    correct = int((target == pred).sum())
    counts = f"{correct} classified correctly, {len(target) - correct} misclassified"
    trained = trained_sentence(planned(settings.select, refit=settings.refit), split)
    text = f"{len(target)} of {scored:,} {split} faces ({source}) are explained: {counts}. {trained}".strip()
    if not any(dead.values()):
        return f"{text} No map is zero everywhere."
    text += f" Maps that are zero everywhere: {', '.join(f'{NAMES[method]} {count}' for method, count in dead.items())}."
    if dead.get("grad_cam", 0) <= dead.get("hires_cam", np.inf):
        return text
    return (
        f"{text} Grad-CAM and HiResCAM use the same layer and gradients: Grad-CAM loses evidence where it averages gradients over space, because the "
        "next linear layer weighs each place of the flattened features on its own."
    )


def mass_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `mass_by_expression` in percent with intervals: expressions as rows, regions as columns, areas in the last row."""
    areas = _areas({"": table})
    wide = _wide(table, index="expression", columns="region")[list(areas.index)]
    wide.insert(0, "faces", table.groupby("expression", sort=False)["n"].max().loc[list(wide.index)].astype(str))
    wide.loc["area, %"] = ["", *(number(area, percent=True) for area in areas)]
    return captioned(wide, "Attribution mass of occlusion maps by expression and region, %")


def density_ratio_sentence(tables: Mapping[str, pd.DataFrame]) -> str:
    """Report per method the region of the highest density ratio among those whose interval lies above their area."""
    text = []
    for method, table in tables.items():
        rows = table[table["region"] != REST]
        above = rows[rows["mass_ci_low"] > rows["area"]].sort_values("density_ratio", ascending=False)
        if above.empty:
            text.append(f"{_start(NAMES[method])}: no region's interval lies above its area.")
            continue
        top = above.iloc[0]
        text.append(
            f"{_start(NAMES[method])}: the highest density ratio is {number(top['density_ratio'])}, on the {top['region']} of {top['expression']} "
            f"faces; {len(above)} of {len(rows)} intervals {'lies' if len(above) == 1 else 'lie'} above the area."
        )
    return " ".join(text)


def truth_text(truth: Mapping[str, pd.DataFrame]) -> str:
    """Describe the tables of `truth_tables`; "" where there are none."""
    if not truth:
        return ""
    mass = (
        "The next gives the attribution mass on the ground-truth pixels in percent, for the methods and for three baseline maps that need no model; "
        "a low mass has two readings: the map is wrong, or the model relies on other pixels. "
    )
    return (
        "On control faces the regions and the ground-truth pixels of each expression are known. The first table compares the template with the "
        f"true regions. {mass if len(truth['ground_truth']) else ''}The last judges each method, with intervals bootstrapped over subjects; its "
        "verdicts hold for this model on control faces, and another seed of the same settings may have others. Occlusion has further support: "
        "it changes the prediction."
    )


def truth_tables(truth: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables of `compare_with_truth` as the page shows them: regions, ground-truth mass where any is known, and verdict."""
    if not truth:
        return []
    regions, mass, rows = truth["regions"], truth["ground_truth"], truth["verdict"].to_dict("records")
    methods = [method for method in METHOD_NAMES if f"{method}_true" in regions]
    columns = {"IoU": [number(value, digits=2) for value in regions["iou"]]}
    for column, name in (("area", "area"), *((method, NAMES[method]) for method in methods)):
        columns |= {f"{name}, {kind}, %": [number(value, percent=True) for value in regions[f"{column}_{kind}"]] for kind in ("template", "true")}
    verdict = {
        "zero maps": [f"{row['zero']} of {row['maps']}" for row in rows],
        "maps judged": [str(row["n"]) for row in rows],
        "density ratio": [cell(row, "ratio", percent=False, digits=2) for row in rows],
        "best baseline": [f"{NAMES[row['baseline']]}, {number(row['baseline_ratio'], digits=2)}" if row["n"] > 1 else MISSING for row in rows],
        "difference": [cell(row, "ahead", percent=False, digits=2) for row in rows],
        "difference from its class's mean map": [cell(row, "own", percent=False, digits=2) for row in rows],
        "verdict": [row["verdict"] for row in rows],
    }
    return [
        captioned(pd.DataFrame(columns, index=pd.Index(regions["region"], name="region")), REGIONS_CAPTION),
        *([_truth_mass(mass)] if len(mass) else []),
        captioned(pd.DataFrame(verdict, index=pd.Index([NAMES[row["method"]] for row in rows], name="method")), VERDICT_CAPTION),
    ]


def _truth_mass(mass: pd.DataFrame) -> pd.DataFrame:
    """Return the masses of `ground_truth_mass`: methods as rows, expressions as columns, areas in the last row."""
    every = mass[mass["method"] == mass["method"].iloc[-1]]  # a baseline, without zero maps, has all faces
    wide = _wide(mass.assign(method=mass["method"].map(NAMES)), index="method", columns="expression")[list(every["expression"])]
    wide.loc["area, %"] = [number(area, percent=True) for area in every["area"]]
    wide.insert(0, "maps", [*mass.loc[mass["expression"] == "all", "n"].astype(str), ""])
    return captioned(wide, "Attribution mass on the ground-truth pixels of control faces, %")


def verdict_sentence(truth: Mapping[str, pd.DataFrame], *, dead: Mapping[str, int], maps: int, missing: str) -> str:
    """Report which methods may be believed on this run, by which criterion, and how far masses by template and by truth differ.

    Args:
        truth: From `compare_with_truth`; empty for faces without ground truth.
        dead: Per method the number of maps that are zero everywhere.
        maps: Maps of each method.
        missing: From `ferlab.data.faces.missing_truth`.
    """
    if not truth:
        return _unknown_verdict(dead, maps, missing)
    regions, judged = truth["regions"], truth["verdict"].to_dict("records")
    off = {row["method"]: float((regions[f"{row['method']}_template"] - regions[f"{row['method']}_true"]).abs().max()) for row in judged}
    worst = max(off, key=lambda method: off[method])
    return (
        f"**{' '.join(_judgement(row) for row in judged)}** {CRITERION} The attribution mass of a region by template and by truth differs by at most "
        f"{number(off[worst], percent=True)} points ({NAMES[worst]})."
    )


def _judgement(row: dict[Any, Any]) -> str:
    name = _start(NAMES[row["method"]])
    if row["verdict"] == BELIEVED:
        return f"{name} may be believed on this run."
    verdict = "may not be believed on this run" if row["verdict"] == NOT_BELIEVED else "is undecided on this run"
    return f"{name} {verdict}: {', '.join(_failed(row))}."


def _unknown_verdict(dead: Mapping[str, int], maps: int, missing: str) -> str:
    """Report the methods that too many zero maps rule out; without truth few zero maps do not rule a method in."""
    out = [method for method, count in dead.items() if count > MOST_ZERO * maps]
    limit = percent(MOST_ZERO, digits=0)
    text = [f"**{_start(NAMES[m])} may not be believed on this run: {dead[m]} of {maps} maps are zero (limit: {limit}).**" for m in out]
    if rest := [NAMES[method] for method in dead if method not in out]:
        text.append(f"Whether {listed(rest)} may be believed is not known on these faces: {missing}.")
    return " ".join(text)


def _failed(row: dict[Any, Any]) -> list[str]:
    """Return the criteria of `ferlab.explanation.control_truth` that a method fails, with its numbers."""
    if row["n"] < 2:
        return [f"{row['zero']} of {row['maps']} maps are zero", f"{'only one' if row['n'] else 'none'} can be compared with the truth"]
    ratio, ahead = (cell(row, key, percent=False, digits=2) for key in ("ratio", "ahead"))
    reasons = [f"{row['zero']} of {row['maps']} maps are zero"] if zero_fraction(row) > MOST_ZERO else []
    reasons += [f"only {row['n']} maps can be compared with the truth"] if row["n"] < FEWEST else []
    if np.isnan(row["ratio_ci_low"]):
        return [*reasons, "the faces are of one subject, so that no interval is known"]
    reasons += [f"its density ratio {ratio} is not above 1"] if not row["ratio_ci_low"] > 1 else []
    reasons += [f"its difference {ahead} from the {NAMES[row['baseline']]} is not above 0"] if not row["ahead_ci_low"] > 0 else []
    return reasons


def _wide(table: pd.DataFrame, *, index: str, columns: str) -> pd.DataFrame:
    """Return masses with intervals as a table, rows and columns in the order of their first appearance."""
    cells = table.assign(cell=[cell(row, "mass") for row in table.to_dict("records")])
    wide = cells.pivot(index=index, columns=columns, values="cell").fillna(MISSING)
    return wide.loc[table[index].unique(), table[columns].unique()].rename_axis(None, axis=1)


def _areas(tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    return next(iter(tables.values())).drop_duplicates("region").set_index("region")["area"]


def _mean_of(density: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return density[chosen].mean(axis=0) if chosen.any() else np.full(density.shape[1:], np.nan)


def _start(text: str) -> str:
    return text[0].upper() + text[1:]
