"""The widget of the error explorer: what it sends for a query, and what it answers to the browser."""

from __future__ import annotations

import numpy as np
import pytest
from errors_faces import PROBS, six_faces, synthetic, with_model

from ferlab.live.exploration import embedding
from ferlab.live.exploration import panel as errors
from ferlab.live.exploration.panel import ErrorExplorer, thumbnails
from ferlab.paths import InputError


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(embedding, "ROOT", tmp_path)
    monkeypatch.setattr(errors, "evaluated_runs", lambda: ["other"])


@pytest.fixture
def explorer() -> ErrorExplorer:
    return ErrorExplorer(six_faces())


def ask(explorer: ErrorExplorer, **content):
    sent = []
    explorer.send = lambda message, buffers=None: sent.append((message, buffers))
    explorer._handle_custom_msg({"id": "7", **content}, [])
    ((message, buffers),) = sent
    assert message["id"] == "7"
    return message, buffers


def bits(explorer: ErrorExplorer) -> list[int]:
    return np.flatnonzero(np.unpackbits(np.frombuffer(explorer.mask, np.uint8), bitorder="little")).tolist()


def test_a_query_from_the_browser_selects_and_python_reads_it_back(explorer) -> None:
    assert explorer.summary["text"].startswith("accuracy 66.7 %")
    explorer.query = {"facets": {"outcome": ["misclassified"]}, "order": "confident"}
    assert bits(explorer) == [1, 5]
    assert explorer.selected["face_id"].tolist() == ["control/0000001", "control/0000005"]
    first = explorer.selected.iloc[0]
    assert (first["label"], first["predicted"], first["occluder"]) == ("angry", "sad", "mask")
    assert first["confidence"] == pytest.approx(0.7)


def test_a_selection_from_python_reaches_the_browser(explorer) -> None:
    explorer.choose({"label": "happy", "confidence": (0.8, None)}, order="dataset")
    assert explorer.query["facets"] == {"label": ["happy"], "confidence": [0.8, None]}
    assert bits(explorer) == [2, 4]
    with pytest.raises(InputError, match="'happy'"):
        explorer.choose({"label": "hapy"})
    with pytest.raises(InputError, match="'random'"):
        explorer.choose(order="randm")
    assert bits(explorer) == [2, 4]


def test_a_refused_selection_leaves_the_rows_of_the_gallery(explorer) -> None:
    explorer.choose({"label": "happy"})
    with pytest.raises(InputError):
        explorer.choose({"label": "hapy"})
    assert len(explorer.selected) == 3


def test_an_error_in_a_callback_is_shown(explorer) -> None:
    explorer.query = {"facets": {"nothing": ["x"]}}
    assert "'nothing'" in explorer.message
    explorer.query = {"facets": {}}
    assert explorer.message == ""


def test_thumbnails_come_as_one_sprite_in_the_order_of_the_gallery(explorer) -> None:
    explorer.choose({"outcome": "correct"}, order="confident")
    message, (sprite,) = ask(explorer, ask="faces", start=1, count=2)
    assert message["rows"] == [2, 0]
    assert message["side"] == [8, 8]
    assert np.frombuffer(sprite, np.uint8).reshape(2, 8, 8)[:, 0, 0].tolist() == [2, 0]
    assert ask(explorer, ask="faces", start=99, count=2)[0]["rows"] == []
    assert ask(explorer, ask="faces", rows=[5])[0]["ids"] == ["control/0000005"]


def test_a_page_holds_no_more_than_its_limit() -> None:
    message, (sprite,) = ask(ErrorExplorer(synthetic(1000), views=("gallery",)), ask="faces", start=0, count=1000)
    assert len(message["rows"]) == errors.MOST_PAGE
    assert len(sprite) == errors.MOST_PAGE * 48 * 48


def test_maps_are_scaled_to_their_own_maximum() -> None:
    scored = with_model(six_faces())
    message, buffers = ask(ErrorExplorer(scored, views=("gallery",)), ask="maps", rows=[1, 2])
    assert message["methods"] == ["grad_cam", "occlusion"]
    for method, sent in zip(message["methods"], buffers, strict=True):
        heat, shown = scored.maps([1, 2], [2, 1])[method], np.frombuffer(sent, np.uint8).reshape(2, 8, 8)
        assert message["tops"][method] == pytest.approx(np.clip(heat, 0, None).max(axis=(1, 2)))
        for row, top in enumerate(message["tops"][method]):
            assert shown[row] == pytest.approx(np.round(255 * np.clip(heat[row], 0, None) / max(top, 1e-12)), abs=0)
    label, _ = ask(ErrorExplorer(scored, views=("gallery",)), ask="maps", rows=[1], explained="label")
    assert label["tops"]["occlusion"] == pytest.approx([max(0, scored.maps([1], [0])["occlusion"].max())])


def test_what_cannot_be_explained_is_answered_with_the_reason(explorer) -> None:
    assert "no weights" in ask(explorer, ask="maps", rows=[0])[0]["error"]
    assert "0 to 5" in ask(explorer, ask="face", row=6)[0]["error"]
    assert "no run is opened" in ask(explorer, ask="maps", rows=[0], beside=True)[0]["error"]


def test_a_face_has_its_place_in_the_selection_its_columns_and_both_runs(monkeypatch) -> None:
    other = six_faces("other", PROBS[:, [2, 1, 0]])
    monkeypatch.setattr(errors, "open_run", lambda run: other)
    explorer = ErrorExplorer(six_faces(), beside="other")
    explorer.choose({"outcome": "misclassified"})
    message, (picture,) = ask(explorer, ask="face", row=5)
    assert (message["face"], message["target"], message["place"], message["split"]) == ("control/0000005", 2, 1, "test")
    assert message["facts"]["occluder"] == "none"
    assert [run["run"] for run in message["runs"]] == ["a_run", "other"]
    assert message["runs"][1]["probs"] == [0.3, 0.2, 0.5]
    assert set(picture) == {5}
    assert ask(explorer, ask="face", row=0)[0]["place"] is None


def test_runs_are_switched_and_conditions_that_still_apply_stay(monkeypatch) -> None:
    other = six_faces("other", PROBS[:, [2, 1, 0]])
    other.faces.drop(columns="occluder", inplace=True)
    monkeypatch.setattr(errors, "open_run", lambda run: other)
    explorer = ErrorExplorer(six_faces())
    assert explorer.about["runs"] == ["a_run", "other"]
    explorer.choose({"outcome": "misclassified", "occluder": "mask"})
    explorer.run = "other"
    assert explorer.query["facets"] == {"outcome": ["misclassified"]}
    assert bits(explorer) == [0]
    explorer.beside = "a_run"
    assert "runs" in [facet["name"] for facet in explorer.about["facets"]]
    explorer.run = "a_run"  # back to the first; a run is not beside itself
    assert explorer.beside == ""
    assert bits(explorer) == [1, 5]


def test_a_run_that_cannot_be_opened_is_told_and_the_old_one_stays(explorer, monkeypatch) -> None:
    def fail(run):
        raise InputError(f"{run}: no predictions there; run the evaluate stage of this run first")

    monkeypatch.setattr(errors, "open_run", fail)
    for trait, before in (("run", "a_run"), ("beside", "")):
        setattr(explorer, trait, "other")
        assert "run the evaluate stage" in explorer.message
        assert getattr(explorer, trait) == before
    assert len(explorer.selected) == 6


def test_the_selection_is_handed_to_a_queue(explorer) -> None:
    queue = []
    assert not explorer.about["queue"]
    explorer.on_queue(queue.append)
    assert explorer.about["queue"]
    explorer.choose({"outcome": "misclassified"})
    assert "2 faces" in ask(explorer, ask="queue")[0]["text"]
    assert queue[0]["face_id"].tolist() == ["control/0000001", "control/0000005"]


def test_views_without_a_map_compute_none(monkeypatch) -> None:
    monkeypatch.setattr(errors, "map_faces", lambda _: pytest.fail("a map was computed"))
    explorer = ErrorExplorer(six_faces(), views=("gallery", "face"))
    assert explorer.points == b""
    with pytest.raises(InputError, match="no map"):
        explorer.choose(lasso=[[0, 0], [1, 0], [1, 1]])
    with pytest.raises(InputError, match="'matrix'"):
        ErrorExplorer(six_faces(), views=("matrx",))


def test_everything_is_in_the_first_message(explorer) -> None:
    assert np.frombuffer(explorer.classes, np.uint8).reshape(2, 6).tolist() == [[0, 0, 1, 1, 1, 2], [0, 2, 1, 1, 1, 0]]
    assert len(np.frombuffer(explorer.points, np.float32)) == 12
    assert len(explorer.palette) == 768
    assert len(explorer.certain) == 6


def test_thumbnails_keep_the_proportions_and_the_mean() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 128, 256, 3), np.uint8)
    small = thumbnails(images)
    assert small.shape == (2, 32, 64, 3)
    assert small.mean() == pytest.approx(images.mean(), abs=0.5)
    assert thumbnails(images[:, :40, :40]).shape == (2, 40, 40, 3)
