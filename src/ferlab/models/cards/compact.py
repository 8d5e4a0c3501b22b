"""Card of ferlab's own model in `ferlab/models/compact.py`."""

CARDS = {
    "compact": {
        "build": "compact:compact",
        "title": "ferlab's compact network",
        "depth": 11,
        "parameters": 1_940_199,
        "input_size": 48,
        "sizes": "16-",
        "target_layer": "stage3.block1.relu",
        "options": {"widths": (32, 64, 128, 256), "blocks": (1, 1, 1), "down": "stride", "block": "residual", "stem": "conv", "dropout": 0.4},
        "notes": "From no paper: it trains on two CPU cores within 7,200 CPU seconds, without the training of its teachers.",
    },
}
