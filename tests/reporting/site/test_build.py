"""The report site: built from params, whole or not at all, offline, the same bytes twice."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferlab import paths
from ferlab.params import Params, Source, check_params
from ferlab.paths import InputError
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.site import build as site
from ferlab.reporting.site import cards, sources
from ferlab.reporting.site.entries import collect
from ferlab.reporting.site.overview import Commit, overview, runs_table
from ferlab.reporting.tables import captioned

# MyST-parser calls what Sphinx 11 will drop; its version is pinned.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated. Check CHANGES:PendingDeprecationWarning")

CONF = Path(__file__).resolve().parents[3] / "reports"
BANNER = "drawn, not photographed; numbers say nothing about real faces"
TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
PIXEL = base64.b64encode(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg==")).decode()


def make_params(*runs: str) -> Params:
    """Return params with a control set, a FER2013 set and these runs, the last one on FER2013."""
    named = {
        run: {"family": "cs230", "model": "five_layer", "data": "real" if run == "on_real" else "drawn", "seed": 0, "group": run} for run in runs
    }
    whole = {
        "study": "trial",
        "prepare": {"drawn": {"dataset": "control"}, "real": {"dataset": "fer2013"}},
        "train": TRAIN,
        "runs": named,
        "audit": {},
        "evaluate": {},
        "explain": {},
        "analyze_errors": {},
        "compare": {},
        "deploy": {},
    }
    return check_params(whole)


PREPARED = {"splits": {"train": 7000, "val": 10, "test": 20}}


def write_project(root: Path, params: Params, *, without: tuple[str, ...] = ()) -> None:
    """Write an executed notebook and metrics for every stage of these params."""
    named = [(stage, name) for name in params.prepare for stage in paths.SET_STAGES]
    named += [(stage, name) for name in params.runs for stage in paths.RUN_STAGES] + [("compare", "")]
    for stage, name in named:
        notebook = paths.executed_notebook(stage, name)
        notebook.parent.mkdir(parents=True, exist_ok=True)
        if stage not in without:
            nbformat.write(executed(stage), notebook)
        split = {"accuracy": 0.612, "accuracy_ci_low": 0.589, "accuracy_ci_high": 0.634, "per_class": {"happy": {"support": 1200}}}
        rule = "By subject" if name == "drawn" else "PrivateTest is absent: a tenth of Training selects"
        dataset, official = ("control", None) if name == "drawn" else ("fer2013", False)
        prepared = PREPARED | {"dataset": dataset, "split_rule": rule, "official_test": official}
        values = {"test": split} if stage == "evaluate" else prepared if stage == "prepare" else {}
        paths.write_json(paths.artefact(stage, "metrics", name), {**values, "provenance": {"study": "trial", "params": "abc123"}})


def executed(stage: str) -> nbformat.NotebookNode:
    figure = new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": f"Confusion matrix of {stage}, faces."}})
    table = new_output("execute_result", data={"text/html": html_table(captioned(pd.DataFrame({"n": [1]}), "Faces"))}, execution_count=3)
    cells = [
        new_markdown_cell(f"# Stage {stage}\n\nWhat is $p_i = e^{{z_i}}$?"),
        new_code_cell("run = None", metadata={"tags": ["parameters"]}),
        new_code_cell("run = 'injected_value'", metadata={"tags": ["injected-parameters"]}),
        new_markdown_cell("## 1. A claim"),
        new_code_cell("show_it()", execution_count=2, outputs=[figure]),
        new_code_cell("table", execution_count=3, outputs=[table]),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module", autouse=True)
def current() -> Iterator[None]:
    """Take all results for current: these projects hold no records, and the code of this checkout may be at work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "stale_results", lambda *_: {})
        patch.setattr(site, "uncommitted_code", list)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose site is built: two runs, and the notebook of a run that params no longer name."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        patch.setattr(site, "git_commit", lambda: Commit("c0ffee1", "2026-01-31"))
        write_project(root, make_params("on_drawn", "on_real", "forgotten"))
        (root / "reports" / "test_scorings.csv").write_text(
            "study,run,set,record,n\n" + "trial,on_real,real,a,3\n" * 3 + "other,on_real,real,b,3\n" + "trial,on_drawn,drawn,a,3\n"
        )
        assert site.build_site(make_params("on_drawn", "on_real"), root / "reports" / "site", conf=CONF) == []
        yield root


@pytest.fixture(scope="module")
def pages(project: Path) -> dict[str, str]:
    folder = project / "reports" / "site"
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.html"))}


def article(page: str) -> str:
    found = re.search(r"<article.*?</article>", page, flags=re.DOTALL)
    return found.group() if found else ""  # the search page has none


def test_there_is_a_page_per_stage_and_set_or_run(pages: dict[str, str]) -> None:
    wanted = {f"data/{name}/{stage}.html" for name in ("drawn", "real") for stage in (*paths.SET_STAGES, "index", "dataset_card")}
    wanted |= {f"runs/{name}/{stage}.html" for name in ("on_drawn", "on_real") for stage in (*paths.RUN_STAGES, "index", "model_card")}
    assert set(pages) == wanted | {"index.html", "bench.html", "compare.html", "search.html"}


def test_a_card_is_a_page_and_a_file_with_front_matter(project: Path, pages: dict[str, str]) -> None:
    for page, begins in (("runs/on_real/model_card.html", "license: mit"), ("data/real/dataset_card.html", "pretty_name: fer2013, prepared as real")):
        place = re.search(r'href="([^"]*_downloads/[^"]+\.md)"', pages[page])
        assert place, page
        assert ((project / "reports" / "site" / page).parent / place[1]).read_text().startswith(f"---\n{begins}")
        assert "pretty_name" not in article(pages[page])
        index = pages[page.rpartition("/")[0] + "/index.html"]
        assert f'href="{page.rpartition("/")[2]}"' in index


def test_what_params_no_longer_name_is_nowhere(pages: dict[str, str]) -> None:
    assert not [name for name, page in pages.items() if "forgotten" in page]


def test_every_image_has_alt_text(pages: dict[str, str]) -> None:
    images = [tag for page in pages.values() for tag in re.findall(r"<img[^>]*>", page)]
    assert len(images) >= 14
    assert [tag for tag in images if not re.search(r'alt="[^"]{20,}"', tag)] == []
    assert [tag for tag in images if re.search(r'alt="[^"]*\.png"', tag)] == []


def test_nothing_is_asked_of_the_network(project: Path, pages: dict[str, str]) -> None:
    asked = r'<(?:script|img|iframe|source)[^>]*src="((?:https?:)?//[^"]*)|<link[^>]*href="((?:https?:)?//[^"]*)'
    assert [name for name, page in pages.items() if re.search(asked, page)] == []
    for sheet in (project / "reports" / "site").rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet.name
    assert "<math" in pages["compare.html"]


def test_pages_of_drawn_faces_say_so_and_only_those(pages: dict[str, str]) -> None:
    marked = {name for name, page in pages.items() if BANNER in article(page)}
    drawn = {name for name in pages if name.startswith(("data/drawn/", "runs/on_drawn/"))}
    assert marked == drawn | {"index.html", "bench.html", "compare.html"}


def test_fer2013_without_private_test_states_its_split(pages: dict[str, str]) -> None:
    for name in ("data/real/prepare.html", "runs/on_real/evaluate.html", "runs/on_real/index.html", "index.html"):
        assert "PrivateTest is absent" in article(pages[name]), name
    assert "PrivateTest" not in article(pages["runs/on_drawn/evaluate.html"])


def test_overview_shows_estimates_with_intervals_and_counts_scorings(pages: dict[str, str]) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", article(pages["index.html"])))
    assert "on_real real: not scored 61.2 % [58.9, 63.4]" in text
    assert "classifies 61.2 % [58.9, 63.4] of the 1,200 test faces of real correctly (95 % interval over faces; TTA: flip)" in text
    assert "drawn control 7,000 10 20 By subject" in text
    assert re.search(r"Different results on_real 3 1 (?!on_drawn)", text)


def test_overview_of_control_faces_alone_counts_no_scorings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_drawn")
    write_project(tmp_path, params)
    (tmp_path / "pages").mkdir()
    page = overview(params, collect(params), tmp_path / "pages", scorings=[{"study": "trial", "run": "on_drawn"}], commit=None)
    assert "Scorings of the test split are not recorded: all datasets of this study are control faces" in page
    assert "This folder is not a Git checkout" in page
    assert "ferlab study trial && make repro" in page
    assert "Times the test split was scored" not in page


def test_the_commit_stands_on_the_overview_alone(project: Path) -> None:
    folder = project / "reports" / "site"
    holding = [path.name for path in folder.rglob("*") if path.is_file() and b"c0ffee1" in path.read_bytes()]
    assert holding == ["index.html"]


def test_the_overview_says_how_to_reproduce_and_to_cite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_drawn")
    write_project(tmp_path, params)
    (tmp_path / "CITATION.cff").write_bytes((CONF.parent / "CITATION.cff").read_bytes())
    (tmp_path / "pages" / "docs").mkdir(parents=True)
    (tmp_path / "pages" / "docs" / "results.md").write_text("# Results")
    page = overview(params, collect(params), tmp_path / "pages", scorings=[], commit=Commit("c0ffee1c0ffee1", "2026-01-31"))
    assert "Commit `c0ffee1c0ffe` of 2026-01-31 · MIT licence · reproduce: `ferlab study trial && make repro` at this commit" in page
    assert re.search(r"How to cite\n:class: fold no-search\n:collapsible: closed\n\nThe ferlab developers \(2026\)\. .*commit c0ffee1", page)
    assert "[Results on real FER2013](docs/results.md)" in page
    assert "docs/tour.md" not in page  # there is none


def test_set_up_is_excluded_and_code_is_folded(pages: dict[str, str]) -> None:
    page = article(pages["runs/on_drawn/evaluate.html"])
    assert "injected_value" not in page
    assert re.search(r"<details[^>]*hide[^>]*>.*Show code.*show_it", page, flags=re.DOTALL)


def test_no_table_of_the_report_is_without_words(pages: dict[str, str]) -> None:
    """Prose and cards, which other sites render too, have a heading and a sentence before each table."""
    numbered = {name: page for name, page in pages.items() if not name.startswith("docs/") and not name.endswith("_card.html")}
    for name, page in numbered.items():
        tables = re.findall(r"<table.*?</table>", article(page), flags=re.DOTALL)
        told = [re.search(r"<caption>(?:<span[^>]*>)?Table (\d+)\. [A-Z][^<]{3,}\.<", table) for table in tables]
        assert all(told), name
        assert [int(found.group(1)) for found in told if found] == [*range(1, len(tables) + 1)], name
    assert sum("<table" in article(page) for page in numbered.values()) > 10


def test_tables_of_notebooks_scroll_in_their_own_box(pages: dict[str, str]) -> None:
    assert 'class="table-box" tabindex="0"' in article(pages["compare.html"])


def test_two_builds_differ_in_the_commit_only(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = project / "reports" / "site", project / "elsewhere" / "again"
    second.parent.mkdir()
    monkeypatch.setattr(site, "git_commit", lambda: Commit("decade2", "2026-01-31"))
    site.build_site(make_params("on_drawn", "on_real"), second, conf=CONF)
    names = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert names == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    assert [str(name) for name in sorted(names) if (first / name).read_bytes() != (second / name).read_bytes()] == ["index.html"]
    assert (first / "index.html").read_text().replace("c0ffee1", "decade2") == (second / "index.html").read_text()
    assert not list(second.parent.glob(".*"))


def test_a_failed_build_leaves_the_last_site(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = project / "reports" / "site"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def fail(*_: object, **__: object) -> list[str]:
        raise OSError("disk full")

    monkeypatch.setattr(site, "render", fail)
    with pytest.raises(OSError, match="disk full"):
        site.build_site(make_params("on_drawn"), place, conf=CONF)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not list(place.parent.glob(".site*"))


def test_a_site_that_its_owner_alone_reads_stays_so_and_is_built_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_project(tmp_path, make_params("on_drawn"))
    place, modes = tmp_path / "reports" / "site", []
    place.mkdir(mode=0o700)

    def render(source: Path, target: Path, **_: object) -> list[str]:
        modes.append(source.parent.stat().st_mode & 0o777)
        target.mkdir(mode=0o755)
        return []

    for name in ("write_files", "bench_page.complete_page"):
        monkeypatch.setattr(f"ferlab.reporting.site.build.{name}", lambda *_: None)
    monkeypatch.setattr(site, "render", render)
    site.build_site(make_params("on_drawn"), place, conf=CONF)
    assert [*modes, place.stat().st_mode & 0o777] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["letters", "letter.txt"])
def test_the_site_takes_no_other_folders_place(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "letters").mkdir(exist_ok=True)
    (project / "letters" / "index.html").write_text("mine")
    (project / "letter.txt").write_text("mine")
    assert site.main([str(project / name)]) == 1
    assert "holds what is no report site" in capsys.readouterr().err
    assert (project / "letters" / "index.html").read_text() == (project / "letter.txt").read_text() == "mine"


def test_a_broken_notebook_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_project(tmp_path, make_params("on_drawn"))
    paths.executed_notebook("train", "on_drawn").write_text('{"cells": [')
    with pytest.raises(InputError, match=r"03_train-on_drawn\.ipynb: not JSON .* stage train makes it anew"):
        collect(make_params("on_drawn"))


def test_before_any_stage_has_run_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(InputError, match=r"no stage of params\.yaml has run yet"):
        collect(make_params("on_drawn"))


def test_a_stage_that_has_not_run_is_named_not_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_drawn")
    write_project(tmp_path, params, without=("deploy", "compare"))
    sources.write_sources(params, collect(params), tmp_path / "pages", scorings=[], commit=None)
    card = (tmp_path / "pages" / "runs" / "on_drawn" / "index.md").read_text()
    assert "- Deploy: not run yet" in card
    assert "deploy.ipynb" not in card
    assert "compare" not in (tmp_path / "pages" / "index.md").read_text()


def test_claims_are_a_list_with_a_page_without_the_box_of_control_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_drawn")
    write_project(tmp_path, params)
    nbformat.write(executed("claims"), paths.executed_notebook("claims"))
    paths.write_json(paths.artefact("claims", "metrics"), [{"paper": "p", "claim": "c", "check": "k", "verdict": "holds", "evidence": "e"}])
    paths.write_json(paths.artefact("claims", "record"), {"params": "abc", "data": "def", "code": "fed", "files": {}})
    (tmp_path / "pages").mkdir()
    entries = collect(params)
    claims = next(entry for entry in entries if entry.stage == "claims")
    assert claims.metrics == {"verdicts": ["holds"], "provenance": {"params": "abc", "data": "def", "code": "fed"}}
    sources.write_sources(params, entries, tmp_path / "pages", scorings=[], commit=None)
    overview = (tmp_path / "pages" / "index.md").read_text()
    assert "Published claims <claims>" in overview
    assert "of 1 checks 1 hold, 0 do not hold, 0 cannot be told" in overview
    assert "numbers say nothing about real faces" not in (tmp_path / "pages" / "claims.ipynb").read_text()
    paths.artefact("claims", "metrics").write_text("{}")
    with pytest.raises(InputError, match=r"claims\.json: expected a JSON list"):
        collect(params)


def test_models_of_the_worlds_saw_control_faces_whatever_the_runs_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_real")
    write_project(tmp_path, params)
    nbformat.write(executed("worlds"), paths.executed_notebook("worlds"))
    (tmp_path / "pages").mkdir()
    sources.write_sources(params, collect(params), tmp_path / "pages", scorings=[], commit=None)
    worlds, compared = ((tmp_path / "pages" / f"{page}.ipynb").read_text() for page in ("worlds", "compare"))
    assert BANNER in worlds
    assert "Not the official test" not in worlds
    assert BANNER not in compared


def test_a_figure_without_alt_text_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(site, "render", lambda source, target, conf: target.mkdir() or [])
    monkeypatch.setattr(site.bench_page, "complete_page", lambda params, folder: None)
    params = make_params("on_drawn")
    write_project(tmp_path, params)
    path = paths.executed_notebook("train", "on_drawn")
    notebook = json.loads(path.read_text())
    notebook["cells"][4]["outputs"][0]["metadata"] = {}
    path.write_text(json.dumps(notebook))
    warnings = site.build_site(params, tmp_path / "site", conf=CONF)
    assert warnings == [f"runs/on_drawn/train: cell {notebook['cells'][4]['id']} shows a figure without alt text of its own"]


def test_overview_marks_a_split_that_the_net_was_trained_on() -> None:
    scores = {"accuracy": 0.7466, "accuracy_ci_low": 0.73, "accuracy_ci_high": 0.76, "n": 10}
    params = make_params("on_drawn")
    first = next(iter(params.runs))
    for fitted, marked in ((["train"], False), (["train", "val"], True)):
        text = cards.results_table(params, {first: {"val": scores, "test": scores, "test_dedup": None, "trained_on": fitted}}, links={})
        assert ("trained on" in text) is marked
        assert ("selected its epoch" in text) is not marked  # val, of metrics that do not say more
    text = cards.results_table(params, {first: {"val": scores, "test": scores, "trained_on": ["train"], "selected_on": ["test"]}}, links={})
    assert [("selected its epoch" in row) for row in text.splitlines()[4:6]] == [False, True]


def test_a_run_is_one_row_with_test_first_val_marked_and_accuracy_under_corruption() -> None:
    def level(accuracy: float) -> dict[str, float]:
        return {"accuracy": accuracy, "accuracy_ci_low": accuracy - 0.05, "accuracy_ci_high": accuracy + 0.05}

    measured = {"n": 200, "split": "val", "accuracy_by_corruption": {"fog": {}, "JPEG": {}}, "severities": {"5": level(0.4)}}
    params = make_params("on_drawn", "on_real")
    scored = {"test": level(0.8), "val": level(0.9), "n": {"test": 60, "test_dedup": 60}, "test_dedup": level(0.8)}
    text = runs_table(params, {"on_drawn": scored}, {"on_drawn": measured}, links={"on_drawn": "runs/on_drawn/evaluate.ipynb"})
    _, _, head, _, first, second, _ = text.splitlines()
    assert head == "| Run | Accuracy, test | Balanced accuracy, test | Macro F1, test | ECE, test | Accuracy, val | Accuracy, severity 5 |"
    assert re.findall(r"\*\*(.*?)\*\*", first) == ["80.0 %", "90.0 %", "40.0 %"]
    assert "[on_drawn](runs/on_drawn/evaluate.ipynb)" in first
    assert first.count("selected its epoch") == 2  # val, of which are the corrupted faces
    refit = runs_table(params, {"on_drawn": {**scored, "trained_on": ["train", "val"]}}, {"on_drawn": measured}, links={})
    assert refit.splitlines()[4].endswith('**40.0 %** <span class="aside">[35.0, 45.0]</span> <span class="aside">trained on</span> |')
    assert second.count("–") == 6
    fewer = {"on_drawn": {**scored, "n": {"test": 60, "test_dedup": 50}, "test_dedup": level(0.7)}}
    assert "Accuracy, deduplicated" in runs_table(params, fewer, {}, links={}).splitlines()[2]
    assert "severity" not in runs_table(params, fewer, {}, links={})


def test_the_overview_ranks_methods_by_verdict() -> None:
    ranking = [{"method": "rise", "verdict": "believed"}, {"method": "xrai", "verdict": "undecided"}, {"method": "occlusion", "verdict": "believed"}]
    told = cards.methods_sentence(ranking, link="worlds.ipynb")
    assert told.endswith("known: RISE and occlusion are believed; XRAI is undecided.")
    assert cards.methods_sentence([], link="") == ""


def test_the_overview_shows_intervals_over_subjects_where_they_are_known_and_names_the_augmentation() -> None:
    scores = {"accuracy": 0.5, "accuracy_ci_low": 0.45, "accuracy_ci_high": 0.55, "n": 400}
    wide = {"subjects": 20, "accuracy_ci_low": 0.4, "accuracy_ci_high": 0.6}
    values = {"on_drawn": {"test": scores, "subjects_by_split": {"val": None, "test": wide}}}
    assert "[40.0, 60.0]" in cards.results_table(make_params("on_drawn"), values, links={})
    assert "mean over a face and its mirror image" in cards.results_sentence("flip", values)
    assert "interval over subjects." in cards.results_sentence("flip", values)
    assert "without test-time augmentation" in cards.results_sentence("none", {"on_drawn": {"test": scores}})
    assert "interval over faces." in cards.results_sentence("none", {"on_drawn": {"test": scores}})
    assert "else over faces" in cards.results_sentence("none", {**values, "b": {"test": scores}})
    assert "biased" not in cards.results_sentence("flip", values)
    assert "optimistically biased" in cards.results_sentence("flip", {"a": {"test": scores, "trained_on": ["train"], "selected_on": ["test"]}})


def test_faces_that_stand_in_for_a_dataset_have_the_box_of_control_faces() -> None:
    prepare = make_params("a").prepare["real"]
    assert BANNER in cards.banner(prepare, {"faces": 840, "drawn_faces": 840})
    some = cards.banner(prepare, {"faces": 1000, "drawn_faces": 70})
    assert "Some of these faces are control faces" in some
    assert "70 of 1,000" in some
    assert "control faces" not in cards.banner(prepare, {"faces": 1000, "drawn_faces": 0})


def test_a_test_split_that_is_not_the_official_one_has_a_box_on_every_dataset() -> None:
    prepare = make_params("a").prepare["real"]
    assert "Not the official test" in cards.banner(prepare, {"official_test": False, "split_rule": "By subject"})
    assert cards.banner(prepare, {"official_test": True}) == cards.banner(prepare, {"official_test": None}) == ""
    joined = prepare.model_copy(update={"dataset": "", "sources": {"one": Source(dataset="fer2013"), "two": Source(dataset="ckplus")}})
    assert "one of the joined sources are another measurement" in cards.banner(joined, {"official_test": False, "split_rule": "By subject"})


@pytest.mark.parametrize(
    ("dataset", "kind"),
    [("fer2013", "photographs"), ("control:fer2013", "drawn faces"), ("fer2013 and control:jaffe", "photographs and drawn faces")],
)
def test_the_overview_says_what_a_runs_faces_are(dataset: str, kind: str) -> None:
    score = {"accuracy": 0.5, "accuracy_ci_low": 0.4, "accuracy_ci_high": 0.6, "per_class": {"happy": {"support": 9}}}
    table = cards.results_table(make_params("on_real"), {"on_real": {"test": score, "dataset": dataset}}, links={})
    assert f"real: {kind}<" in table


EVIL = "<img src=x onerror=alert(1)>"


def test_no_value_becomes_a_live_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of datasets, files of boxes and factors stand in prose; whatever they hold is text on the page."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_real")
    write_project(tmp_path, params)
    prose = [
        f"inline {EVIL} here",
        EVIL,
        f"<script>alert(2)</script>\n\n<svg/onload=alert(3)> {EVIL}",
        f"`code {EVIL}` and \\{EVIL}",
        f"| a | b |\n|---|---|\n| {EVIL} | <iframe src=//evil.example> |",
        "[click](javascript:alert(4)) ![seen](https://evil.example/x.png) <https://evil.example>",
        f"# {EVIL}",
        f"![{EVIL}](x.png)",
        '<span class="aside" onclick=alert(5)>a</span><span class="aside">kept</span>',
    ]
    outputs = [new_output("display_data", data={"text/markdown": text, "text/plain": text}) for text in prose]
    notebook = executed("evaluate")
    notebook.cells += [new_code_cell("say()", execution_count=4, outputs=[output]) for output in outputs]
    notebook.cells += [new_markdown_cell(text) for text in prose if not text.startswith("![")]
    alt = new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": f'A confusion of "{EVIL}" seen.'}})
    notebook.cells += [new_code_cell("show()", execution_count=5, outputs=[alt])]
    nbformat.write(notebook, paths.executed_notebook("evaluate", "on_real"))
    metrics = paths.artefact("evaluate", "metrics", "on_real")
    values = json.loads(metrics.read_text())
    paths.write_json(metrics, {**values, "dataset": f"class_folders {EVIL}", "provenance": {"study": EVIL, "params": f"`{EVIL}", "code": EVIL}})
    rule = {"split_rule": f"by {EVIL}", "splits": {}, "usages": {}}
    paths.write_json(paths.artefact("prepare", "metrics", "real"), {**rule, "provenance": {"data": f"` {EVIL}"}})
    site.build_site(params, tmp_path / "site", conf=CONF)
    for path in (tmp_path / "site").rglob("*.html"):
        page = path.read_text()
        tags = re.findall(r"<[a-zA-Z][^>]*>", re.sub(r'="[^"]*"', '=""', page))  # what stands in quotes is no tag
        assert not [tag for tag in tags if re.search(r"\son(error|load|click)\s*=|^<(iframe|svg/|img src=x)|alert", tag)], path
        assert not re.search(r'<script>alert|href="\s*javascript:|<img[^>]*src="(https?:)?//', page), path
    page = article((tmp_path / "site" / "runs" / "on_real" / "evaluate.html").read_text())
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8
    assert '<span class="aside">kept</span>' in page


@pytest.mark.parametrize(
    ("stage", "name", "content", "told"),
    [
        ("evaluate", "on_real", "[]", "evaluate/on_real.json: expected a JSON object, got list; stage evaluate makes it anew"),
        ("evaluate", "on_real", '{"test": 3}', "the metrics of run on_real is not as the stage writes it"),
        ("prepare", "real", '{"splits": []}', "the metrics of set real is not as the stage writes it"),
        ("prepare", "real", "[" * 100_000, "prepare/real.json: not JSON"),
        ("prepare", "real", "\xff", "prepare/real.json: not JSON"),
    ],
)
def test_a_metrics_file_that_no_stage_wrote_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, name: str, content: str, told: str
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    params = make_params("on_real")
    write_project(tmp_path, params)
    paths.artefact(stage, "metrics", name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError) as error:
        sources.write_sources(params, collect(params), tmp_path / "pages", scorings=[], commit=None)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
