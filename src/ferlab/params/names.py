"""The names in params.yaml: models, readers, sets and runs must exist.

The registries of models and readers are run as files of their own: params imports no room.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

from ferlab.params.sections import Params, Run
from ferlab.paths import SHIPS, InputError
from ferlab.roles import Exposure, leak_sentence, planned

PACKAGE = Path(__file__).parents[1]


def nearest(word: str, known: Any) -> str:
    """Return "did you mean ...?" with the nearest known word, or the list of known ones."""
    match = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(map(str, known)) or 'none'}"


def check_names(params: Params, source: str) -> None:
    """Check that what is named exists and goes together.

    Raises:
        InputError: An unknown name; a teacher, contrast or ensemble that leaks or mixes sets.
    """
    readers = registered("readers")
    for name, prepare in params.prepare.items():
        for own in prepare.all_sources.values():
            if own["dataset"] not in readers:
                raise InputError(f"{source}: prepare.{name}: no reader is called {own['dataset']!r}; {nearest(own['dataset'], readers)}")
    for name, run in params.runs.items():
        if run.data not in params.prepare:
            raise InputError(f"{source}: runs.{name}.data: no set is called {run.data!r}; {nearest(run.data, params.prepare)}")
        _check_model(params, name, source)
        _check_teachers(params, name, source)
    _check_recipes(params, source)
    for name in params.compare.ensemble:
        if name not in params.runs:
            raise InputError(f"{source}: compare.ensemble: no run is called {name!r}; {nearest(name, params.runs)}")
    for pair in params.compare.contrasts:
        _check_contrast(params, pair, source)
    for pair in params.compare.experts:
        _check_expert(params, pair, source)
    _check_weights(params, source)
    _check_frame(params, source)
    _check_robustness(params, source)
    _check_worlds(params, source)


@cache
def registered(table: str) -> dict[str, str]:
    """Return the names in a registry, "readers" or "models", each with its family ("" for readers)."""
    if table == "readers":
        return dict.fromkeys(run_path(str(PACKAGE / "data" / "readers" / "registry.py"))["READERS"], "")
    cards = sorted((PACKAGE / "models" / "cards").glob("*.py"))
    return {name: path.stem for path in cards for name in run_path(str(path)).get("CARDS", ())}


def _check_model(params: Params, name: str, source: str) -> None:
    run, models = params.runs[name], registered("models")
    if run.model not in models:
        raise InputError(f"{source}: runs.{name}.model: no model is called {run.model!r}; {nearest(run.model, models)}")
    if run.family != models[run.model]:
        raise InputError(f"{source}: runs.{name}.family: {run.model} is of the family {models[run.model]}, not {run.family!r}")
    card = run_path(str(PACKAGE / "models" / "cards" / f"{run.family}.py"))["CARDS"][run.model]
    if (needed := card.get("scaling")) and run.train.scaling != needed:
        wrong = f"{run.model} normalises its input itself; expected {needed}, got {run.train.scaling}"
        raise InputError(f"{source}: runs.{name}.train.scaling: {wrong}")


def _check_recipes(params: Params, source: str) -> None:
    """Runs of the same factors are seeds of one recipe, so that two of one seed could not be told apart."""
    known: dict[tuple[Any, ...], str] = {}
    for name, run in params.runs.items():
        other = known.setdefault((*sorted(run.factors.items()), run.seed), name) if run.factors else name
        if other != name:
            wrong = f"its factors and its seed are those of {other}; expected another seed, or a factor whose level differs"
            raise InputError(f"{source}: runs.{name}.factors: {wrong}")


def _check_teachers(params: Params, name: str, source: str) -> None:
    """Teachers are runs of the same set further up, as `dvc repro` trains runs in their order, or the model that ships."""
    for teacher in params.runs[name].train.teachers:
        where = f"{source}: runs.{name}.train.teachers:"
        if teacher not in (SHIPS, *params.runs):
            raise InputError(f"{where} no run is called {teacher!r}; {nearest(teacher, [SHIPS, *params.runs])}")
        if wrong := _wrong_teacher(params, name, teacher):
            raise InputError(f"{where} {teacher}: {wrong}")


def _wrong_teacher(params: Params, name: str, teacher: str) -> str:
    run, order = params.runs[name], list(params.runs)
    if run.train.teachers.count(teacher) > 1:
        return "named twice; all teachers have equal weight"
    if teacher == SHIPS:
        return ""  # its card says what it has seen, when it is loaded
    own = params.runs[teacher]
    if own.data != run.data:
        return f"it is trained on set {own.data!r}, not {run.data!r}; name runs of the same set"
    if own.train.loss != "cross_entropy":
        return f"its loss is {own.train.loss}, so its outputs are no probabilities; name runs of cross_entropy"
    if teacher == name:
        return "it is the run itself"
    if order.index(teacher) > order.index(name):
        return "it is further down, and runs are trained in their order; move it up"
    more = _exposure(own).beyond(_exposure(run))
    return f"{leak_sentence(more, _exposure(run))}; name runs of the same train.select and train.refit" if more else ""


def _check_contrast(params: Params, pair: Sequence[str], source: str) -> None:
    """Two runs are compared face by face, so they are different runs of one set, and each pair is tested once."""
    where = f"{source}: compare.contrasts: {' against '.join(pair)}:"
    for name in pair:
        if name not in params.runs:
            raise InputError(f"{where} no run is called {name!r}; {nearest(name, params.runs)}")
        if params.runs[name].train.expressions:
            raise InputError(f"{where} {name} is an expert for two expressions, which scores other faces; name it in compare.experts")
    if pair[0] == pair[1] or [set(other) for other in params.compare.contrasts].count(set(pair)) > 1:
        raise InputError(f"{where} expected two different runs, and each pair once")
    sets = [params.runs[name].data for name in pair]
    if sets[0] != sets[1]:
        raise InputError(f"{where} the first is scored on set {sets[0]!r}, the second on {sets[1]!r}; name runs of one set")


def _check_expert(params: Params, pair: Sequence[str], source: str) -> None:
    """An expert decides between two expressions for a run of its set, and was trained on nothing that the run holds out."""
    where = f"{source}: compare.experts: {pair[1]} for {pair[0]}:"
    for name in pair:
        if name not in params.runs:
            raise InputError(f"{where} no run is called {name!r}; {nearest(name, params.runs)}")
    run, expert = (params.runs[name] for name in pair)
    if len(set(expert.train.expressions)) != 2 or run.train.expressions:
        raise InputError(f"{where} expected an expert with two train.expressions, for a run without; got {expert.train.expressions}")
    if expert.data != run.data or _exposure(expert) != _exposure(run):
        raise InputError(f"{where} expected runs of one set with the same train.select and train.refit")


def _check_weights(params: Params, source: str) -> None:
    """Ensemble weights are fitted on val, so not for runs trained on val or selected on test."""
    if params.compare.weights == "equal":
        return
    voting = {name: run for name, run in params.runs.items() if not params.compare.ensemble or name in params.compare.ensemble}
    sets = [run.data for run in voting.values()]
    seen = [name for name, run in voting.items() if sets.count(run.data) > 1 and _exposure(run) != planned("val", refit=False)]
    if seen:
        raise InputError(
            f"{source}: compare.weights: fitted: {', '.join(seen)} will have been trained on val or selected on test; expected select: val and "
            "refit: false for them, or compare.weights: equal"
        )


def _check_frame(params: Params, source: str) -> None:
    for name in params.frame.sets:
        if name not in params.prepare:
            raise InputError(f"{source}: frame.sets: no set is called {name!r}; {nearest(name, params.prepare)}")
    for name in params.frame.models:
        if name not in (SHIPS, *params.runs) and not name.endswith(".onnx") and "/" not in name:
            raise InputError(f"{source}: frame.models: no run is called {name!r}; {nearest(name, [SHIPS, *params.runs])}, or a path")


def _check_robustness(params: Params, source: str) -> None:
    if params.compare.baseline and params.compare.baseline not in params.runs:
        raise InputError(f"{source}: compare.baseline: no run is called {params.compare.baseline!r}; {nearest(params.compare.baseline, params.runs)}")
    own = {run.data for run in params.runs.values()}
    for name in params.robustness.sets:
        if name not in params.prepare:
            raise InputError(f"{source}: robustness.sets: no set is called {name!r}; {nearest(name, params.prepare)}")
        if params.robustness.sets.count(name) > 1:
            raise InputError(f"{source}: robustness.sets: {name!r} is named twice")
        if own == {name}:
            raise InputError(f"{source}: robustness.sets: {name!r} is the set of every run; expected other sets of prepare")


def _check_worlds(params: Params, source: str) -> None:
    asked, models, methods = params.worlds, registered("models"), run_path(str(PACKAGE / "explanation" / "methods.py"))["METHODS"]
    if asked.model not in models:
        raise InputError(f"{source}: worlds.model: no model is called {asked.model!r}; {nearest(asked.model, models)}")
    if asked.family != models[asked.model]:
        raise InputError(f"{source}: worlds.family: {asked.model} is of the family {models[asked.model]}, not {asked.family!r}")
    for key, named in (("methods", asked.methods), ("roar.methods", asked.roar.methods)):
        for name in named:
            if name not in methods:
                raise InputError(f"{source}: worlds.{key}: no attribution method is called {name!r}; {nearest(name, methods)}")


def _exposure(run: Run) -> Exposure:
    return planned(run.train.select, refit=run.train.refit)
