from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.control.specs import sample_identity, sample_spec
from ferlab.expressions import EXPRESSIONS


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.integers(0, 5000))
def test_a_face_depends_on_seed_index_and_subject_only(seed: int, index: int) -> None:
    spec = sample_spec(seed, index)
    for other in range(3):
        sample_spec(seed, index + other)
    assert sample_spec(seed, index) == spec
    assert sample_spec(seed, index, subject=spec.subject) == spec
    assert sample_spec(seed + 1, index) != spec


def test_identity_depends_on_seed_and_subject_only() -> None:
    specs = [sample_spec(0, index, subjects=5) for index in range(40)]
    for spec in specs:
        assert spec.identity == sample_identity(0, spec.subject)
    assert len({spec.identity for spec in specs}) == 5
    assert sample_identity(1, 0) != sample_identity(0, 0)


def test_expressions_and_subjects_are_balanced() -> None:
    specs = [sample_spec(4, index, subjects=10) for index in range(140)]
    assert all(sum(spec.expression == expression for spec in specs) == 20 for expression in EXPRESSIONS)
    assert all(sum(spec.subject == subject for spec in specs) == 14 for subject in range(10))


def test_a_subject_shows_several_expressions() -> None:
    specs = [sample_spec(0, index, subjects=7) for index in range(140)]  # as many subjects as expressions
    assert min(len({spec.expression for spec in specs if spec.subject == subject}) for subject in range(7)) >= 4


def test_neutral_rests_and_everything_else_moves() -> None:
    for index in range(100):
        spec = sample_spec(2, index)
        if spec.expression == "neutral":
            assert spec.intensity == 0
            assert spec.action_units == {}
        else:
            assert 0.5 <= spec.intensity <= 5
            assert all(0 < strength <= 1 for strength in spec.action_units.values())


def test_neutral_faces_of_a_subject_still_differ_at_rest() -> None:
    rests = {sample_spec(0, index).rest for index in range(30)}
    assert len(rests) == 30


def test_attributes_do_not_tell_the_expression() -> None:
    specs = [sample_spec(1, index) for index in range(2100)]
    groups = [[spec for spec in specs if spec.expression == expression] for expression in EXPRESSIONS]
    covered = [np.mean([spec.occluder != "none" for spec in group]) for group in groups]
    yaw = [np.mean([spec.pose.yaw for spec in group]) for group in groups]
    assert max(covered) - min(covered) < 0.12  # 300 faces each: four standard errors of a difference
    assert max(yaw) - min(yaw) < 3.0
