"""The face table: one row per face, in store order, with a checked schema; and the hash of a face's content.

Owns what a face table is. Readers make one, `splits` fills its split, the store keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ferlab.expressions import SPLITS
from ferlab.paths import InputError

if TYPE_CHECKING:
    import pandera.pandas as pa

REQUIRED: tuple[str, ...] = ("face_id", "content_hash", "source", "source_path", "usage", "target")
SOFT = "soft_"  # prefix of the columns that share one label among expressions
CONTROL = "control"  # source of control faces; "control:ckplus" of those that were drawn as files in the layout of CK+
DERIVED = ("derived_from", "derivation")  # columns of a dataset that holds copies or synthetic samples: "" for the faces themselves
VOTES = "votes_"  # prefix of the columns that count raters' votes: votes_happy, votes_unknown, ...
VOTE_SHARE = "vote_share"  # a value that `value_of` forms from them


@cache
def face_schema() -> pa.DataFrameSchema:
    """Build the schema of a face table. Columns it does not name (skin, light, yaw, box, ...) are allowed.

    `split` and `duplicate_group` may be missing (a reader's table has none); `subject`, `intensity` and votes are checked where a
    dataset has them. In a set of several sources some may have no subjects.
    """
    # Keep: pandera costs a fifth of a second to import, and only code that checks tables needs it.
    import pandera.pandas as pa

    whole = pa.Check.ge(0, error="a whole number of at least 0")
    return pa.DataFrameSchema(
        {
            "face_id": pa.Column(str, pa.Check.str_length(min_value=1, error="a name such as fer2013/0000123"), unique=True),
            "content_hash": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$", error="64 hexadecimal digits")),
            "source": pa.Column(str),
            "source_path": pa.Column(str),
            "usage": pa.Column(str),
            "split": pa.Column(str, pa.Check.isin(SPLITS, error=f"one of {', '.join(SPLITS)}"), required=False),
            "duplicate_group": pa.Column("int64", whole, required=False),
            "target": pa.Column("int64", pa.Check.ge(0, error="an expression's place, 0 or more")),
            "subject": pa.Column(str, nullable=True, required=False),
            "sequence": pa.Column(str, nullable=True, required=False),
            "valence": pa.Column("float64", pa.Check.in_range(-1, 1, error="-1 to 1"), nullable=True, required=False),
            "arousal": pa.Column("float64", pa.Check.in_range(-1, 1, error="-1 to 1"), nullable=True, required=False),
            "intensity": pa.Column("float64", pa.Check.in_range(0, 5, error="0 to 5"), nullable=True, required=False),
            f"^{SOFT}": pa.Column(
                "float64", pa.Check.in_range(0, 1, error="a share, 0 to 1"), nullable=True, regex=True, required=False
            ),
            f"^{VOTES}": pa.Column("int64", whole, regex=True, required=False),
        }
    )


def value_of(faces: pd.DataFrame, name: str, *, expressions: Sequence[str]) -> np.ndarray:
    """Return a value of each face, float64 (N,), NaN where unknown or where the table does not have it.

    Args:
        faces: Face table of N rows.
        name: A column, or "vote_share": the fraction of all votes that the face's label has, cs231a's crowd-averaged intensity.
        expressions: Names of the classes in `target`.
    """
    columns = [VOTES + expression for expression in expressions]
    if name != VOTE_SHARE or not set(columns) <= set(faces):
        return faces[name].to_numpy(dtype=np.float64) if name in faces else np.full(len(faces), np.nan)
    own = faces[columns].to_numpy(np.float64)[np.arange(len(faces)), faces["target"].to_numpy()]
    total = faces[[column for column in faces if str(column).startswith(VOTES)]].to_numpy(np.float64).sum(axis=1)
    return np.divide(own, total, out=np.full(len(faces), np.nan), where=total > 0)


def check_faces(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` unchanged if it is a face table.

    Args:
        table: One row per face, columns as in `face_schema`.

    Raises:
        InputError: In one line, the column, the first wrong row and value, and what was expected.
    """
    import pandera.errors

    if len(table) == 0:
        raise InputError("The face table has no rows; expected at least one face. Check that the dataset's folder is the right one.")
    try:
        checked = face_schema().validate(table)
    except pandera.errors.SchemaError as error:
        raise InputError(_explain(error, table)) from None
    _check_subjects(table)
    return checked


def _check_subjects(table: pd.DataFrame) -> None:
    """A source has subjects or it has none: a face whose subject is not known could cross a split unseen."""
    if "subject" not in table or table["subject"].notna().all():
        return
    missing = table["subject"].isna() & table.groupby("source")["subject"].transform("any")
    if missing.any():
        row = int(missing.to_numpy().argmax())
        others = f"though other faces of {table['source'].iloc[row]!r} have one"
        raise InputError(f"Face table, column 'subject', row {row}: no value, {others}. The reader must fill it.")


def _explain(error: Exception, table: pd.DataFrame) -> str:
    column = getattr(error.schema, "name", None)  # type: ignore[attr-defined]
    if column not in table.columns:
        missing = [name for name in REQUIRED if name not in table.columns]
        return f"The face table lacks the column {missing[0]!r}; expected {', '.join(REQUIRED)}. The reader must fill it." if missing else str(error)
    values = table[column]
    if values.isna().any() and column in REQUIRED:
        return f"Face table, column {column!r}, row {int(values.isna().argmax())}: no value. The reader must fill it."
    if values.duplicated().any() and column == "face_id":
        row = int(values.duplicated().argmax())
        return f"Face table, column 'face_id', row {row}: {values.iloc[row]!r} appears twice; expected every face to have its own id."
    cases = getattr(error, "failure_cases", None)
    expected = getattr(getattr(error, "check", None), "error", None) or f"type {error.schema.dtype}"  # type: ignore[attr-defined]
    if isinstance(cases, pd.DataFrame) and cases["index"].notna().any():
        first = cases.iloc[0]
        row = int(first["index"])
        return f"Face table, column {column!r}, row {row}: {values.tolist()[row]!r}; expected {expected}."
    return f"Face table, column {column!r}: type {values.dtype}; expected {expected}."


def is_derived(faces: pd.DataFrame) -> np.ndarray:
    """Return which rows preparation made from other faces, bool (N,)."""
    return (faces[DERIVED[0]].fillna("") != "").to_numpy() if DERIVED[0] in faces else np.zeros(len(faces), bool)


def originals(faces: pd.DataFrame) -> pd.DataFrame:
    """Return the faces that are no copies or synthetic samples of others, with the rows that they have in the store."""
    return faces[~is_derived(faces)]


def missing_truth(faces: pd.DataFrame, preparation: Mapping[str, Any]) -> str:
    """Return why the ground-truth pixels of faces are not known, to end a sentence; "" where they are, of control faces that are as they were drawn.

    Args:
        faces: Rows of a face table.
        preparation: Of their dataset, see `ferlab.data.preparation.steps.prepared_as`.
    """
    if not (faces["source"] == CONTROL).all():
        return "they have no ground-truth pixels"
    if preparation.get("face"):
        return "ground-truth pixels are those of the faces as drawn, and these were searched for or aligned"
    return "some are mirrored or turned copies, whose ground-truth pixels are not drawn" if is_derived(faces).any() else ""


def has_duplicate_in(faces: pd.DataFrame, splits: Sequence[str]) -> np.ndarray:
    """Return which faces have their duplicate group in one of `splits`, bool (N,): all faces of these, and their duplicates in other splits.

    Raises:
        InputError: If the table has no duplicate groups.
    """
    if "duplicate_group" not in faces:
        raise InputError("The face table has no column 'duplicate_group'; expected the groups that the stage prepare finds. Run it again.")
    return faces["duplicate_group"].isin(faces.loc[faces["split"].isin(splits), "duplicate_group"]).to_numpy()


def drawn_layouts(faces: pd.DataFrame) -> pd.Series:
    """Return what each face's files are like, as text (N,): "ckplus" of faces drawn in its layout, "" of all others."""
    layouts = faces["source"].str.extract(rf"^{CONTROL}:(.+)$", expand=False)
    return layouts.fillna("").astype("str")


def content_hash(image: np.ndarray) -> str:
    """Hash what a face looks like: sha256 of shape, dtype and pixels, as 64 hexadecimal digits.

    Two faces have the same hash if and only if they are byte-identical after decoding, whatever file they came from.

    Args:
        image: (H, W) or (H, W, 3), any dtype.
    """
    return _hash_pixels(np.ascontiguousarray(image), _hash_start(image))


def hash_images(images: np.ndarray) -> list[str]:
    """Return `content_hash` of every image of (N, H, W) or (N, H, W, 3); 36,000 faces of 48 x 48 take a third of a second."""
    if len(images) == 0:
        return []
    start = _hash_start(images[0])
    return [_hash_pixels(image, start) for image in np.ascontiguousarray(images)]


def _hash_start(image: np.ndarray) -> hashlib._Hash:
    return hashlib.sha256(f"{image.shape} {image.dtype.str} ".encode())


def _hash_pixels(image: np.ndarray, start: hashlib._Hash) -> str:
    digest = start.copy()
    digest.update(image.data)
    return digest.hexdigest()


def describe_faces(faces: pd.DataFrame) -> dict[str, Any]:
    """Return where faces with a split come from: `dataset` and, per split, `usage` (e.g. test: PrivateTest)."""
    usage = {split: " and ".join(dict.fromkeys(rows["usage"])) for split, rows in faces.groupby("split", sort=False)}
    return {"dataset": " and ".join(dict.fromkeys(faces["source"])), "usage": usage}
