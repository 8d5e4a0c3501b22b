"""The first page of the site: what was done and found, one figure, the runs, where to start, and what all of it comes from.

Its text is Markdown; every number comes from a metrics file. It alone names the Git commit.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ferlab import paths
from ferlab.costs import duration_sentence
from ferlab.evaluation.tasks import Task, recorded_tasks
from ferlab.params import Params
from ferlab.reporting.exposure import role_mark
from ferlab.reporting.pages.protocol import tasks_sentence
from ferlab.reporting.site import cards
from ferlab.reporting.site.entries import COMPARISONS, INSTRUMENTS, Entry
from ferlab.reporting.site.findings import best_run, findings, trained_sentence
from ferlab.reporting.site.html import first_sentence, pick_picture
from ferlab.reporting.tables import MISSING, shown_splits
from ferlab.roles import recorded

# What the one figure is of: stage and what its alt text speaks of, most wanted first.
HERO = (("explain", (r"mean maps", "grad-?cam", "occlusion")), ("evaluate", ("confusion",)), ("prepare", ("grid of", "faces")))
DEFAULT = "quick"  # the study that params.yaml of a fresh clone holds
HARDEST = "5"  # severity of a corruption
# Where a reader begins: (page, its title, what it holds); `{run}` is the best run. Pages that do not exist are not listed.
START = (
    ("docs/tour.md", "A tour of five minutes", "what the workspace does, step by step"),
    ("bench.md", "What does a model see in a face that you draw?", "action units, light, pose and occluder, computed in the browser"),
    ("runs/{run}/evaluate.ipynb", "How good is `{run}`, and how certain is that?", "metrics with intervals, calibration, abstention"),
    ("runs/{run}/analyze_errors.ipynb", "What does it get wrong?", "confusions, label issues, groups of faces"),
    ("runs/{run}/faces.md", "Which faces are behind each confusion?", "a cell of the matrix opens its faces"),
    ("runs/{run}/explain.ipynb", "Which pixels does it rely on?", "attribution maps, and which of them can be believed"),
    ("compare.ipynb", "How do the runs differ?", "paired tests, seeds, ensembles, published accuracies beside ours"),
    ("docs/results.md", "Results on real FER2013", "photographs, not control faces: the published models, with intervals"),
)


Metrics = Mapping[str, Mapping[str, Any]]  # per run or set, what a stage wrote of it


class Commit(NamedTuple):
    """The Git commit of a checkout: its hash and the day it was made, as YYYY-MM-DD."""

    name: str
    day: str


def overview(params: Params, entries: list[Entry], folder: Path, *, scorings: list[dict[str, str]], commit: Commit | None, box: str = "") -> str:
    """Return the first page; its figure is written below `folder`.

    Args:
        params: Names the sets and runs.
        entries: What ran of them.
        folder: The folder of pages; `docs/` is there already.
        scorings: Rows of the ledger of test scorings.
        commit: That of the checkout; None outside Git.
        box: That says whether the numbers are of the current state.
    """
    of = {stage: {entry.name: entry.metrics for entry in entries if entry.stage == stage} for stage in cards.STAGE_WORDS}
    done = [entry for entry in entries if entry.notebook is not None]
    drawn = [name for name, prepare in params.prepare.items() if cards.is_control(prepare, of["prepare"].get(name, {}))]
    data = next((settings.data for settings in params.runs.values()), "")
    best = best_run(params, of["evaluate"], data=data)
    run = best[0] if best else next(iter(params.runs), "")
    parts = [
        "---\nhtml_theme.sidebar_secondary.remove: true\n---",
        f"# Facial expression recognition: study {params.study}",
        box,
        f"{trained_sentence(params, of['prepare'], drawn=drawn)} Every number comes from a file that the pipeline computed, every page from an "
        "executed notebook; an expression is what a face shows, not what a person feels.",
        cards.admonition(cards.CONTROL_TITLE, f"{cards.CONTROL_TEXT} Drawn here: {', '.join(drawn)}.", kind="warning") if drawn else "",
        _found(params, of, done),
        _hero(done, folder, run=run),
        _start(run, entries=done, folder=folder),
        "## Runs",
        f"{cards.results_sentence(params.evaluate.tta, of['evaluate'])} {_corruption_note(of['robustness'])}".strip(),
        tasks_sentence(_tasks_of_sets(params, of["evaluate"])),
        "::::{container} sortable",
        runs_table(params, of["evaluate"], of["robustness"], links={e.name: f"{e.page}.ipynb" for e in done if e.stage == "evaluate"}),
        "::::",
        _instruments(done),
        "## The faces",
        cards.sets_table(params, of["prepare"], links={name: f"data/{name}/index.md" for name in params.prepare}),
        _count_scorings(params, scorings, real=[name for name, settings in params.runs.items() if settings.data not in drawn]),
        "## Where this comes from",
        _source_line(params, commit, took=duration_sentence((entry.stage, entry.name) for entry in entries)),
        _citation(commit),
        _fingerprints(done),
        *_trees(params, done),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def runs_table(params: Params, evaluations: Metrics, robustness: Metrics, *, links: Mapping[str, str]) -> str:
    """Return a row per run, test first; test without duplicates only where a run has any, accuracy under corruption where it was measured.

    Args:
        params: Names the runs, in order.
        evaluations: Per run, its evaluate metrics; {} where it has none.
        robustness: Per run, its robustness metrics.
        links: Per run, the page that its name leads to.
    """
    dedup = any("test_dedup" in shown_splits(values) for values in evaluations.values())
    hard = any(values.get("severities", {}).get(HARDEST) for values in robustness.values())
    others = {key: name for key, name in cards.HEADLINES.items() if key != "accuracy"}
    head = ["Run", "Accuracy, test", *["Accuracy, deduplicated"] * dedup, *[f"{name}, test" for name in others.values()]]
    head += ["Accuracy, val", *[f"Accuracy, severity {HARDEST}"] * hard]
    rows = []
    for run, settings in params.runs.items():
        values = evaluations.get(run, {})
        kind = cards.faces_kind(params.prepare[settings.data], str(values.get("dataset", "")))
        test = _scored(values, "test")
        row = [f"{cards.linked(run, links)} {cards.aside(f'{settings.data}: {kind}')}", _marked(values, "test")]
        row += [_marked(values, "test_dedup" if "test_dedup" in shown_splits(values) else "test")] * dedup
        row += [cards.interval(test, key) for key in others]
        corrupted = robustness.get(run, {})
        row += [_marked(values, "val")]
        row += [_accuracy(corrupted.get("severities", {}).get(HARDEST, {}), _mark(values, corrupted.get("split", "")))] * hard
        rows.append(row)
    return cards.table("Scores of each run with 95 % intervals", head, rows, right=range(1, len(head)))


def _scored(values: Mapping[str, Any], split: str) -> dict[str, Any]:
    return cards.honest_scores(values, split) if values.get(split) else {}


def _marked(values: Mapping[str, Any], split: str) -> str:
    """Return the accuracy on a split with its interval, and what the split was to the run where it was not untouched."""
    return _accuracy(_scored(values, split), _mark(values, split))


def _mark(values: Mapping[str, Any], split: str) -> str:
    return role_mark(recorded(values), split) if values else ""


def _accuracy(scores: Mapping[str, Any], mark: str) -> str:
    shown = cards.interval(scores, "accuracy")
    return f"{shown} {cards.aside(mark)}" if mark and shown != MISSING else shown


def _corruption_note(robustness: Metrics) -> str:
    measured = [values for values in robustness.values() if values.get("severities", {}).get(HARDEST)]
    if not measured:
        return ""
    kinds = max(len(values.get("accuracy_by_corruption", {})) for values in measured)
    faces = " or ".join(dict.fromkeys(f"{values['n']:,} {values['split']}" for values in measured))
    return f"*Severity {HARDEST}* is the mean over {kinds} corruptions of {faces} faces at the highest of five severities."


def _found(params: Params, of: Mapping[str, Metrics], done: list[Entry]) -> str:
    ran = {entry.stage for entry in done}
    links = {stage: f"runs/{{run}}/{stage}.ipynb" for stage in ("evaluate", "analyze_errors", "robustness") if stage in ran}
    pairs = of["compare"].get("", {}).get("pairs", {})
    told = findings(params, evaluations=of["evaluate"], errors=of["analyze_errors"], robustness=of["robustness"], pairs=pairs, links=links)
    return f"## Findings\n\n{told}" if told else ""


def _hero(done: list[Entry], folder: Path, *, run: str) -> str:
    """Return the one figure of the page: of the best run, or of the first set where no run has one."""
    for stage, patterns in HERO:
        for entry in done:
            if entry.stage == stage and entry.name in (run, *(() if stage in paths.RUN_STAGES else (entry.name,))):
                if (picture := pick_picture(entry.notebook or {}, *patterns)) is None:
                    continue
                (folder / "pictures").mkdir(exist_ok=True)
                file = picture.write(folder / "pictures", stage)
                caption = f"[{entry.title}]({entry.page}.ipynb): {html.escape(first_sentence(picture.alt))}"
                return cards.figure(f"pictures/{file}", alt=picture.alt, caption=caption, least=picture.least)
    return ""


def _start(run: str, *, entries: list[Entry], folder: Path) -> str:
    """Return links to the pages where a reader begins, of those that exist."""
    there = {f"{entry.page}.ipynb" for entry in entries}
    lines = [
        f"- [{title.format(run=run)}]({page.format(run=run)}): {what}"
        for page, title, what in START
        if page.format(run=run) in there or (folder / page.format(run=run)).is_file()
    ]
    return "\n".join(["## Start here", "", *lines]) if lines else ""


def _instruments(done: list[Entry]) -> str:
    """Return what the stages that no run owns found: attribution methods and published claims."""
    found = {entry.stage: entry for entry in done}
    told = [
        cards.methods_sentence(found["worlds"].metrics.get("ranking", []), link="worlds.ipynb") if "worlds" in found else "",
        cards.claims_sentence(found["claims"].metrics.get("verdicts", []), link="claims.ipynb") if "claims" in found else "",
    ]
    return "\n\n".join(["## Methods and claims", *filter(None, told)]) if any(told) else ""


def _tasks_of_sets(params: Params, evaluated: Metrics) -> dict[str, dict[str, Task]]:
    """Return the tasks of each set, as the first run records them that has any."""
    tasks: dict[str, dict[str, Task]] = {}
    for name, run in params.runs.items():
        if of := recorded_tasks(evaluated.get(name, {})):
            tasks.setdefault(run.data, of)
    return tasks


def _count_scorings(params: Params, scorings: list[dict[str, str]], *, real: list[str]) -> str:
    """Return how often the test split of each run on real faces was scored."""
    if not real:
        return "Scorings of the test split are not recorded: all datasets of this study are control faces."
    table = cards.scorings_table(scorings, study=params.study, runs=real)
    return f"Each new result on a real test split, and each epoch selected on test, adds a line to `reports/test_scorings.csv`.\n\n{table}"


def _source_line(params: Params, commit: Commit | None, *, took: str) -> str:
    """Return commit, day, duration, licence and how to reproduce, on one line that the search index does not see: it changes with the commit."""
    study = "" if params.study == DEFAULT else f"ferlab study {params.study} && "
    licence = f"{licence} licence" if (licence := _cited().get("license")) else ""
    reproduce = f"reproduce: `{study}make repro`"
    named = "This folder is not a Git checkout: no commit to name" if commit is None else f"Commit `{commit.name[:12]}` of {commit.day}"
    facts = [named, took, licence, reproduce if commit is None else f"{reproduce} at this commit"]
    return f"::::{{container}} no-search quiet\n{' · '.join(filter(None, facts))}\n::::"


def _citation(commit: Commit | None) -> str:
    """Return, folded, how to cite: what CITATION.cff says, and the commit."""
    if not (cited := _cited()):
        return ""
    authors = ", ".join(author.get("name") or f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    named = f"{authors} ({str(cited['date-released'])[:4]}). {cited['title']}, version {cited['version']}"
    text = f"{named}, commit {commit.name}." if commit else f"{named}."
    return cards.fold("How to cite", text, kind="no-search")


def _cited() -> dict[str, Any]:
    path = paths.ROOT / "CITATION.cff"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _fingerprints(done: list[Entry]) -> str:
    table = cards.provenance_table({f"[{entry.title}]({entry.page}.ipynb)": entry.metrics for entry in done})
    told = (
        "A fingerprint is a hash of the parameters, input data or code that made a result: two results with the same three were made alike, and a "
        "result whose fingerprints no longer match is computed again."
    )
    return cards.fold("Fingerprints of all results", f"{told}\n\n{table}")


def _trees(params: Params, done: list[Entry]) -> list[str]:
    """Return the hidden tables of contents, from which the theme makes the list on the left."""
    alone = {entry.stage for entry in done}
    compared, instruments = ({title: page for title, page in named.items() if page in alone} for named in (COMPARISONS, INSTRUMENTS))
    return [
        cards.toctree({name: f"data/{name}/index" for name in params.prepare}, caption="Data"),
        cards.toctree({name: f"runs/{name}/index" for name in params.runs}, caption="Runs"),
        cards.toctree(compared, caption="Comparison") if compared else "",
        cards.toctree({"Bench": "bench"} | instruments, caption="Instrument"),
    ]
