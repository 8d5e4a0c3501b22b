"""Which faces train, which select, which test.

Official where a dataset has parts for it: of FER2013, Training is train, PublicTest val, PrivateTest test. Where no part tests, the part that
would select tests, and a tenth of what trains selects, stratified by expression. By subject where faces have subjects. A split of ours never
parts faces of one subject, sequence or duplicate group: where a duplicate group spans subjects, these subjects stay together. A crossing
there is refused; one in an official split is a fact about the dataset, which `crossings` reports. At random over frames only where that is
asked for by name, to show what it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ferlab.expressions import FITTING_USAGES, SELECTING_USAGES, SPLITS, TESTING_USAGES, USAGES
from ferlab.paths import InputError

TOGETHER = ("subject", "sequence", "duplicate_group")  # faces that share one of these are never parted by a split of ours
OFFICIAL_USAGES = (*FITTING_USAGES, *SELECTING_USAGES, *TESTING_USAGES)
NOT_PARTED = "no subject is in two splits"
GROUPED = "stratified by expression and grouped by duplicates"


def assign_splits(
    faces: pd.DataFrame,
    *,
    rule: str = "auto",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    folds: int = 10,
    fold: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a copy of `faces` with the column `split` (train, val or test).

    Args:
        faces: Face table with `duplicate_group`.
        rule: "official", by the dataset's own usages; "groups", a group split, stratified by expression; "group_k_fold", one of `folds` folds of
            subjects tests; "leave_one_subject_out", one subject tests; "random_frames", at random, as cs231a; "auto", official where usages
            select or test, else groups.
        val_fraction: Fraction of the faces that selects; where a part that selects tests, of those that train. Unused where all is official.
        test_fraction: Fraction of the faces that tests, where the dataset or a fold names none for it.
        folds: How many folds of subjects.
        fold: Which fold, or which subject in sorted order, tests; from 0.
        seed: Of every choice made here. The same faces and seed give the same split.

    Raises:
        InputError: If a split is left without faces, or faces that belong together are parted by a split of ours.
    """
    if rule == "auto":
        rule = "official" if _has_official_parts(faces) else "groups"
    if rule == "official":
        split = _official(faces, val_fraction=val_fraction, seed=seed)
    elif rule == "groups":
        split = _group_split(faces, {"val": val_fraction, "test": test_fraction}, seed=seed)
    elif rule == "random_frames":
        split = _random_frames(len(faces), {"val": val_fraction, "test": test_fraction}, seed=seed)
    else:
        tests = _leave_out(faces, fold) if rule == "leave_one_subject_out" else _fold(faces, folds=folds, fold=fold, seed=seed)
        split = np.full(len(faces), "test", dtype=object)
        split[~tests] = _group_split(faces[~tests], {"val": val_fraction}, seed=seed)
    assigned = faces.assign(split=pd.Series(split, index=faces.index, dtype="str"))
    _check(assigned, rule)
    return assigned


def _has_official_parts(faces: pd.DataFrame) -> bool:
    """Without subjects, usages of FER2013's kind mean its split even where the parts that select or test are absent: then that is an error."""
    usages = set(faces["usage"])
    return bool(usages & {*SELECTING_USAGES, *TESTING_USAGES}) or ("subject" not in faces and bool(usages & set(FITTING_USAGES)))


def _official(faces: pd.DataFrame, *, val_fraction: float, seed: int) -> np.ndarray:
    usage = faces["usage"]
    foreign = ~usage.isin(OFFICIAL_USAGES)
    if foreign.any():
        row = int(foreign.to_numpy().argmax())
        found = f"{faces['face_id'].iloc[row] if 'face_id' in faces else f'row {row}'} has the usage {usage.iloc[row]!r}"
        known = ", ".join(OFFICIAL_USAGES)
        raise InputError(f"{found}, which an official split does not know; expected one of {known}. Map it with `usages`, or choose another split.")
    trains, tests = usage.isin(FITTING_USAGES).to_numpy(), usage.isin(TESTING_USAGES).to_numpy()
    split = np.where(trains, "train", np.where(tests if tests.any() else ~trains, "test", "val")).astype(object)
    if not (split == "val").any():
        split[trains] = _group_split(faces[trains], {"val": val_fraction}, seed=seed)
    return split


def _random_frames(count: int, fractions: Mapping[str, float], *, seed: int) -> np.ndarray:
    _check_fractions(fractions)
    split, start = np.full(count, "train", dtype=object), 0
    order = np.random.default_rng(seed).permutation(count)
    for name, fraction in fractions.items():
        size = round(fraction * count)
        split[order[start : start + size]] = name
        start += size
    return split


def _fold(faces: pd.DataFrame, *, folds: int, fold: int, seed: int) -> np.ndarray:
    """Bool (N,): the faces of one of `folds` folds of groups."""
    from sklearn.model_selection import GroupKFold

    groups = _groups(faces)
    count = len(np.unique(groups))
    if not 2 <= folds <= count or not 0 <= fold < folds:
        raise InputError(f"fold {fold} of {folds} folds over {count} groups of faces; expected 2 to {count} folds, and a fold from 0 to folds - 1.")
    parts = GroupKFold(n_splits=folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    return np.isin(np.arange(len(faces)), [part for _, part in parts][fold])


def _leave_out(faces: pd.DataFrame, fold: int) -> np.ndarray:
    """Bool (N,): the faces of one subject, and of subjects that share a duplicate group with it."""
    if "subject" not in faces or faces["subject"].isna().any():
        raise InputError("leave_one_subject_out: not every face has a subject; expected one for each. Choose another split.")
    people = sorted(set(faces["subject"]))
    if not 0 <= fold < len(people):
        raise InputError(f"leave_one_subject_out: fold {fold} of {len(people)} subjects; expected 0 to {len(people) - 1}.")
    groups = _groups(faces)
    return np.isin(groups, groups[(faces["subject"] == people[fold]).to_numpy()])


def split_rule(faces: pd.DataFrame, *, rule: str = "auto") -> str:
    """Say in one sentence, for a page, which split this is; `rule` is the one it was made by."""
    shares = ", ".join(f"{100 * (faces['split'] == split).mean():.1f} % {split}" for split in SPLITS)
    if rule == "random_frames":
        return f"At random over frames, as cs231a split: {shares}. The same subjects, and nearly the same images, are in several splits."
    if rule == "leave_one_subject_out":
        tests = sorted(set(faces.loc[faces["split"] == "test", "subject"]))
        others = faces.loc[faces["split"] != "test", "subject"].nunique()
        return f"Leave one subject out: test is {', '.join(tests)}, the other {others} subjects train and select; {NOT_PARTED}."
    usages = {split: set(faces.loc[faces["split"] == split, "usage"]) for split in SPLITS}
    if rule in ("auto", "official") and _has_official_parts(faces):
        return _official_rule(faces, usages)
    if "subject" in faces.columns and faces["subject"].notna().all():
        people = faces.groupby("split")["subject"].nunique()
        kind = "By subject, one fold tests" if rule == "group_k_fold" else "By subject"
        counts = ", ".join(f"{people[split]} {split}" for split in SPLITS)
        return f"{kind}: of {faces['subject'].nunique()} subjects, {counts}; {NOT_PARTED}."
    return f"A split of our own, {GROUPED}: {shares}."


def _official_rule(faces: pd.DataFrame, usages: Mapping[str, set[str]]) -> str:
    if usages == {split: {usage} for split, usage in zip(SPLITS, USAGES, strict=True)}:
        return "The official split: Training trains, PublicTest selects, PrivateTest tests."
    named = {split: " and ".join(sorted(usages[split], key=OFFICIAL_USAGES.index)) for split in SPLITS}
    if not usages["train"] & usages["val"]:
        return f"The dataset's own split: train is {named['train']}, val {named['val']}, test {named['test']}."
    share = f"{100 * (faces.loc[faces['split'] != 'test', 'split'] == 'val').mean():.0f} %".replace("10 %", "a tenth")
    tests = f"{share} of {named['train']} selects, {GROUPED}, and {named['test']} tests"
    if not (usages["test"] | usages["train"]) & set(USAGES):
        return f"The dataset has no part that selects: {tests}."
    if not usages["test"] <= set(USAGES):  # a dataset that calls PublicTest `test` wants both scored
        return f"No part was left to select: {tests}."
    absent = next(usage for usage in reversed(USAGES) if usage not in usages["test"])
    other = "; numbers published for PrivateTest are another measurement" if absent == "PrivateTest" else ""
    return f"{absent} is absent: {tests}{other}."


def crossings(faces: pd.DataFrame, *, rule: str = "auto") -> pd.DataFrame:
    """Count faces that share a subject, a sequence or a duplicate group with a face of another split.

    Args:
        faces: Face table with `split`.
        rule: The one the split was made by.

    Returns:
        One row per key and ordered pair of splits that crosses: `key`, `first`, `second`, `faces` (how many faces of `second` share
        the key's value with one of `first`), `rule` ("official" if no usage is in both splits, "asked for" where a random split was, else
        "ours"). Empty if none crosses.
    """
    rows, usages = [], {split: set(faces.loc[faces["split"] == split, "usage"]) for split in SPLITS}
    for key in _keys(faces):
        values = {split: faces.loc[faces["split"] == split, key].dropna() for split in SPLITS}
        for first, second in permutations(SPLITS, 2):
            shared = int(values[second].isin(values[first]).sum())
            if shared:
                whose = ("asked for" if rule == "random_frames" else "ours") if usages[first] & usages[second] else "official"
                rows.append({"key": key, "first": first, "second": second, "faces": shared, "rule": whose})
    return pd.DataFrame(rows, columns=["key", "first", "second", "faces", "rule"])


def _check(faces: pd.DataFrame, rule: str) -> None:
    for split in SPLITS:
        if not (faces["split"] == split).any():
            raise InputError(
                f"The split {split!r} is left without faces, of {len(faces)} in {', '.join(sorted(set(faces['usage'])))}; expected some in each of "
                f"{', '.join(SPLITS)}. Give more faces or subjects, larger fractions, or the usage that is missing."
            )
    crossed = crossings(faces, rule=rule)
    ours = crossed[crossed["rule"] == "ours"]
    if len(ours):
        worst = ours.iloc[0]
        found = f"{worst['faces']} faces of {worst['second']} share their {worst['key']} with {worst['first']}"
        raise InputError(f"{found}; expected none in a split of ours. Give every such face one usage.")


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if sum(fractions.values()) >= 1:
        raise InputError(f"The fractions {dict(fractions)} leave nothing to train on; expected a sum below 1. Lower val_fraction or test_fraction.")


def _group_split(faces: pd.DataFrame, fractions: Mapping[str, float], *, seed: int) -> np.ndarray:
    """Divide faces among train and the splits in `fractions`, groups whole."""
    _check_fractions(fractions)
    return divide_groups(faces, {"train": 1 - sum(fractions.values()), **fractions}, seed=seed)


def divide_groups(faces: pd.DataFrame, fractions: Mapping[str, float], *, seed: int, keys: Sequence[str] | None = None) -> np.ndarray:
    """Divide faces among named parts, groups whole, each part as near to its fraction of every expression as they allow.

    Args:
        faces: Table with `target` and the keys.
        fractions: Fraction of each part, by its name.
        seed: Of the order.
        keys: Columns whose values stay together; None: TOGETHER, as far as there are.

    Returns:
        The part of each face, object (N,). Every part has some where there are as many groups as parts.
    """
    if len(faces) == 0:
        return np.empty(0, dtype=object)
    groups = _groups(faces, keys)
    counts = pd.crosstab(groups, faces["target"].to_numpy()).to_numpy()  # (G, K)
    shares = np.maximum(list(fractions.values()), 1 / len(counts))  # of few subjects, each part wants one
    wanted = (shares / shares.sum())[:, None] * counts.sum(axis=0)  # (S, K)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]  # large groups first, while there is room to balance them
    alone = (counts[order] > 0).sum(axis=1) == 1
    part, have = np.empty(len(counts), dtype=np.int64), np.zeros_like(wanted)
    for group in order[~alone]:
        part[group] = _neediest(wanted, have, counts[group])
        have[part[group]] += counts[group]
    single = order[alone]  # of one expression each: the split that has the least of its fraction, so that duplicates go everywhere alike
    wants, has = wanted.T.tolist(), have.T.tolist()  # lists: FER2013 has 25,000 such groups, and numpy is slow at one number
    targets, sizes = counts[single].argmax(axis=1).tolist(), counts[single].max(axis=1).tolist()
    for group, target, size in zip(single, targets, sizes, strict=True):
        filled = [held / share for held, share in zip(has[target], wants[target], strict=True)]
        part[group] = filled.index(min(filled))
        has[target][part[group]] += size
    for empty in np.flatnonzero(np.bincount(part, minlength=len(wanted)) == 0) if len(counts) >= len(wanted) else ():  # of few groups: the smallest
        spare = np.flatnonzero(np.bincount(part, minlength=len(wanted))[part] > 1)
        part[spare[counts[spare].sum(axis=1).argmin()]] = empty
    return np.array(list(fractions), dtype=object)[part[groups]]


def _neediest(wanted: np.ndarray, have: np.ndarray, counts: np.ndarray) -> int:
    """Return the split (S) whose gain brings all splits nearest to what is wanted: least squared misses, relative per expression."""
    scale = np.maximum(wanted.sum(axis=0), 1)

    def miss(lacking: np.ndarray) -> np.ndarray:
        # The fraction of all faces weighs as much as those of the expressions together: with few subjects it must not be lost to them.
        return ((lacking / scale) ** 2).sum(axis=1) + (len(scale) * lacking.sum(axis=1) / scale.sum()) ** 2

    return int((miss(wanted - have - counts) - miss(wanted - have)).argmin())


def _groups(faces: pd.DataFrame, keys: Sequence[str] | None = None) -> np.ndarray:
    """Number the groups of faces connected by a shared value of a key; without keys each face is one."""
    n = total = len(faces)
    linked = [np.empty((2, 0), dtype=np.int64)]
    for key in _keys(faces) if keys is None else keys:
        codes = pd.factorize(faces[key])[0]  # -1 where missing
        present = np.flatnonzero(codes >= 0)
        linked.append(np.stack([present, codes[present] + total]))
        total += int(codes.max(initial=-1)) + 1
    rows, columns = np.concatenate(linked, axis=1)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(total, total))
    return connected_components(graph, directed=False)[1][:n]


def _keys(faces: pd.DataFrame) -> list[str]:
    """A sequence is one subject's, and datasets number sequences afresh for each: where all subjects are known they are enough."""
    keys = [key for key in TOGETHER if key in faces.columns]
    known = "subject" in keys and faces["subject"].notna().all()
    return [key for key in keys if not (key == "sequence" and known)]
