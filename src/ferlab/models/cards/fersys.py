"""Cards of the models in `ferlab/models/fersys.py`."""

CARDS = {
    "fersys_cnn": {
        "build": "fersys:fersys_cnn",
        "paper": "fersys",
        "title": "Three-block CNN of FER-Sys",
        "depth": 6,
        "parameters": 1_306_823,
        "input_size": 48,
        "target_layer": "relu3",
        "options": {"dropout": 0.25},
        "notes": "The paper gives three blocks of convolution, batch normalisation, ReLU and max pooling, and two fully connected layers with "
        "dropout, read here as hidden layers before 'a final softmax output layer'. Ours: 3x3 kernels, widths 32, 64, 128, one convolution a block, "
        "2x2 pools, hidden layers of 256 and 128, dropout 0.25 (with 0.5 and Adam's usual rate of 0.001 it predicts the class frequencies).",
    },
    "deepface_emotion": {
        "build": "fersys:deepface_emotion",
        "paper": "fersys",
        "title": "Emotion model of the deepface package, which FER-Sys runs",
        "depth": 8,
        "parameters": 1_485_831,
        "input_size": 48,
        "target_layer": "relu5",
        "options": {"dropout": 0.2},
        "notes": "The paper says VGG-Face; the package's emotion model is a CNN of its own, built here. The paper used its published "
        "weights (a Keras .h5, grey in [0, 1], 48 px), which are not read here.",
    },
}
