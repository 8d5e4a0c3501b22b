"""Which part of a face a prediction rests on, by occlusion: the runtime alone computes it, no PyTorch.

`ferlab.explanation` has ten methods more, for models as PyTorch modules.

References:
    Zeiler & Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv 1311.2901.
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230): on faces of 48 pixels a window of 8, a stride of 4, grey 0.5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WINDOWS, STRIDES = 6, 12  # sides of the window and of its step that make a face's side
GREY = 0.5

Predict = Callable[[np.ndarray], np.ndarray]  # float32 (N, C, S, S) to (N, K)
Explain = Callable[[np.ndarray, np.ndarray], np.ndarray]  # float32 (N, C, S, S) and classes (N,) to maps (N, S, S)


def occlude(inputs: np.ndarray, classes: np.ndarray, *, predict: Predict) -> np.ndarray:
    """Return by how much the probability of a class drops where a square of the face is covered.

    Args:
        inputs: The network's input, float32 (N, C, S, S) in [0, 1].
        classes: Class of each face that is explained, int (N,).
        predict: Returns the probabilities of such inputs.

    Returns:
        float32 (N, S, S), -1 to 1: at each pixel the mean drop over the squares that cover it; negative where covering it raises the probability.
    """
    return np.stack([_map_of(face, int(each), predict) for face, each in zip(inputs, classes, strict=True)])


def _map_of(face: np.ndarray, explained_class: int, predict: Predict) -> np.ndarray:
    side = face.shape[-1]
    window, stride = (max(1, round(side / parts)) for parts in (WINDOWS, STRIDES))
    starts = [stride * place for place in range(-(-(side - window) // stride) + 1)]
    whole = predict(face[None])[0, explained_class]
    drops, covers = np.zeros((2, side, side))
    for y in starts:  # a row of squares at a time bounds the memory
        covered = np.repeat(face[None], len(starts), axis=0)
        for each, x in zip(covered, starts, strict=True):
            each[:, y : y + window, x : x + window] = GREY
        lost = whole - predict(covered)[:, explained_class]
        for drop, x in zip(lost, starts, strict=True):
            drops[y : y + window, x : x + window] += drop
            covers[y : y + window, x : x + window] += 1
    return (drops / covers).astype(np.float32)
