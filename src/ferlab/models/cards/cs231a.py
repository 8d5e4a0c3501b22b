"""Cards of the models in `ferlab/models/cs231a.py`."""

CARDS = {
    "lenet_caffe": {
        "build": "cs231a:lenet_caffe",
        "paper": "cs231a",
        "title": "Caffe's LeNet, which cs231a names, on its 250-pixel faces",
        "depth": 4,
        "parameters": 87_054_577,
        "input_size": 250,
        "sizes": "250 28",
        "target_layer": "conv2",
        "options": {"size": 250, "ceil_mode": False},
        "notes": "The text says LeNet, the repository's 'lenet' is CaffeNet: the scores called LeNet's are CaffeNet's, and none is known "
        "for this model. 87,054,577 parameters round the second pool down (59x59 maps), which is ours; by Caffe's rule it rounds up, to 60x60 "
        "maps and 90,029,577 parameters (ceil_mode: true, as in study cs231a). The convolutions have no activation, so attributions are computed at "
        "the last of them. At 28 px with ten classes it is Caffe's MNIST example, 431,080.",
    },
    "caffenet": {
        "build": "cs231a:caffenet",
        "paper": "cs231a",
        "title": "CaffeNet, which cs231a calls LeNet, on 250-pixel faces",
        "depth": 8,
        "parameters": 70_505_159,
        "input_size": 250,
        "sizes": "250 227",
        "target_layer": "relu5",
        "options": {"size": 250, "dropout": 0.5, "grey_std": 64.0},
        "notes": "The text has pretrained weights with the first and last layer retrained; the code gives the solver none, and the first "
        "hidden layer has 12,544 inputs at 250 pixels, the published weights 9,216. Caffe trains biases at twice the rate and without decay "
        "(`bias_lr_mult`, `decay`). Initial weights expect grey levels; faces less the mean image, as in the paper (`train.scaling: mean_image`), "
        "are multiplied by 255 (grey_std), standardised ones by 64, about FER2013's standard deviation; without it the logits of an untrained "
        "model differ 45 times less between 16 faces.",
    },
    "alexnet_caffe": {
        "build": "cs231a:alexnet_caffe",
        "paper": "cs231a",
        "title": "AlexNet as Caffe has it, on 250-pixel faces",
        "depth": 8,
        "parameters": 70_505_159,
        "input_size": 250,
        "sizes": "250 227",
        "target_layer": "relu5",
        "options": {"size": 250, "dropout": 0.5, "grey_std": 64.0},
        "notes": "CaffeNet with local response normalisation before the pools and initial biases of 0.1 instead of 1; for the weights and "
        "grey_std see caffenet.",
    },
}
