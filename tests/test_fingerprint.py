from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferlab import paths
from ferlab.fingerprint import digest, hash_path, import_closure

ROOT = Path(__file__).parents[1]


def names(files: list[Path]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_closure_holds_what_is_imported_through_others(tmp_path):
    source = tmp_path / "cell.py"
    source.write_text("from ferlab.fingerprint import digest\n")
    found = names([path for path in import_closure(source) if path != source])
    assert found == {f"src/ferlab/{name}.py" for name in ("__init__", "fingerprint", "paths")}


def test_the_registries_are_left_out_and_families_are_taken_in(tmp_path):
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
