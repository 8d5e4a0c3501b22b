"""The evidence of a published study, computed again from the predictions and measures that lie beside its summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.error_analysis.covered_transfer import compare_losses
from ferlab.error_analysis.frame_leak import leak_row
from ferlab.evaluation.ablations import changes_from_base, factor_effects
from ferlab.evaluation.kept import read_kept
from ferlab.evaluation.predictions import expressions_of
from ferlab.evaluation.robustness import corruption_table, outcomes
from ferlab.explanation.covered_mass import compare_masses, pairs_of
from ferlab.explanation.hypotheses import judge_hypotheses
from ferlab.explanation.ranking import rank_methods, used_parts
from ferlab.params import Params, load_params
from ferlab.reporting.site.publish_measures import MEASURES, read_measures
from ferlab.reporting.site.publish_page import PREDICTIONS

TOLERANCE = 2e-4  # of fractions and ratios: measures are float32, metrics have six decimals
Pair = tuple[str, Any, Any]  # where, stated, computed again


def differing(folder: Path) -> list[str]:
    """Return where the summary of a published study states another number than its predictions and measures give."""
    summary = json.loads((folder / "summary.json").read_text())
    pairs = [pair for found in (hypotheses, corruptions, changes, covered, study) for pair in found(folder, summary)]
    return [f"{where}: {stated} stated, {again} again" for where, stated, again in pairs if not same(stated, again)]


def same(stated: Any, again: Any) -> bool:
    if stated is None:  # JSON has no NaN and no infinity
        return again is None or not np.isfinite(again)
    if isinstance(stated, (str, bool)):
        return stated == again
    return bool(np.isclose(stated, again, rtol=TOLERANCE, atol=TOLERANCE))


def kept(folder: Path, name: str) -> pd.DataFrame | None:
    """Return a table of measures; None for one that was too large to keep."""
    path = folder / MEASURES / f"{name}.parquet"
    return read_measures(path) if path.is_file() else None


def predictions(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: read_kept(path) for path in (folder / PREDICTIONS).glob("*.parquet")}


def read_params(folder: Path) -> Params:
    return load_params(folder / "params.yaml")


def rows(where: str, stated: Mapping[str, Any], again: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Pair]:
    for key in keys:
        for end in ("", "_ci_low", "_ci_high"):
            yield f"{where} {key}{end}", stated[f"{key}{end}"], again[f"{key}{end}"]


def hypotheses(folder: Path, summary: Mapping[str, Any]) -> Iterator[Pair]:
    for run, of in summary["runs"].items():
        if "explain" in of and (masses := kept(folder, f"masses-{run}")) is not None:
            found = next(iter(of["explain"]["attribution_mass"]["occlusion"].values()))
            areas = {region: each["area"] for region, each in found.items() if region != "n"}
            names = expressions_of(read_kept(folder / PREDICTIONS / f"{run}.parquet"))
            tested = judge_hypotheses(masses, areas=areas, expressions=names).to_dict("records")
            for stated, again in zip(of["explain"]["hypotheses"], tested, strict=True):
                where = f"{run} {stated['method']} {stated['expression']}: {stated['regions']}"
                yield f"{where} n", stated["n"], again["n"]
                yield f"{where} verdict", stated["verdict"], again["verdict"]
                yield from rows(where, stated, again, ("ratio", "difference"))


def corruptions(folder: Path, summary: Mapping[str, Any]) -> Iterator[Pair]:
    for run, of in summary["runs"].items():
        if "robustness" in of and (table := kept(folder, f"robustness-{run}")) is not None:
            found = outcomes(table)
            for again in corruption_table(found, found.named("corruption")).to_dict("records"):
                stated = of["robustness"]["corruptions"][again["condition"]]
                yield from rows(f"{run} {again['condition']}", stated, again, ("error", "rise"))


def changes(folder: Path, summary: Mapping[str, Any]) -> Iterator[Pair]:
    if "changes_from_base" not in summary:
        return
    runs = {name: run.model_dump() for name, run in read_params(folder).runs.items() if not run.train.expressions}
    by_subject = any(run["evaluate"].get("subjects_by_split") for run in summary["runs"].values())  # kept predictions name no subjects
    tested = () if by_subject else ("p_holm", "ci_low", "ci_high")
    tables, trained_on = predictions(folder), {name: summary["runs"][name]["evaluate"]["trained_on"] for name in runs}
    for measure, stated in summary["changes_from_base"].items():
        effects = factor_effects(runs, tables, trained_on=trained_on, balanced=measure != "accuracy")
        for before, again in zip(stated, changes_from_base(effects, runs).to_dict("records"), strict=True):
            for key in ("n", "to", "split", "difference", "seeds_ci_low", "seeds_ci_high", *tested):
                yield f"{measure} {before['to']} {before['split']} {key}", before[key], again[key]


def covered(folder: Path, summary: Mapping[str, Any]) -> Iterator[Pair]:
    facts = summary.get("covered", {})
    params = read_params(folder) if facts else None
    pairs = pairs_of(params) if params else {}
    masses = {run: kept(folder, f"masses-{run}") for pair in pairs for run in pair}
    if "masses" in facts and all(table is not None for table in masses.values()):
        again = compare_masses(masses, pairs).to_dict("records")
        for stated, found in zip(facts["masses"], again, strict=True):
            yield from rows(f"covered {stated['method']}", stated, found, ("difference",))
            yield from ((f"covered {stated['method']} {key}", stated[key], found[key]) for key in ("n", "whole", "covered"))
    transfers = {run: kept(folder, f"transfer-{run}") for pair in pairs for run in pair}
    if "losses" in facts and params and all(table is not None for table in transfers.values()):
        found = compare_losses(transfers, list(pairs), {name: run.data for name, run in params.runs.items()})
        yield from ((f"losses {key}", facts["losses"][key], found[key]) for key in found)


def study(folder: Path, summary: Mapping[str, Any]) -> Iterator[Pair]:
    scores, interventions = kept(folder, "worlds"), kept(folder, "worlds_interventions")
    if interventions is not None:
        for stated, again in zip(summary["worlds"]["used"], used_parts(interventions).to_dict("records"), strict=True):
            yield from rows(f"worlds {stated['model']} {stated['part']}", stated, again, ("flip", "effect"))
    if scores is not None:
        again = {row["method"]: row for row in rank_methods(scores, holds=summary["worlds"]["holds"])}
        for stated in summary["worlds"]["ranking"]:
            yield f"worlds {stated['method']} score", stated["score"], again[stated["method"]]["score"]
            yield f"worlds {stated['method']} zero", stated["zero"], again[stated["method"]]["zero"]
    if (leak := kept(folder, "frame_leak")) is not None:
        stated = next(row for row in summary["claims"] if row["check"].startswith("a random split of frames"))
        siblings = {"random_frames": int(stated["evidence"].split(" % of the test frames")[0].rpartition("(")[2]) / 100}
        yield "frame leak", stated["evidence"], leak_row(leak, {"siblings": siblings})["evidence"]
