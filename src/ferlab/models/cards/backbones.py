"""Card of the model in `ferlab/models/backbones.py`."""

CARDS = {
    "onnx_backbone": {
        "build": "backbones:onnx_backbone",
        "title": "A network from an ONNX file, with a head for expressions",
        "depth": 1,
        "parameters": 3_591,
        "input_size": 112,
        "sizes": "8-",
        "channels": 3,
        "scaling": "unit",
        "target_layer": "backbone.maps",
        "options": {
            "file": "",
            "sha256": "",
            "trained_on": "",
            "size": 112,
            "mean": 0.5,
            "std": 0.5,
            "features": "",
            "hidden": 0,
            "dropout": 0.0,
            "freeze": "all_but_head",
        },
        "notes": "Depth and parameters are those of the head on 512 features, as of InsightFace's w600k_r50.onnx; those of the file come on top. "
        "The file gives the graph whenever the model is built: it must be there to train a run and to load it again, and `sha256` makes sure that "
        "it is the same; an exported run needs it no longer. The model normalises faces in [0, 1] by `mean` and `std` itself. The licence of the "
        "weights and the faces that they were trained on (`trained_on`) are for the user to know: InsightFace's are for non-commercial research.",
    },
}
