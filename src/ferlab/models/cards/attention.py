"""Cards of the models in `ferlab/models/attention.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "attention_cnn": {
        "build": "attention:attention_cnn",
        "family": "attention",
        "paper": "cs230",
        "title": "Attentional model of Minaee & Abdolrashidi (2019), which cs230 names for future work",
        "depth": 10,
        "parameters": 66_877,
        "stated": "not stated",
        "input_size": 48,
        "sizes": "48",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu4",
        "options": {"dropout": 0.5},
        "published": "70.02 % on PrivateTest (Minaee & Abdolrashidi, 2019)",
        "pretrained": None,
        "notes": "cs230 trained no such model. The text of Minaee & Abdolrashidi gives the order of the layers (four convolutions, a pool behind each "
        "second, two hidden layers; two convolutions and two hidden layers in the transformer), neither widths, kernels, normalisation nor the "
        "rate of the dropout: these are a public reimplementation's. A map of relu4 lies on the transformed face, not on the face as it came.",
    },
}
