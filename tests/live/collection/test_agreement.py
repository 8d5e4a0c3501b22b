"""A second label: given blind, kept beside the first, and its agreement as in the literature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from collected import filled

from ferlab.live.collection.agreement import blind_queue, measure_agreement, two_labels


def pairs(own: list[str], second: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"own": own, "second": second, "person": "p-2222", "file": [f"{place}.png" for place in range(len(own))]})


def test_kappa_is_cohens_own_example():
    """Cohen (1960), table 1: proportions .25 .13 .12 / .12 .02 .16 / .03 .15 .02 of 200: agreement .29, chance .41, kappa -.20 (of 3 categories)."""
    counts = np.array([[50, 26, 24], [24, 4, 32], [6, 30, 4]])
    own = np.repeat(["angry", "disgust", "fear"], counts.sum(axis=1)).tolist()
    second = [name for row in counts for name, count in zip(["angry", "disgust", "fear"], row) for _ in range(count)]
    found = measure_agreement(pairs(own, second))
    assert (found.n, found.agreed) == (200, 58)
    chance = (100 * 80 + 60 * 60 + 40 * 60) / 200**2
    assert found.kappa == pytest.approx((0.29 - chance) / (1 - chance))
    assert found.confusion.to_numpy().tolist() == counts.tolist()
    assert found.low < found.kappa < found.high


def test_perfect_agreement_of_few_faces_is_not_called_certain():
    found = measure_agreement(pairs(["happy", "sad"] * 5, ["happy", "sad"] * 5))
    assert (found.kappa, found.high) == (1.0, pytest.approx(1.0))
    assert 0.2 < found.low < 0.5


def test_kappa_that_is_not_defined_is_said():
    assert measure_agreement(pairs([], [])).sentence == "No face has two labels yet."
    one = measure_agreement(pairs(["happy"] * 3, ["happy"] * 3))
    assert np.isnan(one.kappa)
    assert "kappa is not defined" in one.sentence


def test_labels_of_two_people_for_the_same_faces_are_no_more_faces():
    once = pairs(["happy", "sad", "sad", "angry"], ["happy", "sad", "angry", "angry"])
    twice = measure_agreement(pd.concat([once, once]))
    assert twice.sentence.startswith("6 of 8 second labels of 4 faces of 1 person are the first; Cohen's kappa 0.64 [")
    assert measure_agreement(once).sentence.startswith("3 of 4 faces of 1 person have the same label twice; Cohen's kappa 0.64 [")
    assert (twice.low, twice.high) != (twice.kappa, twice.kappa)
    assert twice.high - twice.low >= measure_agreement(once).high - measure_agreement(once).low


@pytest.mark.slow
def test_the_interval_covers_the_true_kappa():
    """Two labellers who agree on 80 % of faces beyond chance: of 300 samples of 60 faces, 95 % intervals cover it 90 to 100 %."""
    rng, names = np.random.default_rng(0), np.array(["angry", "happy", "sad", "neutral"])
    covered = 0
    for _ in range(300):
        own = rng.choice(names, 60)
        second = np.where(rng.random(60) < 0.8, own, rng.choice(names, 60))
        found = measure_agreement(pairs(own.tolist(), second.tolist()))
        covered += found.low <= 0.8 <= found.high
    assert 0.9 <= covered / 300 <= 1


def test_the_queue_is_blind_random_and_without_ones_own_faces(tmp_path):
    collection, files = filled(tmp_path / "c", people=2, each=5)
    first, second = files
    queue = blind_queue(collection, first)
    assert sorted(queue) == sorted(files[second])
    strangers = blind_queue(collection, "l-2222")
    assert len(strangers) == 10
    assert strangers != sorted(strangers)
    assert blind_queue(collection, "l-2222") == strangers
    collection.label(strangers[0], labeller="l-2222", expression="sad", time="t")
    assert blind_queue(collection, "l-2222") == strangers[1:]
    collection.withdraw(first)
    assert set(blind_queue(collection, "l-2222")) <= set(files[second])


def test_a_face_keeps_both_labels_and_the_last_of_one_labeller(tmp_path):
    collection, files = filled(tmp_path / "c")
    file = files.popitem()[1][0]
    for labeller, expression in (("l-2222", "sad"), ("l-2222", "fear"), ("l-3333", "happy")):
        collection.label(file, labeller=labeller, expression=expression, time="t")
    both = two_labels(collection)
    own = next(row["expression"] for row in collection.rows("captures.csv") if row["file"] == file)
    assert both[["own", "second", "labeller"]].to_numpy().tolist() == [[own, "fear", "l-2222"], [own, "happy", "l-3333"]]
    assert two_labels(collection, labeller="l-3333")["second"].tolist() == ["happy"]
