"""The dataset card of a prepared dataset (Gebru et al., 2021), from what prepare and audit wrote.

It is a page of the site, and Markdown with Hugging Face's front matter. The card names the faces and holds none of them. Fields: https://huggingface.co/docs/hub/datasets-cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ferlab.expressions import SPLITS
from ferlab.reporting.site.cards import split_rule
from ferlab.reporting.site.datasets import dataset_facts, sources_of
from ferlab.reporting.site.model_card import front_matter
from ferlab.reporting.tables import estimate, percent
from ferlab.roles import listed

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
KINDS = ("exact_duplicates", "mirrored_duplicates", "near_duplicates")
USE = (
    "Training and evaluation of models of facial expression recognition in research. A label is what annotators see in a face, not what a person "
    "feels; a dataset's mix of ages, skin tones, cameras and occasions is not that of any population."
)


@dataclass(frozen=True)
class Dataset:
    """What a dataset card tells of.

    Attributes:
        name: Of the prepared dataset.
        prepared: What prepare wrote.
        audit: What audit wrote; {} where it has not run.
        issues: Run -> label issues among the faces that it read: `split`, `n`, `issues`.
    """

    name: str
    prepared: Mapping[str, Any]
    audit: Mapping[str, Any]
    issues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def dataset_card(card: Dataset) -> str:
    """Return the card as Markdown with front matter, as the README.md of a dataset on Hugging Face."""
    return front_matter(dataset_metadata(card)) + dataset_card_body(card)


def dataset_card_body(card: Dataset) -> str:
    """Return the card without front matter."""
    parts = {
        f"# Dataset card: {card.name}": _sources(card),
        "## Faces": _faces(card),
        "## Labels": _labels(card),
        "## Duplicates": _duplicates(card),
        "## Label conflicts and issues": _conflicts(card),
        "## Use and limits": USE,
        "## Terms and citation": _terms(card),
    }
    return "\n\n".join(f"{head}\n\n{text}" for head, text in parts.items() if text) + "\n"


def dataset_metadata(card: Dataset) -> dict[str, Any]:
    """Return the front matter: licence, annotators, size, and the splits with their faces."""
    facts = [dataset_facts(source) for source in _named(card)]
    drawn = all(of.dataset == "control" for of in facts)
    faces = int(card.prepared.get("faces", 0))
    metadata: dict[str, Any] = {"pretty_name": f"{listed([of.title for of in facts])}, prepared as {card.name}"}
    metadata["license"] = "mit" if drawn else "other"
    if not drawn:
        metadata["license_name"] = "terms-of-" + "-and-".join(of.dataset.replace("_", "-") for of in facts)
        if url := next((of.url for of in facts if of.url), ""):
            metadata["license_link"] = url
    labels = {"feature": "expression", "names": {str(i): name for i, name in enumerate(card.prepared.get("expressions", []))}}
    counts = card.prepared.get("splits", {})
    return metadata | {
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "annotations_creators": list(dict.fromkeys(of.creators for of in facts)),
        "source_datasets": ["original"] if drawn else [f"extended|other-{of.dataset.replace('_', '-')}" for of in facts],
        "size_categories": [next((name for most, name in SIZES.items() if faces < most), "1M<n<10M")],
        "tags": ["facial-expression-recognition", "ferlab", *(["synthetic"] if drawn else [])],
        "dataset_info": {
            "features": [
                {"name": "image", "dtype": "image"},
                {"name": labels["feature"], "dtype": {"class_label": {"names": labels["names"]}}},
            ],
            "splits": [{"name": split, "num_examples": counts[split]} for split in SPLITS if split in counts],
        },
    }


def _named(card: Dataset) -> list[str]:
    return sources_of(str(card.prepared.get("dataset", "")))


def _sources(card: Dataset) -> str:
    told = []
    for source in _named(card):
        facts = dataset_facts(source)
        layout = f" Drawn in the layout of {source.partition(':')[2]}." if ":" in source else ""
        told.append(f"**{facts.title}**. {facts.what}{layout}")
    shape = f" Prepared as {card.prepared['height']} x {card.prepared['width']} pixels." if "height" in card.prepared else ""
    return " ".join(told) + shape


def _faces(card: Dataset) -> str:
    counts = card.prepared.get("counts") or {}
    splits = [split for split in SPLITS if split in counts]
    if not splits:
        return "Not prepared yet."
    lines = [f"| expression | {' | '.join(splits)} |", "|---|" + "---:|" * len(splits)]
    lines += [f"| {name} | {' | '.join(f'{counts[split].get(name, 0):,}' for split in splits)} |" for name in card.prepared["expressions"]]
    lines.append(f"| all | {' | '.join(f'{sum(counts[split].values()):,}' for split in splits)} |")
    rule, subjects = split_rule(card.prepared), card.prepared.get("subjects")
    people = " Faces name no subjects." if not subjects else "" if "subjects" in rule else f" {subjects:,} subjects are named."
    excluded = sum(card.prepared.get("excluded", {}).values())
    out = f" {excluded:,} pictures were excluded." if excluded else ""
    return "\n".join(lines) + f"\n\n{rule}{people}{out}"


def _labels(card: Dataset) -> str:
    told = [f"Labels of {of.title}: {of.annotated}." for of in (dataset_facts(source) for source in _named(card))]
    return " ".join(told) + (" Votes of several annotators are kept." if card.prepared.get("votes") else "")


def _duplicates(card: Dataset) -> str:
    parts = card.audit.get("cross_split")
    if parts is None:
        return "Not audited yet."
    lines = ["| duplicates of faces in | among | exact | mirrored | near |", "|---|---|---:|---:|---:|"]
    for first in ("train", "val"):
        for second, found in parts.get(first, {}).items():
            if second != first and (first, second) != ("val", "train"):
                lines.append(f"| {first} | {second} | {' | '.join(f'{found[kind]:,}' for kind in KINDS)} |")
    kept, test = card.audit.get("test_dedup"), card.audit.get("test_faces")
    told = f"{kept:,} of {test:,} test faces have no duplicate in train or val (`test_dedup`)." if kept is not None and test else ""
    return "\n".join(lines) + f"\n\n{told}" if len(lines) > 2 else told


def _conflicts(card: Dataset) -> str:
    if "groups" not in card.audit:
        return ""
    exact, groups = card.audit["label_conflicts"], card.audit["groups"]
    told = [f"Labels differ within {exact:,} of {groups:,} groups of exact duplicates"]
    told[0] += f", and within {card.audit['near_label_conflicts']:,} of {card.audit['near_groups']:,} groups with near-duplicates."
    probe = (card.audit.get("probe") or {}).get("all")
    if probe:
        told.append(f"The nearest neighbour in pixels classifies {estimate(probe, 'accuracy')} of {probe['n']:,} test faces correctly;")
        told.append(f"the commonest expression is {percent(card.audit['probe']['majority'])} of them.")
    for run, of in card.issues.items():
        told.append(f"Confident learning names {of['issues']:,} label issues among {of['n']:,} faces of {of['split']} (run {run}).")
    return " ".join(told)


def _terms(card: Dataset) -> str:
    lines = []
    for source in _named(card):
        facts = dataset_facts(source)
        where = f" <{facts.url}>" if facts.url else ""
        lines.append(f"- **{facts.title}**. {facts.licence}{where}" + (f" Cite {facts.cite}" if facts.cite else ""))
    return "\n".join(lines)
