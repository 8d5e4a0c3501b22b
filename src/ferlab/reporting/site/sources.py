"""The folder of pages that Sphinx turns into the site: one per executed notebook, a card per set and run, the overview.

Pages are named by params.yaml, never found by globbing, so what is no longer there disappears. `ferlab.reporting.site.entries` reads what ran,
`cards` and `overview` word it, `html` turns a notebook into a page, `build` builds and swaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.params import Params, declared
from ferlab.paths import NOTEBOOKS, RUN_STAGES, SET_STAGES, InputError
from ferlab.reporting.site import bench_page, cards, faces_page
from ferlab.reporting.site.dataset_card import Dataset, dataset_card, dataset_card_body
from ferlab.reporting.site.entries import INSTRUMENTS, Entry
from ferlab.reporting.site.html import make_page, pick_picture
from ferlab.reporting.site.model_card import Described, model_card, model_card_body
from ferlab.reporting.site.overview import Commit, overview

# The pages of docs/ in the order of the site, with their titles there; others follow by name.
DOCUMENTS = {
    "tour": "Tour",
    "datasets": "Datasets",
    "studies": "Studies",
    "results": "Results on FER2013",
    "pitfalls": "Pitfalls",
    "live": "Live notebooks",
    "extending": "Extending",
    "scale": "Scale",
    "gpu": "GPU",
    "platforms": "Platforms",
    "troubleshooting": "Troubleshooting",
    "api": "API",
    "glossary": "Glossary",
}

HUB = "hub"  # the folder of cards with front matter, which Sphinx copies and does not read


Boxes = Callable[[str, str], str]  # stage and set or run of a page -> the box that says whether its numbers are of the current state


def write_sources(
    params: Params,
    entries: list[Entry],
    folder: Path,
    *,
    scorings: list[dict[str, str]],
    commit: Commit | None,
    box: Boxes = lambda stage, name: "",
) -> None:
    """Write the pages that Sphinx reads: one per notebook, a card per set and run, the overview; `box` is set below the title of each."""
    prepared = {entry.name: entry.metrics for entry in entries if entry.stage == "prepare"}
    for entry in entries:
        if entry.notebook is not None:
            with _naming(f"what stage {entry.stage} wrote of {entry.name or 'all runs'}"):
                _write_notebook_page(params, entry, folder, prepared=prepared, box=box)
    for name in params.prepare:
        with _naming(f"the metrics of set {name}"):
            _write_set_card(params, name, entries, folder, state=box("", name))
    for name in params.runs:
        with _naming(f"the metrics of run {name}"):
            _write_run_card(params, name, entries, folder, state=box("", name))
    evaluated = [entry.name for entry in entries if entry.stage == "evaluate" and entry.notebook]
    bench_page.write_page(params, folder, evaluated=evaluated, box=box)
    documents = _write_documents(folder / "docs")
    with _naming("some metrics file"):
        _write(folder / "index.md", overview(params, entries, folder, scorings=scorings, commit=commit, box=box("", "")) + documents)


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


def _write_documents(folder: Path) -> str:
    """Write the pages of docs/ beside the report; return their table of contents."""
    titles, order = {}, list(DOCUMENTS)
    pages = sorted((paths.ROOT / "docs").glob("*.md"), key=lambda path: (order.index(path.stem) if path.stem in order else len(order), path.stem))
    for path in pages:
        text = document_text(path.read_text(encoding="utf-8"))
        _write(folder / path.name, text)
        titles[DOCUMENTS.get(path.stem) or text.partition("\n")[0].lstrip("# ")] = f"docs/{path.stem}"
    return f"\n{cards.toctree(titles, caption='Documentation')}\n" if titles else ""


def document_text(text: str) -> str:
    """Return a page of docs/ as the site has it: what it links to outside docs/ is named by its path, comments are no part of it."""
    named = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", text)
    return re.sub(r"^<!--.*-->\n+", "", named, flags=re.MULTILINE)


def _write_notebook_page(params: Params, entry: Entry, folder: Path, *, prepared: dict[str, dict[str, Any]], box: Boxes) -> None:
    close = cards.close(
        entry.stage,
        section=declared(params, entry.stage, entry.name),
        metrics=entry.metrics,
        notebook=f"notebooks/{NOTEBOOKS[entry.stage]}.ipynb",
    )
    lead = "\n\n".join(filter(None, [box(entry.stage, entry.name), _lead(params, entry, prepared)]))
    below = faces_page.links(params, entry.stage, entry.name)
    page = make_page(entry.notebook, name=entry.name, lead=lead, close=close, below=below)
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


def _write_set_card(params: Params, name: str, entries: list[Entry], folder: Path, *, state: str) -> None:
    own = {entry.stage: entry for entry in entries if entry.page.startswith(f"data/{name}/")}
    prepare, metrics = params.prepare[name], own["prepare"].metrics
    users = [run for run, settings in params.runs.items() if settings.data == name]
    extra, boxes = {}, "\n\n".join(filter(None, [state, cards.banner(prepare, metrics)]))
    if metrics.get("dataset"):
        errors = {entry.name: entry.metrics for entry in entries if entry.stage == "analyze_errors" and entry.name in users}
        issues = {run: {**of["label_issues"], "split": of["split"], "n": of["n"]} for run, of in errors.items() if of.get("label_issues")}
        card = Dataset(name, metrics, own["audit"].metrics, issues)
        extra = {"Dataset card": "dataset_card"}
        _write_card(folder / "data" / name, "dataset_card", dataset_card_body(card), whole=dataset_card(card), box=boxes)
    parts = [
        f"# Dataset {name}",
        boxes,
        cards.sets_table(params.model_copy(update={"prepare": {name: prepare}}), {name: metrics}, links={}),
        cards.stage_list({stage: entry.notebook is not None for stage, entry in own.items()}),
        _card_line(extra),
        f"Runs on this dataset: {', '.join(f'[{run}](../../runs/{run}/index.md)' for run in users) or 'none'}.",
        _page_tree(own, extra),
    ]
    _write(folder / "data" / name / "index.md", _joined(parts))


def _write_run_card(params: Params, name: str, entries: list[Entry], folder: Path, *, state: str) -> None:
    own = {entry.stage: entry for entry in entries if entry.page.startswith(f"runs/{name}/")}
    settings = params.runs[name]
    prepared = next(entry.metrics for entry in entries if entry.page == f"data/{settings.data}/prepare")
    only = params.model_copy(update={"runs": {name: settings}})
    extra, boxes = {}, "\n\n".join(filter(None, [state, cards.banner(params.prepare[settings.data], prepared)]))
    if own["evaluate"].metrics:
        card = Described(name, settings.model, {stage: entry.metrics for stage, entry in own.items()}, settings.data)
        extra = {"Model card": "model_card"}
        _write_card(folder / "runs" / name, "model_card", model_card_body(card), whole=model_card(card), box=boxes)
    faces = _write_faces(params, own["evaluate"], folder / "runs" / name, box=boxes)
    parts = [
        f"# Run {name}",
        boxes,
        f"Model `{settings.model}` of the family `{settings.family}`, trained on [{settings.data}](../../data/{settings.data}/index.md)"
        f" with seed {settings.seed}; group `{settings.group}`.",
        cards.results_table(only, {name: own["evaluate"].metrics}, links={}),
        cards.stage_list({stage: entry.notebook is not None for stage, entry in own.items()}),
        "- [Faces](faces.md): the faces of each cell of the confusion matrix" if faces else "",
        _card_line(extra),
        _page_tree(own, faces | extra),
    ]
    _write(folder / "runs" / name / "index.md", _joined(parts))


def _write_faces(params: Params, evaluated: Entry, folder: Path, *, box: str) -> dict[str, str]:
    """Write the page of a run's faces, if they lie on disk; return it by its title."""
    if not faces_page.has_faces(params, evaluated.name):
        return {}
    figure = pick_picture(evaluated.notebook, "confusion") if evaluated.notebook else None
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "faces.md", faces_page.faces_page(params, evaluated.name, box=box, figure=figure, folder=folder))
    return {"Faces": "faces"}


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


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
