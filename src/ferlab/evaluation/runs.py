"""All runs at once: their predictions and metrics read together, one table of runs, ensembles and one family of tests per set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.evaluation.comparison import compare_pairs
from ferlab.evaluation.ensembles import ENSEMBLE, TRAINED
from ferlab.evaluation.intervals import RESAMPLES, metric_intervals
from ferlab.evaluation.predictions import expressions_of, faces_in, probs_of, read_predictions
from ferlab.evaluation.weighted_metrics import named_per_class, point_metrics, weighted_metrics
from ferlab.paths import InputError, artefact
from ferlab.roles import joint, listed, recorded

Scores = dict[str, dict[str, dict[str, Any]]]  # set -> ensemble -> split -> metrics


def read_runs(names: Iterable[str]) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]]]:
    """Return the predictions and the metrics of runs, each keyed by run.

    Raises:
        InputError: If a run has not been evaluated.
    """
    names = list(names)
    predictions = {name: read_predictions(artefact("evaluate", "predictions", name)) for name in names}
    metrics = {}
    for name in names:
        path = artefact("evaluate", "metrics", name)
        if not path.is_file():
            raise InputError(f"{path.parent.name}/{path.name}: not found; run the evaluate stage of run {name!r} first")
        metrics[name] = json.loads(path.read_text())
    return predictions, metrics


def table_of_runs(runs: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per run, in the order of `runs`.

    Args:
        runs: Per run `data`, `group`, `seed`, `model`, as in params.
        metrics: Per run what evaluate wrote.

    Returns:
        `run, set, dataset, group, seed, model`, `selected_on` (the splits that selected its epoch, "none" where the last was kept); per split val,
        test, test_dedup `<split>.<key>` for accuracy, its bounds, balanced accuracy, macro F1, NLL and ECE; of val and test `<split>.role`, what
        the split is to the run (see `ferlab.roles`); of test_without_near, the test faces without near-duplicates among the fitted, accuracy and its
        bounds; NaN where a run has no such split.
    """
    keys = ("accuracy", "accuracy_ci_low", "accuracy_ci_high", "balanced_accuracy", "macro_f1", "macro_f1_ci_low", "macro_f1_ci_high", "nll", "ece")
    rows = []
    for name, run in runs.items():
        row = {"run": name, "set": run["data"], "dataset": metrics[name].get("dataset", "")}
        row |= {key: run[key] for key in ("group", "seed", "model")}
        seen = recorded(metrics[name])
        row["selected_on"] = listed(seen.selected_on) if seen.selected_on else "none"
        row |= {f"{split}.role": seen.role(split) for split in ("val", "test")}
        for split in ("val", "test", "test_dedup"):
            scores = metrics[name].get(split) or {}
            row |= {f"{split}.{key}": scores.get(key, float("nan")) for key in keys}
        near = {key.replace("_dedup", ""): value for key, value in (metrics[name].get("near_duplicates") or {}).items() if value is not None}
        row |= {f"test_without_near.{key}": near.get(key, float("nan")) for key in keys if key.startswith("accuracy")}
        rows.append(row)
    return pd.DataFrame(rows)


def per_class_of(
    metrics: Mapping[str, Mapping[str, Any]], predictions: Mapping[str, pd.DataFrame], split: str = "test"
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{run: {expression: scores}}` of one split, expressions in the order of the set (files of metrics sort their keys)."""
    return {name: {e: scores[split]["per_class"][e] for e in expressions_of(predictions[name])} for name, scores in metrics.items()}


def datasets_of(runs: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the dataset of each set, as evaluate found it in the face table."""
    return {run["data"]: metrics[name]["dataset"] for name, run in runs.items()}


def families_of(runs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the families of the runs' models, which are the names of the papers, each once."""
    return tuple(dict.fromkeys(run["family"] for run in runs.values()))


def trained_on(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the splits that each run was fitted on."""
    return {name: tuple(scores["trained_on"]) for name, scores in metrics.items()}


def ours_beside_published(
    runs: pd.DataFrame,
    metrics: Mapping[str, Mapping[str, Any]],
    votes: Mapping[str, Mapping[str, Mapping[str, Any]]],
    members: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return our test accuracies in the shape of published rows: `label, set, dataset, split, value, low, high`, and `hollow` where test selected
    the epoch, or that of a member; ensembles last.
    """
    rows = [(name, set_name, [name], metrics[name]["test"]) for name, set_name in zip(runs["run"], runs["set"], strict=True)]
    for set_name, kinds in votes.items():
        voting = list((members or {}).get(set_name) or runs.loc[runs["set"] == set_name, "run"])
        rows += [(f"{kind} of {set_name}", set_name, voting, scores["test"]) for kind, scores in kinds.items()]
    return pd.DataFrame(
        [
            {
                "label": label,
                "set": set_name,
                "dataset": metrics[voting[0]]["dataset"],
                "split": _test_name(metrics[voting[0]]["usage"]["test"]),
                "value": scores["accuracy"],
                "low": scores["accuracy_ci_low"],
                "high": scores["accuracy_ci_high"],
                "hollow": joint(recorded(metrics[run]) for run in voting).role("test") != "untouched",
            }
            for label, set_name, voting, scores in rows
        ]
    )


def summarise_comparison(
    runs: pd.DataFrame,
    spread: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    votes: Mapping[str, Mapping[str, Mapping[str, Any]]],
    vote_pairs: pd.DataFrame,
    weights: Mapping[str, Mapping[str, float]] | None = None,
    effects: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Return what `reports/metrics/compare.json` says: `runs`, `groups`, `pairs`, `changes` and per set its `ensembles` with `ensemble_pairs`.

    Where weights were fitted, also `fitted_ensembles` (with `weights`) and `fitted_ensemble_pairs`.
    """
    by_kind = {kind: {name: kinds[kind] for name, kinds in votes.items() if kind in kinds} for kind in (ENSEMBLE, TRAINED)}
    tests = {name: pairs_by_name(rows) for name, rows in vote_pairs.groupby("set", sort=False)}
    summary = {
        "runs": summarise_runs(runs),
        "groups": summarise_groups(spread),
        "pairs": pairs_by_name(pairs),
        "changes": [] if effects is None else effects.to_dict("records"),
        "ensembles": by_kind[ENSEMBLE],
        "ensemble_pairs": {name: rows.get(ENSEMBLE, {}) for name, rows in tests.items()},
    }
    if not weights:
        return summary
    return {
        **summary,
        "fitted_ensembles": {name: {**scores, "weights": dict(weights[name])} for name, scores in by_kind[TRAINED].items()},
        "fitted_ensemble_pairs": {name: rows.get(TRAINED, {}) for name, rows in tests.items()},
    }


def summarise_runs(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the table of runs as `{run: {set, group, seed, val: {...}, test: {...}, test_dedup: {...}}}` for the metrics file."""
    summary: dict[str, dict[str, Any]] = {}
    for row in runs.to_dict("records"):
        nested: dict[str, Any] = {key: row[key] for key in ("set", "dataset", "group", "seed", "model", "selected_on")}
        for column, value in row.items():
            split, _, key = str(column).partition(".")
            if key and value == value:
                nested.setdefault(split, {})[key] = value
        summary[row["run"]] = nested
    return summary


def summarise_groups(spread: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the spread over seeds as `{set: {group: {seeds, <key>_mean, <key>_sd}}}`; keys keep their split: `test.accuracy` -> `test_accuracy`."""
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for row in spread.to_dict("records"):
        kept = {str(key).replace(".", "_"): value for key, value in row.items() if key not in ("set", "group")}
        nested.setdefault(row["set"], {})[row["group"]] = kept
    return nested


def runs_by_set(runs: Mapping[str, Mapping[str, Any]], chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the runs of each set, in order; only the chosen ones, or all where none is chosen."""
    sets: dict[str, list[str]] = {}
    for name, run in runs.items():
        if not chosen or name in chosen:
            sets.setdefault(run["data"], []).append(name)
    return sets


def score_ensembles(ensembles: Mapping[str, Mapping[str, pd.DataFrame]], *, resamples: int = RESAMPLES, seed: int = 0) -> Scores:
    """Return per set and ensemble the metrics on val and test, with 95 % bounds; keys as evaluate's."""
    return {
        name: {
            kind: {split: _score(faces_in(table, split), resamples=resamples, seed=seed) for split in ("val", "test")}
            for kind, table in kinds.items()
        }
        for name, kinds in ensembles.items()
    }


def compare_within_sets(
    predictions: Mapping[str, pd.DataFrame],
    sets: Mapping[str, Sequence[str]],
    *,
    split: str = "test",
    contrasts: Sequence[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Return the paired tests of the runs of each set, `set` first, then the columns of `compare_pairs`.

    Args:
        predictions: Per run its predictions table.
        sets: The runs of each set.
        split: Which faces.
        contrasts: The pairs to test, from `name_contrasts`; none for all pairs. Holm's correction is over the pairs tested in a set.
    """
    tables = []
    for name, runs in sets.items():
        pairs = [(a, b) for a, b in contrasts if {a, b} <= set(runs)] if contrasts else None
        tables.append(compare_pairs({run: predictions[run] for run in runs}, split, pairs=pairs).assign(set=name))
    return _set_first(tables)


def compare_ensembles(
    ensembles: Mapping[str, Mapping[str, pd.DataFrame]],
    predictions: Mapping[str, pd.DataFrame],
    members: Mapping[str, Sequence[str]],
    *,
    split: str = "test",
) -> pd.DataFrame:
    """Return the paired tests of each set's ensembles against each member, and of fitted against equal weights; Holm over those of a set."""
    tables = []
    for name, kinds in ensembles.items():
        wanted = [(kind, run) for kind in kinds for run in members[name]]
        if TRAINED in kinds:
            wanted.append((TRAINED, ENSEMBLE))
        all_tables = {**kinds, **{run: predictions[run] for run in members[name]}}
        tables.append(compare_pairs(all_tables, split, pairs=wanted).assign(set=name))
    return _set_first(tables)


def pairs_by_name(pairs: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{run_a: {run_b: {difference, ...}}}`, for the metrics file (DVC drops lists)."""
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for row in pairs.to_dict("records"):
        kept = {key: value for key, value in row.items() if key not in ("run_a", "run_b")}
        nested.setdefault(row["run_a"], {})[row["run_b"]] = kept
    return nested


def _test_name(usage: str) -> str:
    """Name the test split: PublicTest or PrivateTest by that name; a part of a set that has no test usage just "test"."""
    return "test" if usage == "Training" else usage


def _score(rows: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    targets, probs, expressions = rows["target"].to_numpy(), probs_of(rows), expressions_of(rows)
    bounds = metric_intervals(targets, probs, expressions=expressions, resamples=resamples, seed=seed)
    named = named_per_class(weighted_metrics(targets, probs), expressions)
    per_class = {name: {**named[name], **bounds["per_class"][name]} for name in expressions}
    return {**point_metrics(targets, probs), **bounds, "per_class": per_class, "n": len(rows)}


def _set_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return compare_pairs({}).assign(set=pd.Series(dtype="str"))
    filled = [table for table in tables if len(table)] or tables[:1]
    table = pd.concat(filled, ignore_index=True)
    return table[["set", *[c for c in table.columns if c != "set"]]]
