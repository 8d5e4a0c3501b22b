"""From datasets to one face table: read each source, map its labels and usages, join, exclude what is listed by hand.

Each picture that a prepared dataset will not hold is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import CONTROL, VOTES
from ferlab.data.preparation.corrections import Corrected, correct
from ferlab.data.readers.accounting import unread_rows
from ferlab.data.readers.delivery import MARKER
from ferlab.data.readers.images import Pictures
from ferlab.data.readers.reading import read_source
from ferlab.data.readers.tables import near_face, read_columns
from ferlab.data.splits import divide_groups
from ferlab.data.store import EXCLUDED_COLUMNS
from ferlab.expressions import ALL_EXPRESSIONS, CONTEMPT, EXPRESSIONS
from ferlab.params import nearest
from ferlab.paths import InputError

EXCLUSION_COLUMNS = ("face_id", "why", "who")


@dataclass(frozen=True)
class Gathered:
    """What was read, before any picture is prepared.

    Attributes:
        pictures: N pictures, decoded when asked for.
        faces: Face table of N rows, without `content_hash` and `split`.
        excluded: Pictures that the set will not hold, and archives that may hold some: `face_id`, `source`, `source_path`, `usage`, `reason`.
        other_files: Files that are no pictures and that the reader did not take, below the set's folder.
        links: Links to folders that were followed, likewise.
        corrected: What was corrected by hand; None without a corrections file.
        before: What was read before it was corrected, with the faces that a correction excludes; likewise.
    """

    pictures: Pictures
    faces: pd.DataFrame
    excluded: pd.DataFrame
    other_files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    corrected: Corrected | None = None
    before: Gathered | None = None

    @property
    def whole(self) -> Gathered:
        """What is prepared, searched for duplicates and split: `before`, where there is one."""
        return self.before or self

    @property
    def expressions(self) -> tuple[str, ...]:
        """The names that `target` counts: seven, or eight where a face shows contempt."""
        return ALL_EXPRESSIONS if (self.faces["target"] == ALL_EXPRESSIONS.index(CONTEMPT)).any() else EXPRESSIONS


@dataclass(frozen=True)
class _Chosen:
    """Some rows of other pictures."""

    pictures: Pictures
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.pictures[int(self.rows[row])]


@dataclass(frozen=True)
class _Joined:
    """Pictures of several sources, one after the other."""

    parts: Sequence[Pictures]
    starts: np.ndarray

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> np.ndarray:
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[part][row - int(self.starts[part])]


def gather(raw: Path, sources: Mapping[str, Mapping[str, Any]], *, exclusions: str = "", corrections: str = "", seed: int = 0) -> Gathered:
    """Read the sources of a set and join them.

    Args:
        raw: Folder or file of the set; everything it reads lies there, so that a change of any file is seen.
        sources: Per source, by a name of one's own: `dataset` (the reader), `raw` (below the set's), `options` (of the reader), `labels` (new
            name per expression, None to leave it out), `usages` (likewise per usage), `group_split` (share per usage; a group split of the
            source by subject, as of cs230's web set).
        exclusions: Name of a csv below `raw` with the columns face_id, why, who: pictures excluded by hand.
        corrections: Name of a csv below `raw`: labels corrected by hand, see `ferlab.data.preparation.corrections`.
        seed: Of the group splits.

    Raises:
        InputError: If a source cannot be read, a map names what is not there, or an exclusion or a correction names no face.
    """
    parts = [_gather_one(raw, name, source, seed=seed) for name, source in sources.items()]
    gathered = parts[0] if len(parts) == 1 else _join(parts)
    if exclusions:
        gathered = _exclude(gathered, find_below(raw, exclusions, key="exclusions"))
    if corrections:
        gathered = _correct(gathered, find_below(raw, corrections, key="corrections"))
    own = {exclusions, corrections}
    if own & set(gathered.other_files):
        gathered = replace(gathered, other_files=tuple(name for name in gathered.other_files if name not in own))
    if len(gathered.faces) == 0:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in gathered.excluded["reason"].value_counts().head(3).items())
        raise InputError(f"{raw}: no face is left in the set; expected some. Excluded: {reasons}.")
    return gathered


def _gather_one(raw: Path, name: str, source: Mapping[str, Any], *, seed: int) -> Gathered:
    below = source.get("raw") or ""
    place = find_below(raw, below, key=f"sources.{name}.raw") if below else raw
    pictures, faces = read_source(source["dataset"], place, source.get("options"))
    unread, others, links = _account(pictures, faces, place)
    faces = _name_drawn(faces, pictures, place)
    if below:
        faces, unread = (table.assign(source_path=[f"{below}/{path}" for path in table["source_path"]]) for table in (faces, unread))
        others, links = ([f"{below}/{path}" for path in paths] for paths in (others, links))
    reasons = faces.pop("excluded") if "excluded" in faces else pd.Series("", index=faces.index, dtype="str")
    faces, reasons = _map_labels(faces, reasons, source.get("labels") or {}, name)
    faces, reasons = _map_usages(faces, reasons, source.get("usages") or {}, name)
    gathered = Gathered(pictures=pictures, faces=faces, excluded=unread, other_files=tuple(others), links=tuple(links))
    gathered = _set_aside(gathered, reasons)
    if source.get("group_split"):
        gathered = replace(gathered, faces=_split_by_subject(gathered.faces, source["group_split"], name, seed=seed))
    return gathered


def find_below(raw: Path, name: str, *, key: str) -> Path:
    """Return the path of a file or folder that params.yaml names below a set's folder, where a change of it is seen.

    Raises:
        InputError: If it would lie elsewhere: an absolute path, or one with `..`.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts:
        raise InputError(f"{key} is {name!r}, which lies outside {raw}; expected a path below it, where DVC sees a change. Put it there.")
    return raw / name


def _account(pictures: Pictures, faces: pd.DataFrame, place: Path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the files of a delivery that have no row, as rows of those excluded and as names, and its links."""
    delivery = getattr(pictures, "delivery", None)
    if delivery is None:  # a reader that reads every file, or stops
        folders = {parent for path in faces["source_path"].unique() for parent in PurePosixPath(path).parents}
        return _no_rows(), [], sorted(str(folder) for folder in folders if str(folder) != "." and (place / folder).is_symlink())
    unread, others = unread_rows(delivery, set(faces["source_path"]), source=faces["source"].iloc[0] if len(faces) else "")
    return unread, others, delivery.links


def _name_drawn(faces: pd.DataFrame, pictures: Pictures, place: Path) -> pd.DataFrame:
    """Call the source of faces that were drawn as a dataset's files `control:<dataset>`, so that no page takes them for photographs."""
    if (faces["source"] == CONTROL).all():
        return faces
    base, delivery = place if place.is_dir() else place.parent, getattr(pictures, "delivery", None)

    def says_drawn(path: str) -> bool:
        if delivery is not None:
            return delivery.says_drawn(path)
        return any((base / folder / MARKER).is_file() for folder in PurePosixPath(path).parents)

    paths = faces["source_path"].str.rpartition("/")[0].where(faces["source_path"].str.contains("/"), "")
    drawn = paths.map({folder: says_drawn(f"{folder}/file" if folder else "file") for folder in paths.unique()}).astype(bool)
    return faces.assign(source=(CONTROL + ":" + faces["source"]).where(drawn, faces["source"])) if drawn.any() else faces


def _map_labels(faces: pd.DataFrame, reasons: pd.Series, labels: Mapping[str, str | None], source: str) -> tuple[pd.DataFrame, pd.Series]:
    """Give expressions other names, or none; true labels likewise, unknown where theirs has none."""
    targets, reasons = faces["target"].to_numpy(copy=True), reasons.copy()
    for old, new in labels.items():
        for word in (old, new):
            if word is not None and word not in ALL_EXPRESSIONS:
                raise InputError(f"sources.{source}.labels: {word!r} is no expression; {nearest(word, ALL_EXPRESSIONS)}")
        here = (faces["target"] == ALL_EXPRESSIONS.index(old)).to_numpy()
        targets[here] = -1 if new is None else ALL_EXPRESSIONS.index(new)
        if new is None:
            reasons[here & (reasons == "").to_numpy()] = f"{old} excluded by the label map"
    mapped = faces.assign(target=targets)
    if "true_target" in faces:
        renamed = {ALL_EXPRESSIONS.index(old): np.nan if new is None else ALL_EXPRESSIONS.index(new) for old, new in labels.items()}
        mapped["true_target"] = faces["true_target"].map(lambda target: renamed.get(target, target))
    return mapped, reasons


def _map_usages(faces: pd.DataFrame, reasons: pd.Series, usages: Mapping[str, str | None], source: str) -> tuple[pd.DataFrame, pd.Series]:
    present, reasons = set(faces["usage"]), reasons.copy()
    for usage, new in usages.items():
        if usage not in present:
            raise InputError(f"sources.{source}.usages: no face has the usage {usage!r}; {nearest(usage, sorted(present))}")
        if new is None:
            reasons[((faces["usage"] == usage) & (reasons == "")).to_numpy()] = f"usage {usage} excluded by the usage map"
    renamed = {usage: new for usage, new in usages.items() if new is not None}
    return faces.assign(usage=faces["usage"].replace(renamed)), reasons


def _split_by_subject(faces: pd.DataFrame, shares: Mapping[str, float], source: str, *, seed: int) -> pd.DataFrame:
    """Divide faces among usages, each subject's in one."""
    if "subject" not in faces or faces["subject"].isna().any():
        raise InputError(f"sources.{source}.group_split: expected a subject for every face; some have none. Remove `group_split`.")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"sources.{source}.group_split: the fractions {dict(shares)} add up to {sum(shares.values()):g}; expected 1.")
    return faces.assign(usage=divide_groups(faces, shares, keys=("subject",), seed=seed).astype(str))


def _set_aside(gathered: Gathered, reasons: pd.Series) -> Gathered:
    """Move the faces that have a reason to the table of excluded ones."""
    out = (reasons != "").to_numpy()
    if not out.any():
        return gathered
    gone = gathered.faces.loc[out, ["face_id", "source", "source_path", "usage"]].assign(reason=reasons[out].astype("str"))
    kept = np.flatnonzero(~out)
    return replace(
        gathered,
        pictures=_Chosen(gathered.pictures, kept),
        faces=gathered.faces.iloc[kept].reset_index(drop=True),
        excluded=pd.concat([gathered.excluded, gone], ignore_index=True),
    )


def _join(parts: Sequence[Gathered]) -> Gathered:
    """Put sources one after the other; people of different sources are different people."""
    faces = join_tables([_own_names(part.faces) for part in parts])
    if faces["face_id"].duplicated().any():
        twice = faces.loc[faces["face_id"].duplicated(), "face_id"].iloc[0]
        raise InputError(f"The face {twice!r} comes from two sources of the set; expected each once. Remove one of the two sources.")
    starts = np.cumsum([0, *(len(part.pictures) for part in parts)])
    excluded = pd.concat([part.excluded for part in parts], ignore_index=True)
    files, links = (tuple(path for part in parts for path in paths(part)) for paths in (lambda part: part.other_files, lambda part: part.links))
    return Gathered(_Joined([part.pictures for part in parts], starts), faces, excluded, files, links)


def join_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return face tables one after the other; of a column that a table lacks: no votes, "" (not of `subject`, `sequence`), NA or None."""
    faces = pd.concat(tables, ignore_index=True)
    for column in faces.columns.difference(["subject", "sequence"], sort=False):
        parts = [table[column] for table in tables if column in table]
        if column.startswith(VOTES):
            faces[column] = faces[column].fillna(0).astype("int64")
        elif any(part.dtype == bool for part in parts):
            faces[column] = faces[column].astype("boolean")
        elif any(part.dtype == "str" or pd.api.types.infer_dtype(part, skipna=True) == "string" for part in parts):
            faces[column] = faces[column].fillna("")
        elif faces[column].dtype == object:  # landmarks
            faces[column] = faces[column].where(faces[column].notna(), None)
    return faces


def _own_names(faces: pd.DataFrame) -> pd.DataFrame:
    names = {key: faces["source"] + "/" + faces[key] for key in ("subject", "sequence") if key in faces}
    return faces.assign(**names)


def _exclude(gathered: Gathered, path: Path) -> Gathered:
    table = read_exclusions(path)
    known = gathered.faces["face_id"]
    missing = ~table["face_id"].isin(known) & ~table["face_id"].isin(gathered.excluded["face_id"])
    if missing.any():
        row = int(missing.to_numpy().argmax())
        name = table["face_id"].iloc[row]
        raise InputError(f"{path}, data row {row + 1}: no face of the set is called {name!r}{near_face(name, known)}. Mend or remove the row.")
    reasons = known.map(dict(zip(table["face_id"], "excluded: " + table["why"] + " (" + table["who"] + ")", strict=True)))
    return _set_aside(gathered, reasons.fillna("").astype("str"))


def _correct(gathered: Gathered, path: Path) -> Gathered:
    given = {"expressions": gathered.expressions, "excluded": gathered.excluded["face_id"]}
    corrected = correct(gathered.faces, path, **given)
    return _set_aside(replace(gathered, faces=corrected.faces, corrected=corrected, before=gathered), corrected.reasons)


def read_exclusions(path: Path) -> pd.DataFrame:
    """Read the list of pictures excluded by hand: `face_id`, `why`, `who`, one row each.

    Raises:
        InputError: If the file is missing or no csv, a column lacks, a cell is empty, or a face comes twice.
    """
    table = read_listed(path, EXCLUSION_COLUMNS, key="exclusions")
    empty = (table == "").any(axis=1)
    if empty.any():
        raise InputError(f"{path}, data row {int(empty.argmax()) + 1}: an empty cell; expected a face_id, why it is excluded, and who said so.")
    if table["face_id"].duplicated().any():
        row = int(table["face_id"].duplicated().argmax())
        raise InputError(f"{path}, data row {row + 1}: {table['face_id'].iloc[row]!r} comes twice; expected each face once. Remove one row.")
    return table


def read_listed(path: Path, columns: Sequence[str], *, key: str) -> pd.DataFrame:
    """Read a csv that somebody wrote by hand about a set's faces, all cells as text.

    Args:
        path: The file.
        columns: The columns it must have, in order.
        key: The key of params.yaml that names it, for the error where it is missing.

    Raises:
        InputError: If the file is missing or no csv, has other columns, or a row has too few or too many cells.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; expected a csv with the columns {', '.join(columns)}. Make it, or clear `{key}`.")
    return read_columns(path.read_bytes(), str(path), required=columns, optional=())


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=list(EXCLUDED_COLUMNS), dtype="str")
