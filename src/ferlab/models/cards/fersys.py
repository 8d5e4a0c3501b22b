"""Cards of the models in `ferlab/models/fersys.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "fersys_cnn": {
        "build": "fersys:fersys_cnn",
        "family": "fersys",
        "paper": "fersys",
        "title": "Three-block CNN of FER-Sys",
        "depth": 6,
        "parameters": 1_306_823,
        "stated": "",
        "input_size": 48,
        "sizes": "48",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu3",
        "options": {"dropout": 0.25},
        "published": "59 % on a random 15 % of the 28,821-face folder (a reshuffle of FER2013), macro F1 .48",
        "pretrained": None,
        "notes": "The paper gives three blocks of convolution, batch normalisation, ReLU and max pooling, and two fully connected layers with "
        "dropout. Ours: 3x3 kernels, widths 32, 64, 128, one convolution a block, 2x2 pools, hidden layers of 256 and 128, dropout .25 (with .5 "
        "it does not learn at Adam's usual rate). "
        "The two fully connected layers are read as hidden ones before 'a final softmax output layer'.",
    },
    "deepface_emotion": {
        "build": "fersys:deepface_emotion",
        "family": "fersys",
        "paper": "fersys",
        "title": "Emotion model of the deepface package, which FER-Sys runs",
        "depth": 8,
        "parameters": 1_485_831,
        "stated": "",
        "input_size": 48,
        "sizes": "48",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu5",
        "options": {"dropout": 0.2},
        "published": "82 % on a random 15 % of the 28,821-face folder (a reshuffle of FER2013), most of which it was trained on; its author "
        "states 57.43 % on test and 92.05 % on train",
        "pretrained": None,
        "notes": "The paper says VGG-Face and means this: the package's emotion model is a CNN of its own. The paper ran its published "
        "weights (a Keras .h5, grey in [0, 1], 48 px), which are not read here; from random weights it is the same model untrained.",
    },
}
