from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ferlab import expected
from ferlab.paths import InputError

STUDY: dict[str, Any] = {
    "study": "quick",
    "settings": ["default"],
    "results": {
        "audit/drawn": {"params": "p1", "numbers": {"cross_split.train.test.exact": {"value": 3, "tolerance": 0}}},
        "evaluate/net": {
            "params": "p2",
            "numbers": {"test.accuracy": {"value": 0.7, "tolerance": 0.02}, "val.nll": {"value": 1.5, "tolerance": 0.1}},
        },
    },
}


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """Metrics that agree with the study to the digit."""
    write(tmp_path, "audit/drawn", {"cross_split": {"train": {"test": {"exact": 3}}}}, params="p1")
    write(tmp_path, "evaluate/net", {"test": {"accuracy": 0.7}, "val": {"nll": 1.5}}, params="p2")
    return tmp_path


def write(folder: Path, result: str, values: dict[str, Any], *, params: str) -> None:
    file = folder / f"{result}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**values, "provenance": {"params": params}}))


def test_all_within_tolerance(metrics: Path) -> None:
    write(metrics, "evaluate/net", {"test": {"accuracy": 0.72}, "val": {"nll": 1.4}}, params="p2")
    assert expected.verdict(STUDY, metrics) == "Reproduced: 3 of 3 numbers of study quick within tolerance."


def test_what_deviates_is_named_with_what_was_expected(metrics: Path) -> None:
    write(metrics, "evaluate/net", {"test": {"accuracy": 0.7201}, "val": {}}, params="p2")
    assert expected.verdict(STUDY, metrics) == (
        "Not reproduced: 2 of 3 numbers of study quick outside tolerance: evaluate/net test.accuracy 0.7201 (expected 0.7 ± 0.02);"
        " evaluate/net val.nll missing (expected 1.5 ± 0.1)."
    )


def test_a_count_has_no_tolerance_and_a_missing_file_is_no_agreement(metrics: Path) -> None:
    write(metrics, "audit/drawn", {"cross_split": {"train": {"test": {"exact": 4}}}}, params="p1")
    (metrics / "evaluate" / "net.json").unlink()
    assert expected.verdict(STUDY, metrics).startswith("Not reproduced: 3 of 3 numbers")


def test_results_of_other_params_are_not_compared(metrics: Path) -> None:
    write(metrics, "evaluate/net", {"test": {"accuracy": 0.1}}, params="changed")
    assert expected.verdict(STUDY, metrics) == (
        "Reproduced: 1 of 1 numbers of study quick within tolerance; not compared, as params.yaml differs from the study's: evaluate/net."
    )


def test_tolerance_is_twice_the_furthest_deviation(metrics: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other, "audit/drawn", {"cross_split": {"train": {"test": {"exact": 3}}}}, params="p1")
    write(other, "evaluate/net", {"test": {"accuracy": 0.75}, "val": {"nll": 1.5}}, params="p2")
    found = expected.measure(STUDY, {"default": metrics, "avx2": other})
    assert found["settings"] == ["default", "avx2"]
    accuracy = found["results"]["evaluate/net"]["numbers"]["test.accuracy"]
    assert accuracy == {"value": 0.7, "tolerance": pytest.approx(0.1), "seen": [0.7, 0.75]}
    assert found["results"]["evaluate/net"]["numbers"]["val.nll"]["tolerance"] == 0.02  # at least that, but for counts
    assert found["results"]["audit/drawn"]["numbers"]["cross_split.train.test.exact"]["tolerance"] == 0
    assert expected.verdict(found, other).startswith("Reproduced: 3 of 3")


def test_runs_of_a_stage_share_the_larger_tolerance(tmp_path: Path) -> None:
    study = {"study": "s", "results": {f"evaluate/{run}": {"numbers": {"test.accuracy": {}}} for run in "ab"}}
    for setting, of_a, of_b in (("default", 0.7, 0.5), ("avx2", 0.71, 0.53)):
        write(tmp_path / setting, "evaluate/a", {"test": {"accuracy": of_a}}, params="p")
        write(tmp_path / setting, "evaluate/b", {"test": {"accuracy": of_b}}, params="p")
    found = expected.measure(study, {setting: tmp_path / setting for setting in ("default", "avx2")})
    assert [of["numbers"]["test.accuracy"]["tolerance"] for of in found["results"].values()] == [pytest.approx(0.06)] * 2


def test_renewing_takes_values_and_params_and_keeps_tolerances(metrics: Path) -> None:
    write(metrics, "evaluate/net", {"test": {"accuracy": 0.8}, "val": {"nll": 1.2}}, params="p3")
    found = expected.measure(STUDY, {"here": metrics}, renew=True)
    assert found["settings"] == ["default"]
    assert found["results"]["evaluate/net"] == {
        "params": "p3",
        "numbers": {"test.accuracy": {"value": 0.8, "tolerance": 0.02}, "val.nll": {"value": 1.2, "tolerance": 0.1}},
    }


def test_a_number_that_no_metrics_hold_is_told(metrics: Path) -> None:
    (metrics / "audit" / "drawn.json").write_text("{}")
    with pytest.raises(InputError, match=r"audit/drawn cross_split.train.test.exact: not in the metrics of here; run the study"):
        expected.measure(STUDY, {"here": metrics})


def test_a_row_of_a_list_is_found_by_what_stands_in_it(metrics: Path) -> None:
    table = [("grad_cam", "all", 1.5), ("occlusion", "sad", 1), ("occlusion", "all", 2)]
    rows = [{"method": method, "class": named, "density_ratio": density_ratio} for method, named, density_ratio in table]
    write(metrics, "explain/net", {"rows": rows}, params="p")
    for path, value in (("method=occlusion,class=all", 2), ("method=occlusion", 1)):
        numbers = {f"rows.{path}.density_ratio": {"value": value, "tolerance": 0}}
        study = {"study": "s", "results": {"explain/net": {"params": "p", "numbers": numbers}}}
        assert expected.verdict(study, metrics).startswith("Reproduced: 1 of 1")
    for path in ("method=other.density_ratio", "0.density_ratio", "method=occlusion"):
        study = {"study": "s", "results": {"explain/net": {"params": "p", "numbers": {f"rows.{path}": {"value": 1, "tolerance": 9}}}}}
        assert "missing" in expected.verdict(study, metrics)


@pytest.mark.parametrize("study", sorted(expected.FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_committed_expectations_are_whole(study: Path) -> None:
    content = json.loads(study.read_text())
    assert content["study"] == study.stem
    assert len(content["settings"]) >= 4
    for result, of in content["results"].items():
        assert (expected.paths.ROOT / "notebooks" / f"{expected.paths.NOTEBOOKS[result.split('/')[0]]}.ipynb").is_file()
        assert of["params"]
        for path, number in of["numbers"].items():
            assert number["tolerance"] >= 0, path
            assert len(number["seen"]) == len(content["settings"]), path
