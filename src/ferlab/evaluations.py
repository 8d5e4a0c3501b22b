"""`ferlab evaluate`: any model on one prepared set or one folder of photographs, with a page like 04's.

    reports/evaluations/<model>-<faces>/index.html            the page, self-contained
                                        metrics.json          its numbers
                                        predictions.parquet   probabilities, a row for each face
                                        photographs.csv       of a folder: a row for each picture, with its box or why it has none
                                        record.json           what made it

A test split of a real set is scored once per result: while model, set and code stay what they were, an evaluation is taken as it lies; a new one adds
a line to the ledger of test scorings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ferlab.data.faces import CONTROL
from ferlab.data.readers.delivery import MARKER
from ferlab.data.store import open_store
from ferlab.deployment.frame import FramedModel, count_not_found, open_model, score_set
from ferlab.deployment.photographs import predictions_of, read_photographs, score_photographs
from ferlab.evaluation.ledger import LEDGER, record_scoring
from ferlab.evaluation.predictions import read_predictions, write_predictions
from ferlab.hashes import hash_path
from ferlab.params import load_params, nearest
from ferlab.paths import ROOT, InputError, artefact, write_json, write_whole
from ferlab.reporting.pages.evaluations import Evaluated, evaluation_page, headline, measured
from ferlab.results import hash_code, hash_inputs, model_inputs

FOLDER = Path("reports", "evaluations")
MODULES = ("deployment.frame", "deployment.photographs")  # whose code shapes the predictions
STUDY = "evaluate"  # in the ledger


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated.

    Attributes:
        model: As of `ferlab.deployment.frame.open_model`.
        set_name: A prepared set; "" for photographs.
        folder: Of photographs; None for a set.
        table: Their csv; None for class folders.
        person: Of class folders, see `ferlab.deployment.photographs.read_photographs`.
        whole: Whether each photograph is a cropped face.
        flip: Average over each face and its mirror image.
        name: Of the folder that is written; "" for one made of model and faces.
    """

    model: str
    set_name: str = ""
    folder: Path | None = None
    table: Path | None = None
    person: str | None = None
    whole: bool = False
    flip: bool = False
    name: str = ""


def evaluate(asked: Asked, *, root: Path = ROOT, ledger: Path = LEDGER) -> tuple[Path, list[str]]:
    """Score a model and write its page.

    Returns:
        The page, and the lines that the terminal shows.

    Raises:
        InputError: An unknown model or set, wrong labels, or no face in any picture.
    """
    if bool(asked.set_name) == (asked.folder is not None):
        raise InputError("expected --set NAME or --folder PHOTOS, and not both")
    given = {"--csv": asked.table, "--person": asked.person, "--whole": asked.whole}
    if asked.set_name and (others := [option for option, value in given.items() if value]):
        raise InputError(f"{others[0]} is of photographs (--folder); a prepared set has its labels, people and crops")
    params = load_params(root / "params.yaml")
    if asked.set_name and asked.set_name not in params.prepare:
        raise InputError(f"no set is called {asked.set_name!r}; {nearest(asked.set_name, params.prepare)}")
    model = open_model(asked.model, params.runs)
    faces = asked.set_name or (asked.folder.resolve().name if asked.folder else "")
    place = root / FOLDER / (_file_name(asked.name) or _file_name(f"{model.name}-{faces}"))
    made = hash_inputs(model_inputs(asked.model, params.runs))
    found = _of_set(asked, model, place, made=made, ledger=ledger) if asked.set_name else _of_photographs(asked, model, place)
    metrics = measured(found)
    write_json(place / "metrics.json", metrics)
    write_whole(place / "index.html", evaluation_page(found, metrics).encode())
    return place / "index.html", headline(found, metrics)


def _of_set(asked: Asked, model: FramedModel, place: Path, *, made: str, ledger: Path) -> Evaluated:
    """Take or make the predictions of a set; `made` is the hash of the model's file and card."""
    path = artefact("prepare", "store", asked.set_name)
    store = open_store(path)
    record = {
        "model": made,
        "data": hash_inputs({"prepare store": path}),
        "code": hash_code(modules=MODULES),
        "params": f"flip {asked.flip}",
    }
    kept, predictions = place / "record.json", place / "predictions.parquet"
    taken = _read_record(kept) == {**record, "files": _hash(predictions)}
    if not taken:
        scored = score_set(model, store, flip=asked.flip)
        place.mkdir(parents=True, exist_ok=True)
        write_predictions(predictions, scored)
        record_scoring(store.faces, study=STUDY, run=model.name, set_name=asked.set_name, record=record, path=ledger, always=True)
        write_json(kept, {**record, "files": _hash(predictions)})
    table, test = read_predictions(predictions), store.faces[store.faces["split"] == "test"]
    counts = count_not_found(store)
    calibrated = model.predictor.confidence.calibration_sentence()
    known = {"role": model.origin.role(test), "calibrated": calibrated, "taken": taken, "flip": asked.flip}
    known |= {"store_faces": store.faces, "preparation": store.preparation}
    known["drawn"] = bool(store.faces["source"].str.fullmatch(f"{CONTROL}(:.*)?").all())
    return Evaluated(model.name, model.origin, asked.set_name, table, counts["pictures"], counts["not_found"], **known)


def _of_photographs(asked: Asked, model: FramedModel, place: Path) -> Evaluated:
    folder = asked.folder or Path()
    pictures = read_photographs(folder, table=asked.table, person=asked.person)
    labelled = pictures[pictures["expression"] != ""].reset_index(drop=True)
    scored = score_photographs(model, labelled, folder, whole=asked.whole, flip=asked.flip)
    table = predictions_of(scored)
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / "photographs.csv", scored.to_csv(index=False, float_format="%.6f").encode())
    write_predictions(place / "predictions.parquet", table)
    missing, calibrated = int((scored["reason"] != "").sum()), model.predictor.confidence.calibration_sentence()
    known = {"role": "unknown", "flip": asked.flip, "photographs": scored, "unlabelled": len(pictures) - len(labelled), "calibrated": calibrated}
    return Evaluated(model.name, model.origin, folder.name, table, len(scored), missing, **known, drawn=(folder / MARKER).is_file())


def _read_record(path: Path) -> object:
    """Return what made the predictions that lie there; None where that cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _hash(path: Path) -> str:
    return hash_path(path) if path.is_file() else ""


def _file_name(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text).strip("_-")[:100]
