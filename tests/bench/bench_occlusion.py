"""Occlusion against plain forward passes, per perturbed face, in CPU seconds: prints the ratio of one run; 1: masks are free.

Run with `python tests/bench/bench_occlusion.py`. The plain rate is that of the faster memory layout, so it flatters nothing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ferlab.explanation.attributions import occlusion
from ferlab.models import create_model

FACES, WINDOWS, BATCH = 96, 121, 1024  # 8x8 windows at stride 4 on 48x48: 11 x 11


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, all threads added."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plain_rate(module: nn.Module) -> float:
    """Faces per CPU second of plain batched forward passes; the faster of two memory layouts."""
    rates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = copy.deepcopy(module).to(memory_format=layout)
        faces = torch.randn(BATCH, 1, 48, 48)
        with torch.inference_mode():
            net(faces)
            rates.append(4 * BATCH / cpu_seconds(lambda net=net, faces=faces: [net(faces).softmax(1) for _ in range(4)]))
    return max(rates)


def occlusion_rate(module: nn.Module) -> float:
    """Perturbed faces per CPU second of `occlusion`."""
    faces = torch.randn(FACES, 1, 48, 48)
    seconds = cpu_seconds(lambda: occlusion(module, faces, explained_class=np.zeros(FACES, int), baseline=0.0, batch_size=BATCH))
    return FACES * WINDOWS / seconds


if __name__ == "__main__":
    torch.manual_seed(0)
    net = create_model("five_layer").eval()
    plain, perturbed = plain_rate(net), occlusion_rate(net)
    print(f"five_layer, batch {BATCH}, faces per CPU second: plain {plain:.0f}, perturbed {perturbed:.0f}; ratio {perturbed / plain:.2f}")
