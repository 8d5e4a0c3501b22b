"""Figures and tables of what control faces can show: units, subjects, sequences, sizes, worlds and options. All are drawn on the spot."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.control import ACTION_UNITS, FaceSpec, Light, Pose, draw_face, label_mask, read, sample_identity, unit_masks
from ferlab.control.action_units import CIRCUMPLEX, NAMES, Unit, amplitude, draw_units
from ferlab.control.drawing.masks import draw_unit_masks
from ferlab.control.source import NEAR_KINDS
from ferlab.copies import alter
from ferlab.reporting import faces
from ferlab.reporting.style import COLOURS

INTENSITIES: tuple[float, ...] = (0.0, 1.0, 3.0, 5.0)
UNIT_ROWS: tuple[tuple[Unit, ...], ...] = ((1, 2, 4, 5, 6, 7, 9), (10, 12, "12R", "12L", "14R", "14L", 20), (15, 16, 17, 23, 24, 25, 26))
"""Units of the upper face, of cheeks and corners of the mouth, of lips and jaw."""


def lit(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), with a mask (H, W) lit up in yellow and all else dimmed."""
    colours = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
    shown = np.where(mask[..., None], 0.5 * colours + 0.5 * np.array((255, 214, 0)), 0.65 * colours)
    return np.rint(shown).astype(np.uint8)


def picture_table(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    colours: Sequence[str] = (),
    cell: float = faces.CELL,
) -> Figure:
    """Draw pictures in rows and columns.

    Args:
        rows: Per row its pictures, uint8 (H, W) or (H, W, 3).
        columns: Titles of the columns.
        labels: Words at the left of the rows.
        notes: Per row the words below its pictures.
        colours: Of the titles.
        cell: Side of a picture in inches.
    """
    across, longest = len(rows[0]), max((len(line) for label in labels for line in label.split("\n")), default=0)
    lines = max((title.count("\n") + 1 for title in columns), default=0)
    below = sum(0.2 if notes and any(notes[row]) else 0.04 for row in range(len(rows)))
    height = len(rows) * cell + below + 0.2 * lines
    figure = plt.figure(figsize=(across * (cell + 0.04) + 0.085 * longest, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    for row, line in enumerate(zip(figure.subplots(len(rows), across, squeeze=False), rows, strict=True)):
        for column, (axes, picture) in enumerate(zip(*line, strict=True)):
            faces.draw_face(axes, picture, note=notes[row][column] if notes else "")
            if columns and row == 0:
                axes.set_title(columns[column], fontsize=9, color=colours[column] if colours else "black", pad=3)
            if labels and column == 0:
                axes.set_ylabel(labels[row], fontsize=9, rotation=0, ha="right", va="center")
    return figure


def units_figure(units: Sequence[Unit], *, size: int, seed: int, subject: int = 0) -> Figure:
    """Draw action units one by one, at rising intensity, and where each shows."""
    who = replace(sample_identity(seed, subject), hair="bald", beard="none", glasses=False)
    faces = [[FaceSpec("neutral", level, {unit: amplitude(level)}, who) for unit in units] for level in INTENSITIES]
    pictures = [[draw_face(face, size, colour=True).image for face in row] for row in faces]
    masks = [draw_unit_masks(face, size)[unit] for face, unit in zip(faces[-1], units, strict=True)]
    titles = [f"AU {unit}\n{textwrap.fill(ACTION_UNITS[unit], 15)}" for unit in units]
    most = max(title.count("\n") for title in titles)
    return picture_table(
        [*pictures, [lit(picture, mask) for picture, mask in zip(pictures[-1], masks, strict=True)]],
        columns=[title + "\n" * (most - title.count("\n")) for title in titles],
        labels=[*(f"{level:.0f}" for level in INTENSITIES), "mask"],
        cell=1.12,
    )


def subjects_figure(*, size: int, seed: int) -> Figure:
    """Draw the first subject of every skin tone, each showing every expression at full strength."""
    skins = [sample_identity(seed, subject).skin for subject in range(100)]
    rows = [[_showing(name, seed=seed, subject=skins.index(skin)) for name in NAMES] for skin in sorted(set(skins))]
    pictures = [[draw_face(spec, size, colour=True).image for spec in row] for row in rows]
    labels = [f"skin {row[0].identity.skin}" for row in rows]
    return picture_table(pictures, columns=NAMES, labels=labels, colours=[COLOURS[name] for name in NAMES])


def strongest_sequences(faces: pd.DataFrame, *, count: int) -> np.ndarray:
    """Rows of the sequences with the strongest apex, one an expression, all frames in order."""
    apex = faces.groupby("sequence").agg(target=("target", "first"), intensity=("intensity", "max")).sort_values("intensity", ascending=False)
    chosen = apex.drop_duplicates("target").index[:count]
    return np.flatnonzero(faces["sequence"].isin(chosen))


def sequences_figure(images: np.ndarray, faces: pd.DataFrame) -> Figure:
    """Draw sequences, one a row, with the intensity of each frame; `images` and `faces` hold whole sequences in order."""
    groups = [np.flatnonzero(faces["sequence"] == name) for name in faces["sequence"].unique()]
    notes = [[f"{faces['intensity'].iloc[row]:.1f}" for row in rows] for rows in groups]
    names = [NAMES[faces["target"].iloc[rows[0]]] for rows in groups]
    return picture_table([[images[row] for row in rows] for rows in groups], labels=names, notes=notes)


def sizes_figure(sizes: Sequence[int], *, seed: int, subject: int = 1) -> Figure:
    """Draw one face at several sizes, grey and in colour; all are shown equally large."""
    spec = _showing("happy", seed=seed, subject=subject)
    rows = [[draw_face(spec, size, colour=colour).image for size in sizes] for colour in (False, True)]
    return picture_table(rows, columns=[f"{size} x {size}" for size in sizes], labels=["grey", "colour"], cell=1.6)


def world_figure(images: np.ndarray, faces: pd.DataFrame, *, notes: Sequence[str] = ()) -> Figure:
    """Draw faces of a world with their labels, and below each what a model should look at that has learnt this world."""
    masks = label_mask(faces, size=images.shape[1])
    names = [NAMES[target] for target in faces["target"]]
    truth = [lit(image, mask) for image, mask in zip(images, masks, strict=True)]
    below = [[""] * len(images), list(notes)] if notes else ()
    return picture_table([list(images), truth], columns=names, labels=["face", "truth"], notes=below, colours=[COLOURS[name] for name in names])


def copies_figure(*, size: int, seed: int) -> Figure:
    """Draw near-copies of one face, of every kind, and by how many grey levels each differs from it, three times enlarged."""
    spec = replace(_showing("surprise", seed=seed, subject=2), pose=Pose(yaw=14, roll=4, scale=1.15), light=Light(azimuth=40))
    image = draw_face(spec, size).image
    copies = [alter(image, kind, np.random.default_rng(seed + 2)) for kind in NEAR_KINDS]
    differences = [np.abs(copy.astype(int) - image) for copy in copies]
    changed = [[""] * len(copies), [f"mean {difference.mean():.1f}" for difference in differences]]
    enlarged = [np.clip(3 * difference, 0, 255).astype(np.uint8) for difference in differences]
    return picture_table([copies, enlarged], columns=NEAR_KINDS, labels=["copy", "difference\nx 3"], notes=changed, cell=1.12)


def affect_figure(faces: pd.DataFrame) -> Figure:
    """Draw the faces' valence and arousal: each expression a ray from neutral to its place on the circumplex."""
    figure, axes = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
    for target, name in enumerate(NAMES):
        of = faces[faces["target"] == target]
        axes.scatter(of["valence"], of["arousal"], s=12, color=COLOURS[name], linewidths=0)
        x, y = CIRCUMPLEX[name]
        aside = (-6, 0) if x < 0 and name != "angry" else (6, 3)  # fear's label is where anger's would be
        axes.annotate(name, (x, y), aside, textcoords="offset points", color=COLOURS[name], ha="right" if aside[0] < 0 else "left", va="center")
    axes.axhline(0, color="#B0B0B0", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#B0B0B0", linewidth=0.8, zorder=0)
    axes.set(xlabel="valence", ylabel="arousal", xlim=(-1.05, 1.05), ylim=(-0.5, 0.85))
    return figure


def options_table(*, faces: int, seed: int) -> pd.DataFrame:
    """Turn each knob of the reader, and count in the table that comes back whether it did what it says: option, asked, found."""
    asked_for = _options()
    rows = []
    for what, (options, found) in asked_for.items():
        table = read(faces=faces, subjects=max(faces // 10, 1), size=24, seed=seed, **options)[1]
        asked = ", ".join(f"{name}: {value}" for name, value in options.items())
        rows.append({"knob": what, "option": asked, "found in the table": found(table)})
    return pd.DataFrame(rows)


def summary(*, faces: int, size: int, seed: int) -> dict[str, Any]:
    """Counts of a set of all eight expressions, mean area of each unit's mask, and each expression's mean valence and arousal."""
    table = read(faces=faces, subjects=max(faces // 8, 1), size=24, seed=seed, expressions=8)[1]
    masks = unit_masks(table, size=size)
    shown = table["target"].map(dict(enumerate(NAMES)))
    means = table.groupby(shown)[["valence", "arousal", "intensity"]].mean()
    return {
        "faces": len(table),
        "subjects": int(table["subject"].nunique()),
        "counts": {name: int((shown == name).sum()) for name in NAMES},
        "mask_area": {f"au{unit}": float(mask.mean()) for unit, mask in masks.items()},
        "valence": means["valence"].to_dict(),
        "arousal": means["arousal"].to_dict(),
        "intensity": means["intensity"].to_dict(),
    }


def areas_sentence(areas: Mapping[str, float]) -> str:
    """Say in a sentence how much of the picture the unit masks take."""
    ordered = sorted(areas, key=lambda name: areas[name])
    least, most = ordered[0], ordered[-1]
    smallest, largest = (f"{100 * areas[name]:.1f} % ({name.upper()})" for name in (least, most))
    return f"Masks of single units take from {smallest} to {largest} of the picture, on average over the faces."


def _showing(name: str, *, seed: int, subject: int) -> FaceSpec:
    """A subject with an expression at full strength: its units without what is optional."""
    rng = np.random.default_rng([seed, subject])
    units = draw_units(name, habits=rng, chance=rng)
    return FaceSpec(name, 5.0 if units else 0.0, dict.fromkeys(units, 0.9), sample_identity(seed, subject))


def _options() -> dict[str, tuple[dict[str, Any], Callable[[pd.DataFrame], str]]]:
    """Per knob the options that turn it, and how the table tells."""
    return {
        "overlap of subjects": ({"overlap": 0.5}, lambda t: f"{_percent(t['overlap'].sum() / (t['usage'] == 'PrivateTest').sum())} of PrivateTest"),
        "exact duplicates": ({"duplicates": 0.1}, lambda t: _percent((t["duplicate_of"] != "").mean())),
        "near-duplicates": ({"near_duplicates": 0.12}, lambda t: f"{_percent((t['duplicate_of'] != '').mean())}, of {t['duplicate_kind'].nunique() - 1} kinds"),
        "label noise": ({"label_noise": 0.2}, lambda t: f"{_percent((t['target'] != t['true_target']).mean())} wrong"),
        "imbalance": ({"imbalance": 10}, lambda t: f"largest / smallest: {t['target'].value_counts().max() / t['target'].value_counts().min():.1f}"),
        "skin": ({"skin": [5, 6]}, lambda t: f"tones {', '.join(str(tone) for tone in sorted(t['skin'].unique()))}"),
        "glasses": ({"glasses": 0.5}, lambda t: f"{_percent(t.groupby('subject')['glasses'].first().mean())} of subjects"),
        "light": ({"light": [30, 60]}, lambda t: f"{t['light'].min():.0f} to {t['light'].max():.0f} degrees"),
        "shortcut": ({"world": "shortcut", "rho": 0.9}, _shortcut_shares),
        "null world": ({"world": "null"}, _chance_shares),
    }  # fmt: skip


def _shortcut_shares(table: pd.DataFrame) -> str:
    goes = (table["shortcut"] == table["target"].map(dict(enumerate(NAMES)))).groupby(table["usage"]).mean()
    return f"goes with the label in {_percent(goes['Training'])} of Training, {_percent(goes['PrivateTest'])} of PrivateTest"


def _chance_shares(table: pd.DataFrame) -> str:
    return f"label and drawn expression agree in {_percent((table['target'].map(dict(enumerate(NAMES))) == table['drawn_expression']).mean())}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
