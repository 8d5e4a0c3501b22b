"""The numbers of reports/published/fer2013_duplicates.md on precision and recall come again from the verdicts and the benchmark's record."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlab.data.duplicates.codes import SHIFTS
from ferlab.data.duplicates.registration import compare_pairs
from ferlab.evaluation.proportions import wilson

ROOT = Path(__file__).parents[1]
PUBLISHED, BENCH = ROOT / "reports" / "published", ROOT / "tests" / "bench"
SHARED = Path(os.environ.get("FERLAB_SHARED", ROOT.parent / "shared" / "data"))
VERDICTS = ("same photograph", "another photograph", "different", "unsure")
SAMPLES = {  # of the page's table: the sample, what it holds
    "accepted": "accepted: score from 0.90",
    "crossing": "crossing: the same, one face in Training and one in PublicTest",
    "below": "below: score from 0.85 to 0.90, wide search",
    "wider": "wider: score from 0.90, found by the wide search alone",
}
KINDS = ("mirrored", "shifted", "rotated", "brightness", "jpeg", "combined", "all")
NUMBERS = r"(\d+) of (\d+) [^.|]*?(\d+\.\d) % \[(\d+\.\d), (\d+\.\d)\]"


def pairs() -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / "fer2013_pairs_by_eye.csv")


def recall() -> dict:
    return json.loads((PUBLISHED / "duplicate_search_recall.json").read_text())


def page() -> str:
    return " ".join((PUBLISHED / "fer2013_duplicates.md").read_text().split())


def bounded(found: int, n: int) -> str:
    return f"{100 * found / n:.1f} % [{', '.join(f'{100 * bound:.1f}' for bound in wilson(found, n))}]"


def same_of(part: pd.DataFrame) -> str:
    same = int((part["verdict"] == VERDICTS[0]).sum())
    return f"{same} of {len(part)} show the same photograph: {bounded(same, len(part))}"


def verdict_rows() -> list[str]:
    found = recall()["fer2013"]["found"]
    search, wide = found["search"], found["wide search"]
    pools = {"accepted": search["pairs"], "crossing": search["crossing"], "below": wide["below"], "wider": wide["pairs"] - search["pairs"]}
    rows = []
    for sample, part in pairs().groupby("sample", sort=False):
        counts = [int((part["verdict"] == verdict).sum()) for verdict in VERDICTS]
        rows.append(f"| {SAMPLES[sample]} | {pools[sample]:,} | {' | '.join(map(str, counts))} | {bounded(counts[0], len(part))} |")
    return rows


def recall_rows(dataset: str) -> list[str]:
    rows = []
    for method, ways in recall()[dataset]["methods"].items():
        for way, of in ways.items():
            cells = [bounded(of["recall"][kind]["found"], of["recall"][kind]["n"]).replace(" %", "") for kind in KINDS]
            judged = [bounded(of["recall"]["judged"]["found"], of["recall"]["judged"]["n"]).replace(" %", "")] if "judged" in of["recall"] else ["-"]
            false = f"{of['false_pairs']:,} of {of.get('of_pairs', recall()[dataset]['pairs']):,}"
            rows.append(f"| {method}, {threshold(method, way, of['threshold'])} | {' | '.join(cells + judged * (dataset == 'fer2013'))} | {false} |")
    return rows


def threshold(method: str, way: str, limit: float) -> str:
    if "hash" not in method:
        return f"score from {limit:.2f}"
    return f"{way}: {f'up to {limit} bits' if limit >= 0 else 'no threshold'}"


def prose() -> list[str]:
    judged = pairs()
    below, found = judged[judged["sample"] == "below"], recall()["fer2013"]["found"]
    upper, mirrored = below[below["score"] >= 0.87], below[below["mirrored"]]
    wide, narrow = (found[name]["pairs"] for name in ("wide search", "search"))
    cost = {name: recall()["fer2013"]["methods"][name]["equal"]["milliseconds"] for name in ("ECC", "registration")}
    return [
        *(same_of(judged[judged["sample"] == sample]) for sample in SAMPLES),
        f"from 0.87 to 0.90 {same_of(upper)}",
        f"none of the {len(mirrored)} mirrored pairs" if not (mirrored["verdict"] == VERDICTS[0]).any() else "mirrored",
        f"{wide - narrow:,} pairs more ({wide:,} for {narrow:,})",
        f"{found['wide search']['crossing']:,} for {found['search']['crossing']}",
        f"{cost['ECC'] / cost['registration']:.0f} times the CPU time",
    ]


def test_the_verdicts_are_one_per_pair_and_sample_of_a_hundred():
    judged = pairs()
    assert list(judged) == ["first_row", "second_row", "sample", "score", "mirrored", "verdict"]
    assert judged["sample"].value_counts().to_dict() == dict.fromkeys(SAMPLES, 100)
    assert set(judged["verdict"]) <= set(VERDICTS)
    assert (judged["first_row"] < judged["second_row"]).all()
    assert judged["second_row"].max() < 32_298  # PrivateTest was not read
    assert not judged.duplicated(["first_row", "second_row", "sample"]).any()
    assert judged.loc[judged["sample"] == "below", "score"].between(0.85, 0.9, inclusive="left").all()
    assert (judged.loc[judged["sample"] != "below", "score"] >= 0.9).all()
    crossing = judged[judged["sample"] == "crossing"]
    assert ((crossing["first_row"] < 28_709) & (crossing["second_row"] >= 28_709)).all()


def test_the_page_states_the_verdicts_and_the_recall_that_the_files_hold():
    told = [*verdict_rows(), *recall_rows("control"), *recall_rows("fer2013"), *prose()]
    assert [row for row in told if row not in page()] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_other_pages_repeat_a_samples_precision_as_it_is(path):
    known = {re.search(NUMBERS, same_of(part)).groups() for _, part in pairs().groupby("sample")}
    text = " ".join(path.read_text().split())
    cited = re.findall(r"(\d+) of 100 near-duplicates[^.|]*?\[(\d+\.\d), (\d+\.\d)\]", text)
    assert {(count, low, high) for count, low, high in cited} <= {(count, low, high) for count, _, _, low, high in known}


@pytest.mark.parametrize("dataset", ["control", "fer2013"])
def test_the_benchmarks_record_is_consistent(dataset):
    for ways in recall()[dataset]["methods"].values():
        for of in ways.values():
            parts = [of["recall"][kind] for kind in KINDS[:-1]]
            assert sum(part["found"] for part in parts) == of["recall"]["all"]["found"]
            for part in of["recall"].values():
                assert part["recall"] == part["found"] / part["n"]
                assert [part["ci_low"], part["ci_high"]] == pytest.approx(wilson(part["found"], part["n"]), abs=1e-4)
    same = pairs().query("verdict == 'same photograph'").drop_duplicates(["first_row", "second_row"])
    assert dataset == "control" or recall()[dataset]["methods"]["phash"]["usual"]["recall"]["judged"]["n"] == len(same)


@pytest.mark.slow
def test_the_benchmark_finds_more_than_the_hashes_on_control_faces(tmp_path):
    command = [sys.executable, BENCH / "bench_duplicate_recall.py", "--each", "10", "--random", "200", "--write", tmp_path / "recall.json"]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((tmp_path / "recall.json").read_text())["control"]["methods"]
    assert found["search"]["usual"]["recall"]["all"]["found"] >= 58
    assert found["search"]["usual"]["false_pairs"] == 0
    assert all(found[name]["equal"]["recall"]["all"]["found"] < 58 for name in ("phash", "dhash", "ahash", "whash"))


def test_the_script_that_draws_the_pairs_counts_each_once():
    spec = importlib.util.spec_from_file_location("draw_duplicate_pairs", BENCH / "draw_duplicate_pairs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    both = pd.DataFrame({"first": [3, 3, 1], "second": [4, 4, 2], "mirrored": [False, True, False], "score": [0.91, 0.95, 0.9]})
    assert script.count_once(both).to_dict("list") == {"first": [1, 3], "second": [2, 4], "mirrored": [False, True], "score": [0.9, 0.95]}
    sheet = script.draw_sheet(np.zeros((5, 48, 48), np.uint8), script.count_once(both))
    assert (sheet == 0).sum() >= 4 * 192 * 192  # four faces of black, and the numbers


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "fer2013.parquet").is_file(), reason="needs FER2013's rows in FERLAB_SHARED or ../shared/data")
def test_every_score_on_file_comes_again_from_the_faces():
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    encoded = pq.read_table(SHARED / "fer2013.parquet")["image"]
    judged = pairs()
    pictures = {row: np.array(Image.open(io.BytesIO(encoded[row].as_py())).convert("L")) for row in {*judged["first_row"], *judged["second_row"]}}
    faces = [np.stack([pictures[row] for row in judged[of]]) for of in ("first_row", "second_row")]
    mirrored = judged["mirrored"].to_numpy()
    faces[0][mirrored] = faces[0][mirrored][:, :, ::-1]
    scores = np.stack([compare_pairs(*faces, shifts=np.tile(np.float32(shift), (len(judged), 1))) for shift in SHIFTS])
    assert np.abs(scores - judged["score"].to_numpy()).min(axis=0).max() < 1e-3  # the search begins at one of these shifts
