"""Deletion and insertion against plain forward passes, per perturbed face, in CPU seconds of one run; 1: perturbing is free.

Run with `python tests/bench/bench_faithfulness.py`. The plain rate is that of the same memory layout (channels_last, the faster one), so it
flatters nothing. Noisy linear imputation solves a linear system per perturbed face, which is work of its own beside the pass; its ratio is
reported apart.
"""

from __future__ import annotations

import copy
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the pipeline's kernels: waiting threads count no CPU seconds

import numpy as np
import torch
from bench_occlusion import BATCH, cpu_seconds, plain

from ferlab.explanation.imputation import IMPUTATIONS
from ferlab.explanation.removal import FRACTIONS, predictor, removal_curves
from ferlab.models import LoadedModel, create_model

FACES = 500
FINE = tuple(np.arange(1, 48) / 48)  # 48 of 2,304 pixels at a time, as finely as RISE


def plain_rate(module: torch.nn.Module) -> float:
    """Faces per CPU second of plain batched forward passes, in the memory layout of `predictor`."""
    net = copy.deepcopy(module).to(memory_format=torch.channels_last)
    faces = torch.randn(BATCH, 1, 48, 48).contiguous(memory_format=torch.channels_last)
    plain(net, faces, 1)
    return 4 * BATCH / cpu_seconds(lambda: plain(net, faces, 4))


def removal_seconds(model: LoadedModel, *, imputation: str, fractions: tuple[float, ...]) -> float:
    """CPU seconds of the deletion and insertion of one map per face."""
    faces, maps = torch.rand(FACES, 1, 48, 48), {"random": np.random.default_rng(0).random((FACES, 48, 48))}
    given = {"maps": maps, "explained_class": np.zeros(FACES, int), "imputation": imputation, "fractions": fractions, "batch_size": BATCH}
    return cpu_seconds(lambda: removal_curves(predictor(model), faces, **given))


if __name__ == "__main__":
    torch.manual_seed(0)
    module = create_model("five_layer").eval()
    made = LoadedModel(module, "five_layer", {}, tuple("abcdefg"), (0.5,), (0.25,), 48, 1, None, ())
    for name in IMPUTATIONS:
        for steps in (FRACTIONS, FINE) if name == "mean" else (FRACTIONS,):
            bare = plain_rate(module)  # beside each measurement: the machine's speed drifts
            seconds = removal_seconds(made, imputation=name, fractions=steps)
            perturbed = FACES * 2 * (len(steps) + 1)
            print(
                f"five_layer, {FACES} faces, {name}, {len(steps)} fractions, {perturbed:,} perturbed faces: {seconds:.1f} CPU s; "
                f"per CPU second {perturbed / seconds:.0f}, plain {bare:.0f}, ratio {perturbed / seconds / bare:.2f}"
            )
