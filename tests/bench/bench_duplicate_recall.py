"""Bench: recall of the search for near-duplicates on planted copies, against perceptual hashes and ECC registration.

    python tests/bench/bench_duplicate_recall.py [FOLDER] [--each 200] [--random 20000] [--write FILE]

FOLDER holds fer2013.csv; without it, control faces alone are measured. From each dataset `each` faces per alteration of `copies.KINDS` are
altered and planted beside their originals. Originals of FER2013 are faces in which the search finds no duplicate at a score of 0.85 or more.

    search, wide search   the search of the audit: codes, registration, and the dataset's own limit; wide: codes three times as far apart
    registration          its second half alone, from no shift, on every planted pair
    ECC, ECC band         cv2.findTransformECC (affine, from no shift) on grey levels, and on band-passed faces
    phash, dhash, ...     imagehash at 64 bits; found within 10 bits, the default of imagededup

Every method compares both orientations. A false pair joins two different originals. The search and the hashes see all pairs of originals;
registration and ECC see `random` of them. `equal` is the recall at the threshold that accepts at most 1 in 10,000 pairs of different originals
(registration, ECC) or 1 in 1,000,000 (hashes), which favours the former. Pairs judged the same photograph by eye
(reports/published/fer2013_pairs_by_eye.csv) are scored at the same thresholds. They were found by this search, which is therefore not scored.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from ferlab.copies import KINDS  # noqa: E402
from ferlab.data.duplicates.codes import fit_codes  # noqa: E402
from ferlab.data.duplicates.planting import judge_found, plant  # noqa: E402
from ferlab.data.duplicates.registration import compare_pairs  # noqa: E402
from ferlab.data.duplicates.search import LEAST, choose_limit, measure_reference, search_pairs  # noqa: E402
from ferlab.evaluation.proportions import wilson  # noqa: E402

PAIRS = ROOT / "reports" / "published" / "fer2013_pairs_by_eye.csv"
ALTERED = tuple(kind for kind in KINDS if kind != "exact")
HASHES: dict[str, Callable[[Image.Image], imagehash.ImageHash]] = {
    "phash": imagehash.phash,
    "dhash": imagehash.dhash,
    "ahash": imagehash.average_hash,
    "whash": imagehash.whash,
}
USUAL = 10  # bits of 64 up to which imagededup takes two pictures as duplicates
RARE, RARER = 1e-4, 1e-6  # false pairs per pair of different originals
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
UNALIKE = 0.85  # score below which two faces of FER2013 are taken as different


def measure(images: np.ndarray, targets: np.ndarray, *, each: int, drawn: int, judged: np.ndarray | None = None) -> dict[str, Any]:
    """Return recall, thresholds and false pairs of every method on one dataset.

    Args:
        images: Different faces, uint8 (N, 48, 48), more than `each` for each of `ALTERED`; `judged` pairs (P, 2, 48, 48) beside them.
    """
    chosen = np.random.default_rng(0).permutation(len(images))[: each * len(ALTERED)]
    planted_images, planted = plant(images[chosen], kinds=ALTERED, each=each, seed=0)
    n, kinds = len(chosen), planted["kind"].to_numpy(str)
    true = np.stack([planted_images[planted["origin"]], planted_images[planted["copy"]]], axis=1)
    false = pick_different(n, drawn)
    methods = search_both(planted_images, planted, targets[chosen])
    everything = {"planted": true, "false": planted_images[false], **({} if judged is None else {"judged": judged})}
    for name, score in {"registration": register, "ECC": ecc, "ECC band": ecc_band}.items():
        begin = time.process_time()
        scores = {part: score_both(pairs, score) for part, pairs in everything.items()}
        cost = 1000 * (time.process_time() - begin) / sum(len(pairs) for pairs in everything.values())
        limit = float(np.sort(scores["false"])[-1 - int(RARE * drawn)])
        methods[name] = {"equal": told(scores, kinds, limit, pairs=drawn) | {"milliseconds": round(cost, 2)}}
    for name, function in HASHES.items():
        methods[name] = judge_hash(function, everything, kinds, originals=planted_images[:n])
    return {"originals": n, "each": each, "pairs": n * (n - 1) // 2, "random_pairs": drawn, "methods": methods}


def search_both(images: np.ndarray, planted: pd.DataFrame, targets: np.ndarray) -> dict[str, Any]:
    """Return what the search finds at the dataset's own limit, narrow and wide."""
    space, contents = fit_codes(images), np.arange(len(images))
    limit = choose_limit(measure_reference(images, space, targets=np.concatenate([targets, targets[planted["origin"]]])))
    found = {}
    for name, wide in (("search", False), ("wide search", True)):
        judged = judge_found(search_pairs(images, space, limit=limit, wide=wide), planted, contents)
        recall = {kind: bounded(of["found"], of["planted"]) for kind, of in judged["per_kind"].items()}
        recall["all"] = bounded(judged["found"], judged["planted"])
        found[name] = {"usual": {"threshold": limit, "false_pairs": judged["false_pairs"], "recall": recall}}
    return found


def score_both(pairs: np.ndarray, score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the higher score of both orientations, (P,), of pairs (P, 2, 48, 48)."""
    first, second = pairs[:, 0], pairs[:, 1]
    return np.maximum(score(first, second), score(np.ascontiguousarray(first[:, :, ::-1]), second))


def register(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation after this package's registration."""
    parts = range(0, len(first), 512)
    return np.concatenate([compare_pairs(a := first[k : k + 512], second[k : k + 512], shifts=np.zeros((len(a), 2), np.float32)) for k in parts])


def ecc(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation after cv2.findTransformECC; 0 where it fails, or where its warp is none of a near-duplicate (`plausible`)."""
    scores = np.zeros(len(first))
    for number, (template, moved) in enumerate(zip(first, second, strict=True)):
        try:
            score, warp = cv2.findTransformECC(template, moved, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, STOP, None, 5)
        except cv2.error:
            continue
        scores[number] = score if plausible(warp) else 0.0
    return scores


def plausible(warp: np.ndarray) -> bool:
    """Return whether an affine warp (2, 3) changes size by at most a quarter and moves the centre by at most 6 pixels of 48."""
    sizes = np.linalg.svd(warp[:, :2], compute_uv=False)
    shift = warp @ np.array([23.5, 23.5, 1.0]) - 23.5
    return bool(sizes.max() <= 1.25 and sizes.min() >= 0.8 and np.abs(shift).max() <= 6)


def ecc_band(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return `ecc` on differences of Gaussian blurs of 1 and 3 pixels."""
    return ecc(band(first), band(second))


def band(faces: np.ndarray) -> np.ndarray:
    """Return differences of Gaussian blurs, float32 (N, 48, 48)."""
    return np.stack([cv2.GaussianBlur(face, (0, 0), 1) - cv2.GaussianBlur(face, (0, 0), 3) for face in faces.astype(np.float32)])


def judge_hash(function: Callable, everything: dict[str, np.ndarray], kinds: np.ndarray, *, originals: np.ndarray) -> dict[str, Any]:
    """Return recall of a hash at its usual threshold and at the rarer false-pair rate, over all pairs of the originals."""
    scores = {}
    for part in everything.keys() - {"false"}:
        pairs = everything[part]
        first, second, mirrored = (bits(function, faces) for faces in (pairs[:, 0], pairs[:, 1], pairs[:, 0, :, ::-1]))
        scores[part] = -np.minimum((first != second).sum(axis=1), (mirrored != second).sum(axis=1)).astype(float)
    own, mirrored = bits(function, originals), bits(function, originals[:, :, ::-1])
    between = np.triu_indices(len(originals), 1)
    scores["false"] = -np.minimum(*(((own.shape[1] - (2.0 * way - 1) @ (2.0 * own.T - 1)) / 2)[between] for way in (own, mirrored)))
    least = float(np.sort(scores["false"])[-1 - int(RARER * len(scores["false"]))])
    ways = {"usual": USUAL, "equal": int(-least) - 1}  # bits that two hashes may differ in
    return {way: told(scores, kinds, -most - 0.5, pairs=len(scores["false"])) | {"threshold": most} for way, most in ways.items()}


def bits(function: Callable, faces: np.ndarray) -> np.ndarray:
    """Return the 64 bits of every face, bool (N, 64)."""
    return np.stack([function(Image.fromarray(face)).hash.ravel() for face in np.ascontiguousarray(faces)])


def told(scores: dict[str, np.ndarray], kinds: np.ndarray, limit: float, *, pairs: int) -> dict[str, Any]:
    """Return recall per alteration of pairs that score above a limit, and how many of the false ones do."""
    hit = scores["planted"] > limit
    recall = {kind: bounded(int(hit[kinds == kind].sum()), int((kinds == kind).sum())) for kind in ALTERED}
    recall["all"] = bounded(int(hit.sum()), len(hit))
    if "judged" in scores:
        recall["judged"] = bounded(int((scores["judged"] > limit).sum()), len(scores["judged"]))
    return {"threshold": round(limit, 4), "false_pairs": int((scores["false"] > limit).sum()), "of_pairs": pairs, "recall": recall}


def bounded(found: int, n: int) -> dict[str, Any]:
    """Return a recall with its n and Wilson's interval."""
    low, high = wilson(found, n)
    return {"n": n, "found": found, "recall": found / n, "ci_low": round(low, 4), "ci_high": round(high, 4)}


def pick_different(n: int, drawn: int) -> np.ndarray:
    """Return random pairs of different numbers below n, (drawn, 2)."""
    rng = np.random.default_rng(1)
    first = rng.integers(n, size=drawn)
    return np.stack([first, (first + rng.integers(1, n, size=drawn)) % n], axis=1)


def read_control(faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Return control faces, each of another subject, and their expressions."""
    from ferlab.control import read

    images, table = read(faces=faces, subjects=faces, size=48, seed=0)
    return images, table["target"].to_numpy()


def read_fer2013(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Return the faces of FER2013 without a duplicate, their expressions, the pairs judged the same photograph, and counts of both searches."""
    from ferlab.data.readers.fer2013 import read

    images, table = read(folder)
    rows = np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])
    faces, space, counts = images[rows], fit_codes(images[rows]), {}
    for name, wide in (("search", False), ("wide search", True)):
        found = search_pairs(faces, space, limit=UNALIKE, wide=wide)
        counts[name] = count_pairs(found, table["usage"].to_numpy(str)[rows])
    lone = np.setdiff1d(np.arange(len(rows)), np.concatenate([found["first"], found["second"]]))
    same = pd.read_csv(PAIRS).query("verdict == 'same photograph'").drop_duplicates(["first_row", "second_row"])
    return faces[lone], table["target"].to_numpy()[rows[lone]], images[same[["first_row", "second_row"]].to_numpy()], counts


def count_pairs(found: pd.DataFrame, usage: np.ndarray) -> dict[str, int]:
    """Return how many pairs score from 0.90, of them between Training and PublicTest, and from 0.85 to 0.90; each pair counts once."""
    pairs = found.groupby(["first", "second"], as_index=False)["score"].max()
    accepted = pairs[pairs["score"] >= LEAST]
    crossing = usage[accepted["first"]] != usage[accepted["second"]]
    return {"pairs": len(accepted), "crossing": int(crossing.sum()), "below": len(pairs) - len(accepted)}


def show(name: str, result: dict[str, Any]) -> None:
    """Print one dataset's table."""
    columns = [*ALTERED, "all", "judged"]
    print(f"\n{name}: {result['originals']:,} originals, {result['pairs']:,} pairs of them")
    print(f"{'':22s}" + "".join(f"{column:>11s}" for column in columns) + "  false pairs")
    for method, ways in result["methods"].items():
        for way, of in ways.items():
            shares = [f"{100 * of['recall'][c]['recall']:11.1f}" if c in of["recall"] else f"{'':11s}" for c in columns]
            print(f"{method + ', ' + way:22s}" + "".join(shares) + f"  {of['false_pairs']} (limit {of['threshold']:g})", flush=True)


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--random", type=int, default=20_000)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    results = {}
    images, targets = read_control(arguments.each * len(ALTERED))
    results["control"] = measure(images, targets, each=arguments.each, drawn=arguments.random)
    show("control faces", results["control"])
    if arguments.folder:
        images, targets, judged, counts = read_fer2013(arguments.folder)
        results["fer2013"] = measure(images, targets, each=arguments.each, drawn=arguments.random, judged=judged) | {"found": counts}
        show("FER2013", results["fer2013"])
    if arguments.write:
        arguments.write.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
