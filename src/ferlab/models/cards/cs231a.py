"""Cards of the models in `ferlab/models/cs231a.py`; the keys are explained in `ferlab.models.registry`."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "lenet_caffe": {
        "build": "cs231a:lenet_caffe",
        "family": "cs231a",
        "paper": "cs231a",
        "title": "Caffe's LeNet, which cs231a names, on its 250-pixel faces",
        "depth": 4,
        "parameters": 87_054_577,
        "stated": "",
        "input_size": 250,
        "sizes": "250 28",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "conv2",
        "options": {"size": 250, "ceil_mode": False},
        "published": "",
        "pretrained": None,
        "notes": "The text says LeNet, the repository's 'lenet' is CaffeNet: the scores called LeNet's are with caffenet, and none is known "
        "for this model. 87,054,577 parameters round the second pool down (59x59 maps), which is ours; by Caffe's rule it rounds up, to 60x60 "
        "maps and 90,029,577 parameters (ceil_mode: true, as in study cs231a). The convolutions have no activation, so heat maps look at the last of "
        "them itself. At 28 px with ten classes it is Caffe's MNIST example, 431,080.",
    },
    "caffenet": {
        "build": "cs231a:caffenet",
        "family": "cs231a",
        "paper": "cs231a",
        "title": "CaffeNet, which cs231a calls LeNet, on 250-pixel faces",
        "depth": 8,
        "parameters": 70_505_159,
        "stated": "",
        "input_size": 250,
        "sizes": "250 227",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu5",
        "options": {"size": 250, "dropout": 0.5, "grey_std": 64.0},
        "published": "On a random fifth of the frames: CK+ 97.2 % (8 expressions) and 98.6 % (7), CK+ with JAFFE 94.5 % (7); same people, near "
        "copies of the same frames in training",
        "pretrained": None,
        "notes": "The text has pretrained weights with the first and last layer retrained; the code gives the solver none, and the first "
        "hidden layer takes 12,544 numbers of a 250-pixel face, not the 9,216 of the published weights. Caffe trains biases at twice the "
        "rate and without decay (`bias_lr_mult`, `decay`). Its initial weights want grey levels: faces less the mean image, as the paper has them "
        "(`train.scaling: mean_image`), are multiplied by 255 (grey_std), standardised ones by 64, about FER2013's standard "
        "deviation; without it an untrained model's logits differ 45 times less between 16 faces.",
    },
    "alexnet_caffe": {
        "build": "cs231a:alexnet_caffe",
        "family": "cs231a",
        "paper": "cs231a",
        "title": "AlexNet as Caffe has it, on 250-pixel faces",
        "depth": 8,
        "parameters": 70_505_159,
        "stated": "",
        "input_size": 250,
        "sizes": "250 227",
        "channels": 1,
        "num_classes": 7,
        "target_layer": "relu5",
        "options": {"size": 250, "dropout": 0.5, "grey_std": 64.0},
        "published": "98.5 % on a random fifth of the frames of CK+, JAFFE and the authors' photos, 7 expressions; same people, near copies of the "
        "same frames in training",
        "pretrained": None,
        "notes": "CaffeNet with local response normalisation before the pools and first biases of .1 instead of 1; on the weights and on "
        "grey_std see caffenet.",
    },
}
