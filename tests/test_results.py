from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ferlab import paths, results, staging
from ferlab.paths import output
from ferlab.results import digest, hash_path, import_closure, obtain, record_of, why_stale

ROOT = Path(__file__).parents[1]


def names(files: list[Path]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_closure_holds_what_is_imported_through_others(tmp_path):
    source = tmp_path / "cell.py"
    source.write_text("from ferlab.results import digest\n")
    found = names([path for path in import_closure(source) if path != source])
    assert found == {f"src/ferlab/{name}.py" for name in ("__init__", "paths", "results")}


def test_the_registries_are_excluded_and_families_are_taken_in(tmp_path):
    source = tmp_path / "cell.py"
    source.write_text("from ferlab.models import registry\n")
    found = names([path for path in import_closure(source, families=("models.cs230",)) if path != source])
    assert "src/ferlab/models/cs230.py" in found
    assert "src/ferlab/models/resemotenet.py" not in found
    assert "src/ferlab/models/registry.py" not in found


def test_a_folder_hashes_by_names_and_bytes_wherever_it_lies(tmp_path):
    for clone in ("a", "b"):
        (tmp_path / clone / "store").mkdir(parents=True)
        (tmp_path / clone / "store" / "images.npy").write_bytes(b"pixels")
    first, second = (hash_path(tmp_path / clone / "store") for clone in ("a", "b"))
    assert first == second
    (tmp_path / "b" / "store" / "images.npy").rename(tmp_path / "b" / "store" / "faces.npy")
    assert hash_path(tmp_path / "b" / "store") != first


def test_a_folder_hashes_what_lies_behind_its_links(tmp_path):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "happy").symlink_to("../elsewhere")
    (tmp_path / "raw" / "around").symlink_to(".")
    (tmp_path / "elsewhere" / "deep" / os.fsdecode(b"\xff.png")).write_bytes(b"1")
    first = hash_path(tmp_path / "raw")
    (tmp_path / "elsewhere" / "deep" / os.fsdecode(b"\xff.png")).write_bytes(b"2")
    assert hash_path(tmp_path / "raw") != first


def test_links_that_lead_to_each_other_end_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MOST_LINKS", 50)
    for one in "abcdef":
        (tmp_path / one).mkdir()
        for other in "abcdef".replace(one, ""):
            (tmp_path / one / other).symlink_to(f"../{other}")
    with pytest.raises(paths.InputError, match="more than 50 links to folders"):
        hash_path(tmp_path)


def test_a_digest_tells_the_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("a")) == 12


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone with one input and a pinned environment, outside the pipeline's runner: results are computed into its own outputs."""
    for module in (paths, results):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv(paths.STAGING, str(tmp_path / "staging"))
    monkeypatch.setitem(paths.OUTPUTS, "train", {"weights": "models/{name}/weights", "record": "models/{name}/record.json"})
    (tmp_path / "src" / "ferlab").mkdir(parents=True)
    for name, text in {"a": "from ferlab import b\n", "b": "", "reporting": ""}.items():
        (tmp_path / "src" / "ferlab" / f"{name}.py").write_text(text)
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\n")
    (tmp_path / "store").write_text("faces")
    return tmp_path


def ask(clone: Path, *, params: int = 1) -> str:
    """Ask for the result of a run and move it into place, as the runner does; return "computed" or "taken"."""
    calls = []

    def compute(weights: Path, number: int) -> None:
        calls.append(number)
        weights.write_text(f"weights {number} of {(clone / 'store').read_text()}")

    compute.__module__ = "ferlab.a"
    record = record_of(compute, params={"epochs": params}, inputs={"store": clone / "store"})
    places = obtain("train", "run", compute, what=("weights",), record=record, number=params)
    (clone / "models" / "run").mkdir(parents=True, exist_ok=True)
    for each in (*places.values(), output("train", "record", "run")):
        os.replace(each, clone / "models" / "run" / each.name)
    return "computed" if calls else "taken"


def test_a_result_is_computed_once_and_then_taken_byte_for_byte(clone):
    assert ask(clone) == "computed"
    before = (clone / "models/run/weights").read_bytes(), (clone / "models/run/record.json").read_bytes()
    assert ask(clone) == "taken"
    assert ((clone / "models/run/weights").read_bytes(), (clone / "models/run/record.json").read_bytes()) == before


@pytest.mark.parametrize(
    ("file", "text"),
    [("src/ferlab/b.py", "x = 1\n"), ("requirements.lock", "numpy==2.4.7\n"), ("store", "other faces"), ("models/run/weights", "cut")],
)
def test_a_result_is_computed_anew_where_code_pins_data_or_its_own_bytes_changed(clone, file, text):
    ask(clone)
    (clone / file).write_text(text)
    assert ask(clone) == "computed"
    assert ask(clone) == "taken"


def test_a_result_is_computed_anew_for_other_params(clone):
    ask(clone)
    assert (ask(clone, params=2), ask(clone, params=2)) == ("computed", "taken")


def test_telling_is_no_part_of_a_record(clone):
    (clone / "src/ferlab/reporting.py").unlink()
    (clone / "src/ferlab/reporting").mkdir()
    (clone / "src/ferlab/reporting/__init__.py").write_text("")
    (clone / "src/ferlab/a.py").write_text("from ferlab import b, reporting\n")
    ask(clone)
    (clone / "src/ferlab/reporting/__init__.py").write_text("colour = 'red'\n")
    assert ask(clone) == "taken"


def test_a_result_says_why_it_is_stale(clone):
    def compute() -> None: ...

    compute.__module__ = "ferlab.a"
    record = record_of(compute, params={}, inputs={"store": clone / "store"})
    assert why_stale("train", "run", what=("weights",), record=record) == "missing"
    ask(clone)
    kept = json.loads((clone / "models/run/record.json").read_text())
    assert why_stale("train", "run", what=("weights",), record={**kept, "code": "x", "environment": "y"}) == "code, environment"
    (clone / "models/run/weights").write_text("cut")
    assert why_stale("train", "run", what=("weights",), record=kept) == "damaged"
    (clone / "models/run/record.json").write_text("[]")
    assert why_stale("train", "run", what=("weights",), record=kept) == "missing"


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(clone, monkeypatch):
    file = clone / "raw.csv"
    file.write_bytes(b"0" * 200_000)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    first = hash_path(file)
    monkeypatch.setattr(results.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert hash_path(file) == first
    monkeypatch.undo()
    monkeypatch.setattr(results, "ROOT", clone)
    file.write_bytes(b"1" * 200_000)
    assert hash_path(file) != first


def test_a_file_that_has_just_changed_is_read_each_time(clone):
    file = clone / "raw.csv"
    file.write_bytes(b"0" * 200_000)
    hash_path(file)
    assert not (clone / results.HASHES).exists()


def test_exploring_reads_a_result_where_it_lies_and_never_writes_into_it(clone, monkeypatch):
    ask(clone)
    weights = clone / "models/run/weights"
    monkeypatch.delenv(paths.STAGING)

    def compute(weights: Path) -> None:
        weights.write_text("tried out")

    compute.__module__ = "ferlab.a"
    for params, expected in (({"epochs": 1}, weights), ({"epochs": 2}, clone / "data/scratch/models/run/weights")):
        record = record_of(compute, params=params, inputs={"store": clone / "store"})
        assert obtain("train", "run", compute, what=("weights",), record=record) == {"weights": expected}
    assert weights.read_text() == "weights 1 of faces"
    assert (clone / "data/scratch/models/run/weights").read_text() == "tried out"


def test_a_taken_result_moves_into_its_own_place_and_leaves_no_second_name(tmp_path):
    place, taken = tmp_path / "models" / "weights", tmp_path / "staging" / "weights"
    for path in (place, taken):
        path.parent.mkdir()
    place.write_text("weights")
    os.link(place, taken)
    staging.move_into_place({taken: place})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["weights"]
    assert place.read_text() == "weights"
