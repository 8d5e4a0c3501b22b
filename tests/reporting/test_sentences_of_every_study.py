"""Sentences over a grid of studies: every setting of selection, good and useless models, absent classes, no duplicates and all of them."""

from __future__ import annotations

import ast
import functools
import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ferlab.error_analysis.confusions import most_confident_errors, rank_confusions
from ferlab.error_analysis.groups import compare_conditions, compare_expressions, group_rates
from ferlab.error_analysis.label_issues import issues_per_class, out_of_sample, rank_label_issues
from ferlab.error_analysis.planted_gaps import plant_gaps
from ferlab.error_analysis.slices import by_fifths, by_group
from ferlab.evaluation import conformal, scaling, selective
from ferlab.evaluation import runs as comparing
from ferlab.evaluation.calibration import reliability_bins
from ferlab.evaluation.calibration_scores import score_scalings
from ferlab.evaluation.comparison import spread_over_seeds
from ferlab.evaluation.ensembles import ensembles_per_set
from ferlab.evaluation.faces_and_seeds import groups_with_doubt
from ferlab.evaluation.held_out import hold_out
from ferlab.evaluation.predictions import confusion_table, faces_in, predictions_table, probs_of
from ferlab.evaluation.scores import score_run, score_tta, subjects_by_split
from ferlab.paths import find_root
from ferlab.reporting import exposure, tables
from ferlab.reporting.pages import abstention, annotators, calibration, compare, evaluate, protocol
from ferlab.reporting.pages import analyze_errors as error_text
from ferlab.reporting.pages import audit as audits
from ferlab.reporting.pages import prepare as sets
from ferlab.reporting.pages import seeds as seed_pages
from ferlab.reporting.pages import slices as sliced
from ferlab.reporting.site.cards import results_sentence, results_table
from ferlab.roles import MARKS, planned

NAMES = ("angry", "happy", "sad")
SETTINGS = [("val", False), ("val", True), ("test", False), ("none", False)]
MODELS = ("perfect", "useless", "usual")
ABSENT = (None, "sad")
DUPLICATES = ("none", "some", "all")
# What no page may say: numbers that are none, and what was found false under some setting.
NEVER = re.compile(r"\b[Nn]a[Nn]\b|\binf\b|\bNone\b|\[\]|\b1\.0 times fewer|No classifier can be right|came to rest|val chose its epoch")


@functools.cache
def predictions(model: str, absent: str | None, seed: int = 0) -> pd.DataFrame:
    """Sixty faces of val and sixty of test, of which `absent` may lack in test."""
    rng = np.random.default_rng(7)
    targets = rng.integers(0, 3, 120)
    if absent:
        targets[60:] = rng.integers(0, 2, 60)
    logits = np.random.default_rng(seed).normal(size=(120, 3))
    logits[np.arange(120), targets] += {"perfect": 50.0, "useless": 0.0, "usual": 1.5}[model]
    if model == "useless":
        logits = np.tile([0.0, 1.0, 0.0], (120, 1))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    splits = ["val"] * 60 + ["test"] * 60
    return predictions_table([f"x/{i}" for i in range(120)], splits, targets, probs=probs / probs.sum(axis=1, keepdims=True), expressions=NAMES)


@functools.cache
def face_table(how: str) -> pd.DataFrame:
    """Val, test and a face of train, of which none, some or all test faces are duplicates."""
    groups = np.arange(121)
    groups[60:120][{"none": False, "some": np.arange(60) % 4 == 0, "all": True}[how]] = 120
    splits = ["val"] * 60 + ["test"] * 60 + ["train"]
    subjects = [f"p{i % 6}" for i in range(121)]
    return pd.DataFrame({"face_id": [f"x/{i}" for i in range(121)], "split": splits, "duplicate_group": groups, "subject": subjects})


@functools.cache
def scored(model: str, absent: str | None, how: str) -> dict:
    table, faces = predictions(model, absent), face_table(how)
    augmented = {"tta": "flip", "passes": 2, "ties": None} | score_tta(table, {"none": probs_of(table), "flip": probs_of(table)})
    described = {"dataset": "control", "usage": {"val": "Training", "test": "Training"}}
    scores = score_run(table, faces, resamples=100)
    return scores | augmented | described | {"subjects_by_split": subjects_by_split(scores)}


def metrics(model: str, absent: str | None, how: str, setting: tuple[str, bool]) -> dict:
    seen = planned(setting[0], refit=setting[1])
    return scored(model, absent, how) | {"trained_on": list(seen.trained_on), "selected_on": list(seen.selected_on)}


def evaluate_page(model: str, absent: str | None, how: str, setting: tuple[str, bool]) -> str:
    of, seen = metrics(model, absent, how, setting), planned(setting[0], refit=setting[1])
    test = faces_in(predictions(model, absent), "test")
    per_class = {name: of["test"]["per_class"][name] for name in NAMES}
    return "\n".join(
        [
            exposure.exposure_sentence(seen),
            evaluate.accuracy_sentence("run", of, source="control faces, drawn"),
            evaluate.val_and_test_sentence(of, seen),
            evaluate.confusion_sentence(confusion_table(test)),
            evaluate.best_and_worst_sentence(per_class),
            calibration.confidence_sentence(reliability_bins(test["target"].to_numpy(), probs_of(test))),
            calibration.calibration_sentence(of["test"]),
            annotators.rank_sentence(of["test"]),
            *held_out_text(model, absent, how, seen.role("val") == "trained"),
            evaluate.duplicates_sentence(of["duplicates"]),
            evaluate.tta_sentence(of),
            evaluate.val_by_tta_sentence(seen),
            evaluate.subjects_sentence(of["test"], of["n"]["test"]),
        ]
    )


@functools.cache
def held_out_text(model: str, absent: str | None, how: str, trained: bool) -> list[str]:
    """Return what the sections on calibration, abstention and prediction sets say."""
    held = hold_out(predictions(model, absent), face_table(how), planned("val", refit=trained))
    scaled, fitted = scaling.scale_held_out(held)
    calibrated = score_scalings(held, scaled, fitted, resamples=100)
    selected, sets = selective.score_selective(held, scaled, draws=100), conformal.compare_sets(held)
    sentences = [calibration.faces_sentence(calibrated), calibration.scaling_text(calibrated), abstention.selective_sentence(selected)]
    tabled = [calibration.scaling_table(calibrated), abstention.selective_table(selected), abstention.sets_table(sets)]
    return [*sentences, abstention.sets_sentence(sets, 0.9, reason=held.reason), *(table.to_string() for table in tabled if table is not None)]


@functools.cache
def slices_section(model: str, absent: str | None, split: str) -> str:
    rows = faces_in(predictions(model, absent), split)
    conditions = {"light": by_fifths(pd.Series(np.arange(len(rows)) % 7)), "glasses": by_group(pd.Series(np.arange(len(rows)) < 3))}
    rates, tests = group_rates(conditions, rows), compare_conditions(conditions, rows)
    planted = plant_gaps(conditions, rows, draws=3)
    return "\n".join(
        [
            sliced.slices_sentence(tests),
            sliced.small_sentence(rates),
            sliced.expressions_sentence(compare_expressions(conditions, rows)),
            sliced.planted_sentence(planted),
            sliced.slices_table(tests, planted).to_string(),
        ]
    )


def errors_page(model: str, absent: str | None, setting: tuple[str, bool], split: str = "val") -> str:
    seen, rows = planned(setting[0], refit=setting[1]), faces_in(predictions(model, absent), split)
    scored = out_of_sample(rows, rows.assign(fold=0), role=seen.role(split))
    pairs, issues = rank_confusions(rows), rank_label_issues(scored, role=seen.role(split))
    return "\n".join(
        [
            error_text.errors_sentence(rows, run="run", split=split, source="control faces, drawn"),
            exposure.split_sentence(seen, split),
            error_text.pairs_sentence(pairs),
            error_text.confident_sentence(most_confident_errors(rows, most=4)),
            error_text.issues_sentence(issues, n=len(rows), role=seen.role(split)),
            error_text.issues_table(issues_per_class(issues, rows)).to_string(),
            slices_section(model, absent, split),
        ]
    )


@pytest.mark.parametrize(("model", "absent", "how"), list(product(MODELS, ABSENT, DUPLICATES)))
def test_the_page_of_one_run_is_true_whatever_the_study(model, absent, how, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm collects garbage: 0.3 s a call among a test session's objects
    for setting in SETTINGS:
        seen, text = planned(setting[0], refit=setting[1]), evaluate_page(model, absent, how, setting)
        assert not NEVER.search(text), NEVER.search(text)
        assert ("on val are training scores" in text) is (seen.role("val") == "trained")
        assert ("Scores on test describe the best of several epochs" in text) is (seen.role("test") == "selected_on")
        assert ("neither trained nor selected on" in text) is ("untouched" in {seen.role("val"), seen.role("test")})
        assert ("classified correctly" in text) is (model == "perfect")
        assert ("nothing to compare" in text) is (how != "some")
        assert ("have the same F1" in text) is (model == "perfect")
        assert ("overconfident" in text) is (model == "useless")
        assert ("No scaling is fitted" in text) is ("No prediction sets" in text or model == "perfect")
        assert ("No prediction sets" in text) is (how == "all" or seen.role("val") == "trained")
        assert ("nothing to gain" in text) is (model == "perfect")


@pytest.mark.parametrize(("model", "absent"), list(product(MODELS, ABSENT)))
def test_the_page_of_errors_is_true_whatever_the_study(model, absent):
    for setting, split in product(SETTINGS, ("val", "test")):
        role, text = planned(setting[0], refit=setting[1]).role(split), errors_page(model, absent, setting, split)
        assert not NEVER.search(text), NEVER.search(text)
        assert ("in-sample: expect more" in text) is ("on cross-validated probabilities" in text) is (role == "trained")
        assert ("optimistically biased" in text) is (role == "selected_on")
        assert ("No prediction differs from its label." in text) is (model == "perfect")


@functools.cache
def compared(model: str, seeds: int) -> tuple:
    tables_of = {f"r{seed}": predictions(model, None, seed) for seed in range(seeds)}
    members = {"x": list(tables_of)}
    voted = ensembles_per_set(tables_of, members, {})
    tests = comparing.compare_within_sets(tables_of, members), comparing.compare_ensembles(voted, tables_of, members)
    return tables_of, members, comparing.score_ensembles(voted, resamples=100), *tests


def compare_page(runs: dict[str, dict], model: str, of: dict[str, dict]) -> str:
    tables_of, members, votes, pairs, vote_pairs = compared(model, len(runs))
    rows, datasets = comparing.table_of_runs(runs, of), {"x": "control"}
    ours = comparing.ours_beside_published(rows, of, votes, members)
    return "\n".join(
        [
            compare.runs_sentence(rows, datasets),
            exposure.runs_sentence(of),
            seed_pages.seeds_sentence(spread_over_seeds(rows, ["test.accuracy"])),
            seed_pages.doubt_sentence(groups_with_doubt(runs, tables_of)),
            compare.pairs_sentence(pairs),
            compare.ensembles_sentence(votes, vote_pairs),
            exposure.ensembles_sentence(members, of),
            compare.hardest_sentence(comparing.per_class_of(of, tables_of)),
            f"open circles: {ours['hollow'].sum()}",
            str(tables.filled(tables.pairs_table(pairs)) is None),
            results_sentence("flip", of),
        ]
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_comparison_is_true_for_one_seed_and_several(model, seeds):
    for setting in SETTINGS:
        runs = {f"r{seed}": {"data": "x", "group": "g", "seed": seed, "model": "m"} for seed in range(seeds)}
        text = compare_page(runs, model, dict.fromkeys(runs, metrics(model, None, "none", setting)))
        seen = planned(setting[0], refit=setting[1])
        biased = seen.role("test") == "selected_on"
        assert not NEVER.search(text.rsplit("\n", 2)[0]), NEVER.search(text)
        assert ("Every group has one seed" in text) is ("no pair to compare" in text) is ("there is no ensemble" in text) is (seeds == 1)
        assert ("selecting on test" in text) is (seeds > 1)
        assert ("A new seed on new faces" in text) is (seeds > 1)
        assert (f"open circles: {seeds + (seeds > 1)}" in text) is biased
        assert ("its scores are optimistically biased" in text) is ("scores on test describe" in text) is biased
        assert ("training scores" in text) is (seen.role("val") == "trained")
        assert ("test scores are biased by" in text) is (biased and seeds > 1)
        assert ("No two runs differ in accuracy" in text) is (seeds > 1 and model != "usual")


def test_the_overview_shows_a_mark_beside_what_is_no_clean_score():
    from ferlab.params import load_params

    params = load_params(find_root() / "params.yaml")
    run = next(iter(params.runs))
    for setting in SETTINGS:
        seen = planned(setting[0], refit=setting[1])
        rows = results_table(params.model_copy(update={"runs": {run: params.runs[run]}}), {run: metrics("usual", None, "some", setting)}, links={})
        lines = [line for line in rows.splitlines() if line.startswith("|")]  # below the caption
        marks = [re.findall("trained on|selected its epoch", row) for row in lines[2:]]
        assert marks == [[MARKS[seen.role(split)]] if seen.role(split) != "untouched" else [] for split in ("val", "test", "test_dedup")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_votes_and_what_was_weighed_on_val_is_said(setting):
    of = {"one": metrics("usual", None, "none", setting), "two": metrics("usual", None, "none", ("val", False))}
    told = exposure.ensembles_sentence({"x": ["one", "two"], "alone": ["one"]}, of, {"x": {"one": 0.5, "two": 0.5}})
    assert told.endswith("On x the weights were fitted on val: of the fitted ensemble, val scores are in-sample.")
    assert ("by one (" in told) is (setting != ("val", False))
    assert "two" not in told.split("weights")[0]


def test_the_results_that_are_published_mark_ensembles_as_the_page_does():
    """The section of results.md, as the notebook forms it, of members that were trained on val."""
    cells = json.loads((find_root() / "notebooks" / "07_compare.ipynb").read_text())["cells"]
    (source,) = ["".join(each["source"]) for each in cells if each["id"] == "cell-036"]
    found = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Dict))
    sections = {ast.literal_eval(key): ast.unparse(value) for key, value in zip(found.keys, found.values, strict=True)}
    _, members, scores, _, _ = compared("usual", 2)
    known = {"members": members, "scores": scores, "weights": {}, "every_metric": {run: {"trained_on": ["train", "val"]} for run in members["x"]}}
    text = eval(sections["Ensembles"], known | {"of_both": "Task.", "exposure": exposure, "protocol": protocol, "tables": tables})
    assert "Of the ensemble on x, val scores are biased by r0, r1 (trained on it)." in text
    assert "| x | ensemble | r0, r1 |" in text


def set_counts(train: list[int], test: list[int]) -> pd.DataFrame:
    return pd.DataFrame([train, [5, 5, 5], test], index=["train", "val", "test"], columns=list(NAMES))


@pytest.mark.parametrize(
    ("train", "test", "must", "never"),
    [
        ([30, 30, 30], [5, 5, 5], ["Every expression has 30 faces", "balanced accuracy of 33.3 %"], ["imbalance ratio", "commonest"]),
        ([30, 10, 20], [6, 3, 0], ["imbalance ratio 3.00", "balanced accuracy of 33.3 % and 50.0 %"], []),
        ([30, 0, 0], [6, 3, 1], ["train holds no face of happy and sad"], ["imbalance ratio"]),
        ([30, 20, 10], [0, 5, 5], ["0.0 % on test", "33.3 % and 0.0 %"], []),
    ],
)
def test_imbalance_is_told_over_the_expressions_that_occur(train, test, must, never):
    said = sets.imbalance_sentence(set_counts(train, test))
    assert not [word for word in must if word not in said], said
    assert not [word for word in never if word in said], said
    assert not NEVER.search(said)


@pytest.mark.parametrize(("groups", "conflicts"), [(0, 0), (59, 0), (59, 7)])
def test_labels_that_contradict_are_concluded_from_only_where_some_do(groups, conflicts):
    audit = {"groups": groups, "label_conflicts": conflicts, "faces_in_label_conflicts": 2 * conflicts}
    audit |= {f"near_{key}": value for key, value in audit.items() if key != "faces_in_label_conflicts"}
    said = audits.conflicts_sentence(audit | {"faces_in_near_label_conflicts": 2 * conflicts})
    assert not NEVER.search(said)
    assert ("errs on at least" in said) is ("errs on at least 7 of these faces" in said) is bool(conflicts)
    assert ("so none has two labels" in said) is (groups == 0)


def of_part(source: str, counts: dict[str, int], targets: list[int] | None = None) -> pd.DataFrame:
    usages = [usage for usage, count in counts.items() for _ in range(count)]
    table = pd.DataFrame({"usage": usages, "source": source, "target": targets or 0})
    return table.assign(face_id=[f"{source}/{i}" for i in range(len(table))])


RAFDB = {"surprise": 329, "fear": 74, "disgust": 160, "happy": 1_185, "sad": 478, "angry": 162, "neutral": 680}
SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def rafdb() -> pd.DataFrame:
    targets = [0] * 12_271 + [SEVEN.index(name) for name, count in RAFDB.items() for _ in range(count)]
    faces = of_part("rafdb", {"train": 12_271, "test": 3_068}, targets)
    return faces.assign(split=["val" if i < 100 else part for i, part in enumerate(faces["usage"])])


def ferplus(**counts: int) -> pd.DataFrame:
    faces = of_part("ferplus", counts)
    return faces.assign(split=faces["usage"].map({"Training": "train", "PublicTest": "test", "PrivateTest": "test"}))


def test_a_dataset_is_compared_with_the_official_counts_of_its_parts():
    for faces in (rafdb(), ferplus(Training=25_060, PublicTest=3_199), ferplus(Training=25_060, PublicTest=3_199, PrivateTest=3_153)):
        said = sets.official_sentence(faces, SEVEN)
        assert "Exactly the official counts" in said
        assert ("PrivateTest is absent" in said) is (set(faces["usage"]) == {"Training", "PublicTest"})
    table = sets.official_table(rafdb(), SEVEN)
    assert table.loc[("test", "official"), ["happy", "all"]].tolist() == [1_185, 3_068]
    assert table.loc[("train", "official"), ["happy", "all"]].tolist() == ["", 12_271]
    assert sets.official_counts(rafdb(), SEVEN).index.tolist() == ["test"]
    joined = pd.concat([rafdb(), ferplus(Training=25_060)], ignore_index=True)
    assert {"rafdb, train", "ferplus, PrivateTest"} <= set(sets.official_table(joined, SEVEN).index.get_level_values("part"))
    assert sets.official_counts(joined, SEVEN) is None


def test_only_the_official_test_whole_and_alone_goes_without_a_box():
    from ferlab.data.readers.official import is_official_test

    assert is_official_test(rafdb()) is True
    assert is_official_test(rafdb().iloc[:-1]) is False
    whole = ferplus(Training=9, PublicTest=3_199, PrivateTest=3_153)
    assert is_official_test(whole.assign(split=whole["usage"].map({"Training": "train", "PublicTest": "val", "PrivateTest": "test"}))) is True
    assert is_official_test(whole) is False  # PublicTest is scored too
    assert is_official_test(ferplus(Training=9, PublicTest=3_199)) is False
    assert is_official_test(pd.concat([rafdb(), ferplus(PrivateTest=3_153)], ignore_index=True)) is False
    few = rafdb().assign(split="train").iloc[:50]
    assert is_official_test(pd.concat([rafdb(), few.assign(source="ckplus")], ignore_index=True)) is True  # more faces to train on, the same test
    assert is_official_test(pd.concat([rafdb(), few.assign(source="ckplus", split="test", usage="test")], ignore_index=True)) is False
    for source in ("control", "control:fer2013", "ckplus", "mine"):
        assert is_official_test(rafdb().assign(source=source)) is None
