"""Model and dataset cards: numbers of the metrics files, both branches of each sentence, front matter as Hugging Face asks, the same bytes twice."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ferlab.paths import ROOT, InputError
from ferlab.reporting.site.dataset_card import Dataset, dataset_card, dataset_card_body, dataset_metadata
from ferlab.reporting.site.model_card import Described, front_matter, model_card, model_card_body, model_metadata
from ferlab.reporting.site.shipped_card import FOLDER, published_predictions, shipped_model_card, write_shipped_card
from ferlab.reporting.tables import percent

SPLIT = {
    "accuracy": 0.7, "accuracy_ci_low": 0.6, "accuracy_ci_high": 0.8, "macro_f1": 0.65, "macro_f1_ci_low": 0.5, "macro_f1_ci_high": 0.75,
    "balanced_accuracy": 0.66, "ece": 0.05, "ece_ci_low": 0.02, "ece_ci_high": 0.09, "nll": 0.9,
    "per_class": {
        "sad": {"recall": 0.5, "recall_ci_low": 0.4, "recall_ci_high": 0.6, "precision": 0.7, "support": 60},
        "happy": {"recall": 0.9, "recall_ci_low": 0.8, "recall_ci_high": 0.95, "precision": 0.6, "support": 40},
    },
}
TASK = {"dataset": "fer2013", "usage": "PublicTest", "tta": "flip", "expressions": 2, "version": "1", "n": 100, "digest": "0a1b2c3d"}
METRICS: dict[str, dict[str, Any]] = {
    "train": {"parameters": 1234, "n": {"trained": 900}},
    "evaluate": {
        "dataset": "fer2013", "trained_on": ["train"], "selected_on": ["val"], "test": SPLIT, "test_dedup": {**SPLIT, "accuracy": 0.6},
        "tasks": {"test": {**TASK, "duplicates": "all"}, "test_dedup": {**TASK, "duplicates": "deduplicated", "n": 80}},
        "calibration": {
            "reason": "", "split": "test", "n": 100, "fitted_n": 50, "temperature": 1.5, "temperature_ci_low": 1.2, "temperature_ci_high": 1.9,
            "scores": {"none": {"ece": 0.05}, "temperature": {"ece": 0.03}},
        },
    },
    "analyze_errors": {
        "split": "val", "n": 50,
        "slice_tests": [
            {"condition": "pose", "lowest": 0.1, "highest": 0.4, "p_holm": 0.01},
            {"condition": "glasses", "lowest": 0.2, "highest": 0.3, "p_holm": 0.4},
        ],
    },
    "robustness": {
        "split": "val", "n": 50, "clean_accuracy": 0.7,
        "corruptions": {
            "fog": {"rise": 0.1, "rise_ci_low": 0.05, "rise_ci_high": 0.15},
            "impulse_noise": {"rise": 0.3, "rise_ci_low": 0.2, "rise_ci_high": 0.4},
            "mean": {"rise": 0.2, "rise_ci_low": 0.15, "rise_ci_high": 0.25},
        },
        "occlusions": {"mask": {"accuracy": 0.4, "accuracy_ci_low": 0.3, "accuracy_ci_high": 0.5}, "eyes": {"accuracy": 0.5}},
    },
}  # fmt: skip
PREPARED = {
    "dataset": "fer2013", "faces": 32298, "expressions": ["angry", "happy"], "splits": {"train": 10, "val": 2, "test": 3}, "height": 48, "width": 48,
    "counts": {"train": {"angry": 4, "happy": 6}, "val": {"angry": 1, "happy": 1}, "test": {"angry": 1, "happy": 2}}, "excluded": {"blank": 2},
    "split_rule": "Official", "subjects": None, "votes": True,
}  # fmt: skip
AUDIT = {
    "label_conflicts": 1, "groups": 4, "near_label_conflicts": 2, "near_groups": 5, "test_dedup": 2, "test_faces": 3,
    "cross_split": {"train": {"test": {"exact_duplicates": 1, "mirrored_duplicates": 0, "near_duplicates": 0}}, "val": {}, "test": {}},
}  # fmt: skip


def described(**changes: Any) -> Described:
    metrics = copy.deepcopy(METRICS)
    for key, value in changes.items():
        metrics[key] = value
    return Described("one", "five_layer", metrics, "faces")


def metadata_of(text: str) -> dict[str, Any]:
    block = re.match(r"---\n(.*?)\n---\n\n# ", text, flags=re.DOTALL)
    assert block, "front matter stands between lines of dashes, then the title"
    return YAML(typ="safe").load(block[1])


def check_model_index(metadata: dict[str, Any]) -> None:
    """Hugging Face's rules: what of a model-index is required (huggingface/hub-docs, modelcard.md)."""
    for model in metadata["model-index"]:
        assert model["name"]
        assert model["results"]
        for result in model["results"]:
            assert result["task"]["type"] == "image-classification"
            assert result["dataset"]["type"]
            assert result["dataset"]["name"]
            assert result["metrics"]
            for metric in result["metrics"]:
                assert metric["type"] in metadata["metrics"]
                assert isinstance(metric["value"], float)


def test_the_front_matter_is_what_hugging_face_asks_for():
    metadata = metadata_of(model_card(described()))
    assert metadata == model_metadata(described())
    check_model_index(metadata)
    assert (metadata["license"], metadata["pipeline_tag"], metadata["datasets"]) == ("mit", "image-classification", ["fer2013"])
    first, second = metadata["model-index"][0]["results"]
    assert first["dataset"]["args"] == {"usage": "PublicTest", "duplicates": "all", "tta": "flip", "expressions": 2, "version": "1", "n": 100}
    assert first["dataset"]["revision"] == "0a1b2c3d"
    assert second["dataset"]["args"]["duplicates"] == "deduplicated"
    accuracy = first["metrics"][0]
    assert accuracy == {
        "type": "accuracy", "value": 0.7, "name": "accuracy", "args": {"n": 100, "ci_low": 0.6, "ci_high": 0.8, "level": 0.95, "over": "faces"}
    }  # fmt: skip


def test_the_card_states_data_selection_results_calibration_gaps_and_robustness():
    text = model_card_body(described())
    assert "1,234 parameters: the expression of a cropped face, one of happy and sad." in text
    assert "Trained on train, 900 faces. The epoch was selected on val." in text
    assert "Do not pass the images on" in text
    assert "| accuracy | 70.0 % [60.0, 80.0] | 60.0 % [60.0, 80.0] |" in text
    assert "| balanced accuracy | 66.0 % | 66.0 % |" in text
    assert text.index("| happy | 40 |") < text.index("| sad | 60 | 50.0 % [40.0, 60.0] | 70.0 % |")
    assert "Task: fer2013, PublicTest, all faces, TTA flip" in text
    assert "Intervals are 95 %, over faces." in text
    assert "A temperature of 1.50 [1.20, 1.90], fitted on val (n 50), changes the ECE on test (n 100) from 5.0 % to 3.0 %." in text
    assert "Holm over 2 conditions: 1 significant." in text
    assert "| pose | 10.0 % | 40.0 % | 0.010 |" in text
    assert "glasses" not in text
    assert "rises by 20.0 points [15.0, 25.0] on average over 2 corruptions, most under impulse noise, by 30.0 points [20.0, 40.0]." in text
    assert "accuracy is lowest under mask: 40.0 % [30.0, 50.0]" in text
    assert "control faces" not in text


def test_groups_and_corruptions_of_faces_that_the_model_was_trained_on_say_so():
    refit = {**METRICS["evaluate"], "trained_on": ["train", "val"]}
    for evaluated, told in (({}, "Scores on val describe the best of several epochs"), (refit, "Scores on val are training scores.")):
        text = model_card_body(described(**({"evaluate": evaluated} if evaluated else {})))
        for head in ("## Groups of faces", "## Corrupted and occluded faces"):
            assert told in text.split(head)[1].split("\n## ")[0]
    on_test = {stage: {**METRICS[stage], "split": "test"} for stage in ("analyze_errors", "robustness")}
    assert "Scores on" not in model_card_body(described(**on_test))


def test_test_stands_alone_where_no_face_has_a_duplicate():
    alone = {**METRICS["evaluate"], "n": {"test": 100, "test_dedup": 100}}
    assert "| | test |" in model_card_body(described(evaluate=alone))
    assert "| | test | test, deduplicated |" in model_card_body(described())


def test_pretrained_weights_are_told_as_further_data():
    assert "pretrained" not in model_card(described())
    trained = {**METRICS["train"], "pretrained_on": "many faces"}
    assert "It rests on data beyond this dataset too, by pretrained weights: many faces." in model_card(described(train=trained))


def test_what_was_not_computed_is_said_and_never_made_up():
    text = model_card_body(described(robustness={}, analyze_errors={}, evaluate={**METRICS["evaluate"], "calibration": None}))
    assert "## Corrupted and occluded faces\n\nNot measured." in text
    assert "## Groups of faces\n\nNot analysed." in text
    assert "## Calibration" not in text
    none = model_card_body(described(evaluate={}, train={}))
    assert "Not evaluated yet." in none
    assert "Not trained yet." in none
    assert "model-index" not in model_metadata(described(evaluate={}))


def test_a_run_without_gaps_or_temperature_says_so():
    rows = [{**row, "p_holm": 0.2} for row in METRICS["analyze_errors"]["slice_tests"]]
    fitted = {**METRICS["evaluate"], "calibration": {"reason": "the model was trained on val", "scores": {}}}
    text = model_card_body(described(analyze_errors={**METRICS["analyze_errors"], "slice_tests": rows}, evaluate=fitted))
    assert "no significant gap in error rate. A gap that is not significant may exist." in text
    assert "No temperature was fitted: the model was trained on val." in text


def test_bounds_over_subjects_are_named_as_such():
    subjects = {"subjects_by_split": {"test": {"accuracy_ci_low": 0.5, "accuracy_ci_high": 0.9}}}
    card = described(evaluate={**METRICS["evaluate"], **subjects})
    assert "| accuracy | 70.0 % [50.0, 90.0] |" in model_card_body(card)
    assert "Intervals are 95 %, of accuracy over subjects, else over faces." in model_card_body(card)
    metrics = {of["type"]: of["args"].get("over") for of in model_metadata(card)["model-index"][0]["results"][0]["metrics"]}
    assert (metrics["accuracy"], metrics["f1"]) == ("subjects", "faces")
    every = described(evaluate={**METRICS["evaluate"], **subjects, "test": {**METRICS["evaluate"]["test"], "subjects": 9}})
    assert "of accuracy and recall over subjects, else over faces." in model_card_body(every)


def test_a_card_on_control_faces_says_that_they_are_drawn():
    evaluated = {**METRICS["evaluate"], "dataset": "control"}
    assert "nothing here is about photographs" in model_card_body(described(evaluate=evaluated))
    assert "synthetic-data" in model_metadata(described(evaluate=evaluated))["tags"]


def test_equal_metrics_give_equal_bytes():
    turned = {stage: dict(reversed(of.items())) for stage, of in METRICS.items()}
    assert model_card(described()) == model_card(Described("one", "five_layer", turned, "faces"))
    assert front_matter({"b": 1, "a": "x: y"}) == "---\nb: 1\na: 'x: y'\n---\n\n"


def test_the_dataset_card_counts_faces_duplicates_conflicts_and_issues():
    card = Dataset("faces", PREPARED, AUDIT, {"one": {"issues": 3, "n": 50, "split": "val"}})
    text = dataset_card_body(card)
    assert "| angry | 4 | 1 | 1 |" in text
    assert "| all | 10 | 2 | 3 |" in text
    assert "Official. Faces name no subjects. 2 pictures were excluded." in text
    assert "Labels of FER2013: the words of image searches" in text
    assert "Votes of several annotators are kept." in text
    assert "| train | test | 1 | 0 | 0 |" in text
    assert "2 of 3 test faces have no duplicate in train or val" in text
    assert "Labels differ within 1 of 4 groups of exact duplicates, and within 2 of 5 groups with near-duplicates." in text
    assert "names 3 label issues among 50 faces of val (run one)" in text
    assert "Cite I. J. Goodfellow et al. (2013)" in text


def test_the_front_matter_of_a_dataset_is_what_hugging_face_asks_for():
    metadata = metadata_of(dataset_card(Dataset("faces", PREPARED, AUDIT)))
    assert (metadata["license"], metadata["license_name"]) == ("other", "terms-of-fer2013")
    assert metadata["license_link"].startswith("https://www.kaggle.com/")
    assert metadata["annotations_creators"] == ["found"]
    assert metadata["size_categories"] == ["10K<n<100K"]
    assert metadata["source_datasets"] == ["extended|other-fer2013"]
    assert {of["name"]: of["num_examples"] for of in metadata["dataset_info"]["splits"]} == {"train": 10, "val": 2, "test": 3}
    assert metadata["dataset_info"]["features"][1]["dtype"]["class_label"]["names"] == {"0": "angry", "1": "happy"}
    drawn = dataset_metadata(Dataset("faces", {**PREPARED, "dataset": "control"}, {}))
    assert (drawn["license"], drawn["annotations_creators"], drawn["source_datasets"]) == ("mit", ["machine-generated"], ["original"])
    assert "license_name" not in drawn


def test_a_dataset_that_was_not_audited_says_so():
    assert "Not audited yet." in dataset_card_body(Dataset("faces", PREPARED, {}))


def test_the_card_of_the_model_that_ships_is_that_of_its_files():
    card = json.loads((ROOT / FOLDER / "card.json").read_text())
    text = (ROOT / FOLDER / "README.md").read_text()
    assert shipped_model_card(card, published_predictions(ROOT)) == text, "python -m ferlab.reporting.site.shipped_card"
    check_model_index(metadata_of(text))
    assert "| PublicTest | none | 3,589 | 69.8 % [68.2, 71.2] |" in text
    assert "| PublicTest without duplicates of Training | none | 2,800 | 66.7 % [64.9, 68.4] |" in text
    assert "| PrivateTest | flip | 3,589 | 71.7 % [70.2, 73.1] |" in text


def test_predictions_of_another_model_add_nothing_to_the_card():
    card = json.loads((ROOT / FOLDER / "card.json").read_text())
    card["test"]["none"]["accuracy"] = card["test"]["flip"]["accuracy"] = 0.5
    assert "PublicTest without duplicates" not in shipped_model_card(card, published_predictions(ROOT))


def test_a_risk_that_no_threshold_keeps_or_no_fold_judged_has_dashes():
    card = json.loads((ROOT / FOLDER / "card.json").read_text())
    first, second = card["confidence"]["abstention"][:2]
    first["threshold"] = first["judged"] = second["judged"] = None
    text = shipped_model_card(card, published_predictions(ROOT))
    assert f"| {percent(first['risk'])} | – | – | – |" in text
    assert f"| {percent(second['risk'])} | {second['threshold']:.3f} | – | – |" in text


def test_a_broken_card_is_one_line(tmp_path: Path):
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "card.json").write_text("{}")
    with pytest.raises(InputError, match=r"card\.json: not as `ferlab ship` writes it"):
        write_shipped_card(tmp_path)
