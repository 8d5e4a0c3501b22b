"""The folder of pages that Sphinx turns into the site: one per executed notebook, a card per set and run, the overview.

Pages are named by params.yaml, never found by globbing, so what is no longer there disappears. `ferlab.reporting.site.cards` words them,
`ferlab.reporting.site.html` turns a notebook into a page, `ferlab.reporting.site.build` builds and swaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.evaluation.tasks import Task, recorded_tasks
from ferlab.params import Params, declared
from ferlab.paths import NOTEBOOKS, RUN_STAGES, SET_STAGES, InputError
from ferlab.reporting.pages.protocol import tasks_sentence
from ferlab.reporting.site import cards
from ferlab.reporting.site.dataset_card import Dataset, dataset_card, dataset_card_body
from ferlab.reporting.site.html import Notebook, Picture, make_page, pick_picture
from ferlab.reporting.site.model_card import Described, model_card, model_card_body

INSTRUMENTS = {"Control faces": "control_faces", "Attribution methods": "worlds"}
COMPARISONS = {"All runs": "compare", "Models of any origin": "frame", "Published claims": "claims"}

HUB = "hub"  # the folder of cards with front matter, which Sphinx copies and does not read

# Where the overview's pictures come from: stage and what their alt text speaks of, most wanted first.
PICTURES: dict[str, tuple[str, ...]] = {
    "prepare": ("grid of", "faces"),
    "evaluate": ("confusion",),
    "explain": (r"mean grad-?cam", r"grad-?cam", "occlusion"),
    "compare": ("accuracy",),
}


@dataclass
class Entry:
    """One executed notebook and the metrics of its stage."""

    stage: str
    name: str
    page: str  # document name below the site's root
    notebook: Notebook | None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the overview calls it."""
        return f"{cards.STAGE_WORDS[self.stage][0]} {self.name}".strip()


def collect(params: Params) -> list[Entry]:
    """Read the executed notebook and metrics of every stage of every set and run in params, in the order of params.

    Raises:
        InputError: If a notebook or metrics file is broken, or no stage has run at all.
    """
    named = [(stage, name, f"data/{name}/{stage}") for name in params.prepare for stage in SET_STAGES]
    named += [(stage, name, f"runs/{name}/{stage}") for name in params.runs for stage in RUN_STAGES]
    named += [(stage, "", stage) for stage in ("compare", "control_faces", "worlds", "frame", "claims") if stage != "frame" or params.frame.models]
    entries = [Entry(stage, name, page, _read_notebook(stage, name), _read_metrics(stage, name)) for stage, name, page in named]
    if not any(entry.notebook for entry in entries):
        raise InputError("reports/notebooks: no stage of params.yaml has run yet; `dvc repro` runs them")
    return entries


def write_sources(params: Params, entries: list[Entry], folder: Path, *, scorings: list[dict[str, str]], commit: str) -> None:
    """Write the pages that Sphinx reads: one per notebook, a card per set and run, the overview."""
    prepared = {entry.name: entry.metrics for entry in entries if entry.stage == "prepare"}
    for entry in entries:
        if entry.notebook is not None:
            with _naming(f"what stage {entry.stage} wrote of {entry.name or 'all runs'}"):
                _write_notebook_page(params, entry, folder, prepared=prepared)
    for name in params.prepare:
        with _naming(f"the metrics of set {name}"):
            _write_set_card(params, name, entries, folder)
    for name in params.runs:
        with _naming(f"the metrics of run {name}"):
            _write_run_card(params, name, entries, folder)
    documents = _write_documents(folder / "docs")
    with _naming("some metrics file"):
        _write(folder / "index.md", overview(params, entries, folder, scorings=scorings, commit=commit) + documents)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Report a file that is JSON and not what its stage writes in one line."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"reports/metrics, reports/notebooks: {what} is not as the stage writes it ({told}); run it again: dvc repro -sf") from None


def overview(params: Params, entries: list[Entry], folder: Path, *, scorings: list[dict[str, str]], commit: str) -> str:
    """Return the first page; its pictures are written below `folder`."""
    prepared = {entry.name: entry.metrics for entry in entries if entry.stage == "prepare"}
    evaluated = {entry.name: entry.metrics for entry in entries if entry.stage == "evaluate"}
    done = [entry for entry in entries if entry.notebook is not None]
    alone = {entry.stage for entry in done}
    compared, instruments = ({title: page for title, page in named.items() if page in alone} for named in (COMPARISONS, INSTRUMENTS))
    drawn = [name for name, prepare in params.prepare.items() if cards.is_control(prepare, prepared.get(name, {}))]
    parts = [
        "---\nhtml_theme.sidebar_secondary.remove: true\n---",
        f"# Facial expression recognition: study {params.study}",
        f"{_many(params.runs, 'trained model')} on {_many(params.prepare, 'prepared dataset')}: the faces and their split, accuracy and calibration,"
        " attributions, and errors. Every number comes from a file that the pipeline computed, every page from an executed notebook. An expression"
        " is what a face shows, not what a person feels.",
        cards.admonition(cards.CONTROL_TITLE, f"{cards.CONTROL_TEXT} Drawn here: {', '.join(drawn)}.", kind="warning") if drawn else "",
        "## Results",
        cards.results_sentence(params.evaluate.tta, evaluated),
        tasks_sentence(_tasks_of_sets(params, evaluated)),
        cards.results_table(params, evaluated, links={entry.name: f"{entry.page}.ipynb" for entry in done if entry.stage == "evaluate"}),
        cards.robustness_table(
            {entry.name: entry.metrics for entry in done if entry.stage == "robustness"},
            links={entry.name: f"{entry.page}.ipynb" for entry in done if entry.stage == "robustness"},
        ),
        _findings(done),
        _gallery(done, folder),
        "## The faces",
        cards.sets_table(params, prepared, links={name: f"data/{name}/index.md" for name in params.prepare}),
        "## How often the test split was scored",
        _count_scorings(params, scorings, real=[name for name, run in params.runs.items() if run.data not in drawn]),
        "## Where the numbers come from",
        _commit_line(commit),
        cards.provenance_table({f"[{entry.title}]({entry.page}.ipynb)": entry.metrics for entry in done}),
        cards.toctree({name: f"data/{name}/index" for name in params.prepare}, caption="Data"),
        cards.toctree({name: f"runs/{name}/index" for name in params.runs}, caption="Runs"),
        cards.toctree(compared, caption="Comparison") if compared else "",
        cards.toctree(instruments, caption="Instrument") if instruments else "",
    ]
    return _joined(parts)


def _findings(done: list[Entry]) -> str:
    """Return what the stages that no run owns found: attribution methods and published claims."""
    found = {entry.stage: entry for entry in done}
    told = [
        cards.methods_sentence(found["worlds"].metrics.get("ranking", []), link="worlds.ipynb") if "worlds" in found else "",
        cards.claims_sentence(found["claims"].metrics.get("verdicts", []), link="claims.ipynb") if "claims" in found else "",
    ]
    return _joined(["## Methods and claims", *told]) if any(told) else ""


def _tasks_of_sets(params: Params, evaluated: dict[str, dict[str, Any]]) -> dict[str, dict[str, Task]]:
    """Return the tasks of each set, as the first run records them that has any."""
    tasks: dict[str, dict[str, Task]] = {}
    for name, run in params.runs.items():
        if of := recorded_tasks(evaluated.get(name, {})):
            tasks.setdefault(run.data, of)
    return tasks


def _write_documents(folder: Path) -> str:
    """Write the pages of docs/ beside the report; return their table of contents. What they link to outside docs/ is named by its path."""
    titles = {}
    for path in sorted((paths.ROOT / "docs").glob("*.md")):
        text = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", path.read_text(encoding="utf-8"))
        _write(folder / path.name, text)
        titles[text.partition("\n")[0].lstrip("# ")] = f"docs/{path.stem}"
    return f"\n{cards.toctree(titles, caption='Documentation')}\n" if titles else ""


def _count_scorings(params: Params, scorings: list[dict[str, str]], *, real: list[str]) -> str:
    if not real:
        return "All datasets of this study are control faces, whose scorings are not recorded."
    table = cards.scorings_table(scorings, study=params.study, runs=real)
    return f"Each new result on a real test split, and each epoch selected on test, adds a line to `reports/test_scorings.csv`.\n\n{table}"


def _read_notebook(stage: str, name: str) -> Notebook | None:
    path = paths.executed_notebook(stage, name)
    if not path.is_file():
        return None
    notebook = paths.read_json(path, made_by=f"stage {stage}")
    if not isinstance(notebook.get("cells"), list):
        raise InputError(f"{path.relative_to(paths.ROOT)}: not a notebook; run stage {stage} again")
    return notebook


def _read_metrics(stage: str, name: str) -> dict[str, Any]:
    path = paths.artefact(stage, "metrics", name)
    if stage in paths.ROWS and path.is_file():
        rows, record = paths.read_rows(path, made_by=f"stage {stage}"), paths.artefact(stage, "record", name)
        made = paths.read_json(record, made_by=f"stage {stage}") if record.is_file() else {}
        return {
            "verdicts": [row.get("verdict", "") for row in rows],
            "provenance": {key: made[key] for key in ("params", "data", "code") if key in made},
        }
    return paths.read_json(path, made_by=f"stage {stage}") if path.is_file() else {}


def _write_notebook_page(params: Params, entry: Entry, folder: Path, *, prepared: dict[str, dict[str, Any]]) -> None:
    close = cards.close(
        entry.stage,
        section=declared(params, entry.stage, entry.name),
        metrics=entry.metrics,
        notebook=f"notebooks/{NOTEBOOKS[entry.stage]}.ipynb",
    )
    page = make_page(entry.notebook, name=entry.name, lead=_lead(params, entry, prepared), close=close)
    path = folder / f"{entry.page}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page), encoding="utf-8")


def _lead(params: Params, entry: Entry, prepared: dict[str, dict[str, Any]]) -> str:
    """Return the boxes a page must carry: those of its set, or of every set that `compare` speaks of."""
    if entry.stage == "claims":  # of published numbers; its one section on control faces says so
        return ""
    if entry.stage in INSTRUMENTS.values():
        return cards.admonition(cards.CONTROL_TITLE, cards.CONTROL_TEXT, kind="warning")
    if entry.stage in SET_STAGES:
        sets = [entry.name]
    elif entry.stage in RUN_STAGES:
        sets = [params.runs[entry.name].data]
    elif entry.stage == "frame":
        sets = params.frame.sets
    else:
        sets = [name for name in params.prepare if any(run.data == name for run in params.runs.values())]
    boxes = [cards.banner(params.prepare[name], prepared.get(name, {})) for name in sets]
    return "\n\n".join(dict.fromkeys(filter(None, boxes)))


def _write_set_card(params: Params, name: str, entries: list[Entry], folder: Path) -> None:
    own = {entry.stage: entry for entry in entries if entry.page.startswith(f"data/{name}/")}
    prepare, metrics = params.prepare[name], own["prepare"].metrics
    users = [run for run, settings in params.runs.items() if settings.data == name]
    extra = {}
    if metrics.get("dataset"):
        errors = {entry.name: entry.metrics for entry in entries if entry.stage == "analyze_errors" and entry.name in users}
        issues = {run: {**of["label_issues"], "split": of["split"], "n": of["n"]} for run, of in errors.items() if of.get("label_issues")}
        card = Dataset(name, metrics, own["audit"].metrics, issues)
        extra = {"Dataset card": "dataset_card"}
        _write_card(folder / "data" / name, "dataset_card", dataset_card_body(card), whole=dataset_card(card), box=cards.banner(prepare, metrics))
    parts = [
        f"# Dataset {name}",
        cards.banner(prepare, metrics),
        cards.sets_table(params.model_copy(update={"prepare": {name: prepare}}), {name: metrics}, links={}),
        cards.stage_list({stage: entry.notebook is not None for stage, entry in own.items()}),
        _card_line(extra),
        f"Runs on this dataset: {', '.join(f'[{run}](../../runs/{run}/index.md)' for run in users) or 'none'}.",
        _page_tree(own, extra),
    ]
    _write(folder / "data" / name / "index.md", _joined(parts))


def _write_run_card(params: Params, name: str, entries: list[Entry], folder: Path) -> None:
    own = {entry.stage: entry for entry in entries if entry.page.startswith(f"runs/{name}/")}
    settings = params.runs[name]
    prepared = next(entry.metrics for entry in entries if entry.page == f"data/{settings.data}/prepare")
    only = params.model_copy(update={"runs": {name: settings}})
    box, extra = cards.banner(params.prepare[settings.data], prepared), {}
    if own["evaluate"].metrics:
        card = Described(name, settings.model, {stage: entry.metrics for stage, entry in own.items()}, settings.data)
        extra = {"Model card": "model_card"}
        _write_card(folder / "runs" / name, "model_card", model_card_body(card), whole=model_card(card), box=box)
    parts = [
        f"# Run {name}",
        box,
        f"Model `{settings.model}` of the family `{settings.family}`, trained on [{settings.data}](../../data/{settings.data}/index.md)"
        f" with seed {settings.seed}; group `{settings.group}`.",
        cards.results_table(only, {name: own["evaluate"].metrics}, links={}),
        cards.stage_list({stage: entry.notebook is not None for stage, entry in own.items()}),
        _card_line(extra),
        _page_tree(own, extra),
    ]
    _write(folder / "runs" / name / "index.md", _joined(parts))


def _page_tree(own: dict[str, Entry], extra: dict[str, str]) -> str:
    done = {cards.STAGE_WORDS[stage][0]: stage for stage, entry in own.items() if entry.notebook is not None} | extra
    return cards.toctree(done) if done else ""


def _card_line(extra: dict[str, str]) -> str:
    return "\n".join(f"- [{title}]({page}.md): on one page, and as a file for Hugging Face" for title, page in extra.items())


def _write_card(folder: Path, page: str, body: str, *, whole: str, box: str) -> None:
    """Write a card as a page with its boxes, and beside it the file with front matter, which the page offers."""
    _write(folder / HUB / f"{page}.md", whole)
    head, _, rest = body.partition("\n\n")
    offer = f"{{download}}`This card as a file <{HUB}/{page}.md>`, with the front matter of Hugging Face (to be stored there as README.md)."
    _write(folder / f"{page}.md", _joined([head, box, offer, rest.rstrip()]))


def _gallery(done: list[Entry], folder: Path) -> str:
    """Return one figure per stage of PICTURES, from the first set or run that has one."""
    figures = []
    for stage, patterns in PICTURES.items():
        found = next(_with_picture(done, stage, patterns), None)
        if found:
            entry, picture = found
            path = f"pictures/{stage}.png"
            (folder / "pictures").mkdir(exist_ok=True)
            (folder / path).write_bytes(picture.png)
            figures.append(cards.figure(path, alt=picture.alt, caption=f"[{entry.title}]({entry.page}.ipynb)", target=f"{entry.page}.html"))
    return _joined(["## Figures", "::::{container} gallery", *figures, "::::"]) if figures else ""


def _with_picture(done: list[Entry], stage: str, patterns: tuple[str, ...]) -> Iterator[tuple[Entry, Picture]]:
    for entry in done:
        if entry.stage == stage and (picture := pick_picture(entry.notebook, *patterns)):
            yield entry, picture


def _commit_line(commit: str) -> str:
    """Name the commit where the search index does not see it, so that the overview is the one file that a commit changes."""
    return f"::::{{container}} no-search\nGit commit: `{commit}`\n::::" if commit else "This folder is not a Git checkout: no commit to name."


def _many(names: dict[str, Any], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
