from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ferlab.evaluation.published import read_published
from ferlab.evaluation.tasks import Task
from ferlab.paths import ROOT
from ferlab.reporting.pages.protocol import (
    as_markdown,
    by_task,
    published_tasks_sentence,
    task_sentence,
    tasks_sentence,
    under_task,
    with_task_differences,
)
from ferlab.reporting.tables import published_table

TEST = Task("fer2013", "PrivateTest", tta="flip", expressions=7, version="1", n=3589, digest="0a1b2c3d")
DEDUP = replace(TEST, duplicates="deduplicated", n=2800, digest="ffffffff")
TASKS = {"faces": {"test": TEST, "test_dedup": DEDUP}}
HEADLINE = pd.DataFrame({"accuracy": [1, 2, 3], "dataset": ["faces", "drawn", "faces"]}, index=pd.Index(["a", "b", "c"], name="run"))


def test_a_task_is_named_with_the_faces_of_both_test_splits():
    told = task_sentence(TASKS["faces"])
    assert told.startswith("Task: fer2013, PrivateTest, all faces, TTA flip, 7 expressions, version 1 (n 3,589, faces 0a1b2c3d)")
    assert "n 2,800, faces ffffffff" in told
    assert "deduplicated" not in task_sentence({"test": TEST, "test_dedup": replace(DEDUP, n=3589)})  # no face was excluded
    assert task_sentence({}) == ""


def test_rows_of_two_tasks_stand_in_two_tables_each_with_its_task():
    drawn = Task("control", "test split of Training", tta="flip", expressions=7, version="1", n=600, digest="12345678")
    tasks = {**TASKS, "drawn": {"test": drawn}}
    first, under, second, below = by_task(HEADLINE, tasks)
    assert (list(first.index), list(second.index)) == (["a", "c"], ["b"])
    assert "fer2013" in under
    assert "control" in below
    text = as_markdown(by_task(HEADLINE, tasks))
    assert text.index("| c |") < text.index("fer2013, PrivateTest") < text.index("| b |") < text.index("control, test split")
    assert tasks_sentence(tasks).endswith("Rows of different tasks do not compare.")
    assert tasks_sentence(TASKS) == task_sentence(TASKS["faces"])


def test_tables_of_val_and_test_stand_under_both_and_an_empty_one_under_nothing():
    val = replace(TEST, usage="PublicTest", n=3588, digest="abcdefab")
    told = tasks_sentence({"faces": {**TASKS["faces"], "val": val}}, val=True)
    assert told.endswith("(n 3,589, faces 0a1b2c3d); *val*: n 3,588, faces abcdefab.")
    assert under_task(told, HEADLINE, HEADLINE.iloc[:0], None)[0] == told
    assert len(under_task(told, HEADLINE, HEADLINE.iloc[:0], None)) == 2
    assert under_task(told, HEADLINE.iloc[:0], None) == []


def test_published_rows_are_marked_where_their_task_differs():
    rows = read_published(ROOT / "conf" / "published")
    marked = with_task_differences(published_table(rows), rows, TASKS)["task differs in"].tolist()
    by_row = dict(zip(zip(rows["system"], rows["dataset"], strict=True), marked, strict=True))
    assert by_row[("Five-layer model", "fer2013")] == "–"  # PrivateTest, 7 expressions, n 3,589
    assert by_row[("ResNet50", "fer2013")] == "n (3,589 here)"  # 3,456
    assert by_row[("ResEmoteNet", "fer2013")] == "split, n (3,589 here)"
    assert by_row[("LeNet", "ckplus")] == "dataset"


def test_the_sentence_counts_other_tasks_on_our_split_and_has_both_branches():
    rows = read_published(ROOT / "conf" / "published")
    own = rows[(rows["dataset"] == "fer2013") & (rows["split"] == "PrivateTest")]
    other = int((own["n"] != 3589).sum())
    assert published_tasks_sentence(rows, TASKS).startswith(f"Of those on the same split {other} of {len(own)} state another number")
    assert "are of our task" in published_tasks_sentence(rows[rows["system"] == "Five-layer model"], TASKS)
    assert published_tasks_sentence(rows[rows["dataset"] == "ckplus"], TASKS) == ""


def test_published_rows_do_not_compare_with_covered_faces():
    rows = read_published(ROOT / "conf" / "published").query("system == 'Five-layer model' and dataset == 'fer2013'")
    covered = {"faces": {"test": replace(TEST, preparation="covered: rest")}}
    assert with_task_differences(published_table(rows), rows, covered)["task differs in"].tolist() == ["covered regions"]
    assert published_tasks_sentence(rows, covered).endswith("1 of 1 are not comparable: here regions of every face are covered.")
    assert published_tasks_sentence(rows, {**covered, **TASKS}) == published_tasks_sentence(rows, TASKS)
