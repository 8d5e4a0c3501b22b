"""A prepared dataset as it lies on disk: taken where its record holds, prepared otherwise, and read back either way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab.data.preparation.corrections import summarise
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import Gathered, gather
from ferlab.data.preparation.steps import Preparation, plan_preparation, step_of
from ferlab.data.store import Store, open_store, read_excluded
from ferlab.locks import partial_folder
from ferlab.params import Prepare, StageParams
from ferlab.paths import ROOT, read_json, write_json
from ferlab.results import obtain

LOOK = ("size", "colour", "equalise", "blur")
SPLIT = ("val_fraction", "test_fraction", "folds", "fold", "seed")


@dataclass(frozen=True)
class Raw:
    """The pictures of a set, read when they are first asked for: a set that is taken as it lies needs none.

    Attributes:
        settings: The set's section of params.yaml.
    """

    settings: Prepare

    @cached_property
    def gathered(self) -> Gathered:
        """The pictures and their table; see `gather` for what raises."""
        folder, settings = ROOT / self.settings.raw, self.settings
        by_hand = {"exclusions": settings.exclusions, "corrections": settings.corrections}
        return gather(folder, settings.all_sources, **by_hand, seed=settings.seed)

    @cached_property
    def preparation(self) -> Preparation:
        """The steps from a picture to its face."""
        return plan_preparation(ROOT / self.settings.raw, self.gathered.whole.faces, self.settings.face.model_dump(), **self.look)

    @property
    def look(self) -> dict[str, Any]:
        """Size, colour, equalisation and blur, as keyword arguments."""
        return {key: getattr(self.settings, key) for key in LOOK}

    @property
    def has_steps(self) -> bool:
        """Whether the pictures are changed at all."""
        plain = Prepare()
        return self.settings.face != plain.face or any(value != getattr(plain, key) for key, value in self.look.items())


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset.

    Attributes:
        store: Its faces.
        excluded: The pictures that it does not hold, see `ferlab.data.store.read_excluded`.
        other_files: Files that are no pictures and that the reader did not take.
        links: Links to folders that were followed.
        corrections: What became of the labels corrected by hand, see `ferlab.data.preparation.corrections.summarise`; empty without any.
    """

    store: Store
    excluded: pd.DataFrame
    other_files: tuple[str, ...]
    links: tuple[str, ...]
    corrections: dict[str, Any] = field(default_factory=dict)


def prepared(p: StageParams, raw: Raw) -> Prepared:
    """Take a prepared dataset, or prepare it.

    Args:
        p: The set's sections of params.yaml.
        raw: Its pictures.

    Raises:
        InputError: As `gather`, `plan_preparation` and `prepare_set`.
    """
    made = obtain("prepare", p, _prepare, raw=raw, name=p.name)
    folder, facts = made.places["store"], read_json(made.places["facts"], made_by="stage prepare")
    listed = {key: tuple(facts[key]) for key in ("other_files", "links")}
    return Prepared(open_store(folder), read_excluded(folder), **listed, corrections=facts.get("corrections", {}))


def _prepare(store: Path, facts: Path, *, raw: Raw, name: str) -> None:
    settings, gathered = raw.settings, raw.gathered
    values: Mapping[str, Any] = settings.model_dump()
    made = prepare_set(
        store,
        gathered,
        step_of(raw.preparation, gathered.whole.faces),
        split={"rule": settings.split} | {key: values[key] for key in SPLIT},
        work=partial_folder() / name,
        plan=values,
        shards=settings.shards,
        copies=settings.copies,
        method=settings.oversample,
        skip_unreadable=settings.unreadable == "exclude",
        keep_mean=settings.network_input == "cs231a",
        cover=settings.cover,
        preparation={"face": values["face"], **raw.look},
    )
    corrections = {"corrections": summarise(gathered.corrected, made.faces)} if gathered.corrected else {}
    write_json(facts, {"other_files": gathered.other_files, "links": gathered.links, **corrections})
