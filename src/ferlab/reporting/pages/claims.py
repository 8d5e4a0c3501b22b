"""The page of claims: how many hold, what was found of each paper, and what a random split of frames is worth on control sequences."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ferlab.reporting.markup import escape_tags
from ferlab.reporting.style import readable_on
from ferlab.reporting.tables import estimate, p_equals
from ferlab.roles import listed

OWN = "ferlab"  # the paper that is this project's pages
LAST = ("anchors", OWN)  # after the papers
COLOURS = {"holds": "#009E73", "does not hold": "#D55E00", "cannot be told": "#6B6B6B"}
ORDER = ("does not hold", "cannot be told", "holds")
MARKS = {"holds": "✓", "does not hold": "✗", "cannot be told": "?"}
WORDS = {"holds": "hold", "does not hold": "do not hold", "cannot be told": "cannot be told"}
SPLIT_WORDS = {"random_frames": "frames at random", "by_subject": "by subject"}
SPLIT_COLOURS = {"random_frames": "#D55E00", "by_subject": "#0072B2"}
ALPHA = 0.05


def plot_verdicts(rows: pd.DataFrame) -> Figure:
    """Draw how many checks of each paper have each verdict, a bar per paper."""
    counts = count_verdicts(rows)
    figure, axis = plt.subplots(figsize=(4.8, 0.36 * len(counts) + 1.3), layout="constrained")
    left = pd.Series(0, index=counts.index)
    for verdict in ORDER:
        axis.barh(counts.index, counts[verdict], left=left, color=COLOURS[verdict], label=verdict, height=0.7)
        for place, (start, count) in enumerate(zip(left, counts[verdict])):
            if count:
                axis.text(start + count / 2, place, str(count), ha="center", va="center", color=readable_on(COLOURS[verdict]), fontweight="bold")
        left = left + counts[verdict]
    axis.set(xlabel="checks")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=3, handlelength=1, columnspacing=1)
    return figure


def count_verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the number of checks per paper (rows, see `papers_in_order`) and verdict."""
    return pd.crosstab(rows["paper"], rows["verdict"]).reindex(index=papers_in_order(rows), columns=list(ORDER), fill_value=0)


def papers_in_order(rows: pd.DataFrame) -> list[str]:
    """Return the papers as the page shows them: reference results and this project's pages last."""
    return sorted(dict.fromkeys(rows["paper"]), key=lambda name: LAST.index(name) + 1 if name in LAST else 0)


def verdicts_sentence(rows: pd.DataFrame, *, own: bool = True) -> str:
    """Say how many checks there are, how many of each verdict, and (`own`) how many are of this project's pages."""
    counts = rows["verdict"].value_counts()
    told = ", ".join(f"{counts.get(verdict, 0)} {WORDS[verdict]}" for verdict in reversed(ORDER))
    of_own = f" {int((rows['paper'] == OWN).sum())} of them are of this project's own pages." if own else ""
    return f"{counted(len(rows), 'check')} of {counted(rows['claim'].nunique(), 'claim')}: {told}.{of_own}"


def paper_parts(rows: pd.DataFrame, titles: Mapping[str, str], *, own: bool = False) -> list[str]:
    """Return the findings of each paper as Markdown: its title, the claims that do not hold with their evidence, and, folded, the others.

    Args:
        rows: From `ferlab.evaluation.claims.audit_claims`.
        titles: Paper -> title.
        own: This project's pages; else all other papers.
    """
    parts = []
    for paper in [name for name in papers_in_order(rows) if (name == OWN) == own]:
        of = rows[rows["paper"] == paper]
        parts.append(f"### {_plain(titles.get(paper, paper))}")
        for verdict in ORDER:
            found = of[of["verdict"] == verdict]
            heading = f"{MARKS[verdict]} {verdict[0].upper()}{verdict[1:]} ({counted(len(found), 'check')})"
            if len(found) and verdict == ORDER[0]:
                parts.append(f"{heading}\n\n" + "\n".join(_item(str(claim), each) for claim, each in found.groupby("claim", sort=False)))
            elif len(found):
                parts.append(_folded(heading, found))
    return parts


def counted(count: int, what: str) -> str:
    """Return a number of things.

    >>> counted(1, "check"), counted(2, "check")
    ('1 check', '2 checks')
    """
    return f"{count} {what}" + "s" * (count != 1)


def plot_leak(compared: Mapping[str, Any]) -> Figure:
    """Draw the accuracy under each split with its 95 % interval; `compared` from `ferlab.error_analysis.frame_leak.compare_splits`."""
    figure, axis = plt.subplots(figsize=(4.8, 1.8), layout="constrained")
    for place, split in enumerate(SPLIT_WORDS):
        value, low, high = (100 * compared[f"{split}{end}"] for end in ("", "_ci_low", "_ci_high"))
        axis.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=SPLIT_COLOURS[split], capsize=4)
        axis.text(value, place - 0.18, f"{value:.1f}", ha="center", va="bottom", color=SPLIT_COLOURS[split])
    axis.set(xlabel=f"accuracy on the same {compared['n']} test frames, %", xlim=(0, 100), ylim=(1.5, -0.7))
    axis.set_yticks(range(len(SPLIT_WORDS)), list(SPLIT_WORDS.values()))
    axis.grid(axis="y", visible=False)
    return figure


def leak_sentence(compared: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Report what the random split gains, in every draw, and whether that is significant."""
    each = [100 * value for value in compared["by_draw"]]
    gain = {"gain": compared["difference"], "gain_ci_low": compared["ci_low"], "gain_ci_high": compared["ci_high"]}
    points = f"{estimate(gain, 'gain', unit='points')} (p {p_equals(compared['p'])}, t test over draws; {min(each):.1f} to {max(each):.1f} in each)"
    head = (
        f"Control sequences: {compared['draws']} draws, in all {compared['n']} test frames of {compared['subjects']} subjects; "
        f"{facts['train']} frames train each model. Under the random split {100 * facts['siblings']['random_frames']:.0f} % of the test frames "
        f"have a frame of their sequence in train. Accuracy is {estimate(compared, 'random_frames')} with frames divided at random and "
        f"{estimate(compared, 'by_subject')} by subject."
    )
    if compared["p"] < ALPHA and compared["difference"] > 0:
        return f"{head} The random split overestimates accuracy on new subjects by {points}."
    if compared["p"] < ALPHA:
        return f"{head} The difference is {points}: here the random split reports less."
    return f"{head} The difference is {points}: not significant at the 5 % level."


def readme_sentence(rows: pd.DataFrame) -> str:
    """Say whether this project's own numbers came again."""
    own = rows[rows["paper"] == OWN]
    printed = own[own["evidence"].str.startswith("Stated in ")]
    if own.empty:
        return "No claims of this project's own pages are listed (conf/claims/ferlab.yaml)."
    bad = printed[printed["verdict"] == "does not hold"]
    if len(bad):
        which = listed([_plain(text) for text in bad["claim"]])
        return f"{len(bad)} of {len(printed)} printed accuracies differ from what was computed again: {which}."
    open_ones = int((printed["verdict"] == "cannot be told").sum())
    return (
        f"No printed accuracy of {len(printed)} differs from what was computed again; {open_ones} cannot be recomputed here. "
        f"{int((own['verdict'] == 'does not hold').sum())} other checks of these pages do not hold."
    )


def _item(claim: str, findings: pd.DataFrame) -> str:
    told = " ".join(f"*{_plain(row['check'][0].upper() + row['check'][1:])}:* {_plain(row['evidence'])}" for row in findings.to_dict("records"))
    return f"- **{_plain(claim)}.** {told}"


def _folded(heading: str, found: pd.DataFrame) -> str:
    """Return findings as plain text that a reader unfolds, one line each."""
    lines = [f"\N{BULLET} {row['claim']}. {row['check'][0].upper()}{row['check'][1:]}: {row['evidence']}" for row in found.to_dict("records")]
    return f'<details class="plain"><summary>{heading}</summary><pre>{html.escape(chr(10).join(lines))}</pre></details>'


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([*_`\[\]$])", r"\\\1", escape_tags(text)).replace(" %", "\N{NO-BREAK SPACE}%")
