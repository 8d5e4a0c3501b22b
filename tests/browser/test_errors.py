"""The error explorer in chromium: each view selects for the others, by mouse and by keyboard, on a phone, and with 300,000 faces."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_browser import requests_elsewhere, serious_violations

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from errors_faces import six_faces, synthetic, with_model
from mounted import eventually, mount

from ferlab.live.exploration import embedding
from ferlab.live.exploration import panel as errors
from ferlab.live.exploration.panel import ErrorExplorer
from ferlab.paths import InputError

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FACES = 600


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> Path:
    """Return where the maps of these tests are kept: equal faces share one."""
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(autouse=True)
def scratch(maps, monkeypatch) -> None:
    monkeypatch.setattr(embedding, "ROOT", maps)
    monkeypatch.setattr(errors, "evaluated_runs", list)


@pytest.fixture
def page(browser):
    with browser.new_context(viewport={"width": 1440, "height": 1200}) as context:
        context.set_default_timeout(20_000)
        opened = context.new_page()
        failures: list[str] = []
        opened.on("pageerror", lambda error: failures.append(str(error)))
        yield opened
        assert failures == []


def shows(page, selected: int) -> bool:
    """Return whether the page comes to state that so many faces are selected."""
    return eventually(page, lambda: page.locator(".fe-status strong").inner_text() == f"{selected:,}")


def count(explorer: ErrorExplorer) -> int:
    return len(explorer.selected)


def test_a_cell_of_the_matrix_selects_for_all_views(page) -> None:
    explorer = ErrorExplorer(scored := synthetic(FACES))
    mount(page, explorer)
    assert shows(page, FACES)
    page.locator("[data-cell='2,5']").click()
    wanted = int(((scored.predictions["target"] == 2) & (scored.predictions["pred"] == 5)).sum())
    assert shows(page, wanted)
    assert count(explorer) == wanted > 0
    assert page.locator("[data-cell='2,5']").inner_text() == str(wanted)
    assert page.locator("[data-cell='2,5']").get_attribute("aria-pressed") == "true"
    assert eventually(page, lambda: page.locator(".fe-card canvas").count() == wanted)
    assert re.match(r"synthetic/\d{7}: fear as surprise \d+ %", page.locator(".fe-card").first.get_attribute("aria-label"))
    assert page.locator(".fe-map canvas").first.get_attribute("aria-label") == f"Map of {FACES} faces, {wanted} selected"
    page.get_by_role("button", name="remove the condition fear as surprise").click()
    assert shows(page, FACES)


def test_the_matrix_works_by_keyboard_alone(page) -> None:
    explorer = ErrorExplorer(synthetic(FACES))
    mount(page, explorer)
    page.locator("[data-cell='0,0']").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert eventually(page, lambda: explorer.query.get("cells") == [[1, 2]])
    first = count(explorer)
    assert shows(page, first)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+Enter")
    assert eventually(page, lambda: explorer.query["cells"] == [[1, 2], [1, 1]])
    assert count(explorer) > first
    page.keyboard.press("Escape")
    assert shows(page, FACES)


def test_faces_within_a_lasso_are_selected_and_those_alone(page) -> None:
    explorer = ErrorExplorer(synthetic(FACES))
    mount(page, explorer)
    page.wait_for_timeout(200)
    box = page.locator(".fe-frame").bounding_box()
    middle, right, top, bottom = box["x"] + box["width"] / 2, box["x"] + box["width"] - 2, box["y"] + 2, box["y"] + box["height"] - 2
    page.mouse.move(middle, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (middle, bottom)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    assert eventually(page, lambda: bool(explorer.query.get("lasso")))
    left = min(x for x, _ in explorer.query["lasso"])
    assert left == pytest.approx(0, abs=0.02)  # the middle of the map, to a pixel
    assert count(explorer) == int((explorer.coordinates[:, 0] > left).sum())
    assert shows(page, count(explorer))
    page.get_by_role("button", name="remove the condition region of the map").click()
    assert shows(page, FACES)


def test_the_map_zooms_and_selects_by_keyboard(page) -> None:
    explorer = ErrorExplorer(synthetic(FACES))
    mount(page, explorer)
    page.wait_for_timeout(200)
    page.locator(".fe-map canvas").first.focus()
    for key in ("+", "+", "+", "+", "Enter"):
        page.keyboard.press(key)
    assert eventually(page, lambda: bool(explorer.query.get("lasso")))
    seen = count(explorer)
    assert 0 < seen < FACES
    assert shows(page, seen)
    (left, top), _, (right, bottom), _ = explorer.query["lasso"]
    points = explorer.coordinates
    assert seen == int(((points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] < top) & (points[:, 1] > bottom)).sum())
    page.keyboard.press("Escape")
    assert shows(page, FACES)


def test_filters_count_and_select(page) -> None:
    explorer = ErrorExplorer(scored := synthetic(FACES))
    mount(page, explorer)
    wrong = scored.predictions["target"] != scored.predictions["pred"]
    outcome = page.locator("details[data-facet='outcome']")
    outcome.get_by_label("misclassified").check()
    assert shows(page, int(wrong.sum()))
    page.locator("details[data-facet='occluder'] summary").click()
    mask = page.locator("details[data-facet='occluder'] .fe-level", has_text="mask")
    page.wait_for_function("() => document.querySelector(\"details[data-facet='occluder'] .fe-number\").textContent !== ''")
    assert int(mask.locator(".fe-number").inner_text()) == int((wrong & (scored.faces["occluder"] == "mask")).sum())
    page.get_by_label("confidence, lowest").fill("0.6")
    page.keyboard.press("Tab")
    confident = scored.probs.max(axis=1).round(6) >= 0.6
    assert shows(page, int((wrong & confident).sum()))
    page.get_by_role("button", name="clear all").click()
    assert shows(page, FACES)
    assert not outcome.get_by_label("misclassified").is_checked()
    page.locator(".fe-legend button", has_text="fear").click()
    assert eventually(page, lambda: explorer.query["facets"] == {"label": ["fear"]})


def test_the_gallery_holds_the_cards_in_view_alone_and_asks_for_their_pages(page) -> None:
    mount(page, ErrorExplorer(synthetic(20_000), views=("gallery",)))
    page.wait_for_timeout(300)
    assert 0 < page.locator(".fe-card").count() < 100
    asked = "() => window.model.sent.filter(each => each.ask === 'faces' && each.start !== undefined).map(each => each.start)"
    assert page.evaluate(asked) == [0]
    page.locator(".fe-faces").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    page.wait_for_timeout(600)
    assert 0 < page.locator(".fe-card").count() < 100
    assert max(page.evaluate(asked)) >= 19_900
    assert len(page.evaluate(asked)) <= 4
    painted = page.locator(".fe-card canvas").first.evaluate("node => Array.from(node.getContext('2d').getImageData(0, 0, 48, 48).data.slice(0, 9))")
    assert len(set(painted)) > 2


def test_previous_and_next_step_through_the_selection(page) -> None:
    explorer = ErrorExplorer(six_faces())
    mount(page, explorer)
    title, shown = page.locator(".fe-face h4"), page.locator(".fe-id code")
    page.get_by_role("button", name="next").click()
    page.get_by_text("Face 2 of 6").wait_for()
    assert shown.inner_text() == explorer.selected["face_id"][1]
    page.locator(".fe-faces").focus()
    page.keyboard.press("End")
    page.get_by_text("Face 6 of 6").wait_for()
    page.keyboard.press("ArrowRight")  # there is none after the last
    page.keyboard.press("ArrowLeft")
    page.get_by_text("Face 5 of 6").wait_for()
    assert page.locator(".fe-card[aria-selected='true']").count() == 1
    page.locator(".fe-card").first.click()
    page.get_by_text("Face 1 of 6").wait_for()
    assert title.inner_text() == "Face 1 of 6"
    assert "sad, label angry" in page.locator(".fe-run h5").inner_text()
    assert page.locator(".fe-bars .fe-top").first.inner_text() == "sad"
    assert page.get_by_text("angry (label)").count() == 1
    drawn = page.locator(".fe-pictures figure canvas").first.evaluate("node => Array.from(node.getContext('2d').getImageData(3, 3, 1, 1).data)")
    assert drawn == [1, 1, 1, 255]  # the second face is filled with ones


def test_both_maps_are_drawn_for_the_faces_in_view_with_their_scale(page) -> None:
    scored = with_model(six_faces())
    explorer = ErrorExplorer(scored, views=("gallery", "face"))
    mount(page, explorer)
    page.get_by_label("maps").select_option("both")
    page.wait_for_function("() => document.querySelectorAll('.fe-card canvas').length === 18")  # the face and two maps of each
    page.locator(".fe-maps figure").nth(1).wait_for()
    row = int(explorer.rows[0])
    heat = scored.maps([row], [int(scored.predictions["pred"][row])])["occlusion"][0]
    figure = page.locator(".fe-maps figure").nth(1)
    assert figure.locator("figcaption").inner_text() == "occlusion"
    if heat.max() > 0:
        assert float(figure.locator(".fe-scale span").first.inner_text()) == pytest.approx(heat.max(), rel=0.06)
        pixel = np.unravel_index(heat.argmax(), heat.shape)
        read = "(node, at) => Array.from(node.getContext('2d').getImageData(at[1], at[0], 1, 1).data)"
        drawn = figure.locator("canvas").evaluate(read, [int(place) for place in pixel])
        top = np.frombuffer(explorer.palette, np.uint8).reshape(256, 3)[255]
        assert drawn[:3] == pytest.approx(0.55 * top + 0.45 * row, abs=2)


def test_colour_faces_keep_their_colours(page) -> None:
    scored = six_faces()
    colours = np.stack([scored.images, 2 * scored.images + 50, 255 - scored.images], axis=-1).astype(np.uint8)
    mount(page, ErrorExplorer(replace(scored, images=colours), query={"order": "dataset"}))
    page.wait_for_function("() => document.querySelectorAll('.fe-card canvas').length === 6")
    read = "node => Array.from(node.getContext('2d').getImageData(2, 3, 1, 1).data)"
    assert page.locator(".fe-card canvas").nth(3).evaluate(read) == [3, 56, 252, 255]


def test_a_run_that_cannot_be_opened_is_told_and_the_focus_stays(page, monkeypatch) -> None:
    def fail(run):
        raise InputError(f"{run}: no predictions there; run the evaluate stage of this run first")

    monkeypatch.setattr(errors, "evaluated_runs", lambda: ["other"])
    monkeypatch.setattr(errors, "open_run", fail)
    mount(page, ErrorExplorer(six_faces()))
    page.get_by_role("combobox", name="run", exact=True).select_option("other")
    page.get_by_role("alert").get_by_text("run the evaluate stage").wait_for()
    assert page.get_by_role("combobox", name="run", exact=True).input_value() == "a_run"
    page.locator(".fe-legend button").nth(1).focus()
    page.keyboard.press("Enter")
    assert shows(page, 3)
    assert page.evaluate("document.activeElement.textContent") == "happy"
    page.keyboard.press("Enter")
    assert shows(page, 6)
    assert page.get_by_role("alert").count() == 0


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_axe_finds_nothing_serious_and_a_phone_scrolls_down_alone(browser, width, dark) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        mount(page, ErrorExplorer(synthetic(FACES), label_issues=["synthetic/0000001"]), dark=dark)
        page.locator("[data-cell='2,5']").click()
        page.wait_for_timeout(400)
        assert serious_violations(page, ".fe") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for view in ("map", "matrix", "filters", "gallery", "face"):
            assert page.locator(f".fe-{view}").bounding_box()["width"] <= width


def test_300_000_faces_are_drawn_again_at_each_step(page, monkeypatch) -> None:
    """`make bench` has the times."""
    anywhere = np.random.default_rng(0).normal(0, 0.3, (300_000, 2)).clip(-1, 1).astype(np.float32)
    monkeypatch.setattr(errors, "map_faces", lambda _: embedding.FaceMap(anywhere, "random places"))
    explorer = ErrorExplorer(synthetic(300_000))
    mount(page, explorer)
    page.wait_for_function("() => document.querySelector('.fe-map canvas').dataset.draws > 0")
    for act in (
        page.get_by_role("button", name="zoom in").click,
        page.locator("[data-cell='2,5']").click,
        page.get_by_role("button", name="clear all").click,
    ):
        draws = int(page.locator(".fe-map canvas").first.get_attribute("data-draws"))
        act()
        page.wait_for_function("(draws) => Number(document.querySelector('.fe-map canvas').dataset.draws) > draws", arg=draws)
    assert shows(page, 300_000)


def test_the_notebook_works_in_voila_on_a_fresh_clone(browser, voila) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 1400}) as context:
        context.set_default_timeout(120_000)
        page = context.new_page()
        elsewhere = requests_elsewhere(page)
        page.goto(f"{voila}/voila/render/explore_errors.ipynb")
        page.locator(".fe-status strong").wait_for()
        assert page.get_by_text("scored by the model that ships").first.is_visible()
        whole = int(page.locator(".fe-status strong").inner_text())
        page.locator("details[data-facet='outcome']").get_by_label("misclassified").check()
        page.wait_for_function("(whole) => Number(document.querySelector('.fe-status strong').textContent) < whole", arg=whole)
        page.locator(".fe-card canvas").first.wait_for()
        page.locator(".fe-maps figure").nth(1).wait_for()  # Grad-CAM and occlusion of the model that ships
        assert page.locator(".fe-id code").inner_text().startswith("drawn/")
        assert serious_violations(page, ".fe") == []
        page.get_by_role("button", name="correct these faces").click()  # none is of the set that the panel below practises on
        page.get_by_text("0 chosen faces are queued.").wait_for()
        assert elsewhere == []
