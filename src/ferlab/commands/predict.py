"""`ferlab predict`: the expression of each face of pictures and videos, with the model that ships or another one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ferlab.explanation.methods import METHODS
from ferlab.paths import InputError

GIVEN = "PICTURE|FOLDER|VIDEO|URL|-"
KINDS = (
    "pictures as PNG, JPEG, TIFF, BMP, PPM, PGM, WebP or GIF, videos as MP4, MOV, AVI, Matroska or WebM, folders of them with all below, http and"
    " https addresses of them, - for a picture on standard input"
)
STATUSES = "Exit status: 0 all was read, 1 something was not, 2 nothing was, for what was asked cannot be done."


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    predict = commands.add_parser("predict", help="predict the expression of each face in pictures and videos", epilog=STATUSES)
    predict.add_argument("files", nargs="+", metavar=GIVEN, help=KINDS)
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an object a line for each face, of a video for each face of each frame")
    form.add_argument("--csv", nargs="?", const="-", metavar="FILE", help="print the same as a table; with FILE, write it there and print lines")
    predict.add_argument("--save", metavar="DIR", help="write annotated copies of pictures and videos; no file is replaced")
    methods = ", ".join(METHODS)
    told = f"draw what the prediction rests on over each face of saved pictures: {methods}; all but occlusion need PyTorch"
    predict.add_argument("--map", choices=METHODS, default="", metavar="METHOD", help=told)
    predict.add_argument("--tta", choices=("none", "flip"), default="flip", help="test-time augmentation: the mean over a face and its mirror (flip)")
    predict.add_argument("--model", metavar="ONNX", help="another model than the one that ships, e.g. models/RUN/model.onnx")
    predict.add_argument("--top", type=int, default=3, metavar="N", help="expressions on a line, the likeliest first (3)")
    predict.add_argument("--every", type=int, default=1, metavar="N", help="look at every N-th frame of a video (1)")
    predict.add_argument("--risk", type=float, metavar="RATE", help="error rate among predictions not marked uncertain: 0.05, 0.1, 0.15 or 0.2 (0.1)")
    predict.add_argument("--small", action="store_true", help="search large pictures for small faces too: slower, and more boxes that are no faces")
    predict.add_argument("--whole", action="store_true", help="each picture is a face already: search for none")
    predict.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Predict; return the exit status."""
    from ferlab.deployment.predicting import OCCLUSION, check_job

    told = {"model": chosen.model, "top": chosen.top, "every": chosen.every, "whole": chosen.whole, "small": chosen.small, "risk": chosen.risk}
    told |= {"form": "json" if chosen.json else "csv" if chosen.csv == "-" else "lines", "table": None if chosen.csv == "-" else chosen.csv}
    try:
        explain = _explainer(chosen.map, chosen.model) if chosen.map not in ("", OCCLUSION) else None
        job = check_job(chosen.files, save=chosen.save, method=chosen.map, explain=explain, flip=chosen.tta == "flip", **told)
    except InputError as error:
        print(f"ferlab: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    unread = job.run()
    for line in unread:
        print(f"ferlab: {' '.join(line.split())}", file=sys.stderr)
    return 1 if unread else 0


def _explainer(method: str, model: str | None) -> Any:
    """Return what computes a method's maps of a model's input: `ferlab.deployment.evidence.Explain`.

    Raises:
        InputError: Without PyTorch; an operation of the model's graph that is not followed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise InputError(f"--map {method} needs PyTorch, of the whole workspace; --map occlusion needs none") from None
    from ferlab.deployment.as_torch import load_exported
    from ferlab.deployment.predictor import SHIPPED
    from ferlab.explanation.attributions import attribute, explain_settings

    loaded = load_exported(Path(model) if model else SHIPPED)
    settings = explain_settings(loaded, method, side=loaded.size)
    return lambda inputs, classes: attribute(method, loaded.module, torch.tensor(inputs), explained_class=classes, **settings)[:, 0].numpy()
