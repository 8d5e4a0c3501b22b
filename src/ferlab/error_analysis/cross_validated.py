"""Out-of-sample probabilities for faces that a run was trained on, by cross-validation. Confident learning needs them: a model knows its own labels.

Folds never part faces of one subject, sequence or duplicate group. Two models of the folds:

| `folds_model` | what is fitted per fold |
|---|---|
| features | histograms of oriented gradients, their principal components, a Gaussian kernel by Nyström's method, logistic regression |
| run | the run's own model and training, see `ferlab.training.fit` |

The features see no label outside their fold: those of a model that was trained on all labels would.

References:
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv 1911.00068, section 3: out-of-sample probabilities.
    Dalal & Triggs (2005), Histograms of Oriented Gradients. Williams & Seeger (2001), Using the Nyström method to speed up kernel machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ferlab.data.shards import ShardedImages
from ferlab.data.splits import TOGETHER, divide_groups
from ferlab.data.store import ImageRows
from ferlab.evaluation.predictions import predictions_table
from ferlab.opencv import one_thread
from ferlab.paths import InputError, report_progress

SIDE = 48  # pixels of a face whose gradients are counted
COMPONENTS, LANDMARKS, PENALTY = 150, 600, 0.1  # principal components, faces that span the kernel, 1 / C
WIDTH = 10.0  # of the kernel, as a multiple of the components
FOLD = "fold"
Images = np.ndarray | ShardedImages | ImageRows
FitPredict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def assign_folds(faces: pd.DataFrame, *, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each face, (N,) int from 0: groups whole, each fold as near to an equal part of every expression as they allow.

    Raises:
        InputError: If all faces belong to one group.
    """
    known = [key for key in TOGETHER if key in faces]
    parts = {str(fold): 1 / folds for fold in range(folds)}
    fold = divide_groups(faces, parts, seed=seed).astype(np.int64)
    if len(np.unique(fold)) < 2:
        raise InputError(f"cross-validation: all {len(faces)} faces share one {' or '.join(known)}; expected two groups or more")
    return fold


def cross_validate(faces: pd.DataFrame, fold: np.ndarray, fit_predict: FitPredict, *, expressions: Sequence[str]) -> pd.DataFrame:
    """Return the predictions table of every face by a model that was fitted without its fold, with the column `fold`.

    Args:
        faces: Face table of N rows with `split`.
        fold: From `assign_folds`, (N,).
        fit_predict: Called with the rows to fit and those to predict; returns the latter's probabilities (n, K).
        expressions: (K,) names.

    Raises:
        InputError: If a subject, sequence or duplicate group is in two folds: its probabilities would be in-sample.
    """
    check_apart(faces, fold)
    probs = np.zeros((len(faces), len(expressions)), dtype=np.float64)
    for done, each in enumerate(np.unique(fold), 1):
        held_out = fold == each
        probs[held_out] = fit_predict(np.flatnonzero(~held_out), np.flatnonzero(held_out))
        report_progress(done=done, total=len(np.unique(fold)), note="folds")
    table = predictions_table(faces["face_id"], faces["split"], faces["target"].to_numpy(), probs=probs, expressions=expressions)
    return table.assign(**{FOLD: fold})


def check_apart(faces: pd.DataFrame, fold: np.ndarray) -> None:
    """Check that no subject, sequence or duplicate group is in two folds.

    Raises:
        InputError: See `cross_validate`.
    """
    for key in TOGETHER:
        if key not in faces or (key == "sequence" and "subject" in faces and faces["subject"].notna().all()):
            continue  # datasets number sequences afresh for each subject
        spread = pd.Series(fold).groupby(faces[key].to_numpy()).nunique()
        if (spread > 1).any():
            shown = spread[spread > 1].index[0]
            raise InputError(f"cross-validation: {key} {shown} is in {spread[shown]} folds; expected one, or its probabilities are in-sample")


def gradient_histograms(images: Images) -> np.ndarray:
    """Return the histograms of oriented gradients of faces, float32 (N, 900), from uint8 (N, H, W) or (N, H, W, 3) RGB, resized to 48 x 48."""
    histograms = cv2.HOGDescriptor((SIDE, SIDE), (16, 16), (8, 8), (8, 8), 9)
    rows = np.empty((len(images), histograms.getDescriptorSize()), dtype=np.float32)
    with one_thread():
        for row in range(len(images)):
            face = np.ascontiguousarray(images[row])
            face = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.ndim == 3 else face
            fits = face.shape == (SIDE, SIDE)
            rows[row] = histograms.compute(face if fits else cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)).ravel()
    return rows


def by_features(features: np.ndarray, targets: np.ndarray, *, num_classes: int, seed: int) -> FitPredict:
    """Return `fit_predict` of `cross_validate` for features (N, D): a classifier of its own for every fold, its preprocessing included.

    A class without a face in the fitted folds has probability 0.
    """

    def fit_predict(fitted: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        model, probs = _classifier(faces=len(fitted), width=features.shape[1], seed=seed), np.zeros((len(predicted), num_classes))
        with threadpool_limits(1):  # results independent of the number of threads; products this small wait for each other on several
            model.fit(features[fitted], targets[fitted])
            probs[:, model.classes_] = model.predict_proba(features[predicted])
        return probs

    return fit_predict


def _classifier(*, faces: int, width: int, seed: int) -> Any:
    from sklearn.decomposition import PCA  # Keep: a page whose probabilities are taken starts none of them
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(COMPONENTS, faces, width)
    kernel = Nystroem(gamma=1 / (WIDTH * components), n_components=min(LANDMARKS, faces), random_state=seed)
    logistic = LogisticRegression(C=1 / PENALTY, max_iter=1000)
    return make_pipeline(StandardScaler(), PCA(components, svd_solver="randomized", random_state=seed), kernel, logistic)
