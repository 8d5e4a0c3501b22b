"""What `ferlab serve` answers: predictions and the model's card as JSON, and the page that says how to call it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ferlab.deployment.predictor import ReadFace, ReadPicture, shipped_card
from ferlab.live.model import LiveModel
from ferlab.live.serving.limits import Limits
from ferlab.paths import SHIPS

PAGE = Path(__file__).parents[1] / "static" / "serve.html"
STATED = ("title", "trained_on", "test", "limits", "licence", "sha256")  # of the shipped model's card


def picture_answer(read: ReadPicture, model: LiveModel) -> dict[str, Any]:
    """Return the answer to a picture: its size and its faces from left to right, with a note where there are none."""
    answer = {"size": list(read.size), "faces": [face_answer(face, model) for face in read.faces]}
    none = "no face found" + (f" of {read.smallest} pixels or more; ?small=1 searches for smaller ones, ?whole=1 for none" if read.smallest else "")
    return answer if read.faces else {**answer, "note": none}


def face_answer(face: ReadFace, model: LiveModel) -> dict[str, Any]:
    """Return the answer to a face: box, expression, calibrated probabilities, abstention, and how often such a prediction was right on test."""
    (best,) = face.likeliest(1)
    probs = {name: round(float(prob), 6) for name, prob in zip(face.expressions, face.probs, strict=True)}
    score = None if face.score is None else round(face.score, 3)
    found = {"box": list(face.box), "score": score, "expression": best, "confidence": probs[best], "uncertain": face.uncertain}
    return {**found, "probabilities": probs, "reliability": model.predictor.confidence.sentence(best)}


def card_of(model: LiveModel) -> dict[str, Any]:
    """Return what a client should know of the model; of the one that ships also its training data, scores and limits."""
    confidence = model.predictor.confidence
    reliability = {"calibration": confidence.calibration_sentence(), "abstention": confidence.abstention_sentence()}
    card = {"model": model.name, "expressions": list(model.expressions), "reliability": reliability, "notes": list(model.predictor.notes)}
    card["precision"] = {name: confidence.sentence(name) for name in model.expressions}
    if model.name != SHIPS:
        return card
    return card | {key: value for key, value in shipped_card().items() if key in STATED}


def page_text(host: str, card: Mapping[str, Any], *, limits: Limits, key: bool) -> str:
    """Return the page that says how to call the server.

    Args:
        host: `Host` of the request; shown as it is where it looks like one.
        card: From `card_of`.
        limits: The server's.
        key: Whether requests need one.
    """
    shown = host if re.fullmatch(r"[\w.:\[\]-]{1,100}", host) else "127.0.0.1"
    stated = {
        "host": shown, "model": card["model"], "calibration": card["reliability"]["calibration"], "abstention": card["reliability"]["abstention"],
        "picture": f"{limits.picture_bytes / 1e6:g} MB and {limits.picture_pixels / 1e6:g} megapixels",
        "face": f"{limits.face_bytes:,} bytes and {limits.face_side} x {limits.face_side} pixels",
        "rate": f"{limits.rate:g}", "idle": f"{limits.idle_s:g}",
        "curl_key": '-H "Authorization: Bearer $FERLAB_KEY" ' if key else "",
        "python_key": ', headers={"Authorization": f"Bearer {os.environ[\'FERLAB_KEY\']}"}' if key else "",
        "also": ", os" if key else "",
        "imports": "import json, os, urllib.request" if key else "import json, urllib.request",
    }  # fmt: skip
    return Template(PAGE.read_text(encoding="utf-8")).substitute({name: escape(value, quote=False) for name, value in stated.items()})
