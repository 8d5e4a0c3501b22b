"""Figures and tables of what control faces can show: units, subjects, sequences, sizes, worlds and options. All are drawn on the spot."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS, REFERENCE
from ferlab.control import ACTION_UNITS, FaceSpec, Light, Pose, draw_face, label_mask, read, sample_identity, spec_of, unit_masks
from ferlab.control.action_units import CIRCUMPLEX, NAMES, Unit, amplitude, draw_units
from ferlab.control.drawing.masks import draw_unit_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.control.source import NEAR_KINDS
from ferlab.copies import alter
from ferlab.reporting.faces import lit, pick_faces, picture_grid, truth_grid
from ferlab.reporting.tables import captioned, percent

INTENSITIES: tuple[float, ...] = (0.0, 1.0, 3.0, 5.0)
UNIT_ROWS: tuple[tuple[Unit, ...], ...] = ((1, 2, 4, 5, 6, 7, 9), (10, 12, "12R", "12L", "14R", "14L", 20), (15, 16, 17, 23, 24, 25, 26))
"""Units of the upper face, of cheeks and corners of the mouth, of lips and jaw."""


def units_figure(units: Sequence[Unit], *, size: int, seed: int, subject: int = 0) -> Figure:
    """Draw action units one by one, at rising intensity, and where each shows."""
    who = replace(sample_identity(seed, subject), hair="bald", beard="none", glasses=False)
    faces = [[FaceSpec("neutral", level, {unit: amplitude(level)}, who) for unit in units] for level in INTENSITIES]
    pictures = [[draw_face(face, size, colour=True).image for face in row] for row in faces]
    masks = [draw_unit_masks(face, size)[unit] for face, unit in zip(faces[-1], units, strict=True)]
    titles = [f"AU {unit}\n{textwrap.fill(ACTION_UNITS[unit], 15)}" for unit in units]
    most = max(title.count("\n") for title in titles)
    return picture_grid(
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
    return picture_grid(pictures, columns=NAMES, labels=labels, colours=[INKS[name] for name in NAMES])


def draw_rows(faces: pd.DataFrame, *, size: int) -> np.ndarray:
    """Draw some rows of a control face table in colour, uint8 (N, size, size, 3)."""
    return np.stack([draw_image(spec_of(face), size, colour=True) for _, face in faces.iterrows()])


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
    return picture_grid([[images[row] for row in rows] for rows in groups], labels=names, notes=notes)


def sizes_figure(sizes: Sequence[int], *, seed: int, subject: int = 1) -> Figure:
    """Draw one face at several sizes, grey and in colour; all are shown equally large."""
    spec = _showing("happy", seed=seed, subject=subject)
    rows = [[draw_face(spec, size, colour=colour).image for size in sizes] for colour in (False, True)]
    return picture_grid(rows, columns=[f"{size} x {size}" for size in sizes], labels=["grey", "colour"], cell=1.6)


def world_figure(world: str, *, size: int, seed: int, note: str = "", usage: str = "Training", **options: Any) -> dict[str, Any]:
    """Draw the strongest uncovered face of each label of a world, and below it the ground-truth pixels of the label.

    Args:
        world: Its name.
        size: Side of a face in pixels.
        seed: Of the set.
        note: Name of the column that is written below each face.
        usage: Of the faces.
        options: Further options of the reader.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    faces = read(faces=80, subjects=20, seed=seed, pictures=False, expressions=8, world=world, **options)[1]
    clear = faces[(faces["occluder"] == "none") & (faces["usage"] == usage)]
    clear = clear.iloc[pick_faces(clear, per_class=1, by="intensity")]
    notes = clear[note].tolist() if note else []
    alt = f"World {world}: a strong face of each label, and below it the ground-truth pixels of the label lit. {', '.join(notes)}"
    figure = truth_grid(draw_rows(clear, size=size), label_mask(clear, size=size), clear["target"].tolist(), NAMES, notes=notes)
    return {"figure": figure, "alt": alt.strip()}


def copies_figure(*, size: int, seed: int) -> Figure:
    """Draw near-copies of one face, of every kind, and by how many grey levels each differs from it, three times enlarged."""
    spec = replace(_showing("surprise", seed=seed, subject=2), pose=Pose(yaw=14, roll=4, scale=1.15), light=Light(azimuth=40))
    image = draw_face(spec, size).image
    copies = [alter(image, kind, np.random.default_rng(seed + 2)) for kind in NEAR_KINDS]
    differences = [np.abs(copy.astype(int) - image) for copy in copies]
    changed = [[""] * len(copies), [f"mean {difference.mean():.1f}" for difference in differences]]
    enlarged = [np.clip(3 * difference, 0, 255).astype(np.uint8) for difference in differences]
    return picture_grid([copies, enlarged], columns=NEAR_KINDS, labels=["copy", "difference\nx 3"], notes=changed, cell=1.12)


def affect_figure(faces: pd.DataFrame) -> Figure:
    """Draw the faces' valence and arousal: each expression a ray from neutral to its place on the circumplex."""
    figure, axes = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
    for target, name in enumerate(NAMES):
        of = faces[faces["target"] == target]
        axes.scatter(of["valence"], of["arousal"], s=12, color=COLOURS[name], linewidths=0)
        x, y = CIRCUMPLEX[name]
        aside = (-6, 0) if x < 0 and name != "angry" else (6, 3)  # fear's label is where anger's would be
        axes.annotate(name, (x, y), aside, textcoords="offset points", color=INKS[name], ha="right" if aside[0] < 0 else "left", va="center")
    axes.axhline(0, color=REFERENCE, linewidth=0.8, zorder=0)
    axes.axvline(0, color=REFERENCE, linewidth=0.8, zorder=0)
    axes.set(xlabel="valence", ylabel="arousal", xlim=(-1.05, 1.05), ylim=(-0.5, 0.85))
    return figure


def options_table(*, faces: int, seed: int) -> pd.DataFrame:
    """Set each option of the reader and count in the table that comes back: option, value, found."""
    asked_for = _options()
    rows = []
    for what, (options, found) in asked_for.items():
        table = read(faces=faces, subjects=max(faces // 10, 1), seed=seed, pictures=False, **options)[1]
        asked = ", ".join(f"{name}: {value}" for name, value in options.items())
        rows.append({"option": what, "value": asked, "found in the table": found(table)})
    return captioned(pd.DataFrame(rows).set_index("option"), f"Options of control faces, each set alone in a draw of {faces:,} faces")


def summary(*, faces: int, size: int, seed: int) -> dict[str, Any]:
    """Counts of a set of all eight expressions, mean area of each unit's mask, and each expression's mean valence and arousal."""
    table = read(faces=faces, subjects=max(faces // 8, 1), seed=seed, pictures=False, expressions=8)[1]
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


def _showing(name: str, *, seed: int, subject: int) -> FaceSpec:
    """A subject with an expression at full strength: its units without what is optional."""
    rng = np.random.default_rng([seed, subject])
    units = draw_units(name, habits=rng, chance=rng)
    return FaceSpec(name, 5.0 if units else 0.0, dict.fromkeys(units, 0.9), sample_identity(seed, subject))


def _options() -> dict[str, tuple[dict[str, Any], Callable[[pd.DataFrame], str]]]:
    """Per option its value, and what the table shows of it."""
    return {
        "overlap of subjects": ({"overlap": 0.5}, lambda t: f"{_whole(t['overlap'].sum() / (t['usage'] == 'PrivateTest').sum())} of PrivateTest"),
        "exact duplicates": ({"duplicates": 0.1}, lambda t: _whole((t["duplicate_of"] != "").mean())),
        "near-duplicates": (
            {"near_duplicates": 0.12},
            lambda t: f"{_whole((t['duplicate_of'] != '').mean())}, of {t['duplicate_kind'].nunique() - 1} kinds",
        ),
        "label noise": ({"label_noise": 0.2}, lambda t: f"{_whole((t['target'] != t['true_target']).mean())} wrong"),
        "imbalance": ({"imbalance": 10}, lambda t: f"largest / smallest: {t['target'].value_counts().max() / t['target'].value_counts().min():.1f}"),
        "skin": ({"skin": [5, 6]}, lambda t: f"tones {', '.join(str(tone) for tone in sorted(t['skin'].unique()))}"),
        "glasses": ({"glasses": 0.5}, lambda t: f"{_whole(t.groupby('subject')['glasses'].first().mean())} of subjects"),
        "light": ({"light": [30, 60]}, lambda t: f"{t['light'].min():.0f} to {t['light'].max():.0f} degrees"),
        "shortcut": ({"world": "shortcut", "rho": 0.9}, _shortcut_agreement),
        "null world": ({"world": "null"}, lambda t: f"label and drawn expression agree in {_whole((_named(t) == t['drawn_expression']).mean())}"),
    }


def _shortcut_agreement(table: pd.DataFrame) -> str:
    agrees = (table["shortcut"] == _named(table)).groupby(table["usage"]).mean()
    return f"agrees with the label in {_whole(agrees['Training'])} of Training, {_whole(agrees['PrivateTest'])} of PrivateTest"


def _named(table: pd.DataFrame) -> pd.Series:
    return table["target"].map(dict(enumerate(NAMES)))


def _whole(share: float) -> str:
    return percent(share, digits=0)
