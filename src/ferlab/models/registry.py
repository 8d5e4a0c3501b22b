"""Every net the workspace knows, in one dict that a reader can see whole: how to build it, and its card.

A net is added by writing its builder in a file of its family and one entry here. `build` is "module:builder" below
`ferlab.models`; the module is imported only when the net is asked for, so a new file leaves the others, and every run already
trained, alone.

Keys of a card: `family` (the module, and `runs.<run>.family`), `paper`, `title`, `depth` (layers with weights), `parameters`
(trainable, counted, at the paper's classes, channels and default options), `stated` (what the paper says of them), `input_size`,
`channels`, `num_classes`, `target_layer` (dotted name of the last convolution's activation, for Grad-CAM), `options` (name ->
default), `notes` (what the paper leaves open).
"""

from __future__ import annotations

from typing import Any

MODELS: dict[str, dict[str, Any]] = {
    "five_layer": {
        "build": "cs230:five_layer",
        "family": "cs230",
        "paper": "cs230",
        "title": "Five-layer net of cs230 (after Kim et al.)",
        "depth": 5,
        "parameters": 2_436_263,
        "stated": "2.4M",
        "input_size": 48,
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu3",
        "options": {"pool": "2x2", "dropout": 0.3},
        "notes": "The text pools 3x3 with stride 2, the net its authors shipped pools 2x2; both give 2.4M parameters (3x3 only with "
        "'same' padding). The text has batch normalisation at every layer, the shipped net only after the convolutions.",
    },
    "baseline": {
        "build": "cs230:baseline",
        "family": "cs230",
        "paper": "cs230",
        "title": "Baseline net of cs230, as its authors' notebook has it",
        "depth": 6,
        "parameters": 2_434_921,
        "stated": "37.8M",
        "input_size": 48,
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu4",
        "options": {"dropout": 0.3},
        "notes": "Not the net of the text: convolutions of 32, 32, 64, 64 with three pools make 2.43M parameters, not 37.8M; see "
        "baseline_text.",
    },
    "baseline_text": {
        "build": "cs230:baseline_text",
        "family": "cs230",
        "paper": "cs230",
        "title": "Baseline net of cs230, as its text says",
        "depth": 6,
        "parameters": 37_842_599,
        "stated": "37.8M",
        "input_size": 48,
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu4",
        "options": {"fc_units": 8192, "dropout": 0.5},
        "notes": "The text gives neither the width of the hidden layer nor the place of the two pools; 8192 units behind 32x12x12 "
        "is the choice that meets 37.8M.",
    },
    "resemotenet_cnn": {
        "build": "resemotenet:resemotenet_cnn",
        "family": "resemotenet",
        "paper": "resemotenet",
        "title": "Three-stage CNN that the paper sets against ResEmoteNet",
        "depth": 8,
        "parameters": 1_180_103,
        "stated": "not stated",
        "input_size": 48,
        "channels": 1,
        "num_classes": 7,
        "target_layer": "stage3.relu2",
        "options": {"fc_dropout": 0.5},
        "notes": "Dropout is given only as '.25 to .45' over the stages (here .25, .35, .45); the rate before the last layer is not "
        "given (here .5).",
    },
}
