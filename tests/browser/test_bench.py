"""The control-face bench in a real browser: its drawing is that of `ferlab.control`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from ferlab.control.action_units import NAMES
from ferlab.control.drawing.masks import draw_masks, draw_unit_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import BEARDS, HAIR_STYLES, OCCLUDERS, FaceSpec, sample_spec
from ferlab.opencv import one_thread

pytestmark = [pytest.mark.slow, pytest.mark.browser]

STATIC = Path(__file__).resolve().parents[2] / "reports" / "_static" / "bench"
DRAWING = ("random", "raster", "shape", "layers", "paint", "masks")
DRAW = """([spec, size]) => ({
    image: Array.from(ControlFace.draw(spec, size)),
    masks: Object.fromEntries(Object.entries({...ControlFace.regionMasks(spec, size), ...ControlFace.unitMasks(spec, size)})
        .map(([name, mask]) => [name, mask.join("")])),
})"""


def sampled(number: int) -> tuple[FaceSpec, int]:
    """Return a spec and a size; each hair style, beard and occluder comes up, and every other face has no occluder."""
    spec = sample_spec(7, number, expressions=NAMES)
    looks = {"hair": HAIR_STYLES[number % 6], "beard": BEARDS[number // 2 % 4], "glasses": number % 5 == 0}
    occluder = OCCLUDERS[number // 3 % 6] if number % 2 else "none"
    return replace(spec, identity=replace(spec.identity, **looks), occluder=occluder), (48, 96)[number % 2]


@pytest.fixture(scope="module")
def drawn(browser) -> list[tuple[FaceSpec, int, dict]]:
    """Draw 60 faces in the browser."""
    specs = [sampled(number) for number in range(60)]
    with browser.new_context() as context:
        page = context.new_page()
        for name in DRAWING:
            page.add_script_tag(path=STATIC / f"{name}.js")
        return [(spec, size, page.evaluate(DRAW, [asdict(spec), size])) for spec, size in specs]


def test_the_browser_draws_what_python_draws(drawn) -> None:
    with one_thread():
        apart = [np.abs(draw_image(spec, size).astype(int) - np.reshape(seen["image"], (size, size))) for spec, size, seen in drawn]
    assert {spec.occluder for spec, _, _ in drawn} == set(OCCLUDERS)
    assert max(int(levels.max()) for levels in apart) <= 2
    assert np.mean(np.concatenate([levels.ravel() for levels in apart]) > 0) < 1e-3  # measured: 1 level in 7 of 100,000 pixels


def test_the_browsers_masks_are_pythons(drawn) -> None:
    with one_thread():
        for spec, size, seen in drawn:
            masks = draw_masks(spec, size) | draw_unit_masks(spec, size)
            assert seen["masks"].keys() == {str(name) for name in masks}
            for name, mask in masks.items():
                other = np.frombuffer(seen["masks"][str(name)].encode(), np.uint8).reshape(mask.shape) == ord("1")
                assert (mask & other).sum() >= 0.99 * (mask | other).sum(), (spec.expression, name)
