"""The page of a run's faces: its tables, sheets and links, their size, and what it depends on."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from faces_project import ALT, RUN, SET, VAL, faces_params, faces_project, write_faces_project

from ferlab import paths
from ferlab.control.source import read
from ferlab.data.store import Store
from ferlab.error_analysis.confusions import rank_confusions
from ferlab.error_analysis.slices import by_fifths, image_qualities
from ferlab.evaluation.predictions import faces_in, predictions_table, read_predictions
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError, artefact
from ferlab.reporting.site import build, face_tables, faces_page

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated. Check CHANGES:PendingDeprecationWarning")


def script(path: Path, key: str) -> dict[str, Any]:
    head, _, text = path.read_text().partition("] = ")
    assert head == f'(window.ferlabFaces ??= {{}})["{key}"'
    return json.loads(text.removesuffix(";\n"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with faces_project(tmp_path_factory.mktemp("project")) as root:
        yield root


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    faces_page.write_files(faces_params(), project / "files")
    return project / "files"


@pytest.fixture(scope="module")
def faces(site: Path) -> dict[str, Any]:
    return script(site / "data" / SET / "faces" / "val.js", f"data/{SET}/val")


@pytest.fixture(scope="module")
def scored(site: Path) -> dict[str, Any]:
    return script(site / "runs" / RUN / "faces" / "val.js", f"runs/{RUN}/val")


def test_a_face_lies_at_its_place_on_the_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_tables, "COLUMNS", 4)
    monkeypatch.setattr(face_tables, "LINES", 2)
    sheets = [np.asarray(Image.open(io.BytesIO(sheet))) for sheet in face_tables.make_sheets(np.full((48, 48), 20 * n, np.uint8) for n in range(11))]
    assert [sheet.shape for sheet in sheets] == [(96, 192), (48, 192)]
    for n in range(11):
        line, column = divmod(n % 8, 4)
        tile = sheets[n // 8][48 * line : 48 * line + 48, 48 * column : 48 * column + 48]
        assert np.abs(tile.astype(int) - 20 * n).max() <= 2


def test_a_large_colour_face_shrinks_and_keeps_its_colour() -> None:
    image = np.zeros((224, 112, 3), np.uint8)
    image[..., 0] = 200
    sheet = np.asarray(Image.open(io.BytesIO(face_tables.make_sheets([image])[0])))
    assert sheet.shape == (48, 64 * 24, 3)
    assert np.abs(sheet[:, :20].reshape(-1, 3).mean(axis=0) - [200, 0, 0]).max() < 4


def test_of_too_many_faces_the_same_sample_is_shown() -> None:
    table = pd.DataFrame({"split": ["val"] * 50 + ["test"] * 3})
    rows = face_tables.rows_of_split(table, "val", most=20)
    assert len(set(rows)) == 20
    assert (np.diff(rows) > 0).all()
    assert rows.max() < 50
    np.testing.assert_array_equal(rows, face_tables.rows_of_split(table, "val", most=20))
    np.testing.assert_array_equal(face_tables.rows_of_split(table, "test", most=3), [50, 51, 52])


def test_a_dataset_names_its_faces_their_conditions_and_duplicates(project: Path, faces: dict[str, Any]) -> None:
    table = pd.read_parquet(artefact("prepare", "store", SET) / "faces.parquet")
    images = np.load(artefact("prepare", "store", SET) / "images.npy")
    assert faces["ids"] == table["face_id"].iloc[VAL].tolist()
    assert faces["target"] == table["target"].iloc[VAL].tolist()
    assert faces["total"] == 24
    brightness = next(one for one in faces["conditions"] if one["name"] == "brightness")
    expected = by_fifths(image_qualities(images[VAL])["brightness"])  # as the page of errors groups them
    assert [brightness["groups"][code] for code in brightness["of"]] == expected.astype(str).tolist()
    assert faces["duplicates"] == {"0": [[24, "exact", False, 1.0], [1, "near", True, 0.97]], "1": [[0, "near", True, 0.97]]}
    assert faces["beside"] == [[table["face_id"].iloc[0], "train", int(table["target"].iloc[0])]]
    marked = next(one for one in faces["conditions"] if one["name"] == "duplicates")
    assert [marked["groups"][code] for code in marked["of"]] == ["has a duplicate in train"] * 2 + ["unique"] * 22


def test_the_sheet_of_a_split_holds_its_faces_and_then_their_duplicates(project: Path, site: Path) -> None:
    images = np.load(artefact("prepare", "store", SET) / "images.npy")
    sheet = np.asarray(Image.open(site / "data" / SET / "faces" / "val-0.jpg")).astype(float)
    for place, row in [*enumerate(range(4, 28)), (24, 0)]:
        differences = np.abs(sheet[:48, 48 * place : 48 * place + 48] - images).mean(axis=(1, 2))
        assert differences.argmin() == row
        assert differences.min() < 6


def test_a_run_adds_predictions_issues_and_maps(project: Path, faces: dict[str, Any], scored: dict[str, Any]) -> None:
    predictions = faces_in(read_predictions(artefact("evaluate", "predictions", RUN)), "val")
    assert scored["rows"] == list(range(24))
    assert scored["pred"] == predictions["pred"].tolist()
    probs = np.reshape(scored["probs"], (24, 7)) / 1000
    np.testing.assert_allclose(probs, predictions[[f"prob_{name}" for name in EXPRESSIONS]], atol=0.0006)
    fear = EXPRESSIONS.index("fear")
    assert scored["issues"] == {"6": [fear, 0.01, 0.9, 1], "5": [fear, 0.02, 0.8, 2]}
    assert scored["explained"] == {"2": [0, 2], "3": [1, 3]}
    grad_cam, occlusion = scored["methods"]
    assert (grad_cam["title"], grad_cam["signed"], grad_cam["verdict"]) == ("Grad-CAM", False, "not believed")
    assert grad_cam["notes"] == ["zero everywhere", ""]
    assert (occlusion["title"], occlusion["signed"], occlusion["verdict"]) == ("occlusion", True, "")
    assert occlusion["notes"][1] == "up to 19 points"  # 0.25 less the mean of both maps


def test_the_order_of_the_predictions_is_of_no_matter(project: Path, faces: dict[str, Any], scored: dict[str, Any]) -> None:
    predictions = faces_in(read_predictions(artefact("evaluate", "predictions", RUN)), "val")
    shuffled = face_tables.scored_of_split(predictions.sample(frac=1, random_state=0), faces["ids"], issues=None, maps=None)
    assert [shuffled[key] for key in ("rows", "pred", "probs", "bounds")] == [scored[key] for key in ("rows", "pred", "probs", "bounds")]


def test_intervals_are_those_of_the_page_of_errors(project: Path, scored: dict[str, Any]) -> None:
    assert scored["by"] == "subjects"
    ranked = rank_confusions(faces_in(read_predictions(artefact("evaluate", "predictions", RUN)), "val"))
    assert len(ranked) > 3
    for pair in ranked.itertuples():
        ends = scored["bounds"][EXPRESSIONS.index(pair.target)][EXPRESSIONS.index(pair.pred)]
        np.testing.assert_allclose(ends or [np.nan] * 2, [pair.rate_ci_low, pair.rate_ci_high], atol=1e-4)


def test_a_map_covers_the_face_where_it_supports(site: Path) -> None:
    sheet = np.asarray(Image.open(site / "runs" / RUN / "faces" / "val-maps-0.jpg")).astype(float)
    colourful = np.ptp(sheet[:48].reshape(48, 64, 48, 3), axis=3).mean(axis=0)  # (tiles, columns)
    assert colourful[0].max() < 3  # Grad-CAM of the first face is zero: the grey face itself
    assert colourful[2, :22].min() > 60
    assert colourful[2, 26:].max() < 12
    assert colourful[3, :22].min() > 30  # the second map of the second face


def test_label_issues_are_of_the_split_that_was_searched(site: Path) -> None:
    test = script(site / "runs" / RUN / "faces" / "test.js", f"runs/{RUN}/test")
    assert test["issues"] is None
    assert test["explained"] == {}
    assert test["methods"] == []
    assert not list((site / "runs" / RUN / "faces").glob("test-maps*"))


def test_the_page_opens_with_val_and_says_what_errors_are_worth(site: Path) -> None:
    about = script(site / "runs" / RUN / "faces" / "about.js", "about")
    assert list(about["splits"]) == ["val", "test"]
    assert "selected its epoch: the error rate is optimistically biased" in about["splits"]["val"]
    assert "tuned on them" in about["splits"]["test"]


def test_two_builds_write_the_same_bytes(project: Path, site: Path) -> None:
    faces_page.write_files(faces_params(), project / "again")
    first, second = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in (site, project / "again"))
    assert len(first) == 8
    assert first == second


def test_3589_faces_stay_under_3_mb() -> None:
    """FER2013's test set; its 3,589 PublicTest faces take 2.3 MB, noise makes these larger."""
    rng = np.random.default_rng(0)
    drawn, table = read(faces=40, subjects=8, size=48, seed=0)
    images = np.clip(np.tile(drawn, (90, 1, 1))[:3589] + rng.normal(0, 9, (3589, 48, 48)), 0, 255).astype(np.uint8)
    columns = pd.concat([table] * 90, ignore_index=True).iloc[:3589]
    faces = columns.assign(face_id=[f"fer2013/{n:07d}" for n in range(3589)], split="test", duplicate_group=np.arange(3589))
    probs = rng.dirichlet(np.ones(7), 3589)
    target = faces["target"].to_numpy()
    predictions = predictions_table(faces["face_id"].tolist(), ["test"] * 3589, target, probs=probs, expressions=EXPRESSIONS)
    values, sheets = face_tables.faces_of_split(Store(images, faces, EXPRESSIONS), "test", pairs=None)
    scored = face_tables.scored_of_split(predictions, values["ids"], issues=None, maps=None)
    size = sum(map(len, sheets)) + len(json.dumps(values, separators=(",", ":"))) + len(json.dumps(scored, separators=(",", ":")))
    assert sum(map(len, sheets)) > 2_300_000
    assert size < 3_000_000


def test_predictions_of_other_faces_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_faces_project()
    path = artefact("evaluate", "predictions", RUN)
    table = pd.read_parquet(path)
    table.loc[3, "face_id"] = "drawn/of_before"
    table.to_parquet(path)
    with pytest.raises(InputError, match=r"a_run: its predictions name the face drawn/of_before, .*evaluate the run again"):
        faces_page.write_files(faces_params(), tmp_path / "files")


@pytest.mark.parametrize(("stage", "what", "name"), [("audit", "duplicates", SET), ("explain", "attributions", RUN)])
def test_a_broken_file_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, what: str, name: str) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_faces_project()
    path = artefact(stage, what, name)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=rf"^{path.relative_to(tmp_path)}: cannot be read .*run stage {stage} again$"):
        faces_page.write_files(faces_params(), tmp_path / "files")


def test_without_audit_issues_and_maps_the_page_shows_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_faces_project()
    for stage, what, name in (("audit", "duplicates", SET), ("explain", "attributions", RUN), ("analyze_errors", "metrics", RUN)):
        artefact(stage, what, name).unlink()
    faces_page.write_files(faces_params(), tmp_path / "files")
    assert script(tmp_path / "files" / "data" / SET / "faces" / "val.js", f"data/{SET}/val")["duplicates"] is None
    scored = script(tmp_path / "files" / "runs" / RUN / "faces" / "val.js", f"runs/{RUN}/val")
    assert (scored["issues"], scored["explained"], scored["methods"]) == (None, {}, [])


def test_captured_faces_are_readable_by_their_owner_alone(project: Path) -> None:
    faces_page.write_files(faces_params("captured"), project / "captured")
    folders = [project / "captured" / name / "faces" for name in (f"data/{SET}", f"runs/{RUN}")]
    assert [folder.stat().st_mode & 0o077 for folder in folders] == [0, 0]


@pytest.mark.parametrize(("dataset", "told"), [("control", ""), ("fer2013", "The terms of fer2013 hold"), ("captured", "agreed to publication")])
def test_a_page_of_photographs_names_whose_terms_hold(project: Path, tmp_path: Path, dataset: str, told: str) -> None:
    text = faces_page.faces_page(faces_params(dataset), RUN, box="", figure=None, folder=tmp_path)
    assert told in text
    assert ("terms" in text or "agreed" in text) is (told != "")


def test_a_site_links_the_page_from_the_card_and_the_figure_and_keeps_a_static_one(project: Path) -> None:
    site = project / "site"
    silent = build.build_site(faces_params(), site, conf=ROOT / "reports")
    assert silent == []
    page = (site / "runs" / RUN / "faces.html").read_text()
    assert "_static/faces.js" in page
    assert f'alt="{ALT}"' in page
    assert 'href="faces.html"' in (site / "runs" / RUN / "index.html").read_text()
    article = (site / "runs" / RUN / "evaluate.html").read_text().partition("<article")[2]
    assert article.index(f'alt="{ALT}"') < article.index('href="faces.html"')
    assert [path.name for path in site.rglob("*.html") if "_static/faces.js" in path.read_text()] == ["faces.html"]


def test_without_predictions_there_is_no_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert not faces_page.has_faces(faces_params(), RUN)
    assert faces_page.links(faces_params(), "evaluate", RUN) == {}
    faces_page.write_files(faces_params(), tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_the_report_depends_on_what_the_pages_read() -> None:
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]["deps"]
    parts = {"prepare": "store", "audit": "duplicates", "evaluate": "predictions", "explain": "attributions", "analyze_errors": "label_issues"}
    folders = {paths.OUTPUTS[stage][what].partition("/{name}")[0] for stage, what in parts.items()}
    assert folders <= set(deps)
