"""Fine-tune a trained run on corrected or collected faces, as a DVC experiment, and compare both on people that neither was trained on.

    python -m ferlab.live.correction.personalise five_layer                      on its own set, with the corrections beside that set's raw files
    python -m ferlab.live.correction.personalise five_layer --set captured       on the faces of another set, as of people who consented

`dvc exp run --temp` works on a copy: params.yaml and results stay as they are, `dvc exp show` lists the experiment, `dvc exp apply` takes it over.
The new run starts from the weights of the old one, at a third of its learning rate. Both are scored on the test faces of the corrected set, but for
faces, people and pictures that the old run has seen; the ledger of test scorings notes it. A personalised model is trained on the people of its set;
for others it may be worse.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab.data.preparation.corrections import read_corrections
from ferlab.evaluation.comparison import compare_pairs
from ferlab.evaluation.ledger import LEDGER, record_scoring
from ferlab.evaluation.predictions import expressions_of, faces_in, probs_of, read_predictions
from ferlab.live.correction.decisions import corrections_file
from ferlab.params import Params, Prepare, load_params, nearest
from ferlab.paths import OUTPUTS, ROOT, InputError, artefact, write_json

KEPT, STORE = "data/scratch/personalised", "store"  # results, by experiment
STUDY = "personalise"  # in the ledger of test scorings
SLOWER = 3  # the old run's learning rate over the new one's: of 10, 3 and 1 the best on 1,500 control faces with a quarter of wrong labels
EPOCHS, MOST_EPOCHS = 5, 50
Say = Callable[[str], None]
NOISE = ("WARNING: No file hash info", "To apply the results", "dvc exp apply <exp>", "To track the changes", "To enable auto staging")  # of DVC


@dataclass(frozen=True)
class Personalised:
    """What fine-tuning changed, on held-out faces.

    Attributes:
        experiment: Its name in DVC.
        run: The old run; `new_run`: the fine-tuned one, in the experiment's params.yaml.
        set_name: The set.
        corrections: Decisions in its corrections file.
        before: Accuracy and mean recall of the old run on test; `after`: of the new one.
        difference: `compare_pairs` of after against before: accuracy of after minus before with its 95 % interval, by person where there are some.
        recalls: Per expression before, after and faces.
        left_out: Test faces that the old run has seen.
    """

    experiment: str
    run: str
    new_run: str
    set_name: str
    corrections: int
    before: dict[str, float]
    after: dict[str, float]
    difference: dict[str, float | None]
    recalls: dict[str, dict[str, float | int | None]]
    left_out: int

    def sentences(self) -> list[str]:
        """Return the result in words, the difference first."""
        found, people = self.difference, self.difference["subjects"]
        over = f"{found['n']:,} held-out faces" + (f" of {people:.0f} people" if people else "")
        bounds = f"[{100 * found['ci_low']:+.1f}, {100 * found['ci_high']:+.1f}]"
        p = found["p_subjects"] if found["p_subjects"] is not None else found["p_exact"]
        test = "t test over people" if found["p_subjects"] is not None else "McNemar's exact test"
        lines = [
            f"Accuracy after fine-tuning minus before: {100 * found['difference']:+.1f} points, 95 % interval {bounds}, on {over}.",
            f"Before {100 * self.before['accuracy']:.1f} %, after {100 * self.after['accuracy']:.1f} %; only after right: {found['only_a']} faces, "
            f"only before: {found['only_b']}; p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} ({test}).",
        ]
        if found["ci_low"] <= 0 <= found["ci_high"]:
            least = f"the smallest detectable with 80 % power is {100 * found['detectable']:.1f} points" if found["detectable"] else "too few faces"
            lines.append(f"The interval includes 0, which does not show that both are equal: {least}.")
        if self.left_out:
            lines.append(f"{self.left_out:,} test faces are excluded: {self.run} was trained or selected on them, their people or their pictures.")
        return [*lines, f"dvc exp apply {self.experiment} takes it over; dvc exp remove {self.experiment} removes it."]


def personalise(run: str, set_name: str | None = None, *, epochs: int = EPOCHS, say: Say = print) -> Personalised:
    """Fine-tune a run in an experiment and compare; it takes minutes.

    Args:
        run: A trained run of params.yaml.
        set_name: A set of params.yaml; None: the run's own.
        epochs: Of the fine-tuning; val selects the best.
        say: Called with each line of progress.

    Raises:
        InputError: An unknown run or set, no weights, nothing to learn from, a corrections file that cannot be applied, or the last line of an
            experiment that failed.
    """
    params = load_params()
    set_name = set_name or _known(run, params.runs, "run").data
    decisions, changes = _plan(params, run, set_name, epochs=epochs)
    new_run, name = changes.pop("new_run"), f"personalise-{run}-{time.strftime('%Y%m%d-%H%M%S')}"
    copied = [_copied(path) for path in (changes["prepare"]["raw"], changes["run"]["train"]["pretrained"]) if not Path(path).is_absolute()]
    say(f"Experiment {name}: {epochs} epochs from the weights of {run}, on set {set_name} with {decisions} decisions by hand.")
    _run_experiment(name, new_run, copied, _overrides(set_name, new_run, changes), say)
    place = ROOT / KEPT / name
    say("The old run is scored on the same faces.")
    after, store = _fetch(name, place, set_name=set_name, new_run=new_run)
    _record(name, (run, new_run), store.faces, set_name=set_name)
    try:
        result = _compare(_score(run, store, params), after, store, params=params, run=run)
    finally:
        shutil.rmtree(place / STORE)  # faces of people: DVC's cache has them, which `ferlab forget` cleans
    done = Personalised(experiment=name, run=run, new_run=new_run, set_name=set_name, corrections=decisions, **result)
    write_json(place / "result.json", asdict(done))
    for line in done.sentences():
        say(line)
    return done


def read_result(experiment: str) -> Personalised:
    """Return the kept result of an experiment.

    Raises:
        InputError: None is kept.
    """
    path = ROOT / KEPT / experiment / "result.json"
    if not path.is_file():
        raise InputError(f"{KEPT}/{experiment}: no result is kept there; run the fine-tuning again")
    return Personalised(**json.loads(path.read_text(encoding="utf-8")))


def _known(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name not in known:
        raise InputError(f"params.yaml: no {what} is called {name!r}; {nearest(name, known)}")
    return known[name]


def _plan(params: Params, run: str, set_name: str, *, epochs: int) -> tuple[int, dict[str, Any]]:
    """Return the number of decisions by hand, and what the experiment changes in params.yaml."""
    old, prepare = _known(run, params.runs, "run"), _known(set_name, params.prepare, "set")
    if not 1 <= epochs <= MOST_EPOCHS:
        raise InputError(f"{epochs} epochs; expected 1 to {MOST_EPOCHS}")
    weights = artefact("train", "weights", run)
    if not weights.is_file():
        raise InputError(f"{weights.relative_to(ROOT)}: no weights there; train the run first: dvc repro train@{run}")
    raw, by_hand, decisions = _by_hand(prepare, set_name)
    if old.data == set_name and not (decisions["old"] != decisions["new"]).any():
        what = f"no decision changes a label of set {set_name} ({raw}), and {run} was trained on it as it is"
        raise InputError(f"{what}; correct some faces first, or name a set of collected faces")
    train = old.train.model_dump() | {
        "epochs": epochs, "lr": old.train.lr / SLOWER, "pretrained": weights.relative_to(ROOT).as_posix(), "pretrained_layout": "ferlab",
        "pretrained_sha256": "", "teachers": [], "teacher_temperature": 1.0, "select": "val", "refit": False, "patience": 0,
    }  # fmt: skip
    new_run = next(name for name in (f"{run}_personal{number or ''}" for number in range(1000)) if name not in params.runs)
    new = old.model_dump() | {"data": set_name, "group": new_run, "factors": {}, "train": train}
    return len(decisions), {"new_run": new_run, "run": new, "prepare": {"raw": raw, **by_hand}}


def _by_hand(prepare: Prepare, set_name: str) -> tuple[str, dict[str, str], pd.DataFrame]:
    """Return the raw folder of a set, the key of its params that names the corrections, and these; the last two empty where there are none."""
    nothing = pd.DataFrame({"old": [], "new": []})
    try:
        path = corrections_file(prepare, set_name)
    except InputError:  # an archive: nothing in it can have been corrected
        return prepare.raw, {}, nothing
    if not path.is_file():
        return prepare.raw, {}, nothing
    drawn = not (ROOT / prepare.raw).is_dir()
    raw = path.parent.relative_to(ROOT).as_posix() if drawn else prepare.raw
    return raw, {"corrections": path.relative_to(ROOT / raw).as_posix()}, read_corrections(path)


def _overrides(set_name: str, new_run: str, changes: Mapping[str, Any]) -> list[str]:
    """Return the changes as DVC's `-S key=value`, values in Hydra's grammar."""
    return [*_flat(f"prepare.{set_name}", changes["prepare"]), *_flat(f"runs.{new_run}", changes["run"])]


def _flat(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield f"++{key}={json.dumps(value, ensure_ascii=False)}"


def _copied(path: str) -> str:
    """Return what DVC copies for a path that Git ignores: it copies a file only into a folder that Git has."""
    folder = Path(path).parent
    return path if (ROOT / path).is_dir() or folder == Path("data/raw") else folder.as_posix()


def _run_experiment(name: str, new_run: str, copied: list[str], overrides: list[str], say: Say) -> None:
    """Run the experiment in a copy of the workspace, line by line.

    Raises:
        InputError: It failed: its last line that says why.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", name]
    command += [part for path in copied for part in ("-C", path)] + [part for each in overrides for part in ("-S", each)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FERLAB_", "DVC_"))}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    environment["PYTHONUNBUFFERED"] = "1"
    started = subprocess.Popen(
        [*command, f"evaluate@{new_run}"], cwd=ROOT, env=environment, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines: list[str] = []
    with started:
        try:
            for line in started.stdout or ():
                if text := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rpartition("\r")[2] or line).strip():
                    lines.append(text)
                    if not text.startswith(NOISE):
                        say(text)
        except BaseException:
            started.send_signal(signal.SIGINT)  # DVC removes its copy
            raise
    if started.returncode:
        raise InputError(f"the experiment failed: {_cause(lines)}")


def _cause(lines: list[str]) -> str:
    """Return the line that tells why: the stage's own last one before DVC's."""
    told = [line for line in lines if re.match(r"(prepare|audit|train|evaluate): ", line)] or [line for line in lines if line.startswith("ERROR")]
    return (told or lines or ["it printed nothing"])[-1]


def _fetch(name: str, place: Path, *, set_name: str, new_run: str) -> tuple[pd.DataFrame, Any]:
    """Copy the predictions and the prepared set of an experiment out of DVC's cache."""
    from dvc.api import DVCFileSystem  # Keep: DVC takes a second to import

    from ferlab.data.store import open_store

    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    files = DVCFileSystem(str(ROOT), rev=name)
    predictions, store = OUTPUTS["evaluate"]["predictions"].format(name=new_run), OUTPUTS["prepare"]["store"].format(name=set_name)
    files.get_file(predictions, str(place / "after.parquet"))
    files.get(store, str(place / STORE), recursive=True)
    return read_predictions(place / "after.parquet"), open_store(place / STORE)


def _record(name: str, runs: tuple[str, str], faces: pd.DataFrame, *, set_name: str, ledger: Path = LEDGER) -> None:
    """Note in the ledger of this workspace that both runs were scored on the test split: the experiment's own is a copy, seen where it is applied."""
    for run in runs:
        record_scoring(faces, study=STUDY, run=run, set_name=set_name, record={"experiment": name, "run": run}, path=ledger, always=True)


def _score(run: str, store: Any, params: Params) -> pd.DataFrame:
    from ferlab.evaluation.scoring import score_faces  # Keep: it starts PyTorch
    from ferlab.models import load_model

    chosen = {key: getattr(params.evaluate, key) for key in ("tta", "crop", "batch_size")}
    return score_faces(load_model(artefact("train", "weights", run)), store.images, store.faces, expressions=store.expressions, **chosen)[0]


def _compare(before: pd.DataFrame, after: pd.DataFrame, store: Any, *, params: Params, run: str) -> dict[str, Any]:
    """Compare both on the test faces that the old run has not seen."""
    seen = _seen_by(run, store, params)
    left_out = int((after["face_id"].isin(seen) & (after["split"] == "test")).sum())
    tables = {"after": after, "before": before}
    tables = {name: faces_in(table[~table["face_id"].isin(seen)], "test") for name, table in tables.items()}
    pair = compare_pairs(tables, pairs=[("after", "before")]).iloc[0].drop(["run_a", "run_b"])
    scores = {name: _scores(table) for name, table in tables.items()}
    recalls = {
        expression: {"before": scores["before"][1][expression], "after": scores["after"][1][expression], "faces": scores["after"][2][expression]}
        for expression in expressions_of(after)
    }
    difference = {key: None if pd.isna(value) else float(value) for key, value in pair.items()}
    counts = {key: int(difference[key] or 0) for key in ("n", "only_a", "only_b")}
    return {"before": scores["before"][0], "after": scores["after"][0], "difference": difference | counts, "recalls": recalls, "left_out": left_out}


def _scores(table: pd.DataFrame) -> tuple[dict[str, float], dict[str, float | None], dict[str, int]]:
    """Return accuracy and mean recall, and per expression recall (None without faces) and faces."""
    from ferlab.evaluation.metrics import compute_metrics

    names = expressions_of(table)
    metrics = compute_metrics(table["target"].to_numpy(), probs_of(table), expressions=names)
    faces = {name: int(metrics["per_class"][name]["support"]) for name in names}
    recalls = {name: metrics["per_class"][name]["recall"] if faces[name] else None for name in names}
    return {key: float(metrics[key]) for key in ("accuracy", "balanced_accuracy")}, recalls, faces


def _seen_by(run: str, store: Any, params: Params) -> set[str]:
    """Return the faces of a store that a run was trained or selected on, by face, person or picture, in its own set as it lies here."""
    from ferlab.data.store import open_store
    from ferlab.models.weights import read_weights

    folder, faces = artefact("prepare", "store", params.runs[run].data), store.faces
    if not folder.is_dir():
        raise InputError(f"{folder.relative_to(ROOT)}: not found, so nobody can say which faces {run} has seen; dvc repro makes it")
    card, own = read_weights(artefact("train", "weights", run))[1], open_store(folder).faces
    used = own[own["split"].isin((*card.trained_on, *card.selected_on))]
    known = faces["content_hash"].isin(used["content_hash"])
    if own["source"].isin(faces["source"]).any():  # of the same dataset: names mean the same
        known |= faces["face_id"].isin(used["face_id"])
        for key in {"subject", "sequence"} & set(faces) & set(used):
            known |= faces[key].notna() & faces[key].isin(used[key].dropna())
    return set(faces.loc[known & (faces["split"] == "test"), "face_id"])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    told = "Fine-tune a run on corrected or collected faces."
    parser = argparse.ArgumentParser(prog="python -m ferlab.live.correction.personalise", description=told)
    parser.add_argument("run", metavar="RUN", help="a trained run of params.yaml")
    parser.add_argument("--set", metavar="NAME", help="a set of params.yaml (the run's own)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help=f"of the fine-tuning ({EPOCHS})")
    chosen = parser.parse_args(arguments)
    try:
        done = personalise(chosen.run, chosen.set, epochs=chosen.epochs, say=lambda line: print(line, flush=True))
    except (InputError, OSError) as error:
        print(f"personalise: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("personalise: stopped", file=sys.stderr)
        return 130
    print(f"result: {KEPT}/{done.experiment}/result.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
