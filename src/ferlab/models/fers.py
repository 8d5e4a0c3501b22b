"""The AlexNet variant of FERS: five blocks with kernels shrinking from 9x9 to 3x3, from random weights on 224x224 colour faces.

| model | paper: depth, parameters, accuracy | here: trainable (with running statistics) |
|---|---|---|
| fers_alexnet | 8, not stated, 55.09 % on AffectNet | 3,458,440 (3,459,176) |

Convolutions are 'valid': only then does the fifth block give 128x4x4, the 2048 that the paper flattens ('same' gives 6272).
Sides: 224, 216, 108, 102, 51, 47, 23, 21, 10, 8, 4. 600 million multiply-adds a face.

The paper uses TensorFlow, so initial weights and batch normalisation are Keras's.

References:
    The FERS paper, its section III B and table I.
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional neural networks: AlexNet.
"""

from __future__ import annotations

from torch import nn

from ferlab.models.layers import keras_norm, keras_weights, numbered, sequential

BLOCKS = ((9, 16), (7, 32), (5, 64), (3, 128), (3, 128))  # kernel, channels of table I
FLAT = 128 * 4 * 4  # of a 224x224 face


def fers_alexnet(num_classes: int = 8, in_channels: int = 3) -> nn.Module:
    """Build five blocks of convolution, ReLU, 2x2 pool and batch normalisation, two hidden layers of 1024, and the classes.
    """
    layers: dict[str, nn.Module] = {}
    inputs = in_channels
    for n, (kernel, channels) in enumerate(BLOCKS, start=1):
        layers |= numbered(n, conv=nn.Conv2d(inputs, channels, kernel), relu=nn.ReLU(), pool=nn.MaxPool2d(2), bn=keras_norm(channels))
        inputs = channels
    layers |= {"flatten": nn.Flatten(), "fc1": nn.Linear(FLAT, 1024), "relu6": nn.ReLU(), "fc2": nn.Linear(1024, 1024), "relu7": nn.ReLU()}
    return keras_weights(sequential(layers, logits=nn.Linear(1024, num_classes)))
