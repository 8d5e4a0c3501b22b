"""Card of ferlab's own model in `ferlab/models/compact.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "compact": {
        "build": "compact:compact",
        "family": "compact",
        "paper": "",
        "title": "ferlab's compact network",
        "depth": 11,
        "parameters": 1_940_199,
        "stated": "",
        "input_size": 48,
        "sizes": "16-",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "stage3.block1.relu",
        "options": {"widths": (32, 64, 128, 256), "blocks": (1, 1, 1), "down": "stride", "block": "residual", "dropout": 0.4},
        "published": "",
        "pretrained": None,
        "notes": "Of nobody's paper: what two CPU cores train within 7,200 CPU seconds (its teachers, where it has any, come on top).",
    },
}
