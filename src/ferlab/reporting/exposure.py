"""Sentences on which splits a run was trained and selected on, and what its scores are worth then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ferlab.roles import MARKS, Exposure, joint, listed, recorded

BIASED = "scores on {} describe the best of several epochs and are optimistically biased"
TRAINING = "scores on {} are training scores"


def exposure_sentence(seen: Exposure) -> str:
    """Say what a model was trained on, what selected its epoch, and what its scores on val and test are worth then."""
    selected = [split for split in seen.selected_on if seen.role(split) == "selected_on"]
    told = [f"The model was trained on {listed(seen.trained_on)}; {_selection(seen)}."]
    told += [f"{TRAINING.format('val').capitalize()}."] if seen.role("val") == "trained" else []
    told += [f"{BIASED.format(listed(selected)).capitalize()}."] if selected else []
    untouched = [split for split in ("val", "test") if seen.role(split) == "untouched"]
    told += [f"This run neither trained nor selected on {listed(untouched)}."] if untouched else []
    return " ".join(told)


def _selection(seen: Exposure) -> str:
    if not seen.selected_on:
        return "no split selected its epoch, the last is kept"
    if seen.role(seen.selected_on[0]) == "trained":
        return f"the number of epochs had been selected on {listed(seen.selected_on)}"
    return f"its epoch was selected on {listed(f'**{split}**' if split == 'test' else split for split in seen.selected_on)}"


def scores_sentence(seen: Exposure, split: str) -> str:
    """Say what scores on a split are worth; "" where it was untouched."""
    told = {"trained": TRAINING, "selected_on": BIASED, "untouched": ""}[seen.role(split)].format(split)
    return f"{told.capitalize()}." if told else ""


def trained_sentence(seen: Exposure, split: str) -> str:
    """Say that a model was trained on the faces of a split; "" where it was not."""
    return f"**The model was trained on these {split} faces.**" if seen.role(split) == "trained" else ""


def split_sentence(seen: Exposure, split: str) -> str:
    """Say what the errors of a split are worth, by what it was to the run."""
    role = seen.role(split)
    if role == "trained":
        return f"{trained_sentence(seen, split)} Its errors and label issues are in-sample: expect more on new faces."
    if role == "selected_on":
        return f"The model was not trained on these {split} faces, but they selected its epoch: the error rate is optimistically biased."
    used = " Changes made after looking at them are tuned on them." if split == "test" else ""
    return f"This run neither trained nor selected on these {split} faces.{used}"


def runs_sentence(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which runs were trained and selected on what, runs of one exposure together.

    Args:
        metrics: Per run what evaluate wrote.
    """
    runs: dict[Exposure, list[str]] = {}
    for name, of in metrics.items():
        runs.setdefault(recorded(of), []).append(name)
    return " ".join(_runs_of_one_kind(seen, "all runs" if len(runs) == 1 else ", ".join(names)) for seen, names in runs.items())


def _runs_of_one_kind(seen: Exposure, who: str) -> str:
    selected = f"epoch selected on {listed(seen.selected_on)}" if seen.selected_on else "no split selected the epoch"
    worth = [TRAINING.format("val")] if seen.role("val") == "trained" else []
    worth += ["**" + BIASED.format("test") + "**"] if seen.role("test") == "selected_on" else []
    return f"Trained on {listed(seen.trained_on)}, {selected}: {who}{''.join(f'; {part}' for part in worth)}."


def ensembles_sentence(
    members: Mapping[str, Sequence[str]], metrics: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """Say of the ensembles of each set which of their scores are biased, by what their members have seen; "" where there is nothing to say.

    Args:
        members: Set -> the runs that vote; sets of one run have no ensemble.
        metrics: Per run what evaluate wrote.
        weights: Set -> run -> its weight, fitted on val.
    """
    told = [_of_ensemble(name, {run: recorded(metrics[run]) for run in runs}) for name, runs in members.items() if len(runs) > 1]
    told += [f"On {name} the weights were fitted on val: of the fitted ensemble, val scores are in-sample." for name in weights or {}]
    return " ".join(filter(None, told))


def _of_ensemble(name: str, seen: Mapping[str, Exposure]) -> str:
    whole, told = joint(seen.values()), []
    for split, role, word in (("val", "trained", "trained on it"), ("test", "selected_on", "selected on it")):
        if whole.role(split) == role:
            told.append(f"{split} scores are biased by {', '.join(run for run, one in seen.items() if one.role(split) == role)} ({word})")
    return f"Of the ensemble on {name}, {' and '.join(told)}." if told else ""


def role_mark(seen: Exposure, split: str) -> str:
    """Return what stands beside a split's scores in a table: "trained on", "selected its epoch", or "" where it was untouched."""
    return MARKS[seen.role(split)]
