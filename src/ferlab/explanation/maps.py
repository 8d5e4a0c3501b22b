"""Maps of stored faces: from uint8 faces and a loaded model to maps of the faces' own size, and their file.

Owns what stands between the store and `attributions`: normalisation, scaling of window and maps, progress, the npz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ferlab.explanation.attributions import dead_maps, flattens_maps, grad_cam, grey_baseline, hires_cam, occlusion
from ferlab.models import LoadedModel
from ferlab.paths import report_progress

FACES_AT_ONCE = 64  # between two reports of progress; bounds what is held at the model's input size


def explain_faces(
    model: LoadedModel, images: np.ndarray, *, explained_class: np.ndarray, window: int = 8, stride: int = 4, batch_size: int = 1024
) -> dict[str, np.ndarray]:
    """Explain one class per stored face by Grad-CAM, by HiResCAM where features are flattened, and by occlusion with cs230's grey.

    Args:
        model: A loaded model; Grad-CAM looks at its `target_layer`, and is left out where it has none.
        images: uint8 (N, H, W) or (N, H, W, 3).
        explained_class: Class to explain per face (N,) int, as a rule the predicted one.
        window: Side of the occluding square in pixels of the stored face.
        stride: Its step, likewise.
        batch_size: Perturbed faces per forward pass.

    Returns:
        "grad_cam", unless the model has no target layer; "hires_cam", where a linear layer takes flattened maps, so that it differs; and "occlusion";
        (N, H, W) float32 each, of the stored faces' size; see `attributions` for their units.
    """
    size = images.shape[1:3]
    sides = {"window": scale_to_input(window, face=size[0], net=model.size), "stride": scale_to_input(stride, face=size[0], net=model.size)}
    baseline = grey_baseline(model.mean, model.std)
    layered = _layer_methods(model, images)
    parts: dict[str, list[np.ndarray]] = {method: [] for method in (*layered, "occlusion")}
    for start in range(0, len(images), FACES_AT_ONCE):
        faces = model.normalise(np.asarray(images[start : start + FACES_AT_ONCE]))
        chosen = explained_class[start : start + FACES_AT_ONCE]
        for method, explain in layered.items():
            parts[method].append(resize_maps(explain(model.module, faces, explained_class=chosen, layer=model.target_layer), size))
        drops = occlusion(
            model.module, faces, explained_class=chosen, baseline=baseline, batch_size=batch_size, num_classes=len(model.expressions), **sides
        )
        parts["occlusion"].append(resize_maps(drops, size))
        report_progress(done=start + len(faces), total=len(images), note="faces explained")
    return {method: np.concatenate(maps) for method, maps in parts.items()}


def _layer_methods(model: LoadedModel, images: np.ndarray) -> dict[str, Callable[..., np.ndarray]]:
    """Return the methods that look at the model's target layer."""
    if model.target_layer is None or not len(images):
        return {}
    flattened = flattens_maps(model.module, model.normalise(np.asarray(images[:1])))
    return {"grad_cam": grad_cam} | ({"hires_cam": hires_cam} if flattened else {})


def count_dead(maps: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count per method the maps (N, H, W) that are zero everywhere."""
    return {method: int(dead_maps(values).sum()) for method, values in maps.items()}


def resize_maps(attributions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring maps (N, H, W) from the model's input size to that of the stored face, averaging where it shrinks.

    Returns:
        (N, *size) float32; the maps themselves where the size is right already.
    """
    if attributions.shape[1:] == tuple(size):
        return attributions
    maps = torch.as_tensor(attributions)[:, None]
    return functional.interpolate(maps, size=size, mode="bilinear", antialias=True)[:, 0].numpy()


def scale_to_input(pixels: int, *, face: int, net: int) -> int:
    """Window or stride, given in pixels of a stored face of side `face`, in pixels of the model's input of side `net`; at least 1.

    >>> scale_to_input(8, face=48, net=192)
    32
    """
    return max(1, round(pixels * net / face))


def write_attributions(path: Path, *, face_id: Any, target: Any, explained_class: Any, **maps: np.ndarray) -> None:
    """Write maps as one npz; the same maps give the same bytes.

    Keep: `np.savez` stamps every member with 1980-01-01, not with the time of day; a test holds it to that.

    Args:
        path: Where to write.
        face_id: Keys of the faces (N,) str.
        target: True class per face (N,) int.
        explained_class: Explained class per face (N,) int.
        **maps: Per method, "grad_cam", "hires_cam" and "occlusion", its maps (N, H, W), stored as float16.

    Raises:
        ValueError: If a value does not fit float16.
    """
    for name, values in maps.items():
        if not np.abs(values).max() <= np.finfo(np.float16).max:  # also true of NaN
            raise ValueError(f"Expected {name} values that are finite in float16, got up to {np.abs(values).max()}")
    ids = np.asarray(face_id, dtype=np.str_)  # fixed width, so that no pickle is needed to read it
    classes = {"target": np.asarray(target, np.int64), "explained_class": np.asarray(explained_class, np.int64)}
    np.savez(path, face_id=ids, **classes, **{name: values.astype(np.float16) for name, values in maps.items()})
