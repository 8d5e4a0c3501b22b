"""What models trained on whole faces and on covered faces lose on each other's faces, from the predictions of `ferlab.error_analysis.other_sets`.

Both models of a pair are scored on the same photographs, whole and covered, so the two losses are paired by face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.error_analysis.other_sets import OWN
from ferlab.evaluation.clusters import mean_bounds
from ferlab.evaluation.comparison import difference_by_cluster
from ferlab.evaluation.predictions import subjects_of


def compare_losses(transfers: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], sets: Mapping[str, str]) -> dict[str, Any]:
    """Compare the losses of accuracy within pairs of runs, averaged over pairs face by face.

    Args:
        transfers: Per run the table of `score_other_sets`.
        pairs: (run on whole faces, run on covered faces), one per seed.
        sets: Run -> its dataset.

    Returns:
        `seeds` (pairs) and `n` (faces in common); `whole` and `covered`: the accuracy that the runs lose on the other's faces, and `difference`
        (whole less covered), each with `_ci_low` and `_ci_high` over faces, or subjects where they are named; `p`; and `seeds_ci_low` and
        `seeds_ci_high` of the difference: Student's over seeds, NaN for one. Empty where fewer than two faces are in common.
    """
    sides = {"whole": [(first, sets[second]) for first, second in pairs], "covered": [(second, sets[first]) for first, second in pairs]}
    columns = {(side, seed): _loss(transfers[run], other) for side, of in sides.items() for seed, (run, other) in enumerate(of)}
    losses = pd.concat(columns, axis=1).dropna()
    if len(losses) < 2:
        return {}
    subjects = subjects_of(transfers[pairs[0][0]].drop_duplicates("face_id").set_index("face_id").loc[losses.index])
    clusters = np.arange(len(losses)) if subjects is None else subjects
    by_seed = losses["whole"].to_numpy() - losses["covered"].to_numpy()
    found: dict[str, Any] = {"seeds": len(pairs), "n": len(losses), "difference": float(by_seed.mean())}
    for side in sides:
        values = losses[side].mean(axis=1).to_numpy()
        low, high = mean_bounds(values, clusters)
        found |= {side: float(values.mean()), f"{side}_ci_low": low, f"{side}_ci_high": high}
    tested = difference_by_cluster(by_seed.mean(axis=1) / 2, clusters)  # a difference of two losses lies between -2 and 2
    found |= {"difference_ci_low": 2 * tested["ci_low"], "difference_ci_high": 2 * tested["ci_high"], "p": tested["p"]}
    low, high = mean_bounds(by_seed.mean(axis=0), np.arange(len(pairs)))
    return {**found, "seeds_ci_low": low, "seeds_ci_high": high}


def _loss(transfer: pd.DataFrame, other: str) -> pd.Series:
    """Return for each face whether it is classified correctly on the run's own set, less whether on the other, by face_id."""
    rows = transfer[transfer["compared"] == other]
    hits = (rows["pred"] == rows["target"]).astype(np.float64)
    own, compared = ((hits[rows["set"] == name]).set_axis(rows.loc[rows["set"] == name, "face_id"]) for name in (OWN, other))
    return own.sub(compared).dropna()
