"""Models outside the workspace: ONNX export, parity, latency, and a predictor that needs no torch and finds the faces."""

from __future__ import annotations

from ferlab.deployment.predictor import Predictor, ReadFace

__all__ = ["Predictor", "ReadFace"]
