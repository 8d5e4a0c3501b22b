"""What `dvc repro` would do, told beforehand: `ferlab status`. Per stage, set and run: fresh, page only, or stale and why; and what it costs.

A stage is stale where its result has to be computed, see `ferlab.results`. It is "page only" where the result holds but DVC runs the stage, since
dvc.lock holds other hashes of its notebook, figures or params: then a page is made in seconds. DVC itself takes a second to start and cannot tell
the two apart, so dvc.yaml and dvc.lock are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ferlab import results
from ferlab.costs import COMPUTED, key_of, read_costs
from ferlab.costs import PAGE as PAGE_ALONE
from ferlab.hashes import hash_path
from ferlab.params import Params, load_params
from ferlab.paths import NOTEBOOKS, ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.results import STAGES

FRESH, PAGE, STALE = "fresh", "page only", "stale"


@dataclass(frozen=True)
class State:
    """What one stage of a set or run is in for.

    Attributes:
        stage: As dvc.yaml calls it, e.g. "train@five_layer".
        state: FRESH, PAGE or STALE.
        why: In plain words; "" where it is fresh.
        seconds: CPU seconds that this took last time; None where that is not known here, 0 where nothing is done.
    """

    stage: str
    state: str
    why: str = ""
    seconds: float | None = 0.0


def read_status(params: Params | None = None) -> list[State]:
    """Return the state of every stage, in the order of the pipeline."""
    params, costs, states = params or load_params(), read_costs(), {}
    raw, listed, locked = _read("params.yaml"), _read("dvc.yaml")["stages"], _read("dvc.lock").get("stages", {})
    for stage, name in _enumerate(params):
        key = key_of(stage, name)
        state, why = _of_result(params, stage, name, states) if stage in STAGES and STAGES[stage].modules else (FRESH, "")
        if state == FRESH:
            state, why = _of_page(listed[stage], locked.get(key, {}), raw, item={"key": name, **(raw[_section(stage)][name] if name else {})})
        if state == FRESH and (waits := _waits(params, stage, name, states)):
            state, why = PAGE, f"waits for {waits}"
        kind = {STALE: COMPUTED, PAGE: PAGE_ALONE}.get(state)
        states[key] = State(key, state, why, costs.get(key, {}).get(kind) if kind else 0.0)
    return list(states.values())


def status_lines(states: list[State]) -> list[str]:
    """Return a line for each stage and one for `dvc repro`."""
    width = max(len(each.stage) for each in states)
    return [*(f"{each.stage:{width}}  {each.state:9}  {each.why}".rstrip() for each in states), total_line(states)]


def total_line(states: list[State]) -> str:
    """Say in one line what `dvc repro` would do and cost."""
    stale, pages = (sum(each.state == state for each in states) for state in (STALE, PAGE))
    if not stale + pages:
        return "everything is up to date: dvc repro has nothing to do"
    known = sum(each.seconds or 0.0 for each in states)
    unknown = sum(each.seconds is None for each in states)
    done = f"dvc repro: {_many(stale, 'result')} to compute, {_many(pages, 'page')} to make"
    if not known:
        return f"{done}; no stage has been timed here, `ferlab study` lists what studies cost"
    cost = f"{known:.0f} CPU seconds" if known < 120 else f"{known / 60:.0f} CPU minutes"
    return f"{done}; about {cost}" + (f", and {_many(unknown, 'stage')} not yet timed here" if unknown else "")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _enumerate(params: Params) -> Iterator[tuple[str, str]]:
    for stage in NOTEBOOKS:
        names = params.prepare if stage in SET_STAGES else params.runs if stage in RUN_STAGES else [""]
        yield from ((stage, name) for name in names)
    yield "report", ""


def _section(stage: str) -> str:
    return "prepare" if stage in SET_STAGES else "runs"


def _of_result(params: Params, stage: str, name: str, states: Mapping[str, State]) -> tuple[str, str]:
    """Return whether a stage's result is fresh or stale, and why."""
    waiting = [key for key in _before(params, stage, name, STAGES[stage].reads) if states[key].state == STALE]
    try:
        _, stale = results.record_under(params, stage, name)
    except InputError as error:  # an input is not there: either an earlier stage makes it, or it has to be put there
        return STALE, f"waits for {waiting[0]}" if waiting else str(error)
    own = [results.in_words(stale)] if stale and not (waiting and stale == ["data"]) else []
    why = ", ".join([*own, *(f"waits for {key}" for key in waiting[:1])])
    return (STALE, why) if why else (FRESH, "")


def _of_page(listed: Mapping[str, Any], locked: Mapping[str, Any], raw: Mapping[str, Any], *, item: Mapping[str, str]) -> tuple[str, str]:
    """Return whether DVC would run a stage whose result holds, and what changed: dvc.yaml's entries against those of dvc.lock.

    A folder of raw files is not compared: DVC runs the page for any file in it, the result depends on those that its reader reads.
    """
    if not locked:
        return PAGE, "not run yet"
    body = listed.get("do", listed)
    values = locked.get("params", {}).get("params.yaml", {})
    keys = [_filled(key, item) for key in body["params"]]
    changed = [f"params {key}" for key in keys if _at(raw, key) != values.get(key)]
    before = {entry["path"]: entry.get("md5") for kind in ("deps", "outs") for entry in locked.get(kind, [])}
    for path in [*body["deps"], *(each for kind in ("outs", "metrics", "plots") for each in body.get(kind, []))]:
        path = _filled(next(iter(path)) if isinstance(path, dict) else path, item)
        if not (path == item.get("raw") and (ROOT / path).is_dir()) and _hash(ROOT / path) != before.get(path):
            changed.append(path)
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return (PAGE, f"{changed[0]}{more}") if changed else (FRESH, "")


def _waits(params: Params, stage: str, name: str, states: Mapping[str, State]) -> str:
    """Return the earlier stage that will change what a page reads, "" where none does; the report reads every page."""
    if stage == "report":
        return next((key for key, each in states.items() if each.state != FRESH), "")
    return next((key for key in _before(params, stage, name, STAGES[stage].shows) if states[key].state == STALE), "")


def _before(params: Params, stage: str, name: str, reads: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the stages whose outputs a stage reads."""
    if stage == "frame":
        known = [model for model in params.frame.models if model in params.runs]
        return [*(key_of("prepare", name) for name in params.frame.sets), *(key_of("deploy", model) for model in known)]
    runs = params.runs if stage == "compare" else [name]
    named = [key_of(before, _name_before(params, before, run)) for before, _ in reads for run in runs]
    return named + [key_of("prepare", other) for other in (params.robustness.sets if stage == "robustness" else [])]


def _name_before(params: Params, before: str, run: str) -> str:
    """Return the set or run of an earlier stage whose output a run, or a set, reads; "" where that stage has neither."""
    if before in SET_STAGES:
        return params.runs[run].data if run in params.runs else run
    return run if before in RUN_STAGES else ""


def _filled(text: str, item: Mapping[str, str]) -> str:
    """Fill in dvc.yaml's `${key}` and `${item.<key>}`."""
    return re.sub(r"\$\{(?:item\.)?(\w+)\}", lambda found: str(item.get(found[1], "")), text)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


@cache
def _hash(path: Path) -> str | None:
    return hash_path(path) if path.exists() else None


def _read(name: str) -> dict[str, Any]:
    path = ROOT / name
    return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) or {} if path.is_file() else {}
