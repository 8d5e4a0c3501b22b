"""How good a ranking of doubtful labels is: precision at k beside that of a random ranking, and how far two rankings agree.

References:
    Northcutt, Jiang & Chuang (2021), arXiv 1911.00068. Pruthi et al. (2020), arXiv 2002.08484: fraction of mislabelled examples in the first k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ferlab.evaluation.proportions import wilson

CONFIDENT_LEARNING, TRACIN, BOTH = "confident learning", "TracIn", "the mean of both ranks"
DEPTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
DEEPEST = 0.2  # of the faces: precision is reported down to there


def doubt_scores(quality: np.ndarray, influence: np.ndarray) -> dict[str, np.ndarray]:
    """Return the doubt in each label by name of the ranking, (N,), highest first: by label quality, and by self-influence where it is known.

    Args:
        quality: cleanlab's label quality (N,), lowest for a doubtful label.
        influence: TracIn's self-influence (N,), highest for one; NaN where the model has none.
    """
    scores = {CONFIDENT_LEARNING: -np.asarray(quality, dtype=np.float64)}
    if len(influence) and np.isfinite(influence).all():
        scores[TRACIN] = np.asarray(influence, dtype=np.float64)
        scores[BOTH] = sum(stats.rankdata(values) for values in scores.values())
    return scores


def depths(n: int) -> list[int]:
    """Return the numbers k of first faces at which precision among `n` is reported, at least one."""
    return [k for k in DEPTHS if k <= DEEPEST * n] or [max(1, round(DEEPEST * n))]


def precision_at(scores: Mapping[str, np.ndarray], wrong: np.ndarray, *, ks: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the precision of the first k labels of each ranking.

    Args:
        scores: From `doubt_scores`; ties keep the order of the faces.
        wrong: Which labels are wrong, bool (N,).
        ks: Numbers of first faces; None for those of `depths`.

    Returns:
        One row per ranking and k: `ranking, k, wrong` (of the k), `precision` with Wilson's 95 % interval (`precision_ci_low`,
        `precision_ci_high`), `base_rate` (the precision of a random ranking) and `p` (one-sided hypergeometric, that a random one has as many).
    """
    n, total, rows = len(wrong), int(wrong.sum()), []
    for name, values in scores.items():
        order = np.argsort(-values, kind="stable")
        for k in depths(n) if ks is None else ks:
            hits = int(wrong[order[:k]].sum())
            chance = float(stats.hypergeom.sf(hits - 1, n, total, k))
            rows.append((name, k, hits, hits / k, *wilson(hits, k), total / n, chance))
    return pd.DataFrame(rows, columns=["ranking", "k", "wrong", "precision", "precision_ci_low", "precision_ci_high", "base_rate", "p"])


def agreement(scores: Mapping[str, np.ndarray], *, k: int) -> dict[str, float]:
    """Return how far TracIn agrees with confident learning: Spearman's `rank_correlation`, and of the first `k` faces of each how many they share
    (`overlap`) beside what two random rankings would share (`overlap_expected`); nothing without TracIn.
    """
    if TRACIN not in scores or not k:
        return {}
    first = [set(np.argsort(-scores[name], kind="stable")[:k].tolist()) for name in (CONFIDENT_LEARNING, TRACIN)]
    correlation = stats.spearmanr(scores[CONFIDENT_LEARNING], scores[TRACIN]).statistic
    return {"k": k, "rank_correlation": float(correlation), "overlap": len(first[0] & first[1]), "overlap_expected": k * k / len(scores[TRACIN])}
