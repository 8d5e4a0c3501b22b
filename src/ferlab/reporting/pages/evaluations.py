"""The page of `ferlab evaluate`: 04's figures and sentences for any model on any faces, as one HTML file that needs no other.

On photographs a picture without a found face is no prediction, and no correct one: accuracy is shown with and without these pictures.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from ferlab.evaluation.calibration import ece_if_calibrated, reliability_bins
from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.deduplicated import MARK, compare_duplicates, mark_duplicates
from ferlab.evaluation.framing import by_person, order_suspicion, summed_people
from ferlab.evaluation.predictions import PROB_PREFIX, confusion_table, expressions_of, probs_of, subjects_of
from ferlab.evaluation.runs import score_rows
from ferlab.evaluation.tasks import Task, as_metrics, recorded_tasks, task_of, tasks_of
from ferlab.origins import KnownRole, Origin, trained_words
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.pages import calibration as calibrating
from ferlab.reporting.pages import evaluate as performance
from ferlab.reporting.pages import protocol
from ferlab.reporting.style import use_style
from ferlab.reporting.tables import estimate, over_units, percent
from ferlab.roles import Exposure, listed

ROLES: dict[KnownRole, str] = {
    "trained": "**The model was trained on some of these faces: its scores here are training scores.**",
    "selected_on": "**These faces selected the model's epoch: its scores here are optimistically biased.**",
    "unknown": "What the model was trained on is not stated, or not in terms of these faces: it may have seen some of them.",
    "untouched": "As far as its training data are stated, the model has seen none of these faces.",
}
CSS = """
:root{color-scheme:light dark;--text:#1c1c1c;--ground:#fff;--line:#d8d8d8;--soft:#f4f4f4}
@media(prefers-color-scheme:dark){:root{--text:#e6e6e6;--ground:#16181b;--line:#3a3d42;--soft:#202327}}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;font:16px/1.55 system-ui,sans-serif;color:var(--text);background:var(--ground)}
h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.25rem;margin-top:2.2rem;border-top:1px solid var(--line);padding-top:1rem}
img{max-width:100%;height:auto;background:#fff;border-radius:4px}
.table-box{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th{background:var(--soft)}
:focus-visible{outline:2px solid #0072b2;outline-offset:2px}
"""


@dataclass(frozen=True)
class Evaluated:
    """What a page is about.

    Attributes:
        model: The model's name.
        origin: Where it comes from.
        faces: The set's or folder's name.
        table: Predictions of the faces that were scored.
        pictures: How many there were.
        not_found: Of them, those without a prediction.
        role: What the faces were to the model.
        flip: Whether predictions are means over a face and its mirror image.
        taken: Whether predictions were taken as they lay.
        store_faces: Of a set, its face table.
        preparation: Of a set, as its store records it.
        photographs: Of a folder, a row per labelled picture.
        unlabelled: Of a folder, how many pictures no folder of an expression holds.
        calibrated: Whether and on what the model's confidences were calibrated.
        drawn: Whether the faces are control faces.
    """

    model: str
    origin: Origin
    faces: str
    table: pd.DataFrame
    pictures: int
    not_found: int
    role: KnownRole
    flip: bool = False
    taken: bool = False
    store_faces: pd.DataFrame | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    photographs: pd.DataFrame | None = None
    unlabelled: int = 0
    calibrated: str = ""
    drawn: bool = False


def measured(found: Evaluated) -> dict[str, Any]:
    """Return the metrics: those of `ferlab.evaluation.runs.score_rows` on the scored faces, over people where they are named, and how many pictures
    had no face; of photographs also `accuracy_of_all`, where a picture without a face counts as wrong.
    """
    rows, n = found.table, len(found.table)
    scores = {
        **score_rows(rows),
        **dict(zip(("ece_if_calibrated", "ece_if_calibrated_high"), ece_if_calibrated(probs_of(rows)).values(), strict=True)),
    }
    metrics: dict[str, Any] = {"model": found.model, "faces": found.faces, "role": found.role, **scores, "not_found": found.not_found}
    metrics["tasks"] = as_metrics(_tasks(found))
    metrics |= {"pictures": found.pictures, "suspected_order": order_suspicion(rows), "trained_on": trained_words(found.origin)}
    if found.photographs is not None:
        right = found.photographs["file"].isin(rows.loc[rows["pred"] == rows["target"], "face_id"]).to_numpy()
        low, high = proportion_bounds(right, None if subjects_of(rows) is None else found.photographs["person"].to_numpy(dtype=str))
        metrics |= {"accuracy_of_all": float(right.mean()), "accuracy_of_all_ci_low": low, "accuracy_of_all_ci_high": high}
    if found.store_faces is not None and found.role == "trained":
        return metrics
    if found.store_faces is not None and "duplicate_group" in found.store_faces:
        marked = mark_duplicates(rows, found.store_faces)
        metrics["duplicates"] = compare_duplicates(marked)
        others = marked[~marked[MARK]].drop(columns=MARK).reset_index(drop=True)
        metrics["test_dedup"] = score_rows(others) if 0 < len(others) < n else None
    return metrics


def _tasks(found: Evaluated) -> dict[str, Task]:
    tta = "flip" if found.flip else "none"
    if found.store_faces is not None and "duplicate_group" in found.store_faces:
        return tasks_of(found.table, found.store_faces, tta=tta, preparation=found.preparation)
    return {"test": task_of(found.table, dataset=f"photographs:{found.faces}", usage="all labelled pictures with a face", tta=tta)}


def headline(found: Evaluated, metrics: dict[str, Any]) -> list[str]:
    """Return the lines of the terminal."""
    share, top3 = estimate(metrics, "accuracy"), percent(metrics["top3_accuracy"])
    lines = [f"{found.model} on {found.faces}: {share} of {metrics['n']:,} faces correct, top-3 {top3}"]
    if found.photographs is not None:
        missed = f"{found.not_found:,} of {found.pictures:,} pictures have no found face"
        lines.append(f"{missed}; counted as wrong, {estimate(metrics, 'accuracy_of_all')} of all pictures are correct")
        lines += [_unlabelled(found)] if found.unlabelled else []
    elif found.not_found:
        lines.append(f"{found.not_found:,} of the set's {found.pictures:,} pictures were excluded in preparation: no face found")
    lines += [DRAWN.replace("**", "")] if found.drawn else []
    lines += [ROLES[found.role].replace("**", "")]
    lines += [_suspicion(metrics)] if metrics["suspected_order"] else []
    return [*lines, "predictions taken as they lay: model, faces and code are unchanged"] if found.taken else lines


def evaluation_page(found: Evaluated, metrics: dict[str, Any]) -> str:
    """Return the page as HTML."""
    use_style()
    parts = [f"# {found.model} on {found.faces}", *_accuracy(found, metrics), *_failures(found, metrics), *_confusions(found, metrics)]
    parts += [*_calibration(found, metrics), *_people(found, metrics), "## What this shows, and what it does not", LIMITS]
    body = "\n".join(_rendered(part) for part in parts)
    title = html.escape(f"{found.model} on {found.faces}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{CSS}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


LIMITS = (
    "It shows how often one model predicts the labelled expression of these faces. It does not show what a person feels, whether the labels are "
    "right, or how the model performs on other cameras and other people."
)
DRAWN = "**These are control faces, which are drawn: no number here is about photographs.**"
Part = str | pd.DataFrame | tuple[Figure, str]


def _accuracy(found: Evaluated, metrics: dict[str, Any]) -> list[Part]:
    origin = found.origin
    by = f" ({origin.stated})" if origin.stated else ""
    licence = f" Licence: {origin.licence.rstrip('.')}." if origin.licence else ""
    told = f"**{found.model}** ({origin.title}). Trained on: {trained_words(origin)}{by}.{licence}"
    scores = {
        "test": metrics,
        "test_dedup": metrics.get("test_dedup"),
        "n": {"test": metrics["n"], "test_dedup": (metrics.get("test_dedup") or metrics)["n"]},
    }
    way = "the mean over each face and its mirror image" if found.flip else "one pass per face, without test-time augmentation"
    right = f"It classifies {estimate(metrics, 'accuracy')} of {metrics['n']:,} faces correctly ({way})."
    reading = f"{right} Brackets hold 95 % intervals {over_units(metrics)}."
    warned = [f"**{_suspicion(metrics)}**"] if metrics["suspected_order"] else []
    if unknown := _without_class(found.table):
        reading += f" It has no class for {listed(unknown)}: these faces count as wrong."
    table = performance.metrics_table(scores, Exposure())
    task = protocol.task_sentence(recorded_tasks(metrics))
    return [told, *([DRAWN] if found.drawn else []), ROLES[found.role], "## Accuracy", reading, *warned, table, task]


def _without_class(rows: pd.DataFrame) -> list[str]:
    """Return the labels to which the model gives no face any probability, as it has no such class."""
    names = expressions_of(rows)
    return [names[target] for target in sorted(rows["target"].unique()) if not rows[PROB_PREFIX + names[target]].any()]


def _suspicion(metrics: dict[str, Any]) -> str:
    of = metrics["suspected_order"]
    order = ", ".join(of["order"])
    return (
        f"The class order looks wrong: {percent(of['accuracy'])} of the faces are correct, {percent(of['best'])} would be if the model's classes "
        f"meant {order}. Compare the card with the model's own documents."
    )


def _unlabelled(found: Evaluated) -> str:
    what = (
        "1 picture lies in no folder of an expression and is"
        if found.unlabelled == 1
        else f"{found.unlabelled:,} pictures lie in no folder of an expression and are"
    )
    return f"{what} not scored"


def _failures(found: Evaluated, metrics: dict[str, Any]) -> list[Part]:
    if found.photographs is None:
        if not found.not_found:
            return []
        return ["## Detection", f"In {found.not_found:,} of the set's {found.pictures:,} pictures preparation found no face; they are in no split."]
    table = found.photographs
    several = int((table["faces"] > 1).sum())
    told = (
        f"A face was found in {found.pictures - found.not_found:,} of {found.pictures:,} pictures, of which {estimate(metrics, 'accuracy')} are "
        f"classified correctly. Counting the others as wrong, {estimate(metrics, 'accuracy_of_all')} of all pictures are."
        + (f" {_unlabelled(found)}." if found.unlabelled else "")
        + (f" In {several:,} pictures several faces were found; the largest is scored." if several else "")
    )
    lost = table[table["reason"] != ""]
    by_name = table.assign(lost=table["reason"] != "").groupby("expression", sort=False)["lost"].agg(["sum", "size"])
    counts = pd.DataFrame({"pictures": by_name["size"], "without a face": by_name["sum"]})
    listing = lost[["file", "expression", "person", "reason"]].set_index("file")
    return ["## Detection", told, counts, *([listing] if len(listing) else [])]


def _confusions(found: Evaluated, metrics: dict[str, Any]) -> list[Part]:
    confusions = confusion_table(found.table)
    reading, classes = performance.confusion_sentence(confusions), performance.best_and_worst_sentence(metrics["per_class"])
    first = (performance.plot_confusions(confusions), f"Confusion matrix, counts and percentages of each row. {reading}")
    second = (performance.plot_per_class(metrics["per_class"]), f"Recall, precision and F1 of each expression with 95 % intervals. {classes}")
    return ["## Confusions", first, reading, "## Expressions", second, classes, performance.per_class_table(metrics["per_class"])]


def _calibration(found: Evaluated, metrics: dict[str, Any]) -> list[Part]:
    bins = reliability_bins(found.table["target"].to_numpy(), probs_of(found.table))
    reading = f"{calibrating.confidence_sentence(bins)} {calibrating.calibration_sentence(metrics)} {found.calibrated}".rstrip()
    return [
        "## Calibration",
        (calibrating.plot_reliability({"none": bins}), f"Reliability diagram: accuracy against confidence in 15 bins. {reading}"),
        reading,
    ]


def _people(found: Evaluated, metrics: dict[str, Any]) -> list[Part]:
    parts: list[Part] = ["## Possible biases", performance.subjects_sentence(metrics, metrics["n"])]
    if metrics.get("duplicates"):
        parts.append(performance.duplicates_sentence(metrics["duplicates"]))
    table = by_person({found.model: found.table})
    return parts if table is None else [*parts, "Correct of all faces, by person and expression:", summed_people(table, found.model)]


def _rendered(part: Part) -> str:
    if isinstance(part, pd.DataFrame):
        return html_table(part)
    if isinstance(part, str):
        return MarkdownIt("commonmark", {"html": False}).render(part)
    figure, alt = part
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return f'<p><img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"></p>'
