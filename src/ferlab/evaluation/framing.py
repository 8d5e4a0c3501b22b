"""Models of any origin on the same sets: scores, paired tests against the first model, and accuracy by expression and person. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.comparison import compare_pairs
from ferlab.evaluation.predictions import expressions_of, subjects_of
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.runs import score_rows
from ferlab.evaluation.tasks import Task, name_preparation, name_usage, task_of
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.origins import Origin

LEVEL = 0.05
Tables = dict[str, dict[str, pd.DataFrame]]  # set -> model -> predictions

KEPT = ("accuracy", "top3_accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")


def tables_of(frame: pd.DataFrame) -> Tables:
    """Return the predictions of each model on each set, from the table of `ferlab.deployment.frame.score_frame`, in its order."""
    tables: Tables = {}
    for (name, model), rows in frame.groupby(["set", "model"], sort=False):
        kept = rows.drop(columns=["set", "model"]).dropna(axis="columns", how="all").reset_index(drop=True)
        tables.setdefault(str(name), {})[str(model)] = kept
    return tables


def score_models(tables: Mapping[str, pd.DataFrame], *, resamples: int = 2000) -> dict[str, dict[str, Any]]:
    """Return the metrics of each model on one set with their 95 % bounds, over people where faces name them (but for those of the ECE)."""
    return {model: _scores(rows, resamples) for model, rows in tables.items()}


def _scores(rows: pd.DataFrame, resamples: int) -> dict[str, Any]:
    found = score_rows(rows, resamples=resamples)
    kept = {f"{key}{end}": found[f"{key}{end}"] for key in KEPT for end in ("", "_ci_low", "_ci_high") if f"{key}{end}" in found}
    per_class = {name: {key: of[key] for key in ("recall", "recall_ci_low", "recall_ci_high", "support")} for name, of in found["per_class"].items()}
    return {**kept, "n": len(rows), "people": found.get("subjects"), "per_class": per_class}


def tasks_per_set(tables: Tables, facts: Mapping[str, Any], *, tta: str) -> dict[str, dict[str, Task]]:
    """Return the task of each set, `{set: {"test": Task}}`, which every model's predictions share.

    Args:
        tables: From `tables_of`.
        facts: What the frame wrote: per set its `dataset`, `usage` and `preparation`.
        tta: Test-time augmentation of every model.
    """
    tasks = {}
    for name, models in tables.items():
        of, rows = facts["sets"][name], next(iter(models.values()))
        usage = name_usage("test", {"test": of["usage"]["test"].split(" and ")})
        prepared = name_preparation(of.get("preparation", {}))
        tasks[name] = {"test": task_of(rows, dataset=of["dataset"], usage=usage, tta=tta, preparation=prepared)}
    return tasks


def hits_of(rows: pd.DataFrame) -> np.ndarray:
    """Return whether each face is classified correctly, (N,) bool."""
    return (rows["pred"] == rows["target"]).to_numpy()


def compare_to_first(tables: Tables) -> pd.DataFrame:
    """Return the paired tests of each model against the first, per set: `set`, the columns of `compare_pairs` (`run_b` is the first model), and
    `verdict`: "better" or "worse" than the first at the 5 % level after Holm's correction over all tests of the set, else "".
    """
    parts = []
    for name, models in tables.items():
        first, *others = models
        pairs = compare_pairs(models, pairs=[(model, first) for model in others]).assign(set=name)
        significant = pairs["p_holm"].astype(float) < LEVEL
        pairs["verdict"] = np.where(~significant, "", np.where(pairs["difference"].astype(float) > 0, "better", "worse"))
        parts.append(pairs)
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(filled, ignore_index=True) if filled else compare_pairs({}).assign(set="", verdict="")


def by_person(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """Return faces and correct faces per person and expression: rows `subject`, `expression`, columns `faces` and one per model; None without people.

    Args:
        tables: The models of one set.
    """
    rows = next(iter(tables.values()))
    if (subjects := subjects_of(rows)) is None:
        return None
    names = np.array(expressions_of(rows))[rows["target"].to_numpy()]
    table = pd.DataFrame({"subject": subjects, "expression": names, "faces": 1, **{model: hits_of(each) for model, each in tables.items()}})
    return table.groupby(["subject", "expression"], sort=True).sum().reset_index()


def summarise_frame(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    pairs: pd.DataFrame,
    *,
    roles: Mapping[str, Mapping[str, str]],
    found: Mapping[str, Mapping[str, int]],
    origins: Mapping[str, Origin],
    people: Mapping[str, pd.DataFrame | None],
) -> dict[str, Any]:
    """Return `reports/metrics/frame.json`: `models`, and per set its counts, the scores and role of each model, its test against the first, and
    `people`: correct faces per person and expression. Nested by name, since DVC drops lists.
    """
    bare = pairs.drop(columns="run_b").astype(object)
    tests = {str(name): rows.drop(columns="set").set_index("run_a").to_dict("index") for name, rows in bare.groupby("set", sort=False)}
    sets = {
        name: {
            **found[name],
            "models": {model: {**of, "role": roles[name][model]} for model, of in models.items()},
            "against_first": tests.get(name, {}),
            "people": _nested(people[name], list(models)),
        }
        for name, models in scores.items()
    }
    models = {name: {"title": of.title, "trained_on": _plain(of.trained), "selected_on": _plain(of.selected)} for name, of in origins.items()}
    return {"models": models, "sets": sets}


def _plain(usages: Mapping[str, Sequence[str]] | None) -> dict[str, str] | None:
    return None if usages is None else {name: " and ".join(of) for name, of in usages.items()}


def _nested(table: pd.DataFrame | None, models: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    if table is None:
        return {}
    return {
        str(subject): {str(row["expression"]): {key: int(row[key]) for key in ("faces", *models)} for row in rows.to_dict("records")}
        for subject, rows in table.groupby("subject")
    }


def summed_people(table: pd.DataFrame, model: str, *, shown: Sequence[str] | None = None) -> pd.DataFrame:
    """Return "correct/faces" of one model, people as rows, expressions as columns, with a last row and column of sums over all people.

    Args:
        table: From `by_person`.
        model: One of its models.
        shown: The people that have a row, None for all; those without one count in the sums.
    """
    order = [name for name in ALL_EXPRESSIONS if name in set(table["expression"])]
    hits, faces = (table.pivot(index="subject", columns="expression", values=key).reindex(columns=order).fillna(0) for key in (model, "faces"))
    for each in (hits, faces):
        each["all"] = each.sum(axis=1)
        each.loc["all"] = each.sum()
    both = zip(hits.to_numpy(int), faces.to_numpy(int), strict=True)
    cells = [[f"{hit}/{n}" if n else "–" for hit, n in zip(*rows, strict=True)] for rows in both]
    whole = pd.DataFrame(cells, index=hits.index.rename("person"), columns=[*order, "all"])
    return whole if shown is None else whole[whole.index.isin([*shown, "all"])].rename({"all": f"all {len(whole) - 1} people"})


def order_suspicion(rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return a class order under which a model would be far more accurate, a sign that its card has another order than its graph; else None.

    The assignment of predicted classes to labels with the most correct faces is compared with the card's: reported where its Wilson interval lies
    wholly above that of the card's order by more than 10 points.

    Returns:
        `accuracy`, that of the best assignment `best`, and `order`: the labels that the card's classes seem to stand for.
    """
    from scipy.optimize import linear_sum_assignment

    names, n = expressions_of(rows), len(rows)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (rows["target"].to_numpy(), rows["pred"].to_numpy()), 1)
    labels, classes = linear_sum_assignment(-counts)
    best, own = int(counts[labels, classes].sum()), int(counts.trace())
    if wilson(best, n)[0] <= wilson(own, n)[1] + 0.1:
        return None
    stands_for = {names[of]: names[label] for label, of in zip(labels, classes, strict=True)}
    return {"accuracy": own / n, "best": best / n, "order": [stands_for[name] for name in names]}
