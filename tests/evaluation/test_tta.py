from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from ferlab.evaluation.tta import PASSES, augmented_copies, combine, combine_each, count_ties, draw_changes, five_crops, takes_side, vote_probs
from ferlab.paths import InputError


def one_face(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)[:, None]  # (V, 1, K)


def winner(*rows: list[float]) -> int:
    return int(vote_probs(one_face(*rows))[0].argmax())


def test_a_majority_wins_against_a_higher_sum():
    assert winner([0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.0, 0.98, 0.02]) == 0  # 3 votes, sum 1.2 against 1.88


def test_a_tie_goes_to_the_highest_summed_score():
    tie = ([0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.1, 0.9, 0.0])  # sums 1.4 and 2.6
    assert winner(*tie) == 1
    np.testing.assert_allclose(vote_probs(one_face(*tie))[0], [0.99 * 0.5 + 0.01 * 0.35, 0.99 * 0.5 + 0.01 * 0.65, 0], atol=1e-7)
    assert winner([0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0]) == 0  # an even tie: the first


def test_a_class_with_fewer_votes_never_wins_a_tie_of_others():
    # Sums 1.1, 1.12 and 1.78: the third class has the highest, but no vote.
    assert winner([0.55, 0.0, 0.45], [0.55, 0.0, 0.45], [0.0, 0.56, 0.44], [0.0, 0.56, 0.44]) == 1


def test_four_copies_of_four_classes_are_decided_by_the_sum():
    rows = np.full((4, 4), 0.1)
    np.fill_diagonal(rows, 0.7)
    rows[2] = [0.0, 0.1, 0.8, 0.1]
    assert winner(*rows.tolist()) == 2


def test_the_vote_is_the_papers_rule_on_many_faces():
    probs = np.random.default_rng(0).dirichlet([0.7] * 7, size=(4, 2000)).astype(np.float32)
    voted = vote_probs(probs)
    tied = 0
    for face in range(probs.shape[1]):
        counts = Counter(probs[:, face].argmax(axis=1).tolist())
        most = [c for c, votes in counts.items() if votes == max(counts.values())]
        tied += len(most) > 1
        assert voted[face].argmax() == max(most, key=lambda c: probs[:, face, c].sum(dtype=np.float64))
    assert count_ties(voted, "vote") == tied
    assert count_ties(voted, "flip") is None
    assert 200 < tied < 1800
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-6)


def test_other_augmentations_average_and_ten_crops_leave_the_whole_face_out():
    probs = np.random.default_rng(0).dirichlet([1] * 3, size=(11, 5)).astype(np.float32)
    np.testing.assert_allclose(combine(probs[:8], "seven"), probs[:8].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(combine(probs, "ten_crop"), probs[1:].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(combine(probs[:1], "none"), probs[0])


def test_two_scales_weigh_the_whole_face_and_its_crops_alike_and_contain_both():
    probs = np.random.default_rng(0).dirichlet([1] * 3, size=(12, 5)).astype(np.float32)
    held = combine_each(probs, "two_scales")
    assert list(held) == ["none", "flip", "ten_crop", "two_scales"]
    np.testing.assert_array_equal(held["none"], probs[0])
    np.testing.assert_allclose(held["flip"], probs[:2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(held["ten_crop"], probs[2:].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(held["two_scales"], probs[:2].sum(axis=0) / 4 + probs[2:].sum(axis=0) / 20, atol=1e-6)
    assert list(combine_each(probs[:2], "flip")) == ["none", "flip"]
    assert list(combine_each(probs[:1], "none")) == ["none"]


def faces(n: int = 2, size: int = 12) -> torch.Tensor:
    return torch.rand((n, 1, size, size), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tta", PASSES)
def test_every_augmentation_yields_the_face_first_and_then_as_many_copies_as_it_states(tta):
    shown = list(augmented_copies(faces(), tta, draws=draw_changes(tta, 2, seed=0), crop=10))
    assert torch.equal(shown[0], faces())
    assert len(shown) == PASSES[tta] + (tta == "ten_crop")
    assert all(copy.shape == faces().shape for copy in shown)


def test_the_five_crops_are_the_corners_and_the_centre():
    ramp = torch.arange(36.0).view(1, 1, 6, 6)
    assert [int(crop[0, 0, 0, 0]) for crop in five_crops(ramp, 4)] == [0, 2, 12, 14, 7]
    with pytest.raises(InputError, match="expected a side of 1 to 5 pixels, got 6"):
        next(five_crops(ramp, 6))


def test_crops_come_in_mirrored_pairs_and_keep_their_side_where_the_net_takes_it():
    shown = list(augmented_copies(faces(), "ten_crop", crop=10, resize=False))[1:]
    assert {tuple(copy.shape) for copy in shown} == {(2, 1, 10, 10)}
    assert all(torch.equal(shown[i].flip(-1), shown[i + 1]) for i in range(0, 10, 2))


def test_a_vote_turns_the_face_by_ten_degrees_either_way():
    face = cv2.GaussianBlur(faces(1, 48)[0, 0].numpy(), (0, 0), 3)
    _, mirrored, one, other = (copy[0, 0].numpy() for copy in augmented_copies(torch.from_numpy(face)[None, None], "vote"))
    np.testing.assert_array_equal(mirrored, face[:, ::-1])
    for turned, degrees in ((one, -10), (other, 10)):
        matrix = cv2.getRotationMatrix2D((23.5, 23.5), degrees, 1.0)
        expected = cv2.warpAffine(face, matrix, (48, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(turned, expected, atol=5e-3)
    assert np.abs(one - other).max() > 0.05


def test_the_seven_changed_faces_repeat_by_seed_and_differ_among_themselves():
    draws = draw_changes("seven", 2, seed=1)
    shown, again = (list(augmented_copies(faces(), "seven", draws=draw_changes("seven", 2, seed=1))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(shown, again))
    assert len({copy.numpy().tobytes() for copy in shown}) == 8
    assert not torch.equal(draws[0], draw_changes("seven", 2, seed=2)[0])


def test_a_net_takes_another_side_where_its_card_allows_it_and_no_layer_hangs_on_it(monkeypatch):
    cards = {
        "any": {"options": {}, "sizes": "40-", "channels": 1, "input_size": 48},
        "built": {"options": {"size": 48}, "sizes": "40-", "channels": 1, "input_size": 48},
    }
    monkeypatch.setattr("ferlab.evaluation.tta.model_card", cards.get)
    monkeypatch.setattr("ferlab.models.create.model_card", cards.get)
    assert [takes_side("any", side) for side in (44, 39)] == [True, False]
    assert not takes_side("built", 44)
