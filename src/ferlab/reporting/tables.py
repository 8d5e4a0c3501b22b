"""Numbers as a reader meets them: cells with their interval, tables, Markdown.

Everything here takes the plain dicts of `reports/metrics/` or DataFrames and returns DataFrames or text; nothing is drawn or computed anew.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd
import psutil

from ferlab.reporting.markup import escape_tags

MISSING = "–"
CAPTION = "caption"  # key of `DataFrame.attrs`
SPLIT_NAMES = {"val": "val", "test": "test", "test_dedup": "test, deduplicated"}
HEADLINE_KEYS = {"accuracy": "accuracy", "macro_f1": "macro F1"}
PRETRAINED_ON = "pretrained on (data beyond the dataset)"
# Test-time augmentations, beside "none".
TTA = {
    "flip": "the mean over a face and its mirror image",
    "ten_crop": "the mean over ten crops",
    "two_scales": "the mean of flip (a face and its mirror image) and ten crops",
    "seven": "the mean over a face and seven random changes",
    "vote": "a vote among the face, its mirror image and the face rotated either way",
}


def shown_splits(scores: Mapping[str, Any]) -> list[str]:
    """Return the splits of an evaluate metrics file that have scores; where no test face has a duplicate, test stands for both."""
    n = scores.get("n", {})
    return [split for split in SPLIT_NAMES if scores.get(split) and (split != "test_dedup" or n.get(split, -1) != n.get("test"))]


def control_name(dataset: str) -> str | None:
    """Name control faces by what evaluate calls their dataset, "control" or "control:ckplus and control:jaffe"; None for all others."""
    sources = dataset.split(" and ")
    if not all(source == "control" or source.startswith("control:") for source in sources):
        return None
    layouts = " and ".join(source.removeprefix("control:") for source in sources if source != "control")
    return f"control faces, drawn in the layout of {layouts}" if layouts else "control faces, drawn"


def source_name(described: Mapping[str, Any], split: str = "test") -> str:
    """Name the faces of a split by dataset and usage, from a run's metrics (`dataset`, `usage`)."""
    if (drawn := control_name(described["dataset"])) is not None:
        return drawn
    usage = described["usage"][split.removesuffix("_dedup")]
    return described["dataset"] if usage == "Training" else f"{described['dataset']}, {usage}"


def number(value: float | None, *, percent: bool = False, digits: int = 1) -> str:
    """Return a number as text without a unit; a dash where it is undefined, never -0.0.

    >>> number(0.6213, percent=True), number(-0.0004, percent=True), number(None)
    ('62.1', '0.0', '–')
    """
    if value is None or value != value:
        return MISSING
    return f"{100 * value if percent else value:z.{digits}f}"


def percent(value: float | None, *, digits: int = 1) -> str:
    """Return a fraction in percent.

    >>> percent(0.6213)
    '62.1 %'
    """
    text = number(value, percent=True, digits=digits)
    return text if text == MISSING else f"{text} %"


def cell(scores: Mapping[str, Any], key: str, *, percent: bool = True, digits: int = 1, unit: str = "") -> str:
    """Return a value with its 95 % interval, from `<key>`, `<key>_ci_low` and `<key>_ci_high`.

    Args:
        scores: Holds the three.
        key: The value's.
        percent: Whether to multiply by 100.
        digits: After the point.
        unit: Of a number in prose; in a table the heading names it.

    >>> cell({"accuracy": 0.621, "accuracy_ci_low": 0.605, "accuracy_ci_high": 0.637}, "accuracy")
    '62.1 [60.5, 63.7]'
    """
    value, low, high = (number(scores.get(k), percent=percent, digits=digits) for k in (key, f"{key}_ci_low", f"{key}_ci_high"))
    stated = f"{value} {unit}" if unit and value != MISSING else value
    return stated if MISSING in (value, low, high) else f"{stated} [{low}, {high}]"


def estimate(scores: Mapping[str, Any], key: str, *, unit: str = "%", digits: int = 1) -> str:
    """Return a fraction with its 95 % interval for prose, in percent or in percentage points.

    >>> estimate({"accuracy": 0.8, "accuracy_ci_low": 0.766, "accuracy_ci_high": 0.83}, "accuracy")
    '80.0 % [76.6, 83.0]'
    """
    return cell(scores, key, digits=digits, unit=unit)


def as_difference(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tested difference with its bounds, `ci_low` and `ci_high`, by the names that `cell` and `estimate` expect of them too."""
    return {**row, "difference_ci_low": row["ci_low"], "difference_ci_high": row["ci_high"]}


def over_units(scores: Mapping[str, Any]) -> str:
    """Return what the bounds of scores are over, by their `subjects`.

    >>> over_units({"subjects": 30}), over_units({})
    ('over 30 subjects', 'over faces')
    """
    subjects = scores.get("subjects")
    return "over faces" if subjects is None or subjects != subjects else f"over {subjects:,.0f} subjects"


def p_value(p: float) -> str:
    """Return a p value for a column of p values.

    >>> p_value(0.00002), p_value(0.0312)
    ('< 0.001', '0.031')
    """
    if p != p:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """Return a p value with its relation, to stand after its name.

    >>> p_equals(0.00002), p_equals(0.0312)
    ('< 0.001', '= 0.031')
    """
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def captioned(table: pd.DataFrame, caption: str) -> pd.DataFrame:
    """Return a table with the caption that stands above it where it is shown; a page of the site numbers it: "Table 3. Faces by split."

    Args:
        table: Any.
        caption: Plain text, a sentence without its full stop: what the rows are, with n, split and unit where no column names them.

    >>> captioned(pd.DataFrame({"n": [1]}), "Faces by split").attrs
    {'caption': 'Faces by split.'}
    """
    shown = table.copy(deep=False)
    shown.attrs = {**table.attrs, CAPTION: f"{caption}."}
    return shown


def filled(table: pd.DataFrame | None, *, where: bool = True) -> pd.DataFrame | None:
    """Return a table that has something to show; None, which a page leaves blank, for one without rows or whose one cell has nothing beside it."""
    return table if where and table is not None and table.size > 1 else None


def runs_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs as a reader meets them, test first: accuracy and macro F1, also deduplicated, ECE; then val and what they are.

    Accuracies on faces that a run was trained or selected on are marked, but for those on val where val selected the epoch, as it is there for.
    The columns without duplicates are not shown where they repeat those of test.
    Where a run has pretrained weights, the last column names their data.

    Args:
        runs: From `ferlab.evaluation.runs.table_of_runs`.
    """
    table = runs[["run"]].copy()
    marks = [" (selected on)" if row.get("test.role") == "selected_on" else "" for _, row in runs.iterrows()]
    for key, metric in HEADLINE_KEYS.items():
        for split, name in {"test": "test", "test_dedup": "test, deduplicated"}.items():
            cells = [_split_cell(row, split, key) + mark * (key == "accuracy") for (_, row), mark in zip(runs.iterrows(), marks, strict=True)]
            table[f"{metric}, {name}, %"] = cells
    repeated = [name for name in table if "deduplicated" in name and table[name].equals(table[name.replace(", deduplicated", "")])]
    table = table.drop(columns=repeated) if len(repeated) == len(HEADLINE_KEYS) else table
    table["ECE, test, %"] = [number(value, percent=True) for value in runs["test.ece"]]
    marks = [" (trained on)" if row.get("val.role") == "trained" else "" for _, row in runs.iterrows()]
    table["accuracy, val, %"] = [_split_cell(row, "val", "accuracy") + mark for (_, row), mark in zip(runs.iterrows(), marks, strict=True)]
    named = runs[["selected_on", "model", "seed", "set"]].rename(columns={"selected_on": "epoch selected on", "set": "dataset"})
    if (runs["pretrained_on"] != "").any():
        named[PRETRAINED_ON] = runs["pretrained_on"]
    return table.join(named).set_index("run")


def pairs_table(pairs: pd.DataFrame, *, of: str = "runs") -> pd.DataFrame:
    """Return paired tests as a reader meets them, differences in percentage points.

    Args:
        pairs: From `compare_within_sets` or `compare_ensembles`.
        of: What is compared, for the caption.
    """
    rows = [
        {
            "dataset": row["set"],
            "pair": f"{row['run_a']} − {row['run_b']}",
            "difference, points": cell(row, "difference"),
            "correct only in first / second": f"{row['only_a']} / {row['only_b']}",
            "McNemar p": p_value(row["p_exact"]),
            "mid-p": p_value(row["p_mid"]),
            "p by subject": p_value(row.get("p_subjects", float("nan"))),
            "Holm p": p_value(row["p_holm"]),
            "detectable, points": number(row["detectable"], percent=True),
        }
        for row in map(as_difference, pairs.to_dict("records"))
    ]
    tests = ["McNemar p", "mid-p", "p by subject", "Holm p", "detectable, points"]
    table = pd.DataFrame(rows, columns=["dataset", "pair", "difference, points", "correct only in first / second", *tests]).set_index("pair")
    table = captioned(table, f"Paired tests of {of} on the same test faces")
    return table if (table["p by subject"] != MISSING).any() else table.drop(columns="p by subject")


def ensembles_table(
    votes: Mapping[str, Mapping[str, Mapping[str, Any]]],
    members: Mapping[str, Sequence[str]],
    weights: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """Return one row per set and ensemble: its members with their weights, and its accuracy and macro F1 on val and test.

    Args:
        votes: From `ferlab.evaluation.runs.score_ensembles`.
        members: Set -> the runs that vote.
        weights: Set -> run -> its weight, fitted on val.
    """
    rows = [
        {
            "dataset": name,
            "ensemble": kind,
            "members": ", ".join(members[name]) if kind == "ensemble" else named_weights((weights or {})[name]),
            **{f"{label}, {split}, %": cell(scores[split], key) for split in ("val", "test") for key, label in HEADLINE_KEYS.items()},
        }
        for name, kinds in votes.items()
        for kind, scores in kinds.items()
    ]
    columns = [f"{label}, {split}, %" for split in ("val", "test") for label in HEADLINE_KEYS.values()]
    table = pd.DataFrame(rows, columns=["dataset", "ensemble", "members", *columns]).set_index("dataset")
    return captioned(table, "Ensembles of each dataset and their scores")


def named_weights(weights: Mapping[str, float]) -> str:
    """Return the members of an ensemble with their weights.

    >>> named_weights({"a": 0.625, "b": 0.375})
    'a 0.625, b 0.375'
    """
    return ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items())


def published_table(published: pd.DataFrame) -> pd.DataFrame:
    """Return published rows as a reader meets them, each with its split and n."""
    rows = published.rename(columns={"ci_low": "accuracy_ci_low", "ci_high": "accuracy_ci_high"}).to_dict("records")
    table = [
        {
            "system": row["system"],
            "paper": row["paper"],
            "dataset": row["dataset"],
            "split": row["split"],
            "n": f"{row['n']:,.0f}" if row["n"] == row["n"] and row["n"] is not None else MISSING,
            "accuracy, %": cell(row, "accuracy"),
            "kind": row["kind"],
            "selected on": row["selected_on"] if row["kind"] in ("model", "ensemble") else MISSING,
            "note": row["note"],
        }
        for row in rows
    ]
    columns = ["system", "paper", "dataset", "split", "n", "accuracy, %", "kind", "selected on", "note"]
    return captioned(pd.DataFrame(table, columns=columns).set_index("system"), "Published results with their split and n")


def machine_table() -> pd.DataFrame:
    """Return the hardware and software that ran this notebook, without times and paths."""
    packages = ("torch", "numpy", "scikit-learn", "torchmetrics", "statsmodels", "pandas")
    facts = {
        "system": f"{platform.system()} on {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "Python": platform.python_version(),
    } | {name: version(name) for name in packages}
    return captioned(pd.DataFrame({"": facts.values()}, index=pd.Index(facts, name="machine")), "Hardware and software that executed this notebook")


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table as GitHub Markdown; bars and tags in cells are escaped. One without rows is no text, an index of row numbers no column."""
    if not len(table):
        return ""
    numbered = table.index.name is None and pd.api.types.is_integer_dtype(table.index)
    shown = table if numbered else table.reset_index()
    lines = [list(map(str, shown.columns)), ["---"] * len(shown.columns), *shown.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(_escaped(line)) + " |" for line in lines) + "\n"


def markdown_page(title: str, sections: Mapping[str, str]) -> str:
    """Return a Markdown page: a title, then each section's heading and text."""
    return "\n".join([f"# {title}\n", *(f"## {heading}\n\n{text.strip()}\n" for heading, text in sections.items() if text.strip())])


def _escaped(line: Sequence[str]) -> list[str]:
    return [escape_tags(text).replace("|", "\\|").replace("\n", " ") for text in line]


def _split_cell(row: pd.Series, split: str, key: str) -> str:
    return cell({k.removeprefix(f"{split}."): row[k] for k in row.index if str(k).startswith(f"{split}.{key}")}, key)


def _processor() -> str:
    """Return the processor's name, on Linux from /proc/cpuinfo."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
