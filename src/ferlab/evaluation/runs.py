"""All runs at once: their predictions and metrics, one table of runs, and paired tests of runs and ensembles within each set. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.calibration import calibration_error, log_losses, reliability_bins
from ferlab.evaluation.clusters import intervals_over
from ferlab.evaluation.comparison import compare_pairs
from ferlab.evaluation.confusion_posterior import KEYS, confusion_metrics
from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED, Members, Weights
from ferlab.evaluation.intervals import RESAMPLES
from ferlab.evaluation.predictions import confusion_table, expressions_of, faces_in, probs_of, read_predictions, subjects_of, top3_hits
from ferlab.evaluation.tasks import Task, differences
from ferlab.paths import artefact, read_json
from ferlab.roles import joint, listed, recorded

BOUNDED = ("accuracy", "macro_f1")
RUN_KEYS = (*(f"{key}{end}" for key in BOUNDED for end in ("", "_ci_low", "_ci_high")), "balanced_accuracy", "nll", "ece")

Runs = Mapping[str, Mapping[str, Any]]  # run -> `data`, `group`, `seed`, `model`, ... as in params
Metrics = Mapping[str, Mapping[str, Any]]  # run -> what evaluate wrote
Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]  # set -> ensemble -> split -> metrics


def read_runs(names: Iterable[str]) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]]]:
    """Return the predictions and the metrics of runs, each keyed by run; beside evaluate's metrics stand `pretrained_on` of train, and as `fitted`
    the accuracy and number of the faces trained on, in the kept epoch.

    Raises:
        InputError: If a run has not been evaluated.
    """
    names = list(names)
    predictions = {name: read_predictions(artefact("evaluate", "predictions", name)) for name in names}
    metrics = {name: read_json(artefact("evaluate", "metrics", name), made_by=f"the evaluate stage of run {name}") for name in names}
    trained = {name: read_json(artefact("train", "metrics", name), made_by=f"the train stage of run {name}") for name in names}
    for name, of in trained.items():
        fitted = {"accuracy": (of.get("train") or {}).get("accuracy", float("nan")), "n": of.get("n", {}).get("trained", 0)}
        metrics[name] |= {"pretrained_on": of.get("pretrained_on", ""), "fitted": fitted}
    return predictions, metrics


def without_experts(runs: Runs) -> dict[str, Mapping[str, Any]]:
    """Return the runs that were trained on all expressions, in order: experts know two, and do not compare with the others."""
    return {name: run for name, run in runs.items() if not run.get("train", {}).get("expressions")}


def runs_by_set(runs: Runs, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the runs of each set, in order; only the chosen ones, or where none is chosen all but experts."""
    sets: dict[str, list[str]] = {}
    for name in chosen or without_experts(runs):
        sets.setdefault(runs[name]["data"], []).append(name)
    return {name: sorted(members, key=list(runs).index) for name, members in sets.items()}


def with_ensembles_across_sets(
    members: Members, tasks: Mapping[str, Mapping[str, Task]]
) -> tuple[dict[str, list[str]], dict[str, Mapping[str, Task]]]:
    """Return the members and tasks of each set, and of sets that are scored on the same val and test faces also all their runs together.

    So models trained on different faces vote, as those of cs230 with and without auxiliary data. The joined set is called "a and b".

    Args:
        members: Set -> the runs that vote, from `runs_by_set`.
        tasks: From `ferlab.evaluation.tasks.one_task_per_set`.
    """
    alike: list[list[str]] = []
    for name in members:
        same = [group for group in alike if not any(differences(tasks[group[0]][split], tasks[name][split]) for split in ("val", "test"))]
        same[0].append(name) if same else alike.append([name])
    joined = {" and ".join(group): [run for name in group for run in members[name]] for group in alike}
    own = {name: list(runs) for name, runs in members.items()}
    return own | joined, {**tasks, **{" and ".join(group): tasks[group[0]] for group in alike}}


def table_of_runs(runs: Runs, metrics: Metrics) -> pd.DataFrame:
    """Return one row per run, in the order of `runs`.

    Returns:
        `run, set, dataset, group, seed, model, pretrained_on`, `selected_on` ("none" where the last epoch was kept); of val, test and test_dedup
        `<split>.<key>` for RUN_KEYS and `subjects` (that bounds are over; NaN: over faces); of val and test `<split>.role` (see `ferlab.roles`).
        NaN where a run has no such split.
    """
    rows = []
    for name, run in runs.items():
        row = {"run": name, "set": run["data"], "dataset": metrics[name].get("dataset", "")}
        row |= {key: run[key] for key in ("group", "seed", "model")} | {"pretrained_on": metrics[name].get("pretrained_on", "")}
        seen = recorded(metrics[name])
        row["selected_on"] = listed(seen.selected_on) if seen.selected_on else "none"
        row |= {f"{split}.role": seen.role(split) for split in ("val", "test")}
        for split in ("val", "test", "test_dedup"):
            scores = metrics[name].get(split) or {}
            row |= {f"{split}.{key}": scores.get(key, float("nan")) for key in (*RUN_KEYS, "subjects")}
        rows.append(row)
    return pd.DataFrame(rows)


def per_class_of(metrics: Metrics, predictions: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{run: {expression: scores}}` on test, expressions in the order of the set (metrics files sort their keys)."""
    return {name: {e: scores["test"]["per_class"][e] for e in expressions_of(predictions[name])} for name, scores in metrics.items()}


def compare_within_sets(
    predictions: Mapping[str, pd.DataFrame], sets: Members, *, contrasts: Sequence[tuple[str, str]] = ()
) -> pd.DataFrame:
    """Return the paired tests of the runs of each set on test: `set`, then the columns of `compare_pairs`.

    Args:
        predictions: Per run its predictions table.
        sets: The runs of each set.
        contrasts: The pairs to test, from `name_contrasts`; none for all pairs. Holm's correction is over the pairs tested in a set.
    """
    tables = []
    for name, runs in sets.items():
        pairs = [(a, b) for a, b in contrasts if {a, b} <= set(runs)] if contrasts else None
        tables.append(compare_pairs({run: predictions[run] for run in runs}, pairs=pairs).assign(set=name))
    return _set_first(tables)


def compare_ensembles(
    ensembles: Mapping[str, Mapping[str, pd.DataFrame]], predictions: Mapping[str, pd.DataFrame], members: Members
) -> pd.DataFrame:
    """Return the paired tests on test of each set's ensembles against each member, and of fitted against equal weights; Holm over those of a set."""
    tables = []
    for name, kinds in ensembles.items():
        wanted = [(kind, run) for kind in kinds for run in members[name]] + ([(WEIGHTED, ENSEMBLE)] if WEIGHTED in kinds else [])
        tables.append(compare_pairs({**kinds, **{run: predictions[run] for run in members[name]}}, pairs=wanted).assign(set=name))
    return _set_first(tables)


def score_ensembles(
    ensembles: Mapping[str, Mapping[str, pd.DataFrame]], *, resamples: int = RESAMPLES
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return per set and ensemble the metrics on val and test, with 95 % bounds; keys as evaluate's."""
    return {
        name: {kind: {split: score_rows(faces_in(table, split), resamples=resamples) for split in ("val", "test")} for kind, table in kinds.items()}
        for name, kinds in ensembles.items()
    }


def ours_beside_published(runs: pd.DataFrame, metrics: Metrics, scores: Scores, members: Members) -> pd.DataFrame:
    """Return our test accuracies in the shape of published rows: `label, set, dataset, split, value, low, high`, and `hollow` where test selected
    the epoch, or that of a member; ensembles last.
    """
    rows = [(name, set_name, [name], metrics[name]["test"]) for name, set_name in zip(runs["run"], runs["set"], strict=True)]
    rows += [(f"{kind} of {name}", name, list(members[name]), of["test"]) for name, kinds in scores.items() for kind, of in kinds.items()]
    return pd.DataFrame(
        [
            {
                "label": label,
                "set": set_name,
                "dataset": metrics[of[0]]["dataset"],
                "split": "test" if (usage := metrics[of[0]]["usage"]["test"]) == "Training" else usage,
                "value": test["accuracy"],
                "low": test["accuracy_ci_low"],
                "high": test["accuracy_ci_high"],
                "hollow": joint(recorded(metrics[run]) for run in of).role("test") != "untouched",
            }
            for label, set_name, of, test in rows
        ]
    )


def summarise_comparison(
    runs: pd.DataFrame,
    spread: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    scores: Scores,
    ensemble_pairs: pd.DataFrame,
    weights: Weights,
    effects: pd.DataFrame,
) -> dict[str, Any]:
    """Return `reports/metrics/compare.json`: `runs`, `groups`, `pairs`, `changes` and per set its `ensembles` with `ensemble_pairs`.

    Where weights were fitted, also `fitted_ensembles` (with `weights`) and `fitted_ensemble_pairs`. Nested by name, since DVC drops lists.
    """
    tests = {str(name): pairs_by_name(rows) for name, rows in ensemble_pairs.groupby("set", sort=False)}
    summary = {
        "runs": _summarise_runs(runs),
        "groups": _summarise_groups(spread),
        "pairs": pairs_by_name(pairs),
        "changes": effects.to_dict("records"),
        "ensembles": {name: kinds[ENSEMBLE] for name, kinds in scores.items()},
        "ensemble_pairs": {name: rows.get(ENSEMBLE, {}) for name, rows in tests.items()},
    }
    if not weights:
        return summary
    return {
        **summary,
        "fitted_ensembles": {name: {**kinds[WEIGHTED], "weights": dict(weights[name])} for name, kinds in scores.items() if WEIGHTED in kinds},
        "fitted_ensemble_pairs": {name: rows.get(WEIGHTED, {}) for name, rows in tests.items()},
    }


def pairs_by_name(pairs: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{run_a: {run_b: {difference, ...}}}`."""
    return {str(a): rows.drop(columns="run_a").set_index("run_b").to_dict("index") for a, rows in pairs.groupby("run_a", sort=False)}


def _summarise_runs(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the table of runs as `{run: {set, group, seed, val: {...}, test: {...}, test_dedup: {...}}}`."""
    summary: dict[str, dict[str, Any]] = {}
    for row in runs.to_dict("records"):
        nested: dict[str, Any] = {key: row[key] for key in ("set", "dataset", "group", "seed", "model", "pretrained_on", "selected_on")}
        for column, value in row.items():
            split, _, key = str(column).partition(".")
            if key and value == value:
                nested.setdefault(split, {})[key] = value
        summary[row["run"]] = nested
    return summary


def _summarise_groups(spread: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the spread over seeds as `{set: {group: {seeds, test_accuracy_mean, test_accuracy_sd, ...}}}`."""
    renamed = spread.rename(columns=lambda key: key.replace(".", "_"))
    return {str(name): rows.drop(columns="set").set_index("group").to_dict("index") for name, rows in renamed.groupby("set", sort=False)}


def score_rows(rows: pd.DataFrame, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return the metrics of some rows with their 95 % bounds (`intervals_over` the subjects that rows name), without torch;
    `ferlab.evaluation.metrics` computes the same with torchmetrics.
    """
    targets, probs, expressions, confusions = rows["target"].to_numpy(), probs_of(rows), expressions_of(rows), confusion_table(rows).to_numpy()
    bounds = intervals_over(targets, probs, subjects_of(rows), expressions=expressions, resamples=resamples)
    found = {key: values[0] for key, values in confusion_metrics(confusions[None].astype(np.float64)).items()}
    per_class = {
        name: {key: None if np.isnan(found[key][i]) else float(found[key][i]) for key in ("precision", "recall", "f1")}
        | {"support": int(confusions[i].sum()), **bounds["per_class"][name]}
        for i, name in enumerate(expressions)
    }
    return {
        **{key: float(found[key]) for key in ("accuracy", *KEYS)},
        "nll": float(log_losses(targets, probs).mean()),
        "ece": calibration_error(reliability_bins(targets, probs)),
        "top3_accuracy": float(top3_hits(targets, probs).mean()),
        **bounds,
        "per_class": per_class,
        "n": len(rows),
    }


def _set_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return compare_pairs({}).assign(set=pd.Series(dtype="str"))
    filled = [table for table in tables if len(table)] or tables[:1]
    table = pd.concat(filled, ignore_index=True)
    return table[["set", *[c for c in table.columns if c != "set"]]]
