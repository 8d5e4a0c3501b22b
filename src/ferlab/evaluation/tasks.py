"""Versioned tasks: what a number was measured on. Rows of different tasks are never set side by side.

A task names its dataset, the official usage (or the split of ours), whether duplicates are excluded, how the faces were prepared, the test-time
augmentation, the number of expressions and its version, as lm-evaluation-harness does of language models (Gao et al., 2021). Number and digest of
the faces with their labels tell apart rows that claim one task and hold other faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from ferlab.evaluation.deduplicated import mark_duplicates, split_rows
from ferlab.evaluation.predictions import expressions_of
from ferlab.expressions import SPLITS
from ferlab.paths import InputError

Duplicates = Literal["all", "deduplicated"]
DEDUP = "_dedup"
BOTH: tuple[Duplicates, ...] = ("all", "deduplicated")
AS_DELIVERED = "as delivered"
COVERED = "covered: "


@dataclass(frozen=True)
class Version:
    """One version of a dataset's tasks: why it differs from the one before, and for which faces it does."""

    number: int
    reason: str
    changes: tuple[Duplicates, ...] = BOTH


FIRST = (Version(1, "Faces, labels and usages as the reader delivers them; duplicates by the search that queries both faces of a pair."),)

# Dataset -> its versions. A new one where faces, labels or the computation of a metric change; a dataset without a row has the first alone.
VERSIONS: dict[str, tuple[Version, ...]] = {
    "affectnet": FIRST,
    "captured": FIRST,
    "ckplus": FIRST,
    "class_folders": FIRST,
    "control": FIRST,
    "fer2013": (
        Version(0, "Results from before tasks had versions: official usages; duplicates by a search from one face of each pair, or exact ones."),
        Version(1, "The search queries both faces of a pair and finds a few percent more, which test_dedup excludes.", ("deduplicated",)),
    ),
    "fer2013_reshuffled": FIRST,
    "ferplus": FIRST,
    "jaffe": FIRST,
    "listed": FIRST,
    "photographs": (Version(1, "Labelled photographs of a folder; accuracy is of those in which a face was found."),),
    "rafdb": FIRST,
}


@dataclass(frozen=True)
class Task:
    """What a number was measured on; "" and None: not known.

    Attributes:
        dataset: As its reader calls it; of joined sources "a and b".
        usage: The official name (PrivateTest), or "test split of Training" where the split is ours.
        duplicates: "deduplicated": without faces that have a duplicate in train or val.
        tta: Test-time augmentation.
        expressions: How many are told apart.
        version: A number of VERSIONS; of joined sources "1+1".
        n: Faces.
        digest: Of their ids and labels, in any order.
        preparation: As `name_preparation` names it.
    """

    dataset: str
    usage: str
    duplicates: Duplicates = "all"
    tta: str = ""
    expressions: int | None = None
    version: str = ""
    n: int | None = None
    digest: str = ""
    preparation: str = ""

    @property
    def name(self) -> str:
        """The task in one line.

        >>> Task("fer2013", "PublicTest", tta="flip", expressions=7, version="1", n=3589, digest="0a1b2c3d").name
        'fer2013, PublicTest, all faces, TTA flip, 7 expressions, version 1 (n 3,589, faces 0a1b2c3d)'
        """
        kept = {"all": "all faces", "deduplicated": "deduplicated"}[self.duplicates]
        changed = self.preparation if self.preparation != AS_DELIVERED else ""
        known = [self.dataset, self.usage, kept, changed, self.tta and f"TTA {self.tta}", self.expressions and f"{self.expressions} expressions"]
        known += [self.version and f"version {self.version}"]
        counted = ", ".join([f"n {self.n:,}"] * (self.n is not None) + [f"faces {self.digest}"] * bool(self.digest))
        return ", ".join(str(part) for part in known if part) + (f" ({counted})" if counted else "")


def task_of(rows: pd.DataFrame, *, dataset: str, usage: str, duplicates: Duplicates = "all", tta: str, preparation: str = "") -> Task:
    """Return the task of some predictions rows, with the version in use.

    Args:
        rows: A predictions table.
        dataset: As of `Task`, like `usage`, `duplicates`, `tta` and `preparation`.
    """
    names = expressions_of(rows)
    more = {"duplicates": duplicates, "tta": tta, "expressions": len(names), "version": version_of(dataset), "n": len(rows)}
    return Task(dataset, usage, **more, digest=digest_faces(rows), preparation=preparation)


def tasks_of(predictions: pd.DataFrame, faces: pd.DataFrame, *, tta: str, preparation: Mapping[str, Any]) -> dict[str, Task]:
    """Return the task of val, test and test_dedup, of those that have faces.

    Args:
        predictions: A run's predictions table.
        faces: The face table of its prepared dataset, with `duplicate_group`.
        tta: The augmentation of the table.
        preparation: Of that dataset, see `name_preparation`.
    """
    dataset = " and ".join(dict.fromkeys(faces.loc[faces["split"].isin(("val", "test")), "source"]))
    usages = {split: list(dict.fromkeys(faces.loc[faces["split"] == split, "usage"])) for split in SPLITS}
    tasks, shared = {}, {"dataset": dataset, "tta": tta, "preparation": name_preparation(preparation)}
    for name, rows in split_rows(predictions, mark_duplicates(predictions, faces)).items():
        split = name.removesuffix(DEDUP)
        duplicates: Duplicates = "deduplicated" if name.endswith(DEDUP) else "all"
        if len(rows):
            tasks[name] = task_of(rows, usage=name_usage(split, usages), duplicates=duplicates, **shared)
    return tasks


def name_preparation(preparation: Mapping[str, Any]) -> str:
    """Name what a preparation changes in what a face shows; "" for {}, where it was not recorded.

    Size and colour are not named: the model's card sets those of its input.

    >>> name_preparation({"face": {"detector": "haar", "margin": 0.2, "align": "eyes"}, "equalise": "clahe", "blur": 5, "cover": ["rest"]})
    'cropped by haar with margin 0.2, aligned by eyes, equalised by clahe, blurred by 5 pixels, covered: rest'
    >>> name_preparation({"face": {}, "size": 48, "colour": "grey", "equalise": "none", "blur": 0})
    'as delivered'

    Args:
        preparation: As `ferlab.data.preparation.steps.prepared_as` writes it.
    """
    face, off = preparation.get("face", {}), (None, "none", 0)
    aligned, by = face.get("align"), "given boxes" if face.get("detector") in off else face["detector"]
    margin = "" if face.get("margin") in off else f" with margin {face['margin']:g}"
    steps = [
        f"cropped by {by}{margin}" if face and (by != "given boxes" or aligned in off) else "",
        "" if aligned in off else f"aligned by {aligned}",
        "" if preparation.get("equalise") in off else f"equalised by {preparation['equalise']}",
        "" if preparation.get("blur") in off else f"blurred by {preparation['blur']} pixels",
        f"{COVERED}{' and '.join(preparation['cover'])}" if preparation.get("cover") else "",
    ]
    return ", ".join(filter(None, steps)) or (AS_DELIVERED if preparation else "")


def name_usage(split: str, usages: Mapping[str, list[str]]) -> str:
    """Name the faces of a split: its official usages where no other split holds faces of them.

    >>> name_usage("test", {"train": ["Training"], "val": ["PublicTest"], "test": ["PrivateTest"]})
    'PrivateTest'
    >>> name_usage("val", {"train": ["Training"], "val": ["Training"], "test": ["PublicTest"]})
    'val split of Training'
    """
    own, others = usages[split], {usage for name, of in usages.items() if name != split for usage in of}
    named = " and ".join(own)
    return f"{split} split of {named}" if others & set(own) or own == ["Training"] else named


def digest_faces(rows: pd.DataFrame) -> str:
    """Return 8 hex digits over the faces and their labels, whatever their order.

    Args:
        rows: A predictions table; labels are hashed by name, so that another order of classes changes nothing.
    """
    labels = np.array(expressions_of(rows))[rows["target"].to_numpy()]
    lines = sorted(f"{face}\t{label}" for face, label in zip(rows["face_id"], labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def version_of(dataset: str) -> str:
    """Return the version in use of a dataset's tasks.

    >>> version_of("fer2013"), version_of("control:ckplus and control:jaffe")
    ('1', '1+1')
    """
    return "+".join(str(_versions(name)[-1].number) for name in dataset.split(" and "))


def recorded_tasks(metrics: Mapping[str, Any]) -> dict[str, Task]:
    """Return the tasks of a run's metrics file; of one from before tasks, what it says of them, as version 0."""
    if "tasks" in metrics:
        return {split: Task(**of) for split, of in metrics["tasks"].items()}
    usages = {split: usage.split(" and ") for split, usage in metrics.get("usage", {}).items()}
    tasks = {}
    for name, n in metrics.get("n", {}).items():
        split, duplicates = name.split("_")[0], "all" if name in SPLITS else "deduplicated"
        if split in usages and metrics.get(name):
            per_class = metrics[split].get("per_class") or {}
            more = {"tta": metrics.get("tta", "flip"), "expressions": len(per_class) or None, "version": "0", "n": n}
            tasks[name] = Task(metrics["dataset"], name_usage(split, usages), duplicates, **more)  # type: ignore[arg-type]
    return tasks


def as_metrics(tasks: Mapping[str, Task]) -> dict[str, dict[str, Any]]:
    """Return tasks as plain values, for a metrics file."""
    return {split: asdict(task) for split, task in tasks.items()}


def differences(one: Task, other: Task) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two tasks differ, as far as both are known; versions differ where one between them changes these faces.

    A preparation that is not known differs from one that covers regions: no paper of `conf/published` covers any.
    """
    found = {}
    for field in fields(Task):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        unknown = (ours in ("", None) or theirs in ("", None)) and not (field.name == "preparation" and COVERED in ours + theirs)
        if not unknown and ours != theirs and (field.name != "version" or _versions_differ(one, other)):
            found[field.name] = (ours, theirs)
    return found


def _versions_differ(one: Task, other: Task) -> bool:
    parts = [[int(number) for number in task.version.split("+")] for task in (one, other)]
    datasets = one.dataset.split(" and ")
    if one.dataset != other.dataset or len({len(datasets), *map(len, parts)}) > 1:
        return True
    return any(
        min(a, b) < version.number <= max(a, b) and one.duplicates in version.changes
        for name, a, b in zip(datasets, *parts, strict=True)
        for version in _versions(name)
    )


def _versions(dataset: str) -> tuple[Version, ...]:
    return VERSIONS.get(dataset.partition(":")[0], FIRST)


def one_task_per_set(runs: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Task]]:
    """Return the tasks of each set, `{set: {split: Task}}`, which all of its runs share.

    Args:
        runs: Per run its `data`.
        metrics: Per run what evaluate wrote.

    Raises:
        InputError: If two runs of a set were scored on different tasks, in one line that names both and what differs.
    """
    shared: dict[str, dict[str, tuple[str, Task]]] = {}
    for name, run in runs.items():
        for split, task in recorded_tasks(metrics[name]).items():
            first, known = shared.setdefault(run["data"], {}).setdefault(split, (name, task))
            if differing := differences(known, task):
                told = "; ".join(f"{field} {ours} and {theirs}" for field, (ours, theirs) in differing.items())
                raise InputError(
                    f"runs {first} and {name}: scored on different tasks, {split}: {told}; rows of different tasks are not set side by side. "
                    f"Score both again (dvc repro -sf evaluate@{first} evaluate@{name}), or give one another prepared dataset"
                )
    return {name: {split: task for split, (_, task) in of.items()} for name, of in shared.items()}


def of_published(row: Mapping[str, Any]) -> Task:
    """Return the task of a published row, as far as its paper states it (see `ferlab.evaluation.published`)."""
    n = row["n"] if row["n"] == row["n"] else None  # a column of numbers holds NaN for None
    return Task(str(row["dataset"]), str(row["split"]), expressions=int(row["expressions"]), n=None if n is None else int(n))


def differences_from_ours(row: Mapping[str, Any], ours: Iterable[Task]) -> dict[str, tuple[Any, Any]]:
    """Return how the task of a published row differs from the most similar one of ours: `{field: (theirs, ours)}`; {} where it does not."""
    theirs = of_published(row)
    found = [differences(theirs, task) for task in ours]
    return min(found, key=lambda fields: (("dataset" in fields) + ("usage" in fields), len(fields)), default={"dataset": (theirs.dataset, "")})
