"""Cards of the models in `ferlab/models/resemotenet.py`; the keys are explained in `ferlab.models.registry`."""

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
        "options": {"stages": 3, "fc_dropout": 0.5},
        "published": "62.6 % on PublicTest and PrivateTest together",
        "pretrained": None,
        "notes": "Dropout is given only as '.25 to .45' over the stages (here .25, .35, .45); the rate before the last layer is not "
        "given (here .5). The paper feeds pixels in [0, 1] (`train.scaling: unit`). The deeper models it tried are `stages` 4 and 5 here; "
        "Grad-CAM looks at their third stage too.",
    },
    "resemotenet": {
        "build": "resemotenet:resemotenet",
        "family": "resemotenet",
        "paper": "resemotenet",
        "title": "ResEmoteNet, as its authors' code has it",
        "depth": 18,
        "parameters": 80_237_447,
        "stated": "not stated",
        "input_size": 48,
        "sizes": "8-",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu3",
        "options": {"dropout": 0.2, "fc_dropout": 0.5},
        "published": "61.9 % on PublicTest and PrivateTest together; 79.79 % in Roy et al. (2024), which others did not reach",
        "pretrained": None,
        "notes": "The paper trains it on 48x48 grey; the authors' code on 64x64 RGB (size 64, channels 3: 80,238,599 parameters). The text "
        "does not mention the dropout of .2 after the first two pools. The last block leaves one pixel of a face of 48 or 64, where "
        "Grad-CAM can show nothing; it looks at the third convolution, as the authors' own script does on their later model.",
    },
}
