from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from ferlab.control import FaceSpec, sample_identity


@pytest.fixture
def plain_spec() -> Callable[..., FaceSpec]:
    """A frontal, evenly lit face without noise, beard, glasses or occluder, with the action units asked for."""

    def build(subject: int = 0, action_units: dict[int, float] | None = None, **changes: object) -> FaceSpec:
        who = dataclasses.replace(sample_identity(0, subject), beard="none", glasses=False, hair="bald")
        units = action_units or {}
        spec = FaceSpec(expression="neutral", intensity=0.0, action_units=units, identity=who)
        return dataclasses.replace(spec, **changes)

    return build
