"""Mean corruption error of runs against a named baseline, on the same faces of one set. From tables of conditions, without torch.

The corruption error CE of a run is its error summed over the five severities of a corruption, divided by the baseline's; mCE is its mean over
corruptions, and the baseline has 100 %. Relative mCE replaces each error by its rise above that of the unchanged faces, so that a run is not called
robust because it is accurate. A corruption that raises the baseline's error by less than `LEAST_RISE` has no relative CE. A run that was trained or
selected on these faces where the baseline was not, or the other way round, is not compared with it.

References:
    Hendrycks & Dietterich (2019), arXiv 1903.12261, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.comparison import difference_by_cluster
from ferlab.evaluation.intervals import RESAMPLES
from ferlab.evaluation.paired import percentile_bounds, unit_weights
from ferlab.evaluation.proportions import holm
from ferlab.evaluation.robustness import Outcomes, outcomes
from ferlab.paths import InputError, artefact, read_json
from ferlab.roles import Role, recorded

LEAST_RISE = 0.01
BOUNDED = ("mce", "relative_mce", "difference")
COMPARED = [*(f"{key}{end}" for key in BOUNDED for end in ("", "_ci_low", "_ci_high")), "p"]  # with the baseline


@dataclass(frozen=True)
class RunOutcomes(Outcomes):
    """The outcomes of a run.

    Attributes:
        role: What the faces are to the run, see `ferlab.roles`.
    """

    role: Role = "untouched"


def read_outcomes(names: Iterable[str]) -> dict[str, RunOutcomes]:
    """Return the outcomes of runs under all conditions, as the stage robustness left them.

    Raises:
        InputError: A run whose stage robustness or evaluate has not run.
    """
    found = {}
    for name in names:
        path = artefact("robustness", "table", name)
        if not path.is_file():
            raise InputError(f"{path.parent.name}/{path.name}: not found; run the stage robustness of run {name} first")
        of = outcomes(pd.read_parquet(path))
        found[name] = RunOutcomes(**vars(of), role=_role(name, of.hits.index[0]))
    return found


def _role(name: str, face_id: str) -> Role:
    """Return what the split of a face is to a run; faces of train have no predictions."""
    seen = recorded(read_json(artefact("evaluate", "metrics", name), made_by=f"the evaluate stage of run {name}"))
    splits = pd.read_parquet(artefact("evaluate", "predictions", name), columns=["face_id", "split"]).set_index("face_id")["split"]
    return seen.role(splits.get(face_id, "train"))


def corruption_errors_by_set(runs: Mapping[str, RunOutcomes], sets: Mapping[str, Sequence[str]], *, baseline: str = "") -> dict[str, pd.DataFrame]:
    """Return `compare_corruption_errors` of the runs of each set against `baseline`, or the set's first run where it is of another set or empty."""
    tables = {}
    for name, members in sets.items():
        own = {member: runs[member] for member in members}
        base = baseline if baseline in own else members[0]
        tables[name] = compare_corruption_errors(own, base, own[base].named("corruption"))
    return tables


def compare_corruption_errors(
    runs: Mapping[str, RunOutcomes], baseline: str, corruptions: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return one row per run, the baseline first: errors, mCE and relative mCE with 95 % bounds, and a paired test of the errors.

    Args:
        runs: Outcomes of runs of one set on the same faces.
        baseline: One of them.
        corruptions: Those that all were scored under.
        resamples: Bootstrap draws of faces, or of subjects where faces name them.
        seed: Of the draws.

    Returns:
        `run, role, n, clean_error, error` (mean over corruptions and severities), `mce` and `relative_mce` with bounds, `relative_corruptions` (how
        many have a relative CE), `difference` (error minus the baseline's) with paired bounds, `p` and `p_holm` (over the other runs). NaN from `mce`
        on, but for `relative_corruptions`, where the role is not that of the baseline.

    Raises:
        InputError: Runs that were not scored on the same faces.
    """
    base = runs[baseline]
    for name, found in runs.items():
        if not found.hits.index.equals(base.hits.index):
            raise InputError(f"runs {baseline} and {name} were not scored on the same faces under corruption; run the stage robustness of both again")
    rows = [_row(name, runs[name], base, corruptions, resamples=resamples, seed=seed) for name in (baseline, *(n for n in runs if n != baseline))]
    table = pd.DataFrame(rows).assign(p_holm=float("nan"))
    alike = table["role"] == base.role
    table.loc[~alike, COMPARED] = float("nan")
    rivals = table.index[alike][1:]
    table.loc[rivals, "p_holm"] = holm(table.loc[rivals, "p"])
    return table


def corruption_errors(errors: np.ndarray, clean: np.ndarray, base: np.ndarray, base_clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mCE and relative mCE, (B,) each, fractions of the baseline's.

    Args:
        errors: (B, C) mean error of each corruption over its severities.
        clean: (B,) error of the unchanged faces.
        base: As `errors`, of the baseline.
        base_clean: As `clean`, of the baseline.

    >>> [value.tolist() for value in corruption_errors(*(np.array(v) for v in ([[0.6, 0.3]], [0.2], [[0.5, 0.4]], [0.1])))]
    [[0.975], [0.6666666666666666]]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.where(base > 0, errors / base, np.nan)
        rise, base_rise = errors - clean[:, None], base - base_clean[:, None]
        relative = np.where(base_rise >= LEAST_RISE, rise / base_rise, np.nan)
    return _mean(plain), _mean(relative)


def _row(name: str, run: RunOutcomes, base: RunOutcomes, corruptions: Sequence[str], *, resamples: int, seed: int) -> dict[str, Any]:
    wrong = [np.column_stack([1 - each.of(corruptions), 1.0 - each.clean]) for each in (run, base)]  # (N, C + 1), the last column clean
    drawn = [weights / weights.sum(axis=1, keepdims=True) for weights in unit_weights(base.clusters, draws=resamples, seed=seed)]
    means = [np.vstack([each.mean(axis=0), *(weights @ each for weights in drawn)]) for each in wrong]
    plain, relative = corruption_errors(means[0][:, :-1], means[0][:, -1], means[1][:, :-1], means[1][:, -1])
    differences = wrong[0][:, :-1].mean(axis=1) - wrong[1][:, :-1].mean(axis=1)
    paired = difference_by_cluster(differences, base.clusters)
    counted = int((means[1][0, :-1] - means[1][0, -1] >= LEAST_RISE).sum())
    return {
        "run": name, "role": run.role, "n": len(differences), "clean_error": float(means[0][0, -1]), "error": float(means[0][0, :-1].mean()),
        **_bounded("mce", plain, base.clusters), **_bounded("relative_mce", relative, base.clusters), "relative_corruptions": counted,
        "difference": float(differences.mean()), "difference_ci_low": paired["ci_low"], "difference_ci_high": paired["ci_high"], "p": paired["p"],
    }  # fmt: skip


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.divide(np.where(known, values, 0).sum(axis=1), known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _bounded(key: str, values: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """Return the first value, with bounds from the others, its draws; those without a value are dropped."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = percentile_bounds(float(values[0]), drawn, units=units) if len(drawn) else (float("nan"), float("nan"))
    return {key: float(values[0]), f"{key}_ci_low": low, f"{key}_ci_high": high}
