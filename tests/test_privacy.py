"""Captured faces: for their owner's eyes, and gone from the cache too once their people withdrew."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
import yaml
from toy_project import GOOD, PARAMS, SOURCE, make_project

from ferlab import paths, privacy
from ferlab.params import check_params
from ferlab.paths import InputError

CHANGES = {
    "seed=0": "seed=len(open('data/raw/README.md').read())",
    '{"faces": 3}': '{"faces": 3, "excluded": {"consent withdrawn": 2}}',
    'print(params["prepare"]["dataset"])': "print(images.mean())",
}
DRAWN_ANEW = reduce(lambda code, change: code.replace(*change), CHANGES.items(), GOOD)


def captured_params(dataset: str = "captured") -> dict:
    params = yaml.safe_load(PARAMS)
    params["prepare"]["control"] |= {"dataset": dataset, "options": {}}
    return params


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_where_a_set_is_captured_faces_are_for_their_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config.local").write_text("[cache]\n    dir = ../elsewhere\n['remote \"x\"']\n    url = %not\n")
    (tmp_path / "data").mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        privacy.guard(check_params(captured_params("class_folders")))
        assert (mode(tmp_path / "data"), (tmp_path / "elsewhere").exists()) == (0o755, False)
        privacy.guard(check_params(captured_params()))
        private = [tmp_path / name for name in privacy.PRIVATE] + [tmp_path / "elsewhere"]
        assert [mode(folder) for folder in private] == [0o700] * len(private)
        (tmp_path / "reports" / "page.ipynb").touch()
        assert mode(tmp_path / "reports" / "page.ipynb") == 0o600
    finally:
        os.umask(before)


def test_forgetting_is_for_sets_of_captured_faces(tmp_path):
    with pytest.raises(InputError, match="names no set with dataset: captured"):
        privacy.forget(tmp_path, check_params(captured_params("class_folders")))


@pytest.mark.slow
def test_who_withdrew_is_gone_from_the_cache_and_from_what_runs_left(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", DRAWN_ANEW)
    stage = yaml.safe_load((SOURCE / "dvc.yaml").read_text())["stages"]["prepare"]
    stage["do"]["deps"] = ["${item.raw}"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": stage}}))
    (project / "params.yaml").write_text(yaml.safe_dump(captured_params()))
    for name, value in {"PYTHONPATH": str(SOURCE / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, value)

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cached(content: bytes) -> Path:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]

    dvc("init", "--no-scm", "-q")
    assert "2 pictures of people who withdrew are not in the set; after this dvc repro, `ferlab forget`" in dvc("repro")
    images, page = project / "data" / "prepared" / "control" / "images.npy", project / "reports" / "notebooks" / "01_prepare-control.ipynb"
    withdrawn = [images.read_bytes(), page.read_bytes()]
    assert all(cached(content).is_file() for content in withdrawn)
    (project / "data" / "raw" / "README.md").write_text("somebody withdrew\n")
    params = check_params(captured_params())
    with pytest.raises(InputError, match="run `dvc repro` first, which removes who withdrew"):
        privacy.forget(project, params)
    dvc("repro")
    (project / "data" / ".partial" / "prepare-control-abc" / "kept").mkdir(parents=True)
    pages = [project / "reports" / name / "page" for name in ("_failed", "changes", ".site.work", "notebooks/.ipynb_checkpoints")]
    for page in pages:
        page.parent.mkdir(exist_ok=True)
        page.write_text("a face")
    assert all(cached(content).is_file() for content in withdrawn)
    told = privacy.forget(project, params)
    assert not [content for content in withdrawn if cached(content).exists()]
    assert not (project / "data" / ".partial").exists()
    assert not [page for page in pages if page.parent.exists()]
    assert cached(images.read_bytes()).is_file()
    assert "Git history" in told[-1]
    assert "up to date" in dvc("status")
    assert mode(project / ".dvc" / "cache") == mode(project / "data") == mode(project / "reports" / "notebooks") == 0o700
