"""JAFFE, Japanese Female Facial Expression: 213 faces of ten women, labelled by the posed expression or by ratings.

    KA.AN1.39.tiff      subject, expression (JAFFE_CODES) and take, serial number; 256 x 256, 8 bits
    README_FIRST.txt    ratings, one row a face: `1 2.87 2.52 2.10 1.97 1.97 2.06 KM-NE1` below `# HAP SAD SUR ANG DIS FEA PIC`

A rating is the mean of 60 viewers from 1 to 5. cs231a took the highest of a row as the label. There is no column for neutral, so every neutral face
gets an emotion: `labels="ratings"` does the same, `labels="poser"` takes the file's name. The table always holds both labels.

The ratings are found by the words of their header, in a text file whose name holds "readme" or "rating". The table ends at the first line of another
form, so the file's second table ("Fear Excluded", of five emotions) is not read. A row belongs to the picture that PIC names; where no picture has
that name, to the picture of the row's number, if expression and take agree (YN-HA2, number 53, is YM.HA2.53).

Faces without a row are excluded, if labels are ratings. Rows without a face are logged and not used: serial numbers run to 219 for 213 faces.
Errors: no ratings where they are asked for, a cut or repeated row, a rating outside 1 to 5, an unknown expression, a repeated face.

References:
    Lyons, Akamatsu, Kamachi and Gyoba (1998), Coding Facial Expressions with Gabor Wavelets; doi 10.5281/zenodo.3451524.
    cs231a: github.com/barisakis/cs231a_eai, parse_jeffe.py (a row's highest rating; the first of equals).
"""

from __future__ import annotations

import logging
import re
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.archives import ending
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import face_table
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS, JAFFE_CODES, JAFFE_RATINGS
from ferlab.paths import InputError

LOG = logging.getLogger(__name__)
NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d)\.(\d{1,9})")
PIC = re.compile(r"([A-Z]{2})[-.]([A-Z]{2}\d)")
RATING = "rating_"  # prefix of the columns of mean ratings: rating_happy, ...
RATED = tuple(expression for expression in EXPRESSIONS if expression in JAFFE_RATINGS.values())
NO_RATING = "no rating"
LOWEST, HIGHEST = 1.0, 5.0
HEADER = f"# {' '.join(JAFFE_RATINGS)} PIC"


def read(raw: Path, *, labels: Literal["poser", "ratings"] = "poser") -> tuple[PictureFiles, pd.DataFrame]:
    """Read JAFFE.

    Args:
        raw: Holds the pictures and README_FIRST.txt, or their zip, at any depth.
        labels: "poser", the posed expression; or "ratings", the emotion with the highest rating, of equals the first in the order of the file's
            columns.

    Returns:
        Pictures, and a face table of one row per face, by name, with `subject`, `take`, `serial`, `poser_target`, `rating_target` (-1
        without a rating), `rating_<expression>`, float64 1 to 5 (NaN without one), and `intensity`, the rating of the label (NaN for neutral).

    Raises:
        InputError: See the module's text.
    """
    delivery = Delivery(raw)
    found = _find_faces(delivery)
    ratings = _find_ratings(delivery)
    if ratings is None and labels == "ratings":
        lacks = f"holds no ratings; expected README_FIRST.txt with the line {HEADER!r}"
        raise InputError(f"{raw} {lacks}. Put it beside the pictures, or set the option labels to poser.")
    names, paths = [match for match, _ in found], [path for _, path in found]
    rated = _join_ratings(names, ratings)
    posed = [JAFFE_CODES[match[2]] for match in names]
    by_rating = [ALL_EXPRESSIONS[target] if target >= 0 else NO_RATING for target in rated["rating_target"]]
    own = {"subject": [match[1] for match in names], "take": [int(match[3]) for match in names], "serial": [int(match[4]) for match in names]}
    own |= {"poser_target": [ALL_EXPRESSIONS.index(expression) for expression in posed]}
    faces = face_table("jaffe", paths, posed if labels == "poser" else by_rating, ids=[match[0] for match in names], **own)
    rated["intensity"] = _rating_of_label(faces["target"], rated)
    return PictureFiles(delivery, paths), pd.concat([faces, rated], axis=1)


def count_differences(faces: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Count where the label by ratings differs from the posed expression.

    Args:
        faces: Face table of this reader, with or without excluded faces.

    Returns:
        Counts, posed expressions (rows) by rated ones and "no rating" (columns); and the numbers of `rated` faces, of those that `differ`, and of
        neutral poses `neutral_mislabelled` as an emotion.
    """
    posed, rated = faces["poser_target"].to_numpy(), faces["rating_target"].to_numpy()
    columns = {expression: rated == ALL_EXPRESSIONS.index(expression) for expression in RATED} | {NO_RATING: rated < 0}
    counts = [[int((column & (posed == row)).sum()) for column in columns.values()] for row in range(len(EXPRESSIONS))]
    table = pd.DataFrame(counts, index=pd.Index(EXPRESSIONS, name="posed"), columns=pd.Index(list(columns), name="rated"))
    differs = (rated >= 0) & (rated != posed)
    neutral = posed == EXPRESSIONS.index("neutral")
    return table, {"rated": int((rated >= 0).sum()), "differ": int(differs.sum()), "neutral_mislabelled": int((differs & neutral).sum())}


def _find_faces(delivery: Delivery) -> list[tuple[re.Match[str], str]]:
    """Return each picture's name, matched, and path, by subject, expression and take."""
    pictures = [(path, NAME.fullmatch(path.stem)) for path in map(PurePosixPath, picture_names(delivery))]
    folders = {path.parent for path, match in pictures if match}
    if not folders:
        expected = "expected pictures such as KA.AN1.39.tiff. See data/raw/README.md."
        raise InputError(f"{delivery.root} holds no faces of JAFFE; {expected}{say_unread(delivery)}")
    keys = []
    for path, match in pictures:
        if match:
            if match[2] not in JAFFE_CODES:
                expected = f"expected {', '.join(JAFFE_CODES)}"
                raise InputError(f"{delivery.where(str(path))} has the expression {match[2]!r}; {expected}. Rename it or get the dataset again.")
            keys.append((f"{match[1]}-{match[2]}{match[3]}", str(path)))
        elif path.parent in folders:  # elsewhere below raw it may be another dataset's
            raise InputError(f"{delivery.where(str(path))} is no face of JAFFE; expected names such as KA.AN1.39.tiff. Rename or remove it.")
    matches = {str(path): match for path, match in pictures if match}
    return [(matches[path], path) for _, path in sorted(delivery.index(keys).items())]


# Ratings


def _rating_of_label(targets: pd.Series, rated: pd.DataFrame) -> np.ndarray:
    names = [RATING + ALL_EXPRESSIONS[target] for target in targets]
    return np.array([rated[name].iloc[row] if name in rated else np.nan for row, name in enumerate(names)], dtype=np.float64)


def _find_ratings(delivery: Delivery) -> pd.DataFrame | None:
    """Return the ratings of the file that holds them, or None if none does."""
    found: tuple[str, pd.DataFrame] | None = None
    texts = [name for name in delivery.names if ending(name) in ("", ".txt", ".csv")]
    for name in (name for name in texts if re.search("readme|rating", name.rpartition("/")[2].lower())):
        ratings = parse_ratings(delivery.text(name), where=delivery.where(name))
        if ratings is not None and found and not ratings.equals(found[1]):
            raise InputError(f"{delivery.where(name)} holds other ratings than {found[0]}; expected one table. Remove the wrong one.")
        if ratings is not None:
            found = found or (delivery.where(name), ratings)
    return found[1] if found else None


def parse_ratings(text: str, *, where: str) -> pd.DataFrame | None:
    """Read the table of ratings in a text: README_FIRST.txt, or the table alone, its columns separated by blanks or commas.

    Returns:
        A row per rated picture: `number`, `pic` and the float64 columns of `JAFFE_RATINGS`, in the order of the text; None without such a header.

    Raises:
        InputError: Naming the line that is cut, repeated or out of range, or a table without rows.
    """
    columns: list[str] = []
    rows: dict[str, list[object]] = {}
    for line_number, line in enumerate(text.splitlines(), start=1):
        words = re.split(r"[\s,]+", line.strip(" \t,"))
        if not columns:
            header = [word.upper() for word in words]
            columns = header if {*JAFFE_RATINGS, "PIC"} <= set(header) else []
        elif words[0].isascii() and words[0].isdecimal() and len(words[0]) < 10:
            row = _parse_row(dict(zip(columns, words)) if len(words) == len(columns) else {}, words, f"{where}, line {line_number}")
            if row[1] in rows:
                raise InputError(f"{where}, line {line_number}: {row[1]} is rated a second time; expected one row a picture. Get the file again.")
            rows[str(row[1])] = row
        elif rows and any(character.isalnum() for character in line):
            break  # the end of the table; before it, rules and blank lines
    if not columns:
        return None
    if not rows:
        raise InputError(f"{where} has the header of the ratings but no row below it; expected rows such as '1 2.87 ... KM-NE1'. Get it again.")
    order = [column for column in columns if column in JAFFE_RATINGS]
    return pd.DataFrame(list(rows.values()), columns=["number", "pic", *order])


def _parse_row(cells: dict[str, str], words: list[str], place: str) -> list[object]:
    pic = PIC.fullmatch(cells.get("PIC", ""))
    try:
        values = [float(cells[column]) for column in cells if column in JAFFE_RATINGS]
    except ValueError:
        values = []
    if not pic or not values:
        shown = " ".join(words)[:60]
        raise InputError(f"{place}: {shown!r}; expected a number, six ratings and a picture, as '1 2.87 ... KM-NE1'. Get the file again.")
    for value in values:
        if not LOWEST <= value <= HIGHEST:
            raise InputError(f"{place}: a rating of {value:g} for {pic[0]}; expected {LOWEST:g} to {HIGHEST:g}. Get the file again.")
    return [int(words[0]), f"{pic[1]}-{pic[2]}", *values]


def _join_ratings(names: list[re.Match[str]], ratings: pd.DataFrame | None) -> pd.DataFrame:
    """Return `rating_target` and the columns `rating_<expression>` of every face."""
    order = [column for column in ratings.columns if column in JAFFE_RATINGS] if ratings is not None else list(JAFFE_RATINGS)
    values = np.full((len(names), len(order)), np.nan)
    if ratings is not None:
        rows = _match_rows(names, ratings)
        values[list(rows)] = ratings[order].to_numpy(dtype=np.float64)[list(rows.values())]
        alone = ratings["pic"].drop(index=list(rows.values())).tolist()
        if alone:
            LOG.warning("JAFFE: %d of %d rows of ratings have no picture here and are not used: %s.", len(alone), len(ratings), ", ".join(alone))
    places = np.array([ALL_EXPRESSIONS.index(JAFFE_RATINGS[column]) for column in order])
    target = np.where(np.isnan(values[:, 0]), -1, places[np.argmax(values, axis=1)])
    columns = pd.DataFrame(values, columns=[RATING + JAFFE_RATINGS[column] for column in order])[[RATING + expression for expression in RATED]]
    return pd.concat([pd.Series(target.astype(np.int64), name="rating_target"), columns], axis=1)


def _match_rows(names: list[re.Match[str]], ratings: pd.DataFrame) -> dict[int, int]:
    """Return the row of ratings for each face that has one: by name, then, for a misspelt subject, by number, expression and take."""
    by_name = {f"{name[1]}-{name[2]}{name[3]}": face for face, name in enumerate(names)}
    by_number = {f"{int(name[4])}-{name[2]}{name[3]}": face for face, name in enumerate(names)}
    rows = {by_name[pic]: row for row, pic in enumerate(ratings["pic"]) if pic in by_name}
    for row, (number, pic) in enumerate(zip(ratings["number"], ratings["pic"])):
        face = by_number.get(f"{number}-{pic.split('-')[1]}")
        if pic not in by_name and face is not None:
            rows.setdefault(face, row)
    return rows
