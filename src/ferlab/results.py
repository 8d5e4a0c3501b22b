"""What made a result, whether it still holds, and taking it again.

A result that costs (a prepared dataset, its duplicates, weights, predictions, attributions, an exported model) lies beside a record: the hashes
of the params that shape it, of its inputs, of the code that computes it, of the pinned packages, and of its own files. A notebook asks for the
result. Where the record agrees it is taken byte for byte; otherwise it is computed. Neither the notebook nor `ferlab.reporting` makes a result
stale, since they only report it.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ferlab.hashes import digest, hash_path, import_closure
from ferlab.params import Params, StageParams, declared, stage_params
from ferlab.paths import ROOT, SET_STAGES, SHIPS, STAGING, InputError, artefact, output, write_json

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
SAMPLED = (
    "split", "methods", "steps", "samples", "masks", "faces_per_class", "hypothesis_faces", "window", "stride", "seed", "faithfulness",
)  # fmt: skip
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
        files=("predictions", "tta", "train"),
        params={"evaluate": ("tta", "crop")},
        card=BUILT,
    ),
    "explain": Stage(
        (STORE, WEIGHTS),
        shows=(("worlds", "metrics"),),
        modules=("explanation.explained",),
        files=("attributions", "faithfulness", "masses"),
        params={"explain": SAMPLED},
        card=(*BUILT, "target_layer"),
    ),
    "analyze_errors": Stage(
        (STORE, WEIGHTS, PREDICTIONS),
        modules=("error_analysis.analyzed",),
        files=("checked", "planted", "maps"),
        params={"analyze_errors": ("split", "folds", "folds_model", "seed"), "run": ("model", "options", "seed", "train")},
        card=BUILT,
    ),
    "robustness": Stage(
        (STORE, WEIGHTS),
        modules=("error_analysis.perturbed",),
        files=("table", "transfer", "facts"),
        params={"robustness": ("split", "faces", "sets", "seed")},
        card=BUILT,
    ),
    "compare": Stage(shows=(PREDICTIONS, ("train", "metrics"), ("evaluate", "metrics"), ("robustness", "table"))),
    "deploy": Stage(
        (STORE, WEIGHTS, PREDICTIONS, ("evaluate", "tta")),
        modules=("deployment.exported",),
        files=("onnx", "int8", "facts"),
        params={"deploy": ("repeats", "compared", "calibration", "risk")},
        card=BUILT,
    ),
    "control_faces": Stage(),
    "worlds": Stage(
        modules=("explanation.world_scores",),
        files=("scores", "interventions", "examples", "facts"),
        params={"worlds": ()},
        card=(*BUILT, "input_size", "target_layer"),
    ),
    "frame": Stage((STORE, ("deploy", "onnx")), modules=("deployment.frame",), files=("predictions", "facts"), params={"frame": ()}),
    "claims": Stage(modules=("error_analysis.frame_leak",), files=("leak", "facts"), params={"claims": ()}),
}
SHIPPED_MODEL = "src/ferlab/deployment/weights/model.onnx"
SHIPPED_CARD = "src/ferlab/deployment/weights/card.json"
PUBLISHED, CLAIMS = "conf/published", "conf/claims"  # what the pages of compare and claims read besides
PAGES = ("README.md", "docs/results.md", "reports/published", SHIPPED_CARD)  # what this project's own claims are read from, and checked with


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


def record_under(params: Params, stage: str, name: str) -> tuple[dict[str, str], list[str]]:
    """Return the record that a result has under these params, and why it has to be computed; see `record_of` and `why_stale`."""
    record = record_of(stage, stage_params(stage, name, declared(params, stage, name)))
    return record, why_stale(stage, name, record)


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
    if stage == "frame":
        return _framed(p)
    if stage == "claims":
        return {name: ROOT / name for name in (CLAIMS, *((PUBLISHED, *PAGES) if page else ()))}
    inputs = {}
    for before, what in STAGES[stage].reads + STAGES[stage].shows * page:
        names = p.runs if stage == "compare" else [p.set_name if before in SET_STAGES else p.name]
        inputs |= {f"{before} {what} {name}" if stage == "compare" else f"{before} {what}": artefact(before, what, name) for name in names or ()}
    if stage == "train":
        inputs |= {f"train weights of {teacher}": teacher_file(teacher) for teacher in p.run.train.teachers}
        inputs |= _pretrained_file(p.run.train.pretrained)
    if stage == "robustness":
        inputs |= {f"prepare store {name}": artefact(*STORE, name) for name in p.robustness.sets}
    return inputs | ({PUBLISHED: ROOT / PUBLISHED} if stage == "compare" else {})


def teacher_file(name: str) -> Path:
    """Return the file of a teacher's model: the one that ships, or a run's weights."""
    return ROOT / SHIPPED_MODEL if name == SHIPS else artefact(*WEIGHTS, name)


def model_file(asked: str, runs: Mapping[str, Any]) -> Path:
    """Return the ONNX file of a model: the one that ships, a run's, or one named by its path or folder.

    Args:
        asked: "shipped", a run, or a path, relative ones below ROOT.
        runs: The runs of params.yaml.

    Raises:
        InputError: An unknown name.
    """
    if asked == SHIPS:
        return ROOT / SHIPPED_MODEL
    if asked in runs:
        return artefact("deploy", "onnx", asked)
    path = ROOT / Path(asked).expanduser()
    path = path / "model.onnx" if path.is_dir() else path
    if not path.is_file():
        known = ", ".join([SHIPS, *runs])
        raise InputError(f"{asked}: no model; expected {known}, or the path of an ONNX file. python -m ferlab.deployment.peers fetches peers.")
    return path


def model_inputs(asked: str, runs: Mapping[str, Any]) -> dict[str, Path]:
    """Return the file of a model, and the card of one made elsewhere, by name; arguments and errors as for `model_file`."""
    path = model_file(asked, runs)
    card = path.with_suffix(".yaml")
    return {f"deploy onnx {asked}": path} | ({f"card {asked}": card} if card.is_file() else {})


def _framed(p: StageParams) -> dict[str, Path]:
    inputs = {f"prepare store {name}": artefact(*STORE, name) for name in p.frame.sets}
    for asked in p.frame.models:
        inputs |= model_inputs(asked, p.runs or {})
    return inputs


def _pretrained_file(source: str) -> dict[str, Path]:
    """Return the file of pretrained weights that a path names; none for those that are downloaded, see `ferlab.models.hub.fetch`."""
    if source in ("", "published") or source.startswith(("hf:", "npm:", "http://", "https://")):
        return {}
    path = ROOT / Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"{source}: no such file; give the path of the weights, or hf:owner/name/file")
    return {"pretrained weights": path}


def state_of(stage: str, section: dict[str, Any]) -> dict[str, str]:
    """Return the study and the hashes of the params (`section` of a stage) and of the files that a page is made from."""
    p = stage_params(stage, section["name"], section)
    data = hash_inputs(inputs_of(stage, p, page=True))
    return {"study": p.study, "params": digest(json.dumps(section, sort_keys=True)), "data": data}


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
    if stage == "claims":
        families = sorted(claimed_families())
        return tuple(f"models.{module}" for family in families for module in (family, f"cards.{family}"))
    if stage == "worlds":
        return (f"models.{p.worlds.family}",)
    return (f"models.{p.run.family}",) if p.run else ()


def claimed_families() -> set[str]:
    """Return the families of the models that claims name."""
    files = sorted((ROOT / CLAIMS).glob("*.yaml"))
    return {family for path in files for family in re.findall(r"\bfamily: ?(\w+)", path.read_text(encoding="utf-8")) if _is_family(family)}


def _is_family(name: str) -> bool:
    return (ROOT / "src" / "ferlab" / "models" / "cards" / f"{name}.py").is_file()


def card_of(p: StageParams) -> dict[str, Any]:
    """Return the card of a run's model, or of the worlds', read from its family's file of cards alone: `ferlab.models` starts PyTorch.

    Raises:
        InputError: The family has no such model.
    """
    cards = ROOT / "src" / "ferlab" / "models" / "cards"
    of, where = (p.run, f"runs.{p.name}") if p.run else (p.worlds, "worlds")
    path = cards / f"{of.family}.py"
    card = runpy.run_path(str(path))["CARDS"].get(of.model) if path.is_file() else None
    if card is None:
        raise InputError(f"params.yaml: {where}: the family {of.family!r} has no model {of.model!r}; see src/ferlab/models/cards")
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
