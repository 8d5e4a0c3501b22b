"""Sections of a published study's README on runs: changes, experts, robustness, label issues, claims; by the functions of the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.data.store import open_store
from ferlab.error_analysis import frame_leak
from ferlab.error_analysis.label_truth import labels_are_true
from ferlab.evaluation.ablations import changes_from_base, factor_effects
from ferlab.evaluation.corruption_error import corruption_errors_by_set, read_outcomes
from ferlab.evaluation.deduplicated import MARK, mark_duplicates
from ferlab.evaluation.runs import read_runs, runs_by_set, without_experts
from ferlab.params import Params
from ferlab.paths import artefact, read_json
from ferlab.reporting.exposure import role_mark, scores_sentence
from ferlab.reporting.pages import claims, corruption_error, experts, robustness, training_labels
from ferlab.reporting.site.publish_evidence import known
from ferlab.reporting.site.publish_stages import Ran
from ferlab.reporting.tables import MISSING, as_difference, cell, control_name, markdown_table, p_value, source_name
from ferlab.roles import Exposure, listed, recorded

ALPHA = 0.05
COMPARED = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
TEST = ("test", "test_dedup")
Rows = Mapping[tuple[str, str, str], dict[str, Any]]  # measure, split and change -> its row of `changes_from_base`


def changes_of(params: Params, ran: Ran) -> dict[str, list[dict[str, Any]]]:
    """Return the changes of each factor from its first level, see `changes_from_base`, in accuracy and in balanced accuracy; {} without factors."""
    runs = without_experts({name: run.model_dump() for name, run in params.runs.items()})
    if not any(run["factors"] for run in runs.values()):
        return {}
    predictions, metrics = read_runs(runs)
    predictions = {name: _marked(table, params.runs[name].data) for name, table in predictions.items()}
    trained_on = {name: metrics[name]["trained_on"] for name in runs}
    tables = {key: factor_effects(runs, predictions, trained_on=trained_on, balanced=key != "accuracy") for key in COMPARED}
    return {key: changes_from_base(table, runs).to_dict("records") for key, table in tables.items()}


def _marked(predictions: pd.DataFrame, data: str) -> pd.DataFrame:
    """Return the predictions with the mark of the test faces that have a duplicate in train or val."""
    marked = mark_duplicates(predictions, open_store(artefact("prepare", "store", data)).faces)
    return predictions.assign(**{MARK: predictions["face_id"].isin(marked.loc[marked[MARK], "face_id"])})


def changes_section(changes: dict[str, list[dict[str, Any]]]) -> str:
    """Return a row per change: effects on val, which decides, and on test; of changes without val, a row per split of test; "" without any."""
    if not changes or not changes["accuracy"]:
        return ""
    rows = {(key, row["split"], _named(row)): known(row) for key, of in changes.items() for row in of}
    names = list(dict.fromkeys(name for _, _, name in rows))
    n = {split: sorted({row["n"] for (_, each, _), row in rows.items() if each == split}) for split in ("val", *TEST)}
    faces = "; ".join(f"{split}: n {listed([f'{count:,}' for count in counts])}" for split, counts in n.items() if counts)
    base = listed(dict.fromkeys(f"{row['factor']}: {row['from']}" for row in rows.values()))
    decided = [name for name in names if ("accuracy", "val", name) in rows]
    others = [name for name in names if name not in decided]
    told = [
        f"Each change against the base ({base}), over the seeds in common; {faces}. Intervals are 95 %, over faces (or subjects where faces name "
        "them), and Student's over seeds."
    ]
    if decided:
        many = claims.counted(len(decided), "change")
        told[0] += (
            f" A change is kept if val shows a significant gain (paired t test over faces, Holm over {many}) in the measure that the study names. "
            f"Of {many}, on val {_better_sentence(decided, 'val', rows)}."
        )
        told.append(markdown_table(pd.DataFrame([_decided(name, rows) for name in decided])))
    if others:
        told += [_tested_sentence(others, rows), markdown_table(pd.DataFrame(_tested(others, rows)))]
    return "\n\n".join(told)


def _named(row: dict[str, Any]) -> str:
    return f"{row['to']}, {row['else']}" if row["else"] else row["to"]


def _is_better(row: dict[str, Any] | None) -> bool:
    return row is not None and row["difference"] > 0 and row["p_holm"] < ALPHA


def _better_sentence(names: Iterable[str], split: str, rows: Rows) -> str:
    better = {word: [name for name in names if _is_better(rows.get((key, split, name)))] for key, word in COMPARED.items()}
    return "; ".join(f"significantly better in {word}: {listed(found) if found else 'none'}" for word, found in better.items())


def _tested_sentence(names: Sequence[str], rows: Rows) -> str:
    """Say why val decides nothing on some changes, and which of all changes are better on test."""
    each, them = ("each", "them") if len(names) > 1 else ("it", "it")
    of = [row for (key, _, name), row in rows.items() if key == "accuracy" and name in names]
    few = "" if all("val" in row["trained_on"] for row in of) else ", or runs that share fewer than two of its faces"
    told = [
        f"Val decides nothing on the {claims.counted(len(names), 'change')} below, as {each} compares a run that was trained on it{few}: test "
        f"measures {them} (paired t test over faces)."
    ]
    for split in TEST:
        if on := [name for key, where, name in rows if (key, where) == ("accuracy", split)]:
            told.append(f"On {split}, of {claims.counted(len(on), 'change')} (Holm), {_better_sentence(on, split, rows)}.")
    return " ".join(told)


def _decided(name: str, rows: Rows) -> dict[str, Any]:
    better = [word for key, word in COMPARED.items() if _is_better(rows.get((key, "val", name)))]
    return {
        "change": name,
        "seeds": rows["accuracy", "val", name]["seeds"],
        **_effects(name, "val", rows, on=", val"),
        "accuracy, test, points": cell(_bounded(rows.get(("accuracy", "test", name), {})), "difference"),
        "kept by": listed(better) if better else "neither",
    }


def _tested(names: Iterable[str], rows: Rows) -> list[dict[str, Any]]:
    splits = [(name, split) for name in names for split in TEST if ("accuracy", split, name) in rows]
    return [
        {"change": name, "on": split, "seeds": rows["accuracy", split, name]["seeds"], **_effects(name, split, rows)} for name, split in splits
    ]


def _effects(name: str, split: str, rows: Rows, *, on: str = "") -> dict[str, str]:
    """Return the cells of a change's effects on a split."""
    plain, balanced = (_bounded(rows.get((key, split, name), {})) for key in COMPARED)
    several = rows["accuracy", split, name]["seeds"] > 1
    return {
        f"accuracy{on}, points": cell(plain, "difference"),
        "over seeds": cell(plain, "seeds") if several else MISSING,
        "Holm p": p_value(plain["p_holm"]),
        f"balanced accuracy{on}, points": cell(balanced, "difference"),
        "Holm p, balanced": p_value(balanced.get("p_holm", float("nan"))),
    }


def _bounded(row: dict[str, Any]) -> dict[str, Any]:
    if not row:
        return {}
    return {**as_difference(row), "seeds": row["difference"]}


def experts_section(ran: Ran) -> str:
    """Return what the experts change; "" without experts."""
    found = pd.DataFrame(known(ran.compare.get("experts", [])))
    if found.empty:
        return ""
    kept = found["kept"].astype(object).where(found["kept"].notna(), None)  # None: no split decides
    found = found.assign(kept=kept)
    return "\n\n".join([experts.experts_sentence(found), *map(markdown_table, experts.experts_tables(found))])


def robustness_section(params: Params, ran: Ran, shown: Iterable[str]) -> str:
    """Return what corruptions, occlusions and displacements cost the runs shown, and transfer and corruption error of all; "" where none ran."""
    found, parts = ran.of("robustness"), []
    for run, of in found.items():
        if run in shown:
            parts += _robust(run, of, recorded(ran.runs[run]["evaluate"]))
    transfers = [_transfer(run, of, recorded(ran.runs[run]["evaluate"]), own=params.runs[run].data) for run, of in found.items()]
    if transfer := [part for part in transfers if part is not None]:
        parts += ["Without retraining, on other datasets:", markdown_table(pd.concat(transfer, ignore_index=True))]
    settings = {name: run.model_dump() for name, run in params.runs.items() if name in found}
    if len(settings) > 1:
        tables = corruption_errors_by_set(read_outcomes(settings), runs_by_set(settings), baseline=params.compare.baseline)
        tables = {name: table for name, table in tables.items() if len(table) > 1}
        parts += (
            [corruption_error.corruption_error_sentence(tables), markdown_table(corruption_error.corruption_errors_table(tables))] if tables else []
        )
    return "\n\n".join(parts)


def _robust(run: str, of: dict[str, Any], seen: Exposure) -> list[str]:
    rows = known(of)
    mean = rows["corruptions"].pop("mean")
    errors = pd.DataFrame([{"condition": name, **row} for name, row in rows["corruptions"].items()] + [{"condition": "mean", **mean}])
    occlusions = pd.DataFrame([{"condition": name, **row} for name, row in rows["occlusions"].items()])
    displaced = pd.DataFrame([{"condition": name, **row} for name, levels in rows["displacements"].items() for row in levels.values()])
    told = [robustness.corruption_sentence(errors), robustness.occlusion_sentence(occlusions), robustness.curves_sentence(displaced)]
    head = f"`{run}`, {of['n']:,} {of['split']} faces ({source_name(of, of['split'])}), without test-time augmentation."
    return [" ".join(filter(None, [head, scores_sentence(seen, of["split"]), *told])), markdown_table(robustness.corruptions_table(errors))]


def _transfer(run: str, of: dict[str, Any], seen: Exposure, *, own: str) -> pd.DataFrame | None:
    rows = pd.DataFrame(list(known(of.get("other_sets", {})).values()))
    table = robustness.transfers_table(rows, own=own)
    if table is None:
        return None
    named = {f"{key} on {own}, %": f"{key} on its own, %" for key in ("accuracy", "balanced accuracy")}
    if mark := role_mark(seen, of["split"]):
        table = table.assign(**{key: table[key] + f" ({mark})" for key in named})
    table = table.rename(columns=named).reset_index().rename(columns={"dataset": "scored on"})
    table.insert(0, "trained on", own)
    table.insert(0, "run", run)
    return table


def labels_section(params: Params, ran: Ran, shown: Iterable[str]) -> str:
    """Return the label issues of the training faces, and what the rankings are worth beside their base rates; "" where none were searched for."""
    parts = []
    for run, of in ran.of("analyze_errors").items():
        if run in shown:
            checked = pd.read_parquet(artefact("analyze_errors", "checked", run))
            issues = pd.read_csv(artefact("analyze_errors", "training_issues", run))
            faces = open_store(artefact("prepare", "store", params.runs[run].data)).faces
            training = faces.set_index("face_id").loc[checked["face_id"]].reset_index()
            true, model = labels_are_true(training), params.analyze_errors.folds_model
            found, dataset = of["training_labels"], ran.runs[run]["evaluate"]["dataset"]
            told = [
                training_labels.found_sentence(issues, checked, folds_model=model, true_labels=true),
                training_labels.opinions_sentence(known(found["tracin"]), n=found["n"]),
                training_labels.precision_sentences({truth: pd.DataFrame(known(rows)) for truth, rows in found["precision"].items()}),
            ]
            parts.append(f"`{run}`, trained on {control_name(dataset) or dataset}. {' '.join(told)}")
    return "\n\n".join(parts)


def claims_section(rows: list[dict[str, Any]] | None) -> str:
    """Return the verdicts on published claims and the effect of a random split of frames; "" where the stage did not run."""
    if not rows:
        return ""
    table = pd.DataFrame(rows)
    leak = frame_leak.compare_splits(pd.read_parquet(artefact("claims", "leak")))
    told = claims.leak_sentence(leak, read_json(artefact("claims", "facts"), made_by="stage claims"))
    return "\n\n".join([claims.verdicts_sentence(table), markdown_table(claims.count_verdicts(table)), told])
