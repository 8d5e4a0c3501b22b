"""Cards of the models in `ferlab/models/cs230.py`."""

CARDS = {
    "five_layer": {
        "build": "cs230:five_layer",
        "paper": "cs230",
        "title": "Five-layer model of cs230 (after Kim et al.)",
        "depth": 5,
        "parameters": 2_436_263,
        "stated": "2.4M",
        "input_size": 48,
        "target_layer": "relu3",
        "options": {"pool": "2x2", "dropout": 0.3},
        "notes": "The text pools 3x3 with stride 2, the model its authors shipped pools 2x2; both give 2.4M parameters (3x3 only with "
        "'same' padding). The text has batch normalisation at every layer, the shipped model only after the convolutions.",
    },
    "baseline": {
        "build": "cs230:baseline",
        "paper": "cs230",
        "title": "Baseline model of cs230, as its authors' notebook has it",
        "depth": 6,
        "parameters": 2_434_921,
        "stated": "37.8M",
        "input_size": 48,
        "target_layer": "relu4",
        "options": {"dropout": 0.3},
        "notes": "Not the model of the text: convolutions of 32, 32, 64, 64 with three pools make 2.43M parameters, not 37.8M; see "
        "baseline_text.",
    },
    "baseline_text": {
        "build": "cs230:baseline_text",
        "paper": "cs230",
        "title": "Baseline model of cs230, as its text says",
        "depth": 6,
        "parameters": 37_842_599,
        "stated": "37.8M",
        "input_size": 48,
        "target_layer": "relu4",
        "options": {"fc_units": 8192, "dropout": 0.5, "norm": True},
        "notes": "The text gives neither the width of the hidden layer nor the place of the two pools; 8192 units after 32x12x12 maps "
        "match 37.8M.",
    },
    "five_layer_hog": {
        "build": "cs230:five_layer_hog",
        "title": "Five-layer model of cs230, histograms of oriented gradients beside its maps (after Zhang et al., 2015)",
        "depth": 5,
        "parameters": 3_357_863,
        "input_size": 48,
        "target_layer": "maps.relu3",
        "options": {"pool": "2x2", "dropout": 0.3},
        "notes": "cs230 reports of Zhang et al. that histograms of face patches enter the first dense layer, and gives no cells: those here are "
        "Dalal & Triggs's. Their facial landmark registration is a matter of prepare (`face.align`).",
    },
}
