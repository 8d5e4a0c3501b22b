"""Sections of a published study's README on explanations: hypotheses, maps, covered faces, worlds; by the functions of the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.error_analysis.covered_transfer import compare_losses
from ferlab.explanation.covered_mass import compare_masses, pairs_of, read_masses
from ferlab.explanation.methods import METHODS
from ferlab.explanation.ranking import ranking_of
from ferlab.params import Params
from ferlab.paths import InputError, artefact
from ferlab.reporting.exposure import trained_sentence
from ferlab.reporting.pages import faithfulness, hypotheses, worlds
from ferlab.reporting.pages.explain_gallery import ranking_parts
from ferlab.reporting.site.publish_stages import Ran
from ferlab.reporting.tables import cell, estimate, markdown_table, p_equals, source_name
from ferlab.roles import recorded


def hypotheses_section(ran: Ran, shown: Iterable[str]) -> str:
    """Return the hypotheses of the runs shown, and below them the verdicts of all runs; "" where none was explained."""
    tested = {run: pd.DataFrame(known(of["hypotheses"])) for run, of in ran.of("explain").items() if of.get("hypotheses")}
    parts = []
    for run, table in tested.items():
        if run in shown:
            of, believed = ran.runs[run]["explain"], verdicts(ran, table["method"].unique())
            sentence = hypotheses.hypotheses_sentence(table, believed=believed, source=source_name(of, of["split"]))
            trained = trained_sentence(recorded(ran.runs[run]["evaluate"]), of["split"])
            parts += [" ".join(filter(None, [f"`{run}`, {of['split']}.", trained, sentence]))]
            parts += [markdown_table(hypotheses.hypotheses_table(table, believed=believed))]
    if len(tested) > 1:
        parts += ["Verdicts by occlusion of every run:", markdown_table(_verdicts_by_run(tested))]
    if tested:
        parts.insert(0, _READ)
    return "\n\n".join(parts)


_READ = (
    "Correctly classified faces. A hypothesis holds if the maps are denser in its regions than elsewhere (density ratio above 1) and have more mass "
    "there than those of the other expressions (difference above 0); Holm over both tests of all hypotheses of a method. Intervals are 95 %, over "
    "photographs, or subjects where faces name them."
)


def _verdicts_by_run(tested: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    tables = {run: table[table["method"] == hypotheses.MAIN].reset_index(drop=True) for run, table in tested.items()}
    first = next(iter(tables.values()))
    return first[["expression", "regions"]].assign(**{run: table["verdict"] for run, table in tables.items()})


def maps_section(params: Params, ran: Ran, shown: Iterable[str]) -> str:
    """Return what the ranking on control faces says of the methods, and how faithful their maps are; "" where no run was explained."""
    explained, parts = ran.of("explain"), []
    if explained and "worlds" in ran.study:
        methods = list(next(iter(explained.values()))["attribution_mass"])
        table, sentence = ranking_parts(ranking(ran, methods), ran.study["worlds"], shown_with=params.explain.model_dump())
        parts += [sentence, markdown_table(table)]
    for run, of in explained.items():
        if run in shown and of.get("faithfulness"):
            summary = unnested(of["faithfulness"])
            trained = trained_sentence(recorded(ran.runs[run]["evaluate"]), of["split"])
            told = [trained, faithfulness.gain_sentence(summary), faithfulness.sanity_sentence(summary)]
            n = int(summary["n"].max())
            parts += [" ".join(filter(None, [f"`{run}`, {n} {of['split']} faces.", *told])), markdown_table(faithfulness.scores_table(summary))]
    return "\n\n".join(parts)


def ranking(ran: Ran, methods: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of the worlds' ranking of some methods; none where stage worlds did not run."""
    return known(ranking_of(ran.study["worlds"], list(methods))) if "worlds" in ran.study else []


def verdicts(ran: Ran, methods: Iterable[str]) -> dict[str, str]:
    """Return the worlds' verdict on each method."""
    return {row["method"]: row["verdict"] for row in ranking(ran, methods)}


def unnested(faithfulness_of: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return what `ferlab.explanation.faithfulness.nested_summary` nested, as a table."""
    rows = [{"metric": metric, "method": method, **values} for metric, of in faithfulness_of.items() for method, values in of.items()]
    ends = [f"{key}{end}" for key in ("value", "ahead") for end in ("", "_ci_low", "_ci_high")]
    return pd.DataFrame(known(rows)).reindex(columns=["metric", "method", "n", *ends, "best"])


def covered_facts(params: Params, ran: Ran) -> dict[str, Any]:
    """Return how runs on covered faces differ from those on whole ones; {} without such runs.

    Returns:
        `masses`: rows of `compare_masses` on the faces of `split`, where both runs of a pair were explained; `losses`: of `compare_losses`, where
        each was scored on the set of the other.
    """
    explained, robust, found = ran.of("explain"), ran.of("robustness"), {}
    sets = {name: run.data for name, run in params.runs.items()}
    try:
        pairs = pairs_of(params)
    except InputError:
        return {}
    if mapped := {pair: regions for pair, regions in pairs.items() if set(pair) <= set(explained)}:
        found["split"] = params.explain.split
        found["masses"] = compare_masses(read_masses([run for pair in mapped for run in pair]), mapped).to_dict("records")
    both = [pair for pair in pairs if all(sets[other] in robust.get(run, {}).get("other_sets", {}) for run, other in (pair, pair[::-1]))]
    if both:
        transfers = {run: pd.read_parquet(artefact("robustness", "transfer", run)) for pair in both for run in pair}
        found["losses"] = compare_losses(transfers, both, sets)
    return found


def covered_section(facts: Mapping[str, Any]) -> str:
    """Return the facts of `covered_facts` as a table and a sentence."""
    parts = []
    if masses := facts.get("masses"):
        faces = f"the {facts['split']} faces that both runs of a seed classify correctly"
        told = f"Attribution mass on the covered regions, on {faces}; averaged over seeds face by face, 95 % intervals over photographs or subjects."
        parts += [told, markdown_table(pd.DataFrame(map(_mass_row, masses)))]
    if of := facts.get("losses"):
        lost = [estimate(of, side, unit="points") for side in ("whole", "covered")]
        seeds = {"difference": of["difference"]} | {f"difference_{end}": of[f"seeds_{end}"] for end in ("ci_low", "ci_high")}
        over_seeds = f", {estimate(seeds, 'difference', unit='points')} over {of['seeds']} seeds" if of["seeds"] > 1 else ""
        parts.append(
            f"Transfer, on the same {of['n']:,} photographs whole and covered: runs trained on whole faces lose {lost[0]} of accuracy on covered "
            f"ones, runs trained on covered faces {lost[1]} on whole ones. The losses differ by {estimate(of, 'difference', unit='points')} over "
            f"faces (p {p_equals(of['p'])}){over_seeds}."
        )
    return "\n\n".join(parts)


def _mass_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "maps": METHODS[row["method"]].title,
        "seeds": row["seeds"],
        "faces": f"{row['n']:,}",
        "trained on whole faces, %": cell(row, "whole"),
        "on covered faces, %": cell(row, "covered"),
        "difference, points": cell(row, "difference"),
    }


def worlds_section(found: Mapping[str, Any] | None) -> str:
    """Return the ranking of the attribution methods on control faces; "" where the stage did not run."""
    if not found:
        return ""
    of = known(found)
    facts = {"seeds": {seed: {"roar": rows} for seed, rows in of["roar"].items()}}
    several = f"{len(of['seeds'])} seeds, each drawn and trained anew" if len(of["seeds"]) > 1 else "one seed"
    parts = [
        f"Models of the architecture `{of['model']}`, {several}. {worlds.premise_sentence(pd.DataFrame(of['used']), of['holds'])}",
        f"{worlds.ranking_sentence(of['ranking'])} {worlds.criterion_sentence()}",
        markdown_table(worlds.ranking_table(of["ranking"], of["own_face"])),
        f"{worlds.baselines_sentence(of['baselines'])} {worlds.wired_sentence(of['ranking'])}".strip(),
    ]
    if any(of["roar"].values()):
        parts += [worlds.roar_text(facts), markdown_table(worlds.roar_table(facts))]
    return "\n\n".join(part for part in parts if part)


def known(values: Any) -> Any:
    """Return metrics read from JSON with NaN for null, as they were before they were written."""
    if isinstance(values, Mapping):
        return {key: known(value) for key, value in values.items()}
    if isinstance(values, list):
        return [known(value) for value in values]
    return np.nan if values is None else values
