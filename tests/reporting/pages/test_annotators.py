"""What the part on annotators shows, in every branch."""

from __future__ import annotations

import pytest

from ferlab.reporting.pages.annotators import levels_table, plot_shares, rank_sentence, shares_sentence, show_shares, votes_text


def bounded(**values: float) -> dict[str, float]:
    return {f"{key}{end}": value + step for key, value in values.items() for end, step in (("", 0), ("_ci_low", -0.02), ("_ci_high", 0.02))}


def soft(confidence: float = 0.5, share: float = 0.6) -> dict:
    changed = {"kl": 0.6, "difference": -0.1, "difference_ci_low": -0.2, "difference_ci_high": 0.0, "p": 0.04}
    bins = [{"bin": 7, "faces": 30, "confidence": confidence, "share": share}, {"bin": 9, "faces": 10, "confidence": confidence, "share": share}]
    return {"n": 40, "entropy": 0.4, "mean_kl": 1.1, "scalings": {"none": {"kl": 0.7}, "temperature": changed, "vector": changed}, "bins": bins}


def votes(model: float = 0.63, **changes) -> dict:
    row = {"level": "all", "n": 5, **bounded(accuracy=0.5, annotator=0.7, label=0.6, model=0.5)}
    labels = {"n": 12, **bounded(first=0.75, both=0.25)}
    rates = bounded(accuracy=0.6, annotator=0.75, label=0.62, model=model)
    return {"n": 40, "by_subject": False, **rates, "levels": [row, row | {"level": "fewer", "n": 0}], "labels": labels, "soft": soft()} | changes


def test_a_dataset_without_votes_has_no_text_and_no_table():
    assert votes_text(None) == levels_table(None) == []


def test_votes_are_shown_where_there_are_some(capsys):
    show_shares(None)
    show_shares(votes())
    show_shares(votes(soft=None))
    shown = capsys.readouterr().out
    assert shown.count("Markdown") == shown.count("image/png") == 1


def test_ceilings_are_told_with_the_models_place():
    first, second = votes_text(votes())
    assert "75.0 % [73.0, 77.0] of 40 faces**, the dataset's label in 62.0 % [60.0, 64.0], the prediction in 63.0 %" in first
    assert "agrees with the annotators less than one of them does" in first
    assert "agrees with the annotators more" in votes_text(votes(model=0.85))[0]
    assert "overlap" in votes_text(votes(model=0.74))[0]
    assert "12 faces have two labels" in first
    assert "one of the two in 75.0 % [73.0, 77.0]; the two rank first and second in 25.0 %" in first
    assert "0.700 nats (40 faces); that of the mean votes, which ignore the face, is 1.100." in second
    assert "Temperature scaling, fitted on labels, changes it by -0.1000 [-0.2000, 0.0000] (p = 0.040) and vector scaling" in second
    assert "two labels" not in votes_text(votes(labels=None))[0]
    assert len(votes_text(votes(soft=None))) == 1


def test_levels_without_faces_have_no_row():
    assert levels_table(votes())[0].index.tolist() == ["all"]


@pytest.mark.parametrize(("confidence", "share", "word"), [(0.5, 0.6, ": the model is underconfident"), (0.7, 0.6, ": the model is overconfident")])
def test_confidence_is_read_against_the_share_of_votes(confidence, share, word):
    assert word in shares_sentence(soft(confidence, share))
    assert "confident" not in shares_sentence(soft(0.6, 0.6)).removeprefix("Mean confidence")
    axis = plot_shares(soft(confidence, share)).axes[0]
    assert axis.collections[0].get_offsets().tolist() == [pytest.approx([100 * confidence, 100 * share])] * 2


def test_the_rank_of_the_label_is_told_for_misclassified_faces():
    counts = {"1": 8, "2": 1, "3": 0, "4": 1}
    close = {"close_rate": 0.5, "close_rate_ci_low": 0.1, "close_rate_ci_high": 0.9}
    assert rank_sentence({"rank_mean": 1.4, "rank_counts": counts, **close}) == (
        "The label has mean rank 1.40 among the probabilities, and is the second or third in 50.0 % [10.0, 90.0] of 2 misclassified faces."
    )
    assert rank_sentence({"rank_mean": 1.0, "rank_counts": {"1": 8, "2": 0}}) == "The label has mean rank 1.00 among the probabilities."
