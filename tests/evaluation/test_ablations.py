from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from ferlab.evaluation.ablations import changes_from_base, factor_effects, name_contrasts, overfitting, sweeps, table_by_factors
from ferlab.evaluation.predictions import predictions_table


def table(right: np.ndarray, *, prefix: str = "f") -> pd.DataFrame:
    """Return predictions on as many val and test faces, right where told."""
    n, splits = len(right), ["val", "test"]
    probs = np.where(np.tile(right, 2)[:, None], [0.9, 0.1], [0.1, 0.9])
    ids = [f"{prefix}{split}{face}" for split in splits for face in range(n)]
    return predictions_table(ids, np.repeat(splits, n).tolist(), np.zeros(2 * n, int), probs=probs, expressions=("happy", "sad"))


def run(seed: int, **factors: str) -> dict[str, Any]:
    return {"data": "set", "seed": seed, "factors": {key.replace("_", " "): level for key, level in factors.items()}}


GENERATOR = np.random.default_rng(0)
RIGHT = {f"{weights}{seed}": GENERATOR.random(400) < share for weights, share in (("off", 0.6), ("on", 0.72)) for seed in (0, 1)}
RUNS = {name: run(int(name[-1]), network="five", class_weights=name[:-1]) for name in RIGHT}
TABLES = {name: table(right) for name, right in RIGHT.items()}
UNSEEN: dict[str, tuple[str, ...]] = dict.fromkeys([*RIGHT, "vgg0"], ("train",))
TEST_ALONE = dict.fromkeys(UNSEEN, ("train", "val"))


def test_each_combination_has_the_mean_of_its_seeds() -> None:
    rows = table_by_factors({**RUNS, "plain": {"data": "set", "seed": 0, "factors": {}}}, TABLES)
    assert rows[["network", "class weights", "seeds", "n"]].to_numpy().tolist() == [["five", "off", 2, 400], ["five", "on", 2, 400]]
    assert rows["accuracy"].tolist() == pytest.approx([np.mean([RIGHT[f"{w}0"].mean(), RIGHT[f"{w}1"].mean()]) for w in ("off", "on")])
    assert rows["seed_sd"].tolist() == pytest.approx([np.std([RIGHT[f"{w}{s}"].mean() for s in (0, 1)], ddof=1) for w in ("off", "on")])
    assert (rows["ci_low"] < rows["accuracy"]).all()


def test_a_change_is_the_paired_t_test_of_shares_over_common_seeds() -> None:
    effects = factor_effects(RUNS, TABLES, trained_on=UNSEEN)
    assert effects[["factor", "from", "to", "else", "split", "seeds"]].iloc[1].tolist() == ["class weights", "off", "on", "network five", "test", 2]
    before, after = ((RIGHT[f"{w}0"].astype(float) + RIGHT[f"{w}1"]) / 2 for w in ("off", "on"))
    expected = ttest_rel(after, before)
    assert effects["p"].iloc[1] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert effects[["ci_low", "ci_high"]].iloc[1].tolist() == pytest.approx([low, high])
    assert effects["difference"].iloc[1] == pytest.approx((after - before).mean())


def test_params_name_contrasts_or_factors_do() -> None:
    assert name_contrasts(RUNS) == [("on0", "off0"), ("on1", "off1")]
    assert name_contrasts(RUNS, [["on0", "off1"]]) == [("on0", "off1")]
    assert name_contrasts({name: {**each, "factors": {}} for name, each in RUNS.items()}) == []
    assert name_contrasts({**RUNS, "on0": {**RUNS["on0"], "data": "other"}}) == [("on1", "off1")]


DEPTHS = {"2": 0.5, "3": 0.6, "10": 0.55}
SWEPT = {f"depth{level}_{seed}": run(seed, network="cnn", depth=level) for level in DEPTHS for seed in (0, 1)}


def swept() -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    tables = {name: table(GENERATOR.random(400) < DEPTHS[each["factors"]["depth"]]) for name, each in SWEPT.items()}
    fitted = {name: {"accuracy": 0.5 + 0.04 * float(each["factors"]["depth"]), "n": 1000} for name, each in SWEPT.items()}
    others = {"named": run(0, network="other", depth="its own"), "alone": run(0, network="vgg", depth="16")}
    return tables, sweeps({**SWEPT, **others}, tables, fitted=fitted, trained_on=dict.fromkeys(SWEPT, ("train",)))


def test_levels_that_are_numbers_make_a_sweep_in_their_order() -> None:
    tables, rows = swept()
    assert rows[["factor", "else"]].drop_duplicates().to_numpy().tolist() == [["depth", "network cnn"]]
    assert rows["level"].tolist() == [2.0] * 3 + [3.0] * 3 + [10.0] * 3
    assert rows["split"].tolist() == ["train", "val", "test"] * 3
    assert rows.query("split == 'train'")["accuracy"].tolist() == pytest.approx([0.58, 0.62, 0.9])
    right = {name: each.query("split == 'test'").eval("pred == target").mean() for name, each in tables.items()}
    means = [(right[f"depth{level}_0"] + right[f"depth{level}_1"]) / 2 for level in DEPTHS]
    assert rows.query("split == 'test'")["accuracy"].tolist() == pytest.approx(means)
    assert (rows["ci_low"] < rows["accuracy"]).all()


def test_a_split_that_was_trained_on_is_not_in_the_sweep() -> None:
    tables = {name: table(np.arange(40) % 2 == 0) for name in SWEPT}
    fitted = {name: {"accuracy": 0.5, "n": 10} for name in SWEPT}
    rows = sweeps(SWEPT, tables, fitted=fitted, trained_on=dict.fromkeys(SWEPT, ("train", "val")))
    assert set(rows["split"]) == {"train", "test"}


def test_overfitting_is_the_change_of_the_gap_between_train_and_test() -> None:
    table = [[3.0, "train", 900, 0.6], [3.0, "test", 100, 0.5], [5.0, "train", 900, 0.8], [5.0, "test", 100, 0.4], [4.0, "test", 100, 0.1]]
    rows = pd.DataFrame(table, columns=["level", "split", "n", "accuracy"]).assign(factor="stages", **{"else": "network CNN"})
    (found,) = overfitting(rows).to_dict("records")
    assert [found[key] for key in ("factor", "else", "first", "last")] == ["stages", "network CNN", 3.0, 5.0]
    assert (found["gap_first"], found["gap_last"], found["change"]) == pytest.approx((0.1, 0.4, 0.3))
    error = np.sqrt(0.24 / 900 + 0.25 / 100 + 0.16 / 900 + 0.24 / 100)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.3 - 1.959964 * error, 0.3 + 1.959964 * error), abs=1e-6)


def test_two_changes_at_once_are_no_change_of_one_factor() -> None:
    runs = {**RUNS, "vgg0": run(0, network="vgg", class_weights="on")}
    effects = factor_effects(runs, {**TABLES, "vgg0": TABLES["on0"]}, trained_on=TEST_ALONE)
    assert effects[["factor", "from", "to"]].to_numpy().tolist() == [["class weights", "off", "on"], ["network", "five", "vgg"]]
    assert effects["seeds"].tolist() == [2, 1]
    assert effects["p_holm"].iloc[0] == pytest.approx(min(1, 2 * effects["p"].iloc[0]))
    assert effects["p"].iloc[1] == 1  # the same answers: no difference, no doubt


def test_a_change_is_measured_on_the_faces_that_both_sides_share() -> None:
    """The same answers on 100 faces of two expressions and on 60 of them, where the second is rarer."""
    right = np.tile([True, False], 50)
    whole = table(right).assign(target=np.tile(np.repeat([0, 1], 50), 2))
    part = whole[np.tile(np.arange(100) < 60, 2)]
    runs = {"before": run(0, weights="off"), "after": run(0, weights="on")}
    for balanced in (False, True):
        row = factor_effects(runs, {"before": whole, "after": part}, trained_on=dict.fromkeys(runs, ("train", "val")), balanced=balanced).iloc[0]
        assert (row["n"], row["difference"], row["p"]) == (60, 0, 1)


def test_runs_without_a_change_of_one_factor_have_no_change_from_the_base() -> None:
    runs = {"alone": run(0, weights="off")}
    effects = factor_effects(runs, {"alone": TABLES["off0"]}, trained_on={"alone": ("train",)})
    assert changes_from_base(effects, runs).empty


@pytest.mark.parametrize("n", [2, 5, 40])
def test_a_change_that_mends_every_face_is_no_exact_one_and_no_chance(n: int) -> None:
    runs = {"before": run(0, weights="off"), "after": run(0, weights="on")}
    tables = {"before": table(np.zeros(n, bool)), "after": table(np.ones(n, bool))}
    row = factor_effects(runs, tables, trained_on=dict.fromkeys(runs, ("train", "val"))).iloc[0]
    assert row["ci_low"] < row["difference"] == row["ci_high"] == 1
    assert row["p"] == pytest.approx(2 / 2**n)


def test_no_bound_lies_above_one() -> None:
    runs = {"before": run(0, weights="off"), "after": run(0, weights="on")}
    tables = {"before": table(np.zeros(5, bool)), "after": table(np.array([1, 1, 1, 1, 0], bool))}
    row = factor_effects(runs, tables, trained_on=dict.fromkeys(runs, ("train", "val"))).iloc[0]
    assert row["difference"] == pytest.approx(0.8)
    assert row["ci_high"] == 1


def test_what_can_be_detected_grows_with_the_number_of_changes() -> None:
    runs = {**RUNS, "vgg0": run(0, network="vgg", class_weights="on")}
    both = factor_effects(runs, {**TABLES, "vgg0": TABLES["off0"]}, trained_on=TEST_ALONE)
    alone = factor_effects(RUNS, TABLES, trained_on=TEST_ALONE)
    # Normal quantiles of .025, .0125 and .8; 399 degrees of freedom are nearly as good.
    assert both["detectable"].iloc[0] / alone["detectable"].iloc[0] == pytest.approx((2.2414 + 0.8416) / (1.96 + 0.8416), rel=2e-3)


def test_faces_of_few_persons_tell_less_of_a_change() -> None:
    tables = {name: rows.assign(subject=[f"p{i % 400 // 50}" for i in range(len(rows))]) for name, rows in TABLES.items()}
    by_face, by_person = (factor_effects(RUNS, of, trained_on=TEST_ALONE).iloc[0] for of in (TABLES, tables))
    assert by_person["difference"] == by_face["difference"]
    assert by_person["p"] != by_face["p"]
    assert (by_person["subjects"], np.isnan(by_face["subjects"])) == (8, True)
    before, after = ((table_by_factors(RUNS, of)["ci_high"] - table_by_factors(RUNS, of)["ci_low"]).mean() for of in (TABLES, tables))
    assert after > before


def test_a_split_that_was_learnt_tells_nothing() -> None:
    learnt = {**UNSEEN, "on1": ("train", "val")}
    assert factor_effects(RUNS, TABLES, trained_on=learnt)["split"].tolist() == ["test"]


def test_a_change_that_val_does_not_judge_is_measured_on_deduplicated_test_too() -> None:
    duplicate = np.r_[np.zeros(400, bool), np.arange(400) % 4 == 0]
    marked = {name: rows.assign(duplicate=duplicate) for name, rows in TABLES.items()}
    effects = factor_effects(RUNS, marked, trained_on=TEST_ALONE)
    assert effects[["split", "n", "trained_on"]].to_numpy().tolist() == [["test", 400, "train, val"], ["test_dedup", 300, "train, val"]]
    before, after = (((RIGHT[f"{w}0"].astype(float) + RIGHT[f"{w}1"]) / 2)[np.arange(400) % 4 > 0] for w in ("off", "on"))
    assert effects["p"].iloc[1] == pytest.approx(ttest_rel(after, before).pvalue)
    assert effects["difference"].iloc[1] == pytest.approx((after - before).mean())
    assert changes_from_base(effects, RUNS)["p_holm"].tolist() == effects["p"].tolist()  # one change on either split
    unmarked = {name: rows.assign(duplicate=False) for name, rows in TABLES.items()}  # test is then test_dedup
    assert factor_effects(RUNS, unmarked, trained_on=TEST_ALONE)["split"].tolist() == ["test"]
    none_left = {name: rows.assign(duplicate=rows["split"] == "test") for name, rows in TABLES.items()}
    assert factor_effects(RUNS, none_left, trained_on=TEST_ALONE)["split"].tolist() == ["test"]
    assert factor_effects(RUNS, marked, trained_on=UNSEEN)["split"].tolist() == ["val", "test"]


def test_sets_that_share_no_faces_are_not_compared() -> None:
    apart = {name: table(right, prefix=name[:-1]) for name, right in RIGHT.items()}
    assert factor_effects(RUNS, apart, trained_on=UNSEEN).empty


def test_without_factors_there_is_nothing_to_show() -> None:
    runs = {name: {**each, "factors": {}} for name, each in RUNS.items()}
    assert table_by_factors(runs, TABLES).empty
    assert factor_effects(runs, TABLES, trained_on=UNSEEN).empty


def classes_table(pred: list[int]) -> pd.DataFrame:
    """Return predictions on four val and four test faces, three of happy and one of sad."""
    ids, splits = [f"{split}{face}" for split in ("val", "test") for face in range(4)], np.repeat(["val", "test"], 4).tolist()
    return predictions_table(ids, splits, np.array([0, 0, 0, 1] * 2), probs=np.eye(2)[pred * 2], expressions=("happy", "sad"))


def test_a_balanced_change_is_the_difference_of_mean_recalls() -> None:
    runs = {"before": run(0, weights="off"), "after": run(0, weights="on")}
    tables = {"before": classes_table([0, 0, 0, 0]), "after": classes_table([0, 1, 1, 1])}  # recalls 1 and 0, then 1/3 and 1
    plain, balanced = (factor_effects(runs, tables, trained_on=TEST_ALONE | dict.fromkeys(runs, ()), balanced=b)["difference"] for b in (False, True))
    assert plain.tolist() == pytest.approx([-1 / 4] * 2)
    assert balanced.tolist() == pytest.approx([1 / 6] * 2)


def test_changes_from_the_first_level_are_corrected_among_themselves_and_bounded_over_seeds() -> None:
    third = {f"more{seed}": run(seed, network="five", class_weights="more") for seed in (0, 1)}
    rights = {"more0": RIGHT["on0"], "more1": RIGHT["off1"]}
    runs, tables = {**RUNS, **third}, {**TABLES, **{name: table(right) for name, right in rights.items()}}
    effects = factor_effects(runs, tables, trained_on=dict.fromkeys(runs, ("train", "val")))
    own = changes_from_base(effects, runs)
    assert own[["from", "to"]].to_numpy().tolist() == [["off", "on"], ["off", "more"]]  # of three changes
    assert own["p_holm"].tolist() == pytest.approx([min(1, 2 * own["p"].iloc[0]), own["p"].max()])
    each = [RIGHT[f"on{seed}"].mean() - RIGHT[f"off{seed}"].mean() for seed in (0, 1)]
    low, high = ttest_1samp(each, 0).confidence_interval()
    assert own[["seeds_ci_low", "seeds_ci_high"]].iloc[0].tolist() == pytest.approx([low, high])
