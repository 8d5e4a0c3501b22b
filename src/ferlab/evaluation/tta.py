"""Test-time augmentation (TTA): the changed copies of a face that a model sees, and how their probabilities are combined.

| tta | copies | passes | combination |
|---|---|---|---|
| none | the face | 1 | none |
| flip | the face and its mirror image | 2 | mean |
| ten_crop | four corners and the centre, each with its mirror image | 10 | mean |
| seven | the face and seven random changes, as in cs230's training | 8 | mean |
| two_scales | the face and its mirror image; ten crops | 12 | mean of the mean of the two and the mean of the ten |
| vote | the face, its mirror image, and the face rotated by 10 degrees either way | 4 | majority vote |

Copies are made in float32 after the model's own preparation; pixels outside are taken from the border. A mean image is subtracted afterwards.
cs230 does not state how its seven images are made (here: as in its training). cs231a states neither the angle (here: 10 degrees, as in its
training), nor whether the unrotated face votes (here: yes), nor its class scores (here: probabilities).

References:
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional neural networks (ten crops).
    Simonyan & Zisserman (2014), arXiv 1409.1556 (several scales of an image, averaged).
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230: flip and seven augmented images).
    cs231a: "we select our prediction to be the most common class label among the images. If there is a tie, we select the class with the
    highest sum of class scores among the maximal classes."
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ferlab.data.augmentation import COLUMNS, Augmentation, augment, draw_epoch
from ferlab.models.create import input_shape, model_card
from ferlab.paths import InputError

PASSES = {"none": 1, "flip": 2, "ten_crop": 10, "seven": 8, "two_scales": 12, "vote": 4}
CROPS = ("ten_crop", "two_scales")
# Augmentations whose copies are all among another's, and which of its copies they take.
WITHIN = {"two_scales": {"flip": slice(0, 2), "ten_crop": slice(1, None)}}
SEVEN = Augmentation(flip=True, rotation=10.0, zoom=0.1, shift=0.1)  # cs230's training
TURN = 10.0  # degrees, cs231a
# Weight of the mean probabilities beside the votes. It decides ties alone: one of four votes weighs 0.2475, all mean probabilities 0.01.
TIE_BREAKER = 0.01


def augmented_copies(faces: Tensor, tta: str, *, draws: Sequence[Tensor] = (), crop: int = 0, resize: bool = True) -> Iterator[Tensor]:
    """Yield the faces, float32 (N, C, S, S) as the model takes them, then their augmented copies. "ten_crop" does not count the first.

    "seven" needs `draws` from `draw_changes`; CROPS need `crop`, the side of a crop in pixels, below S.
    """
    yield faces
    if tta in ("flip", "two_scales", "vote"):
        yield faces.flip(-1)
    if tta == "vote":
        yield from (_turned(faces, either_way) for either_way in (0.0, 1.0))
    if tta == "seven":
        yield from (augment(faces, each.to(faces.device), SEVEN) for each in draws)
    if tta in CROPS:
        for part in five_crops(faces, crop):
            same = F.interpolate(part, size=faces.shape[-2:], mode="bilinear", align_corners=False) if resize else part
            yield from (same, same.flip(-1))


def combine(probs: np.ndarray, tta: str) -> np.ndarray:
    """Return the combined probabilities, (N, K) float32, of V copies, (V, N, K) float32 in the order of `augmented_copies`."""
    if tta == "vote":
        return vote_probs(probs)
    if tta == "two_scales":
        return np.mean([combine(probs[copies], name) for name, copies in WITHIN[tta].items()], axis=0)
    counted = probs[1:] if tta == "ten_crop" else probs
    return counted.mean(axis=0, dtype=np.float64).astype(np.float32)


def contained(tta: str) -> dict[str, slice]:
    """Return which copies "none", the augmentations WITHIN this one, and this one take."""
    return {"none": slice(0, 1), **WITHIN.get(tta, {}), tta: slice(None)}


def combine_each(probs: np.ndarray, tta: str) -> dict[str, np.ndarray]:
    """Return the combined probabilities of every augmentation that these copies contain."""
    return {name: combine(probs[copies], name) for name, copies in contained(tta).items()}


def vote_probs(probs: np.ndarray) -> np.ndarray:
    """Return 0.99 * fraction of the votes + 0.01 * mean probability, (N, K) float32, of at most 50 copies (V, N, K): a majority vote, not calibrated.

    >>> tie = np.array([[[0.9, 0.1]], [[0.4, 0.6]]])  # one vote each, 1.3 against 0.7
    >>> [f"{p:.4f}" for p in vote_probs(tie)[0]]
    ['0.5015', '0.4985']
    """
    votes = np.eye(probs.shape[2])[probs.argmax(axis=2)].mean(axis=0)  # (N, K)
    return ((1 - TIE_BREAKER) * votes + TIE_BREAKER * probs.mean(axis=0, dtype=np.float64)).astype(np.float32)


def count_ties(probs: np.ndarray, tta: str) -> int | None:
    """Return how many predictions (N, K) the tie-breaker decided; None without a vote."""
    first_two = np.sort(probs, axis=1)[:, -2:]
    return int((first_two[:, 1] - first_two[:, 0] <= TIE_BREAKER).sum()) if tta == "vote" else None


def draw_changes(tta: str, n: int, *, seed: int = 0) -> list[Tensor]:
    """Return the random changes of "seven", seven times float32 (n, 15), one row per face; none for the others."""
    return [draw_epoch(n, seed=seed, epoch=number) for number in range(7)] if tta == "seven" else []


def five_crops(faces: Tensor, side: int) -> Iterator[Tensor]:
    """Yield the corners (top left, top right, bottom left, bottom right) and the centre of faces, (N, C, side, side) each.

    Raises:
        InputError: If the side is not below S.
    """
    far = faces.shape[-1] - side
    if not 0 < side < faces.shape[-1]:
        raise InputError(f"ten crops: expected a side of 1 to {faces.shape[-1] - 1} pixels, got {side}; mend evaluate.crop")
    for top, left in ((0, 0), (0, far), (far, 0), (far, far), (far // 2, far // 2)):
        yield faces[..., top : top + side, left : left + side]


def takes_side(name: str, side: int) -> bool:
    """Return whether a model takes faces of this side: no option fixes the side, and the card allows it."""
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
