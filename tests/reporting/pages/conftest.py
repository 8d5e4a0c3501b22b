from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def explained() -> dict[str, np.ndarray]:
    """Fourteen faces, a right and a wrong one of each expression but disgust (both right) and sad (both wrong); one dead map."""
    rng = np.random.default_rng(0)
    target = np.repeat(np.arange(7), 2)
    pred = target.copy()
    pred[1::2] = (target[1::2] + 1) % 7
    pred[3], pred[8] = 1, 5
    probs = np.full((14, 7), 0.05)
    probs[np.arange(14), pred] = 0.7
    grad_cam = rng.random((14, 48, 48))
    grad_cam[0] = 0
    images = rng.integers(0, 256, (14, 48, 48), dtype=np.uint8)
    return {"images": images, "target": target, "probs": probs, "grad_cam": grad_cam, "occlusion": rng.normal(0, 0.1, (14, 48, 48))}
