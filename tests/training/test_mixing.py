from __future__ import annotations

import numpy as np
import pytest
import torch

from ferlab.training.mixing import Mixing, draw_mixing, mix


def test_mixup_is_the_weighted_mean_of_faces_and_of_targets() -> None:
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    mixed, targets = mix(images, torch.eye(2), Mixing(0.75, torch.tensor([1, 0]), None))
    assert mixed[:, 0, 0, 0].tolist() == [0.25, 0.75]
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_cutmix_pastes_a_box_and_mixes_the_target_by_its_area() -> None:
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    mixed, targets = mix(images, torch.eye(2), Mixing(0.75, torch.tensor([1, 0]), (0, 2, 1, 3)))
    assert mixed[0, 0].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert targets[0].tolist() == [0.75, 0.25]
    assert images[0].sum() == 0  # what was given stays as it was


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_draws_depend_on_their_place_alone_and_keep_to_their_kind(mixup: float, cutmix: float) -> None:
    def draw(batch: int) -> Mixing:
        return draw_mixing(16, 48, mixup=mixup, cutmix=cutmix, seed=3, epoch=2, batch=batch)

    drawn = [draw(batch) for batch in range(200)]
    assert all(torch.equal(draw(batch).partners, drawn[batch].partners) for batch in (0, 7))
    boxes = [mixing.box for mixing in drawn if mixing.box is not None]
    assert len(boxes) == 0 if not cutmix else len(boxes) == 200 if not mixup else 70 < len(boxes) < 130
    for mixing in drawn:
        assert sorted(mixing.partners.tolist()) == list(range(16))
        assert 0 <= mixing.weight <= 1
        if mixing.box is not None:
            top, bottom, left, right = mixing.box
            assert 0 <= top <= bottom <= 48
            assert 0 <= left <= right <= 48
            assert mixing.weight == pytest.approx(1 - (bottom - top) * (right - left) / 48**2)


def test_mixup_weights_follow_the_beta_distribution() -> None:
    weights = [draw_mixing(2, 48, mixup=0.4, cutmix=0.0, seed=0, epoch=0, batch=batch).weight for batch in range(2000)]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.03)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(a, a)
