"""Tables and sentences about a prepared set: counts beside the official ones, imbalance, duplicates. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.data.faces import CONTROL, VOTES, drawn_layouts
from ferlab.data.preparation.sets import originals
from ferlab.data.readers.archives import show
from ferlab.data.readers.official import ALL, OFFICIAL, compare_counts, is_official_test
from ferlab.data.splits import crossings, split_rule
from ferlab.data.store import Store, count_faces
from ferlab.expressions import SPLITS
from ferlab.roles import listed


def official_counts(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame | None:
    """Return the official counts per usage (rows) of which every expression has one; None if there are none."""
    counts = compare_counts(faces, expressions)
    counts = counts[counts["part"].isin(faces["usage"])] if counts["source"].nunique() == 1 else counts[:0]
    wide = counts.pivot_table(index="part", columns="expression", values="official", sort=False).reindex(columns=list(expressions)).dropna()
    return wide.astype(int) if len(wide) else None


def counts_table(faces: pd.DataFrame, expressions: Sequence[str], *, by: str) -> pd.DataFrame:
    """Return faces per value of column `by` and expression, with totals in the last row and column."""
    table = count_faces(faces, by, expressions=expressions)
    table["all"] = table.sum(axis="columns")
    table.loc["all"] = table.sum()
    return table


def official_table(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame | None:
    """Return, per part of each dataset, faces here, the official count and the difference, in all and per expression where that is official too.

    None without official counts.
    """
    counts = compare_counts(faces, expressions)
    if counts.empty:
        return None
    rows = {}
    for part, own in counts.assign(part=_part_names(counts)).groupby("part", sort=False):
        for kind in ("here", "official", "difference"):
            cells = dict(zip(own["expression"], own[kind], strict=True))
            rows[part, kind] = cells if ALL in cells else {**cells, ALL: sum(cells.values())}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table[[*table.columns.drop(ALL), ALL]].rename_axis(["part", "count"])
    return table.astype("Int64").astype(object).where(table.notna(), "") if table.isna().any(axis=None) else table


def _part_names(counts: pd.DataFrame) -> pd.Series:
    """Name the parts: by usage, or where datasets are joined or have one part by the dataset."""
    whole = counts["source"] + (", " + counts["part"]).where(counts["part"] != ALL, "")
    return counts["part"].where((counts["part"] != ALL) & (counts["source"].nunique() == 1), whole)


def official_sentence(faces: pd.DataFrame, expressions: Sequence[str]) -> str:
    """Say whether the counts are the official ones."""
    counts = compare_counts(faces, expressions)
    if counts.empty:
        return "No official counts are known for these faces."
    agree, told = [], []
    for part, own in counts.assign(part=_part_names(counts)).groupby("part", sort=False):
        here, official, unit = int(own["here"].sum()), int(own["official"].sum()), _unit(own["source"].iloc[0])
        if here == 0:
            told.append(f"{part} is absent; officially it has {official:,} {unit}.")
        elif (own["difference"] != 0).any():
            told.append(f"**{part} differs from the official counts: {here - official:+,} {unit} in all.**")
        else:
            agree.append(f"{part} ({here:,}{'' if len(own) > 1 else ' in all'})")
    return " ".join([f"**Exactly the official counts: {listed(agree)}.**", *told] if agree else told)


def _unit(source: str) -> str:
    return "faces" if OFFICIAL[source].unit == "face_id" else f"{OFFICIAL[source].unit}s"


def imbalance_sentence(counts: pd.DataFrame) -> str:
    """Say how unequal the expressions are, and what always answering the commonest would score.

    Args:
        counts: Faces per split (rows) and expression (columns).
    """
    fits = counts.loc["train"]
    most, least = fits.idxmax(), fits.idxmin()
    splits = {split: row for split, row in counts.iterrows() if split != "train" and row.sum()}
    always = listed(f"{100 * row[most] / row.sum():.1f} % on {split}" for split, row in splits.items())
    balanced = listed(dict.fromkeys(f"{100 * (row[most] > 0) / (row > 0).sum():.1f} %" for row in splits.values()))  # over the expressions that occur
    baseline = f"A model that always predicts {most} has an accuracy of {always}, and a balanced accuracy of {balanced}." if splits else ""
    if fits[most] == fits[least]:
        return f"Every expression has {fits[most]:,} faces in train. {baseline}".strip()
    rarest = f"the rarest {least} ({fits[least]:,}): {fits[most] / max(fits[least], 1):.1f} times fewer"
    if not fits[least]:
        rarest = f"and train holds no face of {listed(fits.index[fits == 0])}"
    return f"The commonest expression of train is {most} ({fits[most]:,} faces), {rarest}. {baseline}".strip()


def votes_sentence(faces: pd.DataFrame) -> str:
    """Say whether raters' votes came with the faces."""
    votes = [column for column in faces.columns if column.startswith(VOTES)]
    if not votes:
        return "No raters' votes came with these faces."
    total = faces[votes].sum(axis="columns")
    voted = total[total > 0]
    many = f", {voted.median():.0f} to a face (median), over {len(votes)} answers" if len(voted) else ""
    return f"Raters' votes came with {len(voted):,} of {len(faces):,} faces{many}."


def set_summary(store: Store, excluded: pd.DataFrame | None = None, *, rule: str = "auto") -> dict[str, Any]:
    """Return what the prepare stage keeps of a set: its size, its split and its counts; copies and blends apart.

    Args:
        store: The set.
        excluded: Pictures that it does not hold.
        rule: The rule it was split by.
    """
    faces = originals(store.faces)
    official, counts = official_table(faces, store.expressions), count_faces(faces, "split", expressions=store.expressions)
    reasons = pd.Series(dtype="int64") if excluded is None else short_reasons(excluded).value_counts().sort_index()
    return {
        "faces": len(faces),
        "drawn_faces": count_drawn(faces),
        "derived_faces": len(store.faces) - len(faces),
        "excluded": reasons.to_dict(),
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
        "official_difference": None if official is None else _differences(official),
        "official_test": is_official_test(faces),
        "crossings": crossings(faces, rule=rule).to_dict("records"),
    }


def _differences(official: pd.DataFrame) -> dict[str, dict[str, int]]:
    rows = official.xs("difference", level="count").to_dict("index")
    return {part: {name: int(value) for name, value in cells.items() if value != ""} for part, cells in rows.items()}


def set_sentence(store: Store) -> str:
    """Say what was read; only expressions that some face shows are counted."""
    faces = originals(store.faces)
    kind = kind_of(faces)
    colour = "grey" if store.images.ndim == 3 else "colour"
    height, width = store.images.shape[1:3]
    size = f"{width} x {height} pixels, {colour}"
    return f"**{len(faces):,} {kind}, {size}, of {faces['target'].nunique()} expressions.** {votes_sentence(faces)}"


def dataset_names(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the datasets of a set, as in "fer2013 + ckplus"."""
    return " + ".join(dict.fromkeys(str(source["dataset"]) for source in sources.values()))


def short_reasons(excluded: pd.DataFrame) -> pd.Series:
    """Return why each picture was left out, without what belongs to that picture alone."""
    return excluded["reason"].str.replace(r"^(excluded|unreadable): .*", r"\1", regex=True)


def excluded_sentence(excluded: pd.DataFrame, *, kept: int) -> str:
    """Say how many of the pictures that lie in the set's folder it does not hold."""
    if len(excluded) == 0:
        return f"**Every one of the {kept:,} pictures that were read is in the set.**"
    read = kept + len(excluded)
    share = f"{100 * len(excluded) / read:.1f} %"
    return f"**{len(excluded):,} of the {read:,} pictures that lie there ({share}) are not in the set.** By source and reason:"


def other_files_sentence(other_files: Sequence[str], links: Sequence[str] = ()) -> str:
    """Say which files of the set's folder are no pictures and were not read, and which links to folders were followed.

    Args:
        other_files: Paths below the folder.
        links: Likewise.
    """
    lie = "other file lies there:" if len(other_files) == 1 else "other files lie there, as"
    files = f"{len(other_files):,} {lie} {_some(other_files)}." if other_files else "No other file lies there."
    return files + (f" Links to folders were followed: {_some(links)}." if links else "")


def _some(paths: Sequence[str], *, most: int = 5) -> str:
    named = ", ".join(f"`{show(path)}`" for path in paths[:most])
    return named + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def excluded_table(excluded: pd.DataFrame) -> pd.DataFrame:
    """Return how many pictures were left out per source and reason, with one of them as an example: `pictures`, `for example`."""
    if len(excluded) == 0:
        return pd.DataFrame(columns=["source", "reason", "pictures", "for example"])
    groups = excluded.assign(reason=short_reasons(excluded)).groupby(["source", "reason"], sort=True)["face_id"]
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
    if moved.empty:
        return "These faces were drawn from action units. All of them are neutral: no region carries an expression."
    covered = 100 * (faces["occluder"] != "none").mean()
    return (
        f"These faces were drawn from action units. Their intensity runs from {moved.min():.1f} to {moved.max():.1f} of 5 (neutral: 0), "
        f"{covered:.0f} % are partly covered, and for every face the regions that its action units move are known."
    )


def crossings_sentence(crossed: pd.DataFrame) -> str:
    """Say whether faces that belong together were parted, and by whom."""
    if len(crossed) == 0:
        return "**No subject, sequence or picture is in two splits.**"
    named = {"subject": "a subject", "sequence": "a sequence", "content_hash": "an exact duplicate"}
    counts = "; ".join(
        f"{row['faces']:,} faces of {row['second']} share {named[row['key']]} with {row['first']}"
        for row in crossed.to_dict("records")
        if SPLITS.index(row["first"]) < SPLITS.index(row["second"])
    )
    whose = {
        "official": "the dataset's own division put them there",
        "asked for": "a split at random over frames was asked for",
        "ours": "a split of ours parted them; prepare the set again",
    }
    why = listed(whose[rule] for rule in whose if rule in set(crossed["rule"]))
    return f"**Faces that belong together stand in different splits, because {why}.** {counts}."
