"""Which precision this CPU trains in faster. bf16 without instructions for it (AMX, AVX512-BF16) takes up to ten times as long as float32."""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch.nn import functional as F


def faster_precision(rounds: int = 5) -> Literal["bf16-mixed", "32-true"]:
    """Time a convolution and its gradients in both and name the faster by `train.precision`'s words; CPU seconds, the least of so many rounds."""
    threads, seconds = torch.get_num_threads(), {}
    torch.set_num_threads(1)  # two wait for each other on a busy machine, and waiting counts
    for precision in ("32-true", "bf16-mixed"):
        images, kernels = torch.randn(64, 64, 24, 24, requires_grad=True), torch.randn(64, 64, 3, 3, requires_grad=True)
        images = images.contiguous(memory_format=torch.channels_last)
        found = []
        for _ in range(rounds + 1):  # the first picks its kernels
            start = time.process_time()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
                maps = F.conv2d(images, kernels, padding=1)
            maps.sum().backward()
            found.append(time.process_time() - start)
        seconds[precision] = min(found[1:])
    torch.set_num_threads(threads)
    return "bf16-mixed" if seconds["bf16-mixed"] < seconds["32-true"] else "32-true"
