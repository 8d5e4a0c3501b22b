"""Draw the pairs of FER2013 that were judged by eye, and their contact sheets.

    python tests/bench/draw_duplicate_pairs.py FOLDER SHEETS

FOLDER holds fer2013.csv (Training and PublicTest); SHEETS is made, and holds photographs: keep it out of the repository. The sheets show the pairs
of all samples in one random order, without sample and score; `pairs.csv` in SHEETS lists them in this order. The verdicts are committed as
reports/published/fer2013_pairs_by_eye.csv. Samples, 100 pairs each, drawn from the pairs in the order of their rows:

    accepted   score from 0.90, found by the search (drawn from both orientations)
    crossing   the same, one face in Training and one in PublicTest
    below      score from 0.85 to 0.90, found by the wide search (codes three times as far apart)
    wider      score from 0.90, found by the wide search alone
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from ferlab.data.duplicates.codes import fit_codes  # noqa: E402
from ferlab.data.duplicates.search import search_pairs  # noqa: E402
from ferlab.data.readers.fer2013 import read  # noqa: E402

LEAST, BELOW, EACH = 0.90, 0.85, 100
SEEDS = {"accepted": 2013, "crossing": 2014, "below": 2015, "wider": 2016}
ZOOM, ACROSS, DOWN = 4, 4, 5  # times the pixels of a face; pairs on a sheet
KEY = ["first", "second"]


def draw(images: np.ndarray, usage: np.ndarray) -> pd.DataFrame:
    """Return the pairs of all samples: `first`, `second` (rows), `mirrored`, `score`, `sample`."""
    rows = np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])
    space = fit_codes(images[rows])
    both = {}
    for wide in (False, True):
        found, score = search_pairs(images[rows], space, limit=BELOW, wide=wide)
        columns = {"first": rows[found["first"]], "second": rows[found["second"]], "mirrored": found["mirrored"], "score": score}
        both[wide] = pd.DataFrame(columns)
    accepted = both[False][both[False]["score"] >= LEAST]
    once, wide = count_once(accepted), count_once(both[True])
    known = pd.MultiIndex.from_frame(wide[KEY]).isin(pd.MultiIndex.from_frame(once[KEY]))
    pools = {
        "accepted": accepted[KEY].merge(once, on=KEY),
        "crossing": once[usage[once["first"]] != usage[once["second"]]],
        "below": wide[wide["score"] < LEAST],
        "wider": wide[(wide["score"] >= LEAST) & ~known],
    }
    chosen = {name: pool.iloc[np.random.default_rng(SEEDS[name]).choice(len(pool), EACH, replace=False)] for name, pool in pools.items()}
    return pd.concat([pairs.assign(sample=name) for name, pairs in chosen.items()], ignore_index=True)


def count_once(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return every pair once, in the orientation with the higher score."""
    return pairs.sort_values("score", ascending=False, kind="stable").drop_duplicates(KEY).sort_values(KEY, ignore_index=True)


def draw_sheet(images: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Return one sheet, uint8 (H, W): the faces of each pair side by side below its number, the first mirrored where the pair is."""
    side = 48 * ZOOM
    height, width = side + 24, 2 * side + 20
    page = np.full((DOWN * height, ACROSS * width), 255, np.uint8)
    for place, (number, pair) in enumerate(pairs.iterrows()):
        x, y = place % ACROSS * width, place // ACROSS * height
        first = images[pair["first"]][:, ::-1] if pair["mirrored"] else images[pair["first"]]
        for column, face in enumerate((first, images[pair["second"]])):
            left = x + column * (side + 4)
            page[y + 22 : y + 22 + side, left : left + side] = cv2.resize(np.ascontiguousarray(face), (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.putText(page, f"{number}{' mirrored' if pair['mirrored'] else ''}", (x + 2, y + 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 0, 1, cv2.LINE_AA)
    return page


def main() -> int:
    """Write the sheets and the list of pairs."""
    folder, sheets = map(Path, sys.argv[1:3])
    images, table = read(folder)
    pairs = draw(images, table["usage"].to_numpy(str))
    pairs = pairs.iloc[np.random.default_rng(7).permutation(len(pairs))].reset_index(drop=True)
    sheets.mkdir(parents=True, exist_ok=True)
    pairs.to_csv(sheets / "pairs.csv")
    for start in range(0, len(pairs), ACROSS * DOWN):
        cv2.imwrite(str(sheets / f"sheet_{start:03d}.png"), draw_sheet(images, pairs.iloc[start : start + ACROSS * DOWN]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
