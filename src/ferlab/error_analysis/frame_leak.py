"""Effect of a random split of frames: one model, trained under both splits, tested on the same frames of control sequences.

cs231a shuffles the frames of sequences into train and test. Here half of the labelled frames of half of the subjects are tested. `random_frames`
trains on frames drawn at random from all others, so that frames of the tested sequences train; `by_subject` trains on as many frames of the other
subjects. The model is a linear SVM on HOG with scikit-learn's defaults: a convex problem without epochs or learning rate, so nothing is tuned.

Each draw has its own subjects, sequences and division. Intervals are over draws, whose spread holds that of subjects and of training sets.

References:
    Split and labels as in github.com/barisakis/cs231a_eai: the first two frames of a sequence are neutral, its last third shows the expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import LinearSVC

from ferlab.control import read, spec_of
from ferlab.control.drawing.picture import draw_image
from ferlab.error_analysis.cross_validated import gradient_histograms
from ferlab.evaluation.clusters import cluster_proportion, count_clusters
from ferlab.evaluation.comparison import compare_correctness
from ferlab.expressions import EXPRESSIONS
from ferlab.opencv import one_thread
from ferlab.params import StageParams
from ferlab.paths import read_json, write_json
from ferlab.results import obtain

SPLITS = ("random_frames", "by_subject")
NEUTRAL = EXPRESSIONS.index("neutral")
NEUTRAL_FRAMES = 2  # at the beginning of a sequence


@dataclass(frozen=True)
class Measured:
    """What the stage computes.

    Attributes:
        leak: One row per tested frame: `draw, face_id, subject, sequence, frame, target, random_frames, by_subject` (the predictions).
        facts: `train` frames of each model; `siblings`: the fraction of tested frames with a frame of their sequence in train, per split, over all
            draws; `sizes` of the models that claims name.
        record: What made it, see `ferlab.results.record_of`.
    """

    leak: pd.DataFrame
    facts: dict[str, Any]
    record: dict[str, str]


def measured(p: StageParams) -> Measured:
    """Take the demonstration and the sizes of the claimed models where their record holds; compute them otherwise."""
    found = obtain("claims", p, _measure, settings=p.claims.model_dump())
    facts = read_json(found.places["facts"], made_by="stage claims")
    return Measured(leak=pd.read_parquet(found.places["leak"]), facts=facts, record=found.record)


def draw_sequences(*, subjects: int, sequences: int, frames: int, size: int, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw the labelled frames of control sequences: the first two as neutral, the last third with the expression.

    Returns:
        Images uint8 (N, S, S), and their face table.
    """
    _, faces = read(faces=sequences * frames, subjects=subjects, size=size, frames=frames, seed=seed, pictures=False)
    shown = faces["frame"] >= frames - max(1, frames // 3)
    faces["target"] = faces["target"].where(shown, NEUTRAL)
    faces = faces[shown | (faces["frame"] < NEUTRAL_FRAMES)].reset_index(drop=True)
    with one_thread():
        images = [draw_image(spec_of(face), size) for _, face in faces.iterrows()]
    return np.stack(images), faces


def divide(faces: pd.DataFrame, *, seed: int) -> dict[str, np.ndarray]:
    """Return the rows `tested`, and those that train under each of SPLITS, as many."""
    rng = np.random.default_rng(seed)
    subjects = rng.permutation(np.unique(faces["subject"]))
    own = faces["subject"].isin(subjects[: len(subjects) // 2]).to_numpy()
    sequences = np.unique(faces.loc[own, "sequence"])
    tested = np.concatenate([_half(np.flatnonzero(faces["sequence"] == name), rng) for name in sequences])
    others, left = np.flatnonzero(~own), np.setdiff1d(np.arange(len(faces)), tested)
    return {"tested": np.sort(tested), "by_subject": others, "random_frames": np.sort(rng.permutation(left)[: len(others)])}


def siblings_in_train(faces: pd.DataFrame, rows: dict[str, np.ndarray], split: str) -> float:
    """Return the fraction of tested frames that have a frame of their sequence in train."""
    return float(faces["sequence"].iloc[rows["tested"]].isin(set(faces["sequence"].iloc[rows[split]])).mean())


def compare_splits(leak: pd.DataFrame) -> dict[str, Any]:
    """Return the accuracy under each split and the paired difference, random frames minus by subject, with 95 % intervals and a t test over draws.

    Returns:
        `n, draws, subjects`, `<split>` with its `_ci_low` and `_ci_high`, of the difference `difference, ci_low, ci_high, p`, and `by_draw`: the
        difference in each draw.
    """
    draws, hits = leak["draw"].to_numpy(), {split: (leak[split] == leak["target"]).to_numpy() for split in SPLITS}
    found: dict[str, Any] = {"n": len(leak), "draws": count_clusters(draws), "subjects": len(leak[["draw", "subject"]].drop_duplicates())}
    for split, correct in hits.items():
        low, high = cluster_proportion(correct, draws)
        found |= {split: float(correct.mean()), f"{split}_ci_low": low, f"{split}_ci_high": high}
    pair = compare_correctness(hits["random_frames"], hits["by_subject"], subjects=draws)
    found |= {"difference": pair["difference"], "ci_low": pair["ci_low"], "ci_high": pair["ci_high"], "p": pair["p_subjects"]}
    each = pd.Series(hits["random_frames"].astype(float) - hits["by_subject"]).groupby(draws).mean()
    return found | {"by_draw": [float(value) for value in each]}


def leak_row(leak: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    """Return the row of claims.json: does a random split of frames measure accuracy on new subjects?"""
    of = compare_splits(leak)
    verdict = "does not hold" if of["p"] < 0.05 and of["difference"] > 0 else "cannot be told"
    points = f"{100 * of['difference']:+.1f} points [{100 * of['ci_low']:.1f}, {100 * of['ci_high']:.1f}]"
    told = (
        f"Control sequences, {of['draws']} draws, in all {of['n']} test frames of {of['subjects']} subjects: {_percent(of, 'random_frames')} with "
        f"frames divided at random ({100 * facts['siblings']['random_frames']:.0f} % of the test frames have a frame of their sequence in train), "
        f"{_percent(of, 'by_subject')} by subject; {points} over draws, p {'< 0.001' if of['p'] < 0.001 else '= ' + format(of['p'], '.3f')}."
    )
    return {
        "paper": "cs231a",
        "claim": "The accuracies are less dependent on the actors (section 2.2)",
        "check": "a random split of frames gives the accuracy on new subjects, control sequences",
        "verdict": verdict,
        "evidence": told,
    }


def predict_under_both(images: np.ndarray, targets: np.ndarray, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train a linear SVM on HOG under each of SPLITS; return its predictions of the tested rows.

    Args:
        images: uint8 (N, S, S).
        targets: (N,).
        rows: From `divide`.
    """
    features = gradient_histograms(images)
    models = {split: LinearSVC(dual=False).fit(features[rows[split]], targets[rows[split]]) for split in SPLITS}
    return {split: model.predict(features[rows["tested"]]) for split, model in models.items()}


def _measure(leak: Path, facts: Path, *, settings: dict[str, Any]) -> None:
    from ferlab.evaluation.claims import measure_models  # Keep: it starts PyTorch, which a taken result does not need

    size = {key: settings[key] for key in ("subjects", "sequences", "frames", "size")}
    tables, siblings, train = [], [], 0
    for seed in range(settings["seed"], settings["seed"] + settings["draws"]):
        images, faces = draw_sequences(**size, seed=seed)
        rows = divide(faces, seed=seed)
        preds = predict_under_both(images, faces["target"].to_numpy(), rows)
        tested = faces.loc[rows["tested"], ["face_id", "subject", "sequence", "frame", "target"]]
        tables.append(tested.assign(draw=seed, **preds))
        siblings.append({split: siblings_in_train(faces, rows, split) for split in SPLITS})
        train = len(rows["by_subject"])
    leak.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables, ignore_index=True).to_parquet(leak, index=False)
    write_json(facts, {"train": train, "siblings": pd.DataFrame(siblings).mean().to_dict(), "sizes": measure_models()})


def _half(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(rows)[: len(rows) // 2]


def _percent(of: dict[str, Any], key: str) -> str:
    return f"{100 * of[key]:.1f} % [{100 * of[f'{key}_ci_low']:.1f}, {100 * of[f'{key}_ci_high']:.1f}]"
