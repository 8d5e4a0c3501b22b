"""Every number of README, docs/results.md and reports/published is computed again: from predictions where kept, else from the runs' files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evidence_again import differing
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ferlab.deployment import Predictor
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.confidence_card import confidence_card, name_faces
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.generalisation import difference_of
from ferlab.evaluation.kept import differences, read_kept, rescore
from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.published import read_published
from ferlab.reporting.site.publish_page import HISTORIES, PREDICTIONS
from ferlab.roles import Exposure

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
NOT_KEPT = (  # what the page of a study from before predictions were kept says
    "The predictions of this study were not kept: its numbers are those that its runs wrote to [summary.json](summary.json), and cannot be "
    "recomputed. Its intervals of macro F1, weighted F1, MCC, balanced accuracy, NLL and ECE are bootstrap intervals, which cover less than the "
    "stated 95 %; those of accuracy, recall, precision and F1 per class stand."
)
STUDIES = sorted(path.parent.name for path in PUBLISHED.glob("*/summary.json"))
NETWORKS = ("resnet18", "vgg", "wide", "wide_votes", "wide_distilled")  # trained in both GPU studies
MODELS = (  # README's table: the system, its study, its run ("ensemble": all of them, or those the study names)
    ("cs230's `five_layer`, one cycle of 60 epochs", "fer2013", "five_layer"),
    ("`compact_plain`", "fer2013", "compact_plain"),
    ("`compact_again`, wider, distilled from `compact_wide` and `compact_plain`", "fer2013", "compact_again"),
    ("soft-voting ensemble of the eight compact models of study fer2013", "fer2013", "ensemble"),
    ("`compact_distilled`, distilled from five models: **ships**", "fer2013_gpu", "compact_distilled"),
    ("ResNet-18, 54 epochs", "fer2013_gpu", "resnet18"),
    ("the same, 84 epochs", "fer2013_gpu_long", "resnet18"),
    ("`wide_distilled`, 54 epochs", "fer2013_gpu", "wide_distilled"),
    ("the same, 84 epochs", "fer2013_gpu_long", "wide_distilled"),
    ("soft-voting ensemble of the seven models of study fer2013_gpu", "fer2013_gpu", "ensemble"),
    ("soft-voting ensemble of the seven models of study fer2013_gpu_long", "fer2013_gpu_long", "ensemble"),
)


@cache
def summary(study: str) -> dict[str, Any]:
    return json.loads((PUBLISHED / study / "summary.json").read_text())


@cache
def shipped(tta: str) -> dict[str, Any]:
    return rescore(read_kept(PUBLISHED / "shipped" / PREDICTIONS / f"{tta}.parquet"))


def results() -> str:
    text = (ROOT / "docs" / "results.md").read_text()
    return text[: text.index("## Limits")]


def readme() -> str:
    text = (ROOT / "README.md").read_text()
    return text[text.index("## Results on FER2013") : text.index("## The map")]


def near() -> str:
    return (PUBLISHED / "fer2013_duplicates.md").read_text()


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def bounded(scores: dict[str, Any], key: str = "accuracy") -> str:
    return f"{percent(scores[key])} % [{percent(scores[f'{key}_ci_low'])}, {percent(scores[f'{key}_ci_high'])}]"


def counted(share: float, n: int) -> str:
    low, high = wilson(round(share * n), n)
    return f"{percent(share)} % [{percent(low)}, {percent(high)}]"


def by_ties(key: str, stated: float, again: float, n: dict[str, int], table: pd.DataFrame) -> bool:
    """Whether no more faces are apart than float16 ties in their third and fourth probability, as of models that are very sure."""
    split, _, name = key.partition(".")
    ranked = np.sort(probs_of(table[table["split"] == split.partition("_")[0]]), axis=1)
    return name == "top3_accuracy" and round(abs(stated - again) * n[split]) <= (ranked[:, -3] == ranked[:, -4]).sum()


@pytest.mark.parametrize("study", STUDIES)
def test_a_studys_numbers_come_again_from_its_predictions_or_its_page_says_that_none_were_kept(study):
    page = (PUBLISHED / study / "README.md").read_text()
    if not summary(study)["runs"]:
        assert "No run of this study was trained" in page
        return
    files = {path.stem: path for path in (PUBLISHED / study / PREDICTIONS).glob("*.parquet")}
    if not files:
        assert NOT_KEPT in page
        return
    assert NOT_KEPT not in page
    assert set(files) == set(summary(study)["runs"])
    for run, path in files.items():
        scores, table = summary(study)["runs"][run]["evaluate"], read_kept(path)
        apart = differences(scores, rescore(table))
        assert {key: values for key, values in apart.items() if not by_ties(key, *values, scores["n"], table)} == {}, run


HISTORIES_KEPT = [study for study in STUDIES if (PUBLISHED / study / HISTORIES).is_dir()]
MONITORED = ("loss", "accuracy")  # a history has six significant digits of them


@pytest.mark.parametrize("study", HISTORIES_KEPT)
def test_a_history_ends_where_its_summary_says_and_holds_the_kept_epoch(study):
    runs = {run: of["train"] for run, of in summary(study)["runs"].items()}
    assert {path.stem for path in (PUBLISHED / study / HISTORIES).glob("*.csv")} == set(runs)
    for run, of in runs.items():
        history = pd.read_csv(PUBLISHED / study / HISTORIES / f"{run}.csv")
        first, last = (history[history["phase"] == phase].set_index("epoch") for phase in history["phase"].iloc[[0, -1]])
        assert (len(first), first.index[-1]) == (of["epochs_run"], of["epochs_run"])
        scored = {"train": last.loc[of["best_epoch"]], **{split: first.loc[of["best_epoch"]] for split in {"val", "test"} & set(of["selected_on"])}}
        for split, kept in scored.items():
            assert [kept[f"{split}_{key}"] for key in MONITORED] == pytest.approx([of[split][key] for key in MONITORED], rel=1e-5)


@pytest.mark.parametrize("study", STUDIES)
def test_each_accuracy_of_a_studys_page_stands_in_its_summary(study):
    page = (PUBLISHED / study / "README.md").read_text()
    split = "(val|test|test_no_exact_duplicates|test_dedup)"
    rows = re.findall(rf"^\| ([\w-]+) \| {split} \| ([\d,]+) \| ([\d.]+) % \[([\d.]+), ([\d.]+)\]", page, flags=re.MULTILINE)
    assert len(rows) >= 2 * len(summary(study)["compare"].get("runs", {}))  # which excludes experts
    for run, split, n, *shares in rows:
        scores = summary(study)["runs"][run]["evaluate"]
        stated = scores[split] | ((scores.get("subjects_by_split") or {}).get(split) or {})
        assert int(n.replace(",", "")) == scores["n"][split]
        assert shares == [f"{100 * stated[key]:.2f}" for key in ("accuracy", "accuracy_ci_low", "accuracy_ci_high")]
        bounds = wilson(round(stated["accuracy"] * scores["n"][split]), scores["n"][split])
        if "subjects" in stated:  # cs231a_short alone: an id begins with its subject
            table = rows_of(read_kept(PUBLISHED / study / PREDICTIONS / f"{run}.parquet"), split)
            bounds = cluster_proportion((table["pred"] == table["target"]).to_numpy(), table["face_id"].str[: len("ckplus/S001")].to_numpy())
        assert shares[1:] == [f"{100 * bound:.2f}" for bound in bounds]


def rows_of(table: pd.DataFrame, split: str) -> pd.DataFrame:
    own = table[table["split"] == split.partition("_")[0]]
    return own[~own["duplicate"]] if split.endswith("_dedup") else own


def test_a_sweep_has_its_figure():
    page = (PUBLISHED / "resemotenet_sweep" / "README.md").read_text()
    assert "(sweeps-resemotenet_sweep.png)" in page
    assert (PUBLISHED / "resemotenet_sweep" / "sweeps-resemotenet_sweep.png").stat().st_size > 5_000


@pytest.mark.parametrize("study", STUDIES)
def test_a_studys_evidence_comes_again_from_its_predictions_and_measures(study):
    assert differing(PUBLISHED / study) == []


def shipped_claims() -> list[str]:
    """Of the predictions that are kept here, and of what the holder of PrivateTest's labels found."""
    card = json.loads((ROOT / "src/ferlab/deployment/weights/card.json").read_text())
    private, scored = card["private_test"], [shipped("none"), shipped("flip")]
    rows = [("PublicTest", scored[0]["n"]["test"], [of["test"]["accuracy"] for of in scored])]
    rows += [("", scored[0]["n"]["test_dedup"], [of["test_dedup"]["accuracy"] for of in scored])]
    rows += [("", part["n"], [part["none"], part["flip"]]) for part in (private, private["without_exact_duplicates"])]
    gains = [100 * (private[tta] - of["test"]["accuracy"]) for tta, of in zip(("none", "flip"), scored)]
    theirs = pd.read_csv(PUBLISHED / "public_and_private_test.csv")
    gaps = theirs["private_test"] - theirs["public_test"]
    return [
        f"{card['parameters'] / 1e6:.2f} M parameters",
        f"{card['bytes'] / 1e6:.1f} MB",
        *(f"{name} | {n:,} | {' | '.join(counted(share, n) for share in shares)} |" for name, n, shares in rows),
        f"by {gains[0]:.1f} points (flip {gains[1]:.1f})",
        f"{gaps.mean():.1f} on average ({gaps.min():.1f} to {gaps.max():.1f})",
    ]


def dedup_claims() -> list[str]:
    """The metrics of the shipped model without TTA, on all of PublicTest and on the faces without a duplicate in Training."""
    of, table = shipped("none"), read_kept(PUBLISHED / "shipped" / PREDICTIONS / "none.parquet")
    rows = [
        f"| {name} | {of['n'][split]:,} | {' | '.join(f'{percent(of[split][key])} %' for key in ('accuracy', 'balanced_accuracy', 'macro_f1'))} |"
        for split, name in (("test", "PublicTest"), ("test_dedup", "PublicTest, deduplicated (`test_dedup`)"))
    ]
    classes = {1: "disgust", 5: "surprise", 3: "happy"}
    shares = {name: percent(table.loc[table["target"] == number, "duplicate"].mean()) for number, name in classes.items()}
    told = f"{shares['surprise']} % of surprise and {shares['disgust']} % of disgust, but {shares['happy']} % of happy"
    return [*rows, told, f"at PublicTest's class mix the accuracy on `test_dedup` is {bounded(of['test_dedup'], 'accuracy_at_test_mix')}"]


def test_the_shipped_models_reference_values_on_test_and_test_dedup():
    of = shipped("none")
    keys = ("accuracy", "balanced_accuracy", "macro_f1")
    assert [of["test"][key] for key in keys] == pytest.approx([0.698, 0.659, 0.672], abs=5e-4)
    assert [of["test_dedup"][key] for key in keys] == pytest.approx([0.667, 0.577, 0.588], abs=6e-4)
    assert of["test_dedup"]["accuracy_at_test_mix"] == pytest.approx(0.651, abs=5e-4)
    assert (of["n"]["test"], of["n"]["test_dedup"]) == (3589, 2800)


def test_the_shipped_models_card_agrees_with_its_predictions():
    card = json.loads((ROOT / "src/ferlab/deployment/weights/card.json").read_text())
    for tta in ("none", "flip"):
        assert shipped(tta)["test"]["accuracy"] == pytest.approx(card["test"][tta]["accuracy"], abs=1e-6)


def test_the_shipped_models_confidences_are_those_of_its_predictions():
    card = json.loads((ROOT / "src/ferlab/deployment/weights/card.json").read_text())
    table = read_kept(PUBLISHED / "shipped" / PREDICTIONS / "flip.parquet")
    named = {"test": name_faces("fer2013", "PublicTest", split="test")}
    found = confidence_card(table[~table["duplicate"]], Exposure(tuple(card["trained_on"]["splits"])), named=named, on_test=True)
    stated = card["confidence"]
    assert stated["precision"] == found["precision"]
    words = ("fitted_on", "judged_on", "fitted_n", "risk", "measured_on")
    assert {key: stated[key] for key in words} == {key: found[key] for key in words}
    assert stated["temperature"] == pytest.approx(found["temperature"], abs=2e-4)
    for stage, values in stated["calibration"].items():  # a card from before accuracies were stated beside them lacks these
        assert values == pytest.approx({key: found["calibration"][stage][key] for key in values}, abs=2e-3)
    for row, again in zip(stated["abstention"], found["abstention"], strict=True):
        assert row["threshold"] == pytest.approx(again["threshold"], abs=2e-4)
        assert (row["found"]["n"], row["judged"]["n"]) == (again["found"]["n"], again["judged"]["n"]) == (2800, 2800)
        assert row["judged"]["error_rate_ci_low"] < row["judged"]["error_rate"] < row["risk"]
    assert Predictor.load().confidence == Confidence.from_card(card), "the file and its card state the same"


def model_row(system: str, study: str, run: str) -> str:
    if run == "ensemble":
        scores = summary(study)["compare"]["ensembles"]["fer2013"]["test"]
        return f"| {system} | | | | {bounded(scores)} | | {percent(scores['macro_f1'])} % |"
    of = summary(study)["runs"][run]
    augmented = [percent(of["evaluate"][f"tta_{tta}"]["test"]["accuracy"]) for tta in ("none", "flip")]
    without = percent(of["evaluate"]["test_dedup"]["accuracy"])
    assert of["evaluate"]["tta"] == "two_scales"
    parameters = of["train"]["parameters"] / 1e6
    count = f"{parameters:.2f}" if parameters < 10 else f"{parameters:.1f}"
    test = of["evaluate"]["test"]
    return f"| {system} | {count} M | {augmented[0]} % | {augmented[1]} % | {bounded(test)} | {without} % | {percent(test['macro_f1'])} % |"


def cs230_rows() -> list[str]:
    rows = []
    for name, run in (("ours, unweighted", "five_layer"), ("ours, class weights", "five_layer_weighted")):
        of = summary("cs230")["runs"][run]["evaluate"]
        single = percent(of["tta_none"]["test"]["accuracy"])
        scores = f"{bounded(of['test'])} (no TTA {single} %) | {percent(of['test']['macro_f1'])} %"
        rows.append(f"| {name} | PublicTest | {of['n']['test']:,} | {scores} |")
    others = summary("cs230")["runs"]["five_layer"]["evaluate"]["test_no_exact_duplicates"]
    scores = f"{bounded(others)} | {percent(others['macro_f1'])} %"
    rows.append(f"| ours, unweighted, without exact duplicates of Training | PublicTest | 3,309 | {scores} |")
    return rows


def cs230_claims() -> list[str]:
    runs = summary("cs230")["runs"]
    of, weighted = (runs[run]["evaluate"] for run in ("five_layer", "five_layer_weighted"))
    recalls = [f"{100 * run['test']['per_class']['disgust']['recall']:.0f} %" for run in (of, weighted)]
    pair, duplicates = summary("cs230")["compare"]["pairs"]["five_layer"]["five_layer_weighted"], of["exact_duplicates"]
    published = next(row for row in read_published().to_dict("records") if (row["paper"], row["system"]) == ("cs230", "Five-layer model"))
    low, high = percent(published["ci_low"]), percent(published["ci_high"])
    return [
        *cs230_rows(),
        f"raise the recall of disgust from {recalls[0]} to {recalls[1]} and cost {bounded_points(pair)} of accuracy",
        f"{duplicates['n_duplicates']} PublicTest faces have an exact duplicate in Training",
        f"classified correctly are {percent(duplicates['accuracy_duplicates'])} % of them and "
        f"{percent(duplicates['accuracy_others'])} % of the others",
        f"| PrivateTest | {int(published['n']):,} | {percent(published['accuracy'])} % [{low}, {high}] | - |",
    ]


def bounded_points(effect: dict[str, float]) -> str:
    return f"{abs(100 * effect['difference']):.1f} points [{100 * abs(effect['ci_low']):.1f}, {100 * abs(effect['ci_high']):.1f}]"


def gains(kind: str) -> list[float]:
    short, long = (summary(study)["runs"] for study in ("fer2013_gpu", "fer2013_gpu_long"))
    return [100 * (long[run]["evaluate"]["duplicates"][kind] - short[run]["evaluate"]["duplicates"][kind]) for run in NETWORKS]


def memorisation_claims() -> list[str]:
    known, new = gains("accuracy_duplicates"), gains("accuracy_dedup")
    duplicates = summary("fer2013_gpu")["runs"]["wide"]["evaluate"]["duplicates"]
    return [
        f"{duplicates['n_duplicates']} PublicTest faces",
        f"{np.mean(known):.1f} points on these ({min(known):.1f} to {max(known):.1f})",
        f"{np.mean(new):.1f} on the other {duplicates['n_dedup']:,} ({min(new):.1f} to {max(new):.1f})",
    ]


def test_the_page_on_near_duplicates_repeats_both_studies_and_the_audit():
    for run in NETWORKS:
        short, long = (summary(study)["runs"][run]["evaluate"] for study in ("fer2013_gpu", "fer2013_gpu_long"))
        cells = []
        for of in ("test", "accuracy_duplicates", "accuracy_dedup"):
            pair = [side["test"]["accuracy"] if of == "test" else side["duplicates"][of] for side in (short, long)]
            cells += [percent(pair[0]), percent(pair[1]), f"{100 * (pair[1] - pair[0]):.1f}"]
        assert f"| {run} | {' | '.join(cells)} |" in near()


def audit_rows() -> list[str]:
    audit = json.loads((PUBLISHED / "fer2013_audit.json").read_text())
    public, training = audit["cross_usage"]["Training"]["PublicTest"], audit["cross_usage"]["PublicTest"]["Training"]
    neighbour = {key: f"{bounded(audit['probe'][key])} (n {audit['probe'][key]['n']:,})" for key in ("all", "dedup")}
    return [
        f"| near-duplicate pairs: the same picture, neither identical nor exactly mirrored | {audit['near_pairs']:,}, of them "
        f"{audit['near_pairs_mirrored']} mirrored |",
        f"| score from which a pair was taken (correlation once aligned) | {audit['near_limit']:.2f} |",
        f"| faces with a near-duplicate | {audit['near_duplicates']:,} |",
        f"| groups of one picture, exact duplicates included | {audit['near_groups']:,}, of {audit['faces_in_near_groups']:,} faces; the largest has "
        f"{audit['largest_near_group']} |",
        f"| groups whose faces bear more than one label | {audit['near_label_conflicts']}, of {audit['faces_in_near_label_conflicts']:,} faces "
        f"(exact duplicates alone: {audit['label_conflicts']} of {audit['groups']:,} groups) |",
        f"| PublicTest faces with a near-duplicate in Training | {public['near_duplicates']} of 3,589 "
        f"(exact duplicates: {public['exact_duplicates']}) |",
        f"| Training faces with a near-duplicate in PublicTest | {training['near_duplicates']:,} "
        f"(exact duplicates: {training['exact_duplicates']}) |",
        f"| PublicTest faces without an exact duplicate in train or val | {audit['test_no_exact_duplicates']:,} |",
        f"| PublicTest faces without any duplicate in train or val (`test_dedup`) | {audit['test_dedup']:,} |",
        f"| PublicTest faces whose nearest face of train in pixels (24 x 24) has their label | {neighbour['all']} |",
        f"| the same, of the faces without a duplicate in train | {neighbour['dedup']} |",
        f"| always predicting the commonest expression | {percent(audit['probe']['majority'])} % |",
    ]


def test_the_audit_of_fer2013_is_told_as_its_file_has_it():
    assert [row for row in audit_rows() if row not in near()] == []


def points(row: Mapping[str, float] | pd.Series) -> tuple[str, str]:
    centre, low, high = (f"{100 * row[key]:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0") for key in ("difference", "ci_low", "ci_high"))
    return centre, f"[{low}, {high}]"


def change_tests(split: str) -> pd.DataFrame:
    rows = [row for row in summary("fer2013_ablation")["compare"]["changes"] if row["from"] == "none" and row["split"] == split]
    table = pd.DataFrame(rows).set_index("to")
    t = table["difference"].abs() / (table["seed_sd"] / np.sqrt(table["seeds"]))
    over_seeds = 2 * stats.t.sf(t, table["seeds"] - 1)
    return table.assign(faces=multipletests(table["p"], method="holm")[1], over_seeds=multipletests(over_seeds, method="holm")[1])


def ablation_claims() -> list[str]:
    return [f"{name} {' '.join(points(row))}" for name, row in change_tests("val").iterrows()]


def test_what_the_ablation_found_is_told_over_faces_and_over_seeds():
    told, val, test = " ".join(results().split()), change_tests("val"), change_tests("test")
    assert len(val) == 8
    assert set(val.index[val["faces"] < 0.05]) == {"AdamW at 0.002", "cutmix at 1"}
    assert set(test.index[test["faces"] < 0.05]) == {"AdamW at 0.002", "cutmix at 1", "mixup at 0.2", "EMA at 0.999"}
    assert "on val two are significant (AdamW, cutmix), on test four (also mixup and EMA)" in told
    assert set(val.index[val["over_seeds"] < 0.05]) == {"cutmix at 1"}
    assert set(test.index[test["over_seeds"] < 0.05]) == {"AdamW at 0.002", "cutmix at 1"}
    assert "cutmix alone on val, AdamW and cutmix on test" in told


def leads_claims() -> list[str]:
    of = summary("fer2013_leads")
    rows = {row["to"]: row for row in of["changes_from_base"]["accuracy"] if row["split"] == "val"}
    assert len(rows) == 7
    assert not any(row["p_holm"] < 0.05 and row["difference"] > 0 for row in rows.values())  # "none is kept"
    assert {name for name, row in rows.items() if row["p_holm"] < 0.05} == {"branches", "SAM at 0.05", "5 repeats of 128 faces"}
    short = [of["runs"][run]["train"] for run in ("reparam_0", "sam_0", "repeats_5_0")]
    assert [(run["epochs_run"], run["best_epoch"]) for run in short] == [(8, 8), (5, 5), (2, 2)]
    base, weights = (of["runs"]["base_0"][stage] for stage in ("evaluate", "train"))
    return [
        f"`compact` with plain blocks, {weights['parameters'] / 1e6:.2f} million weights",
        *(f"{name} {' '.join(points(row))}" for name, row in rows.items()),
        f"(PublicTest, n {base['n']['test']:,}: {bounded(base['test'])}; deduplicated, n {base['n']['test_dedup']:,}: {bounded(base['test_dedup'])})",
    ]


def again_claims() -> list[str]:
    of = summary("fer2013_again")
    rows = {row["split"]: row for row in of["changes_from_base"]["accuracy"]}
    base, again = (of["runs"][run]["evaluate"] for run in ("base_0", "again_0"))
    epochs = [of["runs"][run]["train"]["epochs_run"] for run in ("base_0", "again_0")]
    deduplicated = f"deduplicated (n {base['n']['test_dedup']:,}) by {' '.join(points(rows['test_dedup']))}"
    (gain, bounds) = points(rows["test"])
    return [
        f"{epochs[0]} epochs from labels alone and {epochs[1]} with the shipped model's probabilities",
        f"PublicTest (n {base['n']['test']:,}) is {bounded(base['test'])} and {bounded(again['test'])}",
        f"changes accuracy by {gain} points {bounds}, {deduplicated}",
    ]


def test_duplicates_across_usages_are_those_of_the_audit():
    found = json.loads((PUBLISHED / "fer2013_audit.json").read_text())["cross_usage"]["Training"]["PublicTest"]
    told = f"{found['near_duplicates']} PublicTest faces have one in Training and {found['exact_duplicates']} an exact duplicate, 789 any duplicate"
    assert told in " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert summary("fer2013")["runs"]["compact"]["evaluate"]["duplicates"]["n_duplicates"] == 789


def fersys_claims() -> list[str]:
    runs = {run: found for name in ("fersys_official", "fersys_embedding") for run, found in summary(name)["runs"].items()}
    return [bounded(runs[run]["evaluate"]["test"]) for run in ("cnn_official", "deepface_scratch_official", "embedding_0")]


def future_work_claims() -> list[str]:
    of = summary("fer2013_errors")
    told = [" ".join((row["to"], *points(row))) for row in of["changes_from_base"]["accuracy"] if row["split"] == "val"]
    balanced = {row["to"]: row for row in of["changes_from_base"]["balanced_accuracy"] if row["split"] == "val"}
    experts = [row for row in of["compare"]["experts"] if row["split"] == "val"]
    each = ", ".join(f"{100 * row['difference']:+.1f}" for row in experts)
    found = of["runs"]["base_0"]["analyze_errors"]["training_labels"]["precision"]
    return [*told, " ".join(("balanced accuracy", *points(balanced["logit adjustment"]))), f"({each} on val)", *label_claims(found)]


def label_claims(found: dict[str, Any]) -> list[str]:
    rows = [row for row in found["raters"] if row["k"] == 100]
    return [bounded(row, "precision") for row in rows] + [f"{percent(row['base_rate'])} %" for row in rows[:1]]


def hypothesis_claims() -> list[str]:
    rows = [row for row in summary("fer2013_covered")["runs"]["whole_0"]["explain"]["hypotheses"] if row["method"] == "occlusion"]
    return [f"{row['expression']}: {row['regions']} {row['ratio']:.1f} [{row['ratio_ci_low']:.1f}, {row['ratio_ci_high']:.1f}]" for row in rows]


def test_the_hypotheses_told_to_hold_are_those_that_hold():
    rows = [row for row in summary("fer2013_covered")["runs"]["whole_0"]["explain"]["hypotheses"] if row["method"] == "occlusion"]
    told = [(row["verdict"], f"{row['expression']}: {row['regions']}") for row in rows]
    of = {verdict: [name for each, name in told if each == verdict] for verdict in ("holds", "does not hold")}
    assert of["holds"] == ["happy: mouth", "surprise: brows, mouth", "sad: eyes"]
    assert of["does not hold"] == ["neutral: brows, eyes, mouth, rest", "sad: brows, mouth", "fear: brows, eyes, mouth", "fear: eyes"]


def covered_claims() -> list[str]:
    of = summary("fer2013_covered")
    change = next(row for row in of["changes_from_base"]["accuracy"] if row["split"] == "val")
    mass = next(row for row in of["covered"]["masses"] if row["method"] == "hires_cam")
    fewer = points({"difference": mass["difference"], "ci_low": mass["difference_ci_low"], "ci_high": mass["difference_ci_high"]})
    lost = of["covered"]["losses"]
    bounds = {side: (f"{side}_ci_low", f"{side}_ci_high") for side in ("whole", "covered")}
    return [
        f"accuracy on val by {' '.join(points(change))} points",
        f"by {' '.join(fewer)} points (HiResCAM, n {mass['n']}",
        *(f"lose {100 * lost[side]:.1f} points [{100 * lost[low]:.1f}, {100 * lost[high]:.1f}]" for side, (low, high) in bounds.items()),
    ]


def classical_claims() -> list[str]:
    of = summary("fer2013_classical")
    trees = [row for row in of["changes_from_base"]["accuracy"] if (row["split"], row["to"]) == ("val", "boosted trees")]
    assert all(row["p_holm"] < 0.05 and row["difference"] > 0 for row in trees)
    gained = [f"{name} {' '.join(points(row))}" for name, row in zip(("HOG", "LBP", "Gabor"), trees, strict=True)]
    return [bounded(run["evaluate"]["test"]) for run in of["runs"].values()] + gained


def recognition_claims() -> list[str]:
    of = summary("fer2013_recognition")
    scores = {run: found["evaluate"] for run, found in of["runs"].items()}
    told = [f"{bounded(scores['all_0']['test'])} with all layers trained (deduplicated {bounded(scores['all_0']['test_dedup'])})"]
    told += [f"{bounded(scores[run]['test'])} {how}" for run, how in (("last_stage_0", "with the last stage"), ("head_0", "with the head alone"))]
    told += [f"{bounded(scores['scratch_0']['test'])} from random weights"]
    assert scores["scratch_0"]["tta"] == "flip"
    assert of["runs"]["all_0"]["train"]["parameters"] == 4_396_359  # 4.4 million
    by = {name: {row["to"]: row for row in rows if row["split"] == "val"} for name, rows in of["changes_from_base"].items()}
    for short, level in (("all", "all trained"), ("last stage", "last stage trained"), ("head", "head trained")):
        told.append(f"{short} trained {' '.join(points(by['accuracy'][f'recognition, {level}']))}")
    balanced = " ".join(points(by["balanced_accuracy"]["balanced"]))
    told += [f"class weights {' '.join(points(by['accuracy']['balanced']))} from all trained (balanced accuracy {balanced})"]
    return [*told, "4.4 million weights"]


def cs230_short_claims() -> list[str]:
    of = summary("cs230_short")
    runs = {run: found["evaluate"] for run, found in of["runs"].items()}
    seeds = [run for run in runs if run.startswith("five_layer_text")]
    mean = of["compare"]["groups"]["fer2013"]["five_layer_text"]["test_accuracy_mean"]
    assert (runs["baseline"]["tta"], len(seeds)) == ("seven", 3)
    told = [f"{percent(mean)} % on average over three seeds"]
    told += [f"{name} {bounded(runs[run]['test'])}" for run, name in (("baseline", "the baseline"), ("baseline_bare", "without both"))]
    rows = [row for row in of["compare"]["changes"] if row["split"] == "val" and row["factor"] == "change"]
    told += [f"{row['to']} {' '.join(points(row))}" for row in rows if row["from"] == "none" and row["else"] == "network five-layer"]
    told += [f"from neither to both {' '.join(points({**row, **turned(row)}))}" for row in rows if row["else"] == "network baseline"]
    balanced = {row["to"]: row for row in of["changes_from_base"]["balanced_accuracy"] if row["split"] == "val"}
    smote = [" ".join(points(balanced[name])) for name in ("SMOTE", "SMOTE, undersampling")]
    told += [f"(balanced accuracy {smote[0]} and {smote[1]})"]
    told += [f"vote to {bounded(of['compare']['ensembles']['fer2013 and fer2013_smote']['test'])}", "rate of 0.1"]
    gains = [100 * (runs[run]["tta_seven"]["test"]["accuracy"] - runs[run]["tta_none"]["test"]["accuracy"]) for run in seeds]
    told.append(f"TTA of seven changes the three runs by {', '.join(f'{gain:+.1f}'.replace('-0.0', '0.0').replace('+0.0', '0.0') for gain in gains)}")
    return told


def resemotenet_short_claims() -> list[str]:
    runs = summary("resemotenet_short")["runs"]
    cnn, other = runs["cnn_short"], runs["resemotenet_short"]
    assert [run["train"]["epochs_run"] for run in (cnn, other)] == [5, 2]
    rows = read_published().query("paper == 'resemotenet'").set_index("system")["accuracy"]
    gaps = [100 * (run["train"]["train"]["accuracy"] - run["evaluate"]["test"]["accuracy"]) for run in (cnn, other)]
    return [
        f"the CNN ({cnn['train']['parameters'] / 1e6:.1f} million weights) reaches {bounded(cnn['evaluate']['test'])}",
        f"ResEmoteNet ({other['train']['parameters'] / 1e6:.0f} million) {bounded(other['evaluate']['test'])}",
        f"the paper states {percent(rows['CNN'])} % and {percent(rows['ResEmoteNet'])} %",
        f"train less test accuracy is {gaps[0]:.1f} and {gaps[1]:.1f} points",
    ]


def resemotenet_sweep_claims() -> list[str]:
    of = summary("resemotenet_sweep")
    base = of["runs"]["base"]
    assert {run: each["train"]["epochs_run"] for run, each in of["runs"].items()} == {"base": 2, "lr1e-2": 2, "lr1e-4": 2}
    rows = {row["to"]: row for row in of["changes_from_base"]["accuracy"] if row["split"] == "val"}
    assert all(row["p_holm"] < 0.05 for row in rows.values())
    higher, lower = (points(rows[level]) for level in ("0.01", "0.0001"))
    return [
        f"val accuracy (n {base['evaluate']['n']['val']:,}) is {bounded(base['evaluate']['val'])} at",
        f"at .01 it changes by {higher[0]} points {higher[1]}, at .0001 by {' '.join(lower)} (over faces, Holm)",
    ]


def fers_short_claims() -> list[str]:
    of = summary("fers_short")
    weighted, plain = (of["runs"][run] for run in ("weighted", "plain"))
    assert [run["train"]["epochs_run"] for run in (weighted, plain)] == [2, 2]
    val = {measure: next(row for row in rows if row["split"] == "val") for measure, rows in of["changes_from_base"].items()}
    accuracy, balanced = (points(turned(val[measure])) for measure in ("accuracy", "balanced_accuracy"))
    curves = [pd.read_csv(PUBLISHED / "fers_short" / HISTORIES / f"{run}.csv")["val_accuracy"] for run in ("weighted", "plain")]
    assert all(curve.is_monotonic_increasing for curve in curves)  # "both still rise"
    scores = [bounded(run["evaluate"]["test"]) for run in (plain, weighted)]
    n = weighted["evaluate"]["n"]
    return [
        f"on PublicTest (n {n['test']:,}) it reaches {scores[0]} without class weights and {scores[1]} with them",
        f"on val (n {n['val']:,}) they change accuracy by {accuracy[0]} points {accuracy[1]} and balanced accuracy by {' '.join(balanced)}",
    ]


def cs231a_short_claims() -> list[str]:
    of = {name: summary("cs231a_short")["runs"][f"lenet_{name}"] for name in ("random", "subjects")}
    scores = {name: run["evaluate"]["test"] | run["evaluate"]["subjects_by_split"]["test"] for name, run in of.items()}
    worth = difference_of(scores["random"], scores["subjects"], "accuracy")
    targets = {name: read_kept(PUBLISHED / "cs231a_short" / PREDICTIONS / f"lenet_{name}.parquet").query("split == 'test'")["target"] for name in of}
    n, met = of["random"]["evaluate"]["n"], of["random"]["evaluate"]["n"]["test"] - of["random"]["evaluate"]["n"]["test_dedup"]
    assert [(run["train"]["epochs_run"], run["train"]["best_epoch"]) for run in of.values()] == [(8, 7), (8, 1)]  # "no epoch exceeds the first"
    assert of["subjects"]["evaluate"]["subjects_by_split"]["val"]["subjects"] == 2
    people, stated = scores["subjects"]["subjects"], read_published().query("paper == 'cs231a' and system == 'LeNet'")["accuracy"].item()
    return [
        f"as the paper split, it reaches {bounded(scores['random'])} (n {n['test']})",
        f"by subject {bounded(scores['subjects'])} (n {len(targets['subjects'])}, {people} people)",
        f"neutral is {percent(targets['subjects'].value_counts(normalize=True).iloc[0])} % of the faces",
        f"worth {100 * worth['accuracy']:.1f} points [{100 * worth['accuracy_ci_low']:.1f}, {100 * worth['accuracy_ci_high']:.1f}] here",
        f"of its {n['test']} test faces {met} have a duplicate",
        f"The paper states {percent(stated)} % on random frames",
    ]


def turned(row: Mapping[str, float]) -> dict[str, float]:
    """A difference the other way round."""
    return {"difference": -row["difference"], "ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}


def worlds_claims() -> list[str]:
    rows = summary("worlds")["worlds"]["ranking"]
    named = {"rise": "RISE", "hires_cam": "HiResCAM", "layer_cam": "LayerCAM", "grad_cam": "Grad-CAM", "xrai": "XRAI"}
    score = {row["method"]: f"{row['score']:.2f} [{row['score_ci_low']:.2f}, {row['score_ci_high']:.2f}]" for row in rows}
    page = (PUBLISHED / "worlds" / "README.md").read_text()
    table = [line.split(" | ") for line in page.split("ROAR:")[1].splitlines() if line.startswith("| ")][2:]
    removed = {cells[0].strip("| "): cells[2] for cells in table}  # a tenth; the means over seeds that `roar_table` makes
    shown = ("deciding region", "gradients", "occlusion", "random map", "HiResCAM")
    return [
        *(f"{named.get(method, method)} {score[method]}" for method in ("rise", "occlusion", "xrai", "hires_cam", "layer_cam", "grad_cam")),
        *(f"{name} {removed[name].split(' ')[0]} % {removed[name].split(' ', 1)[1]}" for name in shown),
    ]


def test_the_methods_told_to_be_believed_are_those_of_the_study():
    rows = summary("worlds")["worlds"]["ranking"]
    assert [row["method"] for row in rows if row["verdict"] == "believed"] == ["rise", "occlusion", "xrai"]
    assert [row["method"] for row in rows][-1] == "grad_cam"
    assert all(row["evidence"]["mark"]["ahead_ci_high"] < 0 for row in rows if row["method"] in ("hires_cam", "layer_cam", "grad_cam"))


def evidence_claims() -> list[str]:
    told = " ".join(results().split())
    held = [claim for claim in hypothesis_claims() if claim in told]
    return [
        *leads_claims(),
        *again_claims(),
        *future_work_claims(),
        *classical_claims(),
        *recognition_claims(),
        *cs230_short_claims(),
        *resemotenet_short_claims(),
        *resemotenet_sweep_claims(),
        *fers_short_claims(),
        *cs231a_short_claims(),
        *worlds_claims(),
        *covered_claims(),
        *held,
    ]


def readme_claims() -> list[str]:
    """The rows of README's table, and the sentence below it."""
    cpu, ensemble = summary("fer2013")["runs"]["compact_again"], summary("fer2013_gpu_long")["compare"]["ensembles"]["fer2013"]["test"]
    card, scored = json.loads((ROOT / "src/ferlab/deployment/weights/card.json").read_text()), shipped("flip")
    private = counted(card["private_test"]["flip"], card["private_test"]["n"])
    public, dedup = (counted(scored[split]["accuracy"], scored["n"][split]) for split in ("test", "test_dedup"))
    frame = json.loads((PUBLISHED / "frame" / "facts.json").read_text())["models"]["fer"]
    assert "fer package" in frame["title"]
    theirs = pd.read_parquet(PUBLISHED / "frame" / PREDICTIONS / "public.parquet").query("model == 'fer'")
    peer = counted(float((theirs["pred"] == theirs["target"]).mean()), len(theirs))
    best = best_published()
    assert (cpu["evaluate"]["tta"], len(theirs)) == ("two_scales", 3589)
    return [
        f"`compact_again`, {cpu['train']['parameters'] / 1e6:.2f} M parameters | {bounded(cpu['evaluate']['test'])} | not scored |",
        f"`compact_distilled`, {card['parameters'] / 1e6:.2f} M parameters, ships | {public} | {private} |",
        f"Pramerdorfer & Kampel (2016) | - | {percent(best['accuracy'])} % [{percent(best['ci_low'])}, {percent(best['ci_high'])}] |",
        f"`fer` package, measured here | {peer} | - |",
        f"that model has {dedup} (n {scored['n']['test_dedup']:,})",
        f"the harder split, by {100 * (card['private_test']['flip'] - scored['test']['accuracy']):.1f} points",
        f"has {bounded(ensemble)} on PublicTest",
    ]


def best_published() -> dict[str, Any]:
    """The best published row on PrivateTest without further data that is not known to select on test."""
    rows = read_published()
    rows = rows[(rows["dataset"] == "fer2013") & (rows["split"] == "PrivateTest") & rows["extra_data"].isna() & (rows["selected_on"] != "test")]
    return rows.loc[rows["accuracy"].idxmax()].to_dict()


def test_the_readme_states_what_the_files_hold():
    told = " ".join(readme().split())
    assert [claim for claim in readme_claims() if claim not in told] == []
    assert best_published()["system"].startswith("Pramerdorfer & Kampel (2016)")


def claims() -> list[str]:
    models = [model_row(*model) for model in MODELS]
    studies = [*cs230_claims(), *memorisation_claims(), *fersys_claims(), *ablation_claims(), *evidence_claims()]
    return [*shipped_claims(), *dedup_claims(), *models, *studies]


def test_the_page_of_results_states_what_the_files_hold():
    told = " ".join(results().split())
    assert [claim for claim in claims() if claim not in told] == []


@pytest.mark.parametrize(("page", "stated"), [(results, "claims"), (readme, "readme_claims")])
def test_no_page_states_a_decimal_that_no_file_holds(page, stated):
    left = " ".join(page().split())
    assert re.findall(r"\d+\.\d+", left)
    for claim in sorted(globals()[stated](), key=len, reverse=True):
        left = left.replace(claim, "")
    assert re.findall(r"\d+\.\d+", left) == []


def test_private_tests_predictions_are_there_for_whoever_holds_the_labels():
    for tta in ("none", "flip"):
        table = pd.read_parquet(PUBLISHED / "shipped" / f"private_test_{tta}.parquet")
        assert len(table) == 3589
        assert table.filter(like="prob_").sum(axis=1).astype(float).to_numpy() == pytest.approx(1, abs=5e-3)
        assert table["face_id"].is_unique
        assert "target" not in table


def test_the_live_page_states_the_shipped_models_temperature_and_threshold():
    from ferlab.deployment import Predictor

    known = Predictor.load().confidence
    text = " ".join((ROOT / "docs" / "live.md").read_text().split())
    assert f"For the model that ships it is {known.temperature:.2f}, fitted on PublicTest" in text
    assert f"Below {100 * known.threshold:.1f} % that model abstains" in text
    assert f"at most {100 * known.risk:.0f} % of the accepted faces are wrong" in text
