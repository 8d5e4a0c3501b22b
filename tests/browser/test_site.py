"""The report site in a real browser: light and dark, wide and narrow, and nothing asked of the network."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferlab import paths
from ferlab.params import check_params
from ferlab.reporting.site import build as site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*is deprecated. Check CHANGES:PendingDeprecationWarning"),
]

ALONE = ("compare", "worlds", "claims")
CONF = Path(__file__).resolve().parents[2] / "reports"
TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}


def executed() -> nbformat.NotebookNode:
    """Return a notebook with a figure, a table wider than a phone, long code and a formula."""
    figure, axes = plt.subplots(figsize=(9, 3))
    axes.bar(range(7), range(7))
    png = io.BytesIO()
    figure.savefig(png, format="png")
    plt.close(figure)
    image = {"image/png": base64.b64encode(png.getvalue()).decode()}
    wide = pd.DataFrame([[0.123456] * 14], columns=[f"a_long_column_{n}" for n in range(14)])
    outputs = [new_output("display_data", data=image, metadata={"image/png": {"alt": "Seven bars, each higher than the last one."}})]
    cells = [
        new_markdown_cell("# A stage\n\nHow high is $p_i$? Writes `reports/metrics/a_rather_long_path/of_a_stage/and_of_a_run.json`."),
        new_markdown_cell("## 1. A claim"),
        new_code_cell(f"show({'a_very_long_argument, ' * 12})", execution_count=1, outputs=outputs),
        new_code_cell("table", outputs=[new_output("execute_result", data={"text/html": wide.to_html()}, execution_count=2)], execution_count=2),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a small site and return its folder."""
    root = tmp_path_factory.mktemp("report")
    run = {"family": "cs230", "model": "five_layer", "data": "control", "seed": 0, "group": "a"}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    params = check_params({"study": "t", "prepare": {"control": {"dataset": "control"}}, "train": TRAIN, "runs": {"a_run": run}, **sections})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        named = [(stage, "control") for stage in paths.SET_STAGES] + [(stage, "a_run") for stage in paths.RUN_STAGES]
        for stage, name in [*named, *((stage, "") for stage in ALONE)]:
            path = paths.executed_notebook(stage, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(executed(), path)
        split = {"accuracy": 0.6, "accuracy_ci_low": 0.5, "accuracy_ci_high": 0.7, "per_class": {"sad": {"support": 60}}}
        paths.write_json(paths.artefact("evaluate", "metrics", "a_run"), {"val": split, "test": split, "test_dedup": split})
        site.build_site(params, root / "site", conf=CONF)
    return root / "site"


VISITS = {"light on a desk": ("light", 1366, 768), "dark on a phone": ("dark", 390, 844)}
FACTS = """() => ({
    theme: document.documentElement.dataset.theme,
    width: document.documentElement.scrollWidth,
    images: [...document.querySelectorAll("article img")].map(i => [i.alt, i.naturalWidth, getComputedStyle(i).backgroundColor]),
    cut: [...document.querySelectorAll("article :is(p, li) > code")].filter(c => c.getBoundingClientRect().right > innerWidth).map(c => c.innerText),
    boxes: [...document.querySelectorAll(".table-box")].map(b => b.scrollWidth > b.clientWidth),
})"""


@pytest.fixture(scope="module", params=VISITS, ids=lambda visit: visit.replace(" ", "-"))
def visit(request, browser, report) -> dict:
    """Open every page once; return what the browser saw and what it complained of or asked for."""
    theme, width, height = VISITS[request.param]
    seen: dict = {"theme": theme, "width": width, "pages": {}, "complaints": []}
    with browser.new_context(color_scheme=theme, viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.on("console", lambda told: seen["complaints"].append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen["complaints"].append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else seen["complaints"].append(asked.url))
        for path in sorted(report.rglob("*.html")):
            page.goto(path.as_uri())
            seen["pages"][path.relative_to(report).as_posix()] = page.evaluate(FACTS)
    return seen


def test_no_page_complains_or_asks_the_network(visit) -> None:
    stages = len(paths.SET_STAGES) + len(paths.RUN_STAGES) + len(ALONE)
    assert len(visit["pages"]) == stages + 5  # the overview, the search, the pages of the set and of the run, its model card
    assert visit["complaints"] == []


def test_pages_take_the_readers_theme(visit) -> None:
    assert {facts["theme"] for facts in visit["pages"].values()} == {visit["theme"]}


def test_every_figure_is_drawn_on_white_and_has_alt_text(visit) -> None:
    images = [image for facts in visit["pages"].values() for image in facts["images"]]
    assert len(images) >= 8
    assert [image for image in images if len(image[0]) < 20 or image[1] == 0 or image[2] != "rgb(255, 255, 255)"] == []


def test_wide_tables_scroll_inside_and_no_page_does(visit) -> None:
    assert [name for name, facts in visit["pages"].items() if facts["width"] > visit["width"]] == []
    assert all(visit["pages"]["runs/a_run/evaluate.html"]["boxes"])


def test_long_paths_break_before_the_edge_of_the_page(visit) -> None:
    assert {name: facts["cut"] for name, facts in visit["pages"].items() if facts["cut"]} == {}


def test_code_is_folded_until_asked_for(browser, report) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        code = page.locator("article .cell_input").first
        assert not code.is_visible()
        page.get_by_text("Show code").first.click()
        assert code.is_visible()


def test_search_finds_a_page(browser, report) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((report / "search.html").as_uri() + "?q=claim")
        page.locator("#search-results li").first.wait_for(timeout=10_000)


def test_the_switch_changes_the_theme(browser, report) -> None:
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        page.goto((report / "index.html").as_uri())
        page.locator(".theme-switch-button:visible").click()
        page.locator(".theme-change-button[data-mode=dark]:visible").click()
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=5000)
