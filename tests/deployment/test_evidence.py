"""Occlusion by the runtime alone: by hand, and as the workspace computes it with PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ferlab.deployment.evidence import occlude


def test_what_a_model_rests_on_is_found_and_the_drop_is_the_probabilitys() -> None:
    def predict(faces: np.ndarray) -> np.ndarray:
        """One pixel decides: white, the second class."""
        lit = faces[:, 0, 13, 30]
        return np.stack([1 - lit, lit], axis=1)

    face = np.zeros((1, 1, 48, 48), np.float32)
    face[0, 0, 13, 30] = 1
    heat = occlude(face, np.array([1]), predict=predict)[0]
    assert heat.shape == (48, 48)
    covered = np.argwhere(heat > 0)
    assert (covered.min(axis=0).tolist(), covered.max(axis=0).tolist()) == ([8, 24], [19, 35])  # squares of 8, every 4, that hold the pixel
    assert heat[13, 30] == pytest.approx(0.5)  # all four squares over it make the white grey
    assert heat.max() == pytest.approx(0.5)
    np.testing.assert_allclose(occlude(face, np.array([0]), predict=predict)[0], -heat)


def test_it_is_the_map_of_the_workspace(tiny, tiny_onnx) -> None:
    """captum's, at windows of the same size, of a model without a temperature."""
    from ferlab.deployment import Predictor
    from ferlab.explanation.attributions import explain_faces

    faces = np.random.default_rng(3).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    predictor = Predictor.load(tiny_onnx)
    inputs = (faces[:, None] / 255).astype(np.float32)
    classes = predictor.predict_inputs(inputs).argmax(axis=1)
    wanted = explain_faces(replace(tiny), faces, explained_class=classes, methods=["occlusion"], window=3, stride=1)["occlusion"]
    np.testing.assert_allclose(occlude(inputs, classes, predict=predictor.predict_inputs), wanted, atol=2e-5)
