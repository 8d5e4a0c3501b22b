"""A person's neutral baseline: what the model predicts for their neutral face counts as neutral.

Faces at rest differ, and a model reads some as sad or angry; users ask for a correction by the person's own neutral face. The logits of a face are
shifted by the same amounts that turn the logits of the person's neutral face into those of a typical one: neutral as probable as predictions of
neutral are right on test, the other expressions equally.
"""

from __future__ import annotations

import numpy as np

from ferlab.live.model import LiveModel
from ferlab.paths import InputError

NEUTRAL = "neutral"
LEAST = 1e-6  # probability: a smaller one of the neutral face would decide every other face
UNKNOWN = 0.5  # of neutral, for a model whose card has no test predictions


def subtract_neutral(probs: np.ndarray, neutral: np.ndarray, *, model: LiveModel) -> np.ndarray:
    """Return the probabilities of a face, corrected by those of the person's neutral face.

    Args:
        probs: float32 (K,), of the face.
        neutral: float32 (K,), of the person's neutral face by the same model.
        model: Its expressions and its precision of neutral are used.

    Raises:
        InputError: If the model has no neutral.
    """
    if NEUTRAL not in model.expressions:
        raise InputError(f"{model.name}: predicts {', '.join(model.expressions)} and no neutral, so no neutral face can be subtracted")
    known = model.confidence.precision_of(NEUTRAL)
    sure = known.right / known.n if known and known.n else UNKNOWN
    typical = np.full(len(probs), (1 - sure) / (len(probs) - 1))
    typical[model.expressions.index(NEUTRAL)] = sure
    logits = np.log(np.clip(probs, LEAST, None)) - np.log(np.clip(neutral, LEAST, None)) + np.log(typical)
    raised = np.exp(logits - logits.max())
    return (raised / raised.sum()).astype(np.float32)
