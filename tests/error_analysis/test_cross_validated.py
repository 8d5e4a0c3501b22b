"""Cross-validated probabilities are out-of-sample: folds part no group, a leak is refused, and a model that memorises knows nothing of its fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ferlab.control.source import read
from ferlab.error_analysis.cross_validated import assign_folds, by_features, check_apart, cross_validate, gradient_histograms
from ferlab.evaluation.predictions import probs_of
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.models.classical import GradientHistograms
from ferlab.paths import InputError

NAMES = ("angry", "disgust", "fear")


def faces_of(n: int = 120, *, subjects: int = 12) -> pd.DataFrame:
    """Faces of subjects, every tenth of which has an exact duplicate with another subject's name."""
    rng = np.random.default_rng(0)
    group = np.arange(n)
    group[::10] = group[5::10]
    return pd.DataFrame(
        {
            "face_id": [f"s/{row:04d}" for row in range(n)],
            "split": "train",
            "target": rng.integers(0, 3, n),
            "subject": [f"s{row % subjects}" for row in range(n)],
            "duplicate_group": group,
        }
    )


@pytest.mark.parametrize("columns", [["subject"], ["duplicate_group"], ["sequence"], ["duplicate_group", "sequence"]])
def test_folds_part_no_subject_sequence_or_duplicate_group(columns: list[str]) -> None:
    faces = faces_of().assign(sequence=[f"q{row // 4}" for row in range(120)])[["face_id", "target", *columns]]
    fold = assign_folds(faces, folds=5, seed=0)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    for key in columns:
        assert pd.Series(fold).groupby(faces[key].to_numpy()).nunique().max() == 1
    assert np.bincount(fold).min() >= 12, "of about equal size"


def test_a_fold_that_parts_a_group_is_refused() -> None:
    faces = faces_of(subjects=60)
    fold = np.arange(120) % 2  # subjects 60 rows apart stay together, duplicates five rows apart do not
    with pytest.raises(InputError, match=r"duplicate_group 5 is in 2 folds; expected one, or its probabilities are in-sample"):
        cross_validate(faces, fold, lambda fitted, predicted: np.full((len(predicted), 3), 1 / 3), expressions=NAMES)
    with pytest.raises(InputError, match=r"subject s0 is in 5 folds"):
        check_apart(faces_of(subjects=12).drop(columns="duplicate_group"), np.arange(120) // 24)


def test_faces_of_one_group_cannot_be_cross_validated() -> None:
    with pytest.raises(InputError, match="all 120 faces share one subject; expected two groups or more"):
        assign_folds(faces_of().assign(subject="one")[["face_id", "target", "subject"]], folds=5, seed=0)


def test_a_model_that_memorises_its_faces_knows_nothing_of_its_fold() -> None:
    faces = faces_of(600, subjects=60)
    targets = faces["target"].to_numpy()
    features = np.random.default_rng(1).normal(size=(600, 5))  # nothing to learn: what is known of a label is memorised

    def nearest(fitted: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        closest = fitted[((features[predicted][:, None] - features[fitted][None]) ** 2).sum(axis=2).argmin(axis=1)]
        return np.eye(3)[targets[closest]]

    table = cross_validate(faces, assign_folds(faces, folds=5, seed=0), nearest, expressions=NAMES)
    assert (nearest(np.arange(600), np.arange(600)).argmax(axis=1) == targets).mean() == 1, "in-sample"
    assert abs((table["pred"] == targets).mean() - 1 / 3) < 0.06


def test_every_face_is_predicted_by_the_model_without_its_fold() -> None:
    faces, seen = faces_of(), []

    def record(fitted: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        seen.append((set(fitted.tolist()), set(predicted.tolist())))
        return np.tile([0.2, 0.5, 0.3], (len(predicted), 1))

    table = cross_validate(faces, assign_folds(faces, folds=4, seed=0), record, expressions=NAMES)
    assert all(fitted.isdisjoint(predicted) and len(fitted | predicted) == 120 for fitted, predicted in seen)
    assert sum(len(predicted) for _, predicted in seen) == 120
    assert table["face_id"].tolist() == faces["face_id"].tolist()
    np.testing.assert_allclose(probs_of(table), np.tile([0.2, 0.5, 0.3], (120, 1)), atol=1e-6)


def test_gradient_histograms_are_those_of_the_classical_model() -> None:
    images, _ = read(faces=6, subjects=2)
    model = GradientHistograms(grey_levels=255.0)
    expected = model(torch.as_tensor(images, dtype=torch.float32)[:, None] / 255).numpy()
    np.testing.assert_allclose(gradient_histograms(images), expected, atol=0.02)
    coloured = np.repeat(images[..., None], 3, axis=-1)
    np.testing.assert_allclose(gradient_histograms(coloured), gradient_histograms(images), atol=0.02)
    assert gradient_histograms(read(faces=2, subjects=1, size=96)[0]).shape == (2, 900)


def test_features_tell_expressions_and_a_missing_class_has_no_probability() -> None:
    images, faces = read(faces=240, subjects=24)
    faces = faces.assign(split="train")
    targets = faces["target"].to_numpy()
    fit_predict = by_features(gradient_histograms(images), targets, num_classes=8, seed=0)
    table = cross_validate(faces, assign_folds(faces, folds=5, seed=0), fit_predict, expressions=ALL_EXPRESSIONS)
    assert (table["pred"] == targets).mean() > 0.3, "chance is 0.14"
    assert not table["prob_contempt"].any()


def test_the_same_seed_gives_the_same_folds() -> None:
    faces = faces_of(subjects=40)
    same, other = (assign_folds(faces, folds=5, seed=seed) for seed in (0, 1))
    assert (assign_folds(faces, folds=5, seed=0) == same).all()
    assert (same != other).any()
