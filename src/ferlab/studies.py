"""The studies of a clone: recipe, cost, required data, and how a study becomes params.yaml.

A study is an overlay `conf/study/<name>.yaml` on the complete one; its recipe and cost are comments at its top. `like: <study>` makes it an
overlay on that study: its sets and runs are merged by name, and those set to null are excluded.
"""

from __future__ import annotations

import copy
import difflib
import io
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ferlab.params import Params, check_params, nearest, read_yaml
from ferlab.paths import SHIPS, InputError, write_whole

BASE = "quick"  # the complete study; every other one is an overlay on it
BASE_HEAD = "cs230's five-layer model on control faces, two seeds. Cost: a few minutes of two CPU cores."
DRAWN = "control"  # the reader without files
LONGEST = 110  # characters of a recipe or a cost in a list


@dataclass(frozen=True)
class StudyFacts:
    """What a user chooses a study by.

    Attributes:
        name: Of conf/study/<name>.yaml.
        paper: Whose recipe it is, or begins with; "" for none.
        recipe: One sentence, shortened.
        cost: In words, shortened; "" where none is stated.
        data: For each dataset where it belongs and whether it is there, as `wanted_data` says it; none for control faces.
    """

    name: str
    paper: str
    recipe: str
    cost: str
    data: tuple[str, ...]

    def line(self) -> str:
        """Return all of it in one line."""
        return f"{self.name}: {self.recipe}; paper: {self.paper or 'none'}; cost: {self.cost}; data/raw: {', '.join(self.data) or 'nothing'}"


def studies(root: Path) -> list[str]:
    """Return the names of the studies of a clone, sorted.

    Raises:
        InputError: This is no clone.
    """
    if not (root / "conf" / "study" / f"{BASE}.yaml").is_file():
        raise InputError(f"{root}: no clone of ferlab, nor any folder above it; cd into one")
    return sorted(path.stem for path in (root / "conf" / "study").glob("*.yaml"))


def write_study(root: Path, name: str) -> None:
    """Check a study and write it as params.yaml, with comments and `study: <name>`. A params.yaml edited by hand is kept in data/scratch.

    Raises:
        InputError: An unknown or invalid study; params.yaml stays as it was.
    """
    text = study_text(root, name)
    path = root / "params.yaml"
    before = path.read_text() if path.is_file() else text
    if before != text and _is_edited(root, before):
        kept = root / "data" / "scratch" / "params-before.yaml"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(before)
        print(f"params.yaml was edited by hand; the edited file is kept in {kept.relative_to(root)}")
    write_whole(path, text.encode())
    params = study_params(root, name)
    wanted = [*wanted_data(root, params).values(), *_wanted_models(root, params)]
    print("\n".join([f"params.yaml now holds study {name}", *wanted]))
    print("next: " + ("add what is missing, then dvc repro" if any("missing" in line for line in wanted) else "dvc repro"))


def _is_edited(root: Path, text: str) -> bool:
    """Whether a params.yaml differs from that of the study that it names."""
    named = re.search(r"^study: *(\S+)", text, flags=re.MULTILINE)
    return named is None or named[1] not in studies(root) or text != study_text(root, named[1])


def study_params(root: Path, name: str) -> Params:
    """Return a study's checked params."""
    return _merged(root, name)[1]


def study_text(root: Path, name: str) -> str:
    """Return a study's params.yaml: the base study with the overlay's keys; sets and runs are replaced as a whole."""
    stream, yaml = io.StringIO(), YAML()  # round trip, with comments and order
    yaml.width = 130
    yaml.dump(_merged(root, name)[0], stream)
    return stream.getvalue()


def _merged(root: Path, name: str) -> tuple[Any, Params]:
    """Return a study's params, with comments and order, and checked."""
    if name not in studies(root):
        raise InputError(f"no study is called {name!r}; {nearest(name, studies(root))}")
    over, base = _load(root, name), _load(root, BASE)
    like = over.pop("like", None)
    if like is not None and (like not in studies(root) or "like" in _load(root, like)):
        raise InputError(f"conf/study/{name}.yaml: like: expected a study that is like no other, got {like!r}")
    if name != BASE:
        base["frame"] |= {"models": [], "sets": []}  # of the base's own runs and sets
        if like is not None:
            _overlay(base, _load(root, like), replaced=("prepare", "runs"))
        _overlay(base, over, replaced=() if like is not None else ("prepare", "runs"))
    base["study"] = name
    return base, check_params(base, source=f"conf/study/{name}.yaml")


def _overlay(base: Any, over: Any, *, replaced: tuple[str, ...] = ()) -> None:
    """Set the values of `over` in `base`, mapping by mapping but for the keys to be replaced as a whole; null removes a set or a run."""
    for key, value in over.items():
        if value is None and isinstance(base.get(key), dict):
            del base[key]
        elif key in replaced or not isinstance(value, dict) or not isinstance(base.get(key), dict):
            base[key] = value
        else:
            _overlay(base[key], value)
    for key in over:  # its comments; what ruamel holds of a mapping in braces is the end of its line
        if key in over.ca.items and not over.fa.flow_style():
            base.ca.items[key] = over.ca.items[key]


def _load(root: Path, name: str) -> Any:
    path = root / "conf" / "study" / f"{name}.yaml"
    return copy.deepcopy(_read(path, path.read_bytes()))


@lru_cache  # the base is read for each study, and takes seven times as long to read as to copy
def _read(path: Path, _text: bytes) -> Any:
    return read_yaml(path, source=f"conf/study/{path.name}", round_trip=True)


def study_diff(root: Path, name: str) -> str:
    """Return what writing a study would change in params.yaml, as a unified diff; "" where nothing would. Errors as for `write_study`."""
    path = root / "params.yaml"
    now, then = path.read_text(encoding="utf-8") if path.is_file() else "", study_text(root, name)
    lines = difflib.unified_diff(now.splitlines(), then.splitlines(), "params.yaml", f"params.yaml of study {name}", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def list_studies(root: Path) -> list[StudyFacts]:
    """Return what a user chooses a study by."""
    papers, found = _papers(root), []
    for name in studies(root):
        recipe, cost = recipe_and_cost(root, name)
        data = (line.partition(";")[0] for line in wanted_data(root, study_params(root, name)).values())
        own = name if name in papers else next((paper for paper in papers if name.startswith(f"{paper}_")), "")
        paper = own or ", ".join(each for each in papers if re.search(rf"\b{each}\b", recipe))
        recipe, cost = (textwrap.shorten(text, LONGEST, placeholder="...") for text in (recipe, cost))
        found.append(StudyFacts(name, paper, recipe, cost, tuple(data)))
    return found


def _papers(root: Path) -> list[str]:
    """Return the papers of which a study may be, by their claims."""
    return sorted(path.stem for path in (root / "conf" / "claims").glob("*.yaml") if path.stem not in ("anchors", "ferlab"))


def recipe_and_cost(root: Path, name: str) -> tuple[str, str]:
    """Return the first sentence of a study's comments, and the cost stated there or ""."""
    text = (root / "conf" / "study" / f"{name}.yaml").read_text(encoding="utf-8")
    head = " ".join(line.lstrip("# ") for line in re.match(r"(#.*\n)*", text)[0].splitlines()) if name != BASE else BASE_HEAD
    recipe = re.match(r".+?(?=\.\s|\.?$)", head)
    cost = re.search(r"\bCost( on [^:]*)?[^:]*: (.+?)(?=[.;]\s|[.;]?$)", head)
    return (recipe[0] if recipe else "", f"{(cost[1] or '').strip()} {cost[2]}".strip() if cost else "")


def wanted_data(root: Path, params: Params) -> dict[str, str]:
    """Return, for each dataset of a study such as `jaffe in data/raw/jaffe`, a line on whether it is present."""
    wanted = {}
    for prepare in params.prepare.values():
        for source in prepare.all_sources.values():
            place = (Path(prepare.raw) / source["raw"]).as_posix()
            if source["dataset"] != DRAWN:
                wanted[f"{source['dataset']} in {place}"] = f"{source['dataset']}: {place}: {_presence(root / place)}"
    return wanted


def _wanted_models(root: Path, params: Params) -> list[str]:
    """Return a line for each model made elsewhere of the frame, whether it is present."""
    missing = "missing; python -m ferlab.deployment.peers fetches those of fer and face-api"
    paths = [name for name in params.frame.models if name not in (SHIPS, *params.runs)]
    return [f"frame: {name}: {'present' if (root / Path(name).expanduser()).exists() else missing}" for name in paths]


def _presence(path: Path) -> str:
    missing = "missing; data/raw/README.md says how to get it, `ferlab draw` draws control faces in its place"
    if path.is_file():
        return "present"
    found = sorted(each.name for each in path.iterdir() if each.name != "README.md" and not each.name.startswith(".")) if path.is_dir() else []
    return f"holds {', '.join(found[:5])}{' ...' if len(found) > 5 else ''}" if found else missing
