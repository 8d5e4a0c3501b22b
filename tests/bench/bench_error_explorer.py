"""The error explorer with 300,000 faces: the map, a selection in the kernel, and what the browser spends on each; CPU time."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from errors_faces import synthetic
from mounted import mount

from ferlab.live.exploration import embedding
from ferlab.live.exploration.panel import ErrorExplorer

FACES = 300_000
KERNEL_MS, BROWSER_MS = 50, 300  # limits of a selection
QUERIES = {
    "two filters": {"facets": {"split": ["val"], "confidence": [0.3, 0.9]}},
    "two cells": {"cells": [[2, 3], [0, 1]]},
    "a region": {"lasso": [[0.6 * np.cos(t), 0.6 * np.sin(t)] for t in np.linspace(0, 6.2, 40)]},
    "nothing": {},
}


def spent(act: Callable[[], object]) -> float:
    """Return the CPU milliseconds of this process for one call."""
    begun = time.process_time()
    act()
    return 1000 * (time.process_time() - begun)


def browse(explorer: ErrorExplorer) -> dict[str, float]:
    """Return the milliseconds of the page's main thread for opening the views and for each step."""
    from playwright.sync_api import sync_playwright

    steps = {"zoom": ("button", "zoom in"), "filter": ("checkbox", "misclassified"), "all again": ("button", "clear all")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy() -> float:
            page.wait_for_timeout(800)
            return 1000 * next(each["value"] for each in session.send("Performance.getMetrics")["metrics"] if each["name"] == "TaskDuration")

        before = busy()
        mount(page, explorer)
        page.wait_for_function("() => document.querySelector('.fe-map canvas').dataset.draws > 0")
        found = {"first paint": busy() - before}
        for name, (role, label) in steps.items():
            before = busy()
            page.get_by_role(role, name=label).first.click()
            found[name] = busy() - before
        found["one draw, wall clock"] = float(page.locator(".fe-map canvas").first.get_attribute("data-draw-ms"))
        browser.close()
    return found


def main() -> int:
    """Print the times; return 1 where a limit is exceeded."""
    scored = synthetic(FACES)
    with tempfile.TemporaryDirectory() as folder:
        embedding.ROOT = Path(folder)
        print(f"the map of {FACES:,} faces, once: {spent(lambda: embedding.map_faces(scored)) / 1000:.1f} s")
        explorer = ErrorExplorer(scored)
    kernel = {name: min(spent(lambda query=query: explorer._found(query)) for _ in range(3)) for name, query in QUERIES.items()}
    print("selecting, kernel:", ", ".join(f"{name} {value:.0f} ms" for name, value in kernel.items()))
    if shutil.which("chromium") is None:
        print("no chromium on this machine: the browser's part is skipped")
        return int(max(kernel.values()) > KERNEL_MS)
    browser = browse(explorer)
    print("browser:", ", ".join(f"{name} {value:.0f} ms" for name, value in browser.items()))
    return int(max(kernel.values()) > KERNEL_MS or max(value for name, value in browser.items() if name != "first paint") > BROWSER_MS)


if __name__ == "__main__":
    sys.exit(main())
