"""Score faces with a net: uint8 faces in, probabilities out, by one view of a face or the answers to several (see `views`)."""

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
from ferlab.evaluation import views
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
    """Faces and what a model says of them.

    Attributes:
        views: "single", the chosen view and those within it, each (N, K) float32.
        values: float32 columns `value_<name>`, N rows, of values said beside the expression; the means over the looks of the chosen view.
    """

    faces: pd.DataFrame
    views: dict[str, np.ndarray]
    expressions: tuple[str, ...]
    values: pd.DataFrame

    def table(self, view: str) -> pd.DataFrame:
        """Return the predictions table of one view, with `subject` last where faces have one: comparisons count by person then."""
        faces = self.faces
        table = predictions_table(
            faces["face_id"], faces["split"], faces["target"].to_numpy(), probs=self.views[view], expressions=self.expressions
        )
        known = faces[["subject"]] if "subject" in faces and faces["subject"].notna().any() else faces[[]]
        return table.assign(**self.values, **{name: column.to_numpy() for name, column in known.items()})


def score_faces(
    model: LoadedModel,
    images: np.ndarray | ShardedImages,
    faces: pd.DataFrame,
    *,
    expressions: Sequence[str],
    view: str = "flip",
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
        view: A key of `views.PASSES`; the single view is scored beside it.
        crop: See `predict_views`.
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
    scored = predict_views(model, ImageRows(images, rows), view=view, crop=crop, batch_size=batch_size, device=device)
    values = pd.DataFrame(scored.pop(VALUES), columns=[SAID + name for name in model.values])
    return ScoredFaces(faces=faces.iloc[rows].reset_index(drop=True), views=scored, expressions=tuple(expressions), values=values)


def predict_probs(
    model: LoadedModel,
    images: np.ndarray | ImageRows,
    *,
    view: str = "single",
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
) -> np.ndarray:
    """Return the probabilities of each face by one view, (N, K) float32; arguments and errors as for `predict_views`."""
    return predict_views(model, images, view=view, batch_size=batch_size, precision=precision, device=device)[view]


@torch.inference_mode()
def predict_views(
    model: LoadedModel,
    images: np.ndarray | ImageRows,
    *,
    view: str = "flip",
    crop: float = CROP,
    seed: int = 0,
    batch_size: int = 512,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """Return the probabilities of each face as it is, by another view, and by those within it; one batch of faces is in memory at a time.

    Args:
        model: A loaded model; its module is put on `device`, in eval mode.
        images: uint8, (N, H, W) or (N, H, W, 3); may be memory-mapped or `ImageRows`, batches are read one by one.
        view: A key of `views.PASSES`.
        crop: For views with crops: side of a crop, as a share of the side of the faces that the model takes. A model that takes faces of that side
            is given the crop as it is, any other the crop brought back to its own side (bilinear).
        seed: For "seven": of the random changes; face n of the images is changed alike whatever the batch size.
        batch_size: Faces at once.
        precision: "bf16-mixed" is faster where the hardware has it and moves probabilities by about 1e-2; the default is exact.
        device: "cpu", "cuda", ... or "auto": the first GPU if there is one.

    Returns:
        "single", `view` and what is `views.WITHIN` it: (N, K) float32, rows summing to 1, in the order of `model.expressions`;
        and "values": (N, R) float32, the R values that the model says beside the expression, meant over the looks of the view.

    Raises:
        InputError: Images that are not uint8 faces, an unknown view, or a model whose output is not finite (it names the first such face).
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {images.dtype} of shape {images.shape}")
    if view not in views.PASSES:
        raise InputError(f"no view is called {view!r}; {nearest(view, views.PASSES)}")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    module = model.module.to(device).eval()
    draws = views.draw_views(view, len(images), seed=seed)
    answers: list[dict[str, np.ndarray]] = []
    said = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        batch, scale = _prepared(model, np.asarray(images[part]), device=device)
        shown = views.looks(batch, view, draws=[each[part] for each in draws], **_cropping(model, batch, crop if view in views.CROPS else 0.0))
        outputs = [_outputs(module, scale(look), precision=precision) for look in shown]  # V of (B, K + R)
        probs = np.stack([model.probs(each).cpu().numpy() for each in outputs])  # (V, B, K)
        said.append(torch.stack([model.said(each) for each in outputs]).mean(dim=0).cpu().numpy())
        answers.append(views.answers(probs, view))
        report_progress(done=min(start + batch_size, len(images)), total=len(images), note="faces scored")
    k = len(model.expressions)
    return {name: _stack([each[name] for each in answers], k) for name in views.held(view)} | {VALUES: _stack(said, len(model.values))}


def _prepared(model: LoadedModel, images: np.ndarray, *, device: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a batch (B, C, H, W) as views change it, and what is left to do to each look: a mean image lies still when the face is moved."""
    if isinstance(model.mean, Tensor):
        return prepare_images(images, size=model.size, channels=model.channels).to(device), model.scale
    return model.normalise(images).to(device), lambda look: look


def _outputs(module: nn.Module, faces: Tensor, *, precision: str) -> Tensor:
    """Return the model's outputs for one look at a batch, float32 (B, K + R); only the model itself runs in lower precision."""
    with torch.autocast(faces.device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        outputs: Tensor = module(faces)
    return outputs.float()


def _cropping(model: LoadedModel, batch: Tensor, share: float) -> dict[str, int | bool]:
    """Return the side of a crop in pixels, and whether it must be brought back to the side of the faces."""
    if not share:
        return {}
    side = round(share * batch.shape[-1])
    return {"crop": side, "resize": isinstance(model.mean, Tensor) or not views.takes_side(model.name, side)}


def _stack(batches: list[np.ndarray], k: int) -> np.ndarray:
    probs = np.concatenate(batches) if batches else np.empty((0, k), np.float32)
    broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if broken.size:
        raise InputError(
            f"The model gives no finite probabilities for face {broken[0]} of those scored ({broken.size} such faces); train the run again"
        )
    return probs.astype(np.float32, copy=False)
