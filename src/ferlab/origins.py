"""What a model was trained and selected on, as far as it is known, and what the faces of a set are to it then.

Of a run this follows from its params; of a model made elsewhere it is what its card states. A role that nobody states is "unknown", which is no
"untouched".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from ferlab.expressions import USAGES
from ferlab.roles import MARKS, Exposure, Role, listed

KnownRole = Role | Literal["unknown"]
Overlap = Literal["yes", "no", "unknown"]
UNKNOWN_MARK = "training data not stated"
NOBODY: frozenset[str] = frozenset()
# Datasets that hold the photographs of another one: FER+ under their own numbers and usages, the reshuffled folder under new ones.
NUMBERED_AS, RESHUFFLED_FROM = {"ferplus": "fer2013"}, {"fer2013_reshuffled": "fer2013"}
Usages = Mapping[str, tuple[str, ...]]  # dataset -> usages; empty: not stated which


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        title: What it is.
        trained: The usages of each dataset that it was trained on; None where nothing is stated.
        selected: Likewise of what selected its epoch.
        ids: Of a run here, the faces that it was trained on; they decide, and `trained` and `selected` name splits.
        selected_ids: Likewise those that selected its epoch.
        hashes: Likewise what the faces of `ids` look like (`content_hash`), by which photographs are known that another reader names otherwise.
        selected_hashes: Likewise of `selected_ids`.
        forms: Likewise the forms of `face_id` in its set: faces of these are compared by their ids alone.
        stated: Who states it.
        licence: Of its weights.
    """

    title: str
    trained: Usages | None
    selected: Usages = field(default_factory=dict)
    ids: frozenset[str] = NOBODY
    selected_ids: frozenset[str] = NOBODY
    hashes: frozenset[str] = NOBODY
    selected_hashes: frozenset[str] = NOBODY
    forms: frozenset[str] = NOBODY
    stated: str = ""
    licence: str = ""

    def role(self, faces: pd.DataFrame) -> KnownRole:
        """Return what these faces (`face_id`, `source`, `usage`, and `content_hash` where it is known) are to the model."""
        if self.trained is None:
            return "unknown"
        own = faces.assign(source=faces["source"].replace(NUMBERED_AS))
        if self.ids:
            fitted, chosen = (self.ids, self.hashes), (self.selected_ids, self.selected_hashes)
            overlaps = {"trained": _met(*fitted, self.forms, own), "selected_on": _met(*chosen, self.forms, own)}
        else:
            overlaps = {"trained": _overlap(self.trained, own), "selected_on": _overlap(self.selected, own)}
        some = next((role for role, overlap in overlaps.items() if overlap == "yes"), None)
        return some or ("unknown" if "unknown" in overlaps.values() else "untouched")  # type: ignore[return-value]


def of_run(name: str, seen: Exposure, faces: pd.DataFrame) -> Origin:
    """Return the origin of a run, from what it has seen of its own set's face table."""
    trained, selected = (faces[faces["split"].isin(splits)] for splits in (seen.trained_on, seen.selected_on))
    return Origin(
        title=f"run {name}",
        trained={str(source): seen.trained_on for source in dict.fromkeys(trained["source"])},
        selected={str(source): seen.selected_on for source in dict.fromkeys(selected["source"])},
        ids=frozenset(trained["face_id"]),
        selected_ids=frozenset(selected["face_id"]),
        hashes=frozenset(trained.get("content_hash", ())),
        selected_hashes=frozenset(selected.get("content_hash", ())),
        forms=frozenset(faces["face_id"].map(_numbered).map(_form)),
        stated="this workspace",
    )


def of_shipped(card: Mapping[str, Any]) -> Origin:
    """Return the origin of the model that ships, from its card."""
    trained = {card["trained_on"]["dataset"]: tuple(card["trained_on"]["usages"])}
    return Origin(f"{card['title']}, shipped with ferlab", trained, stated="its card", licence=card.get("licence", ""))


def of_foreign(foreign: Mapping[str, Any]) -> Origin:
    """Return the origin of a model made elsewhere, from `foreign` of its adopted card."""
    stated = foreign["trained_on"]
    datasets = stated["datasets"]
    trained = None if datasets is None else {name: tuple(usages) for name, usages in datasets.items()}
    selected = {name: tuple(usages) for name, usages in stated.get("selected_on", {}).items()}
    return Origin(foreign["title"], trained, selected, stated=stated["stated"], licence=foreign["licence"])


def trained_words(origin: Origin) -> str:
    """Say in a cell what a model was trained on."""
    if origin.trained is None:
        return "not stated"
    told = [f"{name} ({listed(usages)})" if usages else f"{name} (usages not stated)" for name, usages in origin.trained.items()]
    chosen = [f"{name} ({listed(usages)})" for name, usages in origin.selected.items()]
    return listed(told) + (f"; epoch selected on {listed(chosen)}" if chosen else "")


def role_mark(role: KnownRole) -> str:
    """Return what stands beside a score: "trained on", "selected its epoch", "training data not stated", or "" where untouched."""
    return UNKNOWN_MARK if role == "unknown" else MARKS[role]


def _met(ids: frozenset[str], hashes: frozenset[str], forms: frozenset[str], faces: pd.DataFrame) -> Overlap:
    """Say whether some of the faces are among those of `ids`: unknown where the same dataset names its faces in another form, and no pixels agree."""
    known, own = set(map(_numbered, ids)), faces["face_id"].map(_numbered)
    if own.isin(known).any():
        return "yes"
    others = ~own.map(_form).isin(forms)
    if "content_hash" in faces and faces.loc[others, "content_hash"].isin(hashes).any():
        return "yes"
    trained = {_dataset(each) for each in known}
    return "unknown" if own[others].map(_dataset).isin(trained).any() or _elsewhere(trained, faces) else "no"


def _overlap(stated: Usages, faces: pd.DataFrame) -> Overlap:
    """Say whether some of the faces are of the stated usages: unknown where usages of their dataset are not stated, or stated in other words."""
    usages: dict[str, list[tuple[str, ...]]] = {}
    for name, of in stated.items():
        usages.setdefault(NUMBERED_AS.get(name, name), []).append(of)
    for source, rows in faces.groupby("source", sort=False):
        if any(rows["usage"].isin(of).any() for of in usages.get(str(source), ())):
            return "yes"
    unsaid = any(() in usages.get(str(source), ()) for source in faces["source"].unique())
    worded = {source: {_wording(usage) for of in each for usage in of} for source, each in usages.items()}
    used = {(str(source), _wording(usage)) for source, usage in set(zip(faces["source"], faces["usage"], strict=True))}
    reworded = any(source in worded and wording not in worded[source] for source, wording in used)
    return "unknown" if unsaid or reworded or _elsewhere(set(usages), faces) else "no"


def _numbered(face_id: str) -> str:
    """Return the id of a face's photograph: that of the dataset whose numbers its own keeps."""
    source, slash, number = face_id.partition("/")
    return NUMBERED_AS.get(source, source) + slash + number


def _dataset(face_id: str) -> str:
    return face_id.partition("/")[0]


def _form(face_id: str) -> str:
    """Return how a reader names a dataset's faces: by number, by name, or by path, of how many folders, with or without an ending.

    >>> _form("fer2013/0000123"), _form("fer2013/train/happy/im0"), _form("rafdb/train/1/train_1.jpg")
    ('fer2013/number', 'fer2013/*/*/name', 'rafdb/*/*/name.ending')
    """
    dataset, _, own = face_id.partition("/")
    *folders, name = own.split("/")
    kind = "number" if name.isdecimal() else "name.ending" if "." in name else "name"
    return "/".join([dataset, *("*" for _ in folders), kind])


def _wording(usage: str) -> str:
    """Return which words state a usage: those of FER2013, those of other datasets, or none, where all faces are of one part."""
    return "all" if usage == "all" else "FER2013" if usage in USAGES else "other"


def _elsewhere(trained: set[str], faces: pd.DataFrame) -> bool:
    """Whether some of the faces may be photographs of `trained` under other names."""
    family = {RESHUFFLED_FROM.get(name, name) for name in trained}
    return any(RESHUFFLED_FROM.get(source, source) in family and source not in trained for source in faces["source"].unique())
