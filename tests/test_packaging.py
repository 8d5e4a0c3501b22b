"""Container files, hooks and the type check agree with the Makefile and with each other; no container is built here."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
PYTHON = re.search(r"command -v python(3\.\d+)", MAKEFILE)[1]
KNOWN = {"FROM", "WORKDIR", "ENV", "COPY", "RUN", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Return what the Dockerfile says: (instruction, the rest)."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line and not line.startswith("#")]


def made(command: str) -> list[str]:
    """Return the targets that a command asks make for."""
    return [word for part in re.split(r"&&|;", command) if part.split()[:1] == ["make"] for word in part.split()[1:]]


def targets() -> set[str]:
    text = MAKEFILE
    for name, value in reversed(re.findall(r"^(\w+) := (.*)$", MAKEFILE, flags=re.MULTILINE)):
        text = text.replace(f"$({name})", value)
    return set(re.findall(r"^([\w./-]+):(?!=)", text, flags=re.MULTILINE))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_all_files_name_one_python():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["image"] == dict(instructions())["FROM"]
    assert re.fullmatch(r"python:(3\.\d+)-\w+", container["image"])[1] == PYTHON
    assert f"python={PYTHON}" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert project()["tool"]["mypy"]["python_version"] == PYTHON
    assert project()["project"]["requires-python"].startswith(f">={PYTHON},")


def test_the_containers_make_what_the_makefile_has():
    wanted = [*made(json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["postCreateCommand"])]
    for instruction, rest in instructions():
        wanted += made(rest) if instruction == "RUN" else json.loads(rest)[1:] if instruction == "CMD" else []
    assert set(wanted) == {".venv/.ready", "repro"}
    assert set(wanted) <= targets()


def test_the_dockerfile_is_of_known_instructions_and_copies_what_is_there():
    assert {instruction for instruction, _ in instructions()} == KNOWN
    assert instructions()[0][0] == "FROM"
    copied = [source for instruction, rest in instructions() if instruction == "COPY" for source in rest.split()[:-1]]
    assert copied == ["requirements.lock", "."]
    assert all((ROOT / source).exists() for source in copied)
    installed = next(rest for instruction, rest in instructions() if "pip install" in rest)
    assert "-r requirements.lock" in installed


def test_nothing_that_git_ignores_goes_into_the_image():
    def patterns(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.replace("**/", "").strip("/").replace("!/", "!").rstrip("/") for line in lines if line and not line.startswith("#")}

    assert patterns(".gitignore") - patterns(".dockerignore") == set()
    assert ".git" in patterns(".dockerignore")


def test_every_hook_is_a_module_of_the_environment_and_concerns_files_that_are_there():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        python, module, name, *_ = hook["entry"].split()
        assert (hook["language"], python, module) == ("system", "python", "-m")
        assert importlib.util.find_spec(name)
        if "files" in hook:
            assert any(re.search(hook["files"], path.relative_to(ROOT).as_posix()) for path in (ROOT / "src").rglob("*.py"))


def test_the_type_check_runs_in_ci_at_one_version_and_excuses_modules_that_exist():
    assert "make types" in (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"mypy==[\d.]+", MAKEFILE)
    excused = [module for entry in project()["tool"]["mypy"]["overrides"] for module in entry["module"]]
    assert len(excused) == len(set(excused)) <= 12
    assert [module for module in excused if not (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/platforms.md", "docs/tour.md", "CONTRIBUTING.md"])
def test_pages_name_targets_that_make_has(page):
    typed = re.findall(r"`(make [^`\n]+)`|^(make .*)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    named = {word for either in typed for text in either for word in made(text)[:1]}
    assert named
    assert named <= targets()
