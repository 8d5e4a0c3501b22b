from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ferlab import hashes, paths, results, staging
from ferlab.hashes import digest, hash_path, import_closure
from ferlab.params import StageParams, stage_params
from ferlab.results import Stage, obtain, record_of, why_stale

ROOT = Path(__file__).parents[1]


def names(files: list[Path]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_closure_holds_what_is_imported_through_others(tmp_path):
    source = tmp_path / "cell.py"
    source.write_text("from ferlab.hashes import digest\n")
    found = names([path for path in import_closure(source) if path != source])
    assert found == {f"src/ferlab/{name}.py" for name in ("__init__", "hashes", "paths")}


def test_the_registries_are_excluded_and_families_are_taken_in(tmp_path):
    source = tmp_path / "cell.py"
    source.write_text("from ferlab.models import registry\n")
    found = names([path for path in import_closure(source, modules=("models.cs230",)) if path != source])
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


def test_prose_comments_and_docstrings_are_no_code(tmp_path):
    source = tmp_path / "cell.py"

    def found(text: str) -> str:
        source.write_text(text)
        return import_closure(source)[source]

    code = found("def f(x):\n    return x + 1\n")
    assert found('"""A module."""\n\n\ndef f(x):\n    """Add one."""\n    return x + 1  # one more\n') == code
    assert found("def f(x):\n    return x + 2\n") != code


def test_hashes_are_those_of_dvc(tmp_path):
    """Read off the dvc.lock that DVC 3 wrote for them."""
    (tmp_path / "store" / "a").mkdir(parents=True)
    (tmp_path / "store" / "a" / "b.txt").write_text("faces")
    assert hash_path(tmp_path / "store" / "a" / "b.txt") == "dc7871988dc34c43a1660a1dfc23d990"
    assert hash_path(tmp_path / "store") == "b814c0fcb157b678051419aa41633c9d.dir"


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone with one stage, whose result `ferlab.a` computes from a store; inside the pipeline's runner."""
    for module in (paths, results, hashes):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv(paths.STAGING, str(tmp_path / "staging"))
    monkeypatch.setitem(paths.OUTPUTS, "train", {"weights": "models/{name}/weights", "record": "models/{name}/record.json"})
    monkeypatch.setitem(results.STAGES, "train", Stage((("prepare", "store"),), modules=("a",), files=("weights",), params={"run": ("seed",)}))
    (tmp_path / "src" / "ferlab" / "reporting").mkdir(parents=True)
    for name, text in {"a": "from ferlab import b, reporting\n", "b": "", "reporting/__init__": ""}.items():
        (tmp_path / "src" / "ferlab" / f"{name}.py").write_text(text)
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\n")
    (tmp_path / "data" / "prepared").mkdir(parents=True)
    (tmp_path / "data" / "prepared" / "control").write_text("faces")
    return tmp_path


def asked(seed: int = 1, **settings: Any) -> StageParams:
    """What the stage may see of params.yaml, of a run of that seed."""
    train = settings | {"epochs": 1, "batch_size": 2, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
    run = {"family": "mine", "model": "mine", "data": "control", "seed": seed, "group": "mine", "train": train}
    return stage_params("train", "run", {"study": "tiny", "name": "run", "run": run})


def ask(clone: Path, *, seed: int = 1) -> str:
    """Ask for the result and move it into place, as the runner does; return "computed" or "taken"."""
    calls = []

    def compute(weights: Path, number: int) -> None:
        calls.append(number)
        weights.write_text(f"weights {number} of {(clone / 'data' / 'prepared' / 'control').read_text()}")

    made = obtain("train", asked(seed), compute, number=seed)
    (clone / "models" / "run").mkdir(parents=True, exist_ok=True)
    staging.move_into_place({place: clone / "models" / "run" / place.name for place in made.places.values()})
    return "computed" if calls else "taken"


def test_a_result_is_computed_once_and_then_taken_byte_for_byte(clone):
    files = [clone / "models" / "run" / name for name in ("weights", "record.json")]
    assert ask(clone) == "computed"
    before = [(file.read_bytes(), file.stat().st_ino) for file in files]
    assert ask(clone) == "taken"
    assert [(file.read_bytes(), file.stat().st_ino) for file in files] == before


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("src/ferlab/b.py", "x = 1\n", "code"),
        ("requirements.lock", "numpy==2.4.7\n", "environment"),
        ("data/prepared/control", "other faces", "data"),
        ("models/run/weights", "cut", "damaged"),
        ("models/run/record.json", "[]", "missing"),
    ],
)
def test_a_result_is_computed_anew_where_code_pins_data_or_its_own_bytes_changed(clone, file, text, why):
    assert why_stale("train", "run", record_of("train", asked())) == ["missing"]
    ask(clone)
    assert why_stale("train", "run", record_of("train", asked())) == []
    (clone / file).write_text(text)
    assert why_stale("train", "run", record_of("train", asked())) == [why]
    assert ask(clone) == "computed"
    assert ask(clone) == "taken"


def test_what_a_teacher_weighs_is_an_input_of_its_pupils_training(clone, monkeypatch):
    monkeypatch.setitem(paths.OUTPUTS, "train", {"weights": "models/{name}/weights"})
    (clone / "models" / "big").mkdir(parents=True)
    before = []
    for text in ("one", "other"):
        (clone / "models" / "big" / "weights").write_text(text)
        assert results.inputs_of("train", asked(teachers=["big"]))["train weights of big"] == clone / "models" / "big" / "weights"
        before.append(record_of("train", asked(teachers=["big"])))
    assert {kind for kind in results.KINDS if before[0][kind] != before[1][kind]} == {"data"}


@pytest.mark.parametrize("inside", [True, False])
def test_a_file_of_pretrained_weights_is_an_input_of_a_training(clone, tmp_path_factory, inside):
    file = (clone if inside else tmp_path_factory.mktemp("elsewhere")) / "first.safetensors"
    p = asked(pretrained=file.name if inside else str(file))
    with pytest.raises(paths.InputError, match=r"first\.safetensors: no such file; give the path of the weights, or hf:owner/name/file"):
        record_of("train", p)
    file.write_text("one")
    before = record_of("train", p)
    file.write_text("other")
    assert {kind for kind in results.KINDS if before[kind] != record_of("train", p)[kind]} == {"data"}
    assert record_of("train", asked(pretrained="hf:owner/name/file")) == record_of("train", asked())  # its file is not known here


def test_a_result_is_computed_anew_for_other_params_that_shape_it(clone):
    ask(clone)
    assert (ask(clone, seed=2), ask(clone, seed=2)) == ("computed", "taken")


def test_reporting_and_docstrings_are_no_part_of_a_record(clone):
    ask(clone)
    (clone / "src/ferlab/reporting/__init__.py").write_text("colour = 'red'\n")
    (clone / "src/ferlab/b.py").write_text('"""What b is."""\n')
    assert ask(clone) == "taken"


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(clone, monkeypatch):
    file, folder = clone / "raw" / "faces.csv", clone / "raw"
    folder.mkdir()
    file.write_bytes(b"0" * 200_000)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    first = hash_path(file), hash_path(folder)
    with monkeypatch.context() as reading:
        reading.setattr(hashes.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert (hash_path(file), hash_path(folder)) == first
    file.write_bytes(b"1" * 200_000)
    assert hash_path(file) != first[0]
    assert hash_path(folder) != first[1]


def test_what_is_kept_is_written_once_for_a_folder_and_a_changed_file_is_read_alone(clone, monkeypatch):
    files = [clone / "raw" / f"{number}.png" for number in range(20)]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(file.name.encode() * 30_000)
        os.utime(file, (1_000_000_000, 1_000_000_000))
    written, read = [], []
    keep, digest_of = hashes._keep, hashes.hashlib.file_digest
    monkeypatch.setattr(hashes, "_keep", lambda kind, entries: written.append(kind) or keep(kind, entries))
    monkeypatch.setattr(hashes.hashlib, "file_digest", lambda stream, *more: read.append(stream.name) or digest_of(stream, *more))
    first = hash_path(files[0].parent)
    assert (written, len(read)) == (["files"], 20)
    files[7].write_bytes(b"0" * 200_000)
    os.utime(files[7], (1_000_000_001, 1_000_000_001))
    assert hash_path(files[0].parent) != first
    assert (written, read[20:]) == (["files"] * 2, [str(files[7])])


def test_a_file_that_has_just_changed_is_read_each_time(clone):
    file = clone / "raw.csv"
    file.write_bytes(b"0" * 200_000)
    hash_path(file)
    assert not (clone / hashes.KEPT).exists()


def test_exploring_reads_a_result_where_it_lies_and_never_writes_into_it(clone, monkeypatch):
    ask(clone)
    weights = clone / "models/run/weights"
    monkeypatch.delenv(paths.STAGING)
    for seed, expected in ((1, weights), (2, clone / "data/scratch/models/run/weights")):
        made = obtain("train", asked(seed), lambda weights: weights.write_text("tried out"))
        assert made.places["weights"] == expected
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
