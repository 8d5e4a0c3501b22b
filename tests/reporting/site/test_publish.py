"""The published summary: numbers as they stand in the metrics, val's own row before a refit, and a missing stage named."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from ferlab.evaluation.claims import audit_claims, titles
from ferlab.evaluation.published import read_published
from ferlab.params import check_params, load_params
from ferlab.paths import ROOT, InputError
from ferlab.reporting.pages.claims import MARKS
from ferlab.reporting.site import publish as publish_module
from ferlab.reporting.site import publish_page
from ferlab.reporting.site.publish import publish
from ferlab.reporting.site.publish_beside import beside_page, reproduction_page
from ferlab.reporting.site.publish_page import first_seeds, summary_table
from ferlab.reporting.site.publish_stages import Ran
from ferlab.studies import study_text

SCORES = {"accuracy": 0.64451, "accuracy_ci_low": 0.6287, "accuracy_ci_high": 0.66, "macro_f1": 0.6011, "nll": 0.9783, "ece": 0.0472}
TRAINED = {"n": {"val": 100}, "val": {"accuracy": 0.64, "loss": 0.98}}


def evaluated(*trained_on: str) -> dict:
    scores = {"val": SCORES, "test": SCORES, "test_dedup": None, "n": {"val": 100, "test": 3589}}
    return {**scores, "trained_on": list(trained_on), "tta_none": {"test": {"accuracy": 0.6344}}, "tta_flip": {"test": {"accuracy": 0.64}}}


def rows(*trained_on: str, trained: dict = TRAINED) -> list[str]:
    params = load_params()
    return summary_table(params, {name: {"evaluate": evaluated(*trained_on), "train": trained} for name in params.runs}).splitlines()[2:]


def test_a_row_tells_accuracy_with_interval_n_and_that_of_one_view_and_of_flip():
    assert "| five_layer | test | 3,589 | 64.45 % [62.87, 66.00] | 63.44 % | 64.00 % | 60.1 % | 0.978 | 4.7 % |" in rows("train")


def test_every_row_of_a_run_with_pretrained_weights_names_their_data():
    assert not [row for row in rows("train") if "many faces" in row]
    marked = rows("train", trained={**TRAINED, "pretrained_on": "many faces"})
    assert marked
    assert all(row.endswith("| many faces |") for row in marked)


def test_a_split_without_faces_has_no_row():
    assert not [row for row in rows("train") if "test_dedup" in row]


def test_val_of_a_refitted_net_is_told_as_it_was_before_the_refit():
    val = next(row for row in rows("train", "val") if "| val" in row)
    assert "before the refit" in val
    assert "64.00 % [54.24, 72.73]" in val  # Wilson by hand: 64 of 100


def test_val_has_no_row_where_nothing_was_selected():
    assert not [row for row in rows("train", "val", trained={**TRAINED, "val": {}}) if "| val" in row]


def test_the_splits_say_what_runs_were_trained_and_selected_on_where_it_is_not_as_the_rule_says():
    params = load_params()
    data = {run.data: {"split_rule": "A tenth of Training selects."} for run in params.runs.values()}
    for scores, told in (
        ({"trained_on": ["train"]}, ""),
        ({"trained_on": ["train", "val"], "selected_on": []}, " Trained on train and val, no split selected the epoch: all runs; scores on val are"),
        ({"trained_on": ["train", "val"]}, " Trained on train and val, epoch selected on val: all runs; scores on val are training scores."),
    ):
        ran = Ran(data, {name: {"evaluate": scores} for name in params.runs}, {}, {})
        text = publish_page._splits(params, ran)
        assert f"`: A tenth of Training selects.{told}" in text
        assert ("all runs" in text) is bool(told)


def test_a_stage_that_has_not_run_is_named_and_leaves_what_was_published(tmp_path, monkeypatch):
    from ferlab import paths

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = tmp_path / "published" / "quick"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("the last one")
    (folder / "summary.json").write_text('{"study": "quick"}')
    folder.rename(folder.with_name(".quick.old"))  # as a kill between two renames leaves it
    params = load_params(paths.find_root() / "params.yaml")
    with pytest.raises(InputError, match=r"reports/metrics/prepare/control\.json: not found"):
        publish(params, folder)
    assert (folder / "README.md").read_text() == "the last one"


@pytest.mark.parametrize(
    ("name", "summary", "told"),
    [
        ("quick", None, "summary.json: not found"),
        ("quick", "[]", "expected a JSON object"),
        ("quick", '{"study": "other"}', "is of the study 'other', not 'quick'; nothing was written"),
        ("thesis", '{"study": "quick"}', "no folder of the study 'quick'"),
        ("..", None, "no folder of the study 'quick'"),
    ],
)
def test_a_folder_that_publishing_did_not_write_is_refused_and_stays(tmp_path, name, summary, told):
    folder = tmp_path / "published" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "thesis.tex").write_text("years of work")
    if summary:
        (folder / "summary.json").write_text(summary)
    with pytest.raises(InputError, match=told.replace("[", r"\[")):
        publish(load_params(ROOT / "params.yaml"), folder)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_what_somebody_put_beside_a_summary_stays_and_old_figures_go(tmp_path):
    folder, beside = tmp_path / "quick", tmp_path / ".quick.new"
    for place in (folder / "notes", beside):
        place.mkdir(parents=True)
    for name in ("summary.json", "README.md", "reliability-old_run.png", "talk.pdf", "notes/a.txt"):
        (folder / name).write_text(name)
    publish_module._keep_others(folder, beside)
    assert sorted(path.relative_to(beside).as_posix() for path in beside.rglob("*") if path.is_file()) == ["notes/a.txt", "talk.pdf"]


def test_of_several_seeds_of_a_recipe_the_first_shows_its_figures():
    params = check_params(YAML(typ="safe").load(study_text(ROOT, "fer2013_ablation")))
    assert first_seeds(params) == [name for name in params.runs if name.endswith("_0")]


def stated(**changes: object) -> pd.DataFrame:
    row = {"paper": "p", "system": "S", "kind": "model", "split": "PrivateTest", "n": 3589.0, "accuracy": 0.663, "ci_low": 0.6474, "ci_high": 0.6783}
    row |= {"dataset": "fer2013", "expressions": 7, "selected_on": "unknown", "note": "made up"}
    return pd.DataFrame([{**row, "ours": "toy/one", "differs": "another split", **changes}])


def test_a_published_row_stands_beside_ours_with_both_splits(tmp_path):
    scores = {**evaluated("train"), "dataset": "fer2013", "usage": {"test": "PublicTest"}, "tta": "none"}
    ensembles = {"faces": {"test": {**SCORES, "accuracy": 0.7, "n": 3589}}}
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "summary.json").write_text(json.dumps({"runs": {"one": {"evaluate": scores}}, "compare": {"ensembles": ensembles}}))
    theirs = "| p: S | fer2013 | PrivateTest | 3,589 | 66.3 [64.7, 67.8] | model | "
    line = beside_page(stated(), tmp_path).splitlines()[-1]
    assert line == theirs + "[toy/one](toy/README.md), none | PublicTest | 3,589 | 64.5 [62.9, 66.0] | split | another split |"
    vote = beside_page(stated(ours="toy/ensemble", n=float("nan"), ci_low=float("nan")), tmp_path).splitlines()[-1]
    unknown = "| p: S | fer2013 | PrivateTest | not said | 66.3 | model | "
    assert vote == unknown + "[toy/ensemble](toy/README.md), soft-voting ensemble | PublicTest | 3,589 | 70.0 [62.9, 66.0] | split | another split |"
    same = beside_page(stated(split="PublicTest"), tmp_path).splitlines()[-1]
    assert same.endswith("| PublicTest | 3,589 | 64.5 [62.9, 66.0] | – | another split |")
    fewer = beside_page(stated(split="PublicTest", n=3456.0), tmp_path).splitlines()[-1]
    assert "| n (3,589 here) | another split |" in fewer
    assert beside_page(stated(ours=None), tmp_path).splitlines()[-1] == theirs + "none |  |  |  |  | another split |"
    assert beside_page(stated(ours="toy/two"), tmp_path).splitlines()[-1] == theirs + "toy/two, not published yet |  |  |  |  | another split |"
    humans = stated(kind="human", system="people", ours=None, differs="", note="as cited")
    people = beside_page(pd.concat([stated(), humans], ignore_index=True), tmp_path)
    assert people.splitlines()[-1].startswith("| p: people |")
    assert people.splitlines()[-1].endswith("| human | none |  |  |  |  | as cited |")


def test_a_run_is_not_published_as_the_pupil_of_another_net(tmp_path, monkeypatch):
    monkeypatch.setattr("ferlab.paths.ROOT", tmp_path)
    weights = tmp_path / "models" / "big" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"now")
    publish_module._check_teachers({"small": {"teachers": {"big": hashlib.sha256(b"now").hexdigest()}}, "old": {}})
    with pytest.raises(InputError, match="run 'small' was distilled from big before that was trained anew"):
        publish_module._check_teachers({"small": {"teachers": {"big": hashlib.sha256(b"then").hexdigest()}}})


def test_every_published_net_has_ours_or_the_reason_why_not_and_the_page_is_as_the_studies_say():
    rows = read_published()
    nets = rows[rows["kind"].isin(("model", "ensemble"))]
    assert (nets["differs"].str.len() > 10).all()
    folder = Path(__file__).parents[3] / "reports" / "published"
    page = (folder / "README.md").read_text()
    assert page == beside_page(rows, folder)
    assert "not published yet" not in page


def test_the_page_of_what_reproduces_is_written_from_todays_claims_and_has_trainings_first():
    rows = audit_claims()
    page = (ROOT / "reports" / "published" / "reproduction.md").read_text()
    assert page == reproduction_page(rows, titles())
    fersys = page.split("## FER-Sys")[1]
    assert fersys.index("### Trained here") < fersys.index("### Computed from what is printed")
    assert "ferlab" not in set(re.findall(r"^## (.*)$", page, flags=re.MULTILINE))
    papers = rows[~rows["paper"].isin(["ferlab", "anchors"])]
    assert len(re.findall(rf"^\| ({'|'.join(map(re.escape, MARKS.values()))}) ", page, flags=re.MULTILINE)) == len(papers)


def test_mean_faces_of_few_photographs_are_not_published_and_drawn_ones_are():
    few, many = ({"attribution_mass": {"occlusion": {"happy": {"n": 24}, "disgust": {"n": n}}}, "dataset": "fer2013"} for n in (7, 8))
    none = {"attribution_mass": {"occlusion": {"happy": {"n": 24}, "disgust": {"n": 0}}}, "dataset": "fer2013"}
    assert [publish_module._shows_few(each) for each in (few, many, none, {**few, "dataset": "control"})] == [True, False, False, False]
