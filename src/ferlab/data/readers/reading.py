"""Read a dataset by its name; the names are in `ferlab.data.readers.registry`.

A reader is a function `read(raw: Path, *, <options>) -> (pictures, faces)`: N pictures, decoded on access (see `images`), and a face table of N rows
without `content_hash` and `split` (see `tables.face_table`). A picture without a label, or excluded by an option, stays in the table with `target` -1
and the reason in the column `excluded`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ferlab.data.readers.images import Pictures
from ferlab.data.readers.registry import READERS
from ferlab.params import nearest
from ferlab.paths import InputError

TYPES = {  # of pydantic's errors: what was expected
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    **dict.fromkeys(("dict_type", "mapping_type"), "pairs as in {folder: word}"),
    "list_type": "a list",
}
Reader = Callable[..., tuple[Pictures, pd.DataFrame]]


def read_source(dataset: str, raw: str | Path, options: Mapping[str, Any] | None = None) -> tuple[Pictures, pd.DataFrame]:
    """Read a dataset through its reader: N pictures and the reader's table of N rows; control faces ignore `raw`.

    Raises:
        InputError: If the dataset or an option is unknown, or the dataset cannot be read.
    """
    read = find_reader(dataset)
    options = dict(options or {})
    _check_options(read, dataset=dataset, options=options)
    pictures, faces = read(Path(raw), **options)
    if len(pictures) != len(faces):
        raise InputError(f"The reader of {dataset!r} gives {len(pictures)} pictures for {len(faces)} rows; expected one each. Mend the reader.")
    return pictures, faces


def find_reader(dataset: str) -> Reader:
    """Import and return the reader of a dataset.

    Raises:
        InputError: If no reader has that name; the nearest is named.
    """
    if dataset not in READERS:
        raise InputError(f"No dataset is called {dataset!r} (prepare.<set>.dataset); {nearest(dataset, sorted(READERS))}")
    module, function = READERS[dataset].split(":")
    return getattr(import_module(module), function)


def _check_options(read: Reader, *, dataset: str, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(read, eval_str=True).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [parameter.name for parameter in parameters]
    for option in options:
        if option not in names:
            raise InputError(f"The dataset {dataset!r} has no option {option!r} (prepare.<set>.options); {nearest(option, names)}")
    for parameter in parameters:
        if parameter.name in options and parameter.annotation is not parameter.empty:
            _check_type(dataset, parameter, options[parameter.name])


def _check_type(dataset: str, parameter: inspect.Parameter, value: Any) -> None:
    try:
        TypeAdapter(parameter.annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = "".join(f".{part}" for part in wrong["loc"] if isinstance(part, (str, int)) and str(part) in str(value))
        said = f"prepare.<set>.options.{parameter.name}{place} of the dataset {dataset!r} is {wrong['input']!r:.60}"
        expected = wrong["ctx"]["expected"] if wrong["type"] == "literal_error" else TYPES.get(wrong["type"], wrong["msg"].lower())
        raise InputError(f"{said}; expected {expected}. Mend the option.") from None
    if isinstance(value, str) and value.encode(errors="replace").decode() != value:
        raise InputError(f"prepare.<set>.options.{parameter.name} is {value!a}, which is no text; expected letters. Mend the option.")
