"""Wrong labels planted among control faces, so that the two rankings of doubtful labels are measured where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.control.options import spoil_labels
from ferlab.control.source import read
from ferlab.data.store import Store
from ferlab.error_analysis.cross_validated import Images, assign_folds, by_features, cross_validate, gradient_histograms
from ferlab.error_analysis.label_issues import label_quality
from ferlab.expressions import ALL_EXPRESSIONS

SHARE = 0.1  # of the labels
FACES, SUBJECTS = 1000, 50  # at most, of the dataset's own control faces; drawn where it has none


def control_sample(store: Store, rows: np.ndarray) -> tuple[Images, pd.DataFrame]:
    """Return control faces with their true labels as `target`: of the `rows` of a store of control faces FACES, evenly spaced among those whose true
    label is known; drawn ones for any other store.
    """
    faces = store.faces.iloc[rows]
    truth = faces.get("true_target", faces["target"])
    if is_control(faces) and truth.notna().any():
        known = np.flatnonzero(truth.notna())
        chosen = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), FACES)).round().astype(int))]
        faces = faces.iloc[chosen].assign(target=truth.iloc[chosen].astype("int64"))
        return store.images[rows[chosen]], faces.reset_index(drop=True)
    images, drawn = read(faces=FACES, subjects=SUBJECTS)
    return images, drawn.assign(split="train")


def is_control(faces: pd.DataFrame) -> bool:
    """Return whether these are control faces whose expression decides their label."""
    return bool((faces["source"] == "control").all()) and "world" not in faces


def plant(images: Images, faces: pd.DataFrame, *, folds: int, seed: int) -> pd.DataFrame:
    """Give a tenth of the labels another class, each as likely, and rank the labels by both opinions.

    Confident learning ranks by cross-validated probabilities, TracIn by a softmax regression on the same features, trained on all labels.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Their face table; `target` is the truth.
        folds: Of the cross-validation.
        seed: Of the planted labels, the folds and the models.

    Returns:
        `face_id`, `true_target`, `target` (planted where it differs), `label_quality` and `self_influence`.
    """
    from ferlab.error_analysis.influence import linear_influence  # Keep: it starts PyTorch

    truth = faces["target"].to_numpy()
    classes = np.unique(truth)
    given = spoil_labels(truth, np.arange(len(truth)), share=SHARE, classes=classes, seed=seed)
    spoilt, features = faces.assign(target=given), gradient_histograms(images)
    fit_predict = by_features(features, given, num_classes=len(ALL_EXPRESSIONS), seed=seed)
    scored = cross_validate(spoilt, assign_folds(spoilt, folds=folds, seed=seed), fit_predict, expressions=ALL_EXPRESSIONS)
    influence = linear_influence(features, given, num_classes=len(ALL_EXPRESSIONS), seed=seed)
    return pd.DataFrame(
        {"face_id": faces["face_id"], "true_target": truth, "target": given, "label_quality": label_quality(scored), "self_influence": influence}
    )
