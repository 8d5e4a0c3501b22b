"""Cards of the models in `ferlab/models/classical.py`."""

ON_A_GRID = {"input_size": 48, "sizes": "48 64 96", "target_layer": None}
TREES = {
    **ON_A_GRID,
    "depth": 0,
    "parameters": 0,
    "notes": "Trees have thresholds and leaves, no trained weights. train.epochs is the number of rounds, train.lr the shrinkage, train.weight_decay "
    "the L2 term of leaves; optimizer, schedule and batch size do not matter. The papers name boosting as related work and give no score on FER2013.",
}

CARDS = {
    "hog_svm": {
        "build": "classical:hog_svm",
        "title": "Histograms of oriented gradients (Dalal & Triggs, 2005) and a linear layer",
        "depth": 1,
        "parameters": 6_307,
        **ON_A_GRID,
        "options": {"size": 48, "grey_levels": 64.0},
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay; a logistic regression with cross-entropy. The papers "
        "name HOG as related work and give no cells, blocks or score on FER2013: those here are Dalal & Triggs's.",
    },
    "lbp_svm": {
        "build": "classical:lbp_svm",
        "title": "Uniform local binary patterns on a grid (Ojala et al., 2002; Shan et al., 2009) and a linear layer",
        "depth": 1,
        "parameters": 14_875,
        **ON_A_GRID,
        "options": {"size": 48},
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay. The papers name LBP as related work and give no "
        "radius, grid or score on FER2013. Shan et al.: a radius of 2 on faces of 110x150 pixels; here 1, without interpolation, on 8x8 cells.",
    },
    "gabor_svm": {
        "build": "classical:gabor_svm",
        "title": "Energies of Gabor filters on a grid (Lyons et al., 1998; Bartlett et al., 2003) and a linear layer",
        "depth": 1,
        "parameters": 8_071,
        **ON_A_GRID,
        "options": {"size": 48},
        "notes": "A linear L2-SVM when trained with the squared hinge loss and weight decay. The papers name Gabor filters as related work and give "
        "no score on FER2013. Bartlett et al. have 5 wavelengths on faces of 48x48 pixels, at every pixel; here 4, on 8x8 cells.",
    },
    "hog_boosting": {
        "build": "classical:hog_boosting",
        "title": "Histograms of oriented gradients (Dalal & Triggs, 2005) and boosted trees",
        **TREES,
        "options": {"size": 48, "grey_levels": 64.0, "rounds": 100, "depth": 4},
    },
    "lbp_boosting": {
        "build": "classical:lbp_boosting",
        "title": "Uniform local binary patterns on a grid (Ojala et al., 2002; Shan et al., 2009) and boosted trees",
        **TREES,
        "options": {"size": 48, "rounds": 100, "depth": 4},
    },
    "gabor_boosting": {
        "build": "classical:gabor_boosting",
        "title": "Energies of Gabor filters on a grid (Lyons et al., 1998; Bartlett et al., 2003) and boosted trees",
        **TREES,
        "options": {"size": 48, "rounds": 100, "depth": 4},
    },
}
