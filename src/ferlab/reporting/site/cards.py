"""The pages of the site that no notebook writes: the overview, and a card per set and per run. Markdown from metrics, no files read.

Every number comes from a metrics file; what a file does not hold is shown as a dash, never made up.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ferlab.explanation.methods import METHODS
from ferlab.expressions import SPLITS
from ferlab.params import Params, Prepare
from ferlab.reporting.exposure import role_mark
from ferlab.reporting.site.drawings import least_class
from ferlab.reporting.tables import MISSING, SPLIT_NAMES, TTA, control_name, estimate, shown_splits
from ferlab.roles import listed, recorded

CONTROL_TITLE = "Control faces: drawn, not photographed; numbers say nothing about real faces"
SOME_CONTROL = "Some of these faces are control faces: drawn, not photographed"
CONTROL_TEXT = "They are drawn from facial action units, so the truth is known: they check the methods and are no benchmark."
HEADLINES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1", "ece": "ECE"}
STAGE_WORDS = {
    "prepare": ("Prepare", "the faces and how they are split"),
    "audit": ("Audit", "duplicates, leaks and label conflicts"),
    "train": ("Train", "how the model was trained"),
    "evaluate": ("Evaluate", "how good, how sure"),
    "explain": ("Explain", "which pixels the model relies on"),
    "analyze_errors": ("Analyze errors", "what it gets wrong"),
    "robustness": ("Robustness", "what corruption, occlusion and other datasets cost"),
    "compare": ("Compare", "all runs side by side"),
    "deploy": ("Deploy", "export, parity and speed"),
    "control_faces": ("Control faces", "what can be drawn, and what is known about it"),
    "frame": ("Frame", "models of any origin on the same faces"),
    "claims": ("Claims", "published numbers computed again"),
    "worlds": ("Worlds", "which attribution methods can be believed"),
}
CLAIMED = {"holds": "hold", "does not hold": "do not hold", "cannot be told": "cannot be told"}


def is_control(prepare: Prepare, metrics: Mapping[str, Any]) -> bool:
    """Whether all faces of a set are drawn, be it by the reader `control` or as files in a dataset's layout; `metrics` are prepare's."""
    by_reader = {source["dataset"] for source in prepare.all_sources.values()} == {"control"}
    return by_reader or 0 < metrics.get("drawn_faces", 0) == metrics.get("faces")


def banner(prepare: Prepare, metrics: Mapping[str, Any]) -> str:
    """Return the box that stands on every page of a set and its runs: drawn faces, or a split that is not the official one; else ''."""
    if is_control(prepare, metrics):
        return admonition(CONTROL_TITLE, CONTROL_TEXT, kind="warning")
    if metrics.get("drawn_faces"):
        return admonition(SOME_CONTROL, f"{metrics['drawn_faces']:,} of {metrics['faces']:,}, in the layout of a dataset.", kind="warning")
    if metrics.get("official_test") is False:
        joined = "Numbers published for one of the joined sources are another measurement. " * bool(prepare.sources)
        return admonition("Not the official test", f"{joined}{split_rule(metrics)}", kind="warning")
    return ""


def split_rule(metrics: Mapping[str, Any]) -> str:
    """Return the rule that a set is split by, as its prepare stage states it."""
    return f"{metrics['split_rule'].rstrip('.')}." if metrics.get("split_rule") else "Not prepared yet."


def sets_table(params: Params, prepared: Mapping[str, Mapping[str, Any]], *, links: Mapping[str, str]) -> str:
    """Return a row per set: its dataset, its faces per split, and the rule of the split.

    Args:
        params: Names the sets, in order.
        prepared: Per set, its prepare metrics; {} where it has none.
        links: Per set, the page that its name leads to.
    """
    rows = []
    for name, prepare in params.prepare.items():
        metrics = prepared.get(name, {})
        counts = [_thousands(metrics.get("splits", {}).get(split)) for split in SPLITS]
        datasets = " + ".join(dict.fromkeys(source["dataset"] for source in prepare.all_sources.values()))
        rows.append([linked(name, links), datasets, *counts, f'<span class="rule">{html.escape(split_rule(metrics))}</span>'])
    return table("Faces of each split, and how they are split", ["Prepared dataset", "Source", *SPLITS, "Split rule"], rows, right=range(2, 5))


def faces_kind(prepare: Prepare, dataset: str) -> str:
    """Name what a run's faces are, by its set and what evaluate calls their dataset: "control:ckplus and control:jaffe", "" before it has run."""
    drawn = {control_name(source) is not None for source in dataset.split(" and ")}
    if is_control(prepare, {}) or drawn == {True}:
        return "drawn faces"
    return "photographs and drawn faces" if True in drawn else "photographs" if dataset else "not scored"


def results_table(params: Params, evaluations: Mapping[str, Mapping[str, Any]], *, links: Mapping[str, str]) -> str:
    """Return the headline table: a row per run and split, estimates with their 95 % intervals.

    Args:
        params: Names the runs, in order.
        evaluations: Per run, its evaluate metrics `{split: {key: value}}`; {} where it has none.
        links: Per run, the page that its name leads to; a run without one is named, not linked.
    """
    rows = []
    for run, settings in params.runs.items():
        values = evaluations.get(run, {})
        kind = faces_kind(params.prepare[settings.data], str(values.get("dataset", "")))
        first = f"{linked(run, links)} {aside(f'{settings.data}: {kind}')}"
        for split in shown_splits(values):
            mark = role_mark(recorded(values), split)
            named = f'<span class="keep">{SPLIT_NAMES[split]}</span> {aside(mark) if mark else ""}'.strip()
            scores = honest_scores(values, split)
            accuracy, *others = (interval(scores, key) for key in HEADLINES)
            rows.append([first, named, accuracy, faces_in(values[split]), *others])  # a phone shows the first columns
            first = ""
        if first:
            rows.append([first, *[MISSING] * (2 + len(HEADLINES))])
    accuracy, *others = HEADLINES.values()
    return table("Scores of the run on each split", ["Run", "Split", accuracy, "Faces", *others], rows, right=range(2, 7))


def results_sentence(tta: str, evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how the faces of the headline table were scored, and what its intervals and splits are.

    Args:
        tta: `evaluate.tta`.
        evaluations: As for `results_table`.
    """
    exposures = [recorded(values) for values in evaluations.values() if values]
    scored = TTA.get(tta, "each face as it is, without test-time augmentation")
    told = [f"Scores are of {scored}. Below each estimate stands its 95 % interval{_whose(evaluations)}."]
    if any(seen.role("test") == "selected_on" for seen in exposures):
        told.append("**Where test selected the epoch, its scores are optimistically biased.**")
    if any(seen.role("val") == "trained" for seen in exposures):
        told.append("Scores on val that the model was trained on are training scores.")
    told.append("ECE is the expected calibration error.")
    if any("test_dedup" in shown_splits(values) for values in evaluations.values()):
        told.append("*Test, deduplicated* excludes test faces that have an exact, mirrored or near-duplicate in train or val.")
    return " ".join(told)


def methods_sentence(ranking: Sequence[Mapping[str, Any]], *, link: str) -> str:
    """Say which attribution methods are believed by the models of the worlds; "" where none was ranked."""
    by: dict[str, list[str]] = {}
    for row in ranking:
        by.setdefault(row["verdict"], []).append(METHODS[row["method"]].title if row["method"] in METHODS else row["method"])
    told = "; ".join(f"{listed(names)} {'is' if len(names) == 1 else 'are'} {verdict}" for verdict, names in by.items())
    return f"[Attribution methods]({link}), on control faces whose evidence is known: {told}." if told else ""


def claims_sentence(verdicts: Sequence[str], *, link: str) -> str:
    """Say how many published claims hold when they are computed again; "" where none was checked."""
    told = ", ".join(f"{verdicts.count(verdict)} {words}" for verdict, words in CLAIMED.items())
    return f"[Published claims]({link}), computed again: of {len(verdicts)} checks {told}." if verdicts else ""


def _whose(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    scored = [values for values in evaluations.values() if values.get("test")]
    by_subject = [bool(_over_subjects(values, "test")) for values in scored]
    if not any(by_subject):
        return " over faces"
    return " over subjects" if all(by_subject) else ", over subjects where they are known, else over faces"


def honest_scores(values: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return the scores of a split with the bounds that hold for new people, and the number of subjects, where subjects are known.

    Args:
        values: A run's evaluate metrics.
        split: One that it has scores on.
    """
    return {**values[split], **_over_subjects(values, split)}


def _over_subjects(values: Mapping[str, Any], split: str) -> dict[str, float]:
    """Return the number of subjects and the bounds over them, which hold for new people; none where subjects are not known."""
    found = (values.get("subjects_by_split") or {}).get(split) or {}
    return {key: value for key, value in found.items() if key == "subjects" or key.endswith(("_ci_low", "_ci_high"))}


def interval(values: Mapping[str, Any], key: str) -> str:
    """Write an estimate with its 95 % interval below it; a dash where there is none."""
    value, bracket, bounds = estimate(values, key).partition(" [")
    return MISSING if value == MISSING else f"**{value}** {aside(f'[{bounds}') if bracket else ''}".strip()


def scorings_table(scorings: Sequence[Mapping[str, str]], *, study: str, runs: Iterable[str]) -> str:
    """Return how often the test split of each run of this study was scored, and by how many results: other params, data, code or packages.

    Args:
        scorings: Rows of the ledger (study, run, set, record, ...), one per scoring.
        study: Rows of other studies are ignored.
        runs: The runs to list, in order.
    """
    rows = []
    for run in runs:
        own = [row for row in scorings if row.get("study") == study and row.get("run") == run]
        rows.append([run, str(len(own)), str(len({row.get("record") for row in own}))])
    return table("Scorings of the test split", ["Run", "Times the test split was scored", "Different results"], rows, right=(1, 2))


def provenance_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the fingerprints of each result: parameters, data and code.

    Args:
        metrics: Per page title, a stage's metrics with their `provenance`.
    """
    rows = []
    for title, values in metrics.items():
        mark = values.get("provenance", {})
        rows.append([title, *(f"`{mark[key]}`" if mark.get(key) else MISSING for key in ("params", "data", "code"))])
    return table("Fingerprints of each result", ["Result", "Parameters", "Data", "Code"], rows)


def close(stage: str, *, section: Mapping[str, Any], metrics: Mapping[str, Any], notebook: str) -> str:
    """Return the end of a stage's page: its notebook, fingerprints and, folded, the parameters it saw."""
    mark = metrics.get("provenance", {})
    rows = [["Notebook", f"`{notebook}`"]]
    rows += [
        [word, f"`{mark[key]}`"] for key, word in (("study", "Study"), ("params", "Parameters"), ("data", "Data"), ("code", "Code")) if mark.get(key)
    ]
    shown = html.escape(json.dumps(section, indent=2, ensure_ascii=False))
    folded = f'<details class="plain"><summary>Parameters that {stage} saw</summary><pre>{shown}</pre></details>'
    made_of = table("Notebook, study and fingerprints of this page", ["What", "Which"], rows)
    return "\n\n".join(["## Where this comes from", made_of, f"```{{raw}} html\n{folded}\n```"])


def stage_list(stages: Mapping[str, bool]) -> str:
    """Return links to the stage pages of a set or run; a stage that has not run is named, not linked."""
    lines = []
    for stage, exists in stages.items():
        title, what = STAGE_WORDS[stage]
        lines.append(f"- [{title}]({stage}.ipynb): {what}" if exists else f"- {title}: not run yet")
    return "\n".join(lines)


def toctree(entries: Mapping[str, str], *, caption: str = "") -> str:
    """Return a hidden toctree of title to document name."""
    head = ["```{toctree}", ":hidden:"] + ([f":caption: {caption}"] if caption else [])
    return "\n".join([*head, "", *(f"{title} <{page}>" for title, page in entries.items()), "```"])


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return a table in MyST Markdown below its caption; `right` names the columns that are aligned right."""
    rule = ["---:" if column in set(right) else "---" for column in range(len(head))]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in [head, rule, *rows]]
    return "\n".join([f"```{{table}} {caption}.", "", *lines, "```"])


def admonition(title: str, text: str, *, kind: str = "note") -> str:
    """Return a titled box."""
    return f":::{{admonition}} {title}\n:class: {kind}\n\n{text}\n:::"


def fold(title: str, text: str, *, kind: str = "") -> str:
    """Return a box that is closed until it is wanted."""
    return f":::{{admonition}} {title}\n:class: {f'fold {kind}'.strip()}\n:collapsible: closed\n\n{text}\n:::"


def figure(path: str, *, alt: str, caption: str, least: int = 0) -> str:
    """Return a figure with its caption; it keeps a width of `least` CSS pixels."""
    return f":::{{figure}} {path}\n:alt: {alt}\n:class: {least_class(least)}\n\n{caption}\n:::"


def linked(name: str, links: Mapping[str, str]) -> str:
    """Return a name as the link to its page, where it has one."""
    return f"[{name}]({links[name]})" if name in links else name


def aside(text: str) -> str:
    """Return what stands small below the value of a cell."""
    return f'<span class="aside">{html.escape(text)}</span>'


def faces_in(values: Mapping[str, Any]) -> str:
    """Return the number of faces of a split's scores, a dash where it is not recorded."""
    counts = [entry.get("support") for entry in values.get("per_class", {}).values()]
    return _thousands(values.get("n", sum(counts) if counts and None not in counts else None))


def _thousands(count: int | None) -> str:
    return MISSING if count is None else f"{int(count):,}"
