"""The model card of the model that ships, from the card.json beside it; written by `ferlab ship`, and by

    python -m ferlab.reporting.site.shipped_card
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab import paths
from ferlab.deployment.shipping import FOLDER
from ferlab.evaluation.confusion_posterior import confusion_metrics
from ferlab.evaluation.deduplicated import MARK
from ferlab.evaluation.framing import hits_of
from ferlab.evaluation.kept import read_kept
from ferlab.evaluation.predictions import confusion_table, faces_in
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.tasks import Task, task_of, version_of
from ferlab.paths import InputError, write_whole
from ferlab.reporting.site.datasets import dataset_facts, sources_of
from ferlab.reporting.site.model_card import HUB, INTENDED, OUT_OF_SCOPE, front_matter, hub_result
from ferlab.reporting.tables import MISSING, estimate, number, percent
from ferlab.roles import listed

NAME = "README.md"  # as Hugging Face calls a model's card
PREDICTIONS = Path("reports", "published", "shipped", "predictions")
KEPT = ("accuracy", "balanced_accuracy", "macro_f1")
AGREES = 1e-5  # of the accuracies of one model's card and predictions
LOAD = (
    "```python\nfrom ferlab.deployment import Predictor\n\npredictor = Predictor.load()\nprobs = predictor.predict_faces(faces)"
    "  # uint8 (N, H, W) cropped faces, to (N, K)\n```"
)
Scored = list[tuple[Task, dict[str, float]]]


def shipped_model_card(card: Mapping[str, Any], kept: Mapping[str, pd.DataFrame] | None = None) -> str:
    """Return the card of the model that ships as Markdown with Hugging Face's front matter.

    Args:
        card: What `ferlab ship` wrote as card.json.
        kept: Test-time augmentation -> its published predictions, which add scores on the test faces without duplicates.
    """
    scored = [*_scored(card), *(of for tta, table in (kept or {}).items() for of in _deduplicated(card, table, tta=tta))]
    metadata = {
        "license": "mit",
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "ferlab"],
        "datasets": sources_of(card["trained_on"]["dataset"]),
        "metrics": list(HUB.values())[:3],
        "model-index": [{"name": f"ferlab {card['name']}", "results": [hub_result(*of) for of in scored]}],
    }
    parts = {
        f"# Model card: {card['title']}": _model(card),
        "## Intended use": f"{INTENDED}\n\n{LOAD}",
        "## Out of scope": OUT_OF_SCOPE,
        "## Training data": _training(card),
        "## Results": _results(card, scored),
        "## Confidence": _confidence(card),
        "## Limits": card["limits"],
        "## Licence": card["licence"],
    }
    return front_matter(metadata) + "\n\n".join(f"{head}\n\n{text}" for head, text in parts.items() if text) + "\n"


def _scored(card: Mapping[str, Any]) -> Scored:
    """Return the scores of the card with their tasks; bounds of a part that the card states none of are Wilson's."""
    dataset, k = card["trained_on"]["dataset"], len(card["expressions"])
    known = {"expressions": k, "version": version_of(dataset)}
    test = card["test"]
    of_tta = {tta: scores for tta, scores in test.items() if isinstance(scores, Mapping)}
    scored = [(Task(dataset, test["usage"], tta=tta, n=test["n"], **known), dict(scores)) for tta, scores in of_tta.items()]
    private = card.get("private_test") or {}
    for kept, of in (("all", private), ("deduplicated", private.get("without_exact_duplicates"))):
        for tta in ("none", "flip") if of else ():
            low, high = wilson(round(of[tta] * of["n"]), of["n"])
            scores = {"accuracy": of[tta], "accuracy_ci_low": round(low, 6), "accuracy_ci_high": round(high, 6)}
            version = known["version"] if kept == "all" else "0"  # exact duplicates alone
            scored.append((Task(dataset, private["usage"], kept, tta, k, version, of["n"]), scores))
    return scored


def _deduplicated(card: Mapping[str, Any], table: pd.DataFrame, *, tta: str) -> Scored:
    """Return the scores of published predictions on the test faces without duplicates; none where they are of another model than the card's."""
    test = faces_in(table, "test")
    stated = card["test"].get(tta, {}).get("accuracy", -1)
    if abs(float(hits_of(test).mean()) - stated) > AGREES:
        return []
    rows = test[~test[MARK]].drop(columns=MARK).reset_index(drop=True)
    low, high = wilson(int(hits_of(rows).sum()), len(rows))
    counts = confusion_metrics(confusion_table(rows).to_numpy(np.float64)[None])
    scores = {key: round(float(counts[key][0]), 6) for key in KEPT} | {"accuracy_ci_low": round(low, 6), "accuracy_ci_high": round(high, 6)}
    task = task_of(rows, dataset=card["trained_on"]["dataset"], usage=card["test"]["usage"], duplicates="deduplicated", tta=tta)
    return [(replace(task, version="0"), scores)]  # marked by the search as it was when they were published


def _model(card: Mapping[str, Any]) -> str:
    megabytes, side = card["bytes"] / 1e6, card["size"]
    told = f"`model.onnx`: {card['parameters']:,} parameters, {megabytes:.1f} MB ({card['weights']} weights). "
    told += f"Input: a cropped face, {side} x {side} pixels, {card['channels']} channel. Output: {listed(card['expressions'])}."
    return f"{told} SHA-256 `{card['sha256']}`."


def _training(card: Mapping[str, Any]) -> str:
    trained = card["trained_on"]
    told = []
    for source in sources_of(trained["dataset"]):
        facts = dataset_facts(source)
        told.append(f"**{facts.title}**. {facts.what} Labels: {facts.annotated}. Terms: {facts.licence}")
    run = f"study {card['study']}, run {card['run']}, seed {card['seed']}"
    told.append(f"Trained on {trained['faces']:,} faces of {listed(trained['usages'])}, {run}.")
    told += [f"It rests on data beyond this dataset too, by pretrained weights: {card['pretrained_on']}."] if card.get("pretrained_on") else []
    chosen = card.get("selected_on", [])
    told.append(f"The epoch was selected on {listed(chosen)}." if chosen else "No epoch was selected.")
    cost = f"Cost: {card['training_cost'].rstrip('.')}." if card.get("training_cost") else ""
    return " ".join(part for part in (*told, card.get("note", ""), cost) if part)


def _results(card: Mapping[str, Any], scored: Scored) -> str:
    names = {"all": "", "deduplicated": " without duplicates of Training"}
    of = sorted(scored, key=lambda each: (each[0].usage != card["test"]["usage"], each[0].duplicates))
    rows = [f"| {task.usage}{names[task.duplicates]} | {task.tta} | {task.n:,} | {estimate(scores, 'accuracy')} |" for task, scores in of]
    table = "\n".join(["| test faces | TTA | n | accuracy |", "|---|---|---:|---|", *rows])
    private = card.get("private_test")
    by = f" {private['usage']} was scored by {private['scored_by']}." if private else ""
    first = scored[0][0]
    known = f"Tasks: {first.dataset}, {first.expressions} expressions, version {first.version}; without duplicates 0 (PrivateTest: exact)."
    return f"{table}\n\n{known} Intervals are Wilson's, over faces.{by}"


def _confidence(card: Mapping[str, Any]) -> str:
    of = card.get("confidence")
    if not of or "temperature" not in of:
        return ""
    value = f"{number(of['temperature'], digits=2)} [{number(of['temperature_ci_low'], digits=2)}, {number(of['temperature_ci_high'], digits=2)}]"
    before, after = (percent(of["calibration"][kind]["ece"]) for kind in ("before", "after"))
    told = f"Temperature {value}, fitted on {of['fitted_on']}. On {of['judged_on']}, the ECE is {before} before and {after} after."
    judged = [(row, row["judged"]) for row in of["abstention"]]
    bars = [MISSING if row["threshold"] is None else f"{row['threshold']:.3f}" for row, _ in judged]  # None: none keeps the risk
    accepted = [f"{estimate(on or {}, 'coverage')} | {estimate(on or {}, 'error_rate')}" for _, on in judged]
    rows = [f"| {percent(row['risk'])} | {bar} | {of} |" for (row, _), bar, of in zip(judged, bars, accepted, strict=True)]
    table = ["| wanted error rate | confidence from | faces accepted | error rate among them |", "|---|---:|---|---|", *rows]
    return "\n".join([told, "", *table]) if rows else told


def published_predictions(root: Path) -> dict[str, pd.DataFrame]:
    """Return the published predictions of the model that ships, by test-time augmentation."""
    found = {tta: root / PREDICTIONS / f"{tta}.parquet" for tta in ("none", "flip")}
    return {tta: read_kept(path) for tta, path in found.items() if path.is_file()}


def write_shipped_card(root: Path) -> Path:
    """Write the card beside the model that ships in a clone; return its path.

    Raises:
        InputError: No model ships there, or its card.json is not as `ferlab ship` writes it.
    """
    place = root / FOLDER / "card.json"
    try:
        text = shipped_model_card(json.loads(place.read_text(encoding="utf-8")), published_predictions(root))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{(FOLDER / 'card.json').as_posix()}: not as `ferlab ship` writes it ({error!r}); restore it with git") from None
    write_whole(place.with_name(NAME), text.encode())
    return place.with_name(NAME)


def main() -> int:
    """Write the card of this clone's model; return the exit status."""
    try:
        print(f"card: {write_shipped_card(paths.ROOT).relative_to(paths.ROOT)}")
    except InputError as error:
        print(f"shipped_card: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
