"""Compare a study's main numbers with `reports/expected/<study>.json`; `make repro` ends with this module's line.

Training is repeatable on one machine, but other processors round differently. Tolerances are measured over settings under which one machine
computes as others do. The file lists the numbers by stage and set or run, and by their path in the metrics.

After a change that moves numbers a little, `python -m ferlab.expected --renew` updates the values and keeps the tolerances;
`reports/expected/measure.sh` runs the study under every setting and measures both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.params import load_params
from ferlab.paths import InputError

FOLDER = paths.ROOT / "reports" / "expected"
METRICS = paths.ROOT / "reports" / "metrics"
MARGIN = 2.0  # times the largest deviation seen: another processor's may be larger
LEAST = 0.02  # except for counts: one of 60 planted copies may depend on a grey level that was equal under all settings here
RULE = (
    f"value: under the first setting; tolerance: {MARGIN:g} times the furthest that any other setting was from it, in any run of that stage,"
    f" and at least {LEAST:g} but for counts"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print whether this machine reproduced the study of params.yaml, or renew its numbers; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.expected", description="Did this machine reproduce the study's main numbers?")
    parser.add_argument("--renew", action="store_true", help="update the values from reports/metrics, keep the tolerances")
    parser.add_argument("--measure", nargs="+", metavar="SETTING=FOLDER", help="measure both from the metrics of each setting, the reference first")
    given = parser.parse_args(arguments)
    try:
        file = FOLDER / f"{load_params().study}.json"
        if given.measure or given.renew:
            folders = dict(pair.rpartition("=")[::2] for pair in given.measure or [f"here={METRICS}"])
            paths.write_json(file, measure(_read(file), {setting: Path(folder) for setting, folder in folders.items()}, renew=given.renew))
        print(verdict(_read(file), METRICS) if file.is_file() else f"Study {file.stem} has no expected numbers in reports/expected.")
    except InputError as error:
        print(f"expected: {error}", file=sys.stderr)
        return 1
    return 0


def verdict(expected: Mapping[str, Any], folder: Path) -> str:
    """Report in a line how many of a study's numbers are within tolerance, and which are not.

    Args:
        expected: Content of `reports/expected/<study>.json`.
        folder: The pipeline's metrics; those of other params are not compared.
    """
    total, off, other = 0, [], []
    for result, of in expected["results"].items():
        metrics = _metrics(folder, result)
        if metrics and metrics.get("provenance", {}).get("params") != of["params"]:
            other.append(result)
            continue
        total += len(of["numbers"])
        for path, number in of["numbers"].items():
            value = _number(metrics, path)
            if value is None or abs(value - number["value"]) > number["tolerance"] + 1e-9:
                off.append(f"{result} {path} {_written(value)} (expected {_written(number['value'])} ± {_written(number['tolerance'])})")
    aside = f"; not compared, as params.yaml differs from the study's: {', '.join(other)}" if other else ""
    if off:
        return f"Not reproduced: {len(off)} of {total} numbers of study {expected['study']} outside tolerance: {'; '.join(off)}{aside}."
    return f"Reproduced: {total} of {total} numbers of study {expected['study']} within tolerance{aside}."


def measure(expected: Mapping[str, Any], folders: Mapping[str, Path], *, renew: bool = False) -> dict[str, Any]:
    """Return the file's content with the listed numbers from the metrics of each setting, the first as the reference.

    Args:
        expected: The file's content so far.
        folders: Metrics per setting.
        renew: Update the values alone.

    Raises:
        InputError: A number that a setting's metrics lack.
    """
    results: dict[str, dict[str, Any]] = {}
    furthest: defaultdict[tuple[str, str], float] = defaultdict(float)  # (stage, number) -> largest deviation, over its runs
    for result, of in expected["results"].items():
        found, numbers = [_metrics(folder, result) for folder in folders.values()], {}
        for path, before in of["numbers"].items():
            seen = [_number(metrics, path) for metrics in found]
            if None in seen:
                raise InputError(f"{result} {path}: not in the metrics of {list(folders)[seen.index(None)]}; run the study or drop it")
            numbers[path] = {**before, "value": seen[0]} if renew else {"seen": seen, "value": seen[0]}
            key = result.split("/")[0], path
            furthest[key] = max(furthest[key], *(abs(value - seen[0]) for value in seen))
        results[result] = {"params": found[0]["provenance"]["params"], "numbers": numbers}
    for result, path, number in ((r, p, n) for r, of in results.items() for p, n in of["numbers"].items() if not renew):
        least = LEAST if isinstance(number["value"], float) else 0
        number["tolerance"] = round(max(MARGIN * furthest[result.split("/")[0], path], least), 6)
    return {"study": expected["study"], "rule": RULE, "settings": expected["settings"] if renew else list(folders), "results": results}


def _metrics(folder: Path, result: str) -> dict[str, Any]:
    file = folder / f"{result}.json"
    return _read(file) if file.is_file() else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: not read as JSON ({error}); restore it with git, or run its stage again") from None


def _number(metrics: Any, path: str) -> float | None:
    """Return the number at a dotted path, or None; a step `method=occlusion,expression=all` selects the first such row of a list."""
    for step in path.split("."):
        if isinstance(metrics, list):
            wanted = dict(condition.split("=") for condition in step.split(",")) if "=" in step else {"": ""}
            metrics = next((row for row in metrics if all(str(row.get(key)) == value for key, value in wanted.items())), None)
        else:
            metrics = metrics.get(step) if isinstance(metrics, dict) else None
    return metrics if isinstance(metrics, (int, float)) else None


def _written(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
