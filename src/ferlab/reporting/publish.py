"""Keep a study's summary in the repository: what a reader of reports/published/ may cite, without a dataset's faces.

    python -m ferlab.reporting.publish        copies the finished pipeline of params.yaml to reports/published/<study>/ and writes anew
                                              reports/published/README.md, where what papers state stands beside ours

Copied are numbers, tables and figures of numbers; figures that show faces stay out, since datasets may not be redistributed.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab import paths
from ferlab.evaluation.intervals import wilson
from ferlab.evaluation.published import read_published
from ferlab.params import Params, load_params
from ferlab.paths import InputError
from ferlab.reporting.pages import pick_picture

# Figures of numbers: stage, what their alt text speaks of, file name.
FIGURES = (
    ("train", "accuracy", "learning_curves"),
    ("evaluate", "confusion", "confusions"),
    ("evaluate", "reliability|calibration", "reliability"),
)


def publish(params: Params, folder: Path) -> None:
    """Write the summary of a finished study to `folder`; what was there is replaced only when the new one is whole.

    Raises:
        InputError: A stage of the study has not run.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    sets = {name: _metrics("prepare", name) for name in params.prepare}
    runs = {name: {stage: _metrics(stage, name) for stage in ("train", "evaluate")} for name in params.runs}
    paths.write_json(beside / "summary.json", {"study": params.study, "sets": sets, "runs": runs, "compare": _metrics("compare", "")})
    shutil.copyfile(_existing(paths.artefact("compare", "table")), beside / "results.md")
    figures = [figure for run in params.runs for figure in _write_figures(run, beside)]
    (beside / "README.md").write_text(_page(params, sets, runs, figures))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def summary_table(params: Params, runs: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: one row per run and split, accuracy with its 95 % interval and n, then macro F1, NLL and ECE.

    A net that was trained afresh on train and val has learnt val's faces: its row there is the selection's, before the refit; where nothing was
    selected there is none.
    """
    lines = ["| run | split | n | accuracy, 95 % interval | one view | macro F1 | NLL | ECE |", "|---|---|---:|---|---:|---:|---:|---:|"]
    for name in params.runs:
        scores = runs[name]["evaluate"]
        for split in ("val", "test", "test_clean"):
            if split == "val" and "val" in scores["fitted_on"]:
                lines += [_row_before_refit(name, runs[name]["train"])] if runs[name]["train"]["val"] else []
            elif scores.get(split):
                single = (scores.get("single_view") or {}).get(split, {}).get("accuracy")
                lines.append(_row(name, split, scores[split], n=scores["n"][split], single=single))
    return "\n".join(lines)


def beside_page(published: pd.DataFrame, folder: Path) -> str:
    """Return the page that sets each published net and ensemble beside ours.

    Args:
        published: From `read_published`.
        folder: The published studies.

    Raises:
        InputError: A row that names a study or a run that is not published.
    """
    rows = published[published["kind"].isin(("net", "ensemble"))]
    lines = [f"| {row.paper}: {row.system} | {_theirs(row)} | {_ours(row, folder)} | {row.differs} |" for row in rows.itertuples()]
    return (
        "# What papers state, and what we measured\n\nWritten by `python -m ferlab.reporting.publish` from `conf/published/` and the studies "
        "published here. Intervals are 95 % and Wilson's; those of published rows are computed from their n. Ours are scored once, on the test "
        "split of the study, and told with its view. No row compares where the split differs.\n\n"
        "| paper: system | its split | n | accuracy, % | ours | split | n | accuracy, % | why they differ, or why there is none |\n"
        "|---|---|---:|---|---|---|---:|---|---|\n" + "\n".join(lines) + "\n"
    )


def _theirs(row: Any) -> str:
    """Return three cells: split, n, accuracy."""
    n = f"{row.n:,.0f}" if row.n > 0 else "not said"
    interval = f" [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}]" if row.ci_low > 0 else ""
    return f"{row.split} | {n} | {100 * row.accuracy:.1f}{interval}"


def _ours(row: Any, folder: Path) -> str:
    """Return four cells: run, split, n, accuracy."""
    if not isinstance(row.ours, str):
        return "- | | | "
    study, run = row.ours.split("/")
    path = folder / study / "summary.json"
    kept = json.loads(path.read_text()) if path.is_file() else {"runs": {}, "compare": {"ensembles": {}}}
    if run == "ensemble" and kept["compare"]["ensembles"]:
        test = next(iter(kept["compare"]["ensembles"].values()))["test"]
        n, view, usage = test["n"], "soft vote", next(iter(kept["runs"].values()))["evaluate"]["usage"]["test"]
    elif run in kept["runs"]:
        scores = kept["runs"][run]["evaluate"]
        test, n, view, usage = scores["test"], scores["n"]["test"], scores.get("view", "flip"), scores["usage"]["test"]
    else:
        raise InputError(f"conf/published: {row.paper}: {row.system}: ours: {row.ours} is not published; known studies: {_studies(folder)}")
    accuracy = f"{100 * test['accuracy']:.1f} [{100 * test['accuracy_ci_low']:.1f}, {100 * test['accuracy_ci_high']:.1f}]"
    return f"[{row.ours}]({study}/README.md), {view} | {usage} | {n:,} | {accuracy}"


def _studies(folder: Path) -> str:
    return ", ".join(sorted(path.parent.name for path in folder.glob("*/summary.json"))) or "none"


def _chosen(params: Params, run: str) -> str:
    select = params.runs[run].train.select
    return "kept, nothing selected" if select == "none" else f"chosen on {select}"


def _row(name: str, split: str, of: dict[str, Any], *, n: int, single: float | None) -> str:
    view = "" if single is None else f"{single:.2%}"
    accuracy = f"{of['accuracy']:.2%} [{of['accuracy_ci_low']:.2%}, {of['accuracy_ci_high']:.2%}]"
    return f"| {name} | {split} | {n:,} | {accuracy} | {view} | {of['macro_f1']:.3f} | {of['nll']:.3f} | {of['ece']:.3f} |"


def _row_before_refit(name: str, trained: dict[str, Any]) -> str:
    n, share = trained["n"]["val"], trained["val"]["accuracy"]
    low, high = wilson(round(share * n), n)
    accuracy = f"{share:.2%} [{low:.2%}, {high:.2%}]"
    return f"| {name} | val, one view, before the refit | {n:,} | {accuracy} | {share:.2%} | | {trained['val']['loss']:.3f} | |"


def _page(params: Params, sets: dict[str, Any], runs: dict[str, dict[str, Any]], figures: list[tuple[str, str]]) -> str:
    rules = "\n".join(f"- `{name}`: {metrics.get('split_rule', '')}" for name, metrics in sets.items())
    made = "\n".join(
        f"- `{name}`: params {run['evaluate']['provenance']['params']}, data {run['evaluate']['provenance']['data']}, training code "
        f"{run['train']['provenance']['code']}; epoch {run['train']['best_epoch']} of {run['train']['epochs_run']} {_chosen(params, name)}"
        for name, run in runs.items()
    )
    shown = "\n\n".join(f"![{alt}]({file})" for file, alt in figures)
    return (
        f"# Study {params.study}\n\nWritten by `python -m ferlab.reporting.publish` from the finished pipeline; `ferlab study {params.study}` and "
        f"`dvc repro` make it again.\n\n## Splits\n\n{rules}\n\n`test_clean` is test without the faces that have a byte-identical twin among those "
        f"fitted or selected on. The reported accuracy is that of `evaluate.view` (flip: the mean over a face and its mirror "
        f"image); `one view` is the face alone.\n\n"
        f"## Results\n\n{summary_table(params, runs)}\n\nRuns compared, and published rows: [results.md](results.md). All numbers: [summary.json]"
        f"(summary.json).\n\n## Figures\n\n{shown}\n\n## Provenance\n\n{made}\n"
    )


def _write_figures(run: str, folder: Path) -> list[tuple[str, str]]:
    written = []
    for stage, pattern, stem in FIGURES:
        notebook = json.loads(_existing(paths.executed_notebook(stage, run)).read_text())
        picture = pick_picture(notebook, pattern)
        if picture is not None:
            file = f"{stem}-{run}.png"
            (folder / file).write_bytes(picture.png)
            written.append((file, picture.alt))
    return written


def _metrics(stage: str, name: str) -> dict[str, Any]:
    return json.loads(_existing(paths.artefact(stage, "metrics", name)).read_text())


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path.relative_to(paths.ROOT)}: not found; `dvc repro` makes it")
    return path


def main() -> int:
    """Publish the study of params.yaml; return the exit status."""
    try:
        params = load_params()
        folder = paths.ROOT / "reports" / "published" / params.study
        publish(params, folder)
        (folder.parent / "README.md").write_text(beside_page(read_published(), folder.parent))
    except InputError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 1
    print(f"published: {folder.relative_to(paths.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
