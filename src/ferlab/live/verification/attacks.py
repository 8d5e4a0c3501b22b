"""Simulated presentation attacks on the expression check, and what the check makes of people and of each species of attack.

| species | what is presented |
|---|---|
| replay, another order | a recorded session of the person on a screen, of another challenge |
| replay, the same order | a recorded session of the same challenge, as luck may have it |
| print | a photograph of the face at rest on paper, moved and tilted |
| stills exchanged | on a screen the right still for each prompt, one after another |
| guesser | a person who acts without seeing the prompts |
| replay on demand | on a screen the right clip for each prompt: the patient replayer |

The spoof and liveness models run in the browser only and take no part here; without them the last species passes like a person. In the browser both
scores reach 0.6 for 10 of 12 drawn people, for 12 of their 12 simulated prints and for 10 of 12 screens (tests/bench/spoof_scores.py). A recording
goes through a video file (Motion JPEG), so that its artefacts are part of the attack.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ferlab.live.verification.acting import SIZE, Actor, Booth, Look, Obedient, Predicts, Shown, act, present, relax, sample_person
from ferlab.live.verification.check import BLINK, SIGNS, TURN_LEFT, TURN_RIGHT, Rules
from ferlab.live.verification.recalls import Recalls
from ferlab.live.verification.verdict import FAILED
from ferlab.paths import InputError, write_whole

KEPT = Path(__file__).resolve().parents[4] / "reports" / "published" / "expression_check.csv"  # of `presentations`, of the shipped model
TUNING = KEPT.with_name("expression_check_tuning.csv")  # of the people whom the rules of the check were chosen on
APEXES, APEX_CONFUSIONS = KEPT.with_name("expression_check_apexes.csv"), KEPT.with_name("expression_check_confusions.csv")
KEPT_SEED = 2
BONA_FIDE = "bona fide"
SPECIES = ("replay, another order", "replay, the same order", "print", "stills exchanged", "guesser", "replay on demand")
OTHER = 5_000  # a challenge of another time
SEEDS = {name: 1_000 * place for place, name in enumerate((BONA_FIDE, *SPECIES))}  # of the jitter of landmarks


def paper(picture: np.ndarray, tilt: float, phase: float) -> np.ndarray:
    """A matt print, held at an angle: less contrast, softer, narrower by the cosine and in perspective; uint8 (H, W)."""
    size = len(picture)
    flat = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.012 * size) * 0.72 + 42
    angle = np.deg2rad(tilt)
    half, away = size / 2 * np.cos(angle), 0.12 * size * np.sin(angle)
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float32)
    seen = np.array([(size / 2 - half, away), (size / 2 + half, -away), (size / 2 + half, size + away), (size / 2 - half, size - away)], np.float32)
    turned = cv2.warpPerspective(flat, cv2.getPerspectiveTransform(corners, seen), (size, size), borderMode=cv2.BORDER_CONSTANT, borderValue=150)
    return np.clip(np.rint(turned), 0, 255).astype(np.uint8)


def screen(picture: np.ndarray, tilt: float, phase: float) -> np.ndarray:
    """A bright screen: Moire between its grid and the camera's, a frame around the picture, harder contrast; uint8 (H, W)."""
    size = len(picture)
    y, x = np.mgrid[:size, :size] / size
    angle = np.deg2rad(8 + 20 * phase + tilt)
    moire = 9 * np.sin(2 * np.pi * (11 * (x * np.cos(angle) + y * np.sin(angle)) + phase)) * np.sin(2 * np.pi * (7 * y - phase))
    lit = 255 * (picture / 255.0) ** 0.85 * 1.08 + moire
    edge = max(1, size // 32)
    lit[:edge], lit[-edge:], lit[:, :edge], lit[:, -edge:] = 12, 12, 12, 12
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def store_video(path: Path, booth: Booth, shown: Shown) -> None:
    """Write a session as a video file (Motion JPEG in AVI).

    Raises:
        InputError: If the file cannot be written.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), shown.rate, (SIZE, SIZE))
    if not writer.isOpened():
        raise InputError(f"{path}: cannot be written as a video; expected a folder that exists and a name that ends in .avi")
    for look in shown.looks:
        writer.write(cv2.cvtColor(booth.picture(look), cv2.COLOR_GRAY2BGR))
    writer.release()


def read_video(path: Path) -> list[np.ndarray]:
    """Return the pictures of a video file, uint8 (H, W) each.

    Raises:
        InputError: If it holds none.
    """
    reader, pictures = cv2.VideoCapture(str(path)), []
    while (read := reader.read())[0]:
        pictures.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    reader.release()
    if not pictures:
        raise InputError(f"{path}: no pictures; expected a video file")
    return pictures


def record(booth: Booth, asked: Sequence[str], *, rules: Rules, challenge: int, seed: int) -> Replay:
    """Record the booth's person in a session of another time, store it as a video file, and return its replay on a screen."""
    shown = present(Obedient(booth), asked, rules=rules, challenge=challenge, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.avi"
        store_video(path, booth, shown)
        pictures = read_video(path)
    stored = {look.drawn(): picture for look, picture in zip(shown.looks, pictures, strict=True)}
    return Replay(replace(on_screen(booth), stored=stored), shown)


def on_screen(booth: Booth) -> Booth:
    """Return the booth whose person is seen on a screen."""
    return Booth(booth.person, booth.model, screen, phases=4)


@dataclass
class Replay:
    """A recorded session, played from its start whatever is asked, and over again."""

    booth: Booth
    recorded: Shown

    def show(self, time: float, prompt: str, since: float) -> Look:
        """See `ferlab.live.verification.acting.Actor`."""
        looks = self.recorded.looks
        return looks[round(time * self.recorded.rate) % len(looks)]


@dataclass
class Print:
    """A photograph on paper, moved to and fro and tilted both ways by up to 30 degrees."""

    booth: Booth

    def show(self, time: float, prompt: str, since: float) -> Look:
        """See `ferlab.live.verification.acting.Actor`."""
        return Look(tilt=30 * float(np.sin(1.1 * time)), moved=(0.3 * float(np.sin(0.7 * time)), 0.2 * float(np.sin(0.9 * time))))


@dataclass
class Stills:
    """Stills on a screen: at rest, each expression at its apex, eyes closed, head turned; the right one is put up after each prompt."""

    booth: Booth

    def show(self, time: float, prompt: str, since: float) -> Look:
        """See `ferlab.live.verification.acting.Actor`."""
        begun = since - self.booth.person.reaction
        if not prompt or begun < 0:
            return Look()
        return act(prompt, begun if prompt == BLINK else 10.0, 0.1)


@dataclass
class Guesser:
    """A person who knows that something is asked, and of what kind, but not what: acts an expression, or turns to a side, at random."""

    booth: Booth
    asked: Sequence[str]
    seed: int
    _guess: str = ""
    _prompt: str = ""
    _last: Look = field(default_factory=Look)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"guesses of {self.seed}")

    def show(self, time: float, prompt: str, since: float) -> Look:
        """See `ferlab.live.verification.acting.Actor`."""
        person = self.booth.person
        if prompt != self._prompt:
            self._prompt = prompt
            if prompt:
                self._guess = self._choose(prompt)
        if not prompt:
            return relax(self._last, since, person.onset)
        self._last = act(self._guess, since - person.reaction, person.onset)
        return self._last

    def _choose(self, prompt: str) -> str:
        if prompt == BLINK:
            return BLINK
        if prompt in SIGNS:
            return self._rng.choice((TURN_LEFT, TURN_RIGHT))
        return self._rng.choice(list(self.asked))


def presentations(
    model: Predicts, asked: Sequence[str], *, rules: Rules, subjects: int = 24, seed: int = 0, species: Sequence[str] = SPECIES
) -> pd.DataFrame:
    """Let simulated people, and each species of attack in their name, go through one check each.

    Args:
        model: Predicts the faces.
        asked: Expressions that the check asks for.
        rules: Of the check; the spoof and liveness models take no part.
        subjects: Number of people.
        seed: Of people and challenges.
        species: Of attacks.

    Returns:
        Rows of species ("bona fide" for people), subject, intensity of the apex, flag, score, seconds, asked and answered (numbers of
        expressions), failed (names of parts).
    """
    rules = replace(rules, least_real=None, least_live=None)
    rows = []
    for subject in range(subjects):
        booth = Booth(sample_person(seed, subject), model)
        for kind in (BONA_FIDE, *species):
            actor = _actor(kind, booth, asked, rules=rules, number=seed * 10_000 + subject)
            shown = present(actor, asked, rules=rules, challenge=seed * 10_000 + subject, seed=SEEDS[kind] + subject)
            rows.append({"species": kind, "subject": subject, "intensity": booth.person.intensity, **_outcome(shown, asked)})
    return pd.DataFrame(rows)


def read_presentations(path: Path = KEPT) -> pd.DataFrame:
    """Return presentations that were kept (tests/bench/expression_check.py); columns as of `presentations`.

    Raises:
        InputError: If the file is missing.
    """
    if not path.is_file():
        raise InputError(f"{path.name}: not there; restore it with git, or write it anew: python tests/bench/{KEPT.stem}.py")
    return pd.read_csv(path, keep_default_na=False)


def read_apexes() -> tuple[Recalls, pd.DataFrame]:
    """Return what was kept of `apex_confusions` of 40 other people, and `apex_answers` of the people of `read_presentations` by asked expression.

    Raises:
        InputError: If a file is missing.
    """
    for path in (APEX_CONFUSIONS, APEXES):
        if not path.is_file():
            raise InputError(f"{path.name}: not there; restore it with git, or write it anew: python tests/bench/{KEPT.stem}.py")
    confusions, answers = pd.read_csv(APEX_CONFUSIONS, index_col="expression"), pd.read_csv(APEXES, index_col="subject")
    return Recalls(confusions.to_numpy(), tuple(confusions.columns), "control faces"), answers.astype(bool)


def keep_apexes(recalls: Recalls, answers: np.ndarray, asked: Sequence[str]) -> None:
    """Write what `read_apexes` reads."""
    names = list(recalls.expressions)
    confusions = pd.DataFrame(recalls.confusions, index=pd.Index(names, name="expression"), columns=names)
    accepted = pd.DataFrame(np.asarray(answers, int), columns=list(asked)).rename_axis("subject")
    for path, table in ((APEX_CONFUSIONS, confusions), (APEXES, accepted)):
        write_whole(path, table.to_csv(lineterminator="\n").encode())


def _actor(kind: str, booth: Booth, asked: Sequence[str], *, rules: Rules, number: int) -> Actor:
    if kind.startswith("replay, "):
        challenge = number + OTHER * (kind == "replay, another order")
        return record(booth, asked, rules=rules, challenge=challenge, seed=SEEDS[kind] + OTHER)
    if kind == "print":
        return Print(Booth(booth.person, booth.model, paper))
    if kind == "stills exchanged":
        return Stills(on_screen(booth))
    if kind == "guesser":
        return Guesser(booth, asked, number)
    return Obedient(on_screen(booth) if kind == "replay on demand" else booth)


def _outcome(shown: Shown, asked: Sequence[str]) -> dict[str, object]:
    verdict = shown.verdict
    answers = [answer for answer in verdict.answers if answer.wanted in asked]
    failed = ", ".join(part.name for part in verdict.parts if part.outcome == FAILED)
    counts = {"asked": len(answers), "answered": sum(answer.passed for answer in answers)}
    return {"flag": verdict.flag, "score": verdict.score, "seconds": verdict.seconds, **counts, "failed": failed}


def apex_confusions(model: Predicts, *, subjects: int, seed: int, first: int = 1000) -> np.ndarray:
    """Count what the model predicts for people at the apex of each expression, int (K, K), rows actual; other people than in `presentations`."""
    names = model.expressions
    people = [sample_person(seed, first + number) for number in range(subjects)]
    faces = [Booth(person, model).picture(Look(name, 1.0)) for name in names for person in people]
    predicted = model.predict_faces(np.stack(faces)).argmax(axis=1).reshape(len(names), subjects)
    return np.stack([np.bincount(row, minlength=len(names)) for row in predicted])


def apex_answers(model: Predicts, asked: Sequence[str], *, rules: Rules, subjects: int, seed: int) -> np.ndarray:
    """Return which expressions the model would accept from each person of `presentations` at the apex, bool (subjects, len(asked)).

    One face each, by the check's own criteria: the most probable expression, at least `rules.least`, and risen from rest by `rules.rise`.
    """
    names, rows = model.expressions, []
    for subject in range(subjects):
        booth = Booth(sample_person(seed, subject), model)
        probs = model.predict_faces(np.stack([booth.picture(look) for look in (Look(), *(Look(name, 1.0) for name in asked))]))
        places = [names.index(name) for name in asked]
        shown = probs[1:][np.arange(len(asked)), places]
        rows.append((probs[1:].argmax(axis=1) == places) & (shown >= rules.least) & (shown - probs[0, places] >= rules.rise))
    return np.stack(rows)
