"""Sessions of drawn people: the same for the same seed, scored through the same machinery, and never stored."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from ferlab.expressions import EXPRESSIONS
from ferlab.live.model import LiveModel
from ferlab.live.session import demo
from ferlab.live.session.files import CONDITIONS, read_sessions
from ferlab.live.session.scores import score_attempts
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def model() -> Iterator[LiveModel]:
    return LiveModel.load()


def test_a_session_repeats_and_holds_every_expression_equally_often(model: LiveModel) -> None:
    table = demo.run_session(model, n=7, seed=3)
    pd.testing.assert_frame_equal(table, demo.run_session(model, n=7, seed=3), rtol=1e-4)
    assert sorted(table["prompt"]) == sorted(EXPRESSIONS)
    assert set(table["frames"]) == {demo.HELD}
    assert set(table["source"]) == {"control faces"}
    assert set(table["kept"]) == {""}
    assert read_sessions().query("person.str.startswith('drawn')").empty
    assert demo.run_session(model, n=1, seed=4)["seed"].item() != table["seed"].iloc[0]


def test_the_model_sees_the_prompted_expression(model: LiveModel) -> None:
    found = score_attempts(demo.run_session(model, n=14))
    assert found["n"] == 14
    assert found["p_chance"] < 0.05


def test_clips_rise_from_neutral_and_keep_their_person() -> None:
    clip = demo.clip_of("happy", person=2, number=5)
    other = demo.clip_of("happy", person=2, number=6)
    assert len(clip) == demo.CLIP + demo.HELD
    assert clip[0].action_units == {}
    assert [spec.intensity for spec in clip] == sorted(spec.intensity for spec in clip)
    assert {spec.identity for spec in [*clip, *other]} == {clip[0].identity}
    weak = demo.clip_of("happy", person=2, number=5, share=0.5)
    assert weak[-1].intensity == pytest.approx(clip[-1].intensity / 2)
    assert all(0 < weak[-1].action_units[unit] < strength for unit, strength in clip[-1].action_units.items())


def test_conditions_are_those_that_a_person_chooses() -> None:
    assert list(demo.INTENSITY) == list(CONDITIONS)


def test_number_of_prompts_is_checked(model: LiveModel) -> None:
    with pytest.raises(InputError, match="prompts"):
        demo.run_session(model, n=0)
