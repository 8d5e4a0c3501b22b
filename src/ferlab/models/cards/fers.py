"""Card of the model in `ferlab/models/fers.py`."""

CARDS = {
    "fers_alexnet": {
        "build": "fers:fers_alexnet",
        "paper": "fers",
        "title": "AlexNet variant of FERS, kernels 9-7-5-3-3",
        "depth": 8,
        "parameters": 3_458_440,
        "input_size": 224,
        "channels": 3,
        "num_classes": 8,
        "target_layer": "relu5",
        "options": {},
        "notes": "Padding is not stated: only 'valid' convolutions flatten to the 2048 of table I. The order convolution, pool, batch "
        "normalisation is the text's; the table omits batch normalisation, and the place of the ReLU is not stated (here after the "
        "convolution). No dropout is stated. The paper's inputs are in [0, 1] (`train.scaling: unit`). It calls AffectNet's "
        "validation faces its test set, as AffectNet has no public one.",
    },
}
