"""Scores of attribution maps against interventions on parts of a face: correctness, completeness and contrastivity.

The importance that a map gives to a part is its attribution mass on the part's pixels.

References:
    Hesse, Schaub-Meyer & Roth (2023), FunnyBirds, arXiv 2308.06248: single deletion (correctness); preservation and deletion checks and
    distractibility (completeness); target sensitivity (contrastivity).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

THRESHOLDS = (0.1, 0.2, 0.3, 0.4)  # attribution mass above which a part counts as important; scores are averaged over them


def part_mass(attributions: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the attribution mass of each part, of all mass on parts; 0 for every part where the map has none there."""
    positive = np.clip(np.asarray(attributions, dtype=np.float64), 0, None)
    mass = {part: float(positive[mask].sum()) for part, mask in masks.items()}
    total = sum(mass.values())
    return {part: value / total if total > 0 else 0.0 for part, value in mass.items()}


def correctness(mass: Mapping[str, float], effects: Mapping[str, float]) -> float:
    """Return Spearman's rank correlation between the mass of the parts and the effects of intervening on them, -1 to 1.

    0 where all parts have the same mass: such a map orders nothing. NaN where all effects are equal.

    >>> correctness({"brows": 0.1, "eyes": 0.2, "mouth": 0.7}, {"brows": 0.0, "eyes": 1.0, "mouth": 2.0})
    1.0
    """
    ranks = rankdata([mass[part] for part in effects]), rankdata(list(effects.values()))
    spreads = [float(np.std(each)) for each in ranks]
    if spreads[1] == 0:
        return float("nan")
    if spreads[0] == 0:
        return 0.0
    centred = [each - each.mean() for each in ranks]
    return round(float((centred[0] * centred[1]).mean() / (spreads[0] * spreads[1])), 12)


def completeness(mass: Mapping[str, float], *, predicted: Mapping[frozenset[str], int], irrelevant: frozenset[str]) -> float:
    """Return the completeness of a map, 0 to 1: the mean of preservation and deletion checks, averaged with distractibility.

    Args:
        mass: Of `part_mass`.
        predicted: Predicted class of the face with each set of its active parts kept, see `interventions.subsets_of`.
        irrelevant: Parts whose intervention leaves the prediction as it is.

    Returns:
        The mean over `THRESHOLDS`. Preservation: the prediction stays where only important parts are kept; deletion: it changes where they are
        removed; distractibility: the fraction of irrelevant parts that are not important, not counted where every part is relevant.
    """
    active = max(predicted, key=len)
    whole = predicted[active]
    scores = []
    for threshold in THRESHOLDS:
        important = frozenset(part for part, value in mass.items() if value >= threshold)
        checks = [predicted[important & active] == whole, predicted[active - important] != whole]
        spared = [part not in important for part in irrelevant]
        scores.append(np.mean([np.mean(checks), np.mean(spared)]) if spared else np.mean(checks))
    return float(np.mean(scores))


def contrastivity(for_upper: Mapping[str, float], for_lower: Mapping[str, float]) -> float:
    """Return whether maps of one face move with the class they explain: 1 yes, -1 the wrong way, 0 not at all.

    Args:
        for_upper: Mass of the parts "upper" and "lower" in the map of the class that the upper half shows.
        for_lower: Likewise in the map of the class that the lower half shows.

    >>> contrastivity({"upper": 0.9, "lower": 0.1}, {"upper": 0.4, "lower": 0.6})
    1.0
    """
    return float(np.sign(round(for_upper["upper"] - for_lower["upper"], 9)))
