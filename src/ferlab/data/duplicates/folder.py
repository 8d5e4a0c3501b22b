"""Any folder of faces, without a study: its duplicates, labels that contradict each other on them, blank and unreadable pictures.

A picture's label is the nearest folder above it that names an expression, its part (train, validation, test) the nearest that names one; in a flat
folder it has neither. Pictures may differ in size: exact and mirrored duplicates have equal pixels, near-duplicates are searched among thumbnails as
those of a prepared dataset are (`search`), so one photograph in two sizes is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.duplicates.audit import find_blank
from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.duplicates.pairs import KINDS, find_pairs, group_faces
from ferlab.data.faces import hash_images
from ferlab.data.readers.accounting import picture_names
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_expression, part_of, settle_part
from ferlab.data.readers.images import PictureFiles
from ferlab.paths import InputError

SHOWN = 5  # findings of a kind in the summary
COLUMNS = ("finding", "file", "other", "label", "other_label", "part", "other_part", "score", "reason")  # of the table of findings


@dataclass(frozen=True)
class FolderAudit:
    """What was found in a folder.

    Attributes:
        pictures: One row per picture, in the order of the paths: `file`, `label` and `part` ("" for none), `blank` (bool), `unreadable` (why, or ""),
            `group` (number of the photograph; -1 where it cannot be read).
        pairs: `first` < `second` (rows of `pictures`), `kind` (exact, mirrored, near), `score` (correlation once aligned, 1 for exact and mirrored).
            A further exact duplicate of a content is paired with its first picture.
        limit: The score from which a pair is a near-duplicate.
    """

    pictures: pd.DataFrame
    pairs: pd.DataFrame
    limit: float

    def conflicts(self) -> list[pd.DataFrame]:
        """Return the pictures of each photograph that has several labels."""
        labelled = self.pictures[(self.pictures["label"] != "") & (self.pictures["group"] >= 0)]
        return [rows for _, rows in labelled.groupby("group", sort=False) if rows["label"].nunique() > 1]

    def crossing(self) -> pd.DataFrame:
        """Return the pictures of each photograph that is in several parts."""
        parted = self.pictures[(self.pictures["part"] != "") & (self.pictures["group"] >= 0)]
        return parted[parted.groupby("group")["part"].transform("nunique") > 1]

    def found(self) -> bool:
        """Whether there is anything to look at."""
        return bool(len(self.pairs) or self.pictures["blank"].any() or (self.pictures["unreadable"] != "").any())


def audit_folder(folder: Path, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None) -> FolderAudit:
    """Read and compare all pictures below a folder or in an archive.

    Args:
        folder: The folder, or a .zip or .tar.
        seed: Of the sample that the search fits its codes to.
        progress: Is called with the number of pictures read, and of all.

    Raises:
        InputError: No such folder, or no pictures in it.
    """
    delivery = Delivery(folder)
    names = picture_names(delivery, expected="pictures of faces, in class folders or not.")
    pictures, hashes, mirrored, small = _read(PictureFiles(delivery, names), names, progress)
    readable, blank = (pictures["unreadable"] == "").to_numpy(), pictures["blank"].to_numpy()
    contents = pd.factorize(np.array(hashes))[0]
    first_of = pd.Series(np.arange(len(names))).groupby(contents).transform("first").to_numpy()
    again = np.flatnonzero(readable & (first_of < np.arange(len(names))))
    exact = pd.DataFrame({"first": first_of[again], "second": again, "kind": KINDS[0], "score": 1.0})
    single = np.flatnonzero(readable & ~blank & (first_of == np.arange(len(names))))
    others, limit = _similar(single, hashes=hashes, mirrored=mirrored, small=small, labels=pictures["label"], seed=seed)
    pairs = pd.concat([exact, others], ignore_index=True).astype({"first": np.int64, "second": np.int64, "score": float})
    pairs = pairs.sort_values(["first", "second"], ignore_index=True)
    groups = np.where(readable, group_faces(pairs, len(names)), -1)
    return FolderAudit(pictures.assign(group=groups), pairs, limit)


def table_of_findings(audit: FolderAudit) -> pd.DataFrame:
    """Return a row per finding, with `COLUMNS`: a pair of duplicates by its kind, a blank or unreadable picture; "" where a column does not apply."""
    pictures = audit.pictures[["file", "label", "part"]]
    ends = [pictures.iloc[audit.pairs[end]].reset_index(drop=True) for end in ("first", "second")]
    pairs = pd.concat([ends[0], ends[1].rename(columns={"file": "other", "label": "other_label", "part": "other_part"})], axis=1)
    pairs = pairs.assign(finding=audit.pairs["kind"].to_numpy(), score=audit.pairs["score"].round(4).astype(str).to_numpy())
    single = [
        pictures[audit.pictures["blank"]].assign(finding="blank"),
        pictures[audit.pictures["unreadable"] != ""].assign(finding="unreadable", reason=audit.pictures["unreadable"]),
    ]
    return pd.concat([pairs, *single], ignore_index=True).reindex(columns=list(COLUMNS)).fillna("")


def facts_of(audit: FolderAudit) -> dict[str, Any]:
    """Return the counts, and every finding by file, for JSON."""
    table, crossing = table_of_findings(audit), audit.crossing()
    kinds = {kind: int((audit.pairs["kind"] == kind).sum()) for kind in KINDS}
    return {
        "pictures": len(audit.pictures),
        "labels": dict(Counter(label for label in audit.pictures["label"] if label)),
        "parts": dict(Counter(part for part in audit.pictures["part"] if part)),
        "pairs": kinds,
        "photographs_across_parts": crossing["group"].nunique(),
        "pictures_across_parts": dict(Counter(crossing["part"])),
        "limit": audit.limit,
        "label_conflicts": [dict(zip(rows["file"], rows["label"], strict=True)) for rows in audit.conflicts()],
        "findings": [{key: value for key, value in row.items() if value != ""} for row in table.to_dict("records")],
    }


def summary_lines(audit: FolderAudit) -> list[str]:
    """Return what was found in lines: counts, and the first findings of each kind."""
    pictures, table = audit.pictures, table_of_findings(audit)
    labels, parts = (sorted(set(pictures[column]) - {""}) for column in ("label", "part"))
    named = f"labels {', '.join(labels)}" if labels else "no folder names an expression: no labels"
    lines = [f"{_many(len(pictures), 'picture')}; {named}" + (f"; parts {', '.join(parts)}" if parts else "")]
    for kind in KINDS:
        rows = table[table["finding"] == kind]
        told = f"near-duplicates (score {audit.limit:.2f} or more)" if kind == "near" else f"{kind} duplicates"
        lines += _listed(f"{told}: {_many(len(rows), 'pair')}", [f"{row.file} and {row.other}{_score(row)}" for row in rows.itertuples()])
    conflicts = [", ".join(f"{file} ({label})" for file, label in zip(rows["file"], rows["label"], strict=True)) for rows in audit.conflicts()]
    lines += _listed(f"conflicting labels: {_many(len(conflicts), 'photograph')}", conflicts)
    if len(parts) > 1:
        crossing = audit.crossing()
        of_parts = ", ".join(f"{count:,} in {part}" for part, count in sorted(Counter(crossing["part"]).items()))
        shown = f" ({_many(len(crossing), 'picture')}: {of_parts})" if of_parts else ""
        lines.append(f"duplicates across parts: {_many(crossing['group'].nunique(), 'photograph')}{shown}")
    for finding in ("blank", "unreadable"):
        rows = table[table["finding"] == finding]
        lines += _listed(
            f"{finding}: {_many(len(rows), 'picture')}", [f"{row.file}{f' {row.reason}' if row.reason else ''}" for row in rows.itertuples()]
        )
    return lines


def _listed(head: str, found: list[str]) -> list[str]:
    more = [f"  and {len(found) - SHOWN:,} more"] if len(found) > SHOWN else []
    return [head, *(f"  {each}" for each in found[:SHOWN]), *more]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _score(row: Any) -> str:
    return f" ({float(row.score):.2f})" if row.finding == "near" else ""


def _read(files: PictureFiles, names: list[str], progress: Callable[[int, int], None]) -> tuple[pd.DataFrame, list[str], list[str], np.ndarray]:
    """Return the table of pictures, the hash of each and of its mirror image, and thumbnails uint8 (N, 48, 48), 0 where one cannot be read."""
    folders = {name: PurePosixPath(name).parent for name in names}
    stated = {folder: part_of(folder) for folder in set(folders.values())}
    rows, hashes, mirrored, small = [], [], [], np.zeros((len(names), 48, 48), np.uint8)
    for number, name in enumerate(names):
        folder = folders[name]
        label = next((found for at in (folder, *folder.parents) if (found := match_expression(at.name))), "")
        row = {"file": name, "label": label, "part": settle_part(stated[folder], stated.values()), "blank": False, "unreadable": ""}
        try:
            picture = files[number][None]
            small[number] = thumbnails(picture)[0]
            row["blank"] = bool(find_blank(picture)[0])
            hashes += hash_images(picture)
            mirrored += hash_images(picture[:, :, ::-1])
        except InputError as error:
            row["unreadable"] = error.reason or str(error)
            hashes.append(f"unreadable {number}")
            mirrored.append("")
        rows.append(row)
        progress(number + 1, len(names))
    return pd.DataFrame(rows), hashes, mirrored, small


def _similar(
    rows: np.ndarray, *, hashes: list[str], mirrored: list[str], small: np.ndarray, labels: pd.Series, seed: int
) -> tuple[pd.DataFrame, float]:
    """Return the mirrored and near-duplicates among some pictures of different contents, and the limit."""
    if len(rows) < 2:
        return pd.DataFrame({"first": [], "second": [], "kind": [], "score": []}), 1.0
    faces = pd.DataFrame({"content_hash": hash_images(small[rows]), "target": pd.factorize(labels.to_numpy()[rows])[0]})
    pairs, limit = find_pairs(small[rows], faces, seed=seed)
    first, second = rows[pairs["first"]], rows[pairs["second"]]
    mirror = np.array([hashes[a] == mirrored[b] for a, b in zip(first, second, strict=True)], dtype=bool)
    kind = np.where(mirror, KINDS[1], KINDS[2])  # of two sizes of one picture the thumbnails may be equal, the files are not
    return pd.DataFrame({"first": first, "second": second, "kind": kind, "score": pairs["score"]}), limit
