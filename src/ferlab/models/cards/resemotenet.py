"""Cards of the models in `ferlab/models/resemotenet.py`."""

CARDS = {
    "resemotenet_cnn": {
        "build": "resemotenet:resemotenet_cnn",
        "paper": "resemotenet",
        "title": "Three-stage CNN that the paper compares with ResEmoteNet",
        "depth": 8,
        "parameters": 1_180_103,
        "input_size": 48,
        "sizes": "8-",
        "target_layer": "stage3.relu2",
        "options": {"stages": 3, "fc_dropout": 0.5},
        "notes": "Dropout is given only as '.25 to .45' over the stages (here 0.25, 0.35, 0.45); the rate before the last layer is not "
        "given (here 0.5). The paper's inputs are in [0, 1] (`train.scaling: unit`). The deeper models it tried are `stages` 4 and 5 here, "
        "where Grad-CAM is computed at the third stage too.",
    },
    "resemotenet": {
        "build": "resemotenet:resemotenet",
        "paper": "resemotenet",
        "title": "ResEmoteNet, as its authors' code has it",
        "depth": 18,
        "parameters": 80_237_447,
        "input_size": 48,
        "sizes": "8-",
        "target_layer": "relu3",
        "options": {"dropout": 0.2, "fc_dropout": 0.5},
        "notes": "The paper trains it on 48x48 grey; the authors' code on 64x64 RGB (size 64, channels 3: 80,238,599 parameters). The text "
        "does not mention the dropout of 0.2 after the first two pools. The last block reduces a face of 48 or 64 to one pixel, so Grad-CAM is "
        "computed at the third convolution, as in the authors' script for their later model.",
    },
}
