"""Experts for a pair of expressions: a second model decides where the first one's two most probable expressions are that pair. Without torch.

cs230 names such a pipeline as future work (Khanzada, Bai & Celepcikay, 2020, arXiv 2004.11823). Whether it is kept is decided on val, which may
have selected the epoch of the expert and favours it then; test measures what it brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.comparison import compare_pairs, correctness
from ferlab.evaluation.predictions import expressions_of, faces_in, predictions_table, probs_of
from ferlab.evaluation.proportions import LEVEL

TINY = 1e-12


def decide_pair(probs: np.ndarray, expert: np.ndarray, *, pair: tuple[int, int]) -> np.ndarray:
    """Return the probabilities of the pipeline, float64 (N, K).

    Args:
        probs: Of the first model (N, K).
        expert: Of the expert (N, K); only their ratio within the pair is used.
        pair: The two classes.

    Returns:
        Where the two largest of `probs` are the pair, their sum is divided by the expert's ratio; elsewhere `probs`.
    """
    decided, pair_list = probs.astype(np.float64), list(pair)
    asked = is_asked(probs, pair=pair)
    ratio = expert[:, pair_list].astype(np.float64) + TINY
    shared = decided[:, pair_list].sum(axis=1, keepdims=True) * ratio / ratio.sum(axis=1, keepdims=True)
    decided[np.ix_(asked, pair_list)] = shared[asked]
    return decided


def is_asked(probs: np.ndarray, *, pair: tuple[int, int]) -> np.ndarray:
    """Return for which faces the two largest probabilities are those of the pair, (N,) bool."""
    return (np.sort(np.argsort(probs, axis=1, kind="stable")[:, -2:], axis=1) == np.sort(pair)).all(axis=1)


def compare_experts(
    predictions: Mapping[str, pd.DataFrame], runs: Mapping[str, Mapping[str, Any]], experts: Sequence[Sequence[str]], *, trained_on: Mapping[str, Any]
) -> pd.DataFrame:
    """Return what each pipeline changes, on val and test.

    Args:
        predictions: Per run its predictions table.
        runs: The runs as in params.
        experts: Pairs of a run and its expert.
        trained_on: Per run the splits that it was trained on; val is not reported where it is one.

    Returns:
        Two rows per pipeline at most: `run, expert, pair, split`, `asked` (faces that the expert decides), `changed`, `accuracy_before`,
        `accuracy`, and of the pipeline minus the run the columns of `compare_pairs` from `n` on (Holm over the pipelines of a split). `kept`:
        whether on val the difference is positive and significant at the 5 % level; None where val was trained on.
    """
    tables = []
    for split in ("val", "test"):
        usable = [pair for pair in experts if split == "test" or "val" not in trained_on[pair[0]]]
        rows, pipelines = [], {}
        for run, expert in usable:
            table, own, names = _pipeline(predictions[run], predictions[expert], runs[expert]["train"]["expressions"], split)
            key = f"{run} + {expert}"
            pipelines |= {run: faces_in(predictions[run], split), key: table}
            rows.append({"run": run, "expert": expert, "pair": " and ".join(names), "split": split, **own})
        tested = compare_pairs(pipelines, split, pairs=[(f"{run} + {expert}", run) for run, expert in usable])
        tables.append(pd.concat([pd.DataFrame(rows), tested.drop(columns=["run_a", "run_b"])], axis=1))
    found = pd.concat(tables, ignore_index=True)
    if found.empty:
        return found
    on_val = found[found["split"] == "val"].set_index(["run", "expert"])
    better = (on_val["difference"] > 0) & (on_val["p_holm"] < 1 - LEVEL)
    kept = [bool(better[key]) if (key := (row["run"], row["expert"])) in better.index else None for row in found.to_dict("records")]
    return found.assign(kept=pd.Series(kept, dtype=object))


def _pipeline(first: pd.DataFrame, second: pd.DataFrame, names: Sequence[str], split: str) -> tuple[pd.DataFrame, dict[str, Any], Sequence[str]]:
    correctness({"run": first, "expert": second}, split)  # which raises unless the faces are the same
    rows, expert, expressions = faces_in(first, split), faces_in(second, split), expressions_of(first)
    pair = (expressions.index(names[0]), expressions.index(names[1]))
    probs = probs_of(rows)
    decided = decide_pair(probs, probs_of(expert), pair=pair)
    known = {"expressions": expressions, "subjects": rows.get("subject")}
    table = predictions_table(rows["face_id"], rows["split"], rows["target"].to_numpy(), probs=decided, **known)
    own = {
        "asked": int(is_asked(probs, pair=pair).sum()),
        "changed": int((table["pred"].to_numpy() != rows["pred"].to_numpy()).sum()),
        "accuracy_before": float((rows["pred"] == rows["target"]).mean()),
        "accuracy": float((table["pred"] == table["target"]).mean()),
    }
    return table, own, names
