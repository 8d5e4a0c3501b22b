"""Tables and sentences about a prepared set: counts beside the official ones, imbalance, twins. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.data.faces import CONTROL, VOTES, drawn_layouts
from ferlab.data.sets import originals
from ferlab.data.splits import crossings, split_rule
from ferlab.data.store import Store, count_faces
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS


def official_counts(faces: pd.DataFrame) -> pd.DataFrame | None:
    """Return the published counts per usage (rows) and expression of the dataset that all faces come from; None if there are none."""
    if set(faces["source"]) != {"fer2013"}:
        return None
    return pd.DataFrame.from_dict(FER2013_COUNTS, orient="index", columns=list(EXPRESSIONS))


def counts_table(faces: pd.DataFrame, expressions: Sequence[str], *, by: str) -> pd.DataFrame:
    """Return faces per value of column `by` and expression, with totals in the last row and column."""
    table = count_faces(faces, by, expressions=expressions)
    table["all"] = table.sum(axis="columns")
    table.loc["all"] = table.sum()
    return table


def official_table(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame | None:
    """Return, per usage, faces here, the official count and the difference, per expression and in all; None without official counts."""
    official = official_counts(faces)
    if official is None:
        return None
    here = count_faces(faces, "usage", expressions=expressions).reindex(official.index, fill_value=0)
    tables = {"here": here, "official": official, "difference": here - official}
    table = pd.concat(tables).swaplevel().loc[list(official.index)]
    table["all"] = table.sum(axis="columns")
    return table.rename_axis(["usage", "count"])


def official_sentence(faces: pd.DataFrame, expressions: Sequence[str]) -> str:
    """Say whether the counts are the official ones."""
    table = official_table(faces, expressions)
    if table is None:
        return "There is no official count to hold these faces against."
    totals = table["all"].unstack("count")
    absent = [usage for usage in totals.index if totals.loc[usage, "here"] == 0]
    off = [usage for usage in totals.index if usage not in absent and (table.loc[(usage, "difference")] != 0).any()]
    agree = [f"{usage} ({totals.loc[usage, 'here']:,})" for usage in totals.index if usage not in absent + off]
    parts = (
        [f"**{' and '.join(agree)} {'holds' if len(agree) == 1 else 'hold'} exactly the official number of faces of every expression.**"]
        if agree
        else []
    )
    parts += [f"**{usage} differs from the official counts: {totals.loc[usage, 'difference']:+,} faces in all.**" for usage in off]
    parts += [f"{usage} is absent; officially it has {totals.loc[usage, 'official']:,} faces." for usage in absent]
    return " ".join(parts)


def imbalance_sentence(counts: pd.DataFrame) -> str:
    """Say how unequal the expressions are, and what always answering the commonest would score.

    Args:
        counts: Faces per split (rows) and expression (columns).
    """
    fits = counts.loc["train"]
    most, least = fits.idxmax(), fits.idxmin()
    always = ", ".join(f"{100 * row[most] / row.sum():.1f} % on {split}" for split, row in counts.iterrows() if split != "train")
    return (
        f"The commonest expression of train is {most} ({fits[most]:,} faces), the rarest {least} ({fits[least]:,}): "
        f"{fits[most] / max(fits[least], 1):.1f} times fewer. "
        f"A net that always answers {most} has an accuracy of {always}, and a balanced accuracy of {100 / len(fits):.1f} %."
    )


def votes_sentence(faces: pd.DataFrame) -> str:
    """Say whether raters' votes came with the faces."""
    votes = [column for column in faces.columns if column.startswith(VOTES)]
    if not votes:
        return "No raters' votes came with these faces."
    total = faces[votes].sum(axis="columns")
    return f"Raters' votes came with {int((total > 0).sum()):,} of {len(faces):,} faces, {total.median():.0f} to a face, over {len(votes)} answers."


def set_summary(store: Store, left_out: pd.DataFrame | None = None, *, rule: str = "auto") -> dict[str, Any]:
    """Return what the prepare stage keeps of a set: its size, its split and its counts; copies and blends apart.

    Args:
        store: The set.
        left_out: Pictures that it does not hold.
        rule: The rule it was split by.
    """
    faces = originals(store.faces)
    official, counts = official_table(faces, store.expressions), count_faces(faces, "split", expressions=store.expressions)
    reasons = pd.Series(dtype="int64") if left_out is None else short_reasons(left_out).value_counts().sort_index()
    return {
        "faces": len(faces),
        "drawn_faces": count_drawn(faces),
        "derived_faces": len(store.faces) - len(faces),
        "left_out": reasons.to_dict(),
        "height": store.images.shape[1],
        "width": store.images.shape[2],
        "channels": 1 if store.images.ndim == 3 else store.images.shape[3],
        "expressions": list(store.expressions),
        "split_rule": split_rule(faces, rule=rule),
        "splits": counts.sum(axis="columns").to_dict(),
        "counts": counts.to_dict("index"),
        "usages": faces["usage"].value_counts(sort=False).to_dict(),
        "subjects": int(faces["subject"].nunique()) if "subject" in faces else None,
        "votes": any(column.startswith(VOTES) for column in faces.columns),
        "official_difference": None if official is None else official.xs("difference", level="count").to_dict("index"),
        "crossings": crossings(faces, rule=rule).to_dict("records"),
    }


def set_sentence(store: Store) -> str:
    """Say what was read."""
    faces = originals(store.faces)
    kind = kind_of(faces)
    colour = "grey" if store.images.ndim == 3 else "colour"
    height, width = store.images.shape[1:3]
    size = f"{width} x {height} pixels, {colour}"
    return f"**{len(faces):,} {kind}, {size}, of {len(store.expressions)} expressions.** {votes_sentence(faces)}"


def dataset_names(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the datasets of a set, as in "fer2013 + ckplus"."""
    return " + ".join(dict.fromkeys(str(source["dataset"]) for source in sources.values()))


def short_reasons(left_out: pd.DataFrame) -> pd.Series:
    """Return why each picture was left out, without what belongs to that picture alone."""
    return left_out["reason"].str.replace(r"^(excluded|unreadable): .*", r"\1", regex=True)


def left_out_sentence(left_out: pd.DataFrame, *, kept: int) -> str:
    """Say how many of the pictures that lie in the set's folder it does not hold."""
    if len(left_out) == 0:
        return f"**Every one of the {kept:,} pictures that were read is in the set.**"
    read = kept + len(left_out)
    share = f"{100 * len(left_out) / read:.1f} %"
    return f"**{len(left_out):,} of the {read:,} pictures that lie there ({share}) are not in the set.** By source and reason:"


def other_files_sentence(other_files: Sequence[str], links: Sequence[str] = ()) -> str:
    """Say which files of the set's folder are no pictures and were not read, and which links to folders were followed.

    Args:
        other_files: Paths below the folder.
        links: Likewise.
    """
    files = f"{len(other_files):,} other files lie there, as {_some(other_files)}." if other_files else "No other file lies there."
    return files + (f" Links to folders were followed: {_some(links)}." if links else "")


def _some(paths: Sequence[str], *, most: int = 5) -> str:
    named = ", ".join(f"`{path}`" for path in paths[:most])
    return named + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def left_out_table(left_out: pd.DataFrame) -> pd.DataFrame:
    """Return how many pictures were left out per source and reason, with one of them as an example: `pictures`, `for example`."""
    if len(left_out) == 0:
        return pd.DataFrame(columns=["source", "reason", "pictures", "for example"])
    groups = left_out.assign(reason=short_reasons(left_out)).groupby(["source", "reason"], sort=True)["face_id"]
    return groups.agg(["size", "first"]).set_axis(["pictures", "for example"], axis=1).reset_index()


def derived_sentence(faces: pd.DataFrame) -> str:
    """Say how many copies and blends were added to train."""
    added = len(faces) - len(originals(faces))
    if not added:
        return "**No face of this set was copied or blended.**"
    ways = faces.loc[faces["derived_from"] != "", "derivation"].value_counts().sort_index()
    counts = ", ".join(f"{count:,} {name}" for name, count in ways.items())
    return f"**{added:,} faces were made from faces of train and added to it ({counts}).** They are in no count and no other split."


def drawn(faces: pd.DataFrame) -> bool:
    """Whether all faces are control faces, so that the truth about them is known."""
    return set(faces["source"]) == {CONTROL}


def count_drawn(faces: pd.DataFrame) -> int:
    """Return how many faces are control faces, those that stand in for a dataset's among them."""
    return int(((faces["source"] == CONTROL) | (drawn_layouts(faces) != "")).sum())


def kind_of(faces: pd.DataFrame) -> str:
    """Name what the faces of a set are: photographs, control faces, control faces in the layout of a dataset, or some of each."""
    layouts, count = drawn_layouts(faces), count_drawn(faces)
    names = " and ".join(dict.fromkeys(layouts[layouts != ""]))
    if count == len(faces):
        return f"drawn faces (control faces in the layout of {names}, no photographs)" if names else "drawn faces"
    return f"faces ({count:,} drawn in the layout of {names}, the others photographs)" if count else "photographs of faces"


def truth_sentence(faces: pd.DataFrame) -> str:
    """Say what is known about the faces beyond their label."""
    if not drawn(faces) and count_drawn(faces):
        return f"Here are {kind_of(faces)}. Files in a dataset's layout do not keep which part of a drawn face carries its expression."
    if not drawn(faces):
        return "These are photographs. Which part of a face carries its expression, and how strongly, nobody has marked: there is no truth to draw."
    moved = faces.loc[faces["intensity"] > 0, "intensity"]
    covered = 100 * (faces["occluder"] != "none").mean()
    return (
        f"These faces were drawn from action units. Their intensity runs from {moved.min():.1f} to {moved.max():.1f} of 5 (neutral: 0), "
        f"{covered:.0f} % are partly covered, and for every face the regions that its action units move are known."
    )


def crossings_sentence(crossed: pd.DataFrame) -> str:
    """Say whether faces that belong together were parted, and by whom."""
    if len(crossed) == 0:
        return "**No subject, sequence or picture is in two splits.**"
    into = crossed[(crossed["first"] != "test") & (crossed["second"] == "test")]
    counts = ", ".join(f"{row['faces']:,} faces of test have one in {row['first']}" for _, row in into.iterrows())
    if "asked for" in set(crossed["rule"]):
        return f"**Faces that belong together stand on both sides, because a split at random over frames was asked for** ({counts})."
    if (crossed["rule"] != "official").any():
        return f"**Faces that belong together were parted by a split of ours** ({counts}); prepare the set again."
    return f"**Byte-identical faces stand in two splits because the dataset's own division put them there** ({counts}). Our own choice parted none."
