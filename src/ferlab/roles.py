"""What a split is to a run: trained on, selected on, or untouched. Pages, metrics and checks ask here; nobody else decides it.

A split selected on chose an epoch, a member or a weight: scores on it are the best of several. A split that was both trained on and
selected on counts as trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["untouched", "selected_on", "trained"]
RANKS: tuple[Role, ...] = ("untouched", "selected_on", "trained")
MARKS: dict[Role, str] = {"trained": "trained on", "selected_on": "selected its epoch", "untouched": ""}  # beside a split's scores
SELECTING_BEFORE = ("val",)  # of metrics and weights written before `selected_on` was


@dataclass(frozen=True)
class Exposure:
    """Which splits a run was trained on, and which it was selected on."""

    trained_on: tuple[str, ...] = ()
    selected_on: tuple[str, ...] = ()

    def role(self, split: str) -> Role:
        """Return what a split is to the run; `test_dedup` and other parts of test are what test is.

        >>> Exposure(("train",), ("val",)).role("val")
        'selected_on'
        """
        whole = split.split("_")[0]
        return "trained" if whole in self.trained_on else "selected_on" if whole in self.selected_on else "untouched"

    def beyond(self, other: Exposure) -> dict[str, Role]:
        """Return the splits of which this run has seen more than another has, each with its role here."""
        splits = dict.fromkeys((*self.trained_on, *self.selected_on))
        return {split: self.role(split) for split in splits if RANKS.index(self.role(split)) > RANKS.index(other.role(split))}


def planned(select: str, *, refit: bool) -> Exposure:
    """Return what a run will have seen, by `train.select` ("val", "test" or "none") and `train.refit`."""
    fitted = ("train", "val") if refit or select == "none" else ("train",)
    return Exposure(fitted, () if select == "none" else (select,))


def recorded(metrics: Mapping[str, Any]) -> Exposure:
    """Return what a run has seen, as its metrics record it (`trained_on`, `selected_on`)."""
    return Exposure(tuple(metrics.get("trained_on", ())), tuple(metrics.get("selected_on", SELECTING_BEFORE)))


def joint(exposures: Iterable[Exposure], *, selected_on: tuple[str, ...] = ()) -> Exposure:
    """Return what several runs have seen between them, as an ensemble has; `selected_on`: what chose its members or weights besides."""
    seen = list(exposures)
    fitted = dict.fromkeys(split for one in seen for split in one.trained_on)
    return Exposure(tuple(fitted), tuple(dict.fromkeys([*(split for one in seen for split in one.selected_on), *selected_on])))


def leak_sentence(more: Mapping[str, Role], seen: Exposure) -> str:
    """Say what one run has seen beyond another, whose own exposure is `seen`.

    >>> leak_sentence({"test": "selected_on"}, Exposure(("train",), ("val",)))
    'it was selected on test, which this run leaves untouched'
    """
    own = {"trained": "trains on", "selected_on": "only selects on", "untouched": "leaves untouched"}
    told = {"trained": "trained on", "selected_on": "selected on"}
    return ", and ".join(f"it was {told[role]} {split}, which this run {own[seen.role(split)]}" for split, role in more.items())


def listed(words: Iterable[str]) -> str:
    """Return words as a list in prose.

    >>> listed(["train", "val", "test"])
    'train, val and test'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
