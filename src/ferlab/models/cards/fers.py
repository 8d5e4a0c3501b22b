"""Card of the model in `ferlab/models/fers.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "fers_alexnet": {
        "build": "fers:fers_alexnet",
        "family": "fers",
        "paper": "fers",
        "title": "AlexNet variant of FERS, kernels 9-7-5-3-3",
        "depth": 8,
        "parameters": 3_458_440,
        "stated": "",
        "input_size": 224,
        "sizes": "224",
        "channels": 3,
        "num_classes": 8,
        "target_layer": "relu5",
        "options": {},
        "published": "55.09 % on AffectNet's validation faces, 8 expressions; the peak over 13 epochs on those same faces",
        "pretrained": None,
        "notes": "Padding is not stated: only 'valid' convolutions flatten to the 2048 of table I. The order convolution, pool, batch "
        "normalisation is the text's; the table leaves batch normalisation out, and nothing says where the ReLU stands (here behind the "
        "convolution). No dropout is stated. The paper feeds pixels in [0, 1] (`train.scaling: unit`). It calls AffectNet's "
        "validation faces its test set, as AffectNet has no public one.",
    },
}
