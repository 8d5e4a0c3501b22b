"""Views of a face: how often and how changed a model sees it, and how its answers become one.

| view | what the model sees | passes | answer |
|---|---|---|---|
| single | the face | 1 | as it is |
| flip | the face and its mirror image | 2 | mean probabilities |
| ten_crop | four corners and the centre, each with its mirror image | 10 | mean probabilities |
| seven | the face and seven changed at random, as in cs230's training | 8 | mean probabilities |
| two_scales | the face and its mirror image; ten crops | 12 | mean probabilities of the two, then of the ten, meant |
| vote | the face, its mirror image, and the face turned by 10 degrees either way | 4 | the commonest class |

Faces are changed as the model takes them, in float32, pixels outside taken from the border; a standardised face may be resampled, since
that averages pixels with weights that sum to 1. Where a mean image is subtracted, that is done after the change.
Two papers leave things open: cs230 does not say how its seven images are made (here: by the changes of its training), cs231a neither
how far the test image is turned nor whether it votes itself (here: 10 degrees, as its training copies are, and yes), nor what its class
scores are (here: probabilities).

References:
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional neural networks (ten crops).
    Simonyan & Zisserman (2014), arXiv 1409.1556 (several scales of an image, their answers meant).
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230: flip and seven augmented images).
    cs231a: "we select our prediction to be the most common class label among the images. If there is a tie, we select the class with the
    highest sum of class scores among the maximal classes."
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from ferlab.data.augmentation import COLUMNS, Augmentation, augment, draw_epoch
from ferlab.evaluation.predictions import probs_of
from ferlab.models.create import input_shape, model_card
from ferlab.paths import InputError

PASSES = {"single": 1, "flip": 2, "ten_crop": 10, "seven": 8, "two_scales": 12, "vote": 4}
CROPS = ("ten_crop", "two_scales")  # views that look at crops
# Views whose looks are all among another's, and so cost nothing beside it; and which of those looks `answer` takes for them.
WITHIN = {"two_scales": {"flip": slice(0, 2), "ten_crop": slice(1, None)}}
SEVEN = Augmentation(flip=True, rotation=10.0, zoom=0.1, shift=0.1)  # cs230's training
TURN = 10.0  # degrees, cs231a
# Of the probabilities of a vote, the share that comes from the mean probabilities. It decides ties and nothing else: a vote among four weighs
# 0.2475, all mean probabilities together 0.01.
TIE_BREAKER = 0.01


def looks(faces: Tensor, view: str, *, draws: Sequence[Tensor] = (), crop: int = 0, resize: bool = True) -> Iterator[Tensor]:
    """Yield the face itself, then what else the view shows; each once through the model. Ten crops do not count the face itself.

    Args:
        faces: float32 (N, C, S, S), as the model takes them.
        view: A key of PASSES.
        draws: For "seven": seven times float32 (N, 15), from `draw_views`.
        crop: For CROPS: side of a crop in pixels, below S.
        resize: Whether crops are brought back to S; not needed for a model that takes them as they are.

    Yields:
        float32 (N, C, S, S); crops that are not resized (N, C, crop, crop).
    """
    yield faces
    if view in ("flip", "two_scales", "vote"):
        yield faces.flip(-1)
    if view == "vote":
        yield from (_turned(faces, either_way) for either_way in (0.0, 1.0))
    if view == "seven":
        yield from (augment(faces, each.to(faces.device), SEVEN) for each in draws)
    if view in CROPS:
        for part in five_crops(faces, crop):
            same = F.interpolate(part, size=faces.shape[-2:], mode="bilinear", align_corners=False) if resize else part
            yield from (same, same.flip(-1))


def answer(probs: np.ndarray, view: str) -> np.ndarray:
    """Return one answer per face from those to all looks.

    Args:
        probs: (V, N, K) float32, in the order of `looks`.
        view: A key of PASSES.

    Returns:
        (N, K) float32, rows summing to 1; see `vote_probs` for "vote".
    """
    if view == "vote":
        return vote_probs(probs)
    if view == "two_scales":
        return np.mean([answer(probs[seen], name) for name, seen in WITHIN[view].items()], axis=0)
    seen = probs[1:] if view == "ten_crop" else probs
    return seen.mean(axis=0, dtype=np.float64).astype(np.float32)


def held(view: str) -> dict[str, slice]:
    """Return the views that a view's looks answer, and which of the looks each takes: "single", those WITHIN it, and itself."""
    return {"single": slice(0, 1), **WITHIN.get(view, {}), view: slice(None)}


def answers(probs: np.ndarray, view: str) -> dict[str, np.ndarray]:
    """Return the answers of all views that these looks hold, each as from `answer`."""
    return {name: answer(probs[seen], name) for name, seen in held(view).items()}


def vote_probs(probs: np.ndarray) -> np.ndarray:
    """Return the shares of a hard majority vote, with a hundredth of the mean probabilities mixed in, so that the largest is the winner.

    The winner is the class that most looks name; among classes with equally many, the one with the highest summed probability; where
    those are equal too (to about 1e-5), the first.

    Args:
        probs: (V, N, K) float32, V looks, at most 50.

    Returns:
        (N, K) float32, 0.99 * share of the votes + 0.01 * mean probability. They order classes and count votes; they are no calibrated
        probabilities.

    >>> tie = np.array([[[0.9, 0.1]], [[0.4, 0.6]]])  # one vote each, 1.3 against 0.7
    >>> [f"{p:.4f}" for p in vote_probs(tie)[0]]
    ['0.5015', '0.4985']
    """
    votes = np.eye(probs.shape[2])[probs.argmax(axis=2)].mean(axis=0)  # (N, K)
    return ((1 - TIE_BREAKER) * votes + TIE_BREAKER * probs.mean(axis=0, dtype=np.float64)).astype(np.float32)


def is_tied(probs: np.ndarray) -> np.ndarray:
    """Return bool (N,): whether a vote's two first classes had equally many votes; `probs` (N, K) from `vote_probs`."""
    first_two = np.sort(probs, axis=1)[:, -2:]
    return np.asarray(first_two[:, 1] - first_two[:, 0] <= TIE_BREAKER)


def count_ties(rows: pd.DataFrame, *, view: str) -> int | None:
    """Return how many faces of a predictions table were named by the tie-breaker; None for a view that does not vote."""
    return int(is_tied(probs_of(rows)).sum()) if view == "vote" else None


def draw_views(view: str, n: int, *, seed: int) -> list[Tensor]:
    """Return the random draws of a view: for "seven" seven times float32 (n, 15), one row per face; for the others none."""
    return [draw_epoch(n, seed=seed, epoch=number) for number in range(7)] if view == "seven" else []


def five_crops(faces: Tensor, side: int) -> Iterator[Tensor]:
    """Yield the corners (top left, top right, bottom left, bottom right) and the centre of faces (N, C, S, S): (N, C, side, side) each.

    Raises:
        InputError: If the side is not below S.
    """
    far = faces.shape[-1] - side
    if not 0 < side < faces.shape[-1]:
        raise InputError(f"ten crops: expected a side of 1 to {faces.shape[-1] - 1} pixels, got {side}; mend evaluate.crop")
    for top, left in ((0, 0), (0, far), (far, 0), (far, far), (far // 2, far // 2)):
        yield faces[..., top : top + side, left : left + side]


def takes_side(name: str, side: int) -> bool:
    """Return whether a model built for one side of faces takes another: its layers do not hang on the side, and its card allows this one."""
    if "size" in model_card(name)["options"]:
        return False
    try:
        input_shape(name, {"size": side})
    except InputError:
        return False
    return True


def _turned(faces: Tensor, either_way: float) -> Tensor:
    """Turn all faces by TURN degrees, one way (0) or the other (1)."""
    draws = torch.full((len(faces), len(COLUMNS)), 0.5, device=faces.device)
    draws[:, COLUMNS.index("rotation")] = either_way
    return augment(faces, draws, Augmentation(rotation=TURN))
