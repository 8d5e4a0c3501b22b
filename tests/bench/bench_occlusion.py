"""Occlusion and RISE against plain forward passes, per perturbed face, in CPU seconds: prints the ratios of one run; 1: masks are free.

Run with `python tests/bench/bench_occlusion.py [MODEL]`. The plain rate is that of batched forward passes of the pipeline's size, in the
memory layout that is faster (channels_last), so it flatters nothing. Plain and perturbed passes alternate; each rate is the median of its rounds.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ferlab.explanation.attributions import attribute
from ferlab.models import create_model
from ferlab.models.registry import MODELS

WINDOWS, BATCH, ROUNDS = 121, 256, 5  # 8x8 windows at stride 4 on 48x48: 11 x 11
LIMIT = 0.8


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, all threads added."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plain(module: nn.Module, faces: torch.Tensor, passes: int) -> None:
    """Predict a batch several times."""
    with torch.inference_mode():
        for _ in range(passes):
            module(faces).softmax(1)


def rates(module: nn.Module, faces: int, size: tuple[int, ...]) -> dict[str, float]:
    """Faces per CPU second of plain passes, and perturbed faces per CPU second of both methods, for a call with so many faces."""
    images, classes = torch.randn(faces, *size), np.zeros(faces, int)
    net = copy.deepcopy(module).to(memory_format=torch.channels_last)
    batch = torch.randn(BATCH, *size).contiguous(memory_format=torch.channels_last)
    masks = max(WINDOWS, 2048 // faces)
    works = {
        "plain": (8 * BATCH, lambda: plain(net, batch, 8)),
        "occlusion": (faces * WINDOWS, lambda: attribute("occlusion", module, images, explained_class=classes, batch_size=BATCH)),
        "rise": (faces * masks, lambda: attribute("rise", module, images, explained_class=classes, batch_size=BATCH, masks=masks)),
    }
    plain(net, batch, 1)
    seconds = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (_, work) in works.items():
            seconds[name].append(cpu_seconds(work))
    return {name: count / statistics.median(seconds[name]) for name, (count, _) in works.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    name = sys.argv[1] if len(sys.argv) > 1 else "five_layer"
    card = MODELS[name]
    net = create_model(name).eval()
    for faces in (1, 16, 64):  # a face in the live panel; a few; the faces of one call of the pipeline
        rate = rates(net, faces, (card["channels"], card["input_size"], card["input_size"]))
        ratio = {method: rate[method] / rate["plain"] for method in ("occlusion", "rise")}
        shown = ", ".join(f"{method} {rate[method]:.0f} (ratio {value:.2f})" for method, value in ratio.items())
        verdict = "" if min(ratio.values()) >= LIMIT else f"; below {LIMIT}"
        print(f"{name}, {faces} faces, batch {BATCH}, faces per CPU second: plain {rate['plain']:.0f}, {shown}{verdict}")
