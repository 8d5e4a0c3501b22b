"""Keep a study's summary in the repository: what a reader of reports/published/ may cite, without a dataset's faces.

    python -m ferlab.reporting.site.publish        copies the finished pipeline of params.yaml to reports/published/<study>/ and writes anew
                                              reports/published/README.md, where what papers state stands beside ours

Every run has to be trained, evaluated and compared; of the other stages those are published that ran. A study of which stage worlds (or claims) ran
alone, and no run was trained, is published as that. Copied are numbers, tables, histories, predictions (float16), measures per face and figures of
numbers; figures that show faces stay out, since datasets may not be redistributed. From predictions and measures anyone can recompute the numbers
without the dataset.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.data.store import open_store
from ferlab.evaluation.claims import audit_claims, titles
from ferlab.evaluation.kept import keep, write_kept
from ferlab.evaluation.predictions import read_predictions
from ferlab.evaluation.published import read_published
from ferlab.locks import held
from ferlab.models.hub import file_sha256
from ferlab.params import Params, load_params
from ferlab.paths import InputError
from ferlab.reporting.site import crate
from ferlab.reporting.site.dataset_card import Dataset, dataset_card
from ferlab.reporting.site.html import pictures
from ferlab.reporting.site.model_card import Described, model_card
from ferlab.reporting.site.publish_beside import beside_page, reproduction_page
from ferlab.reporting.site.publish_evidence import covered_facts
from ferlab.reporting.site.publish_measures import MEASURES, write_measures
from ferlab.reporting.site.publish_page import HISTORIES, PREDICTIONS, first_seeds, page
from ferlab.reporting.site.publish_sections import changes_of
from ferlab.reporting.site.publish_stages import Ran, existing, gather
from ferlab.reporting.tables import control_name
from ferlab.results import teacher_file

MEAN_MAPS = "mean_maps"  # over the mean face of each expression
FEWEST = 8  # photographs in a mean face: in one of fewer a single person may be recognised
# Figures of numbers: stage, what their alt text speaks of, file name.
FIGURES = (
    ("train", "accuracy", "learning_curves"),
    ("evaluate", "confusion", "confusions"),
    ("evaluate", "reliability|calibration", "reliability"),
    ("explain", "^mean maps per expression", MEAN_MAPS),
    ("explain", "^attribution mass on", "region_mass"),
    ("explain", "^density ratio and difference of each hypothesis", "hypotheses"),
    ("robustness", "^accuracy under each corruption", "corruptions"),
    ("analyze_errors", "^precision at k", "label_precision"),
)
OF_STUDY = (
    ("compare", "accuracy along each factor", "sweeps"),
    ("worlds", "is believed|are believed|not believed|undecided", "worlds"),
    ("claims", "^number of checks", "claims"),
)
CARDS = "cards"  # model and dataset cards with Hugging Face's front matter
WRITTEN = ("README.md", "results.md", "summary.json", PREDICTIONS, HISTORIES, MEASURES, CARDS, crate.NAME, crate.STUDY, crate.PARAMS, crate.PINS)


def publish(params: Params, folder: Path) -> None:
    """Write the summary of a finished study to `folder`; what was there is replaced only when the new one is whole.

    Files that publishing does not write stay.

    Raises:
        InputError: A stage of the study has not run, or the folder holds something else than this study's summary.
    """
    aside = folder.with_name(f".{folder.name}.old")
    if aside.is_dir() and not folder.exists():  # a kill between the two renames below left it so
        aside.rename(folder)
    _check_folder(folder, params.study)
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    ran = gather(params)
    _check_teachers({name: of["train"] for name, of in ran.runs.items()})
    changes, covered = (changes_of(params, ran), covered_facts(params, ran)) if ran.runs else ({}, {})
    more = {name: found for name, found in {"changes_from_base": changes, "covered": covered}.items() if found}
    paths.write_json(beside / "summary.json", {**ran.summary(params.study), **more})
    if ran.runs:
        shutil.copyfile(existing(paths.artefact("compare", "table")), beside / "results.md")
        _write_predictions(params, beside / PREDICTIONS)
        _write_histories(params, beside / HISTORIES)
        _write_cards(params, ran, beside / CARDS)
    told = {"changes": changes, "covered": covered, "too_large": write_measures(ran, beside / MEASURES)}
    (beside / "README.md").write_text(page(params, ran, figures=_write_figures(params, ran, beside), **told))
    _keep_others(folder, beside)
    crate.copy_inputs(beside, params.study)
    crate.write_crate(beside, crate.made_at(paths.ROOT))
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    beside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    for name, why in ran.stale.items():
        print(f"publish: {name} is not published: {why}", file=sys.stderr)


def _write_cards(params: Params, ran: Ran, folder: Path) -> None:
    """Write a model card per run and a dataset card per set, each with front matter; of what a stage did not compute a card says so."""
    folder.mkdir()
    for name, run in params.runs.items():
        (folder / f"model-{name}.md").write_text(model_card(Described(name, run.model, ran.runs[name], run.data)))
    for name, prepared in ran.sets.items():
        (folder / f"dataset-{name}.md").write_text(dataset_card(Dataset(name, prepared, _audit(name))))


def _audit(name: str) -> dict[str, Any]:
    path = paths.artefact("audit", "metrics", name)
    return paths.read_json(path, made_by="stage audit") if path.is_file() else {}


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
    figures = tuple(f"{stem}-" for _, _, stem in (*FIGURES, *OF_STUDY))
    for path in folder.iterdir() if folder.exists() else ():
        own = path.name in WRITTEN or (path.name.startswith(figures) and path.suffix == ".png")
        if not own and path.is_dir() and not path.is_symlink():
            shutil.copytree(path, beside / path.name, symlinks=True)
        elif not own:
            shutil.copy2(path, beside / path.name, follow_symlinks=False)


def _check_teachers(trained: dict[str, dict[str, Any]]) -> None:
    """Refuse a run that was distilled from another model than the teacher published beside it."""
    for name, metrics in trained.items():
        for teacher, made in metrics.get("teachers", {}).items():
            if file_sha256(existing(teacher_file(teacher))) != made:
                raise InputError(f"run {name!r} was distilled from {teacher} before that was trained anew; repeat it: dvc repro -sf train@{name}")


def _write_predictions(params: Params, folder: Path) -> None:
    for name, run in params.runs.items():
        predictions = read_predictions(existing(paths.artefact("evaluate", "predictions", name)))
        write_kept(folder / f"{name}.parquet", keep(predictions, open_store(paths.artefact("prepare", "store", run.data)).faces))


def _write_histories(params: Params, folder: Path) -> None:
    folder.mkdir()
    for name in params.runs:
        shutil.copyfile(existing(paths.artefact("train", "history", name)), folder / f"{name}.csv")


def _write_figures(params: Params, ran: Ran, folder: Path) -> list[tuple[str, str]]:
    """Write the figures of numbers of each recipe's first seed and of the study; return their names and alt texts."""
    of_runs = [(stage, run, pattern, stem) for run in first_seeds(params) for stage, pattern, stem in FIGURES if stage in ran.runs.get(run, {})]
    ran_whole, written = {*ran.study, *(("compare",) if ran.compare else ())}, []
    for stage, run, pattern, stem in [*of_runs, *((stage, "", pattern, stem) for stage, pattern, stem in OF_STUDY if stage in ran_whole)]:
        notebook = paths.read_json(existing(paths.executed_notebook(stage, run)), made_by=f"stage {stage}")
        picture = next((each for each in pictures(notebook) if re.search(pattern, each.alt, flags=re.IGNORECASE)), None)
        if picture is not None and not (stem == MEAN_MAPS and _shows_few(ran.runs[run][stage])):
            file = f"{stem}-{run or params.study}.png"
            (folder / file).write_bytes(picture.png)
            written.append((file, picture.alt))
    return written


def _shows_few(explained: Mapping[str, Any]) -> bool:
    """Return whether a mean face is that of fewer than `FEWEST` photographs; control faces are of nobody."""
    counts = [of["n"] for by_expression in explained["attribution_mass"].values() for of in by_expression.values()]
    return control_name(explained["dataset"]) is None and any(0 < n < FEWEST for n in counts)


def write_pages(folder: Path) -> None:
    """Write the pages over all studies: published rows beside ours, and which claims reproduce."""
    (folder / "README.md").write_text(beside_page(read_published(), folder))
    (folder / "reproduction.md").write_text(reproduction_page(audit_claims(), titles()))


def main() -> int:
    """Publish the study of params.yaml; return the exit status."""
    try:
        params = load_params()
        folder = paths.ROOT / "reports" / "published" / params.study
        with held(folder.with_name(f".{folder.name}.lock"), what="publishing"):
            publish(params, folder)
        write_pages(folder.parent)
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
