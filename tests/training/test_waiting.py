"""A GPU is given its work ahead of time; what copies from the host at every step, or asks for a number, makes it stand idle.

Seen on tensors without content (PyTorch's device meta), which any machine has: the calls are the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ferlab.data.augmentation import Augmentation
from ferlab.data.batches import FaceBatches
from ferlab.models.create import create_model
from ferlab.models.inputs import prepare_images, standardise
from ferlab.models.weights import LoadedModel
from ferlab.training.distillation import Teachers
from ferlab.training.losses import expression_loss
from ferlab.training.mixing import draw_mixing, mix

EXPRESSIONS = ("angry", "happy", "sad")
SCALE = {"mean": (0.5,), "std": (0.25,)}
CHANGES = Augmentation(flip=True, rotation=10, zoom=0.1, shift=0.1, crop=0.9, brightness=0.1, contrast=0.1, erasing=0.5)


class NoWaiting(TorchFunctionMode):
    """Refuses what waits for a device."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name in ("new_tensor", "tensor", "item", "tolist", "cpu", "numpy", "nonzero"):
            raise AssertionError(f"{name} waits for the device")
        if name == "to" and args[0].device.type == "cpu" and not kwargs.get("non_blocking"):
            raise AssertionError("a copy from the host waits for the device")
        return function(*args, **kwargs)


def batches(*, channels: int) -> FaceBatches:
    images = torch.zeros((20, 16, 16, 3), dtype=torch.uint8, device="meta")
    return FaceBatches(
        images,
        torch.zeros(20, dtype=torch.int64, device="meta"),
        np.arange(20),
        batch_size=8,
        prepare=partial(prepare_images, size=16, channels=channels),
        normalise=partial(standardise, **SCALE),
        seed=0,
        changes=CHANGES,
        soft_targets=torch.zeros((20, 3), device="meta"),
    )


def step(images: Tensor, soft: Tensor, teachers: Teachers) -> Tensor:
    mixing = draw_mixing(len(images), 16, mixup=0.2, cutmix=0.2, seed=0, epoch=0, batch=1, device="meta")
    images, soft = mix(images, soft, mixing)
    student = torch.lerp(soft, teachers.probs(images, **SCALE), 0.7)
    return expression_loss("cross_entropy", torch.zeros((len(images), 3), device="meta"), student, label_smoothing=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_making_mixing_and_teaching_a_batch_wait_for_no_device(channels: int) -> None:
    net = create_model("compact", 3, channels, widths=(4, 8), blocks=(1,)).to("meta").eval()
    size = {"size": 16, "channels": channels, "target_layer": None, "trained_on": ("train",)}
    student = {"name": "compact", "options": {}, "expressions": EXPRESSIONS, **SCALE, **size}
    teachers = Teachers({"first": LoadedModel(module=net, **student)}, {"first": ""})
    made = iter(batches(channels=channels))
    next(made)  # an epoch begins with copies
    with NoWaiting():
        images, _, soft = next(made)
        loss = step(images, soft, teachers)
    assert (tuple(images.shape), loss.device.type) == ((8, channels, 16, 16), "meta")


@pytest.mark.parametrize(
    "wait",
    [lambda x: x.new_tensor((0.5,)), lambda x: torch.tensor([0.5], device="meta"), lambda x: torch.zeros(2).to("meta"), lambda x: x.sum().item()],
)
def test_what_waits_is_seen(wait: Any) -> None:
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(torch.zeros(2, device="meta"))
