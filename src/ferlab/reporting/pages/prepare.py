"""The prepare page: which faces were kept, how they were prepared and split, and whether they are those that others measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ferlab.data.faces import CONTROL, VOTES, drawn_layouts, originals
from ferlab.data.preparation.appearance import grey_to_three, subtract_mean, unit_range
from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.detection import STATED, SearchLevel, haar_levels, yunet_levels
from ferlab.data.preparation.prepared import Prepared, Raw
from ferlab.data.preparation.sets import MEAN_IMAGE
from ferlab.data.preparation.steps import Stages
from ferlab.data.readers.archives import show
from ferlab.data.readers.jaffe import count_differences
from ferlab.data.readers.official import ALL, OFFICIAL, compare_counts, is_official_test
from ferlab.data.regions import COVER
from ferlab.data.splits import crossings, split_rule
from ferlab.data.store import Store, count_faces, weigh_classes
from ferlab.expressions import SPLITS
from ferlab.paths import InputError
from ferlab.reporting.faces import MOST, draw_face, pick_faces
from ferlab.reporting.tables import captioned, number, percent
from ferlab.roles import listed

MOST_ROWS = 7
CELL = 1.25  # inches per picture
MARK = "#E69F00"
NOT_FOUND = "no face found"
LEVELS = tuple(dict.fromkeys(level.name for levels in (haar_levels, yunet_levels) for level in levels(SearchLevel(STATED))))
OF_HAAR, OF_A_SEARCH = {"scale_factor", "min_neighbors", "min_size"}, {"margin", "retries", "not_found"}
INPUTS: dict[str, str] = {
    "cs231a": "cs231a: grey, 250 x 250, mean training face subtracted",
    "cs230": "cs230: grey in three equal channels, 197 x 197, in [0, 1]",
    "cs230_224": "cs230: grey in three equal channels, 224 x 224, in [0, 1]",
    "fers": "fers: RGB, 224 x 224, in [0, 1]",
}


def settings_table(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the options of a set's section, defaults filled in, that change its pictures; without rows where they are kept as delivered."""
    face = settings["face"]
    unused = (set() if face["detector"] == "haar" else OF_HAAR) | (OF_A_SEARCH if face["detector"] == "none" and not face["boxes"] else set())
    options = face | {key: settings[key] for key in ("colour", "size", "equalise", "blur")} | {COVER: ", ".join(settings.get(COVER, ()))}
    rows = {key: str(value) for key, value in options.items() if key not in unused and value not in (None, "none", "as_is", "", 0, False)}
    table = pd.DataFrame({"option": list(rows), "value": list(rows.values())}).set_index("option")
    return captioned(table, "Options that change the pictures of this dataset")


def try_steps(raw: Raw, *, seed: int = 0) -> list[Stages]:
    """Take a picture of each expression through a set's steps; none where it takes no step."""
    if not raw.has_steps:
        return []
    faces, shown = raw.gathered.faces, []
    landmarks = faces.get("landmarks")
    for row in pick_faces(faces, per_class=1, seed=seed).tolist()[:MOST_ROWS]:
        with suppress(InputError):  # an unreadable picture: preparing it stops there or excludes it
            picture = raw.gathered.pictures[row]
            try:
                shown.append(raw.preparation.stages(picture, faces["face_id"].iloc[row], None if landmarks is None else landmarks.iloc[row]))
            except NotAFace:
                shown.append(Stages(images={"as delivered": picture}))
    return shown if any(len(stages.images) > 1 for stages in shown) else []


def stages_figure(stages: Sequence[Stages], *, searched: bool) -> dict[str, Any]:
    """Draw pictures in rows: as delivered with the box and eyes that were found, then the result of each step that it took.

    Args:
        stages: Of at most 48 results together.
        searched: Whether faces were searched for; then a picture without a box is marked.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    titles = _titles([one.images for one in stages])
    if not 0 < len(stages) * len(titles) <= MOST:
        raise ValueError(f"Expected 1 to {MOST} pictures in a figure, got {len(stages)} x {len(titles)} steps; show fewer.")
    figure = plt.figure(figsize=(len(titles) * (CELL + 0.06) + 0.35, len(stages) * (CELL + 0.24) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for line, one in zip(figure.subplots(len(stages), len(titles), squeeze=False), stages, strict=True):
        for axes, title in zip(line, titles, strict=True):
            if title in one.images:
                height, width = one.images[title].shape[:2]
                missed = searched and one.box is None and axes is line[0]
                draw_face(axes, one.images[title], note=f"{width} x {height}" + (f", {NOT_FOUND}" if missed else ""))
            else:
                axes.set_axis_off()
                axes.set_box_aspect(1)  # as large as the pictures beside it, so that titles stand in one line
        _mark(line[0], one)
    for axes, title in zip(figure.axes, titles, strict=False):
        axes.set_title(title, fontsize=9)
    return {"figure": figure, "alt": f"{len(stages)} pictures in rows, with a column for each step: {', '.join(titles)}."}


def _titles(steps: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Return the titles of all rows in one order: a row's step that others lack comes right after the one before it in that row."""
    titles: list[str] = []
    for taken in steps:
        place = 0
        for title in taken:
            if title not in titles:
                titles.insert(place, title)
            place = titles.index(title) + 1
    return titles


def _mark(axes: Axes, one: Stages) -> None:
    if one.box is not None:
        x, y, width, height = one.box
        # A pixel's centre is a whole number, so the box begins half a pixel before.
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=MARK, linewidth=1.6, clip_on=False))
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        axes.set(xlim=(min(left, x - 0.5), max(right, x + width - 0.5)), ylim=(max(bottom, y + height - 0.5), min(top, y - 0.5)))  # may leave it
    if one.eyes is not None:
        axes.plot(*np.asarray(one.eyes, float).T, "+", color=MARK, markersize=8, markeredgewidth=1.6, scalex=False, scaley=False)


def found_table(faces: pd.DataFrame, excluded: pd.DataFrame) -> pd.DataFrame | None:
    """Return in how many pictures each search level found a face, in order of the search, and in how many none did; None without a search."""
    if "found_by" not in faces:
        return None
    counts = faces["found_by"].replace("", NOT_FOUND).value_counts()
    counts[NOT_FOUND] = counts.get(NOT_FOUND, 0) + int((excluded["reason"] == NOT_FOUND).sum())
    other = sorted(set(counts.index) - {*LEVELS, NOT_FOUND})  # a box given by hand or by the dataset
    counts = counts.reindex([*other, *(level for level in LEVELS if level in counts), NOT_FOUND])
    table = pd.DataFrame({"pictures": counts, "share, %": [number(share, percent=True) for share in counts / counts.sum()]}).rename_axis("found by")
    return captioned(table, "Pictures by the search level that found a face")


def inputs_figure(store: Store, form: str, *, rows: Sequence[int]) -> dict[str, Any]:
    """Draw faces as stored, above, and below as the models of a paper, a key of `INPUTS`, take them."""
    faces = np.asarray(store.images[np.asarray(rows)])
    if form == "cs231a" and store.folder:
        taken = subtract_mean(faces, np.load(store.folder / MEAN_IMAGE)) / 510 + 0.5  # -255 to 255, 0 in the middle
    else:
        taken = np.moveaxis(unit_range(faces) if form == "fers" else grey_to_three(faces, 224 if form == "cs230_224" else 197), 1, -1)
    figure, axes = plt.subplots(2, len(faces), squeeze=False, figsize=(len(faces) * CELL, 2 * CELL + 0.5), layout="constrained")
    for line, images, limits in zip(axes, (faces, np.clip(taken, 0, 1)), ((0, 255), (0, 1)), strict=True):
        for one, image in zip(line, images, strict=True):
            draw_face(one, image, note=f"{image.shape[1]} x {image.shape[0]}", limits=limits)
    axes[0, 0].set_ylabel("stored")
    axes[1, 0].set_ylabel("input")
    figure.suptitle(f"input of {INPUTS[form]}", fontsize=10)
    return {"figure": figure, "alt": f"{len(faces)} faces as stored, and below each the input of the models of {form}."}


def set_sentence(store: Store) -> str:
    """Say how many faces of what the set holds; votes are named where faces have some."""
    faces = originals(store.faces)
    height, width = store.images.shape[1:3]
    size = f"{width} x {height} pixels, {'grey' if store.images.ndim == 3 else 'colour'}"
    said = f"**{len(faces):,} {kind_of(faces)}, {size}, of {faces['target'].nunique()} expressions.**"
    votes = faces[[column for column in faces.columns if column.startswith(VOTES)]]
    total = votes.sum(axis="columns")[lambda count: count > 0]
    if votes.columns.empty or total.empty:
        return said
    return f"{said} {len(total):,} of {len(faces):,} faces have votes, {total.median():.0f} to a face (median), over {len(votes.columns)} labels."


def kind_of(faces: pd.DataFrame) -> str:
    """Name what the faces of a set are: photographs, control faces, control faces in the layout of a dataset, or some of each."""
    layouts, count = drawn_layouts(faces), count_drawn(faces)
    names = " and ".join(dict.fromkeys(layouts[layouts != ""]))
    if count == len(faces):
        return f"control faces in the layout of {names} (drawn, no photographs)" if names else "control faces (drawn)"
    return f"faces ({count:,} drawn in the layout of {names}, the others photographs)" if count else "photographs of faces"


def count_drawn(faces: pd.DataFrame) -> int:
    """Return how many faces are control faces, those in the layout of a dataset included."""
    return int(((faces["source"] == CONTROL) | (drawn_layouts(faces) != "")).sum())


def excluded_sentence(excluded: pd.DataFrame, *, kept: int) -> str:
    """Say how many of the pictures that lie in the set's folder it does not hold."""
    if len(excluded) == 0:
        return f"**All {kept:,} pictures that were read are in the dataset.**"
    read = kept + len(excluded)
    return f"**{len(excluded):,} of the {read:,} pictures in the folder ({percent(len(excluded) / read)}) are not in the dataset.**"


def excluded_table(excluded: pd.DataFrame) -> pd.DataFrame:
    """Return how many pictures were excluded per source and reason, with one of them as an example."""
    groups = excluded.assign(reason=_short_reasons(excluded)).groupby(["source", "reason"], sort=True)["face_id"]
    shown = groups.agg(["size", "first"]).set_axis(["pictures", "for example"], axis=1)
    return captioned(shown.reset_index(), "Excluded pictures by source and reason")


def _short_reasons(excluded: pd.DataFrame) -> pd.Series:
    """Return the reasons without what belongs to one picture alone."""
    return excluded["reason"].str.replace(r"^(excluded|unreadable): .*", r"\1", regex=True)


def other_files_sentence(done: Prepared) -> str:
    """Name the files of the set's folder that were not read, and the links to folders that were followed."""
    files = f"Files that are no pictures and were not read: {_some(done.other_files)}." if done.other_files else ""
    links = f"Links to folders were followed: {_some(done.links)}." if done.links else ""
    return f"{files} {links}".strip()


def _some(paths: Sequence[str], *, most: int = 5) -> str:
    named = ", ".join(f"`{show(path)}`" for path in paths[:most])
    return named + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def counts_table(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame:
    """Return faces per split and expression with totals; faces made from others have a row for each way they were made."""
    table = count_faces(originals(faces), "split", expressions=expressions)
    table.loc["all"] = table.sum()
    if "derived_from" in faces and len(made := faces[faces["derived_from"] != ""]):
        added = count_faces(made, "derivation", expressions=expressions).sort_index()
        table = pd.concat([table, added.set_axis([f"train, added: {way}" for way in added.index])])
    return captioned(table.assign(all=table.sum(axis="columns")).rename_axis("split"), "Faces by split and expression")


def crossings_sentence(crossed: pd.DataFrame) -> str:
    """Say whether faces that belong together are in different splits, and by whose division."""
    if len(crossed) == 0:
        return "**No subject, sequence or photograph is in two splits.**"
    named = {"subject": "a subject", "sequence": "a sequence", "duplicate_group": "a photograph"}
    counts = "; ".join(
        f"{row['faces']:,} faces of {row['second']} share {named.get(row['key'], row['key'])} with {row['first']}"
        for row in crossed.to_dict("records")
        if SPLITS.index(row["first"]) < SPLITS.index(row["second"])
    )
    whose = {
        "official": "the dataset's own division put them there",
        "asked for": "a random split over frames was asked for",
        "ours": "a split of ours parted them; prepare it again",
    }
    why = listed(whose[rule] for rule in whose if rule in set(crossed["rule"]))
    return f"**Faces that belong together stand in different splits: {why}.** {counts}."


def official_table(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame | None:
    """Return, per part of each dataset, faces here, official count and difference, per expression where that is official, and in all.

    None without official counts.
    """
    counts = compare_counts(faces, expressions)
    if counts.empty:
        return None
    kinds = ["here", "official", "difference"]
    long = counts.assign(part=_part_names(counts)).melt(["part", "expression"], kinds, var_name="count")
    table = long.pivot(index=["part", "count"], columns="expression", values="value")
    rows, columns = [(part, kind) for part in long["part"].unique() for kind in kinds], list(dict.fromkeys([*counts["expression"], ALL]))
    table = table.reindex(rows, columns=columns)
    table = table[[*table.columns.drop(ALL), ALL]].rename_axis(columns=None)
    table[ALL] = table[ALL].fillna(table.drop(columns=ALL).sum(axis="columns"))
    table = table.astype("Int64").astype(object).where(table.notna(), "") if table.isna().any(axis=None) else table.astype(int)
    return captioned(table, "Faces of each part here, and the official counts")


def official_counts(faces: pd.DataFrame, expressions: Sequence[str]) -> pd.DataFrame | None:
    """Return the official counts per usage (rows) of one dataset that names one for every expression (columns); None if there are none."""
    if (table := official_table(faces, expressions)) is None:
        return None
    wide = table.xs("official", level="count").reindex(columns=list(expressions)).replace("", np.nan).dropna()
    wide = wide[wide.index.isin(faces["usage"])]
    return wide.astype(int) if len(wide) else None


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
        here, official, unit = int(own["here"].sum()), int(own["official"].sum()), OFFICIAL[own["source"].iloc[0]].unit
        units = "faces" if unit == "face_id" else f"{unit}s"
        if here == 0:
            told.append(f"{part} is absent; officially it has {official:,} {units}.")
        elif (own["difference"] != 0).any():
            told.append(f"**{part} differs from the official counts: {here - official:+,} {units} in all.**")
        else:
            agree.append(f"{part} ({here:,}{'' if len(own) > 1 else ' in all'})")
    return " ".join([f"**Exactly the official counts: {listed(agree)}.**", *told] if agree else told)


def two_labels_sentence(faces: pd.DataFrame) -> str:
    """Say how often the posed expression and the highest rating of JAFFE's faces differ."""
    _, counts = count_differences(faces)
    return (
        f"JAFFE's faces have two labels, posed (rows) and rated (columns). **They differ on {counts['differ']:,} of {counts['rated']:,} "
        f"rated faces;** {counts['neutral_mislabelled']:,} of them are neutral poses, which the ratings cannot name. cs231a trained on the ratings."
    )


def imbalance_sentence(counts: pd.DataFrame) -> str:
    """Say how unequal the expressions are, and what always predicting the commonest scores, from counts per split (rows) and expression."""
    train = counts.loc["train"]
    most, least = train.idxmax(), train.idxmin()
    splits = {split: row for split, row in counts.iterrows() if split != "train" and row.sum()}
    always = listed(f"{percent(row[most] / row.sum())} on {split}" for split, row in splits.items())
    balanced = listed(dict.fromkeys(percent((row[most] > 0) / (row > 0).sum()) for row in splits.values()))  # of expressions that occur
    baseline = f"A model that always predicts {most} has an accuracy of {always}, and a balanced accuracy of {balanced}." if splits else ""
    if train[most] == train[least]:
        return f"Every expression has {train[most]:,} faces in train. {baseline}".strip()
    rarest = f"the rarest {least} ({train[least]:,}): imbalance ratio {train[most] / max(train[least], 1):.2f}"
    if not train[least]:
        rarest = f"and train holds no face of {listed(train.index[train == 0])}"
    return f"The commonest expression of train is {most} ({train[most]:,} faces), {rarest}. {baseline}".strip()


def weights_table(counts: Sequence[int] | np.ndarray, expressions: Sequence[str]) -> pd.DataFrame:
    """Return training faces, their share and the class weight of every expression; one without faces has none (NaN)."""
    faces = np.asarray(counts, np.int64)
    weights = np.where(faces > 0, weigh_classes(faces), np.nan)
    table = pd.DataFrame({"faces": faces, "share": faces / max(int(faces.sum()), 1), "weight": weights}, index=list(expressions))
    return captioned(table.rename_axis("expression"), f"Training faces and class weight of each expression (n = {faces.sum():,})")


def set_summary(store: Store, excluded: pd.DataFrame | None = None, *, rule: str = "auto") -> dict[str, Any]:
    """Return what the prepare stage records of a set split by `rule`: size, split and counts of the original faces."""
    faces = originals(store.faces)
    official, counts = official_table(faces, store.expressions), count_faces(faces, "split", expressions=store.expressions)
    differences = {} if official is None else official.xs("difference", level="count").to_dict("index")
    differences = {part: {name: int(value) for name, value in cells.items() if value != ""} for part, cells in differences.items()}
    reasons = pd.Series(dtype="int64") if excluded is None else _short_reasons(excluded).value_counts().sort_index()
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
        "official_difference": differences or None,
        "official_test": is_official_test(faces),
        "crossings": crossings(faces, rule=rule).to_dict("records"),
    }
