"""Whether what a page shows is of the current state: results that are stale, and code that no commit holds.

Both depend on files alone, never on the time, so two builds of one state agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ferlab.params import Params, declared
from ferlab.paths import InputError, artefact, read_json
from ferlab.reporting.site.cards import admonition
from ferlab.reporting.site.entries import Entry
from ferlab.reporting.site.git import git
from ferlab.results import LOCK, STAGES, in_words, record_under, state_of

CODE = ("src", "notebooks", LOCK)  # what makes results, beside params.yaml, which each page states
NAMED = 3  # files in a sentence
Stale = dict[tuple[str, str], str]  # (stage, name) -> why


def stale_results(params: Params, entries: Iterable[Entry]) -> Stale:
    """Return the results shown that would be computed again, and why; one whose inputs are not here is not called stale."""
    found: Stale = {}
    for entry in entries:
        if entry.notebook is None or not (STAGES[entry.stage].modules or entry.stage == "compare"):
            continue
        try:
            stale = outdated_compare(params) if entry.stage == "compare" else record_under(params, entry.stage, entry.name)[1]
        except InputError:
            continue
        if stale:
            found[entry.stage, entry.name] = in_words(stale)
    return found


def outdated_compare(params: Params) -> list[str]:
    """Return which of the study, its params and its data (the results of its runs) have changed since `compare` ran, which keeps no record.

    Raises:
        InputError: `compare` has not run, or a result that it reads is missing.
    """
    now = state_of("compare", declared(params, "compare", ""))
    kept = read_json(artefact("compare", "metrics"), made_by="`dvc repro compare`").get("provenance", {})
    return [key for key, value in now.items() if kept.get(key) != value]


def uncommitted_code() -> list[str]:
    """Return the files of CODE that differ from the commit, [] outside Git."""
    answer = git("status", "--porcelain", "--untracked-files=all", "--", *CODE) or ""
    return sorted(line[3:] for line in answer.splitlines())


def preliminary_box(params: Params, stage: str, name: str, *, stale: Stale, uncommitted: Sequence[str]) -> str:
    """Return the box of a page whose numbers are not of the current state; "" where they are.

    A set or run is judged by all of its results and by those of its set; a page that no run owns by its own, `compare` by those of all runs.

    Args:
        params: Names the sets and runs.
        stage: Of the page; "" for the card of a set or run, and for the overview.
        name: The set or run; "" for a page that none owns.
        stale: From `stale_results`.
        uncommitted: From `uncommitted_code`.
    """
    own = {name, params.runs[name].data} if name in params.runs else {name}
    everything = stage in ("", "compare") and not name
    why = [f"{f'{of} {whose}'.strip()} ({reason})" for (of, whose), reason in stale.items() if everything or (whose in own if name else of == stage)]
    told = []
    if why:
        more = f" and {len(why) - NAMED} more" if len(why) > NAMED else ""
        told.append(f"Stale: {'; '.join(why[:NAMED])}{more}. `dvc repro` computes them again.")
    if uncommitted:
        more = f" and {len(uncommitted) - NAMED} more" if len(uncommitted) > NAMED else ""
        files = ", ".join(f"`{file}`" for file in uncommitted[:NAMED])
        told.append(f"Built from code that no commit holds: {files}{more}. After a commit, `dvc repro -sf report` builds the report again.")
    return admonition("Preliminary: not of the current state", " ".join(told), kind="warning preliminary") if told else ""
