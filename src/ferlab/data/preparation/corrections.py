"""Labels corrected by hand: a csv beside the raw files, which stay as delivered, one row for each face and person.

    face_id,old,new,who,why,when
    fer2013/0000123,sad,neutral,anna,label issue of five_layer,2026-11-28
    fer2013/0000456,fear,fear|surprise,anna,models disagree,2026-11-28T10:31:05
    fer2013/0000789,happy,exclude,ben,no face,2026-11-28

`new` is an expression, two expressions (the first is trained on, the second is kept as `second_label`), "exclude", or `old` again: the label was
confirmed. Where several people judged a face, the decision of more than half of them is applied; without one the label stays, and the conflict is
reported. A correction moves no face to another split: duplicates are searched and faces are split before labels are corrected, see `sets`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.readers.tables import name_row, near_face, read_columns
from ferlab.expressions import ALL_EXPRESSIONS, CONTEMPT, SPLITS
from ferlab.params import nearest
from ferlab.paths import InputError

COLUMNS = ("face_id", "old", "new", "who", "why", "when")
EXCLUDE, BOTH = "exclude", "|"
CORRECTED, SECOND = "corrected_from", "second_label"  # columns of the face table
DECISIONS = f"an expression ({', '.join(ALL_EXPRESSIONS)}), two as sad{BOTH}neutral, or {EXCLUDE}"


@dataclass(frozen=True)
class Corrected:
    """A face table after its corrections.

    Attributes:
        faces: The table; corrected faces have their new `target` and their old label in `corrected_from`, a face with two labels its second in
            `second_label`. The columns are added where a face needs them.
        reasons: Why a face is excluded, "" for the others, (N,) text.
        decided: One row per face of the file, see `settle`; `applied` says whether its decision holds.
        people: Rows by person.
    """

    faces: pd.DataFrame
    reasons: pd.Series
    decided: pd.DataFrame
    people: dict[str, int]


def read_corrections(path: Path) -> pd.DataFrame:
    """Read a corrections file, all cells as text, in the order of the file.

    Raises:
        InputError: In one line: a file that is missing, no csv or not UTF-8, another column, an empty cell, an unknown expression, a wrong date, or
            two rows of one person for one face.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; expected a csv with the columns {', '.join(COLUMNS)}. Make it, or clear `corrections`.")
    table = read_columns(path.read_bytes(), str(path), required=COLUMNS, optional=())
    for number, row in enumerate(table.to_dict("records"), start=1):
        if wrong := _what_is_wrong(row):
            raise InputError(f"{name_row(str(path), number)}: {wrong}. Mend the row.")
    repeated = table.duplicated(["face_id", "who"]).to_numpy()
    if repeated.any():
        place, row = name_row(str(path), int(repeated.argmax()) + 1), table.iloc[int(repeated.argmax())]
        raise InputError(f"{place}: {row['who']!r} has two rows for {row['face_id']!r}; expected one of each person. Remove one.")
    return table


def _what_is_wrong(row: dict[str, str]) -> str:
    if empty := [column for column in COLUMNS if not row[column]]:
        return f"{empty[0]} is empty; expected a face_id, its label, a decision, who decided, why, and the day"
    if row["old"] not in ALL_EXPRESSIONS:
        return f"old is {row['old']!r}, which is no expression; {nearest(row['old'], ALL_EXPRESSIONS)}"
    labels = labels_of(row["new"])
    if unknown := [label for label in labels if label not in ALL_EXPRESSIONS]:
        return f"new is {row['new']!r}; expected {DECISIONS}; {nearest(unknown[0], (*ALL_EXPRESSIONS, EXCLUDE))}"
    if len(labels) > 2 or len(set(labels)) != len(labels):
        return f"new is {row['new']!r}; expected at most two different expressions"
    if not _is_day(row["when"]):
        return f"when is {row['when']!r}; expected a day or a time such as 2026-11-28 or 2026-11-28T10:31:05"
    return ""


def labels_of(decision: str) -> tuple[str, ...]:
    """Return the labels of a decision, the one to train on first; none where it excludes the face.

    >>> labels_of("sad|neutral"), labels_of("exclude")
    (('sad', 'neutral'), ())
    """
    return () if decision == EXCLUDE else tuple(part.strip() for part in decision.split(BOTH))


def _is_day(text: str) -> bool:
    try:
        return text.startswith(datetime.datetime.fromisoformat(text).date().isoformat())  # of the forms of ISO 8601, the one with dashes
    except ValueError:
        return False


def settle(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per face, in the order of the file: `face_id, old, new, who, votes`; `new` is "" where people disagree without a majority.

    Args:
        table: From `read_corrections`.

    Returns:
        `who` names those whose decision it is, `votes` holds every decision by person.
    """
    rows = []
    for face_id, own in table.assign(new=table["new"].map(_one_form)).groupby("face_id", sort=False):
        counts = own["new"].value_counts(sort=False)
        new = counts.idxmax() if 2 * counts.max() > len(own) else ""
        who = tuple(own.loc[own["new"] == new, "who"])
        rows.append({"face_id": face_id, "old": own["old"].iloc[0], "new": new, "who": who, "votes": dict(zip(own["who"], own["new"], strict=True))})
    return pd.DataFrame(rows, columns=["face_id", "old", "new", "who", "votes"])


def _one_form(decision: str) -> str:
    return BOTH.join(labels_of(decision)) or EXCLUDE


def correct(faces: pd.DataFrame, path: Path, *, expressions: Sequence[str], excluded: Sequence[str] = ()) -> Corrected:
    """Apply a corrections file to a face table.

    Args:
        faces: Face table of N rows, without `split`.
        path: The file.
        expressions: The names that `target` counts.
        excluded: `face_id` of pictures that the set does not hold for another reason; their rows are not applied.

    Raises:
        InputError: As `read_corrections`; and a face that the set does not have, an `old` that is not its label, or contempt in a set without it.
    """
    table = read_corrections(path)
    _check_against_faces(table, faces, path, expressions=expressions, excluded=set(excluded))
    decided = settle(table)
    decided["applied"] = (decided["new"] != "") & decided["face_id"].isin(faces["face_id"])
    new = decided[decided["applied"]].set_index("face_id")["new"].map(labels_of)
    own = faces["face_id"].map(new)  # the labels of each face, NaN where nothing was decided
    judged = own.notna().to_numpy()
    reasons = pd.Series("", index=faces.index, dtype="str")
    out = np.array([judged[row] and not own.iloc[row] for row in range(len(faces))], dtype=bool)
    said = {row["face_id"]: _why_excluded(table, row) for row in decided.to_dict("records") if row["new"] == EXCLUDE}
    reasons[out] = faces.loc[out, "face_id"].map(said)
    after = _with_labels(faces, own.where(judged & ~out, None))
    return Corrected(after, reasons, decided, table["who"].value_counts(sort=False).to_dict())


def _why_excluded(table: pd.DataFrame, row: dict[str, Any]) -> str:
    first = table[(table["face_id"] == row["face_id"]) & (table["who"] == row["who"][0])].iloc[0]
    return f"excluded: {first['why']} ({', '.join(row['who'])})"


def _check_against_faces(table: pd.DataFrame, faces: pd.DataFrame, path: Path, *, expressions: Sequence[str], excluded: set[str]) -> None:
    targets = dict(zip(faces["face_id"], faces["target"].tolist(), strict=True))
    for number, row in enumerate(table.to_dict("records"), start=1):
        place, face_id = name_row(str(path), number), row["face_id"]
        if face_id not in targets:
            if face_id in excluded:
                continue
            raise InputError(f"{place}: no face of the set is called {face_id!r}{near_face(face_id, faces['face_id'])}. Mend or remove the row.")
        if (label := ALL_EXPRESSIONS[targets[face_id]]) != row["old"]:
            raise InputError(f"{place}: old is {row['old']!r}, but the label of {face_id!r} is {label!r}. Judge the face again, or remove the row.")
        if CONTEMPT in labels_of(row["new"]) and CONTEMPT not in expressions:
            way = "a correction adds no class to a set. Choose another label"
            raise InputError(f"{place}: new is {row['new']!r}, but no face of the set has the label {CONTEMPT}; {way}.")


def _with_labels(faces: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Give faces new labels: `labels` holds one or two for each face that was judged, None for the others."""
    targets = faces["target"].to_numpy(copy=True)
    earlier = faces[CORRECTED].fillna("").tolist() if CORRECTED in faces else [""] * len(faces)
    second, changed = [""] * len(faces), False
    for row, own in enumerate(labels.tolist()):
        if not isinstance(own, tuple):
            continue
        place = ALL_EXPRESSIONS.index(own[0])
        if place != targets[row]:
            earlier[row], targets[row], changed = ALL_EXPRESSIONS[targets[row]], place, True
        second[row] = own[1] if len(own) > 1 else ""
    faces = faces.assign(target=targets)
    if changed:
        faces[CORRECTED] = pd.Series(earlier, index=faces.index, dtype="str")
    return faces.assign(**{SECOND: pd.Series(second, index=faces.index, dtype="str")}) if any(second) else faces


def summarise(corrected: Corrected, faces: pd.DataFrame) -> dict[str, Any]:
    """Return what became of a corrections file, as plain values for the page and the metrics.

    Args:
        corrected: From `correct`.
        faces: Face table of the prepared set, with `split`.

    Returns:
        `rows` and `faces` of the file; `applied` (faces of the set whose label or second label changed, or that were excluded), `confirmed`,
        `unused` (faces that the set does not hold for another reason); `changes`: `{old: {new: faces}}`; `splits`: changed faces by split, and
        `excluded`; `by`: per person `rows`, and `applied`, those of them that were applied; `conflicts`: `face_id`, `old`, `votes`.
    """
    splits = dict(zip(faces["face_id"], faces["split"], strict=True))
    done: dict[str, Any] = {"rows": sum(corrected.people.values()), "faces": len(corrected.decided)}
    changes: dict[str, dict[str, int]] = {}
    applied, where = {who: 0 for who in corrected.people}, dict.fromkeys((*SPLITS, "excluded"), 0)
    counts, conflicts = {"applied": 0, "confirmed": 0, "unused": 0}, []
    for row in corrected.decided.to_dict("records"):
        out = row["new"] == EXCLUDE
        if not row["new"]:
            conflicts.append({key: row[key] for key in ("face_id", "old", "votes")})
            continue
        if not row["applied"] or (not out and row["face_id"] not in splits):
            counts["unused"] += 1
            continue
        if row["new"] == row["old"]:
            counts["confirmed"] += 1
            continue
        counts["applied"] += 1
        changes.setdefault(row["old"], {}).setdefault(row["new"], 0)
        changes[row["old"]][row["new"]] += 1
        where["excluded" if out else splits[row["face_id"]]] += 1
        for who in row["who"]:
            applied[who] += 1
    people = {who: {"rows": rows, "applied": applied[who]} for who, rows in corrected.people.items()}
    return {**done, **counts, "changes": changes, "splits": where, "by": people, "conflicts": conflicts}
