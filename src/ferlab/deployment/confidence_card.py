"""The part `confidence` of a model's card, computed from its predictions of val and test: see `ferlab.deployment.confidence`.

Temperature, vector scaling and thresholds are fitted on val, which a run was selected on and not trained on, and judged on test. A run that was also
trained on val has no held-out split, and gets none in the pipeline. For a model that ships they may be fitted on test instead: temperature and
thresholds change no prediction, and all are judged by cross-fitting, each tenth of the faces by what the others fitted. A face with a duplicate in
what the model was trained on is not held out: such faces are excluded everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import describe_faces, has_duplicate_in
from ferlab.evaluation.abstention import LEVEL, find_threshold, judge_threshold
from ferlab.evaluation.calibration import calibration_error, ece_bounds, log_losses, reliability_bins
from ferlab.evaluation.paired import mean_difference
from ferlab.evaluation.predictions import PROB_PREFIX, confusion_table, expressions_of, faces_in, probs_of, read_predictions
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.scaling import FEWEST_WRONG
from ferlab.evaluation.temperature import FOLDS, fit_temperature, folds_of, scale, temperature_bounds
from ferlab.evaluation.vector_scaling import fit_by_class, scale_by_class
from ferlab.roles import Exposure

RISK = 0.1  # stated error rate among accepted faces
RISKS = (0.05, 0.1, 0.15, 0.2)  # of the other thresholds
DIGITS = 6


def read_confidence(predictions: Path, tta: Path, faces: pd.DataFrame, *, risk: float = RISK, on_test: bool = False) -> dict[str, Any]:
    """Return `confidence_card` of a run from the files of its evaluation: with the mirror image where it was scored so, as predictions are made.

    Args:
        predictions: The predictions table.
        tta: The probabilities by test-time augmentation.
        faces: The face table of the prepared dataset.
        risk: As `on_test`: see `confidence_card`.
    """
    table = read_predictions(predictions)
    with np.load(tta) as file:
        kind = "flip" if "flip" in file.files else "none"
        probs, seen = file[kind], Exposure(*(tuple(file[name].tolist()) for name in ("trained_on", "selected_on")))
    table[[PROB_PREFIX + name for name in expressions_of(table)]] = probs
    table["pred"] = probs.argmax(axis=1)
    duplicate = {split: has_duplicate_in(faces, before) for split, before in {"val": ("train",), "test": ("train", "val")}.items()}
    marked = np.select([faces["split"] == split for split in duplicate], list(duplicate.values()), default=False)
    rows = table[~pd.Series(marked, index=faces["face_id"])[table["face_id"]].to_numpy(dtype=bool)]
    described = describe_faces(faces)
    named = {split: name_faces(described["dataset"], described["usage"].get(split, split), split=split) for split in duplicate}
    return confidence_card(rows, seen, named=named, risk=risk, on_test=on_test) | {"tta": kind}


def name_faces(dataset: str, usage: str, *, split: str) -> str:
    """Name the deduplicated faces of a split.

    >>> name_faces("fer2013", "PublicTest", split="test")
    'fer2013, PublicTest, deduplicated'
    """
    drawn = all(source == "control" or source.startswith("control:") for source in dataset.split(" and "))
    return f"{'control faces' if drawn else dataset}, {split if drawn or usage == 'Training' else usage}, deduplicated"


def confidence_card(table: pd.DataFrame, seen: Exposure, *, named: Mapping[str, str], risk: float = RISK, on_test: bool = False) -> dict[str, Any]:
    """Return what a card states of a model's confidences.

    Args:
        table: Predictions of val and test, or of test alone, without faces that have duplicates among those trained on.
        seen: What each split was to the model.
        named: Per split the faces in words, such as "fer2013, PublicTest".
        risk: Stated error rate among accepted faces; thresholds of `RISKS` are stated besides.
        on_test: Whether to fit on test where no split is held out.

    Returns:
        `precision` per predicted expression (`right`, `n`, `ci_low`, `ci_high`, `confused_with`, `confused`) with `measured_on`; `fitted_on`; and,
        where a split is held out, `temperature` with bounds, `vector` (`weights`, `biases`), `fitted_n`, `judged_on`, `calibration` (`before`,
        `after`, `vector`: accuracy, ECE with bounds, NLL and its paired difference from `before` over faces), `risk` and `abstention`, a row for
        each risk (`risk`, `level`, `threshold`, `found`, `judged`). Numbers have six decimals.
    """
    test = table[table["split"] == "test"].reset_index(drop=True)
    if test.empty:
        return {"fitted_on": "every test face has a duplicate among those trained on"}
    card = {"precision": precision_of(test), "measured_on": named["test"]}
    held_out = seen.role("val") != "trained"
    if not held_out and not on_test:
        return card | {"fitted_on": "no split is held out, as the model was also trained on val"}
    fitting, name = (faces_in(table, "val"), named["val"]) if held_out else (test, named["test"])
    wrong = int((fitting["pred"] != fitting["target"]).sum())
    if wrong < FEWEST_WRONG:
        return card | {"fitted_on": f"{wrong} of {len(fitting):,} faces ({name}) are wrong, too few to fit a temperature"}
    risks = sorted({risk, *RISKS})
    fitted = _fit(fitting, risks=risks)
    judged = _judge(test, fitted) if held_out else _judge_across(test, risks=risks)
    why = "" if held_out else ", as the model was trained on all others"
    stated = {"fitted_on": f"{len(fitting):,} faces ({name}){why}", "fitted_n": len(fitting), "risk": risk}
    stated |= {"judged_on": f"{len(test):,} faces ({named['test']})" + ("" if held_out else f", cross-fitted in {FOLDS} folds")}
    for row, found in zip(fitted["abstention"], judged.pop("abstention"), strict=True):
        row["judged"] = found
    return _rounded(card | stated | fitted | {"calibration": judged})


def precision_of(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return per expression how many of the faces predicted as it were right, with Wilson's bounds, and the most frequent label of the others."""
    counts = confusion_table(rows)  # labels as rows, predictions as columns
    found = {}
    for name in counts.columns:
        column = counts[name]
        right, n, others = int(column[name]), int(column.sum()), column.drop(name)
        low, high = wilson(right, n) if n else (None, None)
        confused = str(others.idxmax()) if others.max() > 0 else ""
        found[name] = {"right": right, "n": n, "ci_low": low, "ci_high": high, "confused_with": confused, "confused": int(others.max())}
    return _rounded(found)


def _fit(rows: pd.DataFrame, *, risks: list[float]) -> dict[str, Any]:
    """Return temperature and thresholds of held-out faces, as the card holds them."""
    targets, probs = rows["target"].to_numpy(), probs_of(rows)
    temperature = round(fit_temperature(targets, probs), DIGITS)
    low, high = temperature_bounds(targets, probs)
    confidences, correct = scale(probs, temperature).max(axis=1), probs.argmax(axis=1) == targets
    rows_of_risks = []
    for risk in risks:
        found = find_threshold(confidences, correct, risk=risk)
        row: dict[str, Any] = {"risk": risk, "level": LEVEL, "threshold": None, "found": None}
        if found is not None:
            row |= {"threshold": found.threshold, "found": {key: getattr(found, key) for key in ("accepted", "wrong", "n", "upper")}}
        rows_of_risks.append(row)
    weights, biases = fit_by_class(targets, probs)
    fitted = {"temperature": temperature, "temperature_ci_low": low, "temperature_ci_high": high}
    return {**fitted, "vector": {"weights": weights.tolist(), "biases": biases.tolist()}, "abstention": rows_of_risks}


def _judge(rows: pd.DataFrame, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Return calibration before and after, and what each threshold does, on faces that fitted neither."""
    targets, probs = rows["target"].to_numpy(), probs_of(rows)
    thresholds = [np.full(len(rows), _or_never(row["threshold"])) for row in fitted["abstention"]]
    return _judged(targets, probs, scaled=_scaled(probs, fitted), thresholds=thresholds)


def _judge_across(rows: pd.DataFrame, *, risks: list[float]) -> dict[str, Any]:
    """Return the same by cross-fitting; a fold without a threshold abstains from every face."""
    targets, probs = rows["target"].to_numpy(), probs_of(rows)
    folds, thresholds = folds_of(len(rows)), np.full((len(risks), len(rows)), np.inf)
    scaled = {name: np.empty_like(probs) for name in ("after", "vector")}
    for fold in np.unique(folds):
        inside = folds == fold
        found = _fit(rows[~inside], risks=risks)
        thresholds[:, inside] = np.array([_or_never(row["threshold"]) for row in found["abstention"]])[:, None]
        for name, each in _scaled(probs[inside], found).items():
            scaled[name][inside] = each
    return _judged(targets, probs, scaled=scaled, thresholds=list(thresholds))


def _scaled(probs: np.ndarray, fitted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return probabilities after temperature (`after`) and vector scaling (`vector`)."""
    vector = fitted["vector"]
    return {"after": scale(probs, fitted["temperature"]), "vector": scale_by_class(probs, vector["weights"], vector["biases"])}


def _judged(targets: np.ndarray, probs: np.ndarray, *, scaled: Mapping[str, np.ndarray], thresholds: list[np.ndarray]) -> dict[str, Any]:
    correct, confidences = probs.argmax(axis=1) == targets, scaled["after"].max(axis=1)
    abstention = [judge_threshold(confidences, correct, threshold=each) if np.isfinite(each).any() else None for each in thresholds]
    judged: dict[str, Any] = {"before": _calibration(targets, probs), "abstention": abstention}
    for name, each in scaled.items():
        losses = log_losses(targets, each) - log_losses(targets, probs)
        change = mean_difference(losses, np.arange(len(losses)).astype(str))
        judged[name] = _calibration(targets, each) | {f"nll_{key}": value for key, value in change.items()}
    return judged


def _or_never(threshold: float | None) -> float:
    return np.inf if threshold is None else threshold


def _calibration(targets: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    low, high = ece_bounds(targets, probs)
    error = calibration_error(reliability_bins(targets, probs))
    accuracy = float((probs.argmax(axis=1) == targets).mean())
    return {"accuracy": accuracy, "ece": error, "ece_ci_low": low, "ece_ci_high": high, "nll": float(log_losses(targets, probs).mean())}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(float(value), DIGITS) if isinstance(value, float) else value
