"""Cards of the nets in `ferlab/models/resemotenet.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "resemotenet_cnn": {
        "build": "resemotenet:resemotenet_cnn",
        "family": "resemotenet",
        "paper": "resemotenet",
        "title": "Three-stage CNN that the paper sets against ResEmoteNet",
        "depth": 8,
        "parameters": 1_180_103,
        "stated": "not stated",
        "input_size": 48,
        "sizes": "8-",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "stage3.relu2",
        "options": {"fc_dropout": 0.5},
        "published": "62.6 % on PublicTest and PrivateTest together",
        "pretrained": None,
        "notes": "Dropout is given only as '.25 to .45' over the stages (here .25, .35, .45); the rate before the last layer is not "
        "given (here .5).",
    },
}
