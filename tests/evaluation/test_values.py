from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional import concordance_corrcoef

from ferlab.evaluation.values import concordance, score_values


def test_concordance_is_torchmetrics_with_variances_over_n() -> None:
    generator = np.random.default_rng(0)
    said, truth = generator.normal(size=2000), generator.normal(0.3, 1, 2000)
    said = 0.6 * truth + 0.4 * said
    assert concordance(said, truth) == pytest.approx(concordance_corrcoef(torch.from_numpy(said), torch.from_numpy(truth)).item(), abs=1e-3)


def test_only_agreement_counts() -> None:
    truth = np.arange(10.0)
    assert concordance(truth, truth) == 1
    assert concordance(np.full(10, 4.5), truth) == 0  # the mean of all, whatever its RMSE
    assert concordance(truth + 3, truth) == pytest.approx(2 * 8.25 / (2 * 8.25 + 9))  # they rise together and do not agree


def test_faces_without_truth_are_excluded_and_bounds_hold_the_number() -> None:
    generator = np.random.default_rng(1)
    truth = generator.uniform(0, 5, 200)
    faces = pd.DataFrame({"face_id": [f"f{n}" for n in range(200)], "intensity": np.where(np.arange(200) < 150, truth, np.nan)})
    rows = faces[["face_id"]].assign(value_intensity=truth + generator.normal(0, 1, 200)).iloc[::-1]
    score = score_values(rows, faces, resamples=300)["intensity"]  # type: ignore[index]
    assert score["n"] == 150
    assert score["rmse"] == pytest.approx(1, abs=0.15)
    assert score["ccc_ci_low"] < score["ccc"] < score["ccc_ci_high"]
    assert score["rmse_ci_low"] < score["rmse"] < score["rmse_ci_high"] < score["mean_rmse"]


def test_a_net_that_says_no_value_has_none() -> None:
    assert score_values(pd.DataFrame({"face_id": ["f"]}), pd.DataFrame({"face_id": ["f"]})) is None
