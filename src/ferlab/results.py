"""What made a result, whether it still holds, and taking it again.

A result that costs (a prepared dataset, its duplicates, weights, predictions, attributions, an exported model) lies beside a record: the hashes
of the params that shape it, of its inputs, of the code that computes it, of the pinned packages, and of its own files. A notebook asks for the
result. Where the record agrees it is taken byte for byte; otherwise it is computed. Neither the notebook nor `ferlab.reporting` makes a result
stale, since they only report it.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ferlab.hashes import digest, hash_path, import_closure
from ferlab.params import StageParams
from ferlab.paths import ROOT, SET_STAGES, STAGING, InputError, artefact, output, write_json

REPORTING = "reporting"  # the room that computes nothing
LOCK = "requirements.lock"
KINDS = ("params", "data", "code", "environment")
BUILT = ("build", "channels", "num_classes", "options", "sizes")  # of a model's card: what decides its network


@dataclass(frozen=True)
class Stage:
    """What a stage reads, and what shapes its result where it has one that costs.

    Attributes:
        reads: The outputs of earlier stages that the result is computed from, (stage, output).
        shows: Those that its page alone reads.
        modules: Those that compute the result, below ferlab; their import closure is the code. None: nothing costs, all is its page's.
        files: The outputs that the result consists of, by their names in `ferlab.paths.OUTPUTS`.
        params: Per section of params.yaml the keys that shape it; none: all.
        card: The keys of the model's card that shape it; the others only describe the model.
    """

    reads: tuple[tuple[str, str], ...] = ()
    shows: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    card: tuple[str, ...] = ()


STORE, WEIGHTS, PREDICTIONS = ("prepare", "store"), ("train", "weights"), ("evaluate", "predictions")
SAMPLED = ("split", "faces_per_class", "window", "stride", "seed")
STAGES = {
    "prepare": Stage(modules=("data.preparation.prepared",), files=("store", "facts"), params={"prepare": ()}),
    "audit": Stage((STORE,), modules=("data.duplicates.audited", "control.source"), files=("facts",)),
    "train": Stage(
        (STORE,),
        modules=("training.trained",),
        files=("weights", "history", "facts"),
        params={"run": ("model", "options", "seed", "train")},
        card=(*BUILT, "input_size", "pretrained"),
    ),
    "evaluate": Stage(
        (STORE, WEIGHTS),
        modules=("evaluation.scored",),
        files=("predictions", "tta"),
        params={"evaluate": ("tta", "crop")},
        card=BUILT,
    ),
    "explain": Stage(
        (STORE, WEIGHTS), modules=("explanation.explained",), files=("attributions",), params={"explain": SAMPLED}, card=(*BUILT, "target_layer")
    ),
    "analyze_errors": Stage(shows=(STORE, PREDICTIONS)),
    "compare": Stage(shows=(PREDICTIONS, ("evaluate", "metrics"))),
    "deploy": Stage(
        (STORE, WEIGHTS),
        modules=("deployment.exported",),
        files=("onnx", "int8", "facts"),
        params={"deploy": ("repeats", "compared", "calibration")},
        card=BUILT,
    ),
    "control_faces": Stage(),
}
PUBLISHED = "conf/published"  # what the page of compare reads besides


@dataclass(frozen=True)
class Obtained:
    """A result and what made it.

    Attributes:
        places: Where each of its files lies now.
        record: What made it, see `record_of`.
    """

    places: dict[str, Path]
    record: dict[str, str]


def obtain(stage: str, p: StageParams, compute: Callable[..., None], /, *, anew: bool = False, **given: Any) -> Obtained:
    """Take the result of a stage as it lies where its record holds; compute it otherwise.

    In the pipeline its files are staged. When exploring, it is read where the pipeline left it if it holds, and computed below data/scratch if not.

    Args:
        stage: A key of STAGES that has `modules`.
        p: What the stage may see of params.yaml.
        compute: Called with the place of each file by name, and with `given`; writes every file.
        anew: Whether to compute it though its record holds.
        given: Passed on to `compute`.
    """
    files, record = STAGES[stage].files, record_of(stage, p)
    kept = {each: artefact(stage, each, p.name) for each in (*files, "record")}
    stale = anew or why_stale(stage, p.name, record)
    if not stale and STAGING not in os.environ:  # Keep: a second name of a file would let scratch work write into it
        return Obtained(kept, record)
    places = {each: output(stage, each, p.name) for each in kept}
    for each, place in places.items():
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        if not stale:
            _take(kept[each], place)
    if stale:
        compute(**{each: places[each] for each in files}, **given)
        write_json(places["record"], {**record, "files": {each: hash_path(places[each]) for each in files}})
    return Obtained(places, record)


def record_of(stage: str, p: StageParams) -> dict[str, str]:
    """Return what would make a result now: a short hash of each of KINDS.

    Raises:
        InputError: An input that is missing, or a model of which its family's file of cards knows nothing.
    """
    made = STAGES[stage]
    sections = {section: getattr(p, section).model_dump() for section in made.params}
    shaping = {name: {key: values[key] for key in made.params[name] or values} for name, values in sections.items()}
    card = {key: card_of(p).get(key) for key in made.card}
    return {
        "params": digest(json.dumps([shaping, card], sort_keys=True)),
        "data": hash_inputs(inputs_of(stage, p)),
        "code": hash_code(modules=(*made.modules, *loaded_by_name(stage, p))),
        "environment": hash_path(ROOT / LOCK)[:12],
    }


def why_stale(stage: str, name: str, record: Mapping[str, str]) -> list[str]:
    """Return why a result has to be computed: which of KINDS changed, or "missing" or "damaged"; nothing where it holds.

    Args:
        stage: A key of STAGES that has `modules`.
        name: The set or the run.
        record: From `record_of`.
    """
    places = {each: artefact(stage, each, name) for each in STAGES[stage].files}
    kept = kept_record(stage, name)
    if not kept or not all(place.exists() for place in places.values()):
        return ["missing"]
    if changed := [kind for kind in KINDS if kept.get(kind) != record[kind]]:
        return changed
    return [] if kept.get("files") == {each: hash_path(place) for each, place in places.items()} else ["damaged"]


def in_words(stale: list[str]) -> str:
    """Return the reasons of `why_stale` as a person reads them."""
    words = {"environment": f"environment: {LOCK}", "missing": "not computed yet", "damaged": "its files were changed by hand"}
    return ", ".join(words.get(reason, reason) for reason in stale)


def kept_record(stage: str, name: str) -> dict[str, Any]:
    """Return the record beside a result, empty where there is none."""
    try:
        kept = json.loads(artefact(stage, "record", name).read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def inputs_of(stage: str, p: StageParams, *, page: bool = False) -> dict[str, Path]:
    """Return the files and folders that a result is computed from, by name; those that its page reads besides, where asked for.

    Raises:
        InputError: Raw files, or a file of pretrained weights, that are not there. Outputs of earlier stages need not exist yet.
    """
    if stage == "prepare":
        return import_module("ferlab.data.readers.raw_files").raw_files(ROOT / p.prepare.raw, p.prepare)
    inputs = {}
    for before, what in STAGES[stage].reads + STAGES[stage].shows * page:
        names = p.runs if stage == "compare" else [p.set_name if before in SET_STAGES else p.name]
        inputs |= {f"{before} {what} {name}" if stage == "compare" else f"{before} {what}": artefact(before, what, name) for name in names or ()}
    if stage == "train":
        inputs |= {f"train weights of {teacher}": artefact(*WEIGHTS, teacher) for teacher in p.run.train.teachers}
        inputs |= _pretrained_file(p.run.train.pretrained)
    return inputs | ({PUBLISHED: ROOT / PUBLISHED} if stage == "compare" else {})


def _pretrained_file(source: str) -> dict[str, Path]:
    """Return the file of pretrained weights that a path names; none for those that are downloaded, see `ferlab.models.hub.fetch`."""
    if source in ("", "published") or source.startswith(("hf:", "http://", "https://")):
        return {}
    path = ROOT / Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"{source}: no such file; give the path of the weights, or hf:owner/name/file")
    return {"pretrained weights": path}


def hash_inputs(inputs: Mapping[str, Path]) -> str:
    """Return a short hash of files and folders, each by its name.

    Raises:
        InputError: One that is missing.
    """
    for name, path in inputs.items():
        if not path.exists():
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            raise InputError(f"{shown}: not found; `dvc repro` makes it in stage {name.partition(' ')[0]}")
    return digest(*(f"{name}={hash_path(path)}" for name, path in sorted(inputs.items())))


def hash_code(*notebooks: Path, modules: tuple[str, ...] = ()) -> str:
    """Return a short hash of the code of notebooks and modules and of all that they import, without the room that only reports."""
    closure = {path.relative_to(ROOT): found for path, found in import_closure(*notebooks, modules=modules).items()}
    return digest(*(f"{path.as_posix()} {found}" for path, found in closure.items() if REPORTING not in path.parts))


def loaded_by_name(stage: str, p: StageParams) -> tuple[str, ...]:
    """Return the modules that a stage loads by name, below ferlab: the run's model, the readers of a set."""
    if stage == "prepare":
        return import_module("ferlab.data.readers.raw_files").reader_modules(p.prepare)
    return (f"models.{p.run.family}",) if p.run else ()


def card_of(p: StageParams) -> dict[str, Any]:
    """Return the card of a run's model, read from its family's file of cards alone: the package `ferlab.models` starts PyTorch.

    Raises:
        InputError: The family has no such model.
    """
    cards = ROOT / "src" / "ferlab" / "models" / "cards"
    path = cards / f"{p.run.family}.py"
    card = runpy.run_path(str(path))["CARDS"].get(p.run.model) if path.is_file() else None
    if card is None:
        raise InputError(f"params.yaml: runs.{p.name}: the family {p.run.family!r} has no model {p.run.model!r}; see src/ferlab/models/cards")
    return runpy.run_path(str(cards / "__init__.py"))["DEFAULTS"] | card


def _take(source: Path, place: Path) -> None:
    """Put the bytes of `source` at `place`: linked where the disk allows it, copied elsewhere."""
    if source.is_dir():
        shutil.copytree(source, place, copy_function=_link)
    else:
        _link(os.fspath(source), os.fspath(place))


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, place)
