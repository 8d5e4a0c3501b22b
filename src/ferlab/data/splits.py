"""Which faces fit, which select, which test.

Official where a dataset has parts for it: of FER2013, Training fits, PublicTest selects, PrivateTest is scored once. Where none is for the
test, a part of what fits selects, stratified by expression, and the part that would select tests. By subject where faces have subjects. In
every split of ours, faces that share a subject or are byte-identical stay together; a crossing there is refused. A crossing in an official
split is a fact about the dataset: `crossings` reports it. At random over frames only where that is asked for by name, to show what it does.
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

TOGETHER = ("subject", "sequence", "content_hash")  # faces that share one of these are never parted by a split of ours
RULES = ("auto", "official", "groups", "group_k_fold", "leave_one_subject_out", "random_frames")
OFFICIAL_USAGES = (*FITTING_USAGES, *SELECTING_USAGES, *TESTING_USAGES)


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
        faces: Face table with `content_hash`.
        rule: "official", by the dataset's own usages; "groups", dealt so that a subject, a sequence and byte-identical faces stay whole;
            "group_k_fold", one of `folds` such folds of subjects tests; "leave_one_subject_out", one subject tests; "random_frames", as cs231a
            did: at random, whoever is on them; "auto", official where usages select or test, else groups.
        val_fraction: Share of the faces that selects; where a part that selects tests, share of those that fit. Unused where all is official.
        test_fraction: Share of the faces that tests, where the dataset or a fold names none for it.
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
        split = _deal(faces, {"val": val_fraction, "test": test_fraction}, seed=seed)
    elif rule == "random_frames":
        split = _random_frames(len(faces), {"val": val_fraction, "test": test_fraction}, seed=seed)
    else:
        tests = _leave_out(faces, fold) if rule == "leave_one_subject_out" else _fold(faces, folds=folds, fold=fold, seed=seed)
        split = np.full(len(faces), "test", dtype=object)
        split[~tests] = _deal(faces[~tests], {"val": val_fraction}, seed=seed)
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
    fits, tests = usage.isin(FITTING_USAGES).to_numpy(), usage.isin(TESTING_USAGES).to_numpy()
    split = np.where(tests, "test", "val").astype(object)
    if not tests.any():
        split[:] = "test"
    split[fits] = "train"
    if not (split == "val").any():
        split[fits] = _deal(faces[fits], {"val": val_fraction}, seed=seed)
    return split


def _random_frames(count: int, fractions: Mapping[str, float], *, seed: int) -> np.ndarray:
    _check_fractions(fractions)
    split = np.full(count, "train", dtype=object)
    order, start = np.random.default_rng(seed).permutation(count), 0
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
    tests = np.zeros(len(faces), dtype=bool)
    tests[[part for _, part in parts][fold]] = True
    return tests


def _leave_out(faces: pd.DataFrame, fold: int) -> np.ndarray:
    """Bool (N,): the faces of one subject, and of subjects that share a picture with it."""
    if "subject" not in faces or faces["subject"].isna().any():
        raise InputError("leave_one_subject_out: not every face has a subject; expected one for each. Choose another split.")
    people = sorted(set(faces["subject"]))
    if not 0 <= fold < len(people):
        raise InputError(f"leave_one_subject_out: fold {fold} of {len(people)} subjects; expected 0 to {len(people) - 1}.")
    groups = _groups(faces)
    return np.isin(groups, groups[(faces["subject"] == people[fold]).to_numpy()])


def split_rule(faces: pd.DataFrame, *, rule: str = "auto") -> str:
    """Say in one sentence, for a page, which split this is; `rule` is the one it was made by."""
    if rule == "random_frames":
        shares = ", ".join(f"{100 * (faces['split'] == split).mean():.0f} % {_verb(split, 2)}" for split in SPLITS)
        return f"At random over frames, as cs231a split: {shares}. The same people, and nearly the same pictures, are on both sides."
    if rule == "leave_one_subject_out":
        tests = ", ".join(sorted(set(faces.loc[faces["split"] == "test", "subject"])))
        return f"One subject left out: {tests} tests, the other {faces['subject'].nunique() - 1} fit and select; no subject is in two splits."
    usages = {split: set(faces.loc[faces["split"] == split, "usage"]) for split in SPLITS}
    if usages == {split: {usage} for split, usage in zip(SPLITS, USAGES, strict=True)}:
        return "The official split: Training fits, PublicTest selects, PrivateTest tests."
    if rule in ("auto", "official") and _has_official_parts(faces):
        return _official_rule(faces, usages)
    if "subject" in faces.columns and faces["subject"].notna().all():
        people = faces.groupby("split")["subject"].nunique()
        counts = ", ".join(f"{people[split]} {_verb(split, people[split])}" for split in SPLITS)
        kind = "By subject, one fold tests" if rule == "group_k_fold" else "By subject"
        return f"{kind}: of {faces['subject'].nunique()} subjects, {counts}; no subject is in two splits."
    shares = ", ".join(f"{100 * (faces['split'] == split).mean():.1f} % {_verb(split, 2)}" for split in SPLITS)
    return f"A split of our own, by expression with byte-identical faces kept together: {shares}."


def _official_rule(faces: pd.DataFrame, usages: Mapping[str, set[str]]) -> str:
    if not usages["train"] & usages["val"]:
        parts = ", ".join(f"{_listed(usages[split])} {_verb(split, len(usages[split]))}" for split in SPLITS)
        return f"The dataset's own split: {parts}."
    fits = faces[faces["split"] != "test"]
    share = f"{100 * (fits['split'] == 'val').mean():.0f} %".replace("10 %", "a tenth")
    chosen = "chosen by expression with byte-identical faces kept together"
    tests = f"{share} of {_listed(usages['train'] | usages['val'])} selects, {chosen}, and {_listed(usages['test'])} tests"
    if not (usages["test"] | usages["train"]) & set(USAGES):
        return f"The dataset has no part that selects: {tests}."
    if not usages["test"] <= set(USAGES):  # a set that calls PublicTest `test` wants both scored
        return f"No part was left to select: {tests}."
    absent = next(usage for usage in reversed(USAGES) if usage not in usages["test"])
    other = "; numbers published for PrivateTest are another measurement" if absent == "PrivateTest" else ""
    return f"{absent} is absent: {tests}{other}."


def _listed(usages: set[str]) -> str:
    return " and ".join(sorted(usages, key=OFFICIAL_USAGES.index))


def crossings(faces: pd.DataFrame, *, rule: str = "auto") -> pd.DataFrame:
    """Count faces that share a subject, a sequence or their content with a face of another split.

    Args:
        faces: Face table with `split`.
        rule: The one the split was made by.

    Returns:
        One row per key and ordered pair of splits that crosses: `key`, `first`, `second`, `faces` (how many faces of `second` share
        the key's value with one of `first`), `rule` ("official" if no usage is in both splits, "asked for" where a random split was, else
        "ours"). Empty if none crosses.
    """
    rows = []
    for key in _keys(faces):
        values = {split: faces.loc[faces["split"] == split, key].dropna() for split in SPLITS}
        for first, second in permutations(SPLITS, 2):
            shared = int(values[second].isin(values[first]).sum())
            if shared:
                ours = "asked for" if rule == "random_frames" else "ours"
                whose = ours if _usages(faces, first) & _usages(faces, second) else "official"
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


def _deal(faces: pd.DataFrame, fractions: dict[str, float], *, seed: int) -> np.ndarray:
    """Deal groups of faces that stay together to train and the splits in `fractions`."""
    _check_fractions(fractions)
    return deal_groups(faces, {"train": 1 - sum(fractions.values()), **fractions}, seed=seed)


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if sum(fractions.values()) >= 1:
        raise InputError(f"The fractions {dict(fractions)} leave nothing to train on; expected a sum below 1. Lower val_fraction or test_fraction.")


def deal_groups(faces: pd.DataFrame, shares_of: Mapping[str, float], *, seed: int, keys: Sequence[str] | None = None) -> np.ndarray:
    """Deal groups of faces that stay together to named parts, each as near to its share of every expression as they allow.

    Args:
        faces: Table with `target` and the keys.
        shares_of: Share of each part, by its name.
        seed: Of the order.
        keys: Columns whose values stay together; None: subject, sequence and content_hash, as far as there are.

    Returns:
        The part of each face, object (N,).
    """
    if len(faces) == 0:
        return np.empty(0, dtype=object)
    groups = _groups(faces, keys)
    counts = pd.crosstab(groups, faces["target"].to_numpy()).to_numpy()  # (G, K)
    names = list(shares_of)
    shares = np.maximum(list(shares_of.values()), 1 / len(counts))  # of few subjects, each part wants one
    shares = shares / shares.sum()
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]  # large groups first, while there is room to balance them
    alone = (counts[order] > 0).sum(axis=1) == 1
    wanted = shares[:, None] * counts.sum(axis=0)  # (S, K)
    dealt = np.empty(len(counts), dtype=np.int64)
    have = np.zeros_like(wanted)
    for group in order[~alone]:
        dealt[group] = _neediest(wanted, have, counts[group])
        have[dealt[group]] += counts[group]
    single = order[alone]  # of one expression each: the split that has the least of its share, so that duplicates go everywhere alike
    wants, has = wanted.T.tolist(), have.T.tolist()  # lists: FER2013 has 27,000 such groups, and numpy is slow at one number
    targets, sizes = counts[single].argmax(axis=1).tolist(), counts[single].max(axis=1).tolist()
    for group, target, size in zip(single, targets, sizes, strict=True):
        filled = [held / share for held, share in zip(has[target], wants[target], strict=True)]
        dealt[group] = filled.index(min(filled))
        has[target][dealt[group]] += size
    return np.array(names, dtype=object)[dealt[groups]]


def _neediest(wanted: np.ndarray, have: np.ndarray, counts: np.ndarray) -> int:
    """Return the split (S) whose gain brings all splits nearest to what is wanted: least squared misses, relative per expression."""
    scale = np.maximum(wanted.sum(axis=0), 1)

    def miss(lacking: np.ndarray) -> np.ndarray:
        # The share of all faces weighs as much as those of the expressions together: with few subjects it must not be lost to them.
        overall = lacking.sum(axis=1) / scale.sum()
        return ((lacking / scale) ** 2).sum(axis=1) + (len(scale) * overall) ** 2

    return int((miss(wanted - have - counts) - miss(wanted - have)).argmin())


def _groups(faces: pd.DataFrame, keys: Sequence[str] | None = None) -> np.ndarray:
    """Number the groups of faces connected by a shared subject, sequence or content."""
    n = len(faces)
    linked, total = [], n
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


def _usages(faces: pd.DataFrame, split: str) -> set[str]:
    return set(faces.loc[faces["split"] == split, "usage"])


def _verb(split: str, count: int) -> str:
    verb = {"train": "fit", "val": "select", "test": "test"}[split]
    return f"{verb}s" if count == 1 else verb
