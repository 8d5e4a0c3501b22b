"""Bench: one training step of cs230's five-layer network in bfloat16 and in float32, side by side in one run on this CPU.

    python tests/bench/bench_precision.py [threads]

`train.precision: auto` must choose the faster one. The ratio is the median over rounds of both, in turn, in CPU seconds.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch.nn import functional as F

from ferlab.models import create_model
from ferlab.training.distributed import precision

BATCH, ROUNDS = 64, 5


def step_seconds(*, bf16: bool) -> float:
    """Return the CPU seconds of a forward and a backward pass over a batch, after one that picks its kernels."""
    model = create_model("five_layer", num_classes=7).to(memory_format=torch.channels_last)
    faces, targets = torch.rand(BATCH, 1, 48, 48), torch.arange(BATCH) % 7
    for _ in range(2):
        start = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(faces), targets)
        loss.backward()
    return time.process_time() - start


def main() -> int:
    """Print the ratio; return 1 if `auto` chooses the slower."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    ratio = statistics.median(step_seconds(bf16=True) / step_seconds(bf16=False) for _ in range(ROUNDS))
    chosen = precision(accelerator="cpu")
    holds = (ratio < 1) == (chosen == "bf16-mixed")
    print(f"five_layer, a step of {BATCH} faces, bfloat16 over float32 in CPU seconds: {ratio:.2f}; auto is {chosen}{'' if holds else '  FAILED'}")
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
