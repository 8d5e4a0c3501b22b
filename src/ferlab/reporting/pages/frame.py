"""The page of the frame: models of any origin on the same sets, better and worse marked against the first, by expression and by person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ferlab.evaluation.framing import LEVEL, summed_people
from ferlab.origins import Origin, role_mark, trained_words
from ferlab.reporting.tables import MISSING, as_difference, captioned, cell, estimate, number, p_equals, source_name
from ferlab.roles import listed

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#6B6B6B")
MARKS = {"better": " ▲", "worse": " ▼", "": ""}
CHANNELS = {1: "grey", 3: "colour"}
PEOPLE_AT_MOST = 24  # rows of a table by person
NOTHING = "`frame.models` names no model: nothing is compared. Add models and sets to params.yaml, e.g. `models: [shipped]`."

Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]  # set -> model -> metrics
Facts = Mapping[str, Any]


def models_table(facts: Facts, origins: Mapping[str, Origin]) -> pd.DataFrame:
    """Return one row per model: what it is, its input, its classes, what it was trained on and who states that, its licence."""
    rows = {
        name: {
            "model": origin.title,
            "input": f"{known['size']} px, {CHANNELS[known['channels']]}",
            "expressions": len(known["expressions"]),
            "trained on": trained_words(origin),
            "stated by": origin.stated or MISSING,
            "licence": origin.licence or MISSING,
        }
        for name, origin in origins.items()
        for known in [facts["models"][name]]
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["model", "input", "expressions", "trained on", "stated by", "licence"]).rename_axis(
        "name"
    )
    return captioned(table, "Models that are compared")


def sets_sentence(facts: Facts, scores: Scores) -> str:
    """Say of each set which faces are scored, and how many pictures it does not hold for want of a face."""
    told = []
    for name, of in facts["sets"].items():
        n = next(iter(scores[name].values()))["n"]
        people = next(iter(scores[name].values()))["people"]
        who = f" of {people} people" if people else ""
        lost = f"; no face was found in {of['not_found']:,} of its {of['pictures']:,} pictures" if of["not_found"] else "; every picture holds a face"
        told.append(f"**{name}** ({source_name(of)}): {n:,} test faces{who}{lost}.")
    return " ".join(told)


def scores_table(scores: Scores, pairs: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return one row per model, and per set: top-1 accuracy with its mark against the first model and what the faces are to the model, top-3
    accuracy, macro F1, and the pictures in which no face was found.
    """
    verdicts = {(row["set"], row["run_a"]): row["verdict"] for row in pairs.to_dict("records")}
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for name, models in scores.items():
        for model, of in models.items():
            role = role_mark(facts["sets"][name]["roles"][model])
            missing = f"{facts['sets'][name]['not_found']:,} of {facts['sets'][name]['pictures']:,}"
            first = cell(of, "accuracy") + MARKS[verdicts.get((name, model), "")] + (f" ({role})" if role else "")
            rows.setdefault(model, {}).update(
                {
                    (name, "top-1 accuracy, %"): first,
                    (name, "top-3 accuracy, %"): cell(of, "top3_accuracy"),
                    (name, "macro F1, %"): number(of["macro_f1"], percent=True),
                    (name, "no face found"): missing,
                }
            )
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = pd.Index([f"{name}: {what}" for name, what in table.columns])
    return captioned(table.rename_axis("model"), "Scores of each model on each dataset")


def best_sentence(scores: Scores, pairs: pd.DataFrame, facts: Facts) -> str:
    """Say of each set which model has the highest accuracy, which are better or worse than the first, and what the faces are to those named."""
    told = []
    for name, models in scores.items():
        marks = {model: role_mark(role) for model, role in facts["sets"][name]["roles"].items()}
        named = {model: f"{model} ({marks[model]})" if marks[model] else model for model in models}
        top = max(models, key=lambda model: models[model]["accuracy"])
        own = pairs[pairs["set"] == name]
        differ = {word: list(own.loc[own["verdict"] == word, "run_a"].map(named)) for word in ("better", "worse")}
        first = named[next(iter(models))]
        tested = [f"{listed(which)} {'is' if len(which) == 1 else 'are'} significantly {word}" for word, which in differ.items() if which]
        against = f"Against {first}, {' and '.join(tested)}" if tested else f"No model differs significantly from {first}" if len(own) else ""
        told.append(f"On {name} the highest accuracy is that of {named[top]}, {estimate(models[top], 'accuracy')}.")
        told += [f"{against}."] if against else []
    return " ".join(told)


def tests_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the paired tests against the first model, differences in points."""
    rows = [
        {
            "set": row["set"],
            "pair": f"{row['run_a']} − {row['run_b']}",
            "difference, points": cell(row, "difference"),
            "correct only in first / second": f"{row['only_a']} / {row['only_b']}",
            "n": f"{row['n']:,}",
            "test": "t test by person" if row["p_subjects"] == row["p_subjects"] else "McNemar, exact",
            "Holm p": p_equals(row["p_holm"]).removeprefix("= "),
            "verdict": row["verdict"] or "not significant",
            "detectable, points": number(row["detectable"], percent=True),
        }
        for row in map(as_difference, pairs.to_dict("records"))
    ]
    columns = ["set", "pair", "difference, points", "correct only in first / second", "n", "test", "Holm p", "verdict", "detectable, points"]
    return captioned(pd.DataFrame(rows, columns=columns).set_index("pair"), "Paired tests of each model against the first on the same faces")


def plot_frame(scores: Scores) -> Figure:
    """Draw top-1 accuracy (filled) and top-3 accuracy (open) of each model with 95 % intervals, a panel per set."""
    models = list(next(iter(scores.values())))
    figure, axes = plt.subplots(
        1, len(scores), figsize=(3.2 + 2.9 * len(scores), 0.5 * len(models) + 1.3), layout="constrained", sharey=True, squeeze=False
    )
    for axis, (name, of) in zip(axes[0], scores.items(), strict=True):
        for place, model in enumerate(models):
            for key, filled in (("accuracy", True), ("top3_accuracy", False)):
                value, low, high = (100 * of[model][f"{key}{end}"] for end in ("", "_ci_low", "_ci_high"))
                colour = COLOURS[place % len(COLOURS)]
                spans = [[value - low], [high - value]]
                axis.errorbar(value, place, xerr=spans, fmt="o", color=colour, mfc=colour if filled else "white", capsize=3)
        axis.set(title=name, xlim=(-3, 103), xlabel="accuracy, %")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(models)), models)
    axes[0, 0].set_ylim(len(models) - 0.5, -0.5)
    return figure


def expressions_table(name: str, scores: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the recall of each expression on set `name`, models as columns, hardest for the first model first."""
    first = next(iter(scores.values()))["per_class"]
    met = [name for name in first if first[name]["support"]]
    names = sorted(met, key=lambda name: first[name]["recall"])
    rows = {
        name: {"faces": first[name]["support"], **{model: cell(of["per_class"][name], "recall") for model, of in scores.items()}} for name in names
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("recall, %")
    return captioned(table, f"Recall of each expression on {name}, lowest of the first model first")


def expressions_sentence(scores: Scores) -> str:
    """Say which expression each model classifies worst on each set."""
    told = []
    for name, models in scores.items():
        worst = {}
        for model, of in models.items():
            met = {expression: each["recall"] for expression, each in of["per_class"].items() if each["support"]}
            worst.setdefault(min(met, key=lambda expression: met[expression]), []).append(model)
        told.append(f"Lowest recall on {name}: " + "; ".join(f"{expression} ({listed(which)})" for expression, which in worst.items()) + ".")
    return " ".join(told)


def people_parts(people: Mapping[str, pd.DataFrame | None], scores: Scores) -> list[str | pd.DataFrame]:
    """Return for each set and model the table of correct faces per person and expression; of many people rows for those with the
    lowest accuracy of the first model, and sums over all. Sets without people have a sentence.
    """
    parts: list[str | pd.DataFrame] = []
    for name, table in people.items():
        if table is None:
            parts.append(f"The faces of **{name}** name no people.")
            continue
        models = list(scores[name])
        totals = table.groupby("subject")[[models[0], "faces"]].sum()
        shown = (totals[models[0]] / totals["faces"]).sort_values(kind="stable").index[:PEOPLE_AT_MOST]
        few = f", the {len(shown)} with the lowest accuracy under {models[0]} of {len(totals)}" if len(totals) > len(shown) else ""
        for model in models:
            sums = summed_people(table, model, shown=shown if few else None)
            parts.append(captioned(sums, f"{name}, {model}: correct of all faces, by person and expression{few}"))
    return parts


def people_sentence(people: Mapping[str, pd.DataFrame | None], scores: Scores) -> str:
    """Say how far the accuracy of the first model differs between people, per set."""
    told = []
    for name, table in people.items():
        if table is not None:
            model = next(iter(scores[name]))
            totals = table.groupby("subject")[[model, "faces"]].sum()
            of = totals[model] / totals["faces"]
            told.append(f"On {name} the accuracy of {model} is between {100 * of.min():.0f} and {100 * of.max():.0f} % over {len(of)} people.")
    return " ".join(told) or "No set names people."


def reading_note() -> str:
    """Say how the marks are to be read."""
    level = f"{100 * LEVEL:.0f} %"
    return (
        f"▲ and ▼: significantly better and worse than the first row at the {level} level, by a paired test on the same faces with Holm's correction."
    )
