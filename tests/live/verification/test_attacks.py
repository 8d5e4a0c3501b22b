"""Simulated people and attacks on the expression check: drawn faces, media, a video file, and what the check makes of them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from ferlab.deployment import Predictor
from ferlab.evaluation.presentation_attacks import Challenge
from ferlab.live.verification.acting import SIZE, Booth, Look, Obedient, Person, act, opening, present, sample_person
from ferlab.live.verification.attacks import (
    KEPT_SEED,
    SPECIES,
    Guesser,
    Print,
    Stills,
    apex_answers,
    apex_confusions,
    on_screen,
    paper,
    presentations,
    read_presentations,
    read_video,
    record,
    screen,
    store_video,
)
from ferlab.live.verification.check import BLINK, SIGNS, TURN_LEFT, Rules, draw_steps
from ferlab.paths import InputError

RULES = Rules(least_real=None, least_live=None)
ASKED = ("happy", "surprise")


@pytest.fixture(scope="module")
def model():
    return Predictor.load()


@pytest.fixture(scope="module")
def booth(model):
    """Return the booth of a person who acts with full strength."""
    return Booth(Person(1, 8, intensity=5.0), model)


def test_closed_eyes_are_a_quarter_as_open_and_no_mouth_moves():
    person = sample_person(0, 3)
    (rest, rest_mouth), (closed, closed_mouth) = opening(person.spec(Look())), opening(person.spec(Look(closed=True)))
    assert max(closed) < 0.3 * min(rest)
    assert closed_mouth == pytest.approx(rest_mouth)


def test_a_smile_is_drawn_step_by_step_and_rest_is_rest(booth):
    person, rest = booth.person, booth.person.picture(Look())
    changes = [np.abs(person.picture(Look("happy", rise).drawn()).astype(int) - rest).mean() for rise in (0.25, 0.5, 1.0)]
    assert changes == sorted(changes)
    assert Look("happy", 0.01).drawn() == Look()
    assert np.array_equal(person.picture(Look("sad", 0.0).drawn()), rest)


def test_a_turn_to_the_persons_left_moves_the_nose_to_the_pictures_right(booth):
    """As the mesh reports it: positive yaw is to the person's own left, which is the right of the picture."""
    left, right = (booth.picture(Look(yaw=sign * 28.0)).astype(float) for sign in (1, -1))
    middle = booth.picture(Look()).astype(float)

    def shift(picture):
        return max(range(-8, 9), key=lambda by: np.corrcoef(np.roll(middle, by, 1)[24:44, 20:44].ravel(), picture[24:44, 20:44].ravel())[0, 1])

    assert shift(left) > 0 > shift(right)


def test_media_change_the_picture_as_they_should(booth):
    face = booth.picture(Look())
    printed, shown = paper(face, 0.0, 0.0), screen(face, 0.0, 0.3)
    assert printed.std() < 0.9 * face.std()
    assert not np.array_equal(paper(face, 30.0, 0.0), printed)
    assert (shown[0] == 12).all()
    assert not np.array_equal(screen(face, 0.0, 0.8), shown)
    assert shown[5:-5, 5:-5].mean() > face[5:-5, 5:-5].mean()


def test_a_session_survives_a_video_file(booth, tmp_path):
    shown = present(Obedient(booth), ASKED, rules=replace(RULES, prompts=1, misses=0), challenge=3)
    store_video(tmp_path / "session.avi", booth, shown)
    pictures = read_video(tmp_path / "session.avi")
    assert len(pictures) == len(shown.looks)
    assert pictures[0].shape == (SIZE, SIZE)
    differences = [np.abs(stored.astype(int) - booth.picture(look)).mean() for stored, look in zip(pictures, shown.looks, strict=True)]
    assert 0 < max(differences) < 12


def test_a_file_that_is_no_video_is_refused(tmp_path, booth):
    (tmp_path / "broken.avi").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"broken.avi: no pictures"):
        read_video(tmp_path / "broken.avi")
    shown = present(Print(booth), ASKED, rules=replace(RULES, prompts=1, misses=0), challenge=3)
    with pytest.raises(InputError, match="cannot be written"):
        store_video(tmp_path / "absent" / "session.avi", booth, shown)


@pytest.mark.parametrize("challenge", [0, 1])
def test_who_passes_and_who_does_not(booth, challenge):
    """A person and the patient replayer pass; a print, exchanged stills and a recording of another challenge do not."""

    def flag(actor):
        return present(actor, ASKED, rules=RULES, challenge=challenge).verdict.flag

    assert flag(Obedient(booth)) == "passed"
    assert flag(Obedient(on_screen(booth))) == "passed"
    assert flag(Print(Booth(booth.person, booth.model, paper))) == "failed"
    assert flag(Stills(on_screen(booth))) == "failed"
    asked = draw_steps(ASKED, RULES, random.Random(challenge))
    other = next(n for n in range(50, 99) if not set(draw_steps(ASKED, RULES, random.Random(n))) & set(asked) & set(SIGNS))  # turns to the other side
    assert flag(record(booth, ASKED, rules=RULES, challenge=other, seed=1)) == "failed"


def test_stills_fail_by_their_movement_and_a_print_by_not_answering(booth):
    def failed(actor):
        verdict = present(actor, ASKED, rules=RULES, challenge=2).verdict
        return {part.name for part in verdict.parts if part.outcome == "failed"}

    assert failed(Stills(booth)) == {"neutral to apex"}
    assert "expressions" in failed(Print(Booth(booth.person, booth.model, paper)))


@pytest.mark.slow
def test_presentations_repeat_and_name_every_species(model):
    short = replace(RULES, prompts=1, misses=0, seconds=3.0)
    one, again = (presentations(model, ASKED, rules=short, subjects=1, seed=4) for _ in range(2))
    assert one.equals(again)
    assert one["species"].tolist() == ["bona fide", *SPECIES]
    assert (one["answered"] <= one["asked"]).all()


def test_other_people_are_counted_in_the_confusions(model):
    confusions = apex_confusions(model, subjects=3, seed=0)
    assert confusions.sum(axis=1).tolist() == [3] * 7
    assert confusions[3, 3] >= 2  # happy


def test_answers_at_the_apex_follow_the_checks_own_criteria(model):
    answers = apex_answers(model, ASKED, rules=RULES, subjects=4, seed=1)
    assert answers.shape == (4, 2)
    assert not apex_answers(model, ASKED, rules=replace(RULES, least=1.0), subjects=2, seed=1).any()
    assert (apex_answers(model, ASKED, rules=replace(RULES, least=0.01, rise=0.0), subjects=4, seed=1) >= answers).all()


@pytest.mark.slow
def test_guessers_pass_as_often_as_the_binomial_promises(booth):
    """Of 150 guessers against 2 of 2 prompts of two expressions and a turn, 1 in 8 is expected; the face is one that is always recognised."""
    rules = replace(RULES, prompts=2, misses=0, rest=0.2, seconds=3.0)
    passed = [present(Guesser(booth, ASKED, n), ASKED, rules=rules, challenge=n, seed=n, rate=15).verdict.flag == "passed" for n in range(150)]
    expected = Challenge(2, 2, 0).guess()
    assert expected == 1 / 8
    assert abs(np.mean(passed) - expected) < 3 * np.sqrt(expected * (1 - expected) / 150)


def test_acting_follows_its_prompt():
    assert act("sad", 10, 0.5) == Look("sad", 1.0)
    assert act(TURN_LEFT, 10, 0.5).yaw == 28
    assert [act(BLINK, since, 0.5).closed for since in (-0.1, 0.1, 0.6)] == [False, True, False]


@pytest.mark.slow
def test_the_kept_presentations_are_computed_again(model):
    """The first people of the kept table; a processor may round a probability to the other side of a threshold once."""
    kept = read_presentations()
    assert kept["species"].unique().tolist() == ["bona fide", *SPECIES]
    assert kept.groupby("species").size().unique().tolist() == [60]
    again = presentations(model, ASKED, rules=Rules(), subjects=2, seed=KEPT_SEED)
    same = kept.merge(again, on=["species", "subject"], suffixes=("", "_again"))
    assert len(same) == 14
    assert (same["flag"] != same["flag_again"]).sum() <= 1


def test_kept_presentations_that_are_missing_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"expression_check.csv: not there; restore it with git"):
        read_presentations(tmp_path / "expression_check.csv")
