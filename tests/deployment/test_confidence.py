"""What a card states of a model's confidences, and what is read from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from ferlab.deployment import Predictor
from ferlab.deployment import confidence_card as confidence_card_module
from ferlab.deployment.confidence import LEVEL, Confidence
from ferlab.deployment.confidence_card import RISKS, confidence_card, name_faces, precision_of, read_confidence
from ferlab.deployment.export import export_onnx
from ferlab.evaluation import abstention
from ferlab.evaluation.calibration import log_losses
from ferlab.evaluation.predictions import predictions_table, write_predictions
from ferlab.evaluation.temperature import fit_temperature, scale
from ferlab.evaluation.vector_scaling import fit_by_class, scale_by_class
from ferlab.paths import InputError
from ferlab.roles import Exposure

NAMES = ("angry", "happy", "neutral")
NAMED = {"val": "toy, PublicTest", "test": "toy, PrivateTest"}
SEEN, ALL_SEEN = Exposure(("train",), ("val",)), Exposure(("train", "val"))


def scored(*, val: int = 900, test: int = 900, temperature: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """Return predictions whose confidences are off by a known temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (val + test, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random(len(true))[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(max=2)
    ids = [f"toy/{number}" for number in range(len(true))]
    return predictions_table(ids, ["val"] * val + ["test"] * test, targets, probs=scale(true, 1 / temperature), expressions=NAMES)


def read(part: Mapping[str, Any]) -> Confidence:
    return Confidence.from_card({"expressions": list(NAMES), "confidence": json.loads(json.dumps(part))})


def by_hand() -> pd.DataFrame:
    """Return six predictions: happy 2 of 4 right (wrong: neutral, neutral), angry 1 of 2 (wrong: happy), neutral never predicted."""
    probs = np.eye(3)[[1, 1, 1, 1, 0, 0]] * 0.4 + 0.2
    return predictions_table(list("abcdef"), ["test"] * 6, np.array([1, 1, 2, 2, 0, 1]), probs=probs, expressions=NAMES)


def test_precisions_by_hand() -> None:
    low, high = proportion_confint(2, 4, method="wilson")
    found = precision_of(by_hand())
    expected = {"right": 2, "n": 4, "ci_low": pytest.approx(low, abs=1e-6), "ci_high": pytest.approx(high, abs=1e-6)}
    assert found["happy"] == {**expected, "confused_with": "neutral", "confused": 2}
    assert (found["angry"]["right"], found["angry"]["n"], found["angry"]["confused_with"]) == (1, 2, "happy")
    assert found["neutral"] == {"right": 0, "n": 0, "ci_low": None, "ci_high": None, "confused_with": "", "confused": 0}


def test_a_held_out_val_fits_and_test_judges() -> None:
    table = scored()
    card = confidence_card(table, SEEN, named=NAMED)
    val = table[table["split"] == "val"]
    assert card["temperature"] == pytest.approx(fit_temperature(val["target"].to_numpy(), val.filter(like="prob_").to_numpy()), abs=1e-6)
    assert card["temperature_ci_low"] < 0.5 < card["temperature_ci_high"]
    assert card["fitted_on"] == "900 faces (toy, PublicTest)"
    assert card["judged_on"] == "900 faces (toy, PrivateTest)"
    assert card["calibration"]["after"]["ece"] < 0.05 < card["calibration"]["before"]["ece"]
    assert card["calibration"]["after"]["nll"] < card["calibration"]["before"]["nll"]
    assert card["calibration"]["after"]["nll_difference_ci_high"] < 0
    assert card["calibration"]["after"]["accuracy"] == card["calibration"]["before"]["accuracy"]
    weights, biases = fit_by_class(val["target"].to_numpy(), val.filter(like="prob_").to_numpy())
    assert card["vector"] == {"weights": pytest.approx(weights, abs=1e-6), "biases": pytest.approx(biases, abs=1e-6)}
    test = table[table["split"] == "test"]
    scaled = scale_by_class(test.filter(like="prob_").to_numpy(), weights, biases)
    assert card["calibration"]["vector"]["nll"] == pytest.approx(log_losses(test["target"].to_numpy(), scaled).mean(), abs=1e-4)
    assert [row["risk"] for row in card["abstention"]] == sorted(RISKS)
    for row in card["abstention"]:
        assert row["judged"]["n"] == 900
        assert row["found"]["upper"] <= row["risk"]
        assert row["judged"]["error_rate_ci_low"] <= row["risk"]


def test_faces_that_were_trained_on_fit_nothing() -> None:
    card = confidence_card(scored(), ALL_SEEN, named=NAMED)
    assert "temperature" not in card
    assert "abstention" not in card
    assert card["precision"]["happy"]["n"] > 0
    found = read(card)
    assert found.calibration_sentence() == "Confidences are not calibrated: no split is held out, as the model was also trained on val."
    probs = np.array([[0.2, 0.5, 0.3]], np.float32)
    assert found.calibrate(probs) is probs
    assert not found.abstains(probs).any()


def test_test_fits_where_it_is_asked_for_and_its_folds_judge() -> None:
    table = scored()
    card = confidence_card(table, ALL_SEEN, named=NAMED, on_test=True)
    assert card["fitted_on"] == "900 faces (toy, PrivateTest), as the model was trained on all others"
    assert card["judged_on"].endswith("cross-fitted in 10 folds")
    assert card["fitted_n"] == 900
    shuffled = table.assign(target=np.random.default_rng(1).integers(0, 3, len(table)))
    rows = confidence_card(shuffled, ALL_SEEN, named=NAMED, on_test=True)["abstention"]
    assert [(row["threshold"], row["judged"]) for row in rows] == [(None, None)] * 4, "with labels at random no threshold holds"


def test_no_fold_is_judged_by_a_threshold_that_it_fitted(monkeypatch) -> None:
    rows, met = scored(val=0, test=50), []

    def fit(part, *, risks):
        met.append(set(rows["face_id"]) - set(part["face_id"]))
        vector = {"weights": np.ones(3), "biases": np.full(3, len(met))}
        return {"temperature": 1.0 + len(met), "vector": vector, "abstention": [{"threshold": 0.0 if len(met) == 1 else 1.1}]}

    monkeypatch.setattr(confidence_card_module, "_fit", fit)
    found = confidence_card_module._judge_across(rows, risks=[0.1])
    (judged,) = found["abstention"]
    each = [scale(part.filter(like="prob_").to_numpy(), 2.0 + i) for i, part in enumerate(rows[rows["face_id"].isin(fold)] for fold in met)]
    labels = [rows["target"].to_numpy()[rows["face_id"].isin(fold).to_numpy()] for fold in met]
    losses = np.concatenate([log_losses(targets, probs) for targets, probs in zip(labels, each, strict=True)])
    assert found["after"]["nll"] == pytest.approx(losses.mean()), "each fold is scaled by the temperature that it did not fit"
    assert sorted(face for fold in met for face in fold) == sorted(rows["face_id"]), "each face is kept from one fit"
    assert judged["accepted"] == len(met[0]) == 5, "the first fold alone is accepted, by the threshold that it did not fit"


def test_where_val_is_held_out_test_fits_nothing_even_if_asked_for() -> None:
    table = scored()
    assert confidence_card(table, SEEN, named=NAMED, on_test=True) == confidence_card(table, SEEN, named=NAMED)


def test_too_few_wrong_faces_fit_nothing() -> None:
    table = scored()
    right = table.assign(target=np.where(table["split"] == "val", table["pred"], table["target"]))
    assert confidence_card(right, SEEN, named=NAMED)["fitted_on"] == "0 of 900 faces (toy, PublicTest) are wrong, too few to fit a temperature"


def test_no_test_face_without_a_duplicate_leaves_a_card_that_says_so() -> None:
    assert confidence_card(scored(test=0), SEEN, named=NAMED) == {"fitted_on": "every test face has a duplicate among those trained on"}


def test_a_run_is_read_from_the_files_of_its_evaluation_without_duplicates(tmp_path) -> None:
    table = scored(val=400, test=400)
    flipped = scale(table.filter(like="prob_").to_numpy(np.float32), 2.0)
    write_predictions(tmp_path / "predictions.parquet", table)
    lists = {"trained_on": np.array(["train"]), "selected_on": np.array(["val"])}
    np.savez(tmp_path / "tta.npz", none=table.filter(like="prob_").to_numpy(np.float32), flip=flipped, **lists)
    faces = table[["face_id", "split"]].assign(usage="PublicTest", source="toy", duplicate_group=np.arange(800))
    trained = pd.DataFrame({"face_id": ["t"], "split": ["train"], "usage": ["Training"], "source": ["toy"], "duplicate_group": [799]})
    faces = pd.concat([faces, trained], ignore_index=True)
    faces.loc[faces["face_id"].isin(["toy/0", "toy/1"]), "duplicate_group"] = [799, 400]  # of a training face; of a test face
    card = read_confidence(tmp_path / "predictions.parquet", tmp_path / "tta.npz", faces)
    assert card["tta"] == "flip"
    assert card["fitted_n"] == 399, "val/0 has a duplicate in train"
    assert sum(row["n"] for row in card["precision"].values()) == 398, "one has its duplicate in val, one in train"
    val = slice(1, 400)
    assert card["temperature"] == pytest.approx(fit_temperature(table["target"].to_numpy()[val], flipped[val]), abs=1e-6)
    assert card["measured_on"] == "toy, PublicTest, deduplicated"


def test_drawn_faces_are_named_as_such() -> None:
    assert name_faces("control:ckplus and control", "PublicTest", split="val") == "control faces, val, deduplicated"
    assert name_faces("jaffe", "Training", split="test") == "jaffe, test, deduplicated"


def test_what_is_written_is_what_is_read() -> None:
    card = confidence_card(scored(), SEEN, named=NAMED)
    found = read(card)
    assert (found.temperature, found.risk) == (card["temperature"], 0.1)
    assert found.thresholds == {row["risk"]: row["threshold"] for row in card["abstention"]}
    assert found.threshold == found.thresholds[0.1]
    assert (list(found.weights), list(found.biases)) == (card["vector"]["weights"], card["vector"]["biases"])
    assert found.at_risk(0.2).threshold == found.thresholds[0.2] < found.threshold
    assert found.precision_of("happy").right == card["precision"]["happy"]["right"]
    assert found.confused_with("happy") == card["precision"]["happy"]["confused_with"]
    with pytest.raises(InputError, match=r"risk 0\.3: expected one of 0\.05, 0\.1, 0\.15, 0\.2"):
        found.at_risk(0.3)


def test_vector_scaling_is_applied_where_it_is_asked_for_and_known() -> None:
    probs = np.array([[0.2, 0.5, 0.3]], np.float32)
    found = Confidence(temperature=2.0, weights=(1.0, 1.0, 2.0), biases=(0.0, 0.0, 3.0))
    np.testing.assert_array_equal(found.calibrate(probs), scale(probs, 2.0))
    by_hand = np.array([0.2, 0.5, 0.09 * np.exp(3)])
    np.testing.assert_allclose(found.calibrate(probs, by="vector")[0], by_hand / by_hand.sum(), rtol=1e-6)
    with pytest.raises(InputError, match="has no vector scaling; deploy the run again"):
        Confidence(temperature=2.0).calibrate(probs, by="vector")
    with pytest.raises(InputError, match="calibrate by 'platt': expected temperature or vector"):
        found.calibrate(probs, by="platt")


def test_a_card_from_before_vector_scaling_is_read_as_it_was() -> None:
    card = confidence_card(scored(), SEEN, named=NAMED)
    old = read({key: value for key, value in card.items() if key != "vector"})
    assert replace(read(card), weights=(), biases=()) == old
    assert old.temperature == card["temperature"]


def test_a_model_abstains_below_its_threshold_alone() -> None:
    confidence = Confidence(risk=0.1, threshold=0.6)
    assert confidence.abstains(np.array([[0.6, 0.4], [0.59, 0.41]])).tolist() == [False, True]
    assert confidence.abstains(np.zeros((0, 2))).tolist() == []
    assert not replace(confidence, threshold=None).abstains(np.array([[0.5, 0.5]])).any()


def test_sentences() -> None:
    found = read({"precision": precision_of(by_hand()), "measured_on": "toy, PublicTest"})
    more = "the most frequent label of the others is neutral (toy, PublicTest)."
    assert found.sentence("happy") == f"Of 4 test faces predicted as happy, 2 are labelled so (50.0 % [15.0, 85.0]); {more}"
    assert found.sentence("neutral") == "No test face was predicted as neutral (toy, PublicTest)."
    assert Confidence().sentence("happy").endswith("is unknown: the model's card has no test predictions.")
    assert Confidence(risk=0.1).abstention_sentence() == (
        "The model never abstains: no threshold was found that keeps an error rate of at most 10 % among accepted faces."
    )
    assert Confidence().abstention_sentence() == "The model never abstains: no threshold was fitted."
    assert "with 95 % probability, on faces like those" in Confidence(risk=0.1, threshold=0.625).abstention_sentence()
    assert LEVEL == abstention.LEVEL
    assert "abstains from no face" in Confidence(risk=0.1, threshold=0.0).abstention_sentence()
    assert Confidence(risk=0.1, threshold=0.625).abstention_sentence().startswith("Below a confidence of 62.5 % the prediction is uncertain")
    assert "temperature 1.25" in Confidence(temperature=1.25, fitted_on="9 faces").calibration_sentence()


ROW = {"right": 1, "n": 2, "ci_low": 0.1, "ci_high": 0.9, "confused_with": ""}


@pytest.mark.parametrize(
    "part",
    [
        {"temperature": 0}, {"temperature": "1"}, {"temperature": math.nan}, {"temperature": True}, {"fitted_on": "a\nb"}, {"fitted_on": 3},
        {"fitted_on": "a" * 500}, {"risk": 0.1}, {"risk": 0.1, "abstention": [{"risk": 0.1}]}, {"abstention": 3},
        {"risk": 0.1, "abstention": [{"risk": 0.1, "threshold": 2}]}, {"precision": {"happy": {**ROW, "right": 3}}}, {"precision": ["happy"]},
        {"vector": {"weights": [1.0, 1.0], "biases": [0.0, 0.0]}}, {"vector": {"weights": [1.0, 1.0, 0.0], "biases": [0.0] * 3}}, {"vector": [1]},
        {"vector": {"weights": [1.0, 1.0, None], "biases": [0.0, 0.0, 0.0]}}, {"vector": {"weights": [1.0, 1.0, 1.0]}},
        {"precision": {"happy": {**ROW, "n": 2.0}}}, {"precision": {"happy": {**ROW, "confused_with": "<b>"}}}, {"precision": {"happy": None}},
    ],
)  # fmt: skip
def test_a_spoilt_part_is_told_in_one_line(part) -> None:
    with pytest.raises(InputError, match=r"m\.onnx: `confidence` of its card cannot be read") as error:
        Confidence.from_card({"expressions": list(NAMES), "confidence": part}, where="m.onnx")
    assert "\n" not in str(error.value)


def test_a_card_without_the_part_has_raw_confidences() -> None:
    assert Confidence.from_card({"expressions": list(NAMES)}) == Confidence()


@pytest.fixture(scope="module")
def calibrated(tiny, tmp_path_factory) -> Path:
    """Return the tiny model with a temperature of 3 and a threshold of 0.6 in its file."""
    part = {"temperature": 3.0, "fitted_on": "9 faces", "risk": 0.1, "abstention": [{"risk": 0.1, "threshold": 0.6}], "precision": {"happy": ROW}}
    path = tmp_path_factory.mktemp("calibrated") / "model.onnx"
    export_onnx(tiny, path, confidence=part)
    return path


FACES = np.random.default_rng(0).integers(0, 256, (40, 16, 16)).astype(np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_a_predictor_calibrates_after_averaging_and_no_label_moves(calibrated, tiny_onnx, flip) -> None:
    predictor, plain = Predictor.load(calibrated), Predictor.load(tiny_onnx)
    raw = plain.predict_faces(FACES, flip=flip)
    np.testing.assert_array_equal(predictor.predict_faces(FACES, flip=flip, raw=True), raw)
    found = predictor.predict_faces(FACES, flip=flip)
    np.testing.assert_array_equal(found, scale(raw, 3.0))
    np.testing.assert_array_equal(found.argmax(axis=1), raw.argmax(axis=1))
    assert np.abs(found - raw).max() > 0.1
    assert (found.dtype, found.shape) == (np.float32, raw.shape)


def test_a_picture_says_whether_its_face_is_uncertain(calibrated) -> None:
    predictor = Predictor.load(calibrated)
    faces = [predictor.predict_image(face, whole=True)[0] for face in FACES]
    assert [face.uncertain for face in faces] == [bool(face.probs.max() < 0.6) for face in faces]
    assert 0 < sum(face.uncertain for face in faces) < len(faces)


def test_the_graph_and_its_weights_do_not_depend_on_the_card(calibrated, tiny_onnx) -> None:
    one, other = onnx.load(calibrated), onnx.load(tiny_onnx)
    assert one.graph == other.graph
    assert json.loads(one.metadata_props[0].value)["confidence"]["temperature"] == 3.0


def test_a_file_without_these_keys_works_as_before(tiny_onnx) -> None:
    assert Predictor.load(tiny_onnx).confidence == Confidence()
