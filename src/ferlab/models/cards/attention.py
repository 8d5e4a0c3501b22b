"""Card of the model in `ferlab/models/attention.py`."""

CARDS = {
    "attention_cnn": {
        "build": "attention:attention_cnn",
        "paper": "cs230",
        "title": "Attentional model of Minaee & Abdolrashidi (2019), which cs230 names for future work",
        "depth": 10,
        "parameters": 66_877,
        "input_size": 48,
        "target_layer": "relu4",
        "options": {"dropout": 0.5},
        "notes": "cs230 trained no such model. Minaee & Abdolrashidi give the order of the layers; widths, kernels, normalisation and dropout rate "
        "are those of a public reimplementation. A map of relu4 refers to the transformed face, not to the input.",
    },
}
