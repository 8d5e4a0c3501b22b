"""RO-Crate metadata: read back with rocrate, against the rules of RO-Crate 1.1, byte-stable, and every file as it lies."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from ferlab import paths
from ferlab.paths import ROOT, InputError
from ferlab.reporting.site import crate as crate_module
from ferlab.reporting.site.crate import NAME, Made, write_crate

PUBLISHED = ROOT / "reports" / "published"
STUDIES = sorted(path.parent for path in PUBLISHED.glob("*/summary.json"))
MADE = Made("a" * 40, "2026-01-02T03:04:05+00:00")


@pytest.fixture(params=STUDIES, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def graph(folder: Path) -> dict[str, dict]:
    return {entity["@id"]: entity for entity in json.loads((folder / NAME).read_text())["@graph"]}


def test_a_published_crate_meets_the_rules_of_ro_crate_1_1(folder):
    text = json.loads((folder / NAME).read_text())
    assert text["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = graph(folder)
    assert len(entities) == len(text["@graph"])  # every @id once
    assert entities[NAME]["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
    assert (entities[NAME]["about"]["@id"], entities[NAME]["@type"]) == ("./", "CreativeWork")
    root = entities["./"]
    assert root["@type"] == "Dataset"
    assert all(root.get(key) for key in ("name", "description", "datePublished", "license", "author", "hasPart"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?", root["datePublished"])
    referred = re.findall(r'"@id": "([^"]+)"', json.dumps(text))
    known = {*entities, "https://w3id.org/ro/crate/1.1"}
    assert set(referred) <= known  # no reference to what is not described


def test_rocrate_reads_it_back_and_every_file_is_as_described(folder):
    read = ROCrate(folder)
    assert read.root_dataset["license"]["name"] == "MIT licence"
    assert read.root_dataset["author"][0]["name"] == "The ferlab developers"
    parts = {entity.id: entity for entity in read.root_dataset["hasPart"]}
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != NAME}
    assert set(parts) == here
    for name, entity in parts.items():
        content = (folder / name).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest(), f"{name} changed: python -m ferlab.reporting.site.crate"
        assert entity["contentSize"] == str(len(content))
        assert entity["encodingFormat"]


def test_the_action_names_code_dataset_study_and_results(folder):
    entities = graph(folder)
    action = entities["#study"]
    assert action["@type"] == "CreateAction"
    assert {"@id": "summary.json"} in action["result"]
    assert {"@id": "study.yaml"} in action["object"]
    assert {"@id": "requirements.lock"} in action["object"]
    assert re.fullmatch(r"[0-9a-f]{40}", entities[action["instrument"]["@id"]]["version"])
    if not json.loads((folder / "summary.json").read_text())["runs"]:
        assert "#dataset-control" in entities
        return
    if folder.name == "cs231a_short":
        assert entities["#dataset-control-ckplus"]["usageInfo"].startswith("MIT")
        return
    named = "ferplus" if folder.name == "fers_short" else "fer2013"
    dataset = entities[f"#dataset-{named}"]
    assert dataset["url"].startswith(("https://www.kaggle.com/", "https://github.com/microsoft/FERPlus"))
    assert "do not pass the images on" in dataset["usageInfo"].lower()
    tested = "test" if folder.name.startswith("resemotenet") else "PublicTest"  # the name that these give PublicTest, to score it with PrivateTest
    assert f"{named}, {tested}, all faces" in action["description"]


def copied(tmp_path: Path) -> Path:
    place = tmp_path / "cs230"
    shutil.copytree(PUBLISHED / "cs230", place)
    return place


def test_two_crates_have_the_same_bytes_and_another_commit_changes_them(tmp_path):
    place = copied(tmp_path)
    write_crate(place, MADE)
    first = (place / NAME).read_bytes()
    write_crate(place, MADE)
    assert (place / NAME).read_bytes() == first
    assert graph(place)["./"]["datePublished"] == MADE.date
    write_crate(place, Made("b" * 40, MADE.date))
    assert (place / NAME).read_bytes() != first


def test_without_git_version_and_date_are_those_of_the_citation(tmp_path):
    place = copied(tmp_path)
    write_crate(place, Made("", ""))
    assert graph(place)["#ferlab"]["version"] == "0.1.0"
    assert graph(place)["./"]["datePublished"] == "2026-11-28"


def test_a_changed_file_changes_its_entry(tmp_path):
    place = copied(tmp_path)
    write_crate(place, MADE)
    before = graph(place)["results.md"]["sha256"]
    (place / "results.md").write_text("other")
    write_crate(place, MADE)
    assert graph(place)["results.md"]["sha256"] != before
    assert graph(place)["results.md"]["contentSize"] == "5"


def test_a_citation_without_a_licence_is_named(tmp_path, monkeypatch):
    place = copied(tmp_path)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    shutil.copyfile(ROOT / "data" / "raw" / "README.md", tmp_path / "data" / "raw" / "README.md")
    (tmp_path / "CITATION.cff").write_text("title: x\nversion: 1\nauthors: [{name: y}]\ndate-released: 2026-01-01\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(InputError, match=r"CITATION\.cff: missing license; restore it with git"):
        write_crate(place, MADE)


def test_an_unknown_study_is_one_line(capsys):
    assert crate_module.main(["nothing_of_that_name"]) == 1
    assert "summary.json: not found" in capsys.readouterr().err
