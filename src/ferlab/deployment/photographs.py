"""Any model on a folder of photographs: faces are searched for, and a picture without one counts as a failure of detection.

    PHOTOS/<expression>/<picture>                 class folders, in any spelling that `ferlab.data.readers.class_folders` knows
    labels.csv   file,expression[,person]         a row for each picture, its path from PHOTOS

Of several faces in a picture the largest is scored. The label is of the picture, so a picture of several people belongs elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.readers import class_folders
from ferlab.data.readers.folder_names import read_label
from ferlab.data.readers.tables import name_row, read_columns
from ferlab.deployment.frame import FramedModel, align_probs
from ferlab.deployment.predictor import ReadFace
from ferlab.evaluation.predictions import predictions_table
from ferlab.expressions import ALL_EXPRESSIONS, CONTEMPT, EXPRESSIONS
from ferlab.paths import InputError, check_plain_file

COLUMNS = {"required": ("file", "expression"), "optional": ("person",)}
NO_FACE = "no face found"


def read_photographs(folder: Path, *, table: Path | None = None, person: str | None = None) -> pd.DataFrame:
    """Return one row per picture: `file` (from the folder), `expression` ("" where its folder names none), `person` ("" where unknown).

    Args:
        folder: Holds the pictures.
        table: The csv of labels; None for class folders.
        person: Of class folders: a regular expression with one group that finds the person in a file's name or, with a `/`, in its path.

    Raises:
        InputError: A missing folder, file or column, an empty or repeated row, or a label that is near to an expression or none of ours.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one of photographs")
    if table and person:
        raise InputError("--person is of class folders; a csv names people in its column person")
    return _from_csv(folder, table) if table else _from_folders(folder, person)


def _from_folders(folder: Path, person: str | None) -> pd.DataFrame:
    _, faces = class_folders.read(folder, subject=person)
    labelled = (faces["excluded"] == "") if "excluded" in faces else pd.Series(True, index=faces.index)
    if not labelled.any():
        raise InputError(f"{folder}: no picture lies in a folder of an expression; expected {', '.join(EXPRESSIONS)}, or name a csv with --csv")
    labels = [ALL_EXPRESSIONS[target] if known else "" for target, known in zip(faces["target"], labelled, strict=True)]
    return pd.DataFrame({"file": faces["source_path"].to_numpy(), "expression": labels, "person": faces["subject"].to_numpy() if person else ""})


def _from_csv(folder: Path, path: Path) -> pd.DataFrame:
    where = check_plain_file(path, expected="a csv with the columns file,expression[,person]")
    table, known = read_columns(path.read_bytes(), where, **COLUMNS), {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        place = name_row(where, number)
        if not (folder / row["file"]).is_file():
            raise InputError(f"{place}: {_missing(folder, row['file'])}; mend the row")
        picture = (folder / row["file"]).resolve()
        if picture in known:
            raise InputError(f"{place}: {row['file']!r} stands there twice (as {known[picture]!r}); expected each picture once. Remove a row.")
        known[picture] = row["file"]
        found = read_label(row["expression"], where=place, way="mend the label.")
        if found not in ALL_EXPRESSIONS:
            raise InputError(f"{place}: {found}; expected {', '.join(ALL_EXPRESSIONS)}. Mend the label or remove the row.")
        table.loc[number - 1, "expression"] = found
    if table.empty:
        raise InputError(f"{where}: no row; expected one for each picture")
    if (table["person"] == "").any() and (table["person"] != "").any():
        number = int((table["person"] == "").to_numpy().argmax()) + 1
        raise InputError(f"{name_row(where, number)}: no person, where other rows name one; name all or none")
    return table


def _missing(folder: Path, name: str) -> str:
    """Say what is wrong with a name that is no file, and which file is meant by it, by its path or its name alone."""
    if not name or (folder / name).is_dir():
        return f"{name!r} is {'a folder' if name else 'no name'}; expected a picture's path from {folder}"
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    near = [file for file in files if Path(file).name == name] or difflib.get_close_matches(name, files, n=1, cutoff=0.8)
    return f"{name!r} is not in {folder}" + (f" (did you mean {near[0]!r}?)" if near else "")


def score_photographs(model: FramedModel, photographs: pd.DataFrame, folder: Path, *, whole: bool = False, flip: bool = False) -> pd.DataFrame:
    """Return the photographs with what the model predicts for each.

    Args:
        model: Opened.
        photographs: From `read_photographs`, labelled.
        folder: Of the pictures.
        whole: Whether each picture is a cropped face, where none is searched for.
        flip: Average over each face and its mirror image.

    Returns:
        The rows, with `faces` (how many were found), `reason` (why a picture has no prediction: no face found, or unreadable; else ""), the box as
        `x, y, width, height`, `predicted`, and `prob_<expression>` of our seven expressions, and of contempt where a label is.
    """
    order = [name for name in ALL_EXPRESSIONS if name != CONTEMPT or CONTEMPT in set(photographs["expression"])]
    rows = [_score(model, folder / row["file"], order, whole=whole, flip=flip) for row in photographs.to_dict("records")]
    return pd.concat([photographs.reset_index(drop=True), pd.DataFrame(rows)], axis=1)


def _score(model: FramedModel, path: Path, order: Sequence[str], *, whole: bool, flip: bool) -> dict[str, object]:
    empty: dict[str, object] = {"x": None, "y": None, "width": None, "height": None, "predicted": "", **{f"prob_{name}": np.nan for name in order}}
    try:
        faces = model.predictor.predict_image(path, whole=whole, flip=flip)
    except InputError as error:
        return {"faces": 0, "reason": f"unreadable: {error.reason or error}", **empty}
    if not faces:
        return {"faces": 0, "reason": NO_FACE, **empty}
    face: ReadFace = max(faces, key=lambda each: each.box[2] * each.box[3])
    probs = align_probs(face.probs[None].astype(np.float64), model.predictor.expressions, order, name=model.name)[0]
    box = dict(zip(("x", "y", "width", "height"), face.box, strict=True))
    named = {f"prob_{name}": prob for name, prob in zip(order, probs, strict=True)}
    return {"faces": len(faces), "reason": "", **box, "predicted": order[int(probs.argmax())], **named}


def predictions_of(scored: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions table of the pictures in which a face was found, split "test"; with `subject` where people are named.

    Raises:
        InputError: If no face was found in any picture.
    """
    found = scored[scored["reason"] == ""]
    if found.empty:
        reasons = ", ".join(f"{count} {reason[:80]}" for reason, count in scored["reason"].value_counts().head(3).items())
        raise InputError(f"no face was found in any of {len(scored)} pictures ({reasons}); --whole takes each picture as a face")
    columns = [column for column in found if str(column).startswith("prob_")]
    order = [str(column).removeprefix("prob_") for column in columns]
    targets = found["expression"].map(order.index).to_numpy()
    table = predictions_table(found["file"], ["test"] * len(found), targets, probs=found[columns].to_numpy(np.float64), expressions=order)
    return table.assign(subject=found["person"].to_numpy()) if (found["person"] != "").any() else table
