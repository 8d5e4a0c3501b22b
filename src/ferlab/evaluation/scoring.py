"""Score faces with a net: uint8 faces in, probabilities out, one view or the average of a face and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch

from ferlab.evaluation.predictions import predictions_table
from ferlab.models import LoadedModel
from ferlab.paths import InputError, report_progress


@dataclass(frozen=True)
class ScoredFaces:
    """Faces and what a net says of them. `views`: "single" and "flip" (mean with the mirror image), each (N, K) float32."""

    faces: pd.DataFrame
    views: dict[str, np.ndarray]
    expressions: tuple[str, ...]

    def table(self, view: str) -> pd.DataFrame:
        """Return the predictions table of one view."""
        faces = self.faces
        return predictions_table(
            faces["face_id"], faces["split"], faces["target"].to_numpy(), probs=self.views[view], expressions=self.expressions
        )


def score_faces(
    model: LoadedModel,
    images: np.ndarray,
    faces: pd.DataFrame,
    *,
    expressions: Sequence[str],
    splits: Sequence[str] = ("val", "test"),
    batch_size: int = 512,
    device: str = "auto",
) -> ScoredFaces:
    """Score the faces of some splits, in store order; train is not scored.

    Args:
        model: A loaded net.
        images: All images of the set, uint8, one per row of `faces`.
        faces: The set's face table.
        expressions: The set's names, as `target` counts them.
        splits: Which faces.
        batch_size: Faces at once.
        device: "cpu", "cuda", ... or "auto": the first GPU if there is one.

    Raises:
        InputError: If the net was trained on other expressions, or no face is in these splits.
    """
    if tuple(model.expressions) != tuple(expressions):
        raise InputError(f"The net names {', '.join(model.expressions)}; the set has {', '.join(expressions)}. Train the run on this set again.")
    rows = np.flatnonzero(faces["split"].isin(splits))
    if not len(rows):
        raise InputError(f"No face of the set is in {' or '.join(splits)}; check how prepare splits it")
    views = predict_views(model, images[rows], batch_size=batch_size, device=device)
    return ScoredFaces(faces=faces.iloc[rows].reset_index(drop=True), views=views, expressions=tuple(expressions))


def predict_probs(
    model: LoadedModel,
    images: np.ndarray,
    *,
    flip: bool = False,
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
) -> np.ndarray:
    """Return the probabilities of each face.

    Args:
        model: A loaded net; its module is put on `device`, in eval mode.
        images: uint8, (N, H, W) or (N, H, W, 3); may be memory-mapped, batches are read one by one.
        flip: Average the probabilities of a face and its mirror image.
        batch_size: Faces at once.
        precision: "bf16-mixed" is faster where the hardware has it and moves probabilities by about 1e-2; the default is exact.
        device: "cpu", "cuda", ... or "auto": the first GPU if there is one.

    Returns:
        (N, K) float32, rows summing to 1, in the order of `model.expressions`.

    Raises:
        InputError: See `predict_views`.
    """
    views = predict_views(model, images, batch_size=batch_size, precision=precision, device=device, mirrored=flip)
    return views["flip" if flip else "single"]


@torch.inference_mode()
def predict_views(
    model: LoadedModel,
    images: np.ndarray,
    *,
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
    mirrored: bool = True,
) -> dict[str, np.ndarray]:
    """Return the probabilities of each face as it is and averaged with its mirror image; arguments as for `predict_probs`.

    Returns:
        "single": (N, K) float32; with `mirrored` also "flip", the mean of both views.

    Raises:
        InputError: Images that are not uint8 faces, or a net whose output is not finite (it names the first such face).
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {images.dtype} of shape {images.shape}")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    module = model.module.to(device).eval()
    single, mirror = [], []
    for start in range(0, len(images), batch_size):
        batch = model.normalise(np.asarray(images[start : start + batch_size])).to(device)  # (B, C, H, W)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
            logits = module(batch)
            flipped = module(batch.flip(-1)) if mirrored else None
        single.append(logits.float().softmax(dim=1).cpu().numpy())
        if flipped is not None:
            mirror.append(flipped.float().softmax(dim=1).cpu().numpy())
        report_progress(done=min(start + batch_size, len(images)), total=len(images), note="faces scored")
    views = {"single": _stack(single, len(model.expressions))}
    if mirrored:
        views["flip"] = (views["single"] + _stack(mirror, len(model.expressions))) / 2
    return views


def _stack(batches: list[np.ndarray], k: int) -> np.ndarray:
    probs = np.concatenate(batches) if batches else np.empty((0, k), np.float32)
    broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if broken.size:
        raise InputError(
            f"The net gives no finite probabilities for face {broken[0]} of those scored ({broken.size} such faces); train the run again"
        )
    return probs.astype(np.float32, copy=False)
