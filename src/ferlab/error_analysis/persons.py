"""Errors by subject: the rate of each, whether rates differ more than independent faces of equal difficulty would, and whole expressions missed.

References:
    Cochran (1954), Some methods for strengthening the common chi-square tests: dispersion against the binomial. The test is that of
    `ferlab.error_analysis.groups`, with subjects as groups.
    Ridout, Demétrio & Firth (1999), Estimating intraclass correlation for binary data: the analysis-of-variance estimator.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ferlab.error_analysis.groups import Faces, permutation_p, permute
from ferlab.evaluation.predictions import expressions_of
from ferlab.evaluation.proportions import holm, wilson

DRAWS = 2000
FEWEST = 3  # faces of an expression of which all are errors, before that is reported


def rates_by_subject(predictions: pd.DataFrame, subjects: np.ndarray) -> pd.DataFrame:
    """Return the errors of each subject, highest rate first.

    Args:
        predictions: The predictions table of N faces.
        subjects: The subject of each, (N,) str.

    Returns:
        `subject, n, errors, error_rate` with Wilson's 95 % interval over the subject's faces (`error_rate_ci_low`, `error_rate_ci_high`); `expected`
        (errors, were each face as likely an error as its expression's are); `p_holm` (Fisher's exact test of the subject against all others,
        Holm over subjects); `most_frequent` (confused pair, "" without errors) and `missed` (expressions of at least FEWEST
        faces that are all errors).
    """
    names = np.array(expressions_of(predictions), dtype=object)
    table = pd.DataFrame({"subject": subjects, "target": predictions["target"].to_numpy(), "pred": predictions["pred"].to_numpy()})
    table["wrong"] = table["target"] != table["pred"]
    table["expected"] = table.groupby("target")["wrong"].transform("mean")
    total, rows = int(table["wrong"].sum()), []
    for subject, own in table.groupby("subject"):
        n, errors = len(own), int(own["wrong"].sum())
        others = len(table) - n - (total - errors)
        p = stats.fisher_exact([[errors, n - errors], [total - errors, others]]).pvalue
        pairs = own.loc[own["wrong"], ["target", "pred"]].value_counts()
        pair = " as ".join(names[list(pairs.index[0])]) if len(pairs) else ""
        by_target = own.groupby("target")["wrong"].agg(["size", "all"])
        missed = names[by_target.index[by_target["all"] & (by_target["size"] >= FEWEST)]]
        rows.append((subject, n, errors, errors / n, *wilson(errors, n), own["expected"].sum(), p, pair, ", ".join(missed)))
    columns = ["subject", "n", "errors", "error_rate", "error_rate_ci_low", "error_rate_ci_high", "expected", "p_holm", "most_frequent", "missed"]
    rates = pd.DataFrame(rows, columns=columns)
    rates["p_holm"] = holm(rates["p_holm"])
    return rates.sort_values(["error_rate", "subject"], ascending=[False, True]).reset_index(drop=True)


def overdispersion(predictions: pd.DataFrame, subjects: np.ndarray, *, seed: int = 0) -> dict[str, float]:
    """Test whether subjects differ in their error rates.

    Arguments as for `rates_by_subject`.

    Returns:
        `subjects`; `chi2`, of errors against those expected of each subject's expressions (Pearson's where all faces show one), its degrees of
        freedom `df` and `dispersion` (their ratio, 1 for the binomial); `p` (permutations of errors among the faces of one expression); `icc`,
        the intraclass correlation of errors, with a 95 % interval of a bootstrap of subjects. NaN where there is no error or no correct face.
    """
    wrong = (predictions["target"] != predictions["pred"]).to_numpy()
    place = np.unique(subjects, return_inverse=True)[1]
    count = int(place.max()) + 1
    if wrong.all() or not wrong.any():
        nothing = dict.fromkeys(("chi2", "dispersion", "p", "icc", "icc_ci_low", "icc_ci_high"), float("nan"))
        return {"subjects": count, "df": count - 1, **nothing}
    sizes, rng = np.bincount(place), np.random.default_rng(seed)
    faces = Faces(place, predictions["target"].to_numpy(), None, wrong, tuple(np.unique(subjects)))
    statistic, _ = permute(rng, faces, permutations=DRAWS)
    errors = np.bincount(place, weights=wrong)
    drawn = rng.integers(0, count, (DRAWS, count))
    low, high = np.nanquantile(_intraclass(errors[drawn], sizes[drawn]), [0.025, 0.975])
    icc = float(_intraclass(errors, sizes))
    return {
        "subjects": count,
        "chi2": float(statistic[0]),
        "df": count - 1,
        "dispersion": float(statistic[0]) / (count - 1),
        "p": permutation_p(statistic),
        "icc": icc,
        "icc_ci_low": min(float(low), icc),
        "icc_ci_high": max(float(high), icc),
    }


def _intraclass(errors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The analysis-of-variance estimator for errors and sizes (..., S)."""
    count, total = sizes.shape[-1], sizes.sum(axis=-1)
    mean = errors.sum(axis=-1) / total
    between = ((errors - sizes * mean[..., None]) ** 2 / sizes).sum(axis=-1) / (count - 1)
    within = (errors * (1 - errors / sizes)).sum(axis=-1) / np.maximum(total - count, 1)
    typical = (total - (sizes**2).sum(axis=-1) / total) / (count - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (between - within) / (between + (typical - 1) * within)
