"""Every number of docs/pitfalls.md is computed again from the file that its section names."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ferlab.error_analysis.frame_leak import compare_splits
from ferlab.evaluation.calibration import calibration_error, reliability_bins
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.framing import hits_of, tables_of
from ferlab.evaluation.kept import read_kept, rescore
from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.proportions import newcombe, wilson
from ferlab.evaluation.published import read_published
from ferlab.reporting.site.publish_frame import read_frame
from ferlab.reporting.site.publish_page import HISTORIES

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
FEW, DRAWS = 100, 500  # faces of a small test set, and how many of them are drawn
AUGMENTED = ("none", "flip", "ten_crop", "two_scales")
STUDIES_WITH_TTA = ("fer2013", "fer2013_gpu", "fer2013_gpu_long")


@cache
def summary(study: str) -> dict[str, Any]:
    return json.loads((PUBLISHED / study / "summary.json").read_text())


@cache
def shipped() -> pd.DataFrame:
    return read_kept(PUBLISHED / "shipped" / "predictions" / "none.parquet")


@cache
def frame() -> dict[str, dict[str, pd.DataFrame]]:
    return tables_of(read_frame(PUBLISHED / "frame"))


def text() -> str:
    return " ".join((ROOT / "docs" / "pitfalls.md").read_text().split())


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{percent(hits / n)} % [{percent(low)}, {percent(high)}]"


def of_n(value: float, n: int) -> str:
    return share(round(value * n), n)


def duplicates() -> list[str]:
    table = shipped()
    marked, hits = table["duplicate"].to_numpy(), hits_of(table)
    known, new = hits[marked], hits[~marked]
    gap = newcombe(int(known.sum()), len(known), other_successes=int(new.sum()), other_n=len(new))
    found = rescore(table)
    probe = json.loads((PUBLISHED / "fer2013_audit.json").read_text())["probe"]
    return [
        f"{len(known)} of {len(table):,} PublicTest faces have a duplicate",
        f"{share(int(known.sum()), len(known))} of these and {share(int(new.sum()), len(new))} of the other {len(new):,}",
        f"{100 * gap['difference']:.1f} points [{100 * gap['ci_low']:.1f}, {100 * gap['ci_high']:.1f}]",
        f"accuracy is {of_n(hits.mean(), len(hits))} with the duplicates and {share(int(new.sum()), len(new))} without",
        f"balanced accuracy {percent(found['test']['balanced_accuracy'])} % and {percent(found['test_dedup']['balanced_accuracy'])} %",
        f"reaches {of_n(probe['all']['accuracy'], probe['all']['n'])} (n {probe['all']['n']:,}), "
        f"{of_n(probe['dedup']['accuracy'], probe['dedup']['n'])} without them (n {probe['dedup']['n']:,})",
    ]


def mixed_usages() -> list[str]:
    rows = {row["system"]: row for row in read_published().to_dict("records") if row["paper"] == "fersys"}
    stated = rows["DeepFace"]
    runs = summary("fersys_official")["runs"]
    told = []
    for name, run in (("DeepFace", "deepface_scratch_official"), ("CNN", "cnn_official")):
        of = runs[run]["evaluate"]
        told.append(f"{of_n(rows[name]['accuracy'], int(rows[name]['n']))} | {of_n(of['test']['accuracy'], of['n']['test'])}")
    return [f"n {int(stated['n']):,}", *told]


def usages() -> list[str]:
    theirs = pd.read_csv(PUBLISHED / "public_and_private_test.csv")
    gaps = theirs["private_test"] - theirs["public_test"]
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std() / np.sqrt(len(gaps))
    return [f"{gaps.mean():.1f} points [{gaps.mean() - half:.1f}, {gaps.mean() + half:.1f}]", f"{gaps.min():.1f} to {gaps.max():.1f}"]


def frames() -> list[str]:
    found = compare_splits(pd.read_csv(PUBLISHED / "random_frames.csv"))
    reached = [f"{percent(found[s])} % [{percent(found[f'{s}_ci_low'])}, {percent(found[f'{s}_ci_high'])}]" for s in ("random_frames", "by_subject")]
    gain = f"{percent(found['difference'])} points [{percent(found['ci_low'])}, {percent(found['ci_high'])}]"
    each = f"{percent(min(found['by_draw']))} to {percent(max(found['by_draw']))} in each"
    lenet = [run["evaluate"]["test"] | run["evaluate"]["subjects_by_split"]["test"] for run in summary("cs231a_short")["runs"].values()]
    trained = [f"{percent(of['accuracy'])} % [{percent(of['accuracy_ci_low'])}, {percent(of['accuracy_ci_high'])}] {how}"
               for of, how in zip(lenet, ("on random frames", "by subject"), strict=True)]  # fmt: skip
    return [f"{found['n']} test frames of {found['subjects']} subjects", *reached, gain, each, *trained]


def epochs() -> list[str]:
    """Two runs of a seed have the same weights in every epoch; one keeps the best on test, the other the best on val."""
    runs, gains = summary("fer2013_epoch")["runs"], {"test": [], "test_dedup": []}
    for seed in range(3):
        both = [f"on_test_{seed}", f"on_val_{seed}"]
        on_test, on_val = (pd.read_csv(PUBLISHED / "fer2013_epoch" / HISTORIES / f"{run}.csv") for run in both)
        assert on_test[["train_loss", "train_accuracy"]].equals(on_val[["train_loss", "train_accuracy"]])
        for split, found in gains.items():
            first, second = (runs[run]["evaluate"][split]["accuracy"] for run in both)
            found.append(100 * (first - second))
    n = runs["on_test_0"]["evaluate"]["n"]
    return [f"{np.mean(found):.1f} points on average ({min(found):.1f} to {max(found):.1f}; n {n[split]:,})" for split, found in gains.items()]


def imbalance() -> list[str]:
    table = shipped()
    counts, found = table["target"].value_counts(), rescore(table)
    names = [column.removeprefix("prob_") for column in table.columns if column.startswith("prob_")]
    rates = {name: (int((hits_of(table) & (table["target"] == i)).sum()), int((table["target"] == i).sum())) for i, name in enumerate(names)}
    runs = summary("cs230")["runs"]
    plain, weighted = (runs[run]["evaluate"]["test"] for run in ("five_layer", "five_layer_weighted"))
    pair = summary("cs230")["compare"]["pairs"]["five_layer"]["five_layer_weighted"]
    recall = [of["per_class"]["disgust"] for of in (plain, weighted)]
    return [
        f"always predicting happy is correct on {share(int(counts.max()), len(table))}",
        f"accuracy {percent(found['test']['accuracy'])} % and balanced accuracy {percent(found['test']['balanced_accuracy'])} %",
        f"recall of fear {share(*rates['fear'])} (n {rates['fear'][1]}) and of happy {share(*rates['happy'])} (n {rates['happy'][1]})",
        f"from {of_n(recall[0]['recall'], recall[0]['support'])} to {of_n(recall[1]['recall'], recall[1]['support'])} (n {recall[0]['support']})",
        f"costs {100 * pair['difference']:.1f} points [{100 * pair['ci_low']:.1f}, {100 * pair['ci_high']:.1f}] of accuracy",
    ]


def chosen_tta() -> list[str]:
    rows = [
        [run["evaluate"][f"tta_{tta}"]["test"]["accuracy"] for tta in AUGMENTED]
        for study in STUDIES_WITH_TTA
        for run in summary(study)["runs"].values()
    ]
    of = 100 * np.array(rows)
    best, fixed = of.max(axis=1) - of[:, 3], of[:, 3] - of[:, 0]
    return [
        f"of {len(of)} models",
        f"{best.mean():.2f} points on average (up to {best.max():.2f})",
        f"brings {fixed.mean():.1f} points over no TTA ({fixed.min():.1f} to {fixed.max():.1f})".replace("-", "−"),
    ]


def chosen_seed() -> list[str]:
    runs: dict[str, list[float]] = {}
    for name, run in summary("fer2013_ablation")["runs"].items():
        runs.setdefault(name.rpartition("_")[0], []).append(100 * run["evaluate"]["test"]["accuracy"])
    of = np.array(list(runs.values()))
    excess, sd = of.max(axis=1) - of.mean(axis=1), np.sqrt(of.var(axis=1, ddof=1).mean())
    return [f"{of.shape[0]} recipes", f"{excess.mean():.1f} points on average (up to {excess.max():.1f})", f"standard deviation of {sd:.1f} points"]


def faces_or_seeds() -> list[str]:
    from test_published_numbers import change_tests

    told = []
    for split in ("val", "test"):
        table = change_tests(split)
        faces, seeds = (int((table[key] < 0.05).sum()) for key in ("faces", "over_seeds"))
        told.append(f"on {split} {faces} of {len(table)} changes over faces and {seeds}")
    return told


@cache
def eces() -> tuple[float, np.ndarray]:
    table = shipped()
    targets, probs = table["target"].to_numpy(), probs_of(table)
    random = np.random.default_rng(0)
    drawn = [random.choice(len(table), FEW, replace=False) for _ in range(DRAWS)]
    return calibration_error(reliability_bins(targets, probs)), np.array([calibration_error(reliability_bins(targets[i], probs[i])) for i in drawn])


def few_faces() -> list[str]:
    whole, parts = eces()
    low, high = np.percentile(parts, (2.5, 97.5))
    drawn = f"{percent(parts.mean())} % on average (95 % of them {percent(low)} to {percent(high)})"
    return [f"the ECE of {len(shipped()):,} faces is {percent(whole)} %", f"{DRAWS} samples of {FEW} faces", drawn]


def people() -> list[str]:
    told = []
    for name in ("web_all", "control"):
        rows = frame()[name]["shipped"]
        hits, subjects = hits_of(rows), rows["subject"].to_numpy()
        low, high = cluster_proportion(hits, subjects)
        told.append(
            f"{len(rows)} faces of {len(np.unique(subjects))} people | {share(int(hits.sum()), len(hits))} | [{percent(low)}, {percent(high)}]"
        )
    return told


def confidence() -> list[str]:
    told = []
    for name, rows in (("PublicTest, deduplicated", shipped()[~shipped()["duplicate"]]), ("control faces", frame()["control"]["shipped"])):
        sure, hits = probs_of(rows).max(axis=1), hits_of(rows)
        least = sure >= 0.9
        cells = [name, f"{len(rows):,}", f"{percent(sure.mean())} %", share(int(hits.sum()), len(hits))]
        cells.append(f"{share(int(hits[least].sum()), int(least.sum()))} (n {int(least.sum())})")
        told.append(f"| {' | '.join(cells)} |")
    return told


def noise() -> list[str]:
    audit = json.loads((PUBLISHED / "fer2013_audit.json").read_text())
    exact, near = ((audit[f"{kind}label_conflicts"], audit[f"{kind}groups"]) for kind in ("", "near_"))
    return [
        f"{exact[0]} of {exact[1]:,} groups of exact duplicates, {share(*exact)}",
        f"{near[0]} of {near[1]:,} groups with near-duplicates, {share(*near)}",
    ]


def of_covered(stage: str, run: str = "whole_0") -> dict[str, Any]:
    return summary("fer2013_covered")["runs"][run][stage]


def rate(of: dict[str, Any], key: str) -> str:
    return f"{percent(of[key])} % [{percent(of[f'{key}_ci_low'])}, {percent(of[f'{key}_ci_high'])}]"


def costs(of: dict[str, Any], key: str) -> str:
    return f"{100 * of[key]:.1f} points [{100 * of[f'{key}_ci_low']:.1f}, {100 * of[f'{key}_ci_high']:.1f}]"


def raters() -> list[str]:
    votes = of_covered("evaluate")["votes"]
    all_agree = votes["levels"][0]
    assert all_agree["level"] == "all"
    return [
        f"n {votes['n']:,}",
        f"of the others on {rate(votes, 'annotator')}, FER2013's label on {rate(votes, 'label')}, the network's prediction on {rate(votes, 'model')}",
        f"{rate(votes, 'accuracy')}; where all votes agree it is {rate(all_agree, 'accuracy')} (n {all_agree['n']:,})",
    ]


def corrupted() -> list[str]:
    of = of_covered("robustness")
    errors = {name: found for name, found in of["corruptions"].items() if name != "mean"}
    worst = max(errors, key=lambda name: errors[name]["rise"])
    shown = [costs(row, "rise") for row in (of["corruptions"]["mean"], errors[worst])]
    return [
        f"{len(errors)} corruptions at severities 1 to {max(of['severities'])} raise its error by {shown[0]} on average",
        f"{worst.replace('_', ' ')} by {shown[1]}",
        f"a mask costs {costs(of['occlusions']['mask'], 'drop')}",
        f"n {of['n']}",
    ]


def believed() -> list[str]:
    of = summary("worlds")["worlds"]
    swapped = next(row for row in of["used"] if (row["model"], row["part"]) == ("shortcut", "mark"))
    found = {row["method"]: row["evidence"] for row in of["ranking"]}
    trusted = [row["method"] for row in of["ranking"] if row["verdict"] == "believed"]
    assert (len(found), trusted, of["seeds"]) == (11, ["rise", "occlusion", "xrai"], [0, 1, 2])
    return [
        f"n {swapped['n']}, three seeds",
        f"flips {rate(swapped, 'flip')}",
        f"{kappa(found['occlusion']['mark'])} for occlusion, {kappa(found['grad_cam']['mark'])} for Grad-CAM",
        f"{kappa(of['baselines']['edges']['mark'])} for the edges",
        f"with the patch that decides is {kappa(found['grad_cam']['wired'])}",
    ]


def kappa(of: dict[str, float]) -> str:
    return f"{of['value']:.2f} [{of['value_ci_low']:.2f}, {of['value_ci_high']:.2f}]"


SECTIONS = (
    duplicates,
    frames,
    mixed_usages,
    usages,
    imbalance,
    chosen_tta,
    epochs,
    chosen_seed,
    faces_or_seeds,
    few_faces,
    people,
    confidence,
    noise,
    raters,
    corrupted,
    believed,
)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_pitfalls_effect_is_that_of_its_file(section):
    assert [claim for claim in section() if claim not in text()] == []


def test_no_decimal_stands_on_the_page_that_no_file_holds():
    left = text()
    for claim in sorted((claim for section in SECTIONS for claim in section()), key=len, reverse=True):
        left = left.replace(claim, "")
    assert re.findall(r"\d+\.\d+", left) == []


def test_every_file_that_the_page_names_is_there():
    named = re.findall(r"`((?:reports|conf|src)/[\w./-]+)`", text())
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).exists()] == []
