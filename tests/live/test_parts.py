from __future__ import annotations

import gzip
import hashlib

import pytest

from ferlab.live import parts
from ferlab.models import packages
from ferlab.paths import InputError

FILES = [name for package in parts.read_lock() for name in package["files"]]


@pytest.mark.parametrize("name", FILES)
def test_every_part_is_the_one_that_the_lock_names(name):
    expected = {name: sha for package in parts.read_lock() for name, sha in package["files"].items()}[name]
    assert hashlib.sha256(gzip.decompress(parts.packed(name))).hexdigest() == expected


def test_the_parts_stay_within_fourteen_megabytes():
    assert sum(path.stat().st_size for path in parts.STATIC.iterdir()) < parts.MOST


def test_every_package_names_version_licence_and_integrity_and_its_licence_lies_beside():
    for package in parts.read_lock():
        assert all(package[key] for key in ("name", "version", "licence", "integrity"))
        assert package["name"] in (parts.STATIC / "LICENSES.md").read_text()


SPOILT = {"cut": lambda whole: whole[:-9], "another": lambda whole: gzip.compress(b"other"), "empty": lambda whole: b""}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_part_is_refused_by_name(tmp_path, monkeypatch, spoil):
    (tmp_path / "parts.json").write_text(parts.LOCK.read_text())
    (tmp_path / f"{FILES[1]}.gz").write_bytes(spoil((parts.STATIC / f"{FILES[1]}.gz").read_bytes()))
    monkeypatch.setattr(parts, "STATIC", tmp_path)
    parts.packed.cache_clear()
    with pytest.raises(InputError, match=FILES[1]):
        parts.packed(FILES[1])
    parts.packed.cache_clear()


def test_packing_again_without_npm_says_what_needs_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="npm is not installed"):
        parts.write_parts()


def test_a_package_of_another_content_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    def packed(_, folder, **__):
        (folder / "some.tgz").write_bytes(b"another package")
        return folder / "some.tgz"

    monkeypatch.setattr(packages, "npm_pack", packed)
    monkeypatch.setattr(parts, "write_whole", lambda *_: pytest.fail("written"))
    with pytest.raises(InputError, match="integrity"):
        parts.write_parts()
