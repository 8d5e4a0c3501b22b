"""Do error rates differ between the groups of a condition? Rates with intervals, gaps, and permutation tests that hold expressions constant.

Groups differ in their expressions, and expressions in their difficulty. So a group's errors are compared with those expected of its expressions
(indirect standardisation), and the statistic of a test is the sum over groups of (errors - expected)^2 over its variance; for two groups it orders
the data as the Cochran-Mantel-Haenszel statistic does. What is permuted:

| condition | permuted |
|---|---|
| no subjects named; person | errors, among the faces of one expression (exact) |
| varies within subjects (light, head turn) | differences from the expected rate, among the faces of one subject |
| constant within subjects (skin, gender) | whole subjects |

Simulated level of tests at 5 %, 300 faces of 15 subjects in groups that differ in their expressions alone: 5.4 % within subjects, 3.6 % over
subjects.

Gaps are of MetricFrame (fairlearn). A largest minus a smallest rate is above 0 without any difference; the gap under permutation stands beside it.

References:
    Mantel & Haenszel (1959), Statistical aspects of the analysis of data from retrospective studies of disease.
    Winkler et al. (2014), Permutation inference for the general linear model (exchangeability blocks, residuals).
    Weerts et al. (2023), Fairlearn: Assessing and improving fairness of AI systems. Holm (1979), A simple sequentially rejective test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from scipy.stats import norm

from ferlab.error_analysis.slices import PERSON
from ferlab.evaluation.clusters import cluster_proportion, count_clusters, effective_faces
from ferlab.evaluation.comparison import POWER
from ferlab.evaluation.confusion_posterior import confusion_bounds
from ferlab.evaluation.predictions import count_confusions, expressions_of
from ferlab.evaluation.proportions import LEVEL, holm, wilson
from ferlab.paths import InputError

PERMUTATIONS = 10_000
AT_ONCE = 2_000_000  # permuted values held in memory
DRAWS = 400  # of the confusion matrix, behind an interval of balanced accuracy
FEWEST, FEWEST_OF_ONE = 10, 5  # faces, below which a group takes no part in a gap; of one expression

Slices = Mapping[str, pd.Series]  # condition -> ordered categorical (N,), see `face_slices`


@dataclass(frozen=True)
class Faces:
    """The faces of one condition whose group is known: `group`, `expression` and `person` are ids (n,), `wrong` bool (n,)."""

    group: np.ndarray
    expression: np.ndarray
    person: np.ndarray | None
    wrong: np.ndarray
    names: tuple[str, ...]

    @property
    def expected(self) -> np.ndarray:
        """Error rate of each face's expression, (n,)."""
        counts = np.bincount(self.expression)
        return (np.bincount(self.expression, weights=self.wrong) / np.maximum(counts, 1))[self.expression]

    @property
    def constant(self) -> bool:
        """Whether every person has one group."""
        return self.person is not None and len(np.unique(np.stack([self.person, self.group]), axis=1).T) == len(np.unique(self.person))

    def of(self, chosen: np.ndarray) -> Faces:
        """Return some of the faces, groups that are left renumbered."""
        left, group = np.unique(self.group[chosen], return_inverse=True)
        person = None if self.person is None else self.person[chosen]
        return Faces(group, self.expression[chosen], person, self.wrong[chosen], tuple(self.names[code] for code in left))


def known_faces(condition: str, groups: pd.Series, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None) -> tuple[Faces, np.ndarray]:
    """Return the faces of a condition whose group is known, and which of (N,) they are. Persons themselves are compared face by face.

    Raises:
        InputError: If the condition has another number of faces.
    """
    if len(groups) != len(predictions):
        raise InputError(f"slices: expected {len(predictions)} faces in {condition!r}, got {len(groups)}")
    target = predictions["target"].to_numpy()
    person = None if subjects is None or condition == PERSON else np.unique(subjects, return_inverse=True)[1]
    everything = Faces(groups.cat.codes.to_numpy(), target, person, target != predictions["pred"].to_numpy(), tuple(groups.cat.categories))
    known = groups.notna().to_numpy()
    return everything.of(known), known


def group_rates(slices: Slices, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None) -> pd.DataFrame:
    """Return one row per group with its error rate, what its expressions alone let expect, and its balanced accuracy, with 95 % intervals.

    Args:
        slices: From `face_slices`.
        predictions: Of one split, (N,) rows.
        subjects: (N,), two or more, by which intervals count; None: by face.

    Returns:
        `condition, group, n, subjects` (NaN without), `errors, error_rate, ci_low, ci_high, expected`, `absent` (expressions without a face),
        `balanced_accuracy` (mean recall of the expressions that the group has) with `_ci_low, _ci_high`, `detectable`: the difference from the other
        faces that a test at Holm's first level detects with 80 % power, and `small`: whether the group has too few faces or subjects to show any
        difference. NaN where undefined, as the bounds of one subject are.

    Raises:
        InputError: If a condition has another number of faces.
    """
    expressions, rows = expressions_of(predictions), []
    preds = predictions["pred"].to_numpy()
    for condition, groups in slices.items():
        faces, known = known_faces(condition, groups, predictions, subjects=subjects)
        expected, present = faces.expected, len(np.unique(faces.expression))
        for code, name in enumerate(faces.names):
            inside = faces.group == code
            confusions = count_confusions(faces.expression[inside], preds[known][inside], num_classes=len(expressions))
            rate = _rate(faces, inside)
            balanced = _balanced(confusions, worth=rate.pop("worth"))
            spread = {"expected": expected[inside].mean(), "absent": present - len(np.unique(faces.expression[inside]))}
            rows.append({"condition": condition, "group": name, **rate, **spread, **balanced, **_sensitivity(faces, inside, tests=len(slices))})
    return pd.DataFrame(rows)


def compare_conditions(slices: Slices, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None, seed: int = 0) -> pd.DataFrame:
    """Test per condition whether its groups differ in their error rate, expressions held constant; arguments and errors as for `group_rates`.

    Returns:
        One row per condition, smallest p first: `condition, groups, permuted` ("faces", "within subjects" or "subjects"), `lowest, highest` (error
        rates), `gap` between them, `gap_95` (which 95 % of permutations do not exceed), `ratio` (lowest over highest), `balanced_gap` and
        `balanced_ratio` (of balanced accuracies), `excluded` (groups of fewer than FEWEST faces, which are in none of these but in the test),
        `p, p_holm`.
    """
    rng, rows = np.random.default_rng(seed), []
    for condition, groups in slices.items():
        faces, known = known_faces(condition, groups, predictions, subjects=subjects)
        statistic, rates = permute(rng, faces)
        large = np.bincount(faces.group) >= FEWEST
        gaps = np.ptp(rates[:, large], axis=1) if large.sum() > 1 else np.full(len(rates), np.nan)
        rows.append(
            {"condition": condition, "groups": len(faces.names), "permuted": _how(faces), **measure_gaps(faces, predictions[known], large=large)}
            | {"gap_95": float(np.quantile(gaps, 0.95)), "excluded": int((~large).sum()), "p": permutation_p(statistic)}
        )
    columns = ["condition", "groups", "permuted", "lowest", "highest", "gap", "gap_95", "ratio", "balanced_gap", "balanced_ratio", "excluded", "p"]
    return _holm(pd.DataFrame(rows, columns=columns))


def compare_expressions(slices: Slices, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None, seed: int = 0) -> pd.DataFrame:
    """Test per condition and expression whether recall differs between the groups; arguments and errors as for `group_rates`.

    Returns:
        One row per condition and expression that has two groups with faces, smallest p first: `condition, expression, n, lowest_group, lowest,
        highest_group, highest` (recall, of groups of FEWEST_OF_ONE faces or more; "" and NaN where fewer than two have so many), `p, p_holm`.
    """
    rng, expressions, rows = np.random.default_rng(seed), expressions_of(predictions), []
    for condition, groups in slices.items():
        faces, _ = known_faces(condition, groups, predictions, subjects=subjects)
        for code, name in enumerate(expressions):
            cell = faces.of(faces.expression == code)
            if len(cell.names) < 2:
                continue
            sizes = np.bincount(cell.group)
            recalls = 1 - np.bincount(cell.group, weights=cell.wrong) / sizes
            ends = {"lowest_group": "", "lowest": np.nan, "highest_group": "", "highest": np.nan}
            if (sizes >= FEWEST_OF_ONE).sum() > 1:
                recalls[sizes < FEWEST_OF_ONE] = np.nan
                low, high = np.nanargmin(recalls), np.nanargmax(recalls)
                ends = {"lowest_group": cell.names[low], "lowest": recalls[low], "highest_group": cell.names[high], "highest": recalls[high]}
            p = 1.0 if cell.wrong.all() or not cell.wrong.any() else permutation_p(permute(rng, cell)[0])
            rows.append({"condition": condition, "expression": name, "n": len(cell.wrong), **ends, "p": p})
    columns = ["condition", "expression", "n", "lowest_group", "lowest", "highest_group", "highest", "p"]
    return _holm(pd.DataFrame(rows, columns=columns))


def recalls_by_group(slices: Slices, condition: str, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None) -> pd.DataFrame:
    """Return the recall of each expression in each group of one condition: `group, expression, n, recall, ci_low, ci_high`; NaN without faces."""
    faces, _ = known_faces(condition, slices[condition], predictions, subjects=subjects)
    rows = []
    for code, group in enumerate(faces.names):
        for expression, name in enumerate(expressions_of(predictions)):
            inside = (faces.group == code) & (faces.expression == expression)
            found = _rate(faces, inside) if inside.any() else {"n": 0, "error_rate": np.nan, "ci_low": np.nan, "ci_high": np.nan}
            bounds = {"recall": 1 - found["error_rate"], "ci_low": 1 - found["ci_high"], "ci_high": 1 - found["ci_low"]}
            rows.append({"group": group, "expression": name, "n": found["n"], **bounds})
    return pd.DataFrame(rows)


def summarise(rates: pd.DataFrame, tests: pd.DataFrame, cells: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of `group_rates`, `compare_conditions` and `compare_expressions` as records: `slices, slice_tests, slice_expressions`."""
    return {name: table.to_dict("records") for name, table in {"slices": rates, "slice_tests": tests, "slice_expressions": cells}.items()}


def measure_gaps(faces: Faces, predictions: pd.DataFrame, *, large: np.ndarray) -> dict[str, float]:
    """Return `lowest, highest, gap, ratio` of error rates and `balanced_gap, balanced_ratio` of balanced accuracies over the `large` groups (G,).

    `predictions` are those of `faces`, in order. NaN with fewer than two such groups.
    """
    inside = large[faces.group]
    if large.sum() < 2:
        return dict.fromkeys(("lowest", "highest", "gap", "ratio", "balanced_gap", "balanced_ratio"), float("nan"))
    frame = MetricFrame(
        metrics={"error": _error_rate, "balanced": _mean_recall},
        y_true=predictions["target"].to_numpy()[inside],
        y_pred=predictions["pred"].to_numpy()[inside],
        sensitive_features=pd.Series(faces.group[inside], name="group"),
    )
    gap, ratio, low, high = frame.difference(), frame.ratio(), frame.group_min(), frame.group_max()
    return {
        "lowest": float(low["error"]), "highest": float(high["error"]), "gap": float(gap["error"]),
        "ratio": float(ratio["error"]), "balanced_gap": float(gap["balanced"]), "balanced_ratio": float(ratio["balanced"]),
    }  # fmt: skip


def permute(rng: np.random.Generator, faces: Faces, *, permutations: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the statistic (1 + P,) and the error rates of the groups (1 + P, G), the observed first, under P permutations."""
    count = permutations or PERMUTATIONS
    how, expected = _how(faces), faces.expected
    values = np.stack([np.ones(len(expected)), expected, expected * (1 - expected), faces.wrong - expected])
    sizes, mean, variance, excess = (np.bincount(faces.group, weights=each, minlength=len(faces.names)) for each in values)
    if how == "subjects":
        sizes, mean, variance, excess = _permute_subjects(rng, faces, values, count)
    elif how == "faces":
        excess = np.vstack([excess, _permute_faces(rng, faces, count) - mean])
    else:
        excess = np.vstack([excess, _permute_within(rng, faces, values[3], count)])
    statistic = (excess**2 / np.maximum(variance, 1e-12)).sum(axis=-1)
    return statistic, (mean + excess) / np.maximum(sizes, 1)


def permutation_p(statistic: np.ndarray) -> float:
    """Return the fraction of statistics (1 + P,), the observed first, that are at least as large as the observed."""
    return float((statistic >= statistic[0] * (1 - 1e-9) - 1e-12).mean())


def _permute_faces(rng: np.random.Generator, faces: Faces, count: int) -> np.ndarray:
    """Return errors (P, G), permuted among the faces of each expression."""
    permuted = np.zeros((count, len(faces.names)), dtype=np.int64)
    for expression in np.unique(faces.expression):
        inside = faces.expression == expression
        sizes = np.bincount(faces.group[inside], minlength=len(faces.names))
        permuted += rng.multivariate_hypergeometric(sizes, int(faces.wrong[inside].sum()), size=count, method="marginals")
    return permuted


def _permute_within(rng: np.random.Generator, faces: Faces, excess: np.ndarray, count: int) -> np.ndarray:
    """Return sums (P, G) of what each face differs from its expected rate, permuted among the faces of each person.

    Permuted differences no longer sum to 0 per expression; taking each expression's share off the groups refits the expected rates (Winkler et al.).
    """
    sums, member = np.zeros((count, len(faces.names))), np.eye(len(faces.names))[faces.group]
    shares = np.stack([np.bincount(faces.expression, weights=column) for column in member.T], axis=1)
    centred = member - (shares / np.maximum(np.bincount(faces.expression), 1)[:, None])[faces.expression]
    for person in np.unique(faces.person):
        inside = faces.person == person
        places = centred[inside]
        step = max(1, AT_ONCE // len(places))
        for start in range(0, count, step):
            rows = np.tile(excess[inside], (min(step, count - start), 1))
            sums[start : start + step] += rng.permuted(rows, axis=1, out=rows) @ places
    return sums


def _permute_subjects(rng: np.random.Generator, faces: Faces, values: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of `values` (4, n) per group, (4, 1 + P, G), whole persons permuted among as many places per group."""
    members, person = np.unique(faces.person, return_inverse=True)
    group = np.zeros(len(members), dtype=np.int64)
    group[person] = faces.group
    places = np.eye(len(faces.names))[group]
    totals = np.stack([np.bincount(person, weights=each) for each in values])
    orders = np.vstack([np.arange(len(members)), rng.permuted(np.tile(np.arange(len(members)), (count, 1)), axis=1)])
    return np.stack([total[orders] @ places for total in totals])


def _how(faces: Faces) -> str:
    return "faces" if faces.person is None else "subjects" if faces.constant else "within subjects"


def _holm(tests: pd.DataFrame) -> pd.DataFrame:
    tests["p_holm"] = holm(tests["p"])
    return tests.sort_values("p", kind="stable").reset_index(drop=True)


def _rate(faces: Faces, inside: np.ndarray) -> dict[str, Any]:
    """Return `n, subjects, errors, error_rate, ci_low, ci_high`, and `worth`: how many independent faces estimate it as precisely."""
    wrong = faces.wrong[inside]
    n, errors = len(wrong), int(wrong.sum())
    found = {"n": n, "subjects": float("nan"), "errors": errors, "error_rate": errors / n}
    if faces.person is None:
        low, high = wilson(errors, n)
        return found | {"ci_low": low, "ci_high": high, "worth": float(n)}
    persons = faces.person[inside]
    several = count_clusters(persons) > 1
    low, high = cluster_proportion(wrong, persons)
    found |= {"subjects": count_clusters(persons), "ci_low": low, "ci_high": high}
    return found | {"worth": effective_faces(wrong, persons) if several else float("nan")}


def _balanced(confusions: np.ndarray, *, worth: float) -> dict[str, float]:
    support = confusions.sum(axis=1)
    mean = float((np.diagonal(confusions)[support > 0] / support[support > 0]).mean())
    low, high = (np.nan, np.nan)
    if worth == worth:
        low, high = confusion_bounds(confusions * (worth / support.sum()), draws=DRAWS)["balanced_accuracy"]
    return {"balanced_accuracy": mean, "balanced_accuracy_ci_low": min(low, mean), "balanced_accuracy_ci_high": max(high, mean)}


def _sensitivity(faces: Faces, inside: np.ndarray, *, tests: int) -> dict[str, Any]:
    """Return `detectable`, the difference in error rate from the other faces that is detected with 80 % power, and `small`."""
    n, rate = int(inside.sum()), float(np.clip(faces.wrong.mean(), 0.01, 0.99))
    others = len(inside) - n
    if not others:
        return {"detectable": float("nan"), "small": n < FEWEST}
    spread = rate * (1 - rate) * (1 / n + 1 / others)
    one = False
    if _how(faces) == "subjects":
        one = len(np.unique(faces.person[inside])) < 2
        spread *= max(1.0, len(inside) / effective_faces(faces.wrong, faces.person))
    found = float((norm.isf((1 - LEVEL) / 2 / tests) + norm.ppf(POWER)) * spread**0.5)
    return {"detectable": min(found, 1.0), "small": n < FEWEST or one or found > max(rate, 1 - rate)}


def _error_rate(targets: np.ndarray, preds: np.ndarray) -> float:
    return float(np.mean(targets != preds))


def _mean_recall(targets: np.ndarray, preds: np.ndarray) -> float:
    """Return the mean recall of the expressions that occur."""
    support = np.bincount(targets)
    return float((np.bincount(targets, weights=targets == preds) / np.maximum(support, 1))[support > 0].mean())
