"""The page of a run's faces in chromium, from a file: cells open their faces by mouse and by keyboard, filters, the fragment, a phone, no scripts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from live_browser import complaints, serious_violations

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reporting" / "site"))

from faces_project import ALT, RUN, faces_params, faces_project

from ferlab import paths
from ferlab.evaluation.predictions import faces_in, read_predictions
from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.site import build

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*is deprecated. Check CHANGES:PendingDeprecationWarning"),
]
STATUS, TILES, DIALOG = ".faces-status", ".faces-list button", ".faces-dialog"
FOCUSED = "document.activeElement.dataset"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the site of the small project; return the page."""
    with faces_project(tmp_path_factory.mktemp("report")) as root:
        build.build_site(faces_params(), root / "site", conf=ROOT / "reports")
        yield root / "site" / "runs" / RUN / "faces.html"


@pytest.fixture(scope="module")
def val(report: Path) -> pd.DataFrame:
    return faces_in(read_predictions(paths.artefact("evaluate", "predictions", RUN)), "val")


@pytest.fixture
def page(browser, report):
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.set_default_timeout(30_000)
        opened = context.new_page()
        told = complaints(opened)
        elsewhere: list[str] = []
        opened.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else elsewhere.append(asked.url))
        show(opened, report)
        yield opened
        assert told == []
        assert elsewhere == []


def show(page, report: Path, fragment: str = "") -> None:
    page.goto("about:blank")  # another fragment alone would not load the page again
    page.goto(f"{report.as_uri()}{fragment}")
    page.locator(".faces").wait_for()


def cell(page, target: str, pred: str):
    return page.locator(f"[data-at='{EXPRESSIONS.index(target)},{EXPRESSIONS.index(pred)}']")


def a_mistake(val: pd.DataFrame) -> tuple[str, str, pd.DataFrame]:
    """Return label and prediction of the first error, and all faces of that cell."""
    first = val[val["target"] != val["pred"]].iloc[0]
    faces = val[(val["target"] == first["target"]) & (val["pred"] == first["pred"])]
    return EXPRESSIONS[first["target"]], EXPRESSIONS[first["pred"]], faces


def listed(page) -> set[str]:
    return set(page.locator(TILES).evaluate_all("tiles => tiles.map(tile => tile.dataset.face)"))


def test_the_mouse_opens_the_faces_of_a_cell_and_a_face(page, val) -> None:
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"
    target, pred, faces = a_mistake(val)
    cell(page, target, pred).click()
    assert page.locator(STATUS).inner_text() == f"{len(faces)} of 24 val faces"
    assert listed(page) == set(faces["face_id"])
    assert sum(map(int, page.locator("[data-at] b").all_inner_texts())) == 24  # the matrix shows what all other conditions select
    said = page.locator(".faces-said").inner_text()
    assert re.match(rf"{target} predicted as {pred}: {len(faces)} of \d+ faces, [\d.]+ % .*95 % interval over subjects", said)
    page.locator(TILES).first.click()
    shown = page.locator(DIALOG)
    assert shown.locator("h2").inner_text().startswith(f"{target} predicted as {pred}, ")
    assert shown.locator(".faces-bars tr").count() == 7
    wrong = shown.locator(".faces-bars tr", has_text=pred)
    face = val.set_index("face_id").loc[page.evaluate("new URLSearchParams(location.hash.slice(1)).get('face')")]
    assert f"{100 * face[f'prob_{pred}']:.1f} %" in wrong.inner_text()
    shown.get_by_role("button", name="Close").click()
    assert not shown.is_visible()
    cell(page, target, pred).click()
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"


def test_the_keyboard_alone_opens_them(page, val) -> None:
    target, pred, faces = a_mistake(val)
    cell(page, "angry", "angry").focus()
    for _ in range(EXPRESSIONS.index(target)):
        page.keyboard.press("ArrowDown")
    for _ in range(EXPRESSIONS.index(pred)):
        page.keyboard.press("ArrowRight")
    at = f"{EXPRESSIONS.index(target)},{EXPRESSIONS.index(pred)}"
    assert page.evaluate(f"{FOCUSED}.at") == at
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert listed(page) == set(faces["face_id"])
    assert page.evaluate(f"{FOCUSED}.face") in set(faces["face_id"])
    page.keyboard.press("Escape")
    assert page.evaluate(f"{FOCUSED}.at") == at
    page.keyboard.press("Escape")
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"
    page.locator(TILES).first.focus()
    page.keyboard.press("ArrowRight")
    second = page.evaluate(f"{FOCUSED}.face")
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().top")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") < below
    assert page.evaluate(f"{FOCUSED}.face") == second
    page.keyboard.press("Enter")
    assert "2 of 24" in page.locator(DIALOG).inner_text()
    page.keyboard.press("ArrowRight")
    assert "3 of 24" in page.locator(DIALOG).inner_text()
    page.keyboard.press("Escape")
    assert not page.locator(DIALOG).is_visible()
    assert page.evaluate(f"{FOCUSED}.face") == page.locator(TILES).nth(2).get_attribute("data-face")
    assert "face=" not in page.url


def test_filters_counts_and_the_fragment_stay_in_step(page, report, val) -> None:
    page.get_by_label("Outcome").select_option("misclassified")
    wrong = val[val["target"] != val["pred"]]
    assert listed(page) == set(wrong["face_id"])
    counts = page.locator("[data-at] b").all_inner_texts()
    assert sum(map(int, counts)) == len(wrong)
    assert {counts[8 * n] for n in range(7)} == {"0"}  # the diagonal
    page.get_by_label("Confidence from, %").fill("40")
    page.keyboard.press("Enter")
    probs = wrong[[f"prob_{name}" for name in EXPRESSIONS]].max(axis=1).round(3)
    sure = set(wrong.loc[probs >= 0.4, "face_id"])
    assert listed(page) == sure
    assert 0 < len(sure) < len(wrong)
    page.locator("summary", has_text="Conditions").click()
    brightness = page.get_by_label("brightness")
    offered = {text.rpartition(" (")[0]: int(text.rpartition(" (")[2][:-1]) for text in brightness.locator("option").all_inner_texts()[1:]}
    group, n = max(offered.items(), key=lambda pair: pair[1])
    brightness.select_option(f" {group}")
    assert page.locator(STATUS).inner_text() == f"{n} of 24 val faces"
    before = page.url, listed(page)
    assert "outcome=misclassified" in page.url
    assert f"where=brightness%3A{group}" in page.url
    show(page, report, f"#{page.url.partition('#')[2]}")
    assert (page.url, listed(page)) == before
    page.get_by_role("button", name="Reset").click()
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"
    assert page.url.partition("#")[2] == ""


def test_a_link_opens_a_face_and_what_no_longer_exists_is_dropped(page, report, val) -> None:
    face = val["face_id"].iloc[2]
    show(page, report, f"#label=joy&where=weather:rain&order=size&from=x&face={face}")
    assert face in page.locator(DIALOG).inner_text()
    assert page.url.partition("#")[2] == f"face={face.replace('/', '%2F')}"
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"
    show(page, report, "#split=train&face=nobody")
    assert page.locator(STATUS).inner_text() == "24 of 24 val faces"
    assert not page.locator(DIALOG).is_visible()


def test_a_face_shows_maps_label_issue_and_duplicates(page, report, val) -> None:
    ids = val["face_id"]
    show(page, report, f"#face={ids[2]}")
    captions = page.locator(f"{DIALOG} figcaption").all_inner_texts()
    assert captions[1:] == ["Grad-CAM of fear; zero everywhere; not believed on control faces", captions[2]]
    assert captions[2].startswith("occlusion of fear; up to ")
    show(page, report, f"#face={ids[0]}")
    text = page.locator(DIALOG).inner_text()
    assert "Not explained" in text
    assert "exact duplicate in train" in text
    page.get_by_role("button", name="mirrored near-duplicate (0.970) in val").click()
    assert ids[1] in page.locator(DIALOG).inner_text()
    show(page, report, f"#face={ids[6]}")
    assert "rank 1 of 2: fear is suggested (90.0 %); label quality 0.010" in page.locator(DIALOG).inner_text()


def test_the_pictures_come_from_the_sheet(page, report, val) -> None:
    show(page, report, f"#order=dataset&face={val['face_id'].iloc[5]}")
    picture = page.locator(f"{DIALOG} .faces-picture").first
    style = picture.evaluate("one => { const s = getComputedStyle(one); return [s.backgroundImage, s.backgroundPosition, s.width]; }")
    assert style[0].endswith('data/drawn/faces/val-0.jpg")')
    assert style[1:] == ["-960px 0px", "192px"]  # the sixth face
    width = "async source => { const image = new Image(); image.src = source; await image.decode(); return image.naturalWidth; }"
    assert page.evaluate(width, style[0][5:-2]) == 64 * 48


def test_the_switch_shows_test_faces_and_what_their_errors_are_worth(page) -> None:
    page.get_by_label("Split").focus()
    page.get_by_label("Split").select_option("test")
    page.locator(STATUS, has_text="12 of 12 test faces").wait_for()
    assert "tuned on them" in page.locator(".faces").inner_text()
    assert page.evaluate(f"{FOCUSED}.key") == "split"
    page.locator(TILES).first.click()
    assert "not searched in this split" in page.locator(DIALOG).inner_text()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark"), (390, "light")])
def test_axe_finds_nothing_serious_and_no_page_scrolls_sideways(browser, report, val, width, theme) -> None:
    with browser.new_context(color_scheme=theme, viewport={"width": width, "height": 844}) as context:
        page = context.new_page()
        show(page, report, "#where=duplicates:unique")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_violations(page, ".faces") == []
        show(page, report, f"#face={val['face_id'].iloc[2]}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(DIALOG).evaluate("one => one.scrollWidth - one.clientWidth") <= 0
        assert serious_violations(page, DIALOG) == []


def test_without_scripts_the_figure_stands_there(browser, report) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(report.as_uri())
        assert page.get_by_alt_text(ALT).is_visible()
        assert page.locator(".faces").count() == 0


def test_with_scripts_the_figure_gives_way(page) -> None:
    assert not page.get_by_alt_text(ALT).is_visible()
