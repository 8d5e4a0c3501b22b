"""Official counts of datasets, compared with the faces of a prepared dataset, and the checksum of its faces.

References:
    FER2013: Goodfellow et al. (2013), arXiv 1307.0414.
    FER+: Barsoum et al. (2016), arXiv 1608.01041; sizes under the majority rule counted in fer2013new.csv.
    CK+: Lucey et al. (2010), CVPR Workshops, table 4: 327 labelled sequences.
    JAFFE: Lyons et al. (1998), Coding Facial Expressions with Gabor Wavelets: 213 pictures.
    RAF-DB: Li et al. (2017), Reliable Crowdsourcing and Deep Locality-Preserving Learning, CVPR: 12,271 and 3,068 basic faces.
    AffectNet: Mollahosseini et al. (2017), arXiv 1708.03985; 287,651 faces of eight expressions, 500 of each to validate (some deliveries lack one).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ferlab.data.faces import CONTROL, is_derived
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS

ALL = "all"
@dataclass(frozen=True)
class Official:
    """Official counts of a dataset.

    Attributes:
        counts: Part (a usage, or "all") -> expression (or "all") -> how many.
        unit: "face_id" or "sequence": what is counted.
        test: The part of published accuracies; "" where the dataset names none.
    """

    counts: dict[str, dict[str, int]]
    unit: str = "face_id"
    test: str = ""


OFFICIAL: dict[str, Official] = {
    "fer2013": Official({usage: dict(zip(EXPRESSIONS, counts, strict=True)) for usage, counts in FER2013_COUNTS.items()}, test="PrivateTest"),
    "ferplus": Official({"Training": {ALL: 25_060}, "PublicTest": {ALL: 3_199}, "PrivateTest": {ALL: 3_153}}, test="PrivateTest"),
    "ckplus": Official(
        {ALL: {"angry": 45, "contempt": 18, "disgust": 59, "fear": 25, "happy": 69, "sad": 28, "surprise": 83}},
        unit="sequence",
    ),
    "jaffe": Official({ALL: {"angry": 30, "disgust": 29, "fear": 32, "happy": 31, "sad": 31, "surprise": 30, "neutral": 30}}),
    "rafdb": Official(
        {
            "train": {ALL: 12_271},
            "test": {"surprise": 329, "fear": 74, "disgust": 160, "happy": 1_185, "sad": 478, "angry": 162, "neutral": 680},
        },
        test="test",
    ),
    "affectnet": Official({"train": {ALL: 287_651}, "validation": {ALL: 4_000}}, test="validation"),  # its test part was never published
}


def compare_counts(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame:
    """Compare a face table with the official counts of its sources.

    Args:
        faces: Face table.
        expressions: Names of the targets.

    Returns:
        One row per official count: `source`, `part`, `expression`, `here`, `official`, `difference`; empty where no source has official counts.
    """
    rows = []
    originals = faces[~is_derived(faces)]
    for source in dict.fromkeys(originals["source"]):
        official = OFFICIAL.get(source)
        if official is None or official.unit not in originals:
            continue
        own = originals[originals["source"] == source]
        own = own[own["excluded"] == ""] if "excluded" in own else own
        for part, counts in official.counts.items():
            within = own if part == ALL else own[own["usage"] == part]
            named = within["target"].map(dict(enumerate(expressions)))
            for expression, count in counts.items():
                here = within if expression == ALL else within[named == expression]
                rows.append({"source": source, "part": part, "expression": expression, "here": here[official.unit].nunique(), "official": count})
    table = pd.DataFrame(rows, columns=["source", "part", "expression", "here", "official"])
    return table.assign(difference=table["here"] - table["official"])


def is_official_test(faces: pd.DataFrame) -> bool | None:
    """Return whether the test split is the part that published accuracies of the dataset are measured on, whole and alone.

    Args:
        faces: Face table with `split`.

    Returns:
        None where the dataset names no such part, or all faces are control faces. Test faces of several sources are no official test; another
        source in the training split alone leaves it official.
    """
    originals = faces[~is_derived(faces)]
    test = originals[originals["split"] == "test"]
    sources = set(test["source"])
    if all(source.split(":")[0] == CONTROL for source in sources):
        return None
    if len(sources) > 1:
        return False
    official = OFFICIAL.get(sources.pop())
    if official is None or not official.test:
        return None
    return set(test["usage"]) == {official.test} and len(test) == sum(official.counts[official.test].values())


def fingerprint_set(faces: pd.DataFrame, expressions: Sequence[str]) -> dict[str, Any]:
    """Return what distinguishes two deliveries of a dataset.

    Returns:
        `sha256` of the sorted content hashes: the same for the same faces in any order; and `counts`, a nested dict
        `<source>.<part>.<expression>.{here, official}`.
    """
    digest = hashlib.sha256("\n".join(sorted(faces.loc[~is_derived(faces), "content_hash"])).encode()).hexdigest()
    counts: dict[str, Any] = {}
    for row in compare_counts(faces, expressions).to_dict("records"):
        part = counts.setdefault(row["source"], {}).setdefault(row["part"], {})
        part[row["expression"]] = {"here": int(row["here"]), "official": int(row["official"])}
    return {"sha256": digest, "counts": counts}
