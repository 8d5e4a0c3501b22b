"""Cards of the models in `ferlab/models/cs230_transfer.py`."""

HEAD_NOTE = "The paper's count is the ImageNet model's; the head of 4096 and 1024 makes the count here. "
SCALE_NOTE = (
    "The notebooks feed RGB divided by 255 to weights that were trained on 0 to 255 less a mean; `pretrained` says what the weights "
    "expect. Without them the model is trained from scratch, nothing frozen. "
)
LICENCE_NOTE = "The licence of the weights is not stated with the file: read www.robots.ox.ac.uk/~vgg/data/vgg_face2 before use."
VGGFACE2 = {  # of the Oxford group's models, imported into PyTorch by Albanie
    "hub": "https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn",
    "sha256": None,
    "layout": "vgg_dag",
    "colour": "RGB",
    "mean": [131.0912 / 255, 103.8827 / 255, 91.4953 / 255],
    "std": [1 / 255, 1 / 255, 1 / 255],
    "trained_on": "MS-Celeb-1M, then VGGFace2",
}

CARDS = {
    "cs230_vgg16": {
        "build": "cs230_transfer:cs230_vgg16",
        "paper": "cs230",
        "title": "VGG16 of cs230, its head replaced",
        "depth": 16,
        "parameters": 94_418_759,
        "stated": "138M",
        "input_size": 197,
        "sizes": "197-",
        "channels": 3,
        "target_layer": "relu5_3",
        "options": {"size": 197, "dropout": 0.5, "freeze": "none"},
        "pretrained": {**VGGFACE2, "file": "vgg_face_dag.pth", "mean": [129.1863 / 255, 104.7624 / 255, 93.5940 / 255], "trained_on": "VGG-Face"},
        "notes": HEAD_NOTE + "All 19 Keras layers were frozen (`freeze`: paper). Text: Adam; notebook: SGD. " + SCALE_NOTE + "The weights are "
        "VGG-Face's: Creative Commons Attribution, non-commercial research, by keras-vggface's README.",
    },
    "cs230_resnet50": {
        "build": "cs230_transfer:cs230_resnet50",
        "paper": "cs230",
        "title": "ResNet-50 of cs230, its head replaced",
        "depth": 56,
        "parameters": 36_103_239,
        "stated": "25M",
        "input_size": 197,
        "sizes": "197-",
        "channels": 3,
        "target_layer": "layer4.2.relu3",
        "options": {"dropout": 0.5, "freeze": "none", "variant": "caffe"},
        "pretrained": {**VGGFACE2, "file": "resnet50_ft_dag.pth"},
        "notes": HEAD_NOTE + "The first 170 of Keras's 175 layers without batch normalisation are all convolutions (`freeze`: paper), so "
        "53,120 scales and shifts and the head are trained. " + SCALE_NOTE + LICENCE_NOTE,
    },
    "cs230_senet50": {
        "build": "cs230_transfer:cs230_senet50",
        "paper": "cs230",
        "title": "SE-ResNet-50 of cs230, its head replaced",
        "depth": 88,
        "parameters": 38_634_231,
        "stated": "27M",
        "input_size": 197,
        "sizes": "197-",
        "channels": 3,
        "target_layer": "layer4.2.relu3",
        "options": {"dropout": 0.5, "freeze": "none", "variant": "caffe"},
        "pretrained": {**VGGFACE2, "file": "senet50_ft_dag.pth"},
        "notes": HEAD_NOTE + "The notebook froze the first 201 Keras layers without batch normalisation, up to `layer3.4.conv1` (`freeze`: "
        "paper); the text says it was trained as ResNet-50 was. " + SCALE_NOTE + LICENCE_NOTE,
    },
}
