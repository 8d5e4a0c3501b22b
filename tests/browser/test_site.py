"""The report site in a real browser: light and dark, wide and narrow, by mouse and keyboard, and nothing asked of the network."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from live_browser import serious_violations
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferlab import paths
from ferlab.colours import COLOURS, contrast
from ferlab.params import check_params
from ferlab.reporting import style
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.site import build as site
from ferlab.reporting.tables import captioned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*is deprecated. Check CHANGES:PendingDeprecationWarning"),
]

ALONE = ("compare", "worlds", "claims")
CONF = Path(__file__).resolve().parents[2] / "reports"
TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}


def displayed(figure: Figure, alt: str) -> nbformat.NotebookNode:
    """Return the output of `show`."""
    outputs: list[nbformat.NotebookNode] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "display", lambda data, **told: outputs.append(new_output("display_data", data=data, metadata=told["metadata"])))
        style.show(figure, alt)
    return outputs[0]


def charts() -> Figure:
    """Return bars with intervals, baseline and coloured words beside a heat map whose cells hold their values."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(range(7), range(7), color=list(COLOURS.values())[:7])
    left.errorbar(range(7), range(7), yerr=1, fmt="none", color="#222222")
    left.axhline(3, color="#949494", linestyle="--")
    left.set_xlabel("height of a bar", fontsize=9)
    for place, (name, colour) in enumerate(COLOURS.items()):
        left.text(0, place, name, color=colour, fontsize=9)
    values = np.linspace(0, 1, 9).reshape(3, 3)
    right.pcolormesh(values, cmap="Blues", edgecolors="white", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        right.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.7 else "black")
    return figure


def faces() -> Figure:
    """Return a row of faces."""
    figure = Figure(figsize=(7, 1.5))
    for axes in figure.subplots(1, 7):
        axes.imshow(np.eye(48), interpolation="nearest")
        axes.set_title("a face", fontsize=9)
    return figure


def executed() -> nbformat.NotebookNode:
    """Return a notebook with a drawing, a picture, a table wider than a phone, long code and a formula."""
    with plt.rc_context(), pytest.MonkeyPatch.context() as patch:
        style.use_style()
        outputs = [displayed(charts(), "Seven bars, each higher than the last one.")]
        patch.setattr(style, "LARGEST_DRAWING", 0)
        picture = displayed(faces(), "Seven faces, each like the last one.")
    assert ["image/svg+xml" in each["data"] for each in (*outputs, picture)] == [True, False]
    wide = html_table(captioned(pd.DataFrame([[0.123456] * 14], columns=[f"a_long_column_{n}" for n in range(14)]), "Fourteen columns"))
    table = new_output("execute_result", data={"text/html": wide}, execution_count=2)
    cells = [
        new_markdown_cell("# A stage\n\nHow high is $p_i$? Writes `reports/metrics/a_rather_long_path/of_a_stage/and_of_a_run.json`."),
        new_markdown_cell("## 1. A claim"),
        new_code_cell(f"show({'a_very_long_argument, ' * 12})", execution_count=1, outputs=outputs),
        new_code_cell("table", outputs=[table, picture], execution_count=2),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a small site and return its folder."""
    root = tmp_path_factory.mktemp("report")
    run = {"family": "cs230", "model": "five_layer", "data": "control", "seed": 0, "group": "a"}
    runs = {"a_run": run, "b_run": {**run, "seed": 1}}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    params = check_params({"study": "t", "prepare": {"control": {"dataset": "control"}}, "train": TRAIN, "runs": runs, **sections})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        patch.setattr(site, "stale_results", lambda *_: {("evaluate", "b_run"): "code"})
        patch.setattr(site, "uncommitted_code", list)
        named = [(stage, "control") for stage in paths.SET_STAGES] + [(stage, "a_run") for stage in paths.RUN_STAGES] + [("evaluate", "b_run")]
        for stage, name in [*named, *((stage, "") for stage in ALONE)]:
            path = paths.executed_notebook(stage, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(executed(), path)
        for name, accuracy in (("a_run", 0.6), ("b_run", 0.7)):
            split = {"accuracy": accuracy, "accuracy_ci_low": 0.5, "accuracy_ci_high": 0.8, "per_class": {"sad": {"support": 60}}}
            paths.write_json(paths.artefact("evaluate", "metrics", name), {"val": split, "test": split, "test_dedup": split})
        site.build_site(params, root / "site", conf=CONF)
    return root / "site"


VISITS = {f"{theme} at {width}": (theme, width, height) for theme in ("light", "dark") for width, height in ((1440, 900), (390, 844))}
AUDITED = (("light", 1440), ("dark", 390))  # axe-core takes seconds a page
FACTS = """() => ({
    theme: document.documentElement.dataset.theme,
    width: document.documentElement.scrollWidth,
    images: [...document.querySelectorAll("article img")].map(i => [i.alt, i.naturalWidth, getComputedStyle(i).backgroundColor]),
    cut: [...document.querySelectorAll("article :is(p, li) > code")].filter(c => c.getBoundingClientRect().right > innerWidth).map(c => c.innerText),
    unsigned: [...document.querySelectorAll(".table-box, .pst-scrollable-table-container, .drawing-box")].filter(box => {
        const sign = box.previousElementSibling;
        return box.checkVisibility() && box.scrollWidth > box.clientWidth + 1 && !(sign?.matches(".scroll-sign") && sign.checkVisibility());
    }).length,
    links: [...document.querySelectorAll("a[href]")].map(a => a.href),
    ids: [...document.querySelectorAll("[id]")].map(e => e.id),
    drawings: [...document.querySelectorAll("svg.drawing")].map(d => [d.getAttribute("role"), d.getAttribute("aria-label")]),
    letters: [...document.querySelectorAll("svg.drawing text")].map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a),
    narrowed: [...document.querySelectorAll(".drawing-box img")].filter(i => i.clientWidth < parseInt(/least-(\\d+)/.exec(i.className)[1])).length,
    wide: [...document.querySelectorAll(":is(.table-box, .pst-scrollable-table-container) caption")].filter(c => c.checkVisibility() &&
        c.clientWidth > c.closest(".table-box, .pst-scrollable-table-container").clientWidth).map(c => c.innerText),
    found: document.body.innerText.includes("height of a bar") && window.find("height of a bar"),
    boxes: [...document.querySelectorAll(".table-box")].map(b => b.scrollWidth > b.clientWidth),
})"""


@pytest.fixture(scope="module", params=VISITS, ids=lambda visit: visit.replace(" ", "-"))
def visit(request, browser, report) -> dict:
    """Open every page once; return what the browser saw and what it complained of or asked for."""
    theme, width, height = VISITS[request.param]
    seen: dict = {"theme": theme, "width": width, "pages": {}, "complaints": [], "violations": []}
    with browser.new_context(color_scheme=theme, viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.on("console", lambda told: seen["complaints"].append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen["complaints"].append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else seen["complaints"].append(asked.url))
        for path in sorted(report.rglob("*.html")):
            page.goto(path.as_uri())
            seen["pages"][path.relative_to(report).as_posix()] = page.evaluate(FACTS)
            if (theme, width) in AUDITED:
                seen["violations"] += [f"{path.name}: {told}" for told in serious_violations(page, "body")]
    return seen


def test_no_page_complains_or_asks_the_network(visit) -> None:
    stages = len(paths.SET_STAGES) + len(paths.RUN_STAGES) + 1 + len(ALONE)
    assert len(visit["pages"]) == stages + 8  # the overview, the bench, the search, the pages of the set and of the runs, their model cards
    assert visit["complaints"] == []


def test_axe_finds_nothing_serious_on_any_page(visit) -> None:
    assert sorted(set(visit["violations"])) == []


def test_every_link_and_anchor_resolves(visit, report) -> None:
    ids = {(report / name).as_uri(): set(facts["ids"]) for name, facts in visit["pages"].items()}
    links = {link for facts in visit["pages"].values() for link in facts["links"] if link.startswith("file:")}
    assert len(links) > 30
    for link in links:
        page, _, anchor = link.partition("#")
        place = page.partition("?")[0]
        assert place in ids or Path(place.removeprefix("file://")).is_file(), link
        assert not anchor or anchor in ids[place], link


def test_no_cut_table_is_without_its_sign(visit) -> None:
    assert {name: facts["unsigned"] for name, facts in visit["pages"].items() if facts["unsigned"]} == {}


def test_pages_take_the_readers_theme(visit) -> None:
    assert {facts["theme"] for facts in visit["pages"].values()} == {visit["theme"]}


def test_every_picture_is_drawn_on_white_and_has_alt_text(visit) -> None:
    images = [image for facts in visit["pages"].values() for image in facts["images"]]
    assert len(images) >= 8
    assert [image for image in images if len(image[0]) < 20 or image[1] == 0 or image[2] != "rgb(255, 255, 255)"] == []


def test_every_drawing_is_an_image_with_alt_text_and_its_words_are_found(visit) -> None:
    drawings = [drawing for facts in visit["pages"].values() for drawing in facts["drawings"]]
    assert len(drawings) >= 8
    assert [drawing for drawing in drawings if drawing[0] != "img" or len(drawing[1]) < 20] == []
    assert visit["pages"]["runs/a_run/evaluate.html"]["found"]


def test_no_text_of_a_figure_is_too_small_to_read(visit) -> None:
    letters = [size for facts in visit["pages"].values() for size in facts["letters"]]
    assert len(letters) > 100
    assert min(letters) >= 9
    assert {name: facts["narrowed"] for name, facts in visit["pages"].items() if facts["narrowed"]} == {}


def test_no_id_of_a_page_is_there_twice(visit) -> None:
    assert any(re.match(r"drawing\d", name) for facts in visit["pages"].values() for name in facts["ids"])
    assert {name for name, facts in visit["pages"].items() if len(facts["ids"]) != len(set(facts["ids"]))} == set()


# Each text of a drawing with its colour and that of the cell below it, or of the page; each line with its colour.
SEEN = """() => {
    const ground = getComputedStyle(document.body).backgroundColor;
    const filled = [...document.querySelectorAll("svg.drawing :is(path, use)")].map(p => [getComputedStyle(p), p.getBoundingClientRect()])
        .filter(([style]) => style.fill.startsWith("rgb") && style.fill !== ground);
    const below = (box) => filled.findLast(([, b]) => b.left <= box.left && b.right >= box.right && b.top <= box.top && b.bottom >= box.bottom);
    return {
        texts: [...document.querySelectorAll("svg.drawing text")].map(t => {
            return [t.textContent, getComputedStyle(t).fill, below(t.getBoundingClientRect())?.[0].fill ?? ground];
        }),
        lines: [...document.querySelectorAll("svg.drawing path")].map(p => getComputedStyle(p).stroke).filter(c => c.startsWith("rgb")),
        bars: filled.map(([style]) => style.fill),
        ground,
        line: getComputedStyle(document.querySelector("svg.drawing")).getPropertyValue("--drawing-line").trim(),
    };
}"""


def as_hex(colour: str) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in re.findall(r"\d+", colour)[:3])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_marks_of_a_drawing_stand_out_in_both_themes(browser, report, theme) -> None:
    with browser.new_context(color_scheme=theme, viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        seen = page.evaluate(SEEN)
    ground = as_hex(seen["ground"])
    cells = [text for text, _, below in seen["texts"] if as_hex(below) != ground]
    assert len(cells) >= 9
    assert {"angry", "height of a bar"} <= {text for text, *_ in seen["texts"]} - set(cells)
    assert [told for told in seen["texts"] if contrast(as_hex(told[1]), as_hex(told[2])) < 4.5] == []
    marks = {as_hex(colour) for colour in seen["lines"]} - {ground, seen["line"]}
    assert len(marks) >= 3
    assert [colour for colour in marks if contrast(colour, ground) < 3] == []
    if theme == "dark":  # on white the palette's orange and sky blue fall to 2.2
        assert [name for name, colour in COLOURS.items() if contrast(colour, ground) < 3] == []


def test_wide_tables_scroll_inside_and_no_page_does(visit) -> None:
    assert [name for name, facts in visit["pages"].items() if facts["width"] > visit["width"]] == []
    assert all(visit["pages"]["runs/a_run/evaluate.html"]["boxes"])
    assert {name: facts["wide"] for name, facts in visit["pages"].items() if facts["wide"]} == {}


def test_long_paths_break_before_the_edge_of_the_page(visit) -> None:
    assert {name: facts["cut"] for name, facts in visit["pages"].items() if facts["cut"]} == {}


def test_code_is_folded_until_asked_for_without_scripts_too(browser, report) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        codes = page.locator("article .cell_input")
        assert codes.count() == 2
        assert not codes.first.is_visible()
        page.locator("article summary", has_text="Show code").first.click()
        assert [code.is_visible() for code in codes.all()] == [True, False]


def test_one_switch_shows_and_hides_all_code_of_a_page_and_is_forgotten(browser, report) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        codes, switch = page.locator("article .cell_input"), page.get_by_role("switch", name="Show code")
        for shown in (True, False, True):
            switch.focus()
            page.keyboard.press("Space")
            assert switch.get_attribute("aria-checked") == str(shown).lower()
            assert [code.is_visible() for code in codes.all()] == [shown, shown]
        page.reload()
        assert [code.is_visible() for code in codes.all()] == [False, False]


def test_runs_sort_by_mouse_and_keyboard(browser, report) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto((report / "index.html").as_uri())
        head = page.locator(".sortable th").filter(has_text=re.compile("^Accuracy, test"))
        runs = page.locator(".sortable tbody tr td:first-child a")
        assert runs.all_inner_texts() == ["a_run", "b_run"]
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert runs.all_inner_texts() == ["b_run", "a_run"]
        page.keyboard.press("Enter")  # the button has the focus
        assert head.get_attribute("aria-sort") == "ascending"
        assert runs.all_inner_texts() == ["a_run", "b_run"]
        page.locator(".sortable th", has_text="Run").get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "none"


def test_the_first_column_stays_when_a_table_scrolls(browser, report) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        box = page.locator(".table-box").first
        first, sign = box.locator("tbody th").first, page.locator(".scroll-sign:has(+ .table-box)").first
        before = first.bounding_box()["x"]
        assert sign.inner_text() == "more columns →"
        box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        page.wait_for_function("document.querySelector('.scroll-sign:has(+ .table-box)').textContent.startsWith('←')", timeout=5000)
        assert abs(first.bounding_box()["x"] - before) < 2


def test_a_wide_figure_scrolls_by_itself_and_says_so(browser, report) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        box, sign = page.locator(".drawing-box").first, page.locator(".scroll-sign:has(+ .drawing-box)").first
        assert sign.inner_text() == "more to the right →"
        assert box.evaluate("box => box.scrollWidth") > 600
        box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        page.wait_for_function("document.querySelector('.scroll-sign:has(+ .drawing-box)').textContent === '← more to the left'", timeout=5000)


def test_a_figure_enlarges_zooms_and_escape_closes_it(browser, report) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        page.locator("article button.zoom").first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Enlarged figure")
        dialog.wait_for(timeout=5000)
        assert dialog.locator(".lightbox-caption").inner_text() == "Figure 1. Seven bars, each higher than the last one."
        picture = dialog.locator("svg")
        page.wait_for_function("document.querySelector('.lightbox svg').style.width !== ''", timeout=5000)
        fit = picture.bounding_box()["width"]
        assert 200 < fit <= 390
        assert picture.locator("text", has_text="height of a bar").is_visible()
        assert serious_violations(page, "dialog") == []
        page.keyboard.press("+")
        assert picture.bounding_box()["width"] > 1.4 * fit
        page.keyboard.press("-")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.querySelector('.lightbox img')?.style.width", timeout=5000)
        assert dialog.locator(".lightbox-caption").inner_text() == "Figure 2. Seven faces, each like the last one."
        dialog.get_by_role("button", name="Previous").click()
        picture.wait_for(timeout=5000)
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert page.evaluate("document.activeElement.className") == "zoom"


def test_a_preliminary_figure_says_so_and_others_do_not(browser, report) -> None:
    mark = "getComputedStyle(document.querySelector('article .drawing-box'), '::before').content"
    with browser.new_context() as context:
        page = context.new_page()
        for run, shown in (("b_run", '"preliminary"'), ("a_run", "none")):
            page.goto((report / f"runs/{run}/evaluate.html").as_uri())
            assert page.evaluate(mark) == shown
            assert page.get_by_text("Preliminary: not of the current state").is_visible() is (run == "b_run")


def test_without_scripts_the_page_reads_as_it_is(browser, report) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((report / "index.html").as_uri())
        assert page.locator(".sortable tbody tr").count() == 2
        assert page.locator(".sortable button").count() == 0
        page.goto((report / "runs/a_run/evaluate.html").as_uri())
        assert page.locator(".figure-caption", has_text="Figure 1. Seven bars").is_visible()
        assert page.locator("svg.drawing text", has_text="height of a bar").is_visible()


@pytest.mark.parametrize("word", ["claim", "bars"])  # of a heading, and of a caption
def test_search_finds_a_page(browser, report, word) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((report / "search.html").as_uri() + f"?q={word}")
        page.locator("#search-results li").first.wait_for(timeout=10_000)


def test_the_switch_changes_the_theme(browser, report) -> None:
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        page.goto((report / "index.html").as_uri())
        page.locator(".theme-switch-button:visible").click()
        page.locator(".theme-change-button[data-mode=dark]:visible").click()
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=5000)
