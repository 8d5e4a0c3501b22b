"""The README of a published study: splits, results, what the stages found that ran, figures, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.tasks import Task, recorded_tasks
from ferlab.params import Params
from ferlab.reporting.exposure import role_mark, runs_sentence
from ferlab.reporting.pages.protocol import tasks_sentence
from ferlab.reporting.site.publish_evidence import covered_section, hypotheses_section, maps_section, worlds_section
from ferlab.reporting.site.publish_measures import MEASURES, measured
from ferlab.reporting.site.publish_sections import changes_section, claims_section, experts_section, labels_section, robustness_section
from ferlab.reporting.site.publish_stages import Ran, not_run_sentence
from ferlab.reporting.tables import PRETRAINED_ON, estimate, markdown_page, markdown_table, number, percent
from ferlab.roles import listed, recorded

PREDICTIONS = "predictions"  # the folder of a published study that holds a file for each run
HISTORIES = "history"  # likewise: loss and accuracy of every epoch
Changes = Mapping[str, Sequence[Mapping[str, Any]]]


def first_seeds(params: Params) -> list[str]:
    """Return the runs whose figures are kept: of each group, which are the seeds of one recipe, the first."""
    first = {run.group: name for name, run in reversed(params.runs.items())}
    return [name for name, run in params.runs.items() if first[run.group] == name]


def summary_table(params: Params, runs: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table, a row per run and split: n, accuracy with its interval, without and with TTA, macro F1, NLL and ECE, and
    where a run has pretrained weights their data.

    Where the model was trained on val, its val row is that of the model before the refit; where nothing was selected there is none. A test
    split that selected the epoch is marked.
    """
    rows = []
    for name, run in params.runs.items():
        if run.train.expressions:  # an expert
            continue
        scores = runs[name]["evaluate"]
        seen = recorded(scores)
        if seen.role("val") == "trained" and (trained := runs[name]["train"])["val"]:
            rows.append(_row_before_refit(name, trained["val"], n=trained["n"]["val"]))
        for split in ("val", "test", "test_dedup"):
            if scores.get(split) and not (split == "val" and seen.role("val") == "trained"):
                marked = f"{split}, {role_mark(seen, split)}" if seen.role("test") == "selected_on" == seen.role(split) else split
                augmented = {tta: (scores.get(f"tta_{tta}") or {}).get(split, {}).get("accuracy") for tta in ("none", "flip")}
                rows.append(_row(name, marked, scores[split], n=scores["n"][split], augmented=augmented))
    table = pd.DataFrame(rows)
    further = table["run"].map(lambda name: runs[name]["train"].get("pretrained_on", ""))
    return markdown_table(table.assign(**{PRETRAINED_ON: further}) if (further != "").any() else table)


def tasks_of_sets(params: Params, runs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Task]]:
    """Return the tasks of each set, as its first run records them; compare refuses runs of a set that differ."""
    tasks: dict[str, dict[str, Task]] = {}
    for name, run in params.runs.items():
        tasks.setdefault(run.data, recorded_tasks(runs[name]["evaluate"]))
    return tasks


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


def page(
    params: Params, ran: Ran, *, changes: Changes, covered: Mapping[str, Any], figures: Sequence[tuple[str, str]], too_large: Sequence[str]
) -> str:
    """Return the README.

    Args:
        params: The study's.
        ran: What has run.
        changes: From `ferlab.reporting.site.publish_sections.changes_of`.
        covered: From `ferlab.reporting.site.publish_evidence.covered_facts`.
        figures: Files and their alt texts.
        too_large: Measures that were not kept.
    """
    shown, runs = first_seeds(params), ran.runs
    several = "Of several seeds of one recipe the first is shown.\n\n" if len(shown) < len(params.runs) and runs else ""
    sections = {
        "What ran": _what_ran(params, ran, too_large),
        "Splits": _splits(params, ran) if runs else "",
        "Results": _results(params, ran) if runs else "",
        "Changes": changes_section(changes),
        "Experts": experts_section(ran),
        "Hypotheses": hypotheses_section(ran, shown),
        "Maps": maps_section(params, ran, shown),
        "Covered faces": covered_section(covered),
        "Robustness": robustness_section(params, ran, shown),
        "Label issues": labels_section(params, ran, shown),
        "Worlds": worlds_section(ran.study.get("worlds")),
        "Claims": claims_section(ran.study.get("claims")),
        "Figures": several + "\n\n".join(f"![{alt}]({file})" for file, alt in figures) if figures else "",
        "Provenance": _provenance(params, ran),
    }
    return markdown_page(f"Study {params.study}", sections)


def _what_ran(params: Params, ran: Ran, too_large: Sequence[str]) -> str:
    told = (
        f"Written by `python -m ferlab.reporting.site.publish` from the finished pipeline; `ferlab study {params.study}` and `dvc repro` make it "
        "again. All numbers: [summary.json](summary.json)."
    )
    if ran.runs:
        told += f" Runs compared, and published rows: [results.md](results.md). Predictions from which numbers can be recomputed: {PREDICTIONS}/."
        told += f" Loss and accuracy of every epoch: {HISTORIES}/. {not_run_sentence(ran.runs)}"
    else:
        told += f" No run of this study was trained: {listed([f'`{stage}`' for stage in ran.study])} ran alone."
    if measured(ran):
        told += f" Measures per face, without pixels: {MEASURES}/" + (f", but for {listed(too_large)}, too large to keep." if too_large else ".")
    return told


def _splits(params: Params, ran: Ran) -> str:
    rules = "\n".join(f"- `{name}`: {metrics.get('split_rule', '')}{_exposure(params, ran, name)}" for name, metrics in ran.sets.items())
    return (
        f"{rules}\n\n`test_dedup` is test without the faces that have an exact, mirrored or near-duplicate in train or val. The reported accuracy "
        f"is that of test-time augmentation {params.evaluate.tta} (`evaluate.tta`); `no TTA` is the face alone, `flip` the mean over it and its "
        "mirror image."
    )


def _exposure(params: Params, ran: Ran, data: str) -> str:
    """Say what the runs of a set were trained and selected on where val did not select the epoch of all, which the rule of the split says."""
    evaluated = {name: ran.runs[name]["evaluate"] for name, run in params.runs.items() if run.data == data}
    alike = all(recorded(of).role("val") == "selected_on" for of in evaluated.values())
    return "" if alike else f" {runs_sentence(evaluated)}"


def _results(params: Params, ran: Ran) -> str:
    experts = [name for name, run in params.runs.items() if run.train.expressions]
    excluded = f" Experts, which know two expressions, are excluded: {listed(experts)}." if experts else ""
    return f"{summary_table(params, ran.runs)}\n{tasks_sentence(tasks_of_sets(params, ran.runs))}{excluded}"


def _provenance(params: Params, ran: Ran) -> str:
    lines = [
        f"- `{name}`: params {run['evaluate']['provenance']['params']}, data {run['evaluate']['provenance']['data']}, training code "
        f"{run['train']['provenance']['code']}; epoch {run['train']['best_epoch']} of {run['train']['epochs_run']} {_chosen(params, name)}"
        for name, run in ran.runs.items()
    ]
    made = [(stage, of["provenance"]) for stage, of in ran.study.items() if "provenance" in of]
    return "\n".join(lines + [f"- `{stage}`: params {of['params']}, code {of['code']}" for stage, of in made])
