"""Erase one person from a clone, and prove it: `ferlab forget ID`.

The order never leaves results that claim faces which are gone: the consent is marked as withdrawn, what was computed is removed from the last page
to the store, then DVC's cache, and the rows and pictures go last. What is searched for is noted in `data/.forgetting-<ID>.json` before, so after a
crash the same command goes on. The note holds ids and checksums, no face, and is removed when nothing is left.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from ferlab.data.store import read_excluded
from ferlab.live.collection.csv_rows import erase_face_rows, is_one_of
from ferlab.live.collection.storage import Collection, Erased, counted, is_pseudonym
from ferlab.live.session.files import SESSIONS, people_of
from ferlab.params import Params, Run, nearest
from ferlab.paths import NOTEBOOKS, OUTPUTS, RUN_STAGES, SET_STAGES, InputError, read_json, write_whole
from ferlab.privacy import CONSENTED, LEFTOVERS, cache_folder, clean_cache, is_captured, while_nothing_runs
from ferlab.remains import Remains, Traces, search

DERIVED = ("data", "models", *(f"reports/{name}" for name in ("metrics", "summary", "plots", "tables", "notebooks", "site", "changes", "_failed")))
BEYOND = (
    "Not reached: other clones, backups, DVC remotes (`dvc gc --workspace --cloud`), Git history where pictures were committed, notebooks that were "
    "executed by hand and saved, pages written elsewhere (`ferlab changes --output`), models that params.yaml no longer names and that never scored "
    "their faces, and what was copied, exported, shipped or published from models and pages of theirs"
)
DRAWN = ("control_faces", "claims", "worlds")  # they read no faces of people
SHARED = tuple(stage for stage in reversed(NOTEBOOKS) if stage not in (*SET_STAGES, *RUN_STAGES, *DRAWN))  # they read several sets or runs
SEARCHED = ("data", "models", "reports", "notebooks", ".dvc")
EVALUATIONS = "reports/evaluations"  # of `ferlab evaluate`, a folder each
HASHES = "data/.hashes.json"  # names of raw files and what they were: found anew when needed


@dataclass
class Noted:
    """What is known of a person's faces before they are erased, in any order.

    Attributes:
        sets: Prepared datasets that hold them, or excluded them: a page may show what was excluded.
        runs: Runs that were trained or scored on these, and those that rest on such a run's model.
        evaluations: Folders of `ferlab evaluate` that scored their faces, or one of these runs.
        files: Their pictures, below the folder of the collection.
        face_ids: Their ids.
        sha256: Of the bytes of the pictures.
        pixels: `content_hash` of the pictures and of the prepared faces.
    """

    sets: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    evaluations: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    face_ids: set[str] = field(default_factory=set)
    sha256: set[str] = field(default_factory=set)
    pixels: set[str] = field(default_factory=set)

    def add(self, values: Mapping[str, Any]) -> None:
        """Add what a note or another source knows."""
        for key, found in values.items():
            getattr(self, key).update(found)


def forget_person(root: Path, params: Params, person: str) -> tuple[list[str], bool]:
    """Erase a person, or what somebody labelled, and search for what remains.

    Args:
        root: The clone.
        params: Of params.yaml.
        person: A pseudonym, or a person of a consent.csv made by hand.

    Returns:
        A report in lines, and whether nothing is left.

    Raises:
        InputError: An unknown person, a table that cannot be read, or a stage that runs; nothing is changed then.
    """
    collections = [Collection(folder) for folder in _folders(root, params)]
    note = root / "data" / f".forgetting-{quote(person, safe='')}.json"
    _check_known(collections, person, noted=note.is_file())
    noted = Noted()
    noted.add(read_json(note, made_by="the same command") if note.is_file() else {})
    _note(noted, root, params, collections=collections, person=person)
    with while_nothing_runs(root, stages=_stages(noted)):
        write_whole(note, json.dumps({key: sorted(values) for key, values in vars(noted).items()}).encode())
        for collection in collections:
            collection.mark_withdrawn(person)
        removed = _remove_results(root, noted)
        refused = _clean_dvc(root, noted)
        erased = [collection.erase(person) for collection in collections]
        rows = sum(each.rows for each in erased)
        known = {"files": noted.files if is_pseudonym(person) else set(), "face_ids": noted.face_ids}
        rows += sum(erase_face_rows(path, who=person, **known) for path in sorted((root / "data" / "raw").rglob("*.csv")))
    lines = [f"{person}: consent marked as withdrawn; erased {Erased(sum(each.pictures for each in erased), rows)}"]
    lines += [f"removed {counted(removed[0], 'file')} of results ({removed[1] / 1e6:.1f} MB): {_named(noted)}, and {', '.join(LEFTOVERS)}", *refused]
    remains, more = _prove(root, noted, collections=collections, person=person, note=note)
    lines += [f"removed {counted(len(more), 'more file')} that held them, by content: {_listed(root, more)}"] if more else []
    return [*lines, *_conclude(root, remains, note=note, collections=collections, person=person, refused=refused)], not (remains.found or refused)


def _folders(root: Path, params: Params) -> list[Path]:
    """Return the folders with a consent.csv or prompted sessions, below data/raw and where params.yaml reads captured faces."""
    raws = [
        root / prepare.raw / source["raw"] for prepare in params.prepare.values() if is_captured(prepare) for source in prepare.all_sources.values()
    ]
    tables = [path for raw in [root / "data" / "raw", *raws] if raw.is_dir() for path in raw.rglob("*.csv")]
    found = {path.parent.resolve() for path in tables if path.name.lower() == "consent.csv"}
    return sorted(found | {path.parent.parent.resolve() for path in tables if path.parent.name == SESSIONS and people_of(path.parent)})


def _check_known(collections: list[Collection], person: str, *, noted: bool) -> None:
    known = sorted(set().union(*(collection.people() for collection in collections)))
    if person not in known and not noted:
        where = ", ".join(str(collection.folder) for collection in collections) or "data/raw"
        raise InputError(f"nobody is called {person!r} in {where}; {nearest(person, known)}")


def _note(noted: Noted, root: Path, params: Params, *, collections: list[Collection], person: str) -> None:
    """Add what the clone holds of a person."""
    for collection in collections:
        noted.add({"files": collection.files_of(person), **collection.known_checksums(person)})
    for store in sorted((root / "data" / "prepared").glob("*/faces.parquet")):
        faces = pd.read_parquet(store)
        own, excluded = faces[_is_of(faces, person)], read_excluded(store.parent)["face_id"]
        excluded = excluded[[is_one_of(face_id, noted.files) for face_id in excluded]]
        if len(own) or len(excluded):
            noted.add({"sets": [store.parent.name], "face_ids": [*own["face_id"], *excluded], "pixels": own["content_hash"]})
    labelled = any(row["labeller"] == person for collection in collections for row in collection.rows("labels.csv"))
    noted.add({"sets": [name for name, prepare in params.prepare.items() if labelled and is_captured(prepare)]})
    noted.runs |= {name for name, run in params.runs.items() if run.data in noted.sets}
    for predictions in sorted(path for split in ("predictions", "train_predictions") for path in (root / "data" / split).glob("*.parquet")):
        if not noted.face_ids.isdisjoint(pd.read_parquet(predictions, columns=["face_id"])["face_id"]):
            noted.runs.add(predictions.stem)
    while more := {name for name, run in params.runs.items() if name not in noted.runs and _rests_on(run, noted.runs, root / "models")}:
        noted.runs |= more
    noted.evaluations |= {folder.name for folder in sorted((root / EVALUATIONS).glob("*")) if _is_scored_in(folder, noted)}


def _rests_on(run: Run, others: set[str], models: Path) -> bool:
    """Return whether a run was distilled from some others, or begins with a file of theirs: `train.pretrained`, or onnx_backbone's `file`."""
    folders = [(models / name).resolve() for name in others]
    files = [models.parent / Path(text).expanduser() for text in (run.train.pretrained, str(run.options.get("file", "")))]
    begins = any(file.parent.resolve().is_relative_to(folder) for file in files for folder in folders)  # a file may be DVC's link into its cache
    return begins or not others.isdisjoint(run.train.teachers)


def _is_scored_in(folder: Path, noted: Noted) -> bool:
    """Return whether an evaluation scored faces of a person, or a run that was trained on them."""
    table, metrics, listed = folder / "predictions.parquet", folder / "metrics.json", folder / "photographs.csv"
    if metrics.is_file() and read_json(metrics, made_by="ferlab evaluate").get("model") in noted.runs:
        return True
    if listed.is_file() and any(is_one_of(f"{CONSENTED}/{file}", noted.files) for file in pd.read_csv(listed, dtype=str)["file"].dropna()):
        return True
    return table.is_file() and not noted.face_ids.isdisjoint(pd.read_parquet(table, columns=["face_id"])["face_id"])


def _is_of(faces: pd.DataFrame, person: str) -> pd.Series:
    """Return which faces of a store are captured ones of a person; joined with others, subjects have the source before them."""
    if "subject" not in faces:
        return pd.Series(False, index=faces.index)
    named = (faces["subject"] == person) | (faces["subject"] == faces["source"] + "/" + person)
    return named & faces["source"].str.endswith(CONSENTED)


def _stages(noted: Noted) -> Iterator[tuple[str, str]]:
    """Yield the stages that hold something of a person, with their set or run, the last of the pipeline first."""
    if noted.sets or noted.runs:
        yield from ((stage, "") for stage in SHARED)
    yield from ((stage, run) for stage in reversed(RUN_STAGES) for run in sorted(noted.runs))
    yield from ((stage, name) for stage in reversed(SET_STAGES) for name in sorted(noted.sets))


def _remove_results(root: Path, noted: Noted) -> tuple[int, int]:
    """Remove all outputs of these stages, the site, and what runs left; return how many files and bytes."""
    gone = [_remove(root / "reports" / "site")] if noted.sets or noted.runs else []
    for stage, name in _stages(noted):
        page = root / "reports" / "notebooks" / (f"{NOTEBOOKS[stage]}-{name}.ipynb" if name else f"{NOTEBOOKS[stage]}.ipynb")
        gone += [_remove(page), *(_remove(root / place.format(name=name)) for place in reversed(OUTPUTS[stage].values()))]
    gone += [_remove(root / EVALUATIONS / name) for name in sorted(noted.evaluations)]
    left = [path for leftover in LEFTOVERS for path in sorted((root / leftover).glob("*")) if path.suffix != ".lock"]  # held until the end
    gone += [_remove(path) for path in [*left, root / HASHES]]
    return sum(files for files, _ in gone), sum(size for _, size in gone)


def _remove(path: Path) -> tuple[int, int]:
    """Remove a file or folder; return how many files and bytes were in it."""
    inside = [each for each in (path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]) if each.is_symlink() or each.is_file()]
    counted = len(inside), sum(each.lstat().st_size for each in inside)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return counted


def _clean_dvc(root: Path, noted: Noted) -> list[str]:
    """Take the stages out of dvc.lock and clean the cache of all that it does not name; return a line if DVC refuses."""
    lock = root / "dvc.lock"
    if lock.is_file() and (stages := {f"{stage}@{name}" if name else stage for stage, name in _stages(noted)}):
        write_whole(lock, without_stages(lock.read_text(encoding="utf-8"), stages | {"report"}).encode())
    if not (root / ".dvc").is_dir():
        return []
    refused = clean_cache(root)
    return [f"DVC's cache was not cleaned: {refused}; see to that and run the same command again"] if refused else []


def without_stages(text: str, stages: set[str]) -> str:
    """Return a dvc.lock without some stages, byte for byte as it was otherwise."""
    kept, keep = [], True
    for line in text.splitlines(keepends=True):
        found = re.fullmatch(r"""  ['"]?([^\s'"].*?)['"]?:\n?""", line)
        keep = found[1] not in stages if found else keep or not line.startswith(" ")
        kept += [line] if keep else []
    return re.sub(r"^stages:\n(?! )", "stages: {}\n", "".join(kept), flags=re.MULTILINE)


def _prove(root: Path, noted: Noted, *, collections: list[Collection], person: str, note: Path) -> tuple[Remains, list[Path]]:
    """Search, remove derived files that were found, and search again; return what remains, and what was removed."""
    for collection in collections:
        noted.add(collection.known_checksums(person))
    texts = frozenset(noted.face_ids | ({person} if is_pseudonym(person) else set()))
    traces = Traces(texts=texts, files=frozenset(noted.sha256), pixels=frozenset(noted.pixels))
    roots = [*(root / name for name in SEARCHED), cache_folder(root), *(each.folder for each in collections)]
    skip = [note, *(path for each in collections for path in (each.checksums_file(person), each.folder / "consent.csv"))]
    remains = search(roots, traces, skip=skip)
    places = [*(root / place for place in (*DERIVED, EVALUATIONS)), cache_folder(root)]
    more = [path for path in remains.found if any(path.is_relative_to(place) for place in places) and not path.is_relative_to(root / "data" / "raw")]
    for path in more:
        whole = next((store for store in (root / "data" / "prepared", root / EVALUATIONS) if path.is_relative_to(store)), None)
        _remove(whole / path.relative_to(whole).parts[0] if whole else path)
    return (search(roots, traces, skip=skip), more) if more else (remains, more)


def _conclude(root: Path, remains: Remains, *, note: Path, collections: list[Collection], person: str, refused: list[str]) -> list[str]:
    """Say what is left and why; forget what was noted where nothing is."""
    searched = f"searched {remains.searched:,} files in data, models, reports, notebooks and DVC's cache"
    kept = "consent.csv keeps the pseudonym and the two dates"
    if remains.found:
        told = [
            f"left: {_shown(root, path)}: {why}; not removed, since it is no result of ours: delete it by hand" for path, why in remains.found.items()
        ]
        return [*told, f"{searched}: {len(remains.found)} left; then run the same command again", BEYOND]
    if refused:
        return [f"{searched}: 0 left that can be told by content; pages with figures of them may lie in DVC's cache", BEYOND]
    for path in [note, *(collection.checksums_file(person) for collection in collections)]:
        path.unlink(missing_ok=True)
    return [f"{searched}: 0 left; {kept}. Next: dvc repro, which computes the removed results without them", BEYOND]


def _named(noted: Noted) -> str:
    return f"datasets {', '.join(sorted(noted.sets)) or 'none'}; runs {', '.join(sorted(noted.runs)) or 'none'}"


def _listed(root: Path, found: list[Path]) -> str:
    return ", ".join(_shown(root, path) for path in found[:5]) + (" ..." if len(found) > 5 else "")


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
