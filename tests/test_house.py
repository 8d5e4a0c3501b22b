"""The house rules that a reader relies on, checked on the files themselves."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from ferlab import dependencies, notebooks
from ferlab.params import load_params
from ferlab.paths import NOTEBOOKS, OUTPUTS, RUN_STAGES, SET_STAGES
from ferlab.results import CLAIMS, PAGES, PUBLISHED, SHIPPED_CARD, STAGES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ferlab"
FLOORS = {
    **dict.fromkeys(("colours", "copies", "expressions", "imports", "locks", "opencv"), 0),
    **dict.fromkeys(("origins", "params", "paths", "roles", "terminal", "version"), 0),
    "hashes": 0.4,
    "results": 0.5,
    "costs": 0.6,
    **dict.fromkeys(("data", "control", "models"), 1),
    **dict.fromkeys(("training", "evaluation"), 2),
    **dict.fromkeys(("explanation", "deployment"), 2.5),  # both score faces to compare with
    **dict.fromkeys(("error_analysis", "live"), 3),
    "reporting": 4,
    "evaluations": 5,
    **dict.fromkeys(("clone", "expected", "progress", "notebooks", "staging", "privacy", "remains", "studies", "execution", "status", "pipeline"), 5),
    "repro": 5.5,  # it asks how much memory stages took
    "commands": 6,
    "submissions": 5.5,  # asks whether faces are private
    "forgetting": 5.5,  # it opens the collection, and what remains of it anywhere
    "cli": 6,
    "dependencies": 6,
    "documents": 6,
}
MODULES = [p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py"]
TEXTS = (".py", ".ipynb", ".md", ".yaml", ".yml", ".toml", ".lock")
PIPELINE_NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb") if not path.name.startswith("00"))
LIVE_NOTEBOOKS = sorted((ROOT / "notebooks" / "live").glob("*.ipynb"))
ALL_NOTEBOOKS = [*sorted((ROOT / "notebooks").glob("*.ipynb")), *LIVE_NOTEBOOKS]


def room(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module] if node.module != "ferlab" else [f"ferlab.{alias.name}" for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("ferlab.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: room(p) + "/" + p.stem)
def test_imports_only_go_down(path):
    own = room(path)
    below = {other for other in imported_rooms(path) if other != own}
    if own in ("pipeline", "execution", "cli"):  # the command opens rooms when asked for: prediction, forgetting, evaluations, submissions, a card
        runner = {"params", "paths", "hashes", "results", "progress", "staging", "privacy", "execution", "status", "costs", "imports"}
        rooms = {"studies", "deployment", "control", "live", "forgetting", "evaluations", "submissions", "reporting", "commands", "version"}
        assert below <= runner | (rooms if own == "cli" else set())
    else:
        assert all(FLOORS[other] < FLOORS[own] for other in below if FLOORS[own] > 0), below


@cache  # read once: half a second each time
def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def template_name(stage: str) -> str:
    return "" if stage in ("compare", "control_faces", "frame", "claims", "worlds") else "${key}"


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_dvc_yaml_names_the_outputs_of_paths(stage):
    body = stages()[stage].get("do", stages()[stage])
    listed = [next(iter(out)) if isinstance(out, dict) else out for kind in ("outs", "metrics", "plots") for out in body.get(kind, [])]
    name = template_name(stage)
    notebook = f"reports/notebooks/{NOTEBOOKS[stage]}-{name}.ipynb" if name else f"reports/notebooks/{NOTEBOOKS[stage]}.ipynb"
    assert sorted(listed) == sorted([*(template.format(name=name) for template in OUTPUTS[stage].values()), notebook])
    options = [next(iter(out.values())) for kind in ("outs", "metrics", "plots") for out in body.get(kind, []) if isinstance(out, dict)]
    assert len(options) == len(listed)
    assert all(option["persist"] for option in options), "DVC would delete the last good output before the stage starts"


def test_no_name_of_params_stands_in_a_command():
    """DVC puts ${key} into `cmd` as it is, and a shell reads that: a set called `a; rm -r x` would be run."""
    commands = [body.get("do", body)["cmd"] for body in stages().values()]
    assert not [command for command in commands if "${" in command]


def test_dvc_yaml_depends_on_the_code_file_by_file():
    text = (ROOT / "dvc.yaml").read_text()
    assert dependencies.rewritten(text) == text, "make deps writes the lists anew"


def test_a_stage_depends_on_its_notebook_its_imports_and_its_readers():
    readers = {"src/ferlab/data/readers/class_folders.py", "src/ferlab/data/readers/ckplus.py"}
    assert {"notebooks/01_prepare.ipynb", "src/ferlab/data/store.py"} | readers <= set(dependencies.code_of("prepare"))
    assert "src/ferlab/models/${item.family}.py" in dependencies.code_of("train")
    assert "src/ferlab/models/cs230.py" not in dependencies.code_of("train")


def test_make_deps_replaces_lists_of_code_and_nothing_else():
    text = (ROOT / "dvc.yaml").read_text()
    store = "        - src/ferlab/data/store.py\n"
    spoilt = text.replace("        - src/ferlab/data/duplicates/audit.py\n", "").replace(store, "        - src/ferlab/no_such.py\n")
    assert spoilt != text
    assert dependencies.rewritten(spoilt) == text


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_dvc_yaml_depends_on_what_the_runner_hashes(stage):
    body = stages()[stage].get("do", stages()[stage])
    listed = {dep for dep in body["deps"] if not dep.startswith(("src/", "notebooks/", "requirements.lock"))}
    if stage == "prepare":
        assert listed == {"${item.raw}"}
    elif stage in ("control_faces", "worlds"):  # they draw, and read nothing
        assert listed == set()
    elif stage == "compare":  # a folder: the runs are enumerated from params, and DVC wires every run's stage to it
        assert listed == {str(Path(OUTPUTS[s][what].format(name="x")).parent) for s, what in STAGES[stage].shows} | {PUBLISHED}
    elif stage == "robustness":  # the sets of robustness.sets, too
        assert listed == {"data/prepared", "models/${key}/weights.safetensors"}
    elif stage == "frame":  # likewise of the sets and models that params name
        assert listed == {"data/prepared", "models"}
    elif stage == "claims":
        assert listed == {CLAIMS, PUBLISHED, *PAGES} - {SHIPPED_CARD}  # the card is listed with the code
    else:
        key = {True: "${key}", False: "${item.data}"}
        read = STAGES[stage].reads + STAGES[stage].shows
        assert listed == {OUTPUTS[s][what].format(name=key[s in RUN_STAGES or stage in SET_STAGES]) for s, what in read}


def test_a_result_names_the_module_that_computes_it_and_its_files():
    for stage, made in STAGES.items():
        assert all((SOURCE / module.replace(".", "/")).with_suffix(".py").is_file() for module in made.modules)
        assert {*made.files, *(["record"] if made.modules else [])} <= set(OUTPUTS[stage])


def test_stages_are_listed_after_those_that_they_read():
    """`ferlab status` asks each stage for the states of those that it reads."""
    order = list(NOTEBOOKS)
    late = [(stage, before) for stage, made in STAGES.items() for before, _ in made.reads + made.shows if order.index(before) > order.index(stage)]
    assert late == []


def test_environment_files_hold_one_list():
    project = (ROOT / "pyproject.toml").read_text()
    listed = dict(re.findall(r'^    "([\w.-]+)==([\w.+-]+)",$', project, flags=re.MULTILINE))
    lock = dict(line.lower().split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line)
    assert len(listed) > 20
    assert {name: lock.get(name) for name in listed} == listed
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert environment[-1] == {"pip": ["-r requirements.lock", "-e ."]}
    assert "python=3.11" in environment


def test_the_installed_versions_are_the_pinned_ones():
    from importlib.metadata import version

    project = (ROOT / "pyproject.toml").read_text()
    listed = dict(re.findall(r'^    "([\w.-]+)==([\w.+-]+)",$', project, flags=re.MULTILINE))
    assert {name: version(name).split("+")[0] for name in listed} == listed


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stored_without_outputs(path):
    content = json.loads(path.read_text())
    assert path.read_text() == notebooks.stored_text(content)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", PIPELINE_NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_tell_a_story(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    prose = [cell for cell in cells if cell["cell_type"] == "markdown"]
    assert "".join(cells[0]["source"]).startswith("# ")
    assert [cell["metadata"].get("tags") for cell in cells].count(["parameters"]) == 1
    assert len(prose) >= 0.8 * len(code)
    for cell in code:
        source = "".join(cell["source"])
        tree = ast.parse(source)
        assert len(re.findall(r"\bshow\(", source)) <= 1, f"one figure to a cell, or they share their alt text: {source}"
        banned = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.Lambda)
        assert not [node for node in ast.walk(tree) if isinstance(node, banned)], source
        assert "parameters" in cell["metadata"].get("tags", []) or len([ln for ln in source.splitlines() if ln.strip()]) <= 14, source


def test_no_file_names_a_path_of_somebodys_machine(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # blank, so that it works in an unpacked zip too
    listing = ["git", f"--git-dir={tmp_path / '.git'}", f"--work-tree={ROOT}", "ls-files", "-o", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = [ROOT / name for name in listed.splitlines() if Path(name).suffix in TEXTS and (ROOT / name).is_file()]
    assert len(texts) > 100
    own = r"(?<![\w.])/(root|home|work)/\w"
    assert not [path.name for path in texts if re.search(own, path.read_text())]


def test_the_committed_params_load():
    assert load_params(ROOT / "params.yaml").study == "quick"


def test_the_readme_stays_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 120


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "raw" / "README.md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)[#)]", page.read_text())]
    assert len(links) > 20
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []
