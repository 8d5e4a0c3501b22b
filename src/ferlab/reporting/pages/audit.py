"""The audit's page: what a dataset holds more than once, what that does to a split, which images resemble no face."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS, PAGE_INK
from ferlab.reporting.faces import CELL, MOST, draw_face
from ferlab.reporting.tables import captioned

KINDS: dict[str, str] = {"exact_duplicates": "exact", "mirrored_duplicates": "mirrored", "near_duplicates": "near"}
WORDS: dict[str, str] = {"exact": "an exact duplicate", "mirrored": "a mirrored duplicate", "near": "a near-duplicate"}
SUSPECT, MARGIN = 0.40, 0.15  # nearest-neighbour accuracy in pixels above which frames or duplicates have leaked; at least so far above majority


def crossings_box(
    audit: Mapping[str, Any],
    rule: str,
    *,
    crossed: pd.DataFrame | None = None,
    probe: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
) -> str:
    """Return the box at the top of the page, as HTML: what crosses between splits and usages, and what of it bears on a reported accuracy.

    Args:
        audit: From `audit_set`.
        rule: The split's rule, from `split_rule`.
        crossed: From `crossings`: subjects and sequences in two splits are reported too.
        probe: From `probes.probe_nearest`: where pixels predict test faces without a duplicate, the box does not say that there is none.
        own: From `recall.search_own`: how many planted copies the search finds at the dataset's limit.
    """
    total, leaked = audit["test_faces"], audit["test_faces"] - audit["test_dedup"]
    suspect = probe is not None and _exceeds(probe, "dedup")
    if leaked:
        title = f"{leaked:,} of {total:,} test faces ({100 * leaked / total:.1f} %) have a duplicate in train or val"
        lines = [f"Every metric is given on all test faces and on test_dedup, the {audit['test_dedup']:,} others."]
    elif suspect:
        title, lines = "Test faces seem to be in train: no pair was found, but pixels alone predict their expression", []
    else:
        title, lines = "No test face has a duplicate in train or val", ["Exact, mirrored and near-duplicates were searched."]
    if suspect and probe is not None:
        lines += [
            f"The nearest training face in pixels has the expression of {_percent(probe['dedup'])} of the {probe['dedup']['n']:,} test faces "
            f"without a duplicate in train, the commonest expression that of {100 * probe['majority']:.1f} %: the search has probably missed copies "
            "or frames, or the images are drawn after one pattern."
        ]
    if own is not None and own["planted"]:
        found = f"{own['found']:,} of {own['planted']:,} copies planted among its own faces were found (recall {own['recall']:.3f})"
        lines += [f"At the limit of this dataset ({own['limit']:.3f}), {found}. Each count is a lower bound."]
    subjects = _shared(crossed)
    pairs = [(a, "test", others["test"]) for a, others in audit["cross_split"].items() if "test" in others]
    pairs += [(a, b, counts) for a, others in audit["cross_usage"].items() for b, counts in others.items()]
    lines += [*subjects, *(_crossing(a, b, counts) for a, b, counts in pairs if any(counts.values())), rule]
    kind = "warning" if leaked or subjects or suspect else "note"
    body = "".join(f"<p>{html.escape(line)}</p>" for line in dict.fromkeys(lines))
    return f'<div class="admonition {kind}"><p class="admonition-title">{html.escape(title)}</p>{body}</div>'


def _exceeds(probe: Mapping[str, Any], group: str) -> bool:
    """Whether the whole interval of a group of test faces lies above the suspect accuracy."""
    return bool(probe[group]["n"]) and probe[group]["accuracy_ci_low"] > _suspect(probe)


def _suspect(probe: Mapping[str, Any]) -> float:
    """Nearest-neighbour accuracy above which something has leaked: where one expression dominates, above what it alone gives."""
    return max(SUSPECT, probe["majority"] + MARGIN)


def _percent(of: Mapping[str, float]) -> str:
    return f"{100 * of['accuracy']:.1f} % [{100 * of['accuracy_ci_low']:.1f}, {100 * of['accuracy_ci_high']:.1f}]"


def _shared(crossed: pd.DataFrame | None) -> list[str]:
    """Say how many test faces share their subject or sequence with a face that trains or selects."""
    if crossed is None:
        return []
    into = crossed[(crossed["second"] == "test") & crossed["key"].isin(["subject", "sequence"])]
    return [f"{row['faces']:,} faces of test share their {row['key']} with {row['first']} (split: {row['rule']})." for _, row in into.iterrows()]


def _crossing(a: str, b: str, counts: Mapping[str, int]) -> str:
    named = " and ".join(f"{counts[kind]:,} have {WORDS[name]}" for kind, name in KINDS.items() if counts[kind])
    return f"Of the faces of {b}, {named} in {a}."


def duplicates_table(audit: Mapping[str, Any], *, by: str) -> pd.DataFrame:
    """Return, per kind of duplicate and part that holds it (rows), how many faces of each part (columns) have one there.

    Args:
        audit: From `audit_set`.
        by: "usage" or "split".
    """
    within, cross = audit[f"within_{by}"], audit[f"cross_{by}"]
    rows = {
        (name, a): {b: (within[a] if a == b else cross[a][b])[kind] for b in within} for kind, name in KINDS.items() for a in within
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=["duplicate", "in"], columns="faces of")
    return captioned(table, f"Faces of each {by} (columns) that have a duplicate in a {by} (rows)")


def duplicates_sentence(audit: Mapping[str, Any], *, limit: float, search: str) -> str:
    """Say how many faces have duplicates of each kind, from which score a pair is one, and how pairs were searched (`codes.name_search`)."""
    if not audit["near_groups"]:
        none = f"no two faces have equal pixels, and none correlate above {limit:.3f} once aligned, straight or mirrored"
        return f"**No duplicates were found: {none}.** Search: {search}."
    exact = f"{audit['faces_in_groups']:,} faces are exact duplicates, in {audit['groups']:,} groups; {audit['mirrored_duplicates']:,} are mirrored"
    pairs = f"{audit['near_pairs']:,} pairs, {audit['near_pairs_mirrored']:,} of them mirrored"
    return (
        f"**{exact}; {audit['near_duplicates']:,} have a near-duplicate (correlation once aligned at least {limit:.3f}: {pairs}).** Together "
        f"{audit['near_groups']:,} photographs occur more than once, as {audit['faces_in_near_groups']:,} faces; the commonest "
        f"{audit['largest_near_group']} times. Search: {search}."
    )


def found_table(tests: Mapping[str, Mapping[str, Any] | None]) -> pd.DataFrame:
    """Return recall per kind of planted copy, and precision where it can be known (rows), of each test (columns)."""
    columns = {}
    for name, found in tests.items():
        if found is not None:
            rows = {**found["per_kind"], "all": found}
            columns[name] = {kind: f"{of['found']} of {of['planted']} ({of['recall']:.2f})" for kind, of in rows.items()}
            if found.get("precision") is not None:
                columns[name]["precision"] = f"{found['precision']:.3f} ({found['false_pairs']:,} false pairs)"
    return captioned(pd.DataFrame(columns).fillna("").rename_axis("copies found"), "Planted copies that the search found, with recall in parentheses")


def conflicts_sentence(audit: Mapping[str, Any]) -> str:
    """Say how often one photograph has two labels."""
    parts = []
    for prefix, what in (("", "groups of exact duplicates"), ("near_", "photographs that occur more than once")):
        groups, conflicts = audit[f"{prefix}groups"], audit[f"{prefix}label_conflicts"]
        if groups:
            faces = audit[f"faces_in_{prefix}label_conflicts"]
            parts.append(f"In {conflicts:,} of {groups:,} {what} ({100 * conflicts / groups:.1f} %) the labels differ, {faces:,} faces in all.")
    if not parts:
        return "No photograph occurs more than once, so none has two labels."
    least = audit["label_conflicts"]
    floor = f" A classifier gives exact duplicates one prediction, so it errs on at least {least:,} of these faces." if least else ""
    return f"**{parts[0]}** {' '.join(parts[1:])}".strip() + floor


def label_pairs(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame:
    """Return how many photographs have both of two labels, commonest first: `labels`, `photographs`; `faces` with `duplicate_group`."""
    targets = faces["target"].groupby(faces["duplicate_group"]).unique()
    pairs = [f"{expressions[a]} and {expressions[b]}" for several in targets[targets.str.len() > 1] for a, b in combinations(sorted(several), 2)]
    table = pd.Series(pairs, dtype="str").value_counts().rename("photographs").rename_axis("labels").reset_index()
    table = table.sort_values(["photographs", "labels"], ascending=[False, True], ignore_index=True)
    return captioned(table, "Photographs that stand in the dataset with two labels")


def probe_sentence(probe: Mapping[str, Any]) -> str:
    """Say how well the nearest training face predicts the expression of test faces, and whether that suggests a leak."""
    if not probe["all"]["n"]:
        return "There is no test face to classify."
    names = {"all": "all", "dedup": "those without a duplicate in train", "other_subjects": "all, neighbours of the same subject excluded"}
    given = [f"{what}: {_percent(probe[name])} (n = {probe[name]['n']:,})" for name, what in names.items() if probe.get(name, {}).get("n")]
    parts = [f"**Accuracy of the nearest of {probe['known']:,} training faces on the test faces: {'; '.join(given)}.**"]
    parts += [f"Always predicting the commonest expression: {100 * probe['majority']:.1f} %."]
    if probe["dedup"]["n"] and probe["dedup"]["accuracy_ci_high"] < probe["all"]["accuracy_ci_low"]:
        gap = 100 * (probe["all"]["accuracy"] - probe["dedup"]["accuracy"])
        parts += [f"**Without the test faces that have a duplicate in train, accuracy is {gap:.1f} points lower.**"]
    high, bound = _exceeds(probe, "all"), f"{100 * _suspect(probe):.0f} %"
    means = (
        f"The interval lies above {bound}: frames or duplicates of test faces are in train, or the images are drawn after one pattern."
        if high
        else f"The interval does not lie above {bound}: about what images of different people give."
    )
    return " ".join([*parts, means])


def pairs_gallery(images: np.ndarray, faces: pd.DataFrame, pairs: pd.DataFrame, expressions: Sequence[str]) -> Figure:
    """Draw pairs side by side, each face with its split and label, framed where the labels differ; the score where a pair is not exact.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        pairs: `first`, `second`, `kind`, `mirrored`, `score`; at most 24.
        expressions: Names.
    """
    axes_of, targets = _grid(2 * len(pairs), across=8, height=0.72), faces["target"].to_numpy()
    for number, pair in enumerate(pairs.itertuples()):
        differ = targets[pair.first] != targets[pair.second]
        for axes, row in zip(axes_of[2 * number : 2 * number + 2], (pair.first, pair.second), strict=True):
            name = expressions[int(targets[row])]
            score = f"{pair.score:.3f}{', mirrored' if pair.mirrored else ''}" if pair.kind != "exact" and row == pair.first else ""
            note, colour = f"{faces['split'].iloc[row]}\n{name}", INKS[name] if differ else PAGE_INK
            draw_face(axes, images[int(row)], title=score, note=note, colour=colour)
            axes.axis("on")
            for spine in axes.spines.values():
                spine.set(visible=bool(differ), color=COLOURS[name], linewidth=2.5)
    return axes_of[0].figure


def unlike_gallery(images: np.ndarray, faces: pd.DataFrame, rows: Sequence[int]) -> Figure:
    """Draw the images that resemble the dataset's faces least, most unlike first, with the ends of their face_id.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        rows: Which, at most 48.
    """
    axes_of = _grid(len(rows), across=8, height=0.22)
    for axes, row in zip(axes_of, rows, strict=False):
        draw_face(axes, images[int(row)], title=faces["face_id"].iloc[row].rsplit("/")[-1])
    return axes_of[0].figure


def _grid(count: int, *, across: int, height: float) -> np.ndarray:
    """Return the axes of `count` faces, row by row, with `height` inches of text each; those left over are off."""
    if not 0 < count <= MOST:
        raise ValueError(f"Expected 1 to {MOST} faces in a figure, got {count}; show fewer.")
    across = min(across, count)
    down = -(-count // across)
    figure = plt.figure(figsize=(across * (CELL + 0.12), down * (CELL + height)), layout="constrained")
    axes_of = figure.subplots(down, across, squeeze=False).ravel()
    for axes in axes_of:
        axes.axis("off")
    return axes_of
