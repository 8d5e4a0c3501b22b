"""Votes by hand, FER+'s known ceilings, and the comparison with probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from held_out_faces import NAMES, SEEN, face_table, predictions
from scipy.special import rel_entr

from ferlab.data.faces import VOTES
from ferlab.data.readers.ferplus import BALLOT, read_votes
from ferlab.evaluation.held_out import hold_out
from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.scaling import scale_held_out
from ferlab.evaluation.votes import leave_one_out, score_votes, share_bins, soft_scores, vote_columns, vote_shares

FERPLUS = Path(__file__).parents[3] / "shared" / "data" / "fer2013new.csv"


def voted(n: int, *, seed: int = 0, certain: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return predictions and a face table with ten votes a face, drawn from the true probabilities of the expressions."""
    table, faces = predictions(n, seed=seed), face_table(n)
    rng, probs = np.random.default_rng(seed + 1), probs_of(table).astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    counts = rng.multinomial(10, probs) if not certain else 10 * np.eye(4, dtype=int)[table["target"]]
    for name in BALLOT:
        faces[VOTES + name] = counts[:, NAMES.index(name)] if name in NAMES else 0
    return table, faces


def test_leave_one_out_by_hand() -> None:
    """5, 4, 1: a vote of the 5 ties with the 4 (one half), one of the 4 or the 1 never wins."""
    counts = np.array([[5, 4, 1], [10, 0, 0], [1, 0, 0]])
    found = leave_one_out(counts)
    assert found[:2] == pytest.approx([5 * 0.5 / 10, 1])
    assert np.isnan(found[2])
    assert leave_one_out(counts[:2], np.array([1, 0])) == pytest.approx([5 * 0.5 / 10, 1]), "the second ties where one of the first five is left"
    assert leave_one_out(counts[:2], np.array([0, 1])) == pytest.approx([5 * 0.5 / 10 + 5 / 10, 0])


def test_leave_one_out_is_the_loop_over_votes() -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(7, [0.4, 0.3, 0.2, 0.1], size=40)
    for row, found in zip(counts, leave_one_out(counts), strict=True):
        votes = np.repeat(np.arange(4), row)
        agreements = []
        for left, vote in enumerate(votes):
            others = np.bincount(np.delete(votes, left), minlength=4)
            best = np.flatnonzero(others == others.max())
            agreements.append((vote in best) / len(best))
        assert found == pytest.approx(np.mean(agreements))


@pytest.mark.skipif(not FERPLUS.is_file(), reason="FER+ is not at hand")
@pytest.mark.parametrize(("usage", "expected"), [("Training", 0.698), ("PublicTest", 0.733)])
def test_the_ceilings_of_ferplus_are_those_known(usage, expected) -> None:
    votes = read_votes(FERPLUS.read_bytes(), where="fer2013new.csv")
    counts = votes.loc[votes["Usage"] == usage, vote_columns(votes)].to_numpy()
    assert np.nanmean(leave_one_out(counts)) == pytest.approx(expected, abs=0.0005)


def test_shares_are_over_the_models_expressions_of_faces_that_have_half_of_their_votes_there() -> None:
    faces = pd.DataFrame({VOTES + "angry": [6, 2, 0], VOTES + "happy": [2, 2, 0], VOTES + "unknown": [2, 6, 0]})
    shares = vote_shares(faces, ("angry", "happy"))
    assert shares[0] == pytest.approx([0.75, 0.25])
    assert np.isnan(shares[1:]).all()


def test_divergence_and_brier_are_those_of_scipy_and_hand() -> None:
    rng = np.random.default_rng(0)
    shares, probs = rng.multinomial(10, [0.7, 0.2, 0.1], size=50) / 10, rng.dirichlet(np.ones(3), 50)
    units = np.arange(50).astype(str)
    found = soft_scores(shares, {"none": probs, "exact": shares}, units)
    assert found["scalings"]["none"]["kl"] == pytest.approx(rel_entr(shares, probs).sum(axis=1).mean())
    assert found["scalings"]["none"]["brier"] == pytest.approx(((shares - probs) ** 2).sum(axis=1).mean())
    exact = found["scalings"]["exact"]
    assert (exact["kl"], exact["brier"], exact["ece"]) == pytest.approx((0, 0, 0), abs=1e-12)
    assert exact["difference"] == pytest.approx(-found["scalings"]["none"]["kl"])
    assert exact["difference_ci_high"] < 0
    assert found["mean_kl"] == pytest.approx(rel_entr(shares, shares.mean(axis=0)).sum(axis=1).mean())
    assert soft_scores(np.full((50, 3), np.nan), {"none": probs}, units) is None


def test_bins_hold_mean_confidence_and_mean_share_of_the_prediction() -> None:
    shares, probs = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([[0.99, 0.01], [0.97, 0.03], [0.4, 0.6]])
    bins = share_bins(shares, probs)
    assert bins.index.tolist() == [9, 14]
    assert bins.loc[14].tolist() == pytest.approx([2, 0.98, 0.7])
    assert bins.loc[9].tolist() == pytest.approx([1, 0.6, 0.8])


def test_a_model_of_the_votes_own_probabilities_is_softly_calibrated() -> None:
    table, faces = voted(2000)
    held = hold_out(table, faces, SEEN)
    found = score_votes(held, faces, {"none": probs_of(held.judging)})
    assert found["soft"]["scalings"]["none"]["ece"] < 0.02
    assert found["soft"]["scalings"]["none"]["kl"] < 0.25 * found["soft"]["mean_kl"]
    assert found["model"] > found["annotator"], "it knows the distribution, an annotator is a draw of it"
    assert found["annotator"] == pytest.approx(found["label"], abs=0.03), "labels are drawn as votes are"


def test_levels_and_two_labels() -> None:
    table, faces = voted(1500)
    held = hold_out(table, faces, SEEN)
    found = score_votes(held, faces, {"none": probs_of(held.judging)})
    levels = {row["level"]: row for row in found["levels"]}
    assert sum(row["n"] for row in levels.values()) == found["n"] == 1500
    assert levels["all"]["annotator"] == 1 > levels["80 % or more"]["annotator"] > levels["fewer"]["annotator"]
    assert levels["all"]["accuracy"] > levels["fewer"]["accuracy"]
    counts = faces[[VOTES + name for name in NAMES]].to_numpy()[1500:]
    counts = np.where(counts > 1, counts, 0)  # FER+ drops single votes
    two = (10 * counts >= 3 * counts.sum(axis=1, keepdims=True)) & (counts > 0)
    rows = two.sum(axis=1) == 2
    order = np.argsort(-probs_of(held.judging), axis=1)[rows, :2]
    assert found["labels"]["n"] == rows.sum() > 50
    assert found["labels"]["first"] == pytest.approx(np.take_along_axis(two[rows], order, axis=1)[:, 0].mean())
    assert found["labels"]["both"] == pytest.approx(np.take_along_axis(two[rows], order, axis=1).all(axis=1).mean())


def test_the_order_of_rows_changes_nothing() -> None:
    table, faces = voted(200)
    results = []
    for rows in (table, table.sample(frac=1, random_state=0)):
        held = hold_out(rows, faces, SEEN)
        results.append(score_votes(held, faces.sample(frac=1, random_state=len(results)), scale_held_out(held)[0]))
    assert results[0] == results[1]


def test_without_votes_of_the_expressions_there_is_nothing_to_compare() -> None:
    table, faces = voted(20)
    held = hold_out(table, faces, SEEN)
    scaled = {"none": probs_of(held.judging)}
    assert score_votes(held, face_table(20), scaled) is None
    assert score_votes(held, faces.drop(columns=VOTES + "happy"), scaled) is None
    assert score_votes(held, faces.assign(**dict.fromkeys(vote_columns(faces), 0)), scaled) is None
    one = score_votes(held, voted(20, certain=True)[1], scaled)
    assert [row["n"] for row in one["levels"]] == [20, 0, 0, 0]
    assert one["levels"][1]["accuracy"] is None
    assert one["labels"]["n"] == 0
    assert one["labels"]["first"] is None
    others = faces.drop(columns=VOTES + "not_a_face")
    assert score_votes(held, others, scaled)["labels"] is None
