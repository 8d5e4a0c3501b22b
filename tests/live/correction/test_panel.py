"""The panel that corrects labels, by its keys: what is shown before and after a decision, what is saved, what is told."""

import json

import numpy as np
import pandas as pd
import pytest

from ferlab.data.preparation.corrections import read_corrections
from ferlab.data.store import open_store, write_store
from ferlab.expressions import EXPRESSIONS
from ferlab.live.correction import decisions, doubtful, scorers
from ferlab.live.correction import panel as correct
from ferlab.live.correction.panel import Correct
from ferlab.params import check_params, read_yaml
from ferlab.paths import ROOT, InputError

COUNT = 21


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A prepared set of control faces in a project of its own, with no run, beside the study's params."""
    params = read_yaml(ROOT / "params.yaml", source="params.yaml")
    params["prepare"] = {"control": params["prepare"]["control"], "other": {"dataset": "control", "raw": "data/raw/README.md"}}
    checked = check_params(params)
    for module in (correct, decisions):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for module in (correct, doubtful, scorers):
        monkeypatch.setattr(module, "artefact", lambda stage, what, name="": tmp_path / stage / what / name)
    monkeypatch.setattr(scorers, "load_params", lambda: checked)
    monkeypatch.setattr(correct, "PRACTISED", tmp_path / "data" / "scratch" / "practice" / "corrections.csv")
    faces = pd.DataFrame(
        {
            "face_id": [f"control/{number:03d}" for number in range(COUNT)],
            "content_hash": [f"{number:064x}" for number in range(COUNT)],
            "source": "control",
            "source_path": "",
            "usage": "all",
            "split": ["train", "val", "test"] * (COUNT // 3),
            "duplicate_group": np.arange(COUNT),
            "target": np.arange(COUNT) % 7,
            "subject": [f"s{number % 3}" for number in range(COUNT)],
        }
    )
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 12, 12), dtype=np.uint8)
    write_store(tmp_path / "prepare" / "store" / "control", images, faces)
    return tmp_path


@pytest.fixture
def scores(project):
    """A model that is sure of the next expression on each face."""
    store = open_store(project / "prepare" / "store" / "control")
    sure = np.full((COUNT, 7), 0.01)
    sure[np.arange(COUNT), (store.faces["target"].to_numpy() + 1) % 7] = 0.94
    parts = [doubtful.score_split(store, split, lambda images: sure[images.rows]) for split in ("train", "val", "test")]
    return {"given model": pd.concat(parts, ignore_index=True)}


def told(panel):
    return panel.told.value


def file_of(project):
    return project / "data" / "raw" / "control" / "corrections.csv"


def test_a_key_decides_saves_and_goes_on(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    first, second = panel.sitting.queue[:2]
    given = panel.sitting.given(first)
    panel.heard.press("s")
    row = read_corrections(file_of(project)).iloc[0]
    assert (row["face_id"], row["old"], row["new"], row["who"], row["why"]) == (first, given, "disgust", "anna", "improbable label")
    assert panel.sitting.current == second
    assert f"Saved: {given} becomes disgust ({first})." in told(panel)
    panel.heard.press("2")  # the digit does the same
    panel.heard.press("Enter")
    panel.heard.press("x")
    assert read_corrections(file_of(project))["new"].tolist()[1:] == ["disgust", panel.sitting.given(read_face(project, 2)), "exclude"]


def read_face(project, row):
    return read_corrections(file_of(project))["face_id"].iloc[row]


def test_predictions_stay_hidden_until_the_decision_unless_asked_for(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    given = panel.sitting.given(panel.sitting.current)
    predicted = EXPRESSIONS[(EXPRESSIONS.index(given) + 1) % 7]
    before = "".join(each.value for each in (panel.shown, panel.facts, panel.picture, panel.told, panel.counts))
    assert "given model" not in before
    assert predicted not in before
    panel.heard.press("r")
    assert f"<dd>{predicted}, 94 %</dd>" in panel.shown.value
    panel.heard.press("n")
    assert "given model" not in panel.shown.value
    shown = panel.sitting.current
    panel.heard.press("a")
    assert "given model" in told(panel)
    assert shown in told(panel)
    panel.blind.value = False
    assert "given model" in panel.shown.value


def test_two_labels_are_the_key_with_shift_and_then_the_second(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    panel.heard.press("shift+f")
    assert "First label: happy" in told(panel)
    assert not file_of(project).exists()
    panel.heard.press("shift+d")
    panel.heard.press("shift+1")
    panel.heard.press("Escape")
    panel.heard.press("7")
    assert read_corrections(file_of(project))["new"].tolist() == ["happy|fear", "neutral"]


def test_undo_goes_back_through_decisions_and_skips(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    queue = list(panel.sitting.queue)
    panel.heard.press("a")
    panel.heard.press("n")
    panel.heard.press("x")
    assert panel.sitting.queue == [*queue[3:], queue[1]]
    panel.heard.press("ctrl+z")
    assert panel.sitting.current == queue[2]
    assert read_corrections(file_of(project))["face_id"].tolist() == [queue[0]]
    panel.heard.press("u")
    panel.heard.press("u")
    assert panel.sitting.queue == queue
    assert len(read_corrections(file_of(project))) == 0
    panel.heard.press("u")
    assert "Nothing to take back" in told(panel)


def test_undo_goes_on_after_other_faces_were_chosen_and_ends_with_the_person(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    first = panel.sitting.current
    panel.heard.press("a")
    panel.splits["train"].value = panel.splits["val"].value = False
    panel.splits["test"].value = True
    panel.heard.press("a")
    panel.heard.press("u")
    panel.heard.press("u")
    assert panel.sitting.current == first
    assert len(read_corrections(file_of(project))) == 0
    panel.heard.press("a")
    panel.who.value = "ben"
    panel.heard.press("u")
    assert "Nothing to take back" in told(panel)
    assert read_corrections(file_of(project))["who"].tolist() == ["anna"]


def test_without_a_name_nothing_is_saved(project, scores):
    panel = Correct("control", scores=scores)
    panel.heard.press("a")
    assert "Give your name" in told(panel)
    assert not file_of(project).exists()
    panel.who.value = "ben"
    panel.heard.press("a")
    assert read_corrections(file_of(project))["who"].tolist() == ["ben"]


def test_test_faces_wait_until_they_are_chosen_and_then_come_with_a_warning(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    split = panel.store.faces.set_index("face_id")["split"]
    assert set(split[panel.sitting.queue]) == {"train", "val"}
    assert panel.warning.value == ""
    panel.splits["test"].value = True
    assert set(split[panel.sitting.queue]) == {"train", "val", "test"}
    assert "bias the test score" in panel.warning.value
    assert panel.sources["improbable label"].description == f"improbable label ({COUNT})"
    panel.sources["improbable label"].value = False
    assert panel.sitting.current is None
    assert "No doubtful face is left" in panel.shown.value


def test_what_somebody_decided_is_not_asked_again_but_for_a_second_opinion(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    first, all_faces = panel.sitting.current, list(panel.sitting.queue)
    panel.heard.press("a")
    panel.who.value = "ben"
    assert first not in panel.sitting.queue
    panel.again.value = True
    assert sorted(panel.sitting.queue) == sorted(all_faces)
    panel.heard.press("a")
    assert read_corrections(file_of(project))["who"].tolist() == ["anna", "ben"]


def test_the_label_before_is_the_one_of_the_file_after_prepare_applied_it(project, scores):
    """A store that was prepared with the corrections has the new label; `old` must stay the delivered one."""
    panel = Correct("control", who="anna", scores=scores)
    face_id, old = panel.sitting.current, panel.sitting.given(panel.sitting.current)
    panel.heard.press("a" if old != "angry" else "s")
    new = "angry" if old != "angry" else "disgust"
    store = open_store(project / "prepare" / "store" / "control")
    targets = store.faces["target"].where(store.faces["face_id"] != face_id, EXPRESSIONS.index(new))
    write_store(project / "prepare" / "store" / "control", np.asarray(store.images), store.faces.assign(target=targets))
    later = Correct("control", who="ben", scores=scores)
    assert later.sitting.given(face_id) == old
    later.again.value = True
    assert face_id in later.sitting.queue


def test_a_damaged_file_is_told_in_the_panel(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    panel.heard.press("a")
    file_of(project).write_text("face_id,old\n")
    panel.heard.press("a")
    assert "fl-error" in told(panel)
    assert "expected face_id" in told(panel)
    assert file_of(project).read_text() == "face_id,old\n"


def test_names_of_faces_cannot_inject_html(project, scores):
    store = open_store(project / "prepare" / "store" / "control")
    wild = store.faces["face_id"].where(store.faces.index != 0, '"><img src=x onerror=alert(1)>')
    write_store(project / "prepare" / "store" / "control", np.asarray(store.images), store.faces.assign(face_id=wild))
    table = scores["given model"].replace({"face_id": {"control/000": wild[0]}})
    panel = Correct("control", who="anna", scores={"given model": table})
    panel.sitting.queue.insert(0, wild[0])
    panel._show()
    panel.heard.press("a")
    assert all("<img src=x" not in each.value for each in (panel.picture, panel.facts, panel.shown, panel.told))


def test_chosen_faces_are_queued_in_their_order_and_foreign_ones_told(project, scores):
    panel = Correct("control", who="ann", scores=scores)
    panel.take(pd.DataFrame({"face_id": ["control/004", "elsewhere/1", "control/001"], "split": ["val", "val", "val"]}))
    assert panel.sitting.queue == ["control/004", "control/001"]
    assert "2 chosen faces are queued. 1 are no original faces of control" in told(panel)
    assert "bias" not in panel.warning.value
    panel.take(pd.DataFrame({"face_id": ["control/002"], "split": ["test"]}))
    assert "bias the test score" in panel.warning.value
    panel.heard.press("Enter")
    assert panel.sitting.queue == []
    assert read_corrections(file_of(project))["why"].tolist() == ["improbable label"]


def test_late_keys_do_not_decide_another_face(project, scores):
    panel = Correct("control", who="anna", scores=scores)
    turn = panel.heard.turn
    panel.heard._pressed(None, {"key": "a", "turn": turn}, [])
    panel.heard._pressed(None, {"key": "a", "turn": turn}, [])  # pressed before the next face was shown
    assert len(read_corrections(file_of(project))) == 1


def test_on_a_fresh_clone_faces_are_drawn_to_practise_on(project):
    panel = Correct("other", who="anna")
    assert panel.set_choice.value == "control"
    assert "set other is not prepared" in told(panel)
    panel.set_choice.value = correct.PRACTICE
    assert panel.tuning is None
    assert panel.sitting.current
    faces = panel.store.faces.set_index("face_id")
    truth = EXPRESSIONS[faces.loc[panel.sitting.current, "true_target"]]
    panel.heard.press(str(EXPRESSIONS.index(truth) + 1))
    assert f"It was drawn as {truth}." in told(panel)
    assert (project / "data" / "scratch" / "practice" / "corrections.csv").is_file()
    assert not file_of(project).exists()


def test_the_shipped_model_scores_the_chosen_splits(project):
    panel = Correct("control", who="anna")
    assert "No model has scored this set yet" in panel.shown.value
    panel.score.click()
    assert set(panel.sitting.scores.tables) == {"shipped"}
    assert set(panel.sitting.scores.tables["shipped"]["split"]) == {"train", "val"}


def test_a_set_in_an_archive_is_told_and_practice_is_offered(project, monkeypatch):
    def archive(*_):
        raise InputError("prepare.control.raw: data/raw/x.zip is a file")

    monkeypatch.setattr(correct, "corrections_file", archive)
    panel = Correct("control", who="anna")
    assert panel.set_choice.value == correct.PRACTICE
    assert "x.zip is a file" in told(panel)


def test_the_notebook_is_short_and_calls_the_panel():
    cells = json.loads((ROOT / "notebooks" / "live" / "correct.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert any("Correct(" in source for source in code)
    assert all(len(source.splitlines()) <= 14 for source in code)
