"""What the site is made of: the executed notebook and the metrics of every stage that params.yaml names, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ferlab import paths
from ferlab.params import Params
from ferlab.paths import RUN_STAGES, SET_STAGES, InputError
from ferlab.reporting.site.cards import STAGE_WORDS
from ferlab.reporting.site.html import Notebook

INSTRUMENTS = {"Control faces": "control_faces", "Attribution methods": "worlds"}
COMPARISONS = {"All runs": "compare", "Models of any origin": "frame", "Published claims": "claims"}


@dataclass
class Entry:
    """One executed notebook and the metrics of its stage."""

    stage: str
    name: str
    page: str  # document name below the site's root
    notebook: Notebook | None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the overview calls it."""
        return f"{STAGE_WORDS[self.stage][0]} {self.name}".strip()


def collect(params: Params) -> list[Entry]:
    """Read the executed notebook and metrics of every stage of every set and run in params, in the order of params.

    Raises:
        InputError: If a notebook or metrics file is broken, or no stage has run at all.
    """
    named = [(stage, name, f"data/{name}/{stage}") for name in params.prepare for stage in SET_STAGES]
    named += [(stage, name, f"runs/{name}/{stage}") for name in params.runs for stage in RUN_STAGES]
    named += [(stage, "", stage) for stage in ("compare", "control_faces", "worlds", "frame", "claims") if stage != "frame" or params.frame.models]
    entries = [Entry(stage, name, page, _read_notebook(stage, name), _read_metrics(stage, name)) for stage, name, page in named]
    if not any(entry.notebook for entry in entries):
        raise InputError("reports/notebooks: no stage of params.yaml has run yet; `dvc repro` runs them")
    return entries


def _read_notebook(stage: str, name: str) -> Notebook | None:
    path = paths.executed_notebook(stage, name)
    if not path.is_file():
        return None
    notebook = paths.read_json(path, made_by=f"stage {stage}")
    if not isinstance(notebook.get("cells"), list):
        raise InputError(f"{path.relative_to(paths.ROOT)}: not a notebook; run stage {stage} again")
    return notebook


def _read_metrics(stage: str, name: str) -> dict[str, Any]:
    path = paths.artefact(stage, "metrics", name)
    if stage in paths.ROWS and path.is_file():
        rows, record = paths.read_rows(path, made_by=f"stage {stage}"), paths.artefact(stage, "record", name)
        made = paths.read_json(record, made_by=f"stage {stage}") if record.is_file() else {}
        return {
            "verdicts": [row.get("verdict", "") for row in rows],
            "provenance": {key: made[key] for key in ("params", "data", "code") if key in made},
        }
    return paths.read_json(path, made_by=f"stage {stage}") if path.is_file() else {}
