"""What changed between two states of a study, as one page that reads offline: params, metrics with paired tests, figures side by side.

`ferlab changes OLD [NEW]`: OLD and NEW are Git commits, branches, tags or names of DVC experiments; without NEW it is what lies here. Results of a
commit are read from DVC's cache; what it does not hold is named, never guessed. The page lies beside the site, which a new build replaces.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ferlab import paths
from ferlab.evaluation.comparison import compare_correctness, correctness
from ferlab.evaluation.paired import mean_difference
from ferlab.evaluation.predictions import check_predictions, faces_in, probs_of, subjects_of
from ferlab.evaluation.proportions import holm
from ferlab.paths import NOTEBOOKS, OUTPUTS, RUN_STAGES, SET_STAGES, InputError
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.site.drawings import draw
from ferlab.reporting.site.git import git
from ferlab.reporting.site.html import Picture, pictures
from ferlab.reporting.tables import MISSING, as_difference, cell, p_value
from ferlab.roles import recorded

LEVEL = 0.05
SPLITS = ("test", "val")
KEYS = {"accuracy": "accuracy, %", "macro_f1": "macro F1, %", "ece": "ECE, %"}
LEAST = 1e-12  # a probability whose logarithm is taken
HERE = "what lies here"
READING = (
    "<p>Differences are new minus old, on the same faces; brackets hold 95 % intervals, over subjects where they are known. Holm's correction counts "
    "all tests of accuracy on this page. A difference that is not significant does not show that two states are equal.</p>"
)
STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9dee3, #3b444d); --quiet: light-dark(#5b6670, #a3adb6);
  --drawing-line: var(--line); --drawing-ground: light-dark(#fff, #14181e); }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; background: light-dark(#fff, #14181e); color: light-dark(#222832, #ced6dd);
  font: 16px/1.55 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
.table-box { max-width: 100%; overflow-x: auto; margin: .5rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th:first-child { position: sticky; left: 0; background: light-dark(#fff, #14181e); }
td { white-space: nowrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; margin: 0 0 1.5rem; }
figure { margin: 0; } figcaption { color: var(--quiet); font-size: .85rem; }
.drawing-box { overflow-x: auto; } .drawing { display: block; height: auto; font-family: "DejaVu Sans", Verdana, sans-serif; }
.drawing text { white-space: pre; }
img { box-sizing: border-box; max-width: 100%; height: auto; padding: .4rem; border: 1px solid var(--line); border-radius: .4rem; background: #fff; }
"""


@dataclass(frozen=True)
class State:
    """One state of a study.

    Attributes:
        title: What the page calls it.
        read: Returns the bytes of a file by its path below the root; None where this state does not have it at hand.
    """

    title: str
    read: Callable[[str], bytes | None]


def state_here() -> State:
    """Return the state of the working directory."""
    return State(HERE, lambda path: (paths.ROOT / path).read_bytes() if (paths.ROOT / path).is_file() else None)


def state_at(revision: str) -> State:
    """Return the state at a commit, branch, tag or DVC experiment.

    Raises:
        InputError: There is none of that name.
    """
    found = (git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") or "").strip() or _experiment(revision)
    if not found:
        raise InputError(f"{revision}: no commit, branch, tag or DVC experiment of this clone; `git log --oneline` and `dvc exp show` list them")
    from dvc.api import DVCFileSystem  # takes a second to import

    files = DVCFileSystem(str(paths.ROOT), rev=found)

    def read(path: str) -> bytes | None:
        try:
            return files.cat_file(f"/{path}")
        except (OSError, KeyError):  # of FileNotFoundError: not of this state, or not in the cache
            return None

    name = revision if found.startswith(revision) else f"{revision} ({found[:12]})"
    return State(name, read)


def _experiment(name: str) -> str:
    """Return the commit of a DVC experiment, "" where there is none of that name: Git does not look below refs/exps."""
    refs = [line.split() for line in (git("for-each-ref", "refs/exps", "--format=%(refname) %(objectname)") or "").splitlines()]
    return next((commit for ref, commit in refs if ref.rpartition("/")[2] == name), "")


def datasets(state: State) -> set[str]:
    """Return the datasets that a state reads, by the keys `dataset` of its params.yaml.

    Raises:
        InputError: It has no params.yaml.
    """
    return {str(value) for key, value in _leaves(_params(state)) if key.endswith(".dataset")}


def changed_params(old: State, new: State) -> pd.DataFrame:
    """Return the keys of params.yaml whose values differ, with both values."""
    before, after = (dict(_leaves(_params(state))) for state in (old, new))
    keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    values = {title: [json.dumps(of[key]) if key in of else MISSING for key in keys] for title, of in (("old", before), ("new", after))}
    return pd.DataFrame(values, index=pd.Index(keys, name="key"))


def _params(state: State) -> dict[str, Any]:
    raw = state.read("params.yaml")
    if raw is None:
        raise InputError(f"{state.title}: has no params.yaml; expected a state of a ferlab study")
    return yaml.safe_load(raw) or {}


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def compare_metrics(old: State, new: State) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per run and split whose metrics or predictions differ, and a sentence for each run that has no such row or no test.

    Differences of accuracy and NLL are new minus old, paired on the same faces, over subjects where the predictions name them; Holm's correction
    counts all tests of accuracy. A split that either state was trained on is not tested.
    """
    rows, told = [], []
    for run in dict.fromkeys((*_params(old).get("runs", {}), *_params(new).get("runs", {}))):
        metrics, scored = (_both(old, new, _place("evaluate", what, run)) for what in ("metrics", "predictions"))
        if None in metrics:
            told.append(f"{run}: no metrics at hand of {' and '.join(_lacking(old, new, metrics))}.")
        elif scored[0] == scored[1] is not None:
            told.append(f"{run}: the predictions are the same, byte for byte.")
        else:
            before, after = (json.loads(raw) for raw in metrics if raw is not None)
            rows += [_row(run, split, before, after, scored) for split in SPLITS if before.get(split) and after.get(split)]
            if None in scored:
                told.append(f"{run}: no predictions at hand of {' and '.join(_lacking(old, new, scored))}, so nothing is tested.")
    tested = [row for row in rows if "p" in row]
    for row, corrected in zip(tested, holm(pd.Series([row["p"] for row in tested], dtype=float)) if tested else [], strict=True):
        row["p_holm"] = float(corrected)
    return _metrics_table(rows), told


def _both(old: State, new: State, path: str) -> list[bytes | None]:
    return [state.read(path) for state in (old, new)]


def _place(stage: str, what: str, name: str) -> str:
    return OUTPUTS[stage][what].format(name=name)


def _lacking(old: State, new: State, parts: list[bytes | None]) -> list[str]:
    return [state.title for state, part in zip((old, new), parts, strict=True) if part is None]


def _row(run: str, split: str, before: Mapping[str, Any], after: Mapping[str, Any], scored: list[bytes | None]) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run, "split": split, "old": before[split], "new": after[split]}
    if any(recorded(metrics).role(split) == "trained" for metrics in (before, after)):
        return row | {"verdict": "trained on: not tested"}
    if None in scored:
        return row
    tables = [check_predictions(pd.read_parquet(io.BytesIO(raw)), source=f"{run}'s predictions") for raw in scored if raw is not None]
    try:
        correct = correctness(dict(zip(("old", "new"), tables, strict=True)), split)
    except InputError:
        return row | {"verdict": "other faces or expressions: not paired"}
    faces = [faces_in(table, split) for table in tables]
    subjects = subjects_of(faces[1])
    test = compare_correctness(correct["new"].to_numpy(), correct["old"].to_numpy(), subjects=subjects)
    units = np.arange(len(faces[1])) if subjects is None else subjects
    losses = [-np.log(np.maximum(probs_of(rows)[np.arange(len(rows)), rows["target"]].astype(np.float64), LEAST)) for rows in faces]
    return row | {"test": test, "nll": mean_difference(losses[1] - losses[0], units), "p": test["p_exact" if subjects is None else "p_subjects"]}


def _metrics_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    shown = []
    for row in rows:
        scores = {f"{name} {when}": cell(row[when], key) for key, name in KEYS.items() for when in ("old", "new")}
        paired = {
            "paired difference, points": cell(as_difference(row["test"]), "difference") if "test" in row else MISSING,
            "Holm p": p_value(row["p_holm"]) if "p_holm" in row else MISSING,
            "accuracy is": row.get("verdict") or _verdict(row),
            "NLL, paired difference": cell(row["nll"], "difference", percent=False, digits=3) if "nll" in row else MISSING,
        }
        first = {key: scores.pop(key) for key in ("accuracy, % old", "accuracy, % new")}
        shown.append({"run and split": f"{row['run']}, {row['split']}", **first, **paired, **scores})
    return pd.DataFrame(shown).set_index("run and split") if shown else pd.DataFrame()


def _verdict(row: Mapping[str, Any]) -> str:
    if "p_holm" not in row:
        return MISSING
    if row["p_holm"] >= LEVEL:
        return "not significantly different"
    return "significantly higher" if row["test"]["difference"] > 0 else "significantly lower"


def changed_figures(old: State, new: State) -> tuple[list[str], int]:
    """Return, as HTML, the figures that differ, old beside new, under their page's name; and how many are the same."""
    parts, same = [], 0
    sets, runs = ({name: None for state in (old, new) for name in _params(state).get(section, {})} for section in ("prepare", "runs"))
    for stage, notebook in NOTEBOOKS.items():
        for name in sets if stage in SET_STAGES else runs if stage in RUN_STAGES else [""]:
            raws = _both(old, new, f"reports/notebooks/{notebook}{f'-{name}' * bool(name)}.ipynb")
            if None in raws or raws[0] == raws[1]:
                continue
            before, after = ({id: picture for id, picture in _by_cell(json.loads(raw))} for raw in raws if raw is not None)
            both = [cell for cell in after if cell in before]
            differ = [cell for cell in both if before[cell].png != after[cell].png]
            same += len(both) - len(differ)
            if differ:
                parts.append(f"<h3>{html.escape(f'{stage} {name}'.strip())}</h3>")
            parts += [_side_by_side(old, new, before[cell], after[cell], name=f"{stage}-{name}-{cell}") for cell in differ]
    return parts, same


def _by_cell(notebook: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for place, one in enumerate(notebook["cells"]):
        if found := pictures({"cells": [one]}):
            yield one.get("id", str(place)), found[0]


def _side_by_side(old: State, new: State, before: Picture, after: Picture, *, name: str) -> str:
    shown = [
        f"<figure>{_shown(picture, name=f'{name}-{when.lower()}')}"
        f"<figcaption>{when}, {html.escape(state.title)}: {html.escape(picture.alt)}</figcaption></figure>"
        for when, state, picture in (("Old", old, before), ("New", new, after))
    ]
    return f'<div class="pair">{"".join(shown)}</div>'


def _shown(picture: Picture, *, name: str) -> str:
    alt = html.escape(picture.alt)
    if picture.svg:
        return draw(picture.svg, alt, least=picture.least, name=name)
    return f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(picture.png).decode()}">'


def changes_page(old: State, new: State) -> str:
    """Return the page of what changed between two states.

    Raises:
        InputError: A state has no params.yaml.
    """
    params, (metrics, told), (figures, same) = changed_params(old, new), compare_metrics(old, new), changed_figures(old, new)
    title = html.escape(f"What changed: {old.title} → {new.title}")
    parts = [
        f"<h1>{title}</h1>",
        "<h2>Parameters</h2>",
        html_table(params) if len(params) else "<p>params.yaml holds the same values.</p>",
        "<h2>Metrics</h2>",
        *((READING, html_table(metrics)) if len(metrics) else ()),
        *(f"<p>{html.escape(sentence)}</p>" for sentence in told),
        "<h2>Figures</h2>",
        f"<p>{'' if figures else 'No figure differs. '}Figures of changed pages that are the same: {same}.</p>",
        *figures,
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>\n'


def write_changes(old: State, new: State, output: Path) -> None:
    """Write the page of what changed between two states.

    Raises:
        InputError: A state has no params.yaml.
    """
    page = changes_page(old, new)
    output.parent.mkdir(parents=True, exist_ok=True)
    paths.write_whole(output, page.encode())
