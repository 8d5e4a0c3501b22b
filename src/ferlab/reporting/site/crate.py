"""RO-Crate metadata of a published study: what its files are, what made them, and on which dataset, which they do not hold.

    python -m ferlab.reporting.site.crate        writes ro-crate-metadata.json of every study in reports/published/

The crate follows RO-Crate 1.1 (Sefton et al., 2021) and describes one CreateAction: the study's file and parameters on a dataset, by ferlab at a
commit with pinned packages, gave these files. Its date is that of the commit, so that two runs give the same bytes.
"""

from __future__ import annotations

import json
import mimetypes
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from ferlab import paths
from ferlab.data.faces import CONTROL
from ferlab.evaluation.tasks import recorded_tasks
from ferlab.models.hub import file_sha256
from ferlab.paths import InputError, read_json, write_whole
from ferlab.reporting.site.datasets import dataset_facts, sources_of
from ferlab.reporting.site.git import git

NAME = "ro-crate-metadata.json"
VERSION = "1.1"
STUDY, PARAMS, PINS = "study.yaml", "params.yaml", "requirements.lock"  # copied into the folder: a crate describes files that it holds
ABOUT = {
    "README.md": "The study's page: splits, results with 95 % intervals, figures, provenance",
    "summary.json": "All metrics of every prepared dataset and run",
    "results.md": "Runs compared by paired tests, and published rows",
    STUDY: "The study: an overlay on the study quick",
    PARAMS: "Every parameter of the study",
    PINS: "The packages, with versions",
}
KINDS = {".parquet": "application/vnd.apache.parquet", ".md": "text/markdown", ".yaml": "application/yaml", ".lock": "text/plain"}
LICENCES = {"MIT": "https://spdx.org/licenses/MIT"}


@dataclass(frozen=True)
class Made:
    """The commit that a study's files stand at, and its date (ISO 8601); "" where there is no Git."""

    commit: str
    date: str


def write_crate(folder: Path, made: Made) -> None:
    """Write the metadata of a published study beside its files.

    Args:
        folder: A folder that publishing wrote.
        made: Where its files come from.

    Raises:
        InputError: A summary that is missing or no study's, or a CITATION.cff without title, version, licence or authors.
    """
    graph = crate_of(folder, made)
    write_whole(folder / NAME, (json.dumps(graph, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def crate_of(folder: Path, made: Made) -> dict[str, Any]:
    """Return the metadata of a published study as JSON-LD."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    summary = read_json(folder / "summary.json", made_by="publishing")
    study, cited = str(summary["study"]), _citation()
    crate = ROCrate(version=VERSION)

    def add(identifier: str, kind: str, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))

    licence = add(LICENCES[cited["license"]], "CreativeWork", name=f"{cited['license']} licence")
    authors = [add(f"#author-{number}", "Organization", name=of["name"]) for number, of in enumerate(cited["authors"], start=1)]
    known = {"version": made.commit, "dateModified": made.date} if made.commit else {"version": str(cited["version"])}
    code = add("#ferlab", "SoftwareSourceCode", name="ferlab", description=cited["title"], license=licence, author=authors, **known)
    code["programmingLanguage"] = "Python"
    datasets = [_add_dataset(add, source) for source in _sources(summary)]
    files = [_add_file(crate, folder, path) for path in _files(folder)]
    inputs = [file for file in files if file.id in (STUDY, PARAMS, PINS)]
    action = add("#study", "CreateAction", name=f"Study {study}", instrument=code, object=[*datasets, *inputs])
    action["result"] = [file for file in files if file not in inputs]
    tasks = f" Tasks: {'; '.join(_tasks(summary))}." if summary["runs"] else ""
    action["description"] = f"`ferlab study {study}` and `dvc repro`.{tasks}"
    root = crate.root_dataset
    for key, value in {
        "name": f"ferlab, study {study}: facial expression recognition",
        "description": "Metrics, predictions and figures of numbers of one study. It holds no face: datasets have their own terms.",
        "license": licence,
        "author": authors,
        "datePublished": made.date or str(cited["date-released"]),
        "mentions": [action, *datasets],
    }.items():
        root[key] = value
    found = crate.metadata.generate()
    found["@graph"].sort(key=lambda entity: (entity["@id"] not in (NAME, "./"), entity["@id"]))
    return found


def _add_dataset(add: Any, source: str) -> Any:
    """Add the dataset as a context: its terms and address, no file."""
    facts = dataset_facts(source)
    known = {"url": facts.url} if facts.url else {}
    terms = f"{facts.licence} Labels: {facts.annotated}. Not part of this crate."
    drawn = f" Drawn in the layout of {source.partition(':')[2]}." if ":" in source else ""
    cited = {"citation": facts.cite} if facts.cite else {}
    return add(f"#dataset-{source.replace(':', '-')}", "Dataset", name=facts.title, description=facts.what + drawn, usageInfo=terms, **known, **cited)


def _add_file(crate: Any, folder: Path, path: Path) -> Any:
    name = path.relative_to(folder).as_posix()
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    properties = {"contentSize": str(path.stat().st_size), "sha256": file_sha256(path), "encodingFormat": kind, "name": name}
    if about := _about(name):
        properties["description"] = about
    return crate.add_file(path, dest_path=name, properties=properties)


def _about(name: str) -> str:
    if name.startswith("predictions/"):
        return f"Probabilities of run {Path(name).stem} for every face of val and test, float16, without pixels"
    if name.startswith("history/"):
        return f"Loss and accuracy of run {Path(name).stem} after every epoch, and its learning rate"
    if name.startswith("measures/"):
        return f"Measures per face of {Path(name).stem}, without pixels"
    if name.startswith("cards/"):
        return "A card with the front matter of Hugging Face"
    return ABOUT.get(name, "")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME and not path.name.startswith("."))


def _sources(summary: Mapping[str, Any]) -> list[str]:
    named = [run["evaluate"].get("dataset", "") for run in summary["runs"].values()] or [CONTROL]  # a study without runs drew its faces
    return list(dict.fromkeys(source for name in named for source in sources_of(name)))


def _tasks(summary: Mapping[str, Any]) -> list[str]:
    found = [recorded_tasks(run["evaluate"]).get("test") for run in summary["runs"].values()]
    return list(dict.fromkeys(task.name for task in found if task))


def _citation() -> dict[str, Any]:
    place = paths.ROOT / "CITATION.cff"
    try:
        cited = YAML(typ="safe").load(place.read_text(encoding="utf-8")) or {}
    except (YAMLError, OSError) as error:
        raise InputError(f"CITATION.cff: {' '.join(str(error).split())}; restore it with git") from None
    missing = [key for key in ("title", "version", "license", "authors", "date-released") if not cited.get(key)]
    if missing or cited["license"] not in LICENCES:
        what = f"missing {', '.join(missing)}" if missing else f"licence {cited['license']!r}, expected one of {', '.join(LICENCES)}"
        raise InputError(f"CITATION.cff: {what}; restore it with git")
    return cited


def made_at(place: Path) -> Made:
    """Return the last commit that changed a file of the clone, and its date; both empty without Git or before its first commit."""
    answer = (git("log", "-1", "--format=%H %cI", "--", str(place)) or "").split()
    return Made(*answer) if len(answer) == 2 else Made("", "")


def copy_inputs(folder: Path, study: str) -> None:
    """Copy what a study is made from into a folder: its file, where it has one, params.yaml and the pinned packages."""
    for source, name in {Path("conf", "study", f"{study}.yaml"): STUDY, Path(PARAMS): PARAMS, Path(PINS): PINS}.items():
        if (paths.ROOT / source).is_file():
            shutil.copyfile(paths.ROOT / source, folder / name)


def main(arguments: Iterable[str] | None = None) -> int:
    """Write the crates of the published studies that are named, of all by default; return the exit status."""
    published = paths.ROOT / "reports" / "published"
    names = list(sys.argv[1:] if arguments is None else arguments) or sorted(path.parent.name for path in published.glob("*/summary.json"))
    try:
        for name in names:
            write_crate(published / name, made_at(published / name / "summary.json"))
            print(f"crate: {(published / name / NAME).relative_to(paths.ROOT)}")
    except (InputError, OSError) as error:
        print(f"crate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
