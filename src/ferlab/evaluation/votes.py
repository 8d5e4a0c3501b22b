"""A model beside the annotators: probabilities against the distribution of votes, what one annotator reaches, and accuracy by their agreement.

Ceilings count all votes of a face, those that no label fits (FER+: unknown, not a face) too. Vote shares are over the model's expressions alone, of
faces with at least half of their votes on these. Leave-one-out agreement is how often a vote is the most frequent one among the other votes for its
face, ties in part: what a model that predicts like one more annotator reaches against the others.

References:
    Barsoum et al. (2016), arXiv 1608.01041 (FER+: ten annotators a face; faces with several labels).
    Peterson et al. (2019), Human uncertainty makes classification more robust, arXiv 1908.07086 (cross-entropy to the distribution of votes).
    Bröcker (2009), Reliability, sufficiency, and the decomposition of proper scores (distributions as targets of the Brier score).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import VOTES
from ferlab.data.readers.ferplus import BALLOT, soft_targets
from ferlab.evaluation.calibration import ECE_BINS, SMALLEST_PROB, confidence_bins
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.held_out import HeldOut
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.paired import mean_difference
from ferlab.evaluation.predictions import expressions_of

FEWEST = 0.5  # share of a face's votes on the model's expressions
LEVELS = {"all": 1.0, "80 % or more": 0.8, "60 % or more": 0.6, "fewer": 0.0}  # least share of the most frequent vote


def vote_columns(faces: pd.DataFrame) -> list[str]:
    """Return the columns of a face table that count votes."""
    return [str(column) for column in faces.columns if str(column).startswith(VOTES)]


def leave_one_out(counts: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Return per face how often one vote is the most frequent one of the others, (N,) float64; 1 / t for a tie of t. NaN below two votes.

    Args:
        counts: (N, V) int, votes for each of V choices.
        labels: (N,) int, what is compared with the others in place of the vote: a label, or a prediction.

    >>> leave_one_out(np.array([[10, 0], [9, 1], [1, 1]])).tolist()
    [1.0, 0.9, 0.0]
    """
    total, agreement, rows = counts.sum(axis=1), np.zeros(len(counts)), np.arange(len(counts))
    for k in range(counts.shape[1]):
        others = counts - np.eye(counts.shape[1], dtype=counts.dtype)[k]
        own = others[rows, k if labels is None else labels]
        top = others.max(axis=1)
        agreement += counts[:, k] * (own == top) / (others == top[:, None]).sum(axis=1)
    return np.divide(agreement, total, out=np.full(len(counts), np.nan), where=total > 1)


def vote_shares(faces: pd.DataFrame, expressions: tuple[str, ...]) -> np.ndarray:
    """Return each face's distribution of votes over the model's expressions, (N, K) float64; NaN rows where they have less than half of them."""
    counts = faces[vote_columns(faces)].to_numpy(np.float64)
    own = faces[[VOTES + name for name in expressions]].to_numpy(np.float64)
    used, total = own.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True)
    return np.divide(own, used, out=np.full(own.shape, np.nan), where=(total > 0) & (used >= FEWEST * total))


def score_votes(held: HeldOut, faces: pd.DataFrame, scaled: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """Return a model's predictions beside the annotators' votes, on the faces that judge; None where the dataset has no votes of its expressions.

    Args:
        held: From `hold_out`.
        faces: The face table of the prepared dataset.
        scaled: The probabilities of the judging faces by scaling, from `scale_held_out`.

    Returns:
        `n` (with votes), `by_subject`; with bounds `accuracy`, and how often a vote (`annotator`), the `label` and the prediction (`model`) are
        the most frequent of the other votes; `levels`, the same for each agreement of the votes; `labels`, of faces with two labels (None where
        the votes are not FER+'s); and `soft`, as `soft_scores`.
    """
    rows, expressions = held.judging, expressions_of(held.judging)
    columns = vote_columns(faces)
    if not len(rows) or not {VOTES + name for name in expressions} <= set(columns):
        return None
    known = faces.set_index("face_id").loc[rows["face_id"]]
    counts = known[columns].to_numpy(np.int64)
    voted = counts.sum(axis=1) > 1
    if not voted.any():
        return None
    place = np.array([columns.index(VOTES + name) for name in expressions])
    hits = {
        "accuracy": (rows["pred"] == rows["target"]).to_numpy()[voted],
        "annotator": leave_one_out(counts[voted]),
        "label": leave_one_out(counts[voted], place[rows["target"].to_numpy()[voted]]),
        "model": leave_one_out(counts[voted], place[rows["pred"].to_numpy()[voted]]),
    }
    return {
        "n": int(voted.sum()),
        "by_subject": held.by_subject,
        **_rates(hits, units=held.units[voted]),
        "levels": _levels(counts[voted], hits, units=held.units[voted]),
        "labels": _two_labels(known, scaled["none"], units=held.units, expressions=expressions),
        "soft": soft_scores(vote_shares(known, expressions), scaled, held.units),
    }


def soft_scores(shares: np.ndarray, scaled: Mapping[str, np.ndarray], units: np.ndarray) -> dict[str, Any] | None:
    """Return how far probabilities are from the distribution of votes; None where no face has votes.

    Args:
        shares: (N, K) from `vote_shares`.
        scaled: Probabilities (N, K) by scaling, `none` among them.
        units: (N,) what intervals are over.

    Returns:
        `n`, `entropy` of the votes in nats, `mean_kl` (KL divergence from the mean votes over faces, which a model of class frequencies reaches), and
        `scalings: {name: {kl, brier, ece}}`, with the `difference` of the KL divergence from that of `none`, its bounds and p. `ece` compares mean
        confidence and mean share of votes for the prediction in 15 bins; `bins` are those of `none`.
    """
    kept = ~np.isnan(shares).any(axis=1)
    shares, units = shares[kept], units[kept]
    if not len(shares):
        return None
    divergences = {name: _divergence(shares, probs[kept]) for name, probs in scaled.items()}
    found: dict[str, Any] = {}
    for name, probs in scaled.items():
        bins = share_bins(shares, probs[kept])
        squared = ((probs[kept] - shares) ** 2).sum(axis=1)
        gap = float((bins["faces"] * (bins["share"] - bins["confidence"]).abs()).sum() / len(shares))
        found[name] = {"kl": float(divergences[name].mean()), "brier": float(squared.mean()), "ece": gap}
        if name != "none":
            found[name] |= mean_difference(divergences[name] - divergences["none"], units)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    mean = _divergence(shares, np.broadcast_to(shares.mean(axis=0), shares.shape))
    bins = share_bins(shares, scaled["none"][kept]).reset_index(names="bin").to_dict("records")
    return {"n": len(shares), "entropy": float(entropy.mean()), "mean_kl": float(mean.mean()), "scalings": found, "bins": bins}


def share_bins(shares: np.ndarray, probs: np.ndarray) -> pd.DataFrame:
    """Return `faces`, mean `confidence` and mean `share` of votes for the prediction in each of the 15 equal bins that hold faces."""
    preds, confidences = probs.argmax(axis=1), probs.max(axis=1).astype(np.float64)
    table = pd.DataFrame({"confidence": confidences, "share": shares[np.arange(len(shares)), preds]})
    grouped = table.groupby(pd.Categorical(confidence_bins(confidences), categories=range(ECE_BINS)), observed=True)
    found = grouped.mean()
    found.insert(0, "faces", grouped.size())
    return found.set_axis(found.index.astype(int))


def _divergence(shares: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return KL(votes || probabilities) of each face in nats, (N,)."""
    logs = np.log(np.where(shares > 0, shares, 1)) - np.log(np.maximum(probs.astype(np.float64), SMALLEST_PROB))
    return np.asarray((shares * logs).sum(axis=1))


def _levels(counts: np.ndarray, hits: Mapping[str, np.ndarray], *, units: np.ndarray) -> list[dict[str, Any]]:
    """Return a row per agreement of the votes: `level`, `n`, and the rates of `hits` with bounds."""
    tops = counts.max(axis=1) / counts.sum(axis=1)
    level = (tops[:, None] >= np.array(list(LEVELS.values()))).argmax(axis=1)
    members = {name: level == i for i, name in enumerate(LEVELS)}
    return [
        {"level": name, "n": int(of.sum()), **_rates({who: each[of] for who, each in hits.items()}, units=units[of])} for name, of in members.items()
    ]


def _two_labels(known: pd.DataFrame, probs: np.ndarray, *, units: np.ndarray, expressions: tuple[str, ...]) -> dict[str, Any] | None:
    """Return how the faces with two labels by FER+'s rule (three tenths of the votes each) are predicted.

    Returns:
        `n`; `first`: the prediction is one of the two; `both`: the two have the largest probabilities. None where the votes are not FER+'s.
    """
    if not {VOTES + name for name in BALLOT} <= set(known):
        return None
    chosen = soft_targets(known, mode="multi_target", expressions=expressions).to_numpy() > 0
    two = chosen.sum(axis=1) == 2
    inside = np.take_along_axis(chosen, np.argsort(-probs, axis=1, kind="stable")[:, :2], axis=1)[two]
    return {"n": int(two.sum()), **_rates({"first": inside[:, 0], "both": inside.all(axis=1)}, units=units[two])}


def _rates(hits: Mapping[str, np.ndarray], *, units: np.ndarray) -> dict[str, float | None]:
    """Return means of (N,) hits with 95 % bounds over units; None without faces, NaN bounds for fewer than two units."""
    rates: dict[str, float | None] = {}
    for key, each in hits.items():
        if not len(each):
            rates |= dict.fromkeys((key, f"{key}_ci_low", f"{key}_ci_high"))
            continue
        rates |= {key: float(np.mean(each)), **named_bounds({key: cluster_proportion(each, units)})}
    return rates
