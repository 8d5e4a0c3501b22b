"""Models that leave the workspace: export to ONNX, proof of parity, speed, and a predictor that needs no torch and finds the faces.

Does not train or evaluate; what it hands on says nothing new about accuracy.
"""

from __future__ import annotations

from ferlab.deployment.predictor import Predictor, ReadFace

__all__ = ["Predictor", "ReadFace"]
