"""The ranking of attribution methods by the worlds, and which of them are believed.

Every piece of evidence is a difference, per face, between a method's map and what it must beat. Its mean has a 95 % interval, bootstrapped over
subjects with the same draws for all methods. A piece supports a method where the interval lies above 0. It contradicts it where the interval lies
below 0 with Bonferroni's correction for the number of pieces, since one contradiction is enough.

    region    kappa on the deciding region, above the best baseline map (random, centred blob, edges)
    null      kappa on it, above that of a model trained on labels that mean nothing, on the same faces
    mark      kappa on the planted mark, above the best baseline map
    moved     kappa on the mark, above that of the model for which the mark means nothing, on the same faces
    effects   rank correlation of attribution mass with the effect of interventions, above the best baseline map
    class     maps of two classes on one face differ as the face's halves do
    wired     kappa on the patch of the hand-wired network, above a half: the truth there is exact

A method is believed where all pieces support it and at most `MOST_ZERO` of its maps are zero, not believed where one contradicts it or the interval
of its zero maps lies above `MOST_ZERO`, else undecided.
Kappa (`localisation`) compares the highest pixels with the evidence. The score ranks: the mean of kappa on region and mark, rank correlation and
class, each 0 for a map without information and 1 at best.

Reference:
    Hesse, Schaub-Meyer & Roth (2023), FunnyBirds, arXiv 2308.06248: dimensions of one score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import cluster_proportion, student
from ferlab.evaluation.paired import unit_weights
from ferlab.explanation.attribution_mass import RESAMPLES
from ferlab.explanation.baselines import BASELINES

MOST_ZERO = 0.05  # fraction of a method's maps that may be zero everywhere
NEAR = 0.2  # of an interval's half: a bound nearer to 0 is on the line
FEWEST = 20  # faces below which a piece of evidence supports nothing
BELIEVED, NOT_BELIEVED, UNDECIDED = "believed", "not believed", "undecided"
WIRED = 0.5  # least kappa on the hand-wired network
CLASS_MEAN = "class mean of "
COMPONENTS = ("region", "mark", "effects", "class")  # of the score
EVIDENCE = ("region", "null", "mark", "moved", "effects", "class", "wired")
NEEDS = {"region": "one_region", "null": "one_region", "mark": "shortcut", "moved": "shortcut", "effects": "independent", "class": "chimera"}
USES = {"one_region": ("one_region", "one_region", "elsewhere"), "shortcut": ("shortcut", "shortcut", "mark"),
        "independent": ("shortcut", "independent", "mark")}  # fmt: skip

Estimate = dict[str, float]


class Bootstrap:
    """Means over faces with 95 % intervals, bootstrapped over subjects; one set of draws for every mean.

    Draws are spread by n / (n - 1) and by Student's factor for n subjects: the plain bootstrap of few subjects is too narrow.
    """

    def __init__(self, subjects: Any, *, seed: int = 0) -> None:
        self.subjects = pd.Index(sorted(set(subjects)))
        count = len(self.subjects)
        drawn = unit_weights(self.subjects.to_numpy(str), draws=RESAMPLES, seed=seed)
        self.weights = np.concatenate([np.ones((1, count)), *drawn]).astype(np.float64)

    def mean(self, values: pd.Series, subject: pd.Series) -> np.ndarray:
        """Return the mean over faces (1 + RESAMPLES,): of the faces themselves, then of each draw; NaN where no face is drawn."""
        known = values.notna().to_numpy()
        codes = self.subjects.get_indexer(subject.to_numpy()[known])
        sums = np.bincount(codes, weights=values.to_numpy(np.float64)[known], minlength=len(self.subjects))
        counts = np.bincount(codes, minlength=len(self.subjects)).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.asarray((self.weights @ sums) / (self.weights @ counts))
        n = int((counts > 0).sum())
        wider = np.sqrt(n / (n - 1)) * student(n - 1) / student() if n > 1 else np.nan
        return np.concatenate([draws[:1], draws[0] + wider * (draws[1:] - draws[0])])


def estimate(draws: np.ndarray, key: str = "value") -> Estimate:
    """Return the estimate and the bounds of a mean's draws, as `<key>`, `<key>_ci_low` and `<key>_ci_high`."""
    known = draws[1:][~np.isnan(draws[1:])]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) > 1 else (np.nan, np.nan)
    return {key: float(draws[0]), f"{key}_ci_low": float(low), f"{key}_ci_high": float(high)}


def used_parts(interventions: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Measure which parts each model uses: the effect of changing a part, beside that of a change that must not matter.

    Args:
        interventions: Of `WorldScores`.
        seed: Of the bootstrap.

    Returns:
        One row per `test`, `model` and `part`: `n` faces; `flip`, the fraction of changes that change the prediction, and `effect`, the mean drop of
        the logit, with intervals over subjects; `excess`, the effect less that of other sensor noise on the same face; and `used`, whether its
        interval lies above 0 and at least one change in twenty changes the prediction.
    """
    whole = interventions[~interventions["kind"].str.startswith("unit")]
    boot = Bootstrap(whole["subject"], seed=seed)
    rows = []
    for (test, model), own in whole.groupby(["test", "model"], sort=False):
        faces = own.groupby(["subject", "face_id", "part"], sort=False)[["effect", "flip"]].mean().reset_index()
        wide = faces.pivot(index=["subject", "face_id"], columns="part", values="effect").reset_index()
        for part, of in faces.groupby("part", sort=False):
            row: dict[str, Any] = {"test": test, "model": model, "part": part, "n": len(of)}
            low, high = cluster_proportion(of["flip"].to_numpy(float), of["subject"].to_numpy())
            row |= {"flip": float(of["flip"].mean()), "flip_ci_low": low, "flip_ci_high": high}
            row |= estimate(boot.mean(of["effect"].astype(float), of["subject"]), "effect")
            row |= estimate(boot.mean(wide[part] - wide["nothing"], wide["subject"]), "excess")
            rows.append(row | {"used": bool(row["excess_ci_low"] > 0 and row["flip"] >= MOST_ZERO)})
    return pd.DataFrame(rows)


def premises(used: pd.DataFrame) -> dict[str, bool]:
    """Return whether each model uses what its evidence presupposes; scores of a model that does not are void.

    `one_region` and `shortcut` must use the deciding part, with a larger effect than any other part; `independent` must use some part of the face,
    with a larger effect than the mark; `chimera` rests on the same model as `independent`.
    """
    decides = {name: _leads(used[used["model"] == name], part) for name, part in (("one_region", _region(used)), ("shortcut", "mark"))}
    face = used[(used["model"] == "independent") & ~used["part"].isin(["mark", "nothing"])]
    mark = used[(used["model"] == "independent") & (used["part"] == "mark")]
    leading = face.sort_values("effect").tail(1)["part"].tolist()
    decides["independent"] = bool(leading) and _leads(pd.concat([face[face["part"] == leading[0]], mark]), leading[0])
    return decides | {"chimera": decides["independent"]}


def _leads(used: pd.DataFrame, part: str) -> bool:
    """Return whether a part is used and the interval of its effect lies above those of all others."""
    own, others = used[used["part"] == part], used[used["part"] != part]
    return bool(len(own)) and bool(own["used"].all()) and bool((own["effect_ci_low"].min() > others["effect_ci_high"]).all())


def _region(used: pd.DataFrame) -> str:
    parts = used.loc[used["test"] == "one_region", "part"]
    return next((part for part in parts if part not in ("elsewhere", "nothing")), "")


def rank_methods(scores: pd.DataFrame, *, holds: Mapping[str, bool], seed: int = 0) -> list[dict[str, Any]]:
    """Rank the attribution methods, best first.

    Args:
        scores: Of `WorldScores`.
        holds: Of `premises`.
        seed: Of the bootstrap.

    Returns:
        Per method `method`, `rank` (from 1), `score` and `zero` (fraction of maps that are zero) with intervals, `verdict`, `against` and `missing`
        (the evidence that contradicts it, and that which neither supports nor contradicts it), and `evidence`: by name the `value` of the method,
        `ahead` of what it must beat, both with intervals, `beats` (what that is) and `n`.
    """
    boot = Bootstrap(scores["subject"], seed=seed)
    methods = [name for name in dict.fromkeys(scores["method"]) if name not in BASELINES and not name.startswith(CLASS_MEAN)]
    rows = []
    for method in methods:
        evidence = {name: pair for name in EVIDENCE if holds.get(NEEDS.get(name, ""), True) for pair in [_evidence(scores, method, name)] if pair}
        found = {name: _told(boot, *pair) for name, pair in evidence.items()}
        components = [boot.mean(*_own(evidence[name])) for name in COMPONENTS if name in evidence]
        score = np.nanmean(components, axis=0) if components else np.full(1 + RESAMPLES, np.nan)
        zero = _zero_maps(scores, method)
        against = [name for name, of in found.items() if of["ahead_upper"] < 0]
        missing = [name for name in EVIDENCE if name not in found or not (found[name]["ahead_ci_low"] > 0 and found[name]["n"] >= FEWEST)]
        missing = [name for name in missing if name not in against]
        verdict = NOT_BELIEVED if against or zero["zero_ci_low"] > MOST_ZERO else UNDECIDED if missing or zero["zero"] > MOST_ZERO else BELIEVED
        rows.append({"method": method, **estimate(score, "score"), **zero, "verdict": verdict, "against": against, "missing": missing,
                     "evidence": found})  # fmt: skip
    rows.sort(key=lambda row: -np.nan_to_num(row["score"], nan=-9.0))
    return [{"rank": place, **row} for place, row in enumerate(rows, start=1)]


def _zero_maps(scores: pd.DataFrame, method: str) -> Estimate:
    own = scores[(scores["method"] == method) & (scores["measure"] == "zero") & (scores["model"] != "null")]
    low, high = cluster_proportion(own["value"].to_numpy(), own["subject"].to_numpy())
    return {"zero": float(own["value"].mean()), "zero_ci_low": low, "zero_ci_high": high}


def on_the_line(row: Mapping[str, Any]) -> list[str]:
    """Return the pieces of evidence, of a row of `rank_methods`, whose bound lies so near 0 that a few other faces can turn the verdict.

    Near: within `NEAR` of the distance from the estimate to the bound that decides, the lower one of what supports or leaves open a method, the upper
    one of what contradicts it. Supporting pieces can turn "believed" alone, and an open piece "undecided" where no other is open.
    """
    names = row["evidence"] if row["verdict"] == BELIEVED else row["against"] if row["against"] else row["missing"]
    if len(names) > 1 and row["verdict"] != BELIEVED:
        return []
    near = []
    for name in names:
        of = row["evidence"].get(name, {})
        bound = of.get("ahead_upper" if name in row["against"] else "ahead_ci_low", np.nan)
        if abs(bound) < NEAR * abs(of.get("ahead", np.nan) - bound):
            near.append(name)
    return near


def baseline_scores(scores: pd.DataFrame, *, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Return the values of the baseline maps by component of the score, with intervals."""
    boot = Bootstrap(scores["subject"], seed=seed)
    pairs = {name: {component: _values(scores, name, component) for component in COMPONENTS} for name in BASELINES}
    return {
        name: {component: estimate(boot.mean(of["value"], of["subject"])) for component, of in parts.items() if len(of)}
        for name, parts in pairs.items()
    }


SOURCES: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "region": ("one_region", ("one_region",), "kappa"),
    "null": ("one_region", ("one_region",), "kappa"),
    "mark": ("shortcut", ("shortcut",), "kappa"),
    "moved": ("shortcut", ("shortcut",), "kappa"),
    "effects": ("shortcut", ("shortcut", "independent"), "correctness"),
    "class": ("chimera", ("independent",), "contrastivity"),
    "wired": ("wired", ("wired",), "kappa"),
}
"""Per piece of evidence the test, the models and the measure that it is read from."""
OTHER_MODEL = {"null": "null", "moved": "independent"}


def _values(scores: pd.DataFrame, method: str, name: str, *, model: str | None = None) -> pd.DataFrame:
    """Return a row per face of one method, with its `value`, in one order for all methods."""
    test, models, measure = SOURCES[name]
    models = (model,) if model else models
    own = scores[(scores["method"] == method) & (scores["test"] == test) & scores["model"].isin(models) & (scores["measure"] == measure)]
    return own.groupby(["seed", "subject", "face_id", "place"], sort=True)["value"].mean().reset_index()  # over models, where several explain a face


def _evidence(scores: pd.DataFrame, method: str, name: str) -> tuple[pd.DataFrame, pd.DataFrame | None, str] | None:
    own = _values(scores, method, name)
    if own["value"].notna().sum() == 0:
        return None
    if name in OTHER_MODEL:
        return own, _values(scores, method, name, model=OTHER_MODEL[name]), OTHER_MODEL[name]
    if name == "class":  # a map that does not depend on the class scores 0 by construction
        return own, None, "chance"
    if name == "wired":
        return own, own.assign(value=WIRED), "half"
    rivals = {rival: _values(scores, rival, name) for rival in BASELINES}
    best = max(rivals, key=lambda rival: float(rivals[rival]["value"].mean()))
    return own, rivals[best], best


def _own(pair: tuple[pd.DataFrame, pd.DataFrame | None, str]) -> tuple[pd.Series, pd.Series]:
    return pair[0]["value"], pair[0]["subject"]


def _told(boot: Bootstrap, own: pd.DataFrame, other: pd.DataFrame | None, beats: str) -> dict[str, Any]:
    difference = own["value"] - (other["value"] if other is not None else 0.0)
    told: dict[str, Any] = {"beats": beats, "n": int(difference.notna().sum())}
    for key, values in (("value", own["value"]), ("ahead", difference)):
        told |= estimate(boot.mean(values, own["subject"]), key)
    told["ahead_upper"] = float(np.nanquantile(boot.mean(difference, own["subject"])[1:], 1 - 0.025 / len(EVIDENCE))) if told["n"] else np.nan
    return told


def own_face(scores: pd.DataFrame, *, seed: int = 0) -> dict[str, Estimate]:
    """Return per method how far its maps are ahead of the mean map of the other faces of their class, in rank correlation with the effects.

    A method that is not ahead shows what its class rests on in general, not what this face's prediction rests on.
    """
    boot = Bootstrap(scores["subject"], seed=seed)
    found = {}
    for mean in dict.fromkeys(scores["method"]):
        if mean.startswith(CLASS_MEAN):
            method = mean.removeprefix(CLASS_MEAN)
            own, other = _values(scores, method, "effects"), _values(scores, mean, "effects")
            found[method] = estimate(boot.mean(own["value"] - other["value"], own["subject"]), "ahead")
    return found


def unchanged_by_labels(scores: pd.DataFrame, *, seed: int = 0) -> dict[str, Estimate]:
    """Return per method the rank correlation of a face's maps by the model of one_region and by the one trained on meaningless labels.

    Adebayo et al. (2018): a map that stays the same does not show what the model learned. A map of the face alone has 1.
    """
    own = scores[scores["measure"] == "similarity"]
    boot = Bootstrap(own["subject"], seed=seed)
    ranked = [name for name in dict.fromkeys(own["method"]) if name not in BASELINES and not name.startswith(CLASS_MEAN)]
    return {name: estimate(boot.mean(of["value"], of["subject"])) for name in ranked for of in [own[own["method"] == name]]}


def mean_scores(scores: pd.DataFrame, measures: tuple[str, ...], *, test: str, model: str) -> pd.DataFrame:
    """Return the mean of each measure in one test, methods and baselines as rows."""
    own = scores[(scores["test"] == test) & (scores["model"] == model) & ~scores["method"].str.startswith(CLASS_MEAN)]
    return own.pivot_table(index="method", columns="measure", values="value", sort=False).reindex(columns=list(measures))


def ranking_of(metrics: Mapping[str, Any], methods: Any) -> list[dict[str, Any]]:
    """Return the rows of the ranking that concern some methods, best first; those that were not ranked come last, with verdict "".

    Args:
        metrics: The metrics of the stage worlds.
        methods: Names of methods.
    """
    ranked = [row for row in metrics["ranking"] if row["method"] in set(methods)]
    known = {row["method"] for row in ranked}
    return ranked + [{"method": name, "verdict": "", "against": [], "missing": []} for name in methods if name not in known]


def in_order(maps: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return maps by method in the order of the ranking; arguments as for `ranking_of`."""
    return {row["method"]: maps[row["method"]] for row in ranking_of(metrics, maps)}
