"""One dict of cards per family; the keys are explained in `ferlab.models.registry`. Plain values only, readable without torch."""

from __future__ import annotations

from typing import Any

# What a card leaves away; records of results read it here, without the registry.
DEFAULTS: dict[str, Any] = {"paper": "", "stated": "not stated", "channels": 1, "num_classes": 7, "pretrained": None, "scaling": None}
