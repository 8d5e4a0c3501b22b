"""Mass on covered regions, paired over faces and seeds, by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ferlab.data.regions import REGIONS
from ferlab.explanation.covered_mass import compare_masses, pairs_of, read_masses
from ferlab.params import Params, check_params, read_yaml
from ferlab.paths import ROOT, InputError


def masses(rest: dict[str, float], *, method: str = "hires_cam") -> pd.DataFrame:
    values = np.array(list(rest.values()))
    own = {"face_id": list(rest), "cluster": list(rest), "target": 0, "method": method}
    return pd.DataFrame({**own, **dict.fromkeys(REGIONS, 0.0), "mouth": 1 - values, "rest": values})


def test_faces_in_common_are_paired_and_averaged_over_seeds() -> None:
    tables = {
        "whole_0": masses({"a": 0.6, "b": 0.5, "c": 0.9}),
        "covered_0": masses({"b": 0.2, "a": 0.1, "d": 0.7}),
        "whole_1": masses({"a": 0.4}),
        "covered_1": masses({"a": 0.3}),
    }
    row = compare_masses(tables, {("whole_0", "covered_0"): ["rest"], ("whole_1", "covered_1"): ["rest"]}).iloc[0]
    assert (row["seeds"], row["n"]) == (2, 2)
    assert row["whole"] == pytest.approx((0.5 + 0.5) / 2)
    assert row["covered"] == pytest.approx((0.2 + 0.2) / 2)
    assert row["difference"] == pytest.approx(-0.3)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=30), rng.uniform(size=30)
    ids = [f"f{number}" for number in range(30)]
    tables = {"w": masses(dict(zip(ids, a, strict=True))), "c": masses(dict(zip(ids, b, strict=True)))}
    row = compare_masses(tables, {("w", "c"): ["rest"]}).iloc[0]
    bounds = stats.ttest_rel(b, a).confidence_interval()
    assert (row["difference_ci_low"], row["difference_ci_high"]) == pytest.approx(tuple(bounds))


def params(cover: list[str]) -> Params:
    raw = read_yaml(ROOT / "params.yaml", source="params.yaml")
    raw["prepare"]["other"] = {**raw["prepare"]["control"], "cover": cover}
    run = raw["runs"]["five_layer"]
    raw["runs"] = {"whole": run, "covered": {**run, "data": "other"}, "seed": {**run, "data": "other", "seed": 7}}
    return check_params({key: value for key, value in raw.items() if key != "frame"})


def test_runs_that_differ_in_cover_alone_are_paired() -> None:
    assert pairs_of(params(["rest", "nose"])) == {("whole", "covered"): ("rest", "nose")}
    with pytest.raises(InputError, match="no run on a set with `cover` has a run of the same model and seed"):
        pairs_of(params([]))


def test_a_run_that_is_not_explained_is_named() -> None:
    with pytest.raises(InputError, match="run no_such_run is not explained yet; `dvc repro explain@no_such_run`"):
        read_masses(["no_such_run"])
