from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ferlab.data.preparation.steps import prepared_as
from ferlab.data.readers.registry import READERS
from ferlab.data.regions import Registration
from ferlab.evaluation import tasks
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.tasks import Task, as_metrics, differences, digest_faces, name_preparation, one_task_per_set, recorded_tasks, tasks_of
from ferlab.params import Prepare
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")
TASK = Task("fer2013", "PublicTest", tta="flip", expressions=7, version="1", n=3589, digest="0a1b2c3d")


def faces(usages: tuple[str, str, str] = ("Training", "PublicTest", "PrivateTest")) -> pd.DataFrame:
    splits = ["train"] * 3 + ["val"] * 3 + ["test"] * 4
    named = dict(zip(("train", "val", "test"), usages, strict=True))
    groups = [0, 1, 2, 3, 4, 5, 0, 6, 7, 8]  # the first test face has a duplicate in train
    return pd.DataFrame(
        {
            "face_id": [f"f/{i}" for i in range(10)], "source": "fer2013", "usage": [named[split] for split in splits], "split": splits,
            "target": [i % 3 for i in range(10)], "duplicate_group": groups,
        }
    )


def predictions(of: pd.DataFrame, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    rows = of[of["split"] != "train"]
    probs = np.full((len(rows), len(names)), 1 / len(names))
    return predictions_table(rows["face_id"], rows["split"], rows["target"].to_numpy(), probs=probs, expressions=names)


def test_a_task_names_usage_duplicates_tta_and_expressions():
    found = tasks_of(predictions(faces()), faces(), tta="flip", preparation={})
    assert list(found) == ["val", "test", "test_dedup"]
    assert [found[split].usage for split in found] == ["PublicTest", "PrivateTest", "PrivateTest"]
    assert [found[split].n for split in found] == [3, 4, 3]
    assert [found[split].duplicates for split in found] == ["all", "all", "deduplicated"]
    assert {(of.dataset, of.tta, of.expressions, of.version) for of in found.values()} == {("fer2013", "flip", 3, "1")}


def test_a_split_of_ours_is_not_called_by_an_official_name():
    found = tasks_of(predictions(faces()), faces(("Training", "Training", "PublicTest")), tta="none", preparation={})
    assert (found["val"].usage, found["test"].usage) == ("val split of Training", "PublicTest")
    drawn = tasks_of(predictions(faces()), faces(("Training",) * 3), tta="none", preparation={})
    assert drawn["test"].usage == "test split of Training"


def test_the_digest_is_of_ids_and_labels_in_any_order_and_any_order_of_classes():
    of = faces()
    rows = predictions(of)
    lines = sorted(f"{face}\t{NAMES[target]}" for face, target in zip(rows["face_id"], rows["target"], strict=True))
    assert digest_faces(rows) == hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    assert digest_faces(rows.sample(frac=1, random_state=0)) == digest_faces(rows)
    turned = predictions(of.assign(target=2 - of["target"]), NAMES[::-1])
    assert digest_faces(turned) == digest_faces(rows)
    assert digest_faces(rows.iloc[1:]) != digest_faces(rows)
    assert digest_faces(predictions(of.assign(target=(of["target"] + 1) % 3))) != digest_faces(rows)


def test_tasks_survive_a_metrics_file():
    found = tasks_of(predictions(faces()), faces(), tta="flip", preparation={})
    assert recorded_tasks({"tasks": as_metrics(found)}) == found


def test_a_file_from_before_tasks_is_read_as_version_0():
    old = {
        "dataset": "fer2013", "usage": {"test": "PublicTest", "val": "Training"}, "n": {"test": 3589, "test_no_exact_duplicates": 3309, "val": 2873},
        "test": {"per_class": {name: {} for name in "abcdefg"}}, "val": {"accuracy": 0.5}, "test_no_exact_duplicates": {"accuracy": 0.4},
    }
    found = recorded_tasks(old)
    assert found["test"] == Task("fer2013", "PublicTest", "all", "flip", 7, "0", 3589)
    assert found["test_no_exact_duplicates"].duplicates == "deduplicated"
    assert found["val"].usage == "val split of Training"


@pytest.mark.parametrize(("field", "other"), [("dataset", "jaffe"), ("usage", "PrivateTest"), ("tta", "none"), ("expressions", 8), ("n", 7178)])
def test_a_known_field_that_differs_is_named(field, other):
    assert differences(TASK, replace(TASK, **{field: other})).get(field) == (getattr(TASK, field), other)


def test_what_is_not_known_does_not_differ():
    assert differences(TASK, Task("fer2013", "PublicTest")) == {}
    assert differences(TASK, replace(TASK, tta="", digest="", n=None)) == {}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, "as delivered"), ({"size": 112, "colour": "grey"}, "as delivered"), ({"cover": ["rest", "nose"]}, "covered: rest and nose"),
        ({"face": {"detector": "haar"}}, "cropped by haar"), ({"face": {"detector": "dataset", "margin": 0.1}}, "cropped by dataset with margin 0.1"),
        ({"face": {"boxes": "mine.csv"}}, "cropped by given boxes"), ({"face": {"align": "eyes"}}, "aligned by eyes"),
        ({"equalise": "histogram", "blur": 5}, "equalised by histogram, blurred by 5 pixels"),
    ],
)  # fmt: skip
def test_the_preparation_is_named_where_it_changes_what_a_face_shows(asked, named):
    settings = Prepare(dataset="control", **asked)
    steps = {key: getattr(settings, key) for key in ("size", "colour", "equalise", "blur", "cover")}
    recorded = prepared_as(settings.face.model_dump(), **steps, shape=(48, 48), placed=Registration())
    assert name_preparation(recorded) == named
    found = tasks_of(predictions(faces()), faces(), tta="flip", preparation=recorded)["test"]
    assert found.preparation == named
    assert (named in found.name) == (named != "as delivered")


def test_covered_faces_are_another_task_even_where_the_other_preparation_is_not_known():
    covered, whole = replace(TASK, preparation="covered: rest"), replace(TASK, preparation="as delivered")
    assert differences(covered, whole) == {"preparation": ("covered: rest", "as delivered")}
    assert differences(TASK, covered) == {"preparation": ("", "covered: rest")}
    assert differences(TASK, whole) == differences(TASK, replace(TASK, preparation="cropped by haar")) == {}


def test_versions_differ_only_where_one_between_changes_these_faces():
    old = replace(TASK, version="0")
    assert differences(TASK, old) == {}  # all faces of PublicTest are the same under both
    dedup = replace(TASK, duplicates="deduplicated")
    assert differences(dedup, replace(dedup, version="0")) == {"version": ("1", "0")}
    joined = replace(dedup, dataset="jaffe and fer2013", version="1+1")
    assert differences(joined, replace(joined, version="1+0")) == {"version": ("1+1", "1+0")}


def test_every_dataset_has_versions_with_reasons_in_order():
    assert set(READERS) <= set(tasks.VERSIONS)
    for versions in tasks.VERSIONS.values():
        numbers = [version.number for version in versions]
        assert numbers == sorted(set(numbers))
        assert all(version.reason and version.changes for version in versions)
    assert tasks.version_of("control:ckplus and jaffe") == "1+1"


def test_runs_of_one_task_share_it_and_other_tasks_are_refused_in_one_line():
    found = tasks_of(predictions(faces()), faces(), tta="flip", preparation={})
    metrics = {name: {"tasks": as_metrics(found)} for name in ("a", "b", "c")}
    runs = {"a": {"data": "x"}, "b": {"data": "x"}, "c": {"data": "y"}}
    metrics["c"] = {"tasks": as_metrics({"test": replace(found["test"], tta="none")})}  # another set may have another task
    assert one_task_per_set(runs, metrics) == {"x": found, "y": {"test": replace(found["test"], tta="none")}}
    metrics["b"] = {"tasks": as_metrics({**found, "test": replace(found["test"], tta="none", digest="ffffffff")})}
    with pytest.raises(InputError, match=r"runs a and b: scored on different tasks, test: tta flip and none; digest \w+ and ffffffff") as error:
        one_task_per_set(runs, metrics)
    assert "\n" not in str(error.value)
