"""Probabilities of uint8 faces from a model, with or without test-time augmentation (see `tta`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ferlab.data.shards import ShardedImages
from ferlab.data.store import ImageRows
from ferlab.evaluation import tta as augmentation
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.values import SAID
from ferlab.models import LoadedModel
from ferlab.models.inputs import prepare_images
from ferlab.params import nearest
from ferlab.paths import InputError, report_progress

VALUES = "values"
CROP = 0.92  # share of the side: 44 of 48 pixels


@dataclass(frozen=True)
class ScoredFaces:
    """Faces and a model's predictions for them.

    Attributes:
        by_tta: "none", the chosen test-time augmentation and those within it, each (N, K) float32.
        values: float32 columns `value_<name>`, N rows, of values predicted beside the expression; means over the augmented copies.
    """

    faces: pd.DataFrame
    by_tta: dict[str, np.ndarray]
    expressions: tuple[str, ...]
    values: pd.DataFrame

    def table(self, tta: str) -> pd.DataFrame:
        """Return the predictions table under one augmentation, with `subject` last where faces have one: comparisons count by person then."""
        faces = self.faces
        table = predictions_table(
            faces["face_id"], faces["split"], faces["target"].to_numpy(), probs=self.by_tta[tta], expressions=self.expressions
        )
        known = faces[["subject"]] if "subject" in faces and faces["subject"].notna().any() else faces[[]]
        return table.assign(**self.values, **{name: column.to_numpy() for name, column in known.items()})


def score_faces(
    model: LoadedModel,
    images: np.ndarray | ShardedImages,
    faces: pd.DataFrame,
    *,
    expressions: Sequence[str],
    tta: str = "flip",
    crop: float = CROP,
    splits: Sequence[str] = ("val", "test"),
    batch_size: int = 512,
    device: str = "auto",
) -> ScoredFaces:
    """Score the faces of some splits, in store order; train is not scored. A batch is read when its turn comes.

    Args:
        model: A loaded model.
        images: All images of the set, uint8, one per row of `faces`.
        faces: The set's face table.
        expressions: The set's names, as `target` counts them.
        tta: A key of `tta.PASSES`; "none" is scored beside it.
        crop: See `predict_tta`.
        splits: Which faces.
        batch_size: Faces at once.
        device: "cpu", "cuda", ... or "auto": the first GPU if there is one.

    Raises:
        InputError: If the model was trained on other expressions, or no face is in these splits.
    """
    if tuple(model.expressions) != tuple(expressions):
        raise InputError(f"The model names {', '.join(model.expressions)}; the set has {', '.join(expressions)}. Train the run on this set again.")
    rows = np.flatnonzero(faces["split"].isin(splits))
    if not len(rows):
        raise InputError(f"No face of the set is in {' or '.join(splits)}; check how prepare splits it")
    scored = predict_tta(model, ImageRows(images, rows), tta=tta, crop=crop, batch_size=batch_size, device=device)
    values = pd.DataFrame(scored.pop(VALUES), columns=[SAID + name for name in model.values])
    return ScoredFaces(faces=faces.iloc[rows].reset_index(drop=True), by_tta=scored, expressions=tuple(expressions), values=values)


def predict_probs(
    model: LoadedModel,
    images: np.ndarray | ImageRows,
    *,
    tta: str = "none",
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
) -> np.ndarray:
    """Return the probabilities of each face under one augmentation, (N, K) float32; arguments and errors as for `predict_tta`."""
    return predict_tta(model, images, tta=tta, batch_size=batch_size, precision=precision, device=device)[tta]


@torch.inference_mode()
def predict_tta(
    model: LoadedModel,
    images: np.ndarray | ImageRows,
    *,
    tta: str = "flip",
    crop: float = CROP,
    seed: int = 0,
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """Return the probabilities of each face without test-time augmentation, with it, and with those within it; batch by batch.

    Args:
        model: A loaded model; its module is put on `device`, in eval mode.
        images: uint8, (N, H, W) or (N, H, W, 3); may be memory-mapped or `ImageRows`, batches are read one by one.
        tta: A key of `tta.PASSES`.
        crop: For augmentations with crops: side of a crop, as a share of the side of the faces that the model takes. A model that takes faces of that side
            is given the crop as it is, any other the crop brought back to its own side (bilinear).
        seed: For "seven": of the random changes; face n of the images is changed alike whatever the batch size.
        batch_size: Faces at once.
        precision: "bf16-mixed" is faster where the hardware has it and moves probabilities by about 1e-2; the default is exact.
        device: "cpu", "cuda", ... or "auto": the first GPU if there is one.

    Returns:
        "none", `tta` and what is `tta.WITHIN` it: (N, K) float32, rows summing to 1, in the order of `model.expressions`;
        and "values": (N, R) float32, the R values predicted beside the expression, averaged over the copies.

    Raises:
        InputError: Images that are not uint8 faces, an unknown augmentation, or a model whose output is not finite (it names the first such face).
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {images.dtype} of shape {images.shape}")
    if tta not in augmentation.PASSES:
        raise InputError(f"no test-time augmentation is called {tta!r}; {nearest(tta, augmentation.PASSES)}")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    module = model.module.to(device).eval()
    draws = augmentation.draw_changes(tta, len(images), seed=seed)
    combined: list[dict[str, np.ndarray]] = []
    said = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        batch, scale = _prepared(model, np.asarray(images[part]), device=device)
        cropping = _cropping(model, batch, crop if tta in augmentation.CROPS else 0.0)
        copies = augmentation.augmented_copies(batch, tta, draws=[each[part] for each in draws], **cropping)
        outputs = [_outputs(module, scale(copy), precision=precision) for copy in copies]  # V of (B, K + R)
        probs = np.stack([model.probs(each).cpu().numpy() for each in outputs])  # (V, B, K)
        said.append(torch.stack([model.said(each) for each in outputs]).mean(dim=0).cpu().numpy())
        combined.append(augmentation.combine_each(probs, tta))
        report_progress(done=min(start + batch_size, len(images)), total=len(images), note="faces scored")
    k = len(model.expressions)
    return {name: _stack([each[name] for each in combined], k) for name in augmentation.contained(tta)} | {VALUES: _stack(said, len(model.values))}


def _prepared(model: LoadedModel, images: np.ndarray, *, device: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a batch (B, C, H, W) to augment, and the scaling of each copy: a mean image is subtracted after the augmentation."""
    if isinstance(model.mean, Tensor):
        return prepare_images(images, size=model.size, channels=model.channels).to(device), model.scale
    return model.normalise(images).to(device), lambda copy: copy


def _outputs(module: nn.Module, faces: Tensor, *, precision: str) -> Tensor:
    """Return the model's outputs for a batch, float32 (B, K + R); only the model itself runs in lower precision."""
    with torch.autocast(faces.device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        outputs: Tensor = module(faces)
    return outputs.float()


def _cropping(model: LoadedModel, batch: Tensor, share: float) -> dict[str, int | bool]:
    """Return the side of a crop in pixels, and whether it must be brought back to the side of the faces."""
    if not share:
        return {}
    side = round(share * batch.shape[-1])
    return {"crop": side, "resize": isinstance(model.mean, Tensor) or not augmentation.takes_side(model.name, side)}


def _stack(batches: list[np.ndarray], k: int) -> np.ndarray:
    probs = np.concatenate(batches) if batches else np.empty((0, k), np.float32)
    broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if broken.size:
        raise InputError(
            f"The model gives no finite probabilities for face {broken[0]} of those scored ({broken.size} such faces); train the run again"
        )
    return probs.astype(np.float32, copy=False)
