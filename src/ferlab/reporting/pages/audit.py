"""Sentences, tables and galleries of an audit: what a set holds twice, what that does to a split, what resembles no face."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.reporting.faces import CELL, MOST, draw_face

KINDS: dict[str, str] = {"exact_duplicates": "byte-identical", "mirrored_duplicates": "mirrored", "near_duplicates": "near"}
SUSPECT, MARGIN = 0.40, 0.15  # accuracy of the nearest neighbour in pixels above which frames or copies have leaked; at least so far above majority


def crossings_box(
    audit: Mapping[str, Any],
    rule: str,
    *,
    test_faces: int,
    crossed: pd.DataFrame | None = None,
    probe: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
) -> str:
    """Return the box at the top of the page, as HTML: what crosses between splits and usages, and what of it bears on a reported accuracy.

    Args:
        audit: From `audit_set`.
        rule: The split's rule, from `split_rule`.
        test_faces: How many faces the test split has.
        crossed: From `crossings`: people and sequences in two splits are told too.
        probe: From `probes.probe_nearest`: where it still knows test faces without a duplicate, the box does not say that there is none.
        own: From `self_test.search_own`: how many hidden copies the search finds at the set's limit.
    """
    leaked, suspect = test_faces - audit["test_dedup_of_near"], probe is not None and _knows(probe, "without_duplicates")
    if leaked:
        title = f"{leaked:,} of {test_faces:,} test faces ({100 * leaked / test_faces:.1f} %) show a picture that is also in train or val"
        clean = "Metrics on test_dedup leave out the byte-identical ones; a run's evaluation tells its accuracy without any."
        told = [f"An accuracy on all test faces rewards remembering them. {clean}"]
    elif suspect:
        title = "Test faces seem to be in train: no pair was found, but pixels alone know their expression"
        told = ["The search found neither byte-identical nor mirrored nor near-duplicates of them in train or val."]
    else:
        title = "No test face shows a picture that is also in train or val"
        told = ["Neither byte-identical nor mirrored nor near."]
    told += [_missed_sentence(probe)] if suspect and probe is not None else []
    told += [_recall_sentence(own)] if own is not None and own["planted"] else []
    people = _shared(crossed)
    duplicates = [(a, "test", others["test"]) for a, others in audit["cross_split"].items() if "test" in others]
    duplicates += [(a, b, counts) for a, others in audit["cross_usage"].items() for b, counts in others.items()]
    told += [*people, *(_crossing(a, b, counts) for a, b, counts in duplicates if any(counts.values()))]
    kind = "warning" if leaked or people or suspect else "note"
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in dict.fromkeys([*told, rule]))
    return f'<div class="admonition {kind}"><p class="admonition-title">{html.escape(title)}</p>{lines}</div>'


def _missed_sentence(probe: Mapping[str, Any]) -> str:
    rest = probe["without_duplicates"]
    return (
        f"The most alike training face has the right expression for {100 * rest['accuracy']:.1f} % of the {rest['n']:,} test faces without a duplicate in "
        f"train, the commonest expression for {100 * probe['majority']:.1f} %: the search has probably missed copies or frames, or the pictures are "
        "drawn after one pattern."
    )


def _recall_sentence(own: Mapping[str, Any]) -> str:
    return (
        f"At the limit that this set got ({own['limit']:.3f}), {own['found']:,} of {own['planted']:,} copies hidden among its own faces were found "
        f"(recall {own['recall']:.3f}); copies changed more strongly are found less often, so every count here is a floor."
    )


def _suspect(probe: Mapping[str, Any]) -> float:
    """Accuracy of the nearest neighbour above which something has leaked: where one expression dominates, above what it alone gives."""
    return max(SUSPECT, probe["majority"] + MARGIN)


def _knows(probe: Mapping[str, Any], group: str) -> bool:
    """Tell whether the whole interval of a group of test faces lies above the suspect accuracy."""
    return bool(probe[group]["n"]) and probe[group]["accuracy_ci_low"] > _suspect(probe)


def _shared(crossed: pd.DataFrame | None) -> list[str]:
    """Say which test faces share their subject or sequence with a face that fits or selects."""
    if crossed is None:
        return []
    into = crossed[(crossed["second"] == "test") & crossed["key"].isin(["subject", "sequence"])]
    return [f"{row['faces']:,} faces of test share their {row['key']} with {row['first']} (split: {row['rule']})." for _, row in into.iterrows()]


def _crossing(a: str, b: str, counts: Mapping[str, int]) -> str:
    named = " and ".join(f"{counts[kind]:,} have a {word} duplicate" for kind, word in KINDS.items() if counts[kind])
    return f"Of the faces of {b}, {named} in {a}."


def duplicates_table(counts: Mapping[str, Mapping[str, Mapping[str, int]]], within: Mapping[str, Mapping[str, int]], *, kind: str) -> pd.DataFrame:
    """Return the audit's duplicates of one kind as a square: rows, where the duplicate is; columns, whose faces are counted."""
    names = list(within)
    cells = {second: {first: (within[first] if first == second else counts[first][second])[kind] for first in names} for second in names}
    return pd.DataFrame(cells).rename_axis(f"{KINDS[kind]} duplicate in", axis="index").rename_axis("faces of", axis="columns")


def duplicates_sentence(audit: Mapping[str, Any], *, test_faces: int) -> str:
    """Say how many faces have exact duplicates, and how many of the test faces a metric on clean faces leaves out."""
    if audit["groups"] == 0:
        return "**No two faces of this set are byte-identical.**"
    leaked = test_faces - audit["test_dedup"]
    return (
        f"**{audit['faces_in_groups']:,} faces are byte-identical to at least one other, in {audit['groups']:,} groups; the largest has "
        f"{audit['largest_group']}.** {leaked:,} of the {test_faces:,} test faces ({100 * leaked / test_faces:.1f} %) have a duplicate in train or val; "
        f"metrics on `test_dedup` leave them out and keep {audit['test_dedup']:,}."
    )


def near_sentence(audit: Mapping[str, Any], *, limit: float) -> str:
    """Say how many near and mirrored duplicates there are, and from which score."""
    if audit["near_pairs"] + audit["mirrored_duplicates"] == 0:
        reach = f"no two different pictures looked at reach a correlation of {limit:.3f} once aligned, straight or mirrored"
        return f"**No near-duplicates were found: {reach}.**"
    pairs = f"{audit['near_pairs']:,} pairs ({audit['near_pairs_mirrored']:,} of them mirrored)"
    return (
        f"**{audit['near_duplicates']:,} faces have a near-duplicate, in {pairs} whose correlation once aligned is at least {limit:.3f}; "
        f"{audit['mirrored_duplicates']:,} are another face's exact mirror image.** With the exact duplicates, {audit['near_groups']:,} pictures are there "
        f"more than once, as {audit['faces_in_near_groups']:,} faces; the commonest {audit['largest_near_group']} times."
    )


def found_sentence(found: Mapping[str, Any] | None, *, where: str) -> str:
    """Say what was found of copies hidden on purpose.

    Args:
        found: From `planting.judge_found`; None where none were hidden.
        where: Among which faces, for the sentence.
    """
    if found is None:
        return f"Nobody hid copies among {where}."
    told = f"**Of {found['planted']:,} copies hidden among {where}, {found['found']:,} were found (recall {found['recall']:.3f})"
    if "precision" not in found:
        return told + ".** What else was found there may be copies nobody hid, so no precision can be told."
    precision = "none" if found["precision"] is None else f"{found['precision']:.3f}"
    return told + f"; {found['false_pairs']:,} pairs found are no copies (precision {precision}).**"


def found_table(tests: Mapping[str, Mapping[str, Any] | None]) -> pd.DataFrame:
    """Return recall per kind of copy (rows) and test (columns), with the number hidden."""
    columns = {}
    for name, found in tests.items():
        if found is not None:
            rows = {**found["per_kind"], "all": found}
            columns[name] = {kind: f"{of['found']} of {of['planted']} ({of['recall']:.2f})" for kind, of in rows.items()}
    return pd.DataFrame(columns).fillna("").rename_axis("copies found")


def conflicts_sentence(audit: Mapping[str, Any]) -> str:
    """Say how often the same picture has two labels."""
    if audit["near_groups"] == 0:
        return "No picture is there more than once, so none has two labels."
    parts = []
    for prefix, what in (("", "groups of byte-identical faces"), ("near_", "pictures that are there more than once, near copies included")):
        groups, conflicts = audit[f"{prefix}groups"], audit[f"{prefix}label_conflicts"]
        if groups:
            faces = audit[f"faces_in_{prefix}label_conflicts"]
            parts.append(f"In {conflicts:,} of {groups:,} {what} ({100 * conflicts / groups:.1f} %) the labels differ, {faces:,} faces in all.")
    least = audit["label_conflicts"] if audit["groups"] else 0
    floor = f"A classifier gives exact duplicates one prediction, so it errs on at least {least:,} of these faces." if least else ""
    return " ".join(filter(None, [f"**{parts[0]}**", *parts[1:], floor]))


def label_pairs(faces: pd.DataFrame, duplicates: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame:
    """Return how many pictures bear both of two labels, commonest first: `labels`, `pictures`."""
    sets = faces["target"][duplicates["near_label_conflict"].to_numpy()].groupby(duplicates["near_group"]).unique()
    pairs = [f"{expressions[a]} and {expressions[b]}" for targets in sets for a, b in combinations(sorted(targets), 2)]
    counts = pd.Series(pairs, dtype="str").value_counts()
    table = counts.rename("pictures").rename_axis("labels").reset_index()
    return table.sort_values(["pictures", "labels"], ascending=[False, True], ignore_index=True)


def probe_sentence(probe: Mapping[str, Any]) -> str:
    """Say what the nearest picture knows, and what that means."""

    def told(name: str) -> str:
        of = probe[name]
        return f"{100 * of['accuracy']:.1f} % [{100 * of['accuracy_ci_low']:.1f}, {100 * of['accuracy_ci_high']:.1f}] of {of['n']:,}"

    if not probe["all"]["n"]:
        return "There is no test face to ask about."
    parts = [f"**The most alike of {probe['known']:,} training faces has the right expression for {told('all')} test faces.**"]
    parts += [f"The commonest expression alone is right for {100 * probe['majority']:.1f} %."]
    parts += [f"Of those without a near-duplicate in train: {told('without_duplicates')}."] if probe["without_duplicates"]["n"] else []
    parts += [f"With neighbours of the same subject passed over: {told('other_subjects')}."] if "other_subjects" in probe else []
    if probe["without_duplicates"]["n"] and probe["without_duplicates"]["accuracy_ci_high"] < probe["all"]["accuracy_ci_low"]:
        gap = 100 * (probe["all"]["accuracy"] - probe["without_duplicates"]["accuracy"])
        parts += [f"**Without the test faces that have a near-duplicate in train, accuracy is {gap:.1f} points lower.**"]
    high, bound = _knows(probe, "all"), f"{100 * _suspect(probe):.0f} %"
    verdict = f"The interval lies above {bound}" if high else f"The interval does not lie above {bound}"
    means = (
        "pixels should not know this much; frames or copies of test faces are among the training faces, or the pictures are drawn after one pattern"
        if high
        else "about what pictures of different people give"
    )
    return " ".join(parts) + f" {verdict}: {means}."


def fingerprint_sentence(counts: pd.DataFrame, sha256: str) -> str:
    """Say whether the counts are the official ones, and the set's checksum.

    Args:
        counts: From `fingerprints.compare_counts`.
        sha256: Of the set.
    """
    checksum = f"The checksum of these faces, in any order, begins `{sha256[:16]}`."
    if counts.empty:
        return f"No official counts are known for these faces. {checksum}"
    by_part = counts.groupby(["source", "part"], sort=False)
    told = []
    for (source, part), rows in by_part:
        name = source if part == "all" else f"{source}, {part}"
        if rows["here"].sum() == 0:
            told.append(f"{name}: not here")
        elif (rows["difference"] == 0).all():
            told.append(f"**{name}: exactly the official counts** ({rows['here'].sum():,})")
        else:
            told.append(f"**{name}: {rows['here'].sum():,}, officially {rows['official'].sum():,}**")
    return "; ".join(told) + f". {checksum}"


def odd_sentence(audit: Mapping[str, Any], unlike: pd.DataFrame) -> str:
    """Say how many faces are blank or nearly so."""
    return (
        f"{audit['blank_faces']:,} pictures are blank, every pixel alike; {int(unlike['nearly_blank'].sum()):,} are nearly blank, those among them. "
        "Which of the others are no faces nobody has counted: below stand those that resemble the set's own faces least, to be looked at."
    )


def pairs_gallery(images: np.ndarray, faces: pd.DataFrame, pairs: pd.DataFrame, expressions: Sequence[str]) -> Figure:
    """Draw near-duplicates side by side, with their score and each one's split and label.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        pairs: `first`, `second`, `mirrored`, `score`; at most 24.
        expressions: Names.
    """
    _check_count(2 * len(pairs))
    across = min(4, len(pairs))
    down = -(-len(pairs) // across)
    figure = plt.figure(figsize=(across * (2 * CELL + 0.35), down * (CELL + 0.72)), layout="constrained")
    panels = figure.subfigures(down, across, squeeze=False, wspace=0.06).ravel()
    for panel, pair in zip(panels, pairs.itertuples(), strict=False):
        panel.suptitle(f"{pair.score:.3f}{', mirrored' if pair.mirrored else ''}", fontsize=9)
        for axes, row in zip(panel.subplots(1, 2), (pair.first, pair.second), strict=True):
            name = expressions[int(faces["target"].iloc[row])]
            draw_face(axes, images[int(row)], note=f"{faces['split'].iloc[row]}\n{name}")
    return figure


def unlike_gallery(images: np.ndarray, faces: pd.DataFrame, unlike: pd.DataFrame, *, most: int) -> Figure:
    """Draw the pictures that resemble the set's faces least, most unlike first, with their rank and row.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        unlike: From `probes.find_unlike`.
        most: How many, at most 48.
    """
    rows = np.argsort(-unlike["unlike"].to_numpy(), kind="stable")[:most]
    _check_count(len(rows))
    across = min(8, len(rows))
    down = -(-len(rows) // across)
    figure = plt.figure(figsize=(across * (CELL + 0.05), down * (CELL + 0.22)), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for one in axes:
        one.axis("off")
    for one, row in zip(axes, rows, strict=False):
        draw_face(one, images[int(row)], title=faces["face_id"].iloc[row].rsplit("/")[-1])
    return figure


def _check_count(count: int) -> None:
    if not 0 < count <= MOST:
        raise ValueError(f"Expected 1 to {MOST} faces in a figure, got {count}; show fewer.")
