"""Probabilities of uint8 faces from a model, with and without test-time augmentation (see `tta`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ferlab.data.shards import ShardedImages
from ferlab.data.store import ImageRows
from ferlab.evaluation import tta as augmentation
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.values import PREDICTED
from ferlab.models import LoadedModel
from ferlab.models.inputs import prepare_images
from ferlab.params import nearest
from ferlab.paths import InputError, report_progress

CROP = 0.92  # fraction of the side: 44 of 48 pixels
SPLITS = ("val", "test")


def score_faces(
    model: LoadedModel,
    images: np.ndarray | ShardedImages,
    faces: pd.DataFrame,
    *,
    expressions: Sequence[str],
    tta: str = "flip",
    crop: float = CROP,
    batch_size: int = 512,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Score the faces of val and test, in store order, batch by batch.

    Args:
        model: A loaded model.
        images: All images of the set, uint8, one per row of `faces`.
        faces: The set's face table.
        expressions: The set's names, in the order of `target`.
        tta: As `crop` and `batch_size`: see `predict_tta`.

    Returns:
        The predictions table under this augmentation, with `value_<name>` where the model predicts values and `subject` where faces have one;
        and the probabilities by augmentation, as of `predict_tta`.

    Raises:
        InputError: If the model was trained on other expressions, or no face is in these splits.
    """
    if tuple(model.expressions) != tuple(expressions):
        raise InputError(f"The model predicts {', '.join(model.expressions)}; the set has {', '.join(expressions)}. Train the run on this set again.")
    rows = np.flatnonzero(faces["split"].isin(SPLITS))
    if not len(rows):
        raise InputError(f"No face of the set is in {' or '.join(SPLITS)}; check how prepare splits it")
    by_tta, values = predict_tta(model, ImageRows(images, rows), tta=tta, crop=crop, batch_size=batch_size)
    table = _table_of(faces.iloc[rows], by_tta[tta], expressions)
    table[[PREDICTED + name for name in model.values]] = values
    return table, by_tta


def score_training_faces(
    model: LoadedModel, images: np.ndarray | ShardedImages, faces: pd.DataFrame, *, expressions: Sequence[str], batch_size: int = 512
) -> pd.DataFrame:
    """Return the predictions table of train without augmentation, in store order; arguments as for `score_faces`, which checks them."""
    rows = np.flatnonzero(faces["split"] == "train")
    return _table_of(faces.iloc[rows], predict_probs(model, ImageRows(images, rows), batch_size=batch_size), expressions)


def _table_of(faces: pd.DataFrame, probs: np.ndarray, expressions: Sequence[str]) -> pd.DataFrame:
    known = {"expressions": expressions, "subjects": faces.get("subject")}
    return predictions_table(faces["face_id"], faces["split"], faces["target"].to_numpy(), probs=probs, **known)


def predict_probs(model: LoadedModel, images: np.ndarray | ImageRows, *, tta: str = "none", batch_size: int = 512) -> np.ndarray:
    """Return the probabilities of each face under one augmentation, (N, K) float32; arguments and errors as for `predict_tta`."""
    return predict_tta(model, images, tta=tta, batch_size=batch_size)[0][tta]


@torch.inference_mode()
def predict_tta(
    model: LoadedModel, images: np.ndarray | ImageRows, *, tta: str = "flip", crop: float = CROP, batch_size: int = 512
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the probabilities of each face without test-time augmentation, with it, and with those within it; on the GPU if there is one.

    Args:
        model: A loaded model.
        images: uint8, (N, H, W) or (N, H, W, 3); may be memory-mapped or `ImageRows`, read batch by batch.
        tta: A key of `tta.PASSES`.
        crop: For augmentations with crops: side of a crop, as a fraction of the side of the model's input. A model that takes no other side gets
            the crop resized to its own (bilinear).
        batch_size: Faces at once.

    Returns:
        "none", `tta` and what is `tta.WITHIN` it: (N, K) float32, rows summing to 1, in the order of `model.expressions`; and (N, R) float32, the R
        values predicted beside the expression, averaged over the copies.

    Raises:
        InputError: Images that are not uint8 faces, an unknown augmentation, or a model whose output is not finite (it names the first such face).
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {images.dtype} of shape {images.shape}")
    if tta not in augmentation.PASSES:
        raise InputError(f"no test-time augmentation is called {tta!r}; {nearest(tta, augmentation.PASSES)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = model.module.to(device).eval()
    draws = augmentation.draw_changes(tta, len(images))
    combined: list[dict[str, np.ndarray]] = []
    values = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        batch, scale = _prepared(model, np.asarray(images[part]), device=device)
        cropping = _cropping(model, batch, crop) if tta in augmentation.CROPS else {}
        copies = augmentation.augmented_copies(batch, tta, draws=[each[part] for each in draws], **cropping)
        outputs = [module(scale(copy)).float() for copy in copies]  # V of (B, K + R)
        combined.append(augmentation.combine_each(np.stack([model.probs(each).cpu().numpy() for each in outputs]), tta))
        values.append(torch.stack([model.predicted_values(each) for each in outputs]).mean(dim=0).cpu().numpy())
        report_progress(done=min(start + batch_size, len(images)), total=len(images), note="faces scored")
    by_tta = {name: _stack([each[name] for each in combined], len(model.expressions)) for name in augmentation.contained(tta)}
    return by_tta, _stack(values, len(model.values))


def _prepared(model: LoadedModel, images: np.ndarray, *, device: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a batch (B, C, H, W) to augment, and the scaling of each copy: a mean image is subtracted after the augmentation."""
    if isinstance(model.mean, Tensor):
        return prepare_images(images, size=model.size, channels=model.channels).to(device), model.scale
    return model.normalise(images).to(device), lambda copy: copy


def _cropping(model: LoadedModel, batch: Tensor, fraction: float) -> dict[str, int | bool]:
    """Return the side of a crop in pixels, and whether it must be resized to the side of the faces."""
    side = round(fraction * batch.shape[-1])
    return {"crop": side, "resize": isinstance(model.mean, Tensor) or not augmentation.takes_side(model.name, side)}


def _stack(batches: list[np.ndarray], k: int) -> np.ndarray:
    outputs = np.concatenate(batches) if batches else np.empty((0, k), np.float32)
    broken = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if broken.size:
        raise InputError(
            f"The model gives no finite probabilities for face {broken[0]} of those scored ({broken.size} such faces); train the run again"
        )
    return outputs.astype(np.float32, copy=False)
