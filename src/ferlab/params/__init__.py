"""params.yaml, checked: one frozen pydantic model per section. Unknown keys raise and name their nearest neighbour.

One word in five places: stage = section here = notebook stem = class below = metrics file. Nobody else opens params.yaml.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ferlab.params.sections import (
    AnalyzeErrors,
    Audit,
    Compare,
    ControlFaces,
    Deploy,
    Evaluate,
    Explain,
    Face,
    Params,
    Prepare,
    Run,
    Source,
    StageParams,
    Train,
)
from ferlab.paths import ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.roles import Exposure, leak_sentence, planned

__all__ = [
    "AnalyzeErrors",
    "Audit",
    "Compare",
    "ControlFaces",
    "Deploy",
    "Evaluate",
    "Explain",
    "Face",
    "Params",
    "Prepare",
    "Run",
    "Source",
    "StageParams",
    "Train",
    "check_params",
    "declared",
    "load_params",
    "nearest",
    "stage_params",
]


def load_params(path: Path | None = None) -> Params:
    """Read and check params.yaml.

    Args:
        path: The file; by default ROOT/params.yaml.

    Raises:
        InputError: A missing file, broken YAML, an unknown or misspelt key, a value of the wrong type or out of range,
            a run that names an unknown set, an ensemble of unknown runs. Each in one line that names the key.
    """
    path = path or ROOT / "params.yaml"
    if not path.is_file():
        raise InputError(f"{path.name}: not found; `ferlab study quick` writes one")
    try:
        raw = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise InputError(f"{path.name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path.name}: expected sections, got {type(raw).__name__}")
    return check_params(raw, source=path.name)


def check_params(raw: Mapping[str, Any], *, source: str = "params.yaml") -> Params:
    """Return the checked params of a plain mapping; see `load_params` for what raises."""
    merged = dict(raw)
    if isinstance(raw.get("runs"), dict):
        merged["runs"] = {name: _merge_run(run, raw.get("train")) for name, run in raw["runs"].items()}
    params = _validated(Params, merged, source)
    _check_names(params, source)
    for name, prepare in params.prepare.items():
        single = (prepare.options, prepare.labels, prepare.usages, prepare.deal)
        if bool(prepare.dataset) == bool(prepare.sources) or (prepare.sources and any(single)):
            raise InputError(f"{source}: prepare.{name}: expected `dataset` with its options, or `sources` with theirs, and not both")
    return params


def _check_names(params: Params, source: str) -> None:
    """Names become file names, and what names a set or a run must name one that is there."""
    for section, names in (("prepare", params.prepare), ("runs", params.runs)):
        for name in names:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise InputError(f"{source}: {section}.{name}: a name holds letters, digits, '-' and '_' only (it becomes a file name)")
    for name, run in params.runs.items():
        if run.data not in params.prepare:
            raise InputError(f"{source}: runs.{name}.data: no set is called {run.data!r}; {nearest(run.data, params.prepare)}")
        _check_teachers(params, name, source)
    for name in params.compare.ensemble:
        if name not in params.runs:
            raise InputError(f"{source}: compare.ensemble: no run is called {name!r}; {nearest(name, params.runs)}")
    _check_weights(params, source)


def _check_teachers(params: Params, name: str, source: str) -> None:
    """Teachers are runs of the same set that stand above, so that `dvc repro`, which takes runs in their order, has trained them by then."""
    run, order = params.runs[name], list(params.runs)
    for teacher in run.train.teachers:
        where = f"{source}: runs.{name}.train.teachers:"
        if teacher not in params.runs:
            raise InputError(f"{where} no run is called {teacher!r}; {nearest(teacher, params.runs)}")
        own, wrong = params.runs[teacher], ""
        if run.train.teachers.count(teacher) > 1:
            wrong = "named twice; all teachers have equal say"
        elif own.data != run.data:
            wrong = f"it learns set {own.data!r}, not {run.data!r}; name runs of the same set"
        elif own.train.loss != "cross_entropy":
            wrong = f"its loss is {own.train.loss}, so what it says are no probabilities; name runs of cross_entropy"
        elif teacher == name:
            wrong = "it is the run itself"
        elif order.index(teacher) > order.index(name):
            wrong = "it stands below, and runs are trained in their order; move it up"
        elif more := _exposure(own).beyond(_exposure(run)):
            wrong = f"{leak_sentence(more, _exposure(run))}; name runs of the same train.select and train.refit"
        if wrong:
            raise InputError(f"{where} {teacher}: {wrong}")


def _check_weights(params: Params, source: str) -> None:
    """Say before hours of training that weights cannot be fitted on val for runs that will have been fitted on it, or selected on test."""
    if params.compare.weights == "equal":
        return
    voting = {name: run for name, run in params.runs.items() if not params.compare.ensemble or name in params.compare.ensemble}
    sets = [run.data for run in voting.values()]
    seen = [name for name, run in voting.items() if sets.count(run.data) > 1 and _exposure(run) != planned("val", refit=False)]
    if seen:
        raise InputError(
            f"{source}: compare.weights: fitted: {', '.join(seen)} will have been fitted on val or selected on test; expected select: val and "
            "refit: false for them, or compare.weights: equal"
        )


def _exposure(run: Run) -> Exposure:
    return planned(run.train.select, refit=run.train.refit)


def declared(params: Params, stage: str, name: str = "") -> dict[str, Any]:
    """Return what dvc.yaml declares for one stage, as plain values: what the runner injects into its notebook.

    Raises:
        InputError: If params.yaml knows no such set or run.
    """
    known = params.prepare if stage in SET_STAGES else params.runs if stage in RUN_STAGES else {"": None}
    if name not in known:
        raise InputError(f"params.yaml: {stage}: no {'set' if stage in SET_STAGES else 'run'} is called {name!r}; {nearest(name, known)}")
    whole = params.model_dump()
    values: dict[str, Any] = {"study": params.study, "name": name}
    if stage in SET_STAGES:
        values["prepare"] = whole["prepare"][name]
    elif stage in RUN_STAGES:
        values["run"] = whole["runs"][name]
    elif stage == "compare":
        values["runs"] = whole["runs"]
    if stage not in ("prepare", "train"):
        values[stage] = whole[stage]
    return values


def stage_params(stage: str, name: str | None = None, params: Mapping[str, Any] | None = None) -> StageParams:
    """Return typed access to what a stage may see.

    Args:
        stage: A key of `ferlab.paths.NOTEBOOKS`.
        name: The set or the run; None means the first in params.yaml.
        params: The injected section; None means as params.yaml says.
    """
    if params is None:
        whole = load_params()
        first = whole.prepare if stage in SET_STAGES else whole.runs if stage in RUN_STAGES else [""]
        params = declared(whole, stage, next(iter(first)) if name is None else name)
    return _validated(StageParams, params, "params")


def _merge_run(run: Any, defaults: Any) -> Any:
    """Deep-merge a run's `train` over the section of that name."""
    if not isinstance(run, dict):
        return run
    own = run.get("train") or {}
    return {**run, "train": {**(defaults or {}), **own} if isinstance(own, dict) else own}


def nearest(word: str, known: Any) -> str:
    """Return "did you mean ...?" for the known word nearest to a misspelt one, or the list of what is known."""
    match = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(map(str, known)) or 'none'}"


def _validated(model: type[Any], raw: Mapping[str, Any], source: str) -> Any:
    try:
        return model.model_validate(raw)
    except ValidationError as errors:
        error = errors.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            hint = nearest(error["loc"][-1], _known_keys(model, error["loc"][:-1]))
            raise InputError(f"{source}: {where}: unknown key; {hint}") from None
        if error["type"] == "missing":
            raise InputError(f"{source}: {where}: missing; every key of its section must be there") from None
        if error["type"] == "value_error":  # a rule over several keys of a section says itself what it got
            raise InputError(f"{source}: {where}: {error['ctx']['error']}") from None
        raise InputError(f"{source}: {where}: {error['msg'].lower()}, got {error['input']!r}") from None


def _known_keys(model: type[Any], location: tuple[Any, ...]) -> list[str]:
    """Walk the models along an error's location to the keys known there."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:  # a name chosen by the user (a set, a run): the model stays
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
