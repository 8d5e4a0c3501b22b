from __future__ import annotations

import pandas as pd

from ferlab.evaluation.ablations import COLUMNS
from ferlab.reporting.pages.compare_ablations import effects_sentence, factors_tables


def effects(p_holm: float = 0.01) -> pd.DataFrame:
    row = {"factor": "class weights", "from": "off", "to": "on", "else": "network five", "seeds": 2, "n": 400, "difference": 0.12}
    row |= {"ci_low": 0.05, "ci_high": 0.19, "seed_sd": 0.01, "p": 0.001}
    return pd.DataFrame([{**row, "split": split, "p_holm": p_holm} for split in ("val", "test")], columns=list(COLUMNS))


COMBINATIONS = pd.DataFrame(
    [{"class weights": w, "network": "five", "seeds": 1, "n": 400, "accuracy": a, "ci_low": a - 0.05, "ci_high": a + 0.05, "seed_sd": float("nan")}
     for w, a in (("off", 0.6), ("on", 0.72))]
)  # fmt: skip


def test_combinations_and_changes_stand_in_two_tables():
    first, second = factors_tables(COMBINATIONS, effects())
    assert first.iloc[1].tolist() == ["on", "five", 1, "72.0 [67.0, 77.0]", ""]
    assert second.iloc[0].tolist()[:4] == ["class weights: off to on", "network five", "val", 2]
    assert second.loc[0, "difference, points"] == "12.0 [5.0, 19.0]"
    assert second.loc[0, "over seeds"] == "± 1.0"


def test_only_significant_changes_are_told_and_val_decides():
    assert "class weights from off to on (network five) by +12.0 points" in effects_sentence(effects())
    assert "on val" in effects_sentence(effects())
    assert effects_sentence(effects(0.2)).startswith("None of 1 changes is significant on val over faces")


def test_what_holds_over_faces_is_asked_of_seeds_apart():
    over = effects_sentence(effects())  # t = .12 / (.01 / sqrt 2) = 17 with 1 df: p = .037
    assert over.endswith("Over seeds (t tests, uncorrected) 1 of the 1 with several seeds are significant.")
    assert "uncorrected) 0 of the 1" in effects_sentence(effects().assign(seed_sd=0.05))  # t = 3.4: p = .18
    assert effects_sentence(effects().assign(seeds=1, seed_sd=float("nan"))).endswith("With one seed each, nothing is known of other seeds.")


def test_without_factors_there_is_a_sentence_and_no_table():
    assert factors_tables(COMBINATIONS.iloc[:0], effects().iloc[:0]) == []
    assert effects_sentence(effects().iloc[:0]).startswith("No two runs")
