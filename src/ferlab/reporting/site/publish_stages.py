"""What of a study has run: the metrics of each stage, and which stages did not run for which runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.params import Params
from ferlab.paths import InputError
from ferlab.reporting.site.preliminary import outdated_compare
from ferlab.results import in_words, record_under
from ferlab.roles import listed

NEEDED = ("train", "evaluate")  # of every run
PER_RUN = ("explain", "analyze_errors", "robustness")  # a study may run them for some runs alone
PER_STUDY = ("worlds", "claims")


@dataclass(frozen=True)
class Ran:
    """The metrics of a study.

    Attributes:
        sets: Per set those of prepare; none where no run was trained.
        runs: Per run and stage those of `NEEDED`, and of `PER_RUN` where they ran.
        compare: Those of compare; empty where no run was trained.
        study: Those of `PER_STUDY` that ran; claims has a list of rows.
        stale: Stages that ran on another state of params, data or code, as "explain base_1", with the reason; they count as not run.
    """

    sets: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, dict[str, Any]]]
    compare: dict[str, Any]
    study: dict[str, Any]
    stale: dict[str, str] = field(default_factory=dict)

    def of(self, stage: str) -> dict[str, dict[str, Any]]:
        """Return the metrics of a stage by run, in the order of the runs."""
        return {name: of[stage] for name, of in self.runs.items() if stage in of}

    def summary(self, study: str) -> dict[str, Any]:
        """Return what `summary.json` holds."""
        return {"study": study, "sets": self.sets, "runs": self.runs, "compare": self.compare, **self.study}


def gather(params: Params) -> Ran:
    """Read the metrics of every stage that ran.

    Raises:
        InputError: A set is not prepared, a run not trained or evaluated, or stale, or the runs were not compared since; no error where no run
            was trained and a stage of `PER_STUDY` ran.
    """
    stale: dict[str, str] = {}
    study = {stage: read(stage, "") for stage in PER_STUDY if _ran(params, stage, "", stale)}
    if study and not any(paths.artefact("train", "metrics", name).is_file() for name in params.runs):
        return Ran({}, {}, {}, study, stale)
    sets = {name: read("prepare", name) for name in params.prepare}
    runs = {name: {stage: read(stage, name) for stage in NEEDED} for name in params.runs}
    compare = read("compare", "")
    if changed := outdated_compare(params):
        raise InputError(f"compare: it is of another state ({in_words(changed)}); repeat it: dvc repro compare")
    for name, prepare in params.prepare.items():
        here = (paths.ROOT / prepare.raw).exists()  # with raw files that are gone nothing can be compared
        if here and (why := why_not(params, "prepare", name)):
            raise InputError(f"prepare {name}: {why}; repeat it: dvc repro prepare@{name}")
    for name in runs:
        for stage in NEEDED:
            if why := why_not(params, stage, name):
                raise InputError(f"{stage} {name}: {why}; repeat it: dvc repro {stage}@{name}")
        runs[name] |= {stage: read(stage, name) for stage in PER_RUN if _ran(params, stage, name, stale)}
    return Ran(sets, runs, compare, study, stale)


def why_not(params: Params, stage: str, name: str) -> str:
    """Return why what a stage left is not of this study and state, "" where it is."""
    if stage not in paths.ROWS:
        of = read(stage, name).get("provenance", {}).get("study")
        if of != params.study:
            return f"it is of the study {of!r}"
    try:
        _, stale = record_under(params, stage, name)
    except InputError as error:
        return str(error)
    return f"it is stale ({in_words(stale)})" if stale else ""


def read(stage: str, name: str) -> Any:
    """Return the metrics of a stage.

    Raises:
        InputError: It has not run.
    """
    path = existing(paths.artefact(stage, "metrics", name))
    return (paths.read_rows if stage in paths.ROWS else paths.read_json)(path, made_by=f"stage {stage}")


def existing(path: Path) -> Path:
    """Return a path of the finished pipeline.

    Raises:
        InputError: Nothing is there.
    """
    if not path.is_file():
        raise InputError(f"{path.relative_to(paths.ROOT)}: not found; `dvc repro` makes it")
    return path


def _ran(params: Params, stage: str, name: str, stale: dict[str, str]) -> bool:
    if not paths.artefact(stage, "metrics", name).is_file():
        return False
    if why := why_not(params, stage, name):
        stale[f"{stage} {name}".strip()] = why
    return not why


def not_run_sentence(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which stages of `PER_RUN` did not run for which runs; "" where all ran for all.

    >>> not_run_sentence({"a": {"explain": {}}, "b": {}, "c": {}})
    '`explain` ran for a alone; `analyze_errors` and `robustness` did not run.'
    """
    stages_of: dict[tuple[str, ...], list[str]] = {}
    for stage in PER_RUN:
        if missing := tuple(name for name, of in runs.items() if stage not in of):
            stages_of.setdefault(missing, []).append(f"`{stage}`")
    told = []
    for missing, stages in stages_of.items():
        ran = [name for name in runs if name not in missing]
        if not ran:
            told.append(f"{listed(stages)} did not run")
        elif len(ran) < len(missing):
            told.append(f"{listed(stages)} ran for {listed(ran)} alone")
        else:
            told.append(f"{listed(stages)} did not run for {listed(missing)}")
    return f"{'; '.join(told)}." if told else ""
