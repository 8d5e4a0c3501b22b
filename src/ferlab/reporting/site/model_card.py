"""The model card of a run (Mitchell et al., 2019), from what its stages wrote: a page of the site, and Markdown with Hugging Face's front matter.

The card is part of the report, the stage that reads every metrics file, so it goes stale with any of them. What a stage did not compute is said to be
missing, never made up. Fields: https://huggingface.co/docs/hub/model-cards; the bounds of a metric stand in its `args`.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from ferlab.evaluation.tasks import Task, recorded_tasks
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.reporting.exposure import scores_sentence
from ferlab.reporting.pages.protocol import task_sentence
from ferlab.reporting.site.datasets import dataset_facts, sources_of
from ferlab.reporting.tables import MISSING, SPLIT_NAMES, estimate, number, percent, shown_splits
from ferlab.roles import Exposure, listed, recorded

LEVEL = 0.05
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "ece": "ECE", "nll": "NLL"}
HUB = dict(zip(METRICS, ("accuracy", "balanced_accuracy", "f1", "expected_calibration_error", "log_loss"), strict=True))
INTENDED = (
    "Research on facial expression recognition: comparison of models on stated faces, study of errors, calibration and attributions. An expression "
    "is what annotators see in a face, not what a person feels."
)
OUT_OF_SCOPE = (
    "Decisions about people, such as hiring, policing, education, credit or health; inference of emotion, intent, truthfulness or identity; faces of "
    "people who did not agree. In the European Union inferring emotions at work and in education is prohibited but for medical and safety reasons "
    "(Regulation 2024/1689, article 5)."
)
LIMITS = (
    "Trained on cropped, mostly frontal faces of the dataset above. Other crops, poses, cameras and people are another measurement; `ferlab "
    "evaluate` makes it. Labels are one category per face."
)
CONTROL_LIMITS = "Trained on control faces, which are drawn: nothing here is about photographs."


@dataclass(frozen=True)
class Described:
    """What a model card tells of.

    Attributes:
        name: Of the run, or "shipped".
        model: Its network, as the registry calls it.
        metrics: Per stage what it wrote; {} for one that has not run.
        data: The name of its prepared dataset.
        licence: As an identifier of Hugging Face's.
        note: Further text on its training.
    """

    name: str
    model: str
    metrics: Mapping[str, Mapping[str, Any]]
    data: str = ""
    licence: str = "mit"
    note: str = ""

    def of(self, stage: str) -> Mapping[str, Any]:
        """Return the metrics of a stage."""
        return self.metrics.get(stage) or {}


def model_card(card: Described) -> str:
    """Return the card as Markdown with front matter, as the README.md of a model on Hugging Face."""
    return front_matter(model_metadata(card)) + model_card_body(card)


def model_card_body(card: Described) -> str:
    """Return the card without front matter."""
    evaluated = card.of("evaluate")
    parts = {
        f"# Model card: {card.name}": _model(card),
        "## Intended use": INTENDED,
        "## Out of scope": OUT_OF_SCOPE,
        "## Training data": _training(card),
        "## Results": _results(evaluated),
        "## Calibration": _calibration(evaluated),
        "## Groups of faces": _slices(card.of("analyze_errors"), _seen(card)),
        "## Corrupted and occluded faces": _robustness(card.of("robustness"), _seen(card)),
        "## Limits": f"{CONTROL_LIMITS} {LIMITS}" if _drawn(evaluated) else LIMITS,
    }
    return "\n\n".join(f"{head}\n\n{text}" for head, text in parts.items() if text) + "\n"


def model_metadata(card: Described) -> dict[str, Any]:
    """Return the front matter: licence, tags, datasets, metrics, and a model-index with one result per test split."""
    evaluated = card.of("evaluate")
    sources = sources_of(str(evaluated.get("dataset", "")))
    named = list(dict.fromkeys(source.replace(":", "-") for source in sources))
    metadata: dict[str, Any] = {
        "license": card.licence,
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "ferlab", *(["synthetic-data"] if _drawn(evaluated) else [])],
        "datasets": named,
        "metrics": list(HUB.values()),
    }
    tasks = recorded_tasks(evaluated) if evaluated else {}
    splits = [split for split in ("test", "test_dedup") if evaluated.get(split) and split in tasks]
    scores = {split: {**evaluated[split], **_over_subjects(evaluated, split)} for split in splits}
    results = [hub_result(tasks[split], scores[split], by_subject=_over_subjects(evaluated, split)) for split in splits]
    return {**metadata, "model-index": [{"name": card.name, "results": results}]} if results else metadata


def hub_result(task: Task, scores: Mapping[str, Any], *, by_subject: Collection[str] = ()) -> dict[str, Any]:
    """Return one result of a model-index: the task with its dataset, and each metric with its bounds.

    Args:
        task: What was scored.
        scores: Metrics with their bounds.
        by_subject: Keys of the bounds that are over subjects, not over faces.
    """
    over = {key: "subjects" if f"{key}_ci_low" in by_subject else "faces" for key in METRICS}
    name = " and ".join(dataset_facts(source).title for source in sources_of(task.dataset))
    known = {key: getattr(task, key) for key in ("usage", "duplicates", "preparation", "tta", "expressions", "version", "n")}
    dataset = {"type": task.dataset.replace(" and ", "+").replace(":", "-"), "name": name, "split": "test"}
    dataset |= {"revision": task.digest} if task.digest else {}
    return {
        "task": {"type": "image-classification", "name": "Facial expression recognition"},
        "dataset": {**dataset, "args": {key: value for key, value in known.items() if value not in ("", None)}},
        "metrics": [_metric(scores, key, n=task.n, over=over[key]) for key in METRICS if scores.get(key) is not None],
    }


def _metric(scores: Mapping[str, Any], key: str, *, n: int | None, over: str) -> dict[str, Any]:
    bounds = {end: scores[f"{key}_{end}"] for end in ("ci_low", "ci_high") if f"{key}_{end}" in scores}
    args = {**({"average": "macro"} if key == "macro_f1" else {}), **({"n": n} if n else {})}
    args |= {**bounds, "level": 0.95, "over": over} if bounds else {}
    return {"type": HUB[key], "value": scores[key], "name": METRICS[key], **({"args": args} if args else {})}


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Return metadata as a YAML block between lines of dashes, keys in their order."""
    yaml, stream = YAML(), io.StringIO()
    yaml.width = 10_000
    yaml.dump(dict(metadata), stream)
    return f"---\n{stream.getvalue()}---\n\n"


def _model(card: Described) -> str:
    trained, evaluated = card.of("train"), card.of("evaluate")
    size = f", {trained['parameters']:,} parameters" if trained.get("parameters") else ""
    names = _ordered((evaluated.get("test") or {}).get("per_class", {}))
    told = f"`{card.model}`{size}: the expression of a cropped face" + (f", one of {listed(names)}." if names else ".")
    return f"{told} Weights: MIT, as ferlab; the faces are not part of them." + (f" {card.note}" if card.note else "")


def _seen(card: Described) -> Exposure:
    return recorded(card.of("evaluate") or card.of("train"))


def _training(card: Described) -> str:
    trained, evaluated = card.of("train"), card.of("evaluate")
    if not trained and not evaluated:
        return "Not trained yet."
    seen, told = _seen(card), []
    for source in sources_of(str(evaluated.get("dataset", ""))):
        facts = dataset_facts(source)
        told.append(f"**{facts.title}**. {facts.what} Labels: {facts.annotated}. Terms: {facts.licence}")
    n = (trained.get("n") or {}).get("trained")
    told.append(f"Trained on {listed(seen.trained_on or ('train',))}" + (f", {n:,} faces." if n else "."))
    if trained.get("pretrained_on"):
        told.append(f"It rests on data beyond this dataset too, by pretrained weights: {trained['pretrained_on']}.")
    chosen = f"The epoch was selected on {listed(seen.selected_on)}." if seen.selected_on else "No epoch was selected."
    return " ".join([*told, chosen])


def _results(evaluated: Mapping[str, Any]) -> str:
    if not evaluated.get("test"):
        return "Not evaluated yet."
    splits = [split for split in shown_splits(evaluated) if split != "val"]
    scores = {split: {**evaluated[split], **_over_subjects(evaluated, split)} for split in splits}
    lines = [f"| | {' | '.join(SPLIT_NAMES[split] for split in splits)} |", "|---|" + "---|" * len(splits)]
    for key, name in METRICS.items():
        cells = [_cell(scores[split], key) for split in splits]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    found = evaluated["test"].get("per_class", {})
    recalls = {name: found[name] for name in _ordered(found) if found[name].get("recall") is not None and found[name].get("support")}
    by_class = [f"| {name} | {of['support']:,} | {estimate(of, 'recall')} | {percent(of.get('precision'))} |" for name, of in recalls.items()]
    table = "\n".join(["| expression | n | recall | precision |", "|---|---:|---|---:|", *by_class])
    by_subject = [name for key, name in METRICS.items() if _over(evaluated, "test", key) == "subjects"]
    by_subject += ["recall"] * ("subjects" in evaluated["test"])
    whose = f"Intervals are 95 %, of {listed(by_subject)} over subjects, else over faces." if by_subject else "Intervals are 95 %, over faces."
    told = f"{task_sentence(recorded_tasks(evaluated))} {whose}".strip()
    return "\n\n".join(["\n".join(lines), told, *([table] if by_class else [])])


def _ordered(names: Iterable[str]) -> list[str]:
    """Return expressions in their order (metrics files sort their keys), then others."""
    return sorted(names, key=lambda name: ALL_EXPRESSIONS.index(name) if name in ALL_EXPRESSIONS else len(ALL_EXPRESSIONS))


def _cell(scores: Mapping[str, Any], key: str) -> str:
    if scores.get(key) is None:
        return MISSING
    if key != "nll":
        return estimate(scores, key)
    bounds = [scores.get(f"nll_{end}") for end in ("ci_low", "ci_high")]
    return number(scores[key], digits=3) + (f" [{number(bounds[0], digits=3)}, {number(bounds[1], digits=3)}]" if None not in bounds else "")


def _calibration(evaluated: Mapping[str, Any]) -> str:
    of = evaluated.get("calibration")
    if not of:
        return ""
    if of.get("reason") or not of.get("scores"):
        return f"No temperature was fitted: {of.get('reason', 'not computed')}." if evaluated else ""
    scores, split = of["scores"], SPLIT_NAMES.get(of["split"], of["split"])
    before, after = (estimate(scores[kind], "ece") for kind in ("none", "temperature"))
    value = f"{number(of['temperature'], digits=2)} [{number(of['temperature_ci_low'], digits=2)}, {number(of['temperature_ci_high'], digits=2)}]"
    return f"A temperature of {value}, fitted on val (n {of['fitted_n']:,}), changes the ECE on {split} (n {of['n']:,}) from {before} to {after}."


def _slices(errors: Mapping[str, Any], seen: Exposure) -> str:
    tests = errors.get("slice_tests")
    if tests is None:
        return "Not analysed."
    found = [row for row in tests if row.get("p_holm") is not None and row["p_holm"] < LEVEL]
    which = f"On {errors['split']} (n {errors['n']:,}), permutation tests, Holm over {len(tests)} conditions"
    if not found:
        return f"{which}: no significant gap in error rate. A gap that is not significant may exist. {scores_sentence(seen, errors['split'])}".strip()
    rows = [f"| {row['condition']} | {percent(row['lowest'])} | {percent(row['highest'])} | {number(row['p_holm'], digits=3)} |" for row in found]
    head = ["| condition | lowest error rate | highest | Holm p |", "|---|---:|---:|---:|"]
    return "\n".join([f"{which}: {len(found)} significant. {scores_sentence(seen, errors['split'])}".strip(), "", *head, *rows])


def _robustness(found: Mapping[str, Any], seen: Exposure) -> str:
    if not found.get("corruptions"):
        return "Not measured."
    rises = {name: of["rise"] for name, of in found["corruptions"].items() if name != "mean"}
    worst = max(rises, key=lambda name: rises[name])
    told = f"On {found['split']} (n {found['n']:,}) accuracy is {percent(found['clean_accuracy'])} unchanged. Over five severities the error rate "
    told += f"rises by {_points(found, 'mean')} on average over {len(rises)} corruptions"
    told += f", most under {worst.replace('_', ' ')}, by {_points(found, worst)}."
    drops = {name: of["accuracy"] for name, of in (found.get("occlusions") or {}).items()}
    if drops:
        least = min(drops, key=lambda name: drops[name])
        told += f" Of {len(drops)} occlusions accuracy is lowest under {least.replace('_', ' ')}: {estimate(found['occlusions'][least], 'accuracy')}."
    return f"{told} {scores_sentence(seen, found['split'])}".strip()


def _points(found: Mapping[str, Any], worst: str) -> str:
    value, low, high = (number(found["corruptions"][worst][f"rise{end}"], percent=True) for end in ("", "_ci_low", "_ci_high"))
    return f"{value} points [{low}, {high}]"


def _drawn(evaluated: Mapping[str, Any]) -> bool:
    sources = sources_of(str(evaluated.get("dataset", "")))
    return bool(sources) and all(source.partition(":")[0] == "control" for source in sources)


def _over_subjects(evaluated: Mapping[str, Any], split: str) -> dict[str, float]:
    found = (evaluated.get("subjects_by_split") or {}).get(split) or {}
    return {key: value for key, value in found.items() if key.endswith(("_ci_low", "_ci_high"))}


def _over(evaluated: Mapping[str, Any], split: str, key: str) -> str:
    return "subjects" if f"{key}_ci_low" in _over_subjects(evaluated, split) else "faces"
