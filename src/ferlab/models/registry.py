"""Every model the workspace knows: how to build it, and its card. One file of cards per family, joined here in one explicit dict.

A model is added by writing its builder in a file of its family and its card in the family's file of cards. `build` is
"module:builder" below `ferlab.models`; the module is imported only when the model is asked for, so a new file leaves the others,
and every run already trained, alone. For the same reason a family's file imports no other family's.

Keys of a card:
    build: "module:builder".
    family: The module, and `runs.<run>.family`.
    paper: The paper whose study it belongs to, or "" for a model of nobody's study.
    title: In one line.
    depth: Convolutions and linear layers, counted along with those of shortcuts and gates.
    parameters: Trainable, counted, at the paper's classes, channels and default options.
    stated: What the paper says of them, "" where it says nothing.
    input_size, channels, num_classes: The paper's own.
    sizes: The input sizes it takes, as "48", "48 64" (these) or "40-" (this and all above); the option `size` chooses among several
        where the layers hang on it.
    target_layer: Dotted name of the last convolution's activation, for Grad-CAM; of an earlier one where the notes say why; None without any.
    options: name -> default.
    published: Score with its split, as text, "" where there is none.
    pretrained: None, or where its published weights are and how they want faces: see `ferlab.models.pretrained`.
    notes: What the paper leaves open.
"""

from __future__ import annotations

from typing import Any

from ferlab.models.cards import attention, classical, compact, cs230, cs230_transfer, cs231a, fers, fersys, references, resemotenet

MODELS: dict[str, dict[str, Any]] = {
    **attention.CARDS,
    **classical.CARDS,
    **compact.CARDS,
    **cs230.CARDS,
    **cs230_transfer.CARDS,
    **cs231a.CARDS,
    **fers.CARDS,
    **fersys.CARDS,
    **references.CARDS,
    **resemotenet.CARDS,
}
