"""The hand-wired network: one patch decides, so that what each method must find is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ferlab.control import read
from ferlab.explanation import hand_wired
from ferlab.explanation.attributions import attribute
from ferlab.explanation.localisation import localise
from ferlab.explanation.methods import METHODS

SIZE = 48
FAILS = {
    "grad_cam": "averages gradients over space: the patch's are spread over all bright, or all dark, pixels",
    "grad_cam_pp": "likewise",
    "guided_grad_cam": "has the sign of the gradient: pixels of a dark patch, which speak for its class, are negative",
}
SLOW = ("xrai",)  # it segments every face
OPTIONS = {"rise": {"masks": 300}, "xrai": {"steps": 4}, "integrated_gradients": {"steps": 4}, "smooth_grad": {"samples": 4}}


@pytest.fixture(scope="module")
def wired():
    images, _ = read(faces=4, subjects=4, size=SIZE)
    inputs, classes = hand_wired.plant_patches(images, seed=0)
    return hand_wired.wire_model(SIZE), inputs, classes, np.repeat(hand_wired.patch_mask(SIZE)[None], 4, axis=0)


def test_the_patch_decides_and_nothing_else_can(wired):
    module, inputs, classes, masks = wired
    inside = torch.as_tensor(masks)[:, None]
    with torch.no_grad():
        assert (module(inputs).argmax(dim=1).numpy() == classes).all()
        noise = torch.rand(inputs.shape) * 2 - 1
        torch.testing.assert_close(module(torch.where(inside, inputs, noise)), module(inputs))
        assert (module(torch.where(inside, -inputs, inputs)).argmax(dim=1).numpy() == 1 - classes).all()


@pytest.mark.parametrize("method", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in METHODS])
def test_every_method_finds_the_patch_but_those_known_to_fail(wired, method):
    module, inputs, classes, masks = wired
    own = OPTIONS.get(method, {})
    maps = attribute(method, module, inputs, explained_class=classes, layer=hand_wired.LAYER, **own)[:, 0].numpy()
    kappa = localise(maps, masks)["kappa"].mean()
    assert (kappa > 0.6) == (method not in FAILS), kappa
    if method in ("hires_cam", "gradients", "integrated_gradients"):  # exact: not a trace of attribution outside the patch
        assert np.abs(maps[~masks]).max() < 1e-6
