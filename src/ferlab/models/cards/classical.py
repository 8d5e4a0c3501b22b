"""Cards of the models in `ferlab/models/classical.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "hog_svm": {
        "build": "classical:hog_svm",
        "family": "classical",
        "paper": "",
        "title": "Histograms of oriented gradients (Dalal & Triggs, 2005) and a linear layer",
        "depth": 1,
        "parameters": 6_307,
        "stated": "",
        "input_size": 48,
        "sizes": "48 64 96",
        "channels": 1,
        "num_classes": 7,
        "target_layer": None,
        "options": {"size": 48, "grey_levels": 64.0},
        "published": "",
        "pretrained": None,
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay; a logistic regression with cross-entropy. The papers "
        "name HOG as related work and give no cells, blocks or score on FER2013: here Dalal & Triggs's.",
    },
    "lbp_svm": {
        "build": "classical:lbp_svm",
        "family": "classical",
        "paper": "",
        "title": "Uniform local binary patterns on a grid (Ojala et al., 2002; Shan et al., 2009) and a linear layer",
        "depth": 1,
        "parameters": 14_875,
        "stated": "",
        "input_size": 48,
        "sizes": "48 64 96",
        "channels": 1,
        "num_classes": 7,
        "target_layer": None,
        "options": {"size": 48},
        "published": "",
        "pretrained": None,
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay. The papers name LBP as related work and give no "
        "radius, grid or score on FER2013; Shan et al. take a radius of 2 on faces of 110x150 pixels, here it is 1, without "
        "interpolation, on cells of 8x8.",
    },
}
