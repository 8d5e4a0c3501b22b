"""What a prediction is worth: calibrated confidences, abstention below a stated risk, and how often each predicted expression was right on test.

`ferlab.deployment.confidence_card` computes these from predictions; they travel in the model's file. This reads them and starts neither torch nor
pandas. A model without them has raw confidences, never abstains, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from ferlab.evaluation.temperature import HIGHEST, LOWEST, scale
from ferlab.evaluation.vector_scaling import LARGEST_BIAS, scale_by_class
from ferlab.paths import InputError

KEY = "confidence"  # of a model's card
LEVEL = 0.95  # of `ferlab.evaluation.abstention`, which starts statsmodels
WORDS = 400  # letters of a text in a card, at most


class Precision(NamedTuple):
    """How often the prediction of one expression was right.

    Attributes:
        right: Faces predicted as the expression and labelled so.
        n: Faces predicted as it.
        low: Lower bound of right / n (Wilson, 95 %); 0 where n is 0.
        high: Its upper bound; 1 where n is 0.
        confused_with: The most frequent label of the others; "" where there are none.
    """

    right: int
    n: int
    low: float
    high: float
    confused_with: str


@dataclass(frozen=True)
class Confidence:
    """See the module; made by `from_card`.

    Attributes:
        temperature: Of `ferlab.evaluation.temperature.scale`; None where none was fitted.
        weights: Of vector scaling, one per expression; empty where none was fitted, as in files written before it.
        biases: Of vector scaling, in nats.
        fitted_on: The faces that fitted scalings and threshold, in words; where there are none, why.
        risk: Stated error rate among accepted faces; None where no threshold was looked for.
        threshold: Calibrated confidence below which the model abstains; None where no threshold keeps the risk.
        thresholds: Those of other risks, risk -> threshold or None; see `at_risk`.
        precision: Per predicted expression.
        measured_on: The test faces of `precision`, in words.
    """

    temperature: float | None = None
    weights: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()
    fitted_on: str = ""
    risk: float | None = None
    threshold: float | None = None
    thresholds: Mapping[float, float | None] = field(default_factory=dict)
    precision: Mapping[str, Precision] = field(default_factory=dict)
    measured_on: str = ""

    @classmethod
    def from_card(cls, card: Mapping[str, Any], *, where: str = "the model") -> Confidence:
        """Read the part `confidence` of a model's card; without one, nothing is known.

        Raises:
            InputError: If a value is of another kind or beyond its range.
        """
        part = card.get(KEY) or {}
        try:
            return _read(part, tuple(card.get("expressions", ())))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            raise InputError(f"{where}: `{KEY}` of its card cannot be read ({reason}); expected what the deploy stage writes") from None

    def calibrate(self, probs: np.ndarray, *, by: str = "temperature") -> np.ndarray:
        """Return calibrated probabilities (N, K) float32 of raw ones; unchanged where no temperature was fitted.

        Args:
            probs: (N, K) raw probabilities.
            by: "temperature", which changes no prediction and belongs to the threshold, or "vector", which may change some.

        Raises:
            InputError: If vector scaling is asked for and the card has none, or `by` is neither.
        """
        if by == "vector":
            if not self.weights:
                raise InputError("calibrate by vector: the model's card has no vector scaling; deploy the run again, or calibrate by temperature")
            return scale_by_class(probs, np.array(self.weights), np.array(self.biases))
        if by != "temperature":
            raise InputError(f"calibrate by {by!r}: expected temperature or vector")
        return probs if self.temperature is None else scale(probs, self.temperature)

    def abstains(self, probs: np.ndarray) -> np.ndarray:
        """Return (N,) bool: whether the model abstains from each face, by its calibrated probabilities (N, K)."""
        if self.threshold is None:
            return np.zeros(len(probs), dtype=bool)
        return np.asarray(probs, dtype=np.float64).max(axis=1, initial=0) < self.threshold

    def at_risk(self, risk: float) -> Confidence:
        """Return the same with the threshold of another risk.

        Raises:
            InputError: If the card has no threshold for it.
        """
        if risk not in self.thresholds:
            known = ", ".join(f"{each:g}" for each in sorted(self.thresholds)) or "none: the model's card has no thresholds"
            raise InputError(f"risk {risk:g}: expected one of {known}")
        return replace(self, risk=risk, threshold=self.thresholds[risk])

    def precision_of(self, expression: str) -> Precision | None:
        """Return how often the prediction of an expression was right on test; None where that is unknown."""
        return self.precision.get(expression)

    def confused_with(self, expression: str) -> str:
        """Return the most frequent label of faces wrongly predicted as an expression; "" where unknown."""
        return self.precision[expression].confused_with if expression in self.precision else ""

    def sentence(self, expression: str) -> str:
        """Say how often the prediction of an expression was right."""
        found = self.precision_of(expression)
        if found is None:
            return f"How often the prediction {expression} is right is unknown: the model's card has no test predictions."
        if not found.n:
            return f"No test face was predicted as {expression} ({self.measured_on})."
        rate = f"{100 * found.right / found.n:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
        others = f"; the most frequent label of the others is {found.confused_with}" if found.confused_with else ""
        return f"Of {found.n:,} test faces predicted as {expression}, {found.right:,} are labelled so ({rate}){others} ({self.measured_on})."

    def calibration_sentence(self) -> str:
        """Say whether confidences are calibrated, and on what."""
        if self.temperature is None:
            return f"Confidences are not calibrated: {self.fitted_on or 'the card of the model has no temperature'}."
        return f"Confidences are calibrated: temperature {self.temperature:.2f}, fitted on {self.fitted_on}."

    def abstention_sentence(self) -> str:
        """Say when the model abstains."""
        if self.risk is None:
            return "The model never abstains: no threshold was fitted."
        stated = f"an error rate of at most {100 * self.risk:g} %"
        if self.threshold is None:
            return f"The model never abstains: no threshold was found that keeps {stated} among accepted faces."
        sure = f"with {100 * LEVEL:.0f} % probability, on faces like those that fitted the threshold"
        if self.threshold == 0:
            return f"The model abstains from no face: all together keep {stated} ({sure})."
        return f"Below a confidence of {100 * self.threshold:.1f} % the prediction is uncertain; the others keep {stated} ({sure})."


def _read(part: Mapping[str, Any], expressions: tuple[str, ...]) -> Confidence:
    rows, risk = part.get("abstention") or [], _number(part.get("risk"), 0, 1)
    weights, biases = _read_vector(part.get("vector"), len(expressions))
    thresholds = {_number(row["risk"], 0, 1): _number(row["threshold"], 0, 1) for row in rows}
    return Confidence(
        temperature=_number(part.get("temperature"), LOWEST, HIGHEST),
        weights=weights,
        biases=biases,
        fitted_on=_text(part.get("fitted_on", "")),
        risk=risk,
        threshold=None if risk is None else thresholds[risk],
        thresholds=thresholds,
        precision={name: _read_precision(row, expressions) for name, row in (part.get("precision") or {}).items() if name in expressions},
        measured_on=_text(part.get("measured_on", "")),
    )


def _read_vector(row: Mapping[str, Any] | None, classes: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return weights and biases, one of either per expression; none where the card has none."""
    if row is None:
        return (), ()
    values = []
    for key, low, high in (("weights", LOWEST, HIGHEST), ("biases", -LARGEST_BIAS, LARGEST_BIAS)):
        read = [_number(value, low, high) for value in row[key]]
        known = tuple(value for value in read if value is not None)
        if not (type(row[key]) is list and len(known) == len(read) == classes):
            raise ValueError(f"vector {key} {row[key]!r:.40}")
        values.append(known)
    return values[0], values[1]


def _read_precision(row: Mapping[str, Any], expressions: tuple[str, ...]) -> Precision:
    right, n, confused = row["right"], row["n"], row["confused_with"]
    if not (type(right) is type(n) is int and 0 <= right <= n):
        raise ValueError(f"{right!r} right of {n!r}")
    if confused not in (*expressions, ""):
        raise ValueError(f"confused_with {confused!r:.40}")
    low, high = (_number(row[key], 0, 1) for key in ("ci_low", "ci_high"))
    return Precision(right, n, 0.0 if low is None else low, 1.0 if high is None else high, confused)


def _number(value: Any, low: float, high: float) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not (isfinite(value) and low <= value <= high):
        raise ValueError(f"{value!r:.40} where a number from {low} to {high} is expected")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > WORDS or not value.isprintable():
        raise ValueError(f"{value!r:.40} where one line of text is expected")
    return value
