"""Presentation attack detection: error rates per species with intervals, and the chances of a challenge with random prompts.

| name | what it is |
|---|---|
| APCER | attack presentations of one species classified as bona fide; over species the largest counts |
| BPCER | bona fide presentations classified as attacks |
| APNRR, BPNRR | presentations that were not decided (non-response) |
| ACER | mean of the largest APCER and of BPCER, which competitions report; not a metric of the standard |

Chances are exact. Prompts are drawn independently, so the number of answers that agree with a guess is binomial.

References:
    ISO/IEC 30107-3 (2023), Biometric presentation attack detection: testing and reporting.
    Boulkenafet et al. (2017), OULU-NPU: APCER as the largest over the species, ACER.
    Clopper & Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import beta, binom

from ferlab.evaluation.confusion_posterior import mean_bounds
from ferlab.evaluation.proportions import LEVEL, wilson
from ferlab.expressions import EXPRESSIONS

NEUTRAL = EXPRESSIONS[-1]
BONA_FIDE = "bona fide"
PASSED, FAILED, UNDECIDED = "passed", "failed", "not decided"


def clopper_pearson(successes: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion; (nan, nan) where n is 0.

    >>> [round(bound, 4) for bound in clopper_pearson(0, 20)]
    [0.0, 0.1684]
    """
    if n == 0:
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    return low, float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0


def attack_rates(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the APCER of each species, in the order of their first presentation.

    Args:
        outcomes: One row a presentation: `species`, `flag` ("passed", "failed" or "not decided"). Bona fide rows do not count.

    Returns:
        Rows of species, n, passed, not_decided, apcer with Wilson's bounds (`_ci_low`, `_ci_high`) and Clopper and Pearson's (`_exact_low`,
        `_exact_high`), apnrr.
    """
    attacks = outcomes[outcomes["species"] != BONA_FIDE]
    return pd.DataFrame([{"species": name, **_rate(rows["flag"], PASSED, "apcer", "apnrr")} for name, rows in attacks.groupby("species", sort=False)])


def detection_rates(outcomes: pd.DataFrame) -> dict[str, float | int | str]:
    """Return the largest APCER with its species, BPCER, BPNRR and ACER, each with its 95 % interval.

    The interval of ACER follows from Wilson's of both (Zou & Donner, 2008); that the largest APCER was chosen after the fact is not part of it.

    Args:
        outcomes: As for `attack_rates`, with rows of the species "bona fide".

    Raises:
        ValueError: If there are no bona fide or no attack presentations.
    """
    species, real = attack_rates(outcomes), outcomes[outcomes["species"] == BONA_FIDE]
    if species.empty or real.empty:
        raise ValueError(f"Expected attacks and bona fide presentations, got {len(outcomes) - len(real)} and {len(real)}")
    worst = species.loc[species["apcer"].idxmax()].to_dict()
    people = _rate(real["flag"], FAILED, "bpcer", "bpnrr")
    pairs = [(worst["apcer_ci_low"], worst["apcer_ci_high"]), (people["bpcer_ci_low"], people["bpcer_ci_high"])]
    acer = np.array([worst["apcer"], people["bpcer"]])
    low, high = mean_bounds(acer, pairs)
    attack = {"worst_species": worst["species"], **{key: worst[key] for key in worst if key.startswith("apcer")}, "attacks": worst["n"]}
    bona_fide = {"people": people.pop("n"), **{key: value for key, value in people.items() if key.startswith("bp")}}
    return {**attack, **bona_fide, "acer": float(acer.mean()), "acer_ci_low": low, "acer_ci_high": high}


def _rate(flags: pd.Series, error: str, name: str, silent: str) -> dict[str, float | int]:
    n, errors, undecided = len(flags), int((flags == error).sum()), int((flags == UNDECIDED).sum())
    bounds = {"ci": wilson(errors, n), "exact": clopper_pearson(errors, n)}
    named = {f"{name}_{kind}_{side}": pair[place] for kind, pair in bounds.items() for place, side in enumerate(("low", "high"))}
    passed = int((flags == PASSED).sum())
    return {"n": n, "passed": passed, "not_decided": undecided, name: errors / n, **named, silent: undecided / n}


def det_points(bona_fide: np.ndarray, attacks: np.ndarray) -> pd.DataFrame:
    """Return both errors at every threshold: a presentation passes whose score reaches it.

    Args:
        bona_fide: (N,) scores of people.
        attacks: (M,) scores of one species of attack.

    Returns:
        Rows of threshold (rising, the last above every score), apcer (falls) and bpcer (rises).
    """
    scores = np.unique(np.concatenate([bona_fide, attacks]))
    thresholds = np.append(scores, np.nextafter(scores[-1], np.inf))
    apcer = (np.asarray(attacks)[None] >= thresholds[:, None]).mean(axis=1)
    bpcer = (np.asarray(bona_fide)[None] < thresholds[:, None]).mean(axis=1)
    return pd.DataFrame({"threshold": thresholds, "apcer": apcer, "bpcer": bpcer})


def prompt_chances(confusions: np.ndarray, expressions: Sequence[str], asked: Sequence[str]) -> pd.DataFrame:
    """Return the chance that a prompt is answered, per expression that is asked for, from a confusion matrix.

    `at_once`: recall, the chance of one look. `in_time`: recall among predictions other than neutral, since a face that is predicted as neutral has
    not answered yet and may act on. A person in front of a camera lies between the two where faces act like those of the matrix.

    Args:
        confusions: (K, K) counts, rows actual.
        expressions: K names.
        asked: Those that are asked for.
    """
    rows = []
    for name in asked:
        counts = np.asarray(confusions)[list(expressions).index(name)]
        hits, n = int(counts[list(expressions).index(name)]), int(counts.sum())
        others = n - int(counts[list(expressions).index(NEUTRAL)]) if NEUTRAL in expressions else n
        low, high = wilson(hits, n)
        in_time = hits / others if others else float("nan")
        rows.append({"expression": name, "n": n, "hits": hits, "answers": others, "at_once": hits / n if n else float("nan"),
                     "at_once_ci_low": low, "at_once_ci_high": high, "in_time": in_time})  # fmt: skip
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Challenge:
    """What a check asks for, as far as chances depend on it.

    Attributes:
        expressions: How many different ones are asked for.
        prompts: How many are asked for.
        misses: How many may be missed.
        turn: Whether a head turn to a random side is asked for.
        blink: Whether a blink is asked for.
        tries: Checks that a presenter may go through.
    """

    expressions: int
    prompts: int
    misses: int
    turn: bool = True
    blink: bool = True
    tries: int = 1

    def passes(self, success: float | np.ndarray) -> np.ndarray:
        """Return the chance of at most `misses` misses in one of `tries` checks, where every prompt succeeds with this chance."""
        once = binom.sf(self.prompts - self.misses - 1, self.prompts, success)
        return 1 - (1 - once) ** self.tries

    def guess(self) -> float:
        """Return the chance of a person who does not see the prompts, whose every expression is recognised, and who blinks when asked."""
        return float(1 - (1 - self._agreement() / (2 if self.turn else 1)) ** self.tries)

    def replay(self) -> float:
        """Return the chance that a recorded session is of the same challenge: its blink and turn in the same places, too."""
        k, actions = self.prompts, self.turn + self.blink
        places = 1 if not actions else k + 1 if actions == 1 else (k + 1) * (k + 2)
        return float(1 - (1 - self._agreement() / (2 if self.turn else 1) / places) ** self.tries)

    def person(self, successes: np.ndarray) -> float:
        """Return the chance that a person passes, each prompt's expression being drawn anew.

        Args:
            successes: (expressions,) chance that a prompt for each is answered; or (P, expressions), one row a person, whose mean is returned:
                where people differ, the mean recall promises too much.
        """
        return float(self.passes(np.atleast_2d(successes).mean(axis=1)).mean())

    def _agreement(self) -> float:
        return float(binom.sf(self.prompts - self.misses - 1, self.prompts, 1 / self.expressions))


def person_bounds(challenge: Challenge, hits: Sequence[int], n: Sequence[int], *, draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of `Challenge.person` that follows from the counts behind each recall (Jeffreys' posterior).

    Args:
        challenge: What is asked for.
        hits: (expressions,) faces of each that were predicted correctly.
        n: (expressions,) faces of each.
        draws: From the posterior.
        seed: Of the draws.
    """
    rng, right, all_of = np.random.default_rng(seed), np.asarray(hits), np.asarray(n)
    means = rng.beta(right + 0.5, all_of - right + 0.5, size=(draws, len(right))).mean(axis=1)
    low, high = np.quantile(challenge.passes(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def plan_prompts(successes: Sequence[float], *, most_prompts: int = 10, most_misses: int = 2, tries: int = 1) -> pd.DataFrame:
    """Return what each number of prompts and allowed misses gives: chances of a guesser and of a replay, and people who fail.

    Args:
        successes: (expressions,) chance that a prompt for each is answered.
        most_prompts: The largest number of prompts.
        most_misses: The largest number of allowed misses.
        tries: Checks that a presenter may go through.

    Returns:
        Rows of prompts, misses, guess, replay, bpcer.
    """
    chances = np.asarray(successes, np.float64)
    pairs = [(prompts, misses) for prompts in range(1, most_prompts + 1) for misses in range(min(most_misses + 1, prompts))]
    plans = [Challenge(len(chances), prompts, misses, tries=tries) for prompts, misses in pairs]
    return pd.DataFrame(
        [{"prompts": p.prompts, "misses": p.misses, "guess": p.guess(), "replay": p.replay(), "bpcer": 1 - p.person(chances)} for p in plans]
    )


def cheapest_plans(plans: pd.DataFrame, chances: Sequence[float]) -> pd.DataFrame:
    """Return for each wanted chance of a guesser the plan of `plan_prompts` that fewest people fail, then with fewest prompts.

    A row of NaN where no plan is secure enough.
    """
    rows = []
    for most in chances:
        secure = plans[plans["guess"] <= most].sort_values(["bpcer", "prompts"], kind="stable")
        rows.append({"wanted": most, **(secure.iloc[0].to_dict() if len(secure) else dict.fromkeys(plans.columns, float("nan")))})
    return pd.DataFrame(rows)
