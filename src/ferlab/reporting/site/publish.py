"""Keep a study's summary in the repository: what a reader of reports/published/ may cite, without a dataset's faces.

    python -m ferlab.reporting.site.publish        copies the finished pipeline of params.yaml to reports/published/<study>/ and writes anew
                                              reports/published/README.md, where what papers state stands beside ours

Copied are numbers, tables, predictions (float16) and figures of numbers; figures that show faces stay out, since datasets may not be
redistributed. From the predictions anyone can recompute the numbers without the dataset.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab import paths
from ferlab.data.store import open_store
from ferlab.evaluation.ensembles import ENSEMBLE
from ferlab.evaluation.kept import keep, write_kept
from ferlab.evaluation.predictions import read_predictions
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.published import read_published
from ferlab.models.hub import file_sha256
from ferlab.params import Params, load_params
from ferlab.paths import InputError, held
from ferlab.reporting.exposure import role_mark
from ferlab.reporting.site.html import pick_picture
from ferlab.reporting.tables import MISSING, cell, estimate, markdown_table, number, percent, published_table
from ferlab.roles import recorded

# Figures of numbers: stage, what their alt text speaks of, file name.
FIGURES = (
    ("train", "accuracy", "learning_curves"),
    ("evaluate", "confusion", "confusions"),
    ("evaluate", "reliability|calibration", "reliability"),
)

PREDICTIONS = "predictions"  # the folder of a published study that holds a file for each run


def publish(params: Params, folder: Path) -> None:
    """Write the summary of a finished study to `folder`; what was there is replaced only when the new one is whole.

    Files that publishing does not write stay.

    Raises:
        InputError: A stage of the study has not run, or the folder holds something else than this study's summary.
    """
    _check_folder(folder, params.study)
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    sets = {name: _metrics("prepare", name) for name in params.prepare}
    runs = {name: {stage: _metrics(stage, name) for stage in ("train", "evaluate")} for name in params.runs}
    _check_teachers({name: of["train"] for name, of in runs.items()})
    paths.write_json(beside / "summary.json", {"study": params.study, "sets": sets, "runs": runs, "compare": _metrics("compare", "")})
    shutil.copyfile(_existing(paths.artefact("compare", "table")), beside / "results.md")
    _write_predictions(params, beside / PREDICTIONS)
    figures = [figure for name in first_seeds(params) for figure in _write_figures(name, beside)]
    (beside / "README.md").write_text(_page(params, sets, runs, figures))
    _keep_others(folder, beside)
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    beside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _check_folder(folder: Path, study: str) -> None:
    """Publishing replaces a folder, so it must be one that publishing made, or none yet."""
    if folder.name != study or folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: no folder of the study {study!r}; expected reports/published/{study}")
    if folder.exists() and any(folder.iterdir()):
        found = paths.read_json(folder / "summary.json", made_by="publishing").get("study")
        if found != study:
            raise InputError(f"{folder / 'summary.json'}: is of the study {found!r}, not {study!r}; nothing was written; move the folder away")


def _keep_others(folder: Path, beside: Path) -> None:
    """Copy what somebody put beside a published summary into the new one."""
    figures = tuple(f"{stem}-" for _, _, stem in FIGURES)
    for path in folder.iterdir() if folder.exists() else ():
        own = path.name in ("README.md", "results.md", "summary.json", PREDICTIONS) or (path.name.startswith(figures) and path.suffix == ".png")
        if not own and path.is_dir() and not path.is_symlink():
            shutil.copytree(path, beside / path.name, symlinks=True)
        elif not own:
            shutil.copy2(path, beside / path.name, follow_symlinks=False)


def first_seeds(params: Params) -> list[str]:
    """Return the runs whose figures are kept: of each group, which are the seeds of one recipe, the first."""
    first = {run.group: name for name, run in reversed(params.runs.items())}
    return [name for name, run in params.runs.items() if first[run.group] == name]


def summary_table(params: Params, runs: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table, a row per run and split: n, accuracy with its interval, without and with TTA, macro F1, NLL and ECE.

    Where the model was trained on val, its val row is that of the model before the refit; where nothing was selected there is none. A test
    split that selected the epoch is marked.
    """
    rows = []
    for name in params.runs:
        scores = runs[name]["evaluate"]
        seen = recorded(scores)
        if seen.role("val") == "trained" and (trained := runs[name]["train"])["val"]:
            rows.append(_row_before_refit(name, trained["val"], n=trained["n"]["val"]))
        for split in ("val", "test", "test_dedup"):
            if scores.get(split) and not (split == "val" and seen.role("val") == "trained"):
                marked = f"{split}, {role_mark(seen, split)}" if seen.role("test") == "selected_on" == seen.role(split) else split
                augmented = {tta: (scores.get(f"tta_{tta}") or {}).get(split, {}).get("accuracy") for tta in ("none", "flip")}
                rows.append(_row(name, marked, scores[split], n=scores["n"][split], augmented=augmented))
    return markdown_table(pd.DataFrame(rows), index=False)


def beside_page(published: pd.DataFrame, folder: Path) -> str:
    """Return the page that sets each published row beside ours, humans and live tries among them.

    Args:
        published: From `read_published`.
        folder: The published studies.
    """
    theirs = published_table(published).reset_index()
    studies = {path.parent.name: paths.read_json(path, made_by="publishing") for path in folder.glob("*/summary.json")}
    ours = pd.DataFrame([_ours(name, studies) for name in published["ours"]], columns=["ours", "split", "n", "accuracy, %"], dtype=object).fillna("")
    table = pd.DataFrame(
        {
            "paper: system": theirs["paper"] + ": " + theirs["system"],
            "its dataset": theirs["dataset"],
            "its split": theirs["split"],
            "its n": theirs["n"].replace(MISSING, "not said"),
            "its accuracy, %": theirs["accuracy, %"],
            "kind": theirs["kind"],
            **ours,
            "why they differ, or why there is none": published["differs"].where(published["differs"] != "", published["note"]),
        }
    )
    return (
        "# What papers state, and what we measured\n\nWritten by `python -m ferlab.reporting.site.publish` from `conf/published/` and the studies "
        "published here. Intervals are 95 % and Wilson's; those of published rows are computed from their n. Ours are on the test split of the "
        "study, under the TTA named; each scoring of a test split stands in `reports/test_scorings.csv`. No row compares where the split differs.\n\n"
        + markdown_table(table, index=False)
    )


def _ours(name: Any, studies: dict[str, Any]) -> dict[str, str]:
    """Return what stands beside a published row: `name` is <study>/<run>, <study>/ensemble, or missing."""
    if not isinstance(name, str):
        return {"ours": "none"}
    study, run = name.split("/")
    kept = studies.get(study, {"runs": {}, "compare": {"ensembles": {}}})
    votes = kept["compare"]["ensembles"]
    if run == ENSEMBLE and votes:
        scored, test, tta = next(iter(kept["runs"].values()))["evaluate"], next(iter(votes.values()))["test"], "soft-voting ensemble"
    elif run in kept["runs"]:
        scored = kept["runs"][run]["evaluate"]
        test, tta = scored["test"], scored.get("tta", "flip")  # flip: published before the key
    else:
        return {"ours": f"{name}, not published yet"}
    selected = recorded(scored).role("test") == "selected_on"
    told = f"[{name}]({study}/README.md), {tta}{', epoch selected on test' if selected else ''}"
    return {"ours": told, "split": scored["usage"]["test"], "n": f"{scored['n']['test']:,}", "accuracy, %": cell(test, "accuracy")}


def _check_teachers(trained: dict[str, dict[str, Any]]) -> None:
    """Refuse a run that was distilled from another model than the teacher published beside it."""
    for name, metrics in trained.items():
        for teacher, made in metrics.get("teachers", {}).items():
            if file_sha256(_existing(paths.artefact("train", "weights", teacher))) != made:
                raise InputError(f"run {name!r} was distilled from {teacher} before that was trained anew; repeat it: dvc repro -sf train@{name}")


def _chosen(params: Params, run: str) -> str:
    select = params.runs[run].train.select
    return "kept, nothing selected" if select == "none" else f"chosen on {select}"


def _row(name: str, split: str, of: dict[str, Any], *, n: int, augmented: Mapping[str, float | None]) -> dict[str, str]:
    return {
        "run": name,
        "split": split,
        "n": f"{n:,}",
        "accuracy, 95 % interval": estimate(of, "accuracy", digits=2),
        **{name: percent(augmented[tta], digits=2) if augmented.get(tta) else "" for tta, name in {"none": "no TTA", "flip": "flip"}.items()},
        "macro F1": percent(of["macro_f1"]) if "macro_f1" in of else "",
        "NLL": number(of["nll"], digits=3),
        "ECE": percent(of["ece"]) if "ece" in of else "",
    }


def _row_before_refit(name: str, val: dict[str, Any], *, n: int) -> dict[str, str]:
    low, high = wilson(round(val["accuracy"] * n), n)
    of = {"accuracy": val["accuracy"], "accuracy_ci_low": low, "accuracy_ci_high": high, "nll": val["loss"]}
    return _row(name, "val, no TTA, before the refit", of, n=n, augmented={"none": val["accuracy"]})


def _page(params: Params, sets: dict[str, Any], runs: dict[str, dict[str, Any]], figures: list[tuple[str, str]]) -> str:
    rules = "\n".join(f"- `{name}`: {metrics.get('split_rule', '')}" for name, metrics in sets.items())
    made = "\n".join(
        f"- `{name}`: params {run['evaluate']['provenance']['params']}, data {run['evaluate']['provenance']['data']}, training code "
        f"{run['train']['provenance']['code']}; epoch {run['train']['best_epoch']} of {run['train']['epochs_run']} {_chosen(params, name)}"
        for name, run in runs.items()
    )
    several = "Of several seeds of one recipe the first is shown.\n\n" if len(first_seeds(params)) < len(params.runs) else ""
    shown = "\n\n".join(f"![{alt}]({file})" for file, alt in figures)
    return (
        f"# Study {params.study}\n\nWritten by `python -m ferlab.reporting.site.publish` from the finished pipeline; `ferlab study "
        f"{params.study}` and `dvc repro` make it again.\n\n## Splits\n\n{rules}\n\n`test_dedup` is test without the faces that have an exact, "
        f"mirrored or near-duplicate in train or val. "
        f"The reported accuracy is that of test-time augmentation {params.evaluate.tta} (`evaluate.tta`); `no TTA` is the face "
        f"alone, `flip` the mean over it and its mirror image.\n\n"
        f"## Results\n\n{summary_table(params, runs)}\n\nRuns compared, and published rows: [results.md](results.md). All numbers: [summary.json]"
        f"(summary.json); the predictions from which they can be recomputed: {PREDICTIONS}/.\n\n"
        f"## Figures\n\n{several}{shown}\n\n## Provenance\n\n{made}\n"
    )


def _write_predictions(params: Params, folder: Path) -> None:
    for name, run in params.runs.items():
        predictions = read_predictions(_existing(paths.artefact("evaluate", "predictions", name)))
        write_kept(folder / f"{name}.parquet", keep(predictions, open_store(paths.artefact("prepare", "store", run.data)).faces))


def _write_figures(run: str, folder: Path) -> list[tuple[str, str]]:
    written = []
    for stage, pattern, stem in FIGURES:
        notebook = paths.read_json(_existing(paths.executed_notebook(stage, run)), made_by=f"stage {stage}")
        picture = pick_picture(notebook, pattern)
        if picture is not None:
            file = f"{stem}-{run}.png"
            (folder / file).write_bytes(picture.png)
            written.append((file, picture.alt))
    return written


def _metrics(stage: str, name: str) -> dict[str, Any]:
    return paths.read_json(_existing(paths.artefact(stage, "metrics", name)), made_by=f"stage {stage}")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path.relative_to(paths.ROOT)}: not found; `dvc repro` makes it")
    return path


def main() -> int:
    """Publish the study of params.yaml; return the exit status."""
    try:
        params = load_params()
        folder = paths.ROOT / "reports" / "published" / params.study
        with held(folder.with_name(f".{folder.name}.lock"), what="publishing"):
            publish(params, folder)
        (folder.parent / "README.md").write_text(beside_page(read_published(), folder.parent))
    except (InputError, OSError) as error:
        print(f"publish: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        print(f"publish: a file of reports/metrics is not as its stage writes it ({told}); run that stage again: dvc repro -sf", file=sys.stderr)
        return 1
    print(f"published: {folder.relative_to(paths.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
