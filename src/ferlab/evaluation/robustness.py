"""How accuracy falls under corruption, occlusion and displacement: each condition against the unchanged faces, paired face by face. Without torch.

A table of conditions holds one row per face, condition and severity: `face_id, target, kind, condition, severity, pred, prob`, and `subject` where
faces name them; `kind` is one of KINDS, or "clean" for the faces as they are. Intervals and tests are over faces, or over subjects where all faces
name one; tests of one kind of condition are corrected together (Holm).

References:
    Hendrycks & Dietterich (2019), arXiv 1903.12261 (mCE and relative mCE). Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import cluster_proportion, count_clusters, mean_bounds
from ferlab.evaluation.comparison import compare_correctness, difference_by_cluster
from ferlab.evaluation.generalisation import difference_of
from ferlab.evaluation.predictions import subjects_of
from ferlab.evaluation.proportions import holm
from ferlab.paths import InputError

CLEAN = "clean"
KINDS = ("corruption", "occlusion", "displacement")
FEWEST = 20  # faces of an expression, from which it may be called the worst


def condition_rows(
    faces: pd.DataFrame, preds: np.ndarray, prob: np.ndarray, *, kind: str = CLEAN, condition: str = CLEAN, severity: float = 0.0
) -> pd.DataFrame:
    """Return the rows of one condition of a table.

    Args:
        faces: The faces, N rows of a face table.
        preds: (N,) predicted class ids.
        prob: (N,) probability of the target.
        kind: One of KINDS, or CLEAN.
        condition: Its name.
        severity: Or amount.
    """
    known = {"subject": faces["subject"].to_numpy()} if "subject" in faces and faces["subject"].notna().any() else {}
    columns = {"face_id": faces["face_id"].to_numpy(), **known, "target": faces["target"].to_numpy(np.int16), "kind": kind, "condition": condition}
    table = pd.DataFrame({**columns, "severity": np.float32(severity), "pred": preds.astype(np.int16), "prob": prob.astype(np.float32)})
    return table.astype({column: "str" for column in ("face_id", "kind", "condition")})


@dataclass(frozen=True)
class Outcomes:
    """Whether each face is classified correctly under each condition.

    Attributes:
        hits: bool, N faces as rows, columns (condition, severity), conditions in the order of the table, severities ascending.
        targets: (N,) class ids.
        subjects: (N,) or None where not all faces name one.
        kinds: Kind of each condition, in the order of the table.
    """

    hits: pd.DataFrame
    targets: np.ndarray
    subjects: np.ndarray | None
    kinds: Mapping[str, str]

    def named(self, kind: str) -> list[str]:
        """Return the conditions of a kind, in order."""
        return [name for name, own in self.kinds.items() if own == kind]

    @property
    def clean(self) -> np.ndarray:
        """Whether each unchanged face is classified correctly, (N,) bool."""
        return self.hits[CLEAN].to_numpy()[:, 0]

    @property
    def clusters(self) -> np.ndarray:
        """The subject of each face, or else its row, (N,)."""
        return _clusters(self.subjects, len(self.hits))

    def of(self, conditions: Sequence[str]) -> np.ndarray:
        """Return the fraction of severities at which each face is classified correctly, (N, len(conditions)) float64."""
        return np.stack([self.hits[name].to_numpy(np.float64).mean(axis=1) for name in conditions], axis=1)


def outcomes(table: pd.DataFrame) -> Outcomes:
    """Return the outcomes of a table of conditions.

    Raises:
        InputError: No row of "clean", or faces that are missing under some condition.
    """
    correct = table.assign(hit=table["pred"] == table["target"])
    places = {name: place for place, name in enumerate(correct["condition"].unique())}
    found = correct[["condition", "severity"]].drop_duplicates().itertuples(index=False)
    order = pd.MultiIndex.from_tuples(sorted(found, key=lambda key: (places[key[0]], key[1])), names=["condition", "severity"])
    hits = correct.pivot(index="face_id", columns=["condition", "severity"], values="hit")[order]
    if CLEAN not in hits or hits.isna().to_numpy().any():
        raise InputError("robustness: expected every face under every condition, and unchanged; run the stage robustness again")
    faces = table[table["condition"] == CLEAN].set_index("face_id", drop=False).loc[hits.index]
    kinds = dict(correct[["condition", "kind"]].drop_duplicates("condition").itertuples(index=False))
    return Outcomes(hits.astype(bool), faces["target"].to_numpy(), subjects_of(faces), kinds)


def compare_conditions(found: Outcomes, conditions: Sequence[str]) -> pd.DataFrame:
    """Test each severity of some conditions against the unchanged faces; Holm's correction is over all of them.

    Returns:
        `condition, severity, n`, `accuracy` with its 95 % bounds, `drop` (clean minus condition) with paired bounds, `p` and `p_holm`.
    """
    tested = [key for key in found.hits.columns if key[0] in conditions]
    rows = []
    for condition, severity in tested:
        hits = found.hits[(condition, severity)].to_numpy()
        paired = compare_correctness(found.clean, hits, subjects=found.subjects, tests=len(tested))
        bounds = mean_with_bounds("accuracy", hits, found.clusters)
        drop = {"drop": paired["difference"], "drop_ci_low": paired["ci_low"], "drop_ci_high": paired["ci_high"]}
        p = paired["p_exact"] if found.subjects is None else paired["p_subjects"]
        rows.append({"condition": condition, "severity": float(severity), "n": len(hits), **bounds, **drop, "p": p})
    return _holm(pd.DataFrame(rows))


def corruption_table(found: Outcomes, corruptions: Sequence[str]) -> pd.DataFrame:
    """Return per corruption its error over the five severities, and how far it lies above that of the unchanged faces.

    Returns:
        `condition`, `error` with bounds, `rise` with paired bounds, `p` and `p_holm` (over corruptions); the last row is the mean over corruptions,
        outside the family of tests.
    """
    wrong, clean = 1 - found.of(corruptions), 1 - found.clean.astype(np.float64)
    rows = [_error_row(name, values, clean, found.clusters, tests=len(corruptions)) for name, values in zip(corruptions, wrong.T, strict=True)]
    return pd.concat([_holm(pd.DataFrame(rows)), pd.DataFrame([_error_row("mean", wrong.mean(axis=1), clean, found.clusters)])], ignore_index=True)


def _error_row(name: str, wrong: np.ndarray, clean: np.ndarray, clusters: np.ndarray, *, tests: int = 1) -> dict[str, Any]:
    paired = difference_by_cluster(wrong - clean, clusters, tests=tests)
    rise = {"rise": float((wrong - clean).mean()), "rise_ci_low": paired["ci_low"], "rise_ci_high": paired["ci_high"]}
    return {"condition": name, **mean_with_bounds("error", wrong, clusters), **rise, "p": paired["p"]}


def severity_table(found: Outcomes, corruptions: Sequence[str], *, expressions: Sequence[str]) -> pd.DataFrame:
    """Return the accuracy over all corruptions at each severity, and the expression with the lowest recall.

    Returns:
        `severity` (0: unchanged), `accuracy` with bounds, `worst` (of the expressions of `FEWEST` faces or more; "" for fewer than two) and
        its `worst_recall`.
    """
    severities = found.hits[corruptions[0]].columns
    rows = [_severity_row(0, found.clean, found, expressions)]
    for severity in severities:
        hits = np.stack([found.hits[(name, severity)].to_numpy(np.float64) for name in corruptions], axis=1).mean(axis=1)
        rows.append(_severity_row(int(severity), hits, found, expressions))
    return pd.DataFrame(rows)


def _severity_row(severity: int, hits: np.ndarray, found: Outcomes, expressions: Sequence[str]) -> dict[str, Any]:
    recalls = {name: float(hits[found.targets == c].mean()) for c, name in enumerate(expressions) if (found.targets == c).sum() >= FEWEST}
    worst = min(recalls, key=lambda name: recalls[name]) if len(recalls) > 1 else ""
    return {
        "severity": severity,
        **mean_with_bounds("accuracy", hits, found.clusters),
        "worst": worst,
        "worst_recall": recalls.get(worst, float("nan")),
    }


def drops_by_expression(found: Outcomes, conditions: Sequence[str], *, expressions: Sequence[str]) -> pd.DataFrame:
    """Return how far recall falls per expression and condition, paired, over all severities of the condition; Holm over all cells.

    Returns:
        `condition, expression, n, recall` (under the condition), `drop` with bounds, `p`, `p_holm`; expressions with fewer than two clusters are
        missing.
    """
    rows = []
    cells = [(name, c) for name in conditions for c in range(len(expressions)) if count_clusters(found.clusters[found.targets == c]) > 1]
    for name, c in cells:
        own = found.targets == c
        hits, clean = found.of([name])[own, 0], found.clean[own].astype(np.float64)
        paired = difference_by_cluster(clean - hits, found.clusters[own], tests=len(cells))
        drop = (float((clean - hits).mean()), paired["ci_low"], paired["ci_high"])
        rows.append((name, expressions[c], int(own.sum()), float(hits.mean()), *drop, paired["p"]))
    return _holm(pd.DataFrame(rows, columns=["condition", "expression", "n", "recall", "drop", "drop_ci_low", "drop_ci_high", "p"]))


def mean_with_bounds(key: str, values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return the mean of (N,) bools or fractions with its 95 % bounds over clusters.

    They are Student's for fractions, those of a proportion for bools, and where no cluster differs from the mean, as then there is no spread.
    """
    low, high = mean_bounds(values, clusters, least=0.0, most=1.0)
    if values.dtype == bool or low == high:
        low, high = cluster_proportion(values, clusters)
    return {key: float(np.mean(values)), f"{key}_ci_low": low, f"{key}_ci_high": high}


def transfer_table(transfer: pd.DataFrame) -> pd.DataFrame:
    """Return per other dataset the accuracy on it and on the run's own, on the expressions that both have, and the drop between them.

    Args:
        transfer: The table of `ferlab.error_analysis.other_sets`.

    Returns:
        `compared, n, n_own`, `accuracy`, `own` and `drop` (own minus other; two samples of faces) with bounds, and `balanced_accuracy` and
        `balanced_own` (macro recall).
    """
    rows = []
    for name, parts in transfer.groupby("compared", sort=False):
        samples = {"own": parts[parts["set"] != name], "other": parts[parts["set"] == name]}
        hits = {key: (part["pred"] == part["target"]).to_numpy() for key, part in samples.items()}
        own, other = (mean_with_bounds("accuracy", hits[key], _clusters(subjects_of(samples[key]), len(hits[key]))) for key in ("own", "other"))
        balanced = {key: float(pd.Series(hits[key]).groupby(part["target"].to_numpy()).mean().mean()) for key, part in samples.items()}
        drop = _renamed(difference_of(own, other, "accuracy"), "drop")
        counts = {"compared": name, "n": len(hits["other"]), "n_own": len(hits["own"])}
        means = {"balanced_accuracy": balanced["other"], "balanced_own": balanced["own"]}
        rows.append({**counts, **other, **_renamed(own, "own"), **drop, **means})
    return pd.DataFrame(rows)


def _renamed(scores: Mapping[str, float], key: str) -> dict[str, float]:
    return {name.replace("accuracy", key): value for name, value in scores.items()}


def _clusters(subjects: np.ndarray | None, n: int) -> np.ndarray:
    return np.arange(n) if subjects is None else subjects


def _holm(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_holm=holm(table["p"]))
