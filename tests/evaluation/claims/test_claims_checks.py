"""Each kind of check against hand computation, statsmodels and scipy."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from ferlab.evaluation.claims import architectures, matrices, mixtures, own, proportions, splits
from ferlab.evaluation.claims.audit import KINDS
from ferlab.evaluation.claims.schema import Context
from ferlab.models import create_model
from ferlab.paths import InputError

ROWS = pd.DataFrame([{"paper": "p", "system": "A", "accuracy": 0.8, "n": 50}, {"paper": "p", "system": "no n", "accuracy": 0.8, "n": None}])
CONTEXT = Context(paper="p", published=ROWS)


def check(kind: str, **values):
    model, function = KINDS[kind]
    return function(model.model_validate({"claim": "a claim", "where": "table 1", "check": kind, **values}), CONTEXT)


def one(kind: str, **values):
    found = check(kind, **values)
    assert len(found) == 1
    return found[0]


def share(hits: int, n: int) -> dict[str, int]:
    return {"hits": hits, "n": n}


MATRIX = {"labels": ["a", "b"], "rows": [[8, 2], [1, 9]]}


def test_a_matrix_gives_accuracy_precision_and_recall():
    found = check("matrix", **MATRIX, accuracy=0.85, precision=[0.89, 0.82], recall=[0.8, 0.9], n=20)
    assert [of.verdict for of in found] == ["holds"] * 4
    low, high = proportion_confint(17, 20, method="wilson")
    assert f"85.0 % [{100 * low:.1f}, {100 * high:.1f}] (17 of 20), rounded" in found[0].evidence


def test_a_stray_entry_is_found_and_only_that_one():
    spoiled = {"labels": ["a", "b"], "rows": [[8, 3], [1, 9]]}
    printed = {"accuracy": 0.85, "precision": [0.89, 0.82], "recall": [0.8, 0.9]}
    claim = matrices.Matrix.model_validate({"claim": "a claim", "where": "table 1", "check": "matrix", **spoiled, **printed})
    assert matrices.reconciling(claim) == [(0, 1, 2)]
    found = matrices.check_matrix(claim, CONTEXT)
    assert [of.verdict for of in found] == ["does not hold"] * 3
    assert "a predicted as b, 3 to 2 (17 of 20 = 0.8500)" in found[0].evidence
    assert "single entry" not in found[1].evidence


def test_a_matrix_that_no_entry_reconciles_says_so():
    found = one("matrix", **MATRIX, accuracy=0.10)
    assert found.evidence.endswith("No change of a single entry gives all printed numbers.")


@pytest.mark.parametrize("rows", [[[1, 2]], [[1], [2]], [[1, 2, 3], [1, 2, 3]]])
def test_a_matrix_has_as_many_rows_and_columns_as_labels(rows):
    with pytest.raises(ValidationError, match="expected 2 rows of 2 counts"):
        check("matrix", labels=["a", "b"], rows=rows)


def test_halves_round_either_way_and_cut_digits_are_named():
    assert matrices.prints(0.125, 0.12, 2) == matrices.prints(0.125, 0.13, 2) == "rounded"
    assert matrices.prints(0.979, 0.97, 2) == "truncated"
    found = one("matrix", labels=["a", "b"], rows=[[2, 1], [0, 3]], recall=[0.66, 1.0])
    assert found.verdict == "holds"
    assert "a truncated instead of rounded" in found.evidence


@pytest.mark.parametrize(("n", "verdict"), [(199, "does not hold"), (201, "holds")])
def test_a_recall_of_one_hides_a_miss_from_two_hundred_faces_on(n, verdict):
    assert f"{(n - 1) / n:.2f}" == ("1.00" if verdict == "holds" else "0.99")
    assert one("misses", recall=1.0, misses=1, n=n, n_source="made up").verdict == verdict


def test_best_worst_rise_and_mean():
    values = {"a": 0.5, "b": 0.9, "c": 0.5}
    assert [of.verdict for of in check("extreme", values=values, best="b", worst="c")] == ["holds", "holds"]  # a tie is no error
    assert one("extreme", values=values, best="a").verdict == "does not hold"
    before, rising, falling = {"recall": {"a": 0.5, "b": 0.6}}, {"recall": {"a": 0.6, "b": 0.7}}, {"recall": {"a": 0.6, "b": 0.5}}
    assert one("increase", before=before, after=rising).verdict == "holds"
    assert one("increase", before=before, after=before).verdict == "does not hold"
    assert "1 of 2 values rise, 0 stay, 1 fall: recall of b 0.6 to 0.5" in one("increase", before=before, after=falling).evidence
    assert one("mean", values={"a": 0.5, "b": 0.7}, classes=2, mean=0.6).verdict == "holds"
    assert one("mean", values={"a": 0.5, "b": 0.7}, classes=3, mean=0.9).verdict == "does not hold"  # the third: 1.5
    assert "mean of 0.600" in one("mean", values={"a": 0.5, "b": 0.7}, classes=3, mean=0.6).evidence


def test_counts_that_are_the_datasets_add_up_or_are_permuted():
    right = {"happy": 895, "disgust": 56}
    assert one("counts", counts=right, dataset="fer2013").verdict == "holds"
    union = one("counts", counts={"happy": 895 + 879}, dataset="fer2013")
    assert "PublicTest and PrivateTest" in union.evidence
    wrong = one("counts", counts={"happy": 896}, dataset="fer2013")
    assert (wrong.verdict, "happy 896 (there 895)" in wrong.evidence) == ("does not hold", True)
    public = {"angry": 56, "disgust": 467, "fear": 496, "happy": 895, "sad": 653, "surprise": 415, "neutral": 607}
    total, swapped = check("counts", counts=public, total=3589, dataset="fer2013")
    assert total.verdict == "holds"
    assert "2 labels differ: 56 is stated for angry and belongs to disgust; 467 is stated for disgust and belongs to angry" in swapped.evidence
    assert one("counts", counts={"happy": 1}, total=2).verdict == "does not hold"


def test_sizes_and_batches():
    assert one("sizes", factors=[3, 20, 7], total=420).verdict == "holds"
    assert one("sizes", sizes={"a": 70, "b": 30}, fractions={"a": 0.7, "b": 0.3}, total=100).verdict == "holds"
    assert one("sizes", sizes={"a": 70, "b": 30}, fractions={"a": 0.8}).verdict == "does not hold"
    full = one("batches", faces=256, batch_size=128, steps=2, source="code")
    short = one("batches", faces=3589, batch_size=128, steps=27, source="code", pairs=[[{"system": "A"}, share(41, 51)]])
    assert (full.verdict, short.verdict) == ("holds", "does not hold")
    assert "hold 3,456 of 3,589" in short.evidence
    assert "80.0 % on these, 80.4 % on all 51" in short.evidence


@pytest.mark.parametrize(("first", "second"), [((4493, 7178), (4443, 7178)), ((34, 56), (19, 56)), ((8, 20), (4, 20)), ((90, 120), (60, 120))])
def test_a_difference_has_the_p_of_statsmodels_or_scipy(first, second):
    found = one("difference", stated="higher", pairs=[[share(*first), share(*second)]])
    few = first[1] + second[1] < 200
    table = [[first[0], first[1] - first[0]], [second[0], second[1] - second[0]]]
    p = fisher_exact(table).pvalue if few else proportions_ztest([first[0], second[0]], [first[1], second[1]])[1]
    assert f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} ({'Fisher' if few else 'z test'})" in found.evidence
    assert found.verdict == ("holds" if p < 0.05 else "cannot be told")


def test_a_difference_in_the_other_direction_does_not_hold_and_equality_is_never_shown():
    pair = [share(90, 120), share(60, 120)]
    verdicts = {stated: one("difference", stated=stated, pairs=[pair]).verdict for stated in ("higher", "lower", "equal")}
    assert verdicts == {"higher": "holds", "lower": "does not hold", "equal": "does not hold"}
    assert one("difference", stated="equal", pairs=[[share(60, 120), share(60, 120)]]).verdict == "cannot be told"


def test_several_pairs_are_corrected_together():
    close = [share(75, 120), share(60, 120)]
    assert 0.02 < proportions_ztest([75, 60], [120, 120])[1] < 0.06
    alone, both = (one("difference", stated="higher", pairs=pairs) for pairs in ([close], [close, close]))
    assert both.evidence.endswith("Holm over 2 pairs.")
    assert f"p = {2 * proportions_ztest([75, 60], [120, 120])[1]:.3f}" in both.evidence
    assert alone.evidence != both.evidence


def test_every_printed_share_of_whole_faces_is_reachable_and_others_are_not():
    for n in (7, 53, 55, 56):
        reachable = {round(k / n, 3) for k in range(n + 1)}
        for printed in np.round(np.arange(0, 1.0005, 0.001), 3):
            assert (proportions.reach(float(printed), n, 3) is not None) == (float(printed) in reachable)


def test_an_unreachable_share_names_the_next_number_of_faces():
    found = one("reachable", shares=[0.698], decimals=3, n={"a fifth": 52})
    assert (found.verdict, "the next n that does is 53: 37 of 53" in found.evidence) == ("does not hold", True)
    assert one("reachable", shares=[0.61, 0.34], decimals=2, n={"a": 55, "b": 56}).verdict == "holds"


def test_levels_and_citations():
    def level(hits, stated, **more):
        return one("level", value=share(hits, 1000), level=0.6, of="raters", stated=stated, **more).verdict

    assert [level(hits, "above") for hits in (700, 600, 500)] == ["holds", "cannot be told", "does not hold"]
    assert [level(hits, "near") for hits in (600, 700)] == ["holds", "cannot be told"]
    assert [level(hits, "near", margin=0.05) for hits in (660, 700)] == ["holds", "does not hold"]
    sources = [{"value": 0.65, "margin": 0.05, "quantity": "raters", "source": "a"}, {"value": 0.655, "quantity": "a model", "source": "b"}]
    cited = {value: one("citation", value=value, quantity="raters", sources=sources).verdict for value in (0.65, 0.655, 0.66, 0.8)}
    assert cited == {0.65: "holds", 0.655: "does not hold", 0.66: "cannot be told", 0.8: "does not hold"}


def test_frames_of_a_sequence_in_train_by_simulation():
    rng, m, train = np.random.default_rng(0), 5, 0.7
    in_train = rng.random((4000, m)) < train
    tested = ~in_train[:, 0]
    simulated = in_train[tested, 1:].any(axis=1).mean()
    assert splits.relative_in_train(m, train) == pytest.approx(simulated, abs=0.01)
    found = one("split", rule="random_frames", train=train, frames=[m, m])
    assert f"{100 * splits.relative_in_train(m, train):.1f} % of the test frames" in found.evidence


def test_the_best_of_equal_candidates_by_simulation():
    rng, k, n, p = np.random.default_rng(0), 13, 4000, 0.55
    simulated = (rng.binomial(n, p, (20_000, k)).max(axis=1) / n - p).mean()
    assert splits.best_of(k, p, n) == pytest.approx(simulated, abs=3e-4)


def test_rules_of_splits_and_selection_decide():
    rules = {"by_subject": "holds", "not_stated": "cannot be told"}
    assert {rule: one("split", rule=rule).verdict for rule in rules} == rules
    assert one("split", rule="official", dataset="fer2013").verdict == "does not hold"
    assert one("split", rule="official").verdict == "cannot be told"
    people = one("split", rule="random_images", train=0.5, images=4, people=2)
    assert "50.0 % of the test images" in people.evidence  # two images a person: the other one trains in half of the cases
    measured = one("split", rule="random_images", train=0.7, dataset="fer2013")
    assert "At least 6.1 % and 15.9 %" in measured.evidence  # 0.7 x 2,803 and 7,315 of 32,298
    folder = one("split", rule="random_images", train=0.7, dataset="fer2013", images=28821)
    assert "At least 4.9 % and 12.7 %" in folder.evidence  # x 28,821 / 35,887: both faces of a pair have to be in the folder
    assert (people.check, measured.check) == ("test people apart from training people", "test faces apart from training faces")
    on = {"test": "does not hold", "val": "holds", "nothing": "holds", "not_stated": "cannot be told"}
    assert {place: one("selection", chosen="epoch", on=place, source="made up").verdict for place in on} == on


@pytest.mark.parametrize(
    ("values", "told"),
    [({"rule": "random_frames", "train": 0.7}, "frames"), ({"rule": "random_images"}, "train"), ({"rule": "random_images", "train": 0.5}, "people")],
)
def test_a_random_split_names_what_it_needs(values, told):
    with pytest.raises(ValidationError, match=told):
        check("split", **values)


def test_a_mixture_of_seen_and_unseen_faces():
    both = {"seen": 0.9, "unseen": 0.5, "source": "made up"}
    mixed = one("mixture", value=share(800, 1000), fraction=0.75, **both)
    assert (mixed.verdict, "a mix gives 80.0 %" in mixed.evidence, "a mix with 75 % training faces" in mixed.evidence) == (
        "does not hold",
        True,
        True,
    )
    assert one("mixture", value=share(500, 1000), fraction=0.75, **both).verdict == "holds"
    assert one("mixture", value=share(950, 1000), fraction=0.75, **both).verdict == "cannot be told"
    claim = mixtures.Mixture.model_validate({"claim": "a claim", "where": "t", "check": "mixture", "value": share(1, 2), **both, "dataset": "fer2013",
                                             "part": "Training"})  # fmt: skip
    assert mixtures.seen_fraction(claim) == pytest.approx(28_709 / 35_887)
    with pytest.raises(ValidationError, match="no official counts"):
        check("mixture", value=share(1, 2), **both, dataset="fer2013", part="train")


def test_a_model_is_counted_as_built_with_memory():
    found = architectures.measure(architectures.Build(family="cs230", model="five_layer"))
    built = create_model("five_layer")
    assert found["parameters"] == sum(each.numel() for each in built.parameters()) == 2_436_263
    assert found["with_statistics"] == 2_436_519
    assert found["shapes"]["fc1.weight"] == [1024, 2304]
    with pytest.raises(InputError, match="of the family 'cs230'"):
        architectures.measure(architectures.Build(family="fers", model="five_layer"))


def test_architectures_hold_fail_or_stay_open():
    readings = [{"fc_units": 1024}, {"fc_units": 8192}]
    found = {text: one("architecture", parameters=text, family="cs230", model="baseline_text", readings=readings).verdict for text in ("37.8M", "5M")}
    assert found == {"37.8M": "cannot be told", "5M": "cannot be told"}  # 4.76M prints as 5M
    assert one("architecture", parameters="37.9M", family="cs230", model="baseline_text", readings=readings).verdict == "does not hold"
    assert one("architecture", parameters="2.4M", family="cs230", model="five_layer").verdict == "holds"
    assert one("architecture", dense_inputs=2304, family="cs230", model="five_layer").verdict == "holds"
    with pytest.raises(ValidationError, match="expected millions as printed"):
        check("architecture", parameters="2,436,263", family="cs230", model="five_layer")
    same = {"family": "fersys", "model": "fersys_cnn"}
    assert one("transfer", built=same, pretrained={**same, "num_classes": 10}).verdict == "holds"  # the last layer alone differs


def test_a_cell_of_a_page_is_found_by_row_and_column():
    page = (
        "| faces | n | flip |\n|---|---|---|\n| all | 10 | 69.9 % [68.3, 71.3] |\n| part | 5 | - |\n\n| faces | other |\n|---|---|\n| all | 1.0 % |\n"
    )
    assert own.stated_cell(page, row="all", column="flip") == ("69.9", "68.3", "71.3")
    assert own.stated_cell(page, row="all", column="other") == ("1.0", "", "")
    assert own.stated_cell(page, row="part", column="flip") is None
    assert own.stated_cell(page, row="all", column="none") is None


def test_a_published_row_without_n_is_named():
    with pytest.raises(InputError, match="'no n' states no n"):
        check("level", value={"system": "no n"}, level=0.5, of="raters", stated="above")


def test_every_kind_checks_its_own_claims_and_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "extending.md").read_text()
    for kind, (model, _) in KINDS.items():
        assert get_args(model.model_fields["check"].annotation) == (kind,)
        assert f"`{kind}`" in page, kind
