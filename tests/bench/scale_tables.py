"""The tables of docs/scale.md, from reports/published/scale.json.

    python tests/bench/scale_tables.py

Writes what stands on the page between `<!-- growth -->` (`shards`, `processes`) and `<!-- end -->` anew; a test compares the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PUBLISHED, PAGE = ROOT / "reports" / "published" / "scale.json", ROOT / "docs" / "scale.md"
WORKS = {"store": "prepare, one array", "shards": "prepare, shards", "evaluate": "metrics and bounds", "duplicates": "duplicate search"}
COSTS = {"cpu": "CPU s", "gb": "memory, GB", "disk": "disk, GB"}
READERS = {"ours": "ours (WebDataset)", "litdata": "LitData"}
PASSES = {"first": "first", "cached": "cached"}


def number(value: float) -> str:
    """Return a number with three figures, at most three decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def where(part: dict[str, Any]) -> str:
    """Return when and on which machine a part was measured."""
    return f"Measured on {part['date']}, {part['machine']}."


def growth(part: dict[str, Any]) -> list[str]:
    """Return the costs of each kind of work by number of faces."""
    sizes = [each["n"] for each in part["store"]["sizes"]]
    rows = [row("work", "cost", *(f"{size:,} faces" for size in sizes), "exponent"), row("---", "---", *["---:"] * (len(sizes) + 1))]
    for work, name in WORKS.items():
        if work not in part:
            continue  # not measured yet
        measured = part[work]["sizes"]
        for cost, unit in COSTS.items():
            if cost == "disk" and work in ("evaluate", "duplicates"):
                continue  # tables of some kB
            cells = [number(each[cost]) + ("" if each["n"] == size else f" ({each['n']:,})") for each, size in zip(measured, sizes)]
            cells += ["not run"] * (len(sizes) - len(cells))
            rows.append(row(name, unit, *cells, f"{part[work]['exponents'][cost]:.2f}"))
    return [*rows, "", where(part)]


def shards(part: dict[str, Any]) -> list[str]:
    """Return CPU seconds and images a second of each reader, store and pass."""
    rows = [row("reader", "store", "pass", "CPU s per 1,000 images", "images per wall second"), row("---", "---", "---", "---:", "---:")]
    for name, of in part["stores"].items():
        for reader in (key for key in READERS if key in of):
            for key in PASSES:
                found = of[reader][key]
                rows.append(row(READERS[reader], name, PASSES[key], number(found["cpu_per_1000"]), number(found["rate"])))
    rows.append(row("memory-mapped store", "–", "–", number(part["mapped"]["cpu_per_1000"]), number(part["mapped"]["rate"])))
    stores = [f"{name}: {1000 * of['latency']:.0f} ms and {of['rate'] / 1e6:.0f} MB a second per request" for name, of in part["stores"].items()]
    return [*rows, "", f"{part['n']:,} faces of 48 x 48 in shards of {part['faces_per_shard']:,}; {'; '.join(stores)}. {where(part)}"]


def processes(part: dict[str, Any]) -> list[str]:
    """Return images a second and CPU seconds of one process and of two."""
    heads = ("gloo processes", "images per wall second", "CPU s per 1,000 images")
    rows = [row(*heads), row("---:", *["---:"] * (len(heads) - 1))]
    for count in ("1", "2"):
        of = part[count]
        rows.append(row(count, number(of["rate"]), number(of["cpu_per_1000"])))
    cores = f"{part['cores']} core{'s' if part['cores'] > 1 else ''} for all processes"
    ratio = f"Two processes use {part['cpu_ratio']:.2f} times the CPU seconds of one per image."
    return [*rows, "", f"{part['n']:,} faces of 28 x 28, batches of {part['batch']}, {cores}.", f"{ratio} {where(part)}"]


TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {"growth": growth, "shards": shards, "processes": processes}


def rewritten(page: str, published: dict[str, Any]) -> str:
    """Return the page with the tables of what was measured."""
    for name, table in TABLES.items():
        if name not in published:
            continue
        text = "\n".join(["", *table(published[name]), ""])
        page = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found, text=text: found[1] + text + "\n" + found[2], page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(), json.loads(PUBLISHED.read_text())))
