"""What of a study ran, is fresh, and is published; measures per face and what they give again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ferlab import paths
from ferlab.evaluation.predictions import predictions_table
from ferlab.explanation.faithfulness import GAINS
from ferlab.explanation.hypotheses import judge_hypotheses
from ferlab.params import Params, check_params
from ferlab.paths import InputError
from ferlab.reporting.site import publish_measures, publish_sections, publish_stages
from ferlab.reporting.site.publish_evidence import covered_facts, hypotheses_section, maps_section
from ferlab.reporting.site.publish_measures import read_measures, write_measures
from ferlab.reporting.site.publish_sections import changes_of, changes_section, experts_section
from ferlab.reporting.site.publish_stages import Ran, gather, not_run_sentence

RUNS = ("base_0", "base_1", "other_0")
NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
REGIONS = ("brows", "eyes", "nose", "mouth", "rest")
AREAS = dict(zip(REGIONS, (0.08, 0.06, 0.06, 0.1, 0.7), strict=True))


def make_params() -> Params:
    runs = {name: {"family": "cs230", "model": "five_layer", "data": "drawn", "seed": int(name[-1]), "group": name[:-2]} for name in RUNS}
    train = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
    stages = {key: {} for key in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    return check_params({"study": "trial", "prepare": {"drawn": {"dataset": "control"}}, "train": train, "runs": runs, **stages})


def write(stage: str, name: str = "", *, study: str = "trial") -> None:
    values: list | dict = [{"paper": "p"}] if stage in paths.ROWS else {"stage": stage, "provenance": {"study": study}}
    paths.write_json(paths.artefact(stage, "metrics", name), values)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A finished study of three runs of which one was explained; returns what is stale, by "stage name", to be changed."""
    stale: dict[str, list[str]] = {}
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(publish_stages, "record_under", lambda params, stage, name: ({}, stale.get(f"{stage} {name}".strip(), [])))
    monkeypatch.setattr(publish_stages, "outdated_compare", lambda params: stale.get("compare", []))
    for stage, names in {"prepare": ("drawn",), "train": RUNS, "evaluate": RUNS, "compare": ("",), "explain": ("base_0",)}.items():
        for name in names:
            write(stage, name)
    return stale


def test_stages_that_ran_are_gathered_and_the_others_named(study):
    ran = gather(make_params())
    assert list(ran.of("explain")) == ["base_0"]
    assert ran.runs["base_1"].keys() == {"train", "evaluate"}
    assert (ran.study, ran.stale) == ({}, {})
    assert not_run_sentence(ran.runs) == "`explain` ran for base_0 alone; `analyze_errors` and `robustness` did not run."
    write("explain", "base_1")
    assert not_run_sentence(gather(make_params()).runs).startswith("`explain` did not run for other_0;")


def test_a_result_of_another_state_or_study_is_not_published_and_the_reason_is_kept(study):
    study["explain base_0"] = ["code"]
    write("robustness", "base_1", study="another")
    write("worlds")
    ran = gather(make_params())
    assert ran.of("explain") == ran.of("robustness") == {}
    assert ran.stale == {"explain base_0": "it is stale (code)", "robustness base_1": "it is of the study 'another'"}
    assert ran.study.keys() == {"worlds"}


def test_a_stale_training_or_evaluation_is_refused(study):
    study["evaluate other_0"] = ["data"]
    with pytest.raises(InputError, match=r"evaluate other_0: it is stale \(data\); repeat it: dvc repro evaluate@other_0"):
        gather(make_params())


@pytest.mark.parametrize("of", ["compare", "prepare drawn"])
def test_a_comparison_or_a_set_of_another_state_is_refused(study, of):
    study[of] = ["params"]
    (paths.ROOT / "data" / "raw").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"{of}: it is (of another state|stale) \(params\); repeat it: dvc repro {of.replace(' ', '@')}"):
        gather(make_params())


def test_where_no_run_was_trained_worlds_alone_are_published_and_else_every_run_is_asked_for(study):
    write("worlds")
    write("claims")
    paths.artefact("train", "metrics", "base_1").unlink()
    with pytest.raises(InputError, match=r"train/base_1\.json: not found"):
        gather(make_params())
    for name in ("base_0", "other_0"):
        paths.artefact("train", "metrics", name).unlink()
    ran = gather(make_params())
    assert (ran.sets, ran.runs, ran.compare) == ({}, {}, {})
    assert ran.study["claims"] == [{"paper": "p"}]
    study["worlds"], study["claims"] = ["params"], ["params"]
    with pytest.raises(InputError, match=r"train/base_0\.json: not found"):
        gather(make_params())


def masses() -> pd.DataFrame:
    """Return masses of 20 faces of each expression; those of happy are on the mouth."""
    rng = np.random.default_rng(0)
    values = rng.dirichlet(10 * np.array([*AREAS.values()]), size=140)
    targets = np.repeat(np.arange(7), 20)
    values[targets == 3, 3] += 1
    table = pd.DataFrame(values / values.sum(axis=1, keepdims=True), columns=list(REGIONS))
    known = {"face_id": [f"f{i}" for i in range(140)], "cluster": [f"photograph {i}" for i in range(140)], "target": targets, "method": "occlusion"}
    return table.assign(**known)


def test_hypotheses_come_again_from_the_measures_that_are_kept(tmp_path, study):
    place = paths.artefact("explain", "masses", "base_0")
    place.parent.mkdir(parents=True)
    masses().to_parquet(place)
    assert write_measures(gather(make_params()), tmp_path / "measures") == []
    kept = tmp_path / "measures" / "masses-base_0.parquet"
    assert kept.stat().st_size < place.stat().st_size
    before, after = (judge_hypotheses(each, areas=AREAS, expressions=NAMES) for each in (masses(), read_measures(kept)))
    pd.testing.assert_frame_equal(after, before, rtol=1e-5)
    assert (before["verdict"] == "holds").any()


def test_a_measure_that_is_too_large_is_named_and_not_kept(tmp_path, study, monkeypatch):
    place = paths.artefact("explain", "masses", "base_0")
    place.parent.mkdir(parents=True)
    masses().to_parquet(place)
    monkeypatch.setattr(publish_measures, "LARGEST", 100)
    assert write_measures(gather(make_params()), tmp_path / "measures") == ["masses-base_0"]
    assert list((tmp_path / "measures").iterdir()) == []


def test_whole_numbers_of_measures_come_back_as_they_were(tmp_path, study):
    write("claims")
    place = paths.artefact("claims", "leak")
    place.parent.mkdir(parents=True)
    table = pd.DataFrame({"draw": [0, 300], "face_id": ["a", "b"], "target": [-1, 6], "prob": [0.1, 0.2], "by_subject": [2, -128]})
    table.to_parquet(place)
    paths.artefact("explain", "metrics", "base_0").unlink()
    write_measures(gather(make_params()), tmp_path / "measures")
    pd.testing.assert_frame_equal(read_measures(tmp_path / "measures" / "frame_leak.parquet"), table.drop(columns="prob"))


def explained(verdict_of: pd.DataFrame) -> dict:
    described = {"dataset": "fer2013", "usage": {"val": "Training", "test": "PublicTest"}, "split": "val"}
    return {**described, "hypotheses": [{k: None if v != v else v for k, v in row.items()} for row in verdict_of.to_dict("records")]}


def test_hypotheses_of_one_seed_are_shown_whole_and_the_verdicts_of_all():
    tested = judge_hypotheses(masses(), areas=AREAS, expressions=NAMES)
    runs = {name: {"explain": explained(tested), "evaluate": {"trained_on": ["train"]}} for name in ("base_0", "base_1")}
    told = hypotheses_section(Ran({}, runs, {}, {}), ["base_0"])
    assert "`base_0`, val. **By occlusion on fer2013, of cs230's 4 findings" in told
    assert "`base_1`," not in told
    assert "| happy | mouth | holds | holds |" in told
    refit = {"base_0": {**runs["base_0"], "evaluate": {"trained_on": ["train", "val"]}}}
    assert "`base_0`, val. **The model was trained on these val faces.** **By" in hypotheses_section(Ran({}, refit, {}, {}), ["base_0"])
    assert hypotheses_section(Ran({}, {"base_0": {}}, {}, {}), ["base_0"]) == ""


def test_maps_of_faces_that_the_model_was_trained_on_say_so():
    ends = {f"{key}{end}": 0.5 for key in ("value", "ahead") for end in ("", "_ci_low", "_ci_high")}
    found = {"split": "val", "faithfulness": {metric: {name: {"n": 9, **ends} for name in ("occlusion", "random")} for metric in GAINS}}
    for trained_on, told in ((["train"], ""), (["train", "val"], " **The model was trained on these val faces.**")):
        runs = {"base_0": {"explain": found, "evaluate": {"trained_on": trained_on}}}
        text = maps_section(make_params(), Ran({}, runs, {}, {}), ["base_0"])
        assert text.startswith(f"`base_0`, 9 val faces.{told} The order of pixels")


def change(level: str, split: str, difference: float, p_holm: float, **more: object) -> dict:
    row = {"factor": "change", "from": "none", "to": level, "else": "", "split": split, "seeds": 3, "n": 2873, "difference": difference}
    bounds = {"ci_low": difference - 0.01, "ci_high": difference + 0.01, "seeds_ci_low": difference - 0.02, "seeds_ci_high": difference + 0.02}
    return {**row, **bounds, "p": p_holm, "p_holm": p_holm, "seed_sd": 0.01, "detectable": 0.01, **more}


def test_a_change_is_kept_by_the_measure_that_is_significantly_better_on_val():
    both = [change("loss", "test", 0.05, 0.001), change("hog", "val", 0.02, 0.2)]
    plain = [change("loss", "val", -0.03, 0.001), *both, change("svm", "val", 0.1, 0.01)]
    told = changes_section({"accuracy": plain, "balanced_accuracy": [change("loss", "val", 0.04, 0.002), *both, change("svm", "val", -0.1, 0.01)]})
    assert "Of 3 changes, on val significantly better in accuracy: svm; significantly better in balanced accuracy: loss." in told
    assert "Each change against the base (change: none), over the seeds in common; val: n 2,873; test: n 2,873." in told
    row = next(line for line in told.splitlines() if line.startswith("| loss"))
    assert row == ("| loss | 3 | -3.0 [-4.0, -2.0] | -3.0 [-5.0, -1.0] | 0.001 | 4.0 [3.0, 5.0] | 0.002 | 5.0 [4.0, 6.0] | balanced accuracy |")
    assert next(line for line in told.splitlines() if line.startswith("| hog")).endswith("| – | neither |")
    alone = changes_section({"accuracy": [change("hog", "val", 0.02, 0.2, seeds=1)], "balanced_accuracy": []})
    assert "Holm over 1 change)" in alone
    assert "| hog | 1 | 2.0 [1.0, 3.0] | – | 0.200 |" in alone
    assert changes_section({}) == ""


def on_test(level: str, difference: float, p_holm: float, **more: object) -> list[dict]:
    """Return the rows of a change whose runs were trained on val: on test, and half of it on 2,800 faces of test_dedup."""
    rows = [change(level, "test", difference, p_holm, **more), change(level, "test_dedup", difference / 2, 0.3, **{**more, "n": 2800})]
    return [row | {"trained_on": "train, val"} for row in rows]


def test_changes_of_runs_trained_on_val_are_measured_by_test_and_nothing_is_kept():
    plain, balanced = [*on_test("again", 0.02, 0.001), *on_test("soft", -0.01, 0.4)], [*on_test("again", 0.01, 0.2), *on_test("soft", 0.03, 0.01)]
    told = changes_section({"accuracy": plain, "balanced_accuracy": balanced})
    assert "over the seeds in common; test: n 2,873; test_dedup: n 2,800." in told
    assert "Val decides nothing on the 2 changes below, as each compares a run that was trained on it: test measures them" in told
    better = "significantly better in accuracy: again; significantly better in balanced accuracy: soft."
    none = "significantly better in accuracy: none; significantly better in balanced accuracy: none."
    assert f"On test, of 2 changes (Holm), {better} On test_dedup, of 2 changes (Holm), {none}" in told
    assert "kept" not in told
    assert "| again | test | 3 | 2.0 [1.0, 3.0] | 2.0 [0.0, 4.0] | 0.001 | 1.0 [0.0, 2.0] | 0.200 |" in told
    assert "| again | test_dedup | 3 | 1.0 [0.0, 2.0] | 1.0 [-1.0, 3.0] | 0.300 | 0.5 [-0.5, 1.5] | 0.300 |" in told
    few = [row | {"trained_on": "train"} for row in plain[:1]]
    told = changes_section({"accuracy": few, "balanced_accuracy": few})
    assert "1 change below, as it compares a run that was trained on it, or runs that share fewer than two of its faces: test measures it" in told


def test_test_faces_with_a_duplicate_are_marked_for_the_changes(monkeypatch):
    faces = pd.DataFrame({"face_id": list("abcdef"), "split": ["train", *["test"] * 5], "duplicate_group": [0, 0, 1, 2, 3, 4]})
    tables = {
        name: predictions_table(list("bcdef"), ["test"] * 5, np.zeros(5, int), probs=np.eye(2)[preds], expressions=("happy", "sad"))
        for name, preds in {"base_0": [0, 1, 1, 1, 0], "other_0": [1, 0, 0, 1, 0]}.items()
    }
    params = make_params()
    runs = {name: run.model_copy(update={"factors": {"change": name}}) for name, run in params.runs.items() if name in tables}
    monkeypatch.setattr(publish_sections, "read_runs", lambda names: (tables, {name: {"trained_on": ["train", "val"]} for name in names}))
    monkeypatch.setattr(publish_sections, "open_store", lambda place: SimpleNamespace(faces=faces))
    found = changes_of(params.model_copy(update={"runs": runs}), Ran({}, {}, {}, {}))
    assert [(row["split"], row["n"], row["difference"]) for row in found["accuracy"]] == [("test", 5, pytest.approx(0.2)), ("test_dedup", 4, 0.5)]


def test_a_change_counts_on_the_splits_that_judge_it():
    mixed = [change("loss", "val", 0.03, 0.01), change("loss", "test", 0.03, 0.01), *on_test("again", 0.02, 0.001)]
    told = changes_section({"accuracy": mixed, "balanced_accuracy": mixed})
    assert "Holm over 1 change) in the measure that the study names. Of 1 change, on val significantly better in accuracy: loss;" in told
    assert "| loss | 3 | 3.0 [2.0, 4.0] |" in told
    assert "Val decides nothing on the 1 change below, as it compares a run that was trained on it: test measures it" in told
    assert "On test, of 2 changes (Holm), significantly better in accuracy: loss and again;" in told
    assert "On test_dedup, of 1 change (Holm)," in told
    assert "| again | – |" not in told


def test_an_expert_is_told_with_its_verdict_and_none_is_no_section():
    row = {"run": "base_0", "expert": "expert_0", "pair": "neutral and sad", "split": "test", "asked": 500, "changed": 60, "n": 3589, "kept": None}
    row |= {"accuracy_before": 0.6, "accuracy": 0.605, "difference": 0.005, "ci_low": -0.001, "ci_high": 0.01, "p_holm": 0.1}
    told = experts_section(Ran({}, {}, {"experts": [row]}, {}))
    assert "expert_0 decides between neutral and sad for 500 of 3,589 test faces of base_0" in told
    assert "No split is left to decide" in told
    assert experts_section(Ran({}, {}, {"experts": []}, {})) == ""


def test_a_study_without_covered_faces_has_no_facts_on_them():
    assert covered_facts(make_params(), Ran({}, {}, {}, {})) == {}
