"""Submissions are named in advance, written once, and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferlab.evaluation.submissions import (
    COLUMNS,
    FOLDER,
    HEADLINES,
    PAGE,
    find_named,
    read_named,
    read_submission,
    submission_table,
    write_submission,
)
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

ROOT = Path(__file__).parents[2]
ONE = "| best | fer2013 | wide | flip | single model | best on val |"
IDS = [f"fer2013/{row:07d}" for row in range(5)]


def name(root: Path, *rows: str) -> Path:
    page = root / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(["# Rules", "", f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|---|", *rows, "", "Text."]) + "\n")
    return root


def probs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(7), len(IDS)).astype(np.float32)


def test_the_repositorys_table_is_read() -> None:
    """What was handed in is what its row names."""
    for each in read_named(ROOT):
        if (path := ROOT / FOLDER / f"{each.submission}.parquet").exists():
            table, made = read_submission(path)
            assert (made["submission"], made["study"], made["tta"], made["n"]) == (each.submission, each.study, each.tta, len(table))
            assert each.model in (made["model"], made["model"].partition(" of ")[0])
            assert table["face_id"].tolist() == [f"fer2013/{row:07d}" for row in range(32298, 35887)]


def test_rows_are_read_in_order_and_an_empty_table_names_none(tmp_path) -> None:
    assert read_named(name(tmp_path)) == []
    second, third = "| `all` | fer2013 | `fitted ensemble` | two_scales | ensemble | best on val |", "| c | - | shipped | none | | cost |"
    assert [(each.submission, each.model, each.headline) for each in read_named(name(tmp_path, ONE, second, third))] == [
        ("best", "wide", HEADLINES[1]), ("all", "fitted ensemble", HEADLINES[2]), ("c", "shipped", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["| best | fer2013 | wide | flip | single model |"], "line 5: 5 cells; expected 6"),
        ([ONE, ONE.replace("wide", "plain")], "line 6: submission 'best' comes twice"),
        ([ONE, ONE.replace("best |", "other |", 1)], "line 6: wide with TTA flip comes twice"),
        ([ONE, ONE.replace("best |", "other |", 1).replace("wide", "plain")], "line 6: a second headline 'single model'"),
        ([ONE.replace("wide", "ensemble")], "headline 'single model' of ensemble; expected 'ensemble'"),
        ([ONE.replace("single model", "winner")], "headline 'winner'; expected 'single model', 'ensemble' or nothing"),
        ([ONE.replace("best on val", "")], "best: study, model, TTA or why is empty"),
        ([ONE.replace("best |", "../best |", 1)], r"submission '\.\./best'; expected letters"),
        ([f"| n{number} | fer2013 | r{number} | flip | | cost |" for number in range(11)], "line 15: more than 10 submissions; expected at most 10"),
    ],
)
def test_a_wrong_row_is_refused_in_one_line(tmp_path, rows, told) -> None:
    with pytest.raises(InputError, match=told) as error:
        read_named(name(tmp_path, *rows))
    assert "\n" not in str(error.value)


def test_a_page_without_a_table_and_a_file_without_a_row_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"reports/submissions/README\.md: not found"):
        read_named(tmp_path)
    name(tmp_path).joinpath(PAGE).write_text("# Rules\n\nNo table.\n")
    with pytest.raises(InputError, match="no table with the columns submission, study"):
        read_named(tmp_path)
    name(tmp_path).joinpath(PAGE).write_text(f"| {' | '.join(COLUMNS)} |\n{ONE}\n")
    with pytest.raises(InputError, match="no table with the columns"):
        read_named(tmp_path)
    write_submission(tmp_path, "tried", submission_table(IDS, probs(), EXPRESSIONS), {})
    with pytest.raises(InputError, match=r"tried\.parquet: no row of reports/submissions/README\.md names it"):
        read_named(name(tmp_path, ONE))


def test_a_model_is_found_by_study_model_and_tta(tmp_path) -> None:
    named = read_named(name(tmp_path, ONE, "| all | fer2013 | ensemble | flip | ensemble | best on val |"))
    assert find_named(named, ("wide",), study="fer2013", tta="flip").submission == "best"
    assert find_named(named, ("ensemble of fer2013", "ensemble"), study="fer2013", tta="flip").submission == "all"
    with pytest.raises(InputError, match="names wide of study fer2013 with TTA flip, not none; expected --tta flip"):
        find_named(named, ("wide",), study="fer2013", tta="none")
    for model, study in (("plain", "fer2013"), ("wide", "cs230")):
        with pytest.raises(InputError, match=rf"names no submission of {model} of study {study} \(wide of fer2013, ensemble of fer2013\)"):
            find_named(named, (model,), study=study, tta="flip")


def test_a_submission_comes_back_and_is_written_once(tmp_path) -> None:
    table, made = submission_table(IDS, probs(), EXPRESSIONS), {"study": "fer2013", "n": 5}
    path = tmp_path / FOLDER / "best.parquet"
    assert write_submission(tmp_path, "best", table, made)
    written, state = path.read_bytes(), path.stat().st_mtime_ns
    assert not write_submission(tmp_path, "best", table, made)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (written, state)
    back, facts = read_submission(path)
    assert list(back) == ["face_id", *(f"prob_{name}" for name in EXPRESSIONS)]
    assert set(back.dtypes.iloc[1:]) == {np.dtype(np.float32)}
    np.testing.assert_array_equal(back.iloc[:, 1:].to_numpy(), probs())
    assert (back["face_id"].tolist(), facts) == (IDS, made)
    assert [file.name for file in path.parent.iterdir()] == ["best.parquet"]


def test_what_was_handed_in_does_not_change(tmp_path) -> None:
    table, made = submission_table(IDS, probs(), EXPRESSIONS), {"n": 5}
    write_submission(tmp_path, "best", table, made)
    path = tmp_path / FOLDER / "best.parquet"
    written = path.read_bytes()
    for other, facts in ((submission_table(IDS, probs(1), EXPRESSIONS), made), (table, {"n": 6})):
        with pytest.raises(InputError, match=r"best\.parquet: holds other predictions of this name; expected the same\. Delete it by hand"):
            write_submission(tmp_path, "best", other, facts)
    assert path.read_bytes() == written
    path.write_bytes(b"broken")
    with pytest.raises(InputError, match="holds other predictions"):
        write_submission(tmp_path, "best", table, made)
    path.unlink()
    assert write_submission(tmp_path, "best", table, made)
    assert path.read_bytes() == written


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5])
def test_rows_that_are_no_probabilities_are_refused(wrong) -> None:
    given = probs()
    given[3, 2] = wrong
    with pytest.raises(InputError, match=r"fer2013/0000003: probabilities .*; expected numbers from 0 to 1 whose sum is 1"):
        submission_table(IDS, given, EXPRESSIONS)
    with pytest.raises(InputError, match=r"expected probabilities of shape \(4, 7\), got \(5, 7\)"):
        submission_table(IDS[:4], probs(), EXPRESSIONS)
