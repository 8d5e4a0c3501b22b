"""Makes tables of attempts for tests of sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.expressions import EXPRESSIONS
from ferlab.live.session.files import SessionFacts, attempts_table
from ferlab.live.session.prompting import Attempt

TIME = "2026-05-31T12:00:00+00:00"


def facts(**changed: object) -> SessionFacts:
    given = {"person": "p-7k3q", "condition": "acted", "planned": 3, "seed": 1, "model": "shipped", "expressions": EXPRESSIONS}
    given |= {"kept": "numbers", "session": "20260531-120000-0a1b2c"}
    return SessionFacts(**(given | changed))


def peaked(predicted: str, *, second: str = "", expressions: tuple[str, ...] = EXPRESSIONS) -> np.ndarray:
    """Return probabilities (K,) with the most on one expression and the second most on another."""
    probs = np.full(len(expressions), 0.4 / len(expressions))
    probs[expressions.index(predicted)] += 0.4
    if second:
        probs[expressions.index(second)] += 0.2
    return (probs / probs.sum()).astype(np.float32)


def answers(*pairs: tuple[str, str | None], **changed: object) -> pd.DataFrame:
    """Return the table of a session from (prompt, predicted) pairs; None: no face."""
    attempts = [
        Attempt(number, prompt, None if predicted is None else peaked(predicted, second=prompt), 0 if predicted is None else 30)
        for number, (prompt, predicted) in enumerate(pairs, start=1)
    ]
    return attempts_table(facts(**changed), attempts, [TIME] * len(attempts))


def hits(correct: int, n: int, **changed: object) -> pd.DataFrame:
    """Return a session of n prompts, in turn of each expression, of which the first `correct` are predicted correctly and the others as another."""
    prompts = [EXPRESSIONS[place % 7] for place in range(n)]
    wrong = [EXPRESSIONS[(place + 1) % 7] for place in range(n)]
    return answers(*((prompt, prompt if place < correct else wrong[place]) for place, prompt in enumerate(prompts)), **changed)
