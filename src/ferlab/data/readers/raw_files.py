"""The raw files of a dataset that its reader reads: a change of these, and of no other file beside them, makes the dataset stale.

A reader of a folder reads all of it: every file is accounted for. FER2013's reader searches for a few names; control faces have no files.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from ferlab.data.readers.registry import READERS, READS
from ferlab.params import Prepare, nearest
from ferlab.paths import InputError


def raw_files(raw: Path, prepare: Prepare) -> dict[str, Path]:
    """Return the files and folders from which a dataset is prepared, by their path below `raw`.

    Args:
        raw: Its folder or file.
        prepare: Its section of params.yaml.

    Raises:
        InputError: Nothing lies there, or nothing that the reader knows.
    """
    if not raw.exists():
        raise InputError(f"{prepare.raw}: not found; put the dataset there (see data/raw/README.md)")
    files = [raw / name for name in (prepare.exclusions, prepare.corrections, prepare.face.boxes) if name and (raw / name).exists()]
    for name, source in prepare.all_sources.items():
        place, reads = raw / source["raw"], READS.get(source["dataset"])
        if reads != "" and not place.exists():
            place_in = "put the dataset there, or mend its name in params.yaml"
            raise InputError(f"prepare.<set>.sources.{name}.raw: not found; there is no {source['raw']} in {prepare.raw}: {place_in}")
        if reads is None:
            files.append(place)
        elif reads:
            module, function = reads.split(":")
            files += getattr(import_module(module), function)(place)
    return {os.path.relpath(path, raw): path for path in files}


def reader_modules(prepare: Prepare) -> tuple[str, ...]:
    """Return the modules of a dataset's readers, below ferlab.

    Raises:
        InputError: A dataset that has no reader; the nearest is named.
    """
    datasets = [source["dataset"] for source in prepare.all_sources.values()]
    if unknown := [dataset for dataset in datasets if dataset not in READERS]:
        raise InputError(f"No dataset is called {unknown[0]!r} (prepare.<set>.dataset); {nearest(unknown[0], sorted(READERS))}")
    return tuple(READERS[dataset].split(":")[0].removeprefix("ferlab.") for dataset in datasets)
