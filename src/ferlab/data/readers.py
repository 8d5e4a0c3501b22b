"""Read a dataset by its name, and check what its reader gives. The table of names is `ferlab.data.registry`.

A reader is a function `read(raw: Path, *, <options>) -> (images, faces)`: uint8 (N, H, W) or (N, H, W, 3), and a face table
without `split` (and without `content_hash`, which is filled here).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import add_content_hashes, check_faces
from ferlab.data.registry import READERS
from ferlab.paths import InputError

Reader = Callable[..., tuple[np.ndarray, pd.DataFrame]]


def read_dataset(dataset: str, raw: str | Path, options: Mapping[str, Any] | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Read a dataset through its reader, and check what it gives.

    Args:
        dataset: A key of `READERS`.
        raw: The dataset's folder or file; a reader of drawn faces ignores it.
        options: Keyword arguments of the reader.

    Returns:
        Images uint8 (N, H, W) or (N, H, W, 3), and a checked face table of N rows with `content_hash`, without `split`.

    Raises:
        InputError: If the dataset or an option is unknown, or the dataset cannot be read.
    """
    read = find_reader(dataset)
    options = dict(options or {})
    _check_options(read, dataset=dataset, options=options)
    images, faces = read(Path(raw), **options)
    return images, check_faces(add_content_hashes(images, faces))


def find_reader(dataset: str) -> Reader:
    """Import and return the reader of a dataset.

    Raises:
        InputError: If no reader has that name; the nearest is named.
    """
    if dataset not in READERS:
        known = ", ".join(sorted(READERS))
        raise InputError(f"Unknown dataset {dataset!r} in prepare.<set>.dataset{_nearest(dataset, READERS)}; expected one of {known}.")
    module, function = READERS[dataset].split(":")
    return getattr(import_module(module), function)


def _check_options(read: Reader, *, dataset: str, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(read).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [parameter.name for parameter in parameters]
    for option in options:
        if option not in names:
            known = f"expected one of {', '.join(names)}" if names else "it has none"
            raise InputError(f"Unknown option {option!r} of the dataset {dataset!r} in prepare.<set>.options{_nearest(option, names)}; {known}.")


def _nearest(word: str, known: Any) -> str:
    match = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
