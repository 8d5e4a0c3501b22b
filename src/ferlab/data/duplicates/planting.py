"""Copies planted on purpose, the way pictures come back on the web, and how many of them an audit found.

Owns what a copy is: moved by up to 2 pixels of 48, turned by up to 5 degrees, brighter or of other contrast, compressed again as JPEG of
quality 60, mirrored, or byte for byte. `self_test` hides such copies among faces whose truth is known and counts what the search finds.

References:
    Barz and Denzler (2020), Do We Train on Test Data? Purging CIFAR of Near-Duplicates, arXiv 1902.00423.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

KINDS: tuple[str, ...] = ("exact", "mirrored", "shifted", "rotated", "brightness", "jpeg", "combined")
SHIFT, DEGREES, GAIN, BIAS, QUALITY = 2 / 48, 5.0, 0.25, 25.0, 60  # largest shift as a share of the side; grey levels; JPEG quality
MOVED = {"shifted": (True, False), "rotated": (False, True), "combined": (True, True)}


def alter(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return a copy of a face as `kind` says.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        kind: One of `KINDS`; "combined" moves, turns, relights and compresses.
        rng: Draws how far, how much.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"Expected a kind of copy in {', '.join(KINDS)}, got {kind!r}")
    if kind == "mirrored":
        return np.ascontiguousarray(image[:, ::-1])
    if kind in MOVED:
        shifted, rotated = MOVED[kind]
        reach = SHIFT * image.shape[0]
        dx, dy = rng.uniform(-reach, reach, 2) if shifted else (0.0, 0.0)
        image = move(image, degrees=rng.uniform(-DEGREES, DEGREES) if rotated else 0.0, dx=dx, dy=dy)
    if kind in ("brightness", "combined"):
        gain, bias = rng.uniform(1 - GAIN, 1 + GAIN), rng.uniform(-BIAS, BIAS)
        image = np.clip(np.rint(image * gain + bias), 0, 255).astype(np.uint8)
    return compress(image) if kind in ("jpeg", "combined") else image.copy()


def move(image: np.ndarray, *, degrees: float = 0.0, dx: float = 0.0, dy: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Turn a face about its centre and shift it, in pixels; the border is repeated outwards."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += dx, dy
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def compress(image: np.ndarray, *, quality: int = QUALITY) -> np.ndarray:
    """Return what is left of a face after JPEG compression."""
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)


def plant(images: np.ndarray, *, kinds: Sequence[str] = KINDS, each: int, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Append altered copies of some faces to them.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        kinds: Of copies, each a key of `KINDS`.
        each: Copies of every kind; each is of another face.
        seed: Of the choice and of what is done.

    Returns:
        The faces with their copies behind them, and a table with one row per copy: `origin` and `copy` (rows of the faces), `kind`.

    Raises:
        ValueError: If there are fewer faces than copies.
    """
    if each * len(kinds) > len(images):
        raise ValueError(f"Expected at least {each * len(kinds)} faces for {each} copies of {len(kinds)} kinds, got {len(images)}")
    rng = np.random.default_rng(seed)
    origins = rng.permutation(len(images))[: each * len(kinds)]
    named = np.repeat(np.array(kinds, dtype=object), each)
    copies = [alter(images[origin], kind, rng) for origin, kind in zip(origins, named, strict=True)]
    planted = pd.DataFrame({"origin": origins, "copy": len(images) + np.arange(len(origins)), "kind": named})
    return np.concatenate([images, np.stack(copies)]), planted


def judge_found(found: pd.DataFrame, planted: pd.DataFrame, contents: np.ndarray, *, alike: np.ndarray | None = None) -> dict[str, Any]:
    """Count which planted copies were found, and how many of the pairs found are none.

    Args:
        found: Pairs of contents found: `first`, `second`, rows of the faces. Byte-identical faces are found without being listed.
        planted: `origin`, `copy`, `kind`, as `plant` gives it.
        contents: Number of each face's content, (N,).
        alike: A number per face (N,), -1 for none: faces that share it are frames of one sequence, and a pair of them is neither right nor wrong.

    Returns:
        `planted`, `found`, `recall`, `false_pairs`, `precision`, and `per_kind.<kind>.{planted, found, recall}`. A pair is right if both faces
        come from the same original; a ratio of nothing is None.
    """
    origin = np.arange(len(contents))
    origin[planted["copy"]] = planted["origin"]
    root = contents[origin]  # the content a face was copied from, its own if it is no copy
    first, second = found["first"].to_numpy(np.int64), found["second"].to_numpy(np.int64)
    right = (root[first] == root[second]) | (contents[first] == root[second]) | (root[first] == contents[second])
    neither = np.zeros(len(found), bool) if alike is None else ~right & (alike[first] == alike[second]) & (alike[first] >= 0)
    pairs = {tuple(sorted(pair)) for pair in zip(contents[first].tolist(), contents[second].tolist(), strict=True)}
    copies = list(zip(contents[planted["origin"]].tolist(), contents[planted["copy"]].tolist(), strict=True))
    hit = np.array([a == b or tuple(sorted((a, b))) in pairs for a, b in copies], bool)
    kinds = planted["kind"].to_numpy()
    per_kind = {kind: _share(int(hit[kinds == kind].sum()), int((kinds == kind).sum())) for kind in dict.fromkeys(kinds)}
    wrong = int((~right & ~neither).sum())
    correct = int(right.sum()) + sum(a == b for a, b in copies)  # byte-identical copies are right pairs, though nobody lists them
    return _share(int(hit.sum()), len(hit)) | {
        "false_pairs": wrong,
        "precision": correct / (correct + wrong) if correct + wrong else None,
        "per_kind": per_kind,
    }


def planted_in(faces: pd.DataFrame) -> pd.DataFrame | None:
    """Return the copies a face table says were planted in it (columns `duplicate_of`, and `duplicate_kind` where it has one), as `plant` does; else None."""
    if "duplicate_of" not in faces:
        return None
    rows = pd.Series(np.arange(len(faces)), index=faces["face_id"].to_numpy())
    copies = np.flatnonzero((faces["duplicate_of"].fillna("") != "").to_numpy())
    origins = rows.reindex(faces["duplicate_of"].to_numpy()[copies])
    known = origins.notna().to_numpy()  # an original may have been left out by the split's rules
    kinds = faces["duplicate_kind"].to_numpy()[copies] if "duplicate_kind" in faces else np.full(len(copies), "exact", dtype=object)
    return pd.DataFrame({"origin": origins.to_numpy()[known].astype(np.int64), "copy": copies[known], "kind": kinds[known]})


def _share(found: int, planted: int) -> dict[str, int | float | None]:
    return {"planted": planted, "found": found, "recall": found / planted if planted else None}
