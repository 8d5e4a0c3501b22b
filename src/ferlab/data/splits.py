"""Which faces fit, which select, which test.

Official where a dataset has usages: of FER2013, Training fits, PublicTest selects, PrivateTest is scored once. Where PrivateTest
is absent, a part of Training selects, stratified by expression, and PublicTest tests. By subject where faces have subjects. In
every split of ours, faces that share a subject or are byte-identical stay together; a crossing there is refused. A crossing in
an official split is a fact about the dataset: `crossings` reports it.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ferlab.expressions import SPLITS, USAGES
from ferlab.paths import InputError

TOGETHER = ("subject", "sequence", "content_hash")  # faces that share one of these are never parted by a split of ours


def assign_splits(faces: pd.DataFrame, *, val_fraction: float = 0.1, test_fraction: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """Return a copy of `faces` with the column `split` (train, val or test).

    Args:
        faces: Face table with `content_hash`.
        val_fraction: Share of the faces that selects; where PrivateTest is absent, share of Training. Unused where the split is official.
        test_fraction: Share of the faces that tests, where the dataset names no faces for it.
        seed: Of every choice made here. The same faces and seed give the same split.

    Raises:
        InputError: If a split is left without faces, or faces that belong together are parted by a split of ours.
    """
    usages = set(faces["usage"])
    if "subject" in faces.columns or not usages & set(USAGES):
        split = _deal(faces, {"val": val_fraction, "test": test_fraction}, seed=seed)
    elif set(USAGES) <= usages:
        split = faces["usage"].map(dict(zip(USAGES, SPLITS, strict=True))).to_numpy()
    else:
        split = np.full(len(faces), "test", dtype=object)
        fits = (faces["usage"] == "Training").to_numpy()
        split[fits] = _deal(faces[fits], {"val": val_fraction}, seed=seed)
    assigned = faces.assign(split=pd.Series(split, index=faces.index, dtype="str"))
    _check(assigned)
    return assigned


def split_rule(faces: pd.DataFrame) -> str:
    """Say in one sentence, for a page, which split this is."""
    usages = {split: set(faces.loc[faces["split"] == split, "usage"]) for split in SPLITS}
    if "subject" in faces.columns:
        people = faces.groupby("split")["subject"].nunique()
        counts = ", ".join(f"{people[split]} {_verb(split, people[split])}" for split in SPLITS)
        return f"By subject: of {faces['subject'].nunique()} subjects, {counts}; no subject is in two splits."
    if usages == {split: {usage} for split, usage in zip(SPLITS, USAGES, strict=True)}:
        return "The official split: Training fits, PublicTest selects, PrivateTest tests."
    if usages["train"] == usages["val"] == {"Training"}:
        tests = sorted(usages["test"], key=USAGES.index)
        absent = next(usage for usage in reversed(USAGES) if usage not in tests)
        fits = faces[faces["usage"] == "Training"]
        share = f"{100 * (fits['split'] == 'val').mean():.0f} %".replace("10 %", "a tenth")
        chosen = "chosen by expression with byte-identical faces kept together"
        other = "; numbers published for PrivateTest are another measurement" if absent == "PrivateTest" else ""
        return f"{absent} is absent: {share} of Training selects, {chosen}, and {' and '.join(tests)} tests{other}."
    shares = ", ".join(f"{100 * (faces['split'] == split).mean():.1f} % {_verb(split, 2)}" for split in SPLITS)
    return f"A split of our own, by expression with byte-identical faces kept together: {shares}."


def crossings(faces: pd.DataFrame) -> pd.DataFrame:
    """Count faces that share a subject, a sequence or their content with a face of another split.

    Returns:
        One row per key and ordered pair of splits that crosses: `key`, `first`, `second`, `faces` (how many faces of `second` share
        the key's value with one of `first`), `rule` ("official" if no usage is in both splits, else "ours"). Empty if none crosses.
    """
    rows = []
    for key in _keys(faces):
        values = {split: faces.loc[faces["split"] == split, key].dropna() for split in SPLITS}
        for first, second in permutations(SPLITS, 2):
            shared = int(values[second].isin(values[first]).sum())
            if shared:
                rule = "ours" if _usages(faces, first) & _usages(faces, second) else "official"
                rows.append({"key": key, "first": first, "second": second, "faces": shared, "rule": rule})
    return pd.DataFrame(rows, columns=["key", "first", "second", "faces", "rule"])


def _check(faces: pd.DataFrame) -> None:
    for split in SPLITS:
        if not (faces["split"] == split).any():
            raise InputError(
                f"The split {split!r} is left without faces, of {len(faces)} in {', '.join(sorted(set(faces['usage'])))}; expected some in each of "
                f"{', '.join(SPLITS)}. Give more faces or subjects, larger fractions, or the usage that is missing."
            )
    crossed = crossings(faces)
    ours = crossed[crossed["rule"] == "ours"]
    if len(ours):
        worst = ours.iloc[0]
        found = f"{worst['faces']} faces of {worst['second']} share their {worst['key']} with {worst['first']}"
        raise InputError(f"{found}; expected none in a split of ours. Give every such face one usage.")


def _deal(faces: pd.DataFrame, fractions: dict[str, float], *, seed: int) -> np.ndarray:
    """Deal groups of faces that stay together to train and the splits in `fractions`, each as near to its share of every expression as they allow."""
    if sum(fractions.values()) >= 1:
        raise InputError(f"The fractions {fractions} leave nothing to train on; expected a sum below 1. Lower val_fraction or test_fraction.")
    if len(faces) == 0:
        return np.empty(0, dtype=object)
    groups = _groups(faces)
    counts = pd.crosstab(groups, faces["target"].to_numpy()).to_numpy()  # (G, K)
    names = ["train", *fractions]
    shares = np.maximum([1 - sum(fractions.values()), *fractions.values()], 1 / len(counts))  # of few subjects, each split wants one
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
    single = order[alone]  # of one expression each: the split that has the least of its share, so that twins go everywhere alike
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


def _groups(faces: pd.DataFrame) -> np.ndarray:
    """Number the groups of faces connected by a shared subject, sequence or content."""
    n = len(faces)
    linked, total = [], n
    for key in _keys(faces):
        codes = pd.factorize(faces[key])[0]  # -1 where missing
        present = np.flatnonzero(codes >= 0)
        linked.append(np.stack([present, codes[present] + total]))
        total += int(codes.max(initial=-1)) + 1
    rows, columns = np.concatenate(linked, axis=1)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(total, total))
    return connected_components(graph, directed=False)[1][:n]


def _keys(faces: pd.DataFrame) -> list[str]:
    """A sequence is one subject's, and datasets number sequences afresh for each: where subjects are known they are enough."""
    keys = [key for key in TOGETHER if key in faces.columns]
    return [key for key in keys if not (key == "sequence" and "subject" in keys)]


def _usages(faces: pd.DataFrame, split: str) -> set[str]:
    return set(faces.loc[faces["split"] == split, "usage"])


def _verb(split: str, count: int) -> str:
    verb = {"train": "fit", "val": "select", "test": "test"}[split]
    return f"{verb}s" if count == 1 else verb
