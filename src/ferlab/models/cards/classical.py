"""Cards of the models in `ferlab/models/classical.py`."""

CARDS = {
    "hog_svm": {
        "build": "classical:hog_svm",
        "title": "Histograms of oriented gradients (Dalal & Triggs, 2005) and a linear layer",
        "depth": 1,
        "parameters": 6_307,
        "input_size": 48,
        "sizes": "48 64 96",
        "target_layer": None,
        "options": {"size": 48, "grey_levels": 64.0},
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay; a logistic regression with cross-entropy. The papers "
        "name HOG as related work and give no cells, blocks or score on FER2013: those here are Dalal & Triggs's.",
    },
    "lbp_svm": {
        "build": "classical:lbp_svm",
        "title": "Uniform local binary patterns on a grid (Ojala et al., 2002; Shan et al., 2009) and a linear layer",
        "depth": 1,
        "parameters": 14_875,
        "input_size": 48,
        "sizes": "48 64 96",
        "target_layer": None,
        "options": {"size": 48},
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay. The papers name LBP as related work and give no "
        "radius, grid or score on FER2013. Shan et al.: a radius of 2 on faces of 110x150 pixels; here 1, without interpolation, on 8x8 cells.",
    },
}
