"""params.yaml, checked: one frozen pydantic model per section, named as its stage. Nothing else reads params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ferlab.params.names import check_names, nearest
from ferlab.params.reading import check_plain, read_yaml, shown
from ferlab.params.sections import (
    AnalyzeErrors,
    Audit,
    Claims,
    Compare,
    ControlFaces,
    Deploy,
    Evaluate,
    Explain,
    Face,
    Frame,
    Params,
    Prepare,
    Robustness,
    Run,
    Source,
    StageParams,
    Train,
    Worlds,
)
from ferlab.paths import ROOT, RUN_STAGES, SET_STAGES, InputError

__all__ = [
    "AnalyzeErrors", "Audit", "Claims", "Compare", "ControlFaces", "Deploy", "Evaluate", "Explain", "Face", "Frame", "Params", "Prepare",
    "Robustness", "Run", "Source", "StageParams", "Train", "Worlds", "check_params", "declared", "load_params", "nearest", "read_yaml",
    "stage_params", "validated",
]  # fmt: skip


def load_params(path: Path | None = None) -> Params:
    """Read and check params.yaml.

    Args:
        path: The file; None for ROOT/params.yaml.

    Raises:
        InputError: In one line that names the key: a missing file, broken YAML, an unknown key, a value of the wrong type or out of range, or
            an unknown name.
    """
    path = path or ROOT / "params.yaml"
    if not path.is_file():
        raise InputError(f"{path.name}: not found; `ferlab study quick` writes one")
    return check_params(read_yaml(path, source=path.name), source=path.name)


def check_params(raw: Mapping[str, Any], *, source: str = "params.yaml") -> Params:
    """Return the checked params of a plain mapping; see `load_params` for what raises."""
    check_plain(raw, source)
    defaults, merged = raw.get("train", {}), dict(raw)
    if not isinstance(defaults, dict):
        raise InputError(f"{source}: train: expected the defaults of all runs, got {shown(defaults)}")
    for key in defaults:
        if key not in Train.model_fields:
            raise InputError(f"{source}: train.{key}: unknown key; {nearest(key, Train.model_fields)}")
    if isinstance(raw.get("runs"), dict):
        merged["runs"] = {name: _merge_run(run, defaults) for name, run in raw["runs"].items()}
    params = validated(Params, merged, source, own=raw)
    for name, prepare in params.prepare.items():
        single = (prepare.options, prepare.labels, prepare.usages, prepare.group_split)
        if bool(prepare.dataset) == bool(prepare.sources) or (prepare.sources and any(single)):
            raise InputError(f"{source}: prepare.{name}: expected `dataset` with its options, or `sources` with theirs, and not both")
    check_names(params, source)
    return params


def declared(params: Params, stage: str, name: str = "") -> dict[str, Any]:
    """Return the sections that dvc.yaml declares for a stage, as plain values, which the runner injects into its notebook.

    Raises:
        InputError: An unknown set or run.
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
    elif stage in ("compare", "frame"):
        values["runs"] = whole["runs"]
    if stage not in ("prepare", "train"):
        values[stage] = whole[stage]
    return values


def stage_params(stage: str, name: str | None = None, params: Mapping[str, Any] | None = None) -> StageParams:
    """Return typed access to the sections of a stage.

    Args:
        stage: A key of `ferlab.paths.NOTEBOOKS`.
        name: The set or the run; None: the first in params.yaml.
        params: The injected sections; None: those of params.yaml.
    """
    if params is None:
        whole = load_params()
        first = whole.prepare if stage in SET_STAGES else whole.runs if stage in RUN_STAGES else [""]
        params = declared(whole, stage, next(iter(first)) if name is None else name)
    return validated(StageParams, params, "params")


def _merge_run(run: Any, defaults: dict[str, Any]) -> Any:
    """Merge a run's `train` over the section of that name."""
    if not isinstance(run, dict):
        return run
    own = run.get("train") or {}
    return {**run, "train": {**defaults, **own} if isinstance(own, dict) else own}


def validated(model: type[Any], raw: Mapping[str, Any], source: str, *, own: Mapping[str, Any] | None = None) -> Any:
    """Return checked values, typed; `source` names the file in errors, `own` is the file before defaults were merged into it.

    Raises:
        InputError: In one line that names the key.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as errors:
        error = errors.errors()[0]
        where = ".".join(str(part) for part in _own_location(error["loc"], own or raw) if part != "[key]")
        if error["type"] == "extra_forbidden":
            hint = nearest(error["loc"][-1], _known_keys(model, error["loc"][:-1]))
            raise InputError(f"{source}: {where}: unknown key; {hint}") from None
        if error["type"] == "missing":
            raise InputError(f"{source}: {where}: missing; every key of its section must be there") from None
        if error["type"] == "value_error":  # of a rule over several keys
            raise InputError(": ".join(part for part in (source, where, str(error["ctx"]["error"])) if part)) from None
        raise InputError(f"{source}: {where}: {error['msg'].lower()}, got {shown(error['input'])}") from None


def _own_location(location: tuple[Any, ...], own: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the location of a value in the file: in `train` if a run inherits it."""
    if len(location) < 4 or location[0] != "runs" or location[2] != "train":
        return location
    run, defaults = own["runs"][location[1]], own.get("train")
    inherited = location[3] not in (run.get("train") or {}) and isinstance(defaults, dict) and location[3] in defaults
    return ("train", *location[3:]) if inherited else location


def _known_keys(model: type[Any], location: tuple[Any, ...]) -> list[str]:
    """Return the known keys at an error's location."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:  # the name of a set or run
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
