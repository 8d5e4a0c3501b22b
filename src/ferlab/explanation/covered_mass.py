"""Whether models trained on covered faces attribute less to the covered regions than models trained on whole faces.

`python -m ferlab.explanation.covered_mass` compares the runs of params.yaml, once all are explained: each run on a set with `cover` with the run of
the same model, training and seed on a set without. Masses are paired over the faces that both classify correctly, and averaged over seeds face by
face; the interval is over faces, or subjects where they are known. An occlusion map is near zero where grey covers grey, whatever the model does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.explanation.faithfulness import mean_interval
from ferlab.explanation.hypotheses import TRUTH
from ferlab.params import Params, load_params
from ferlab.paths import InputError, artefact

Pair = tuple[str, str]


def pairs_of(params: Params) -> dict[Pair, tuple[str, ...]]:
    """Return the covered regions of each pair (run on whole faces, run on covered faces).

    Raises:
        InputError: No pair of runs differs in `cover` alone.
    """
    runs, pairs = params.runs, {}
    for covered, run in runs.items():
        regions = tuple(params.prepare[run.data].cover)
        for whole, other in runs.items():
            same = (run.family, run.model, run.seed, run.options, run.train) == (other.family, other.model, other.seed, other.options, other.train)
            if regions and same and not params.prepare[other.data].cover:
                pairs[(whole, covered)] = regions
    if not pairs:
        raise InputError("params.yaml: no run on a set with `cover` has a run of the same model and seed on a set without; see study fer2013_covered")
    return pairs


def compare_masses(masses: Mapping[str, pd.DataFrame], pairs: Mapping[Pair, Sequence[str]]) -> pd.DataFrame:
    """Compare the mass on the covered regions within pairs of runs.

    Args:
        masses: Per run, from `ferlab.explanation.hypotheses.mass_rows`.
        pairs: From `pairs_of`.

    Returns:
        One row per method: `method`, `seeds` (pairs), `n` (faces in common), `whole` and `covered` (mean mass), `difference` (covered less whole) and
        its bounds.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for (whole, covered), regions in pairs.items():
        sides = [masses[run].assign(mass=masses[run][list(regions)].sum(axis=1, skipna=False)) for run in (whole, covered)]
        both = sides[0].merge(sides[1][["face_id", "method", "mass"]], on=["face_id", "method"], suffixes=("_whole", "_covered")).dropna()
        for method, own in both[both["method"] != TRUTH].groupby("method", sort=False):
            tables.setdefault(str(method), []).append(own)
    rows = []
    for method, parts in tables.items():
        by_face = pd.concat(parts).groupby("face_id").agg({"cluster": "first", "mass_whole": "mean", "mass_covered": "mean"})
        compared: dict[str, Any] = mean_interval(by_face["mass_covered"] - by_face["mass_whole"], by_face["cluster"].tolist(), key="difference")
        means = {"whole": by_face["mass_whole"].mean(), "covered": by_face["mass_covered"].mean()}
        rows.append({"method": method, "seeds": len(parts), **means, **compared})
    return pd.DataFrame(rows)


def read_masses(runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the masses of runs.

    Raises:
        InputError: A run that is not explained yet.
    """
    for run in runs:
        if not artefact("explain", "masses", run).is_file():
            raise InputError(f"run {run} is not explained yet; `dvc repro explain@{run}` does it")
    return {run: pd.read_parquet(artefact("explain", "masses", run)) for run in runs}


def main() -> None:
    """Print the comparison as a table."""
    try:
        pairs = pairs_of(load_params())
        table = compare_masses(read_masses(list(dict.fromkeys(run for pair in pairs for run in pair))), pairs)
    except InputError as error:
        raise SystemExit(str(error)) from None
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
