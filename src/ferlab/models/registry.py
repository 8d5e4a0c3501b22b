"""Every model of the workspace by name, with its card: one file of cards per family, joined here.

A model is added with a builder in the file of its family and a card in the family's file of cards. A family is imported only when one of its
models is built, and imports no other family, so a new model leaves trained runs fresh.

Keys of a card, those of DEFAULTS and `sizes` optional; `family` is added here:
    build: "module:builder" below `ferlab.models`; the module is the family, and `runs.<run>.family`.
    paper: The paper whose study it belongs to, "" where there is none.
    title: In one line.
    depth: Number of convolutions and linear layers, those of shortcuts and gates included.
    parameters: Trainable ones, with the paper's classes and channels and the default options.
    stated: The paper's number of parameters, as text.
    input_size, channels, num_classes: The paper's own.
    sizes: Allowed input sizes: "48 64" (these) or "40-" (this and above); by default `input_size`. The option `size`, where layers depend on it.
    target_layer: Dotted name of the layer for Grad-CAM: the activation of the last convolution, or an earlier layer, for which the notes give
        the reason. None without convolutions.
    options: name -> default of the builder.
    pretrained: None, or its published weights, the input they expect and `trained_on`, their data in words; see `ferlab.models.pretrained`.
    scaling: The `train.scaling` that it needs, where it normalises its input itself; None: any.
    notes: What the paper leaves open.
"""

from __future__ import annotations

from typing import Any

from ferlab.models.cards import (
    DEFAULTS,
    attention,
    backbones,
    classical,
    compact,
    cs230,
    cs230_transfer,
    cs231a,
    fers,
    fersys,
    recognition,
    references,
    resemotenet,
)

CARDS: dict[str, dict[str, Any]] = {
    **attention.CARDS,
    **backbones.CARDS,
    **classical.CARDS,
    **compact.CARDS,
    **cs230.CARDS,
    **cs230_transfer.CARDS,
    **cs231a.CARDS,
    **fers.CARDS,
    **fersys.CARDS,
    **recognition.CARDS,
    **references.CARDS,
    **resemotenet.CARDS,
}
MODELS: dict[str, dict[str, Any]] = {
    name: {**DEFAULTS, "family": card["build"].partition(":")[0], "sizes": str(card["input_size"]), **card} for name, card in CARDS.items()
}
