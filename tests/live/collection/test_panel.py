"""The collecting panel and its session, without a browser: what a person presses, and what lies on the disk then."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from collected import YES, Model, filled, on_disk, still

from ferlab.expressions import EXPRESSIONS
from ferlab.live.camera import Camera
from ferlab.live.collection.collecting import Collecting, next_prompt
from ferlab.live.collection.panel import Collect
from ferlab.live.collection.samples import Samples, choose_samples
from ferlab.live.collection.second_labels import Agreements, SecondLabels
from ferlab.live.collection.storage import Collection
from ferlab.paths import InputError


@pytest.fixture
def panel(tmp_path) -> Collect:
    return Collect(Camera(), folder=tmp_path / "c", each=2, seed=0)


def show(panel: Collect, shown) -> None:
    """Hand a still over, as the camera does."""
    panel.camera._call("still", shown)


def agree(panel: Collect, *, publication: bool = False) -> str:
    for name in ("adult", "research", *(["publication"] if publication else [])):
        panel.agreement.ticks[name].value = True
    panel.agreement.agree.click()
    return panel.session.person


def pictures(folder: Path) -> list[str]:
    return [name for name in on_disk(folder) if name.endswith(".png")]


def test_prompts_are_balanced_whenever_a_person_stops():
    rng, done, last = np.random.default_rng(0), Counter(), ""
    for number in range(4 * 7):
        prompt = next_prompt(done, EXPRESSIONS, each=4, last=last, rng=rng)
        assert prompt != last or number == 0
        done[prompt] += 1
        last = prompt
        assert max(done.values()) - min(done[name] for name in EXPRESSIONS) <= 1
    assert next_prompt(done, EXPRESSIONS, each=4, last=last, rng=rng) == ""
    orders = {tuple(next_prompt(Counter(), EXPRESSIONS, each=4, last="", rng=np.random.default_rng(seed)) for _ in range(1)) for seed in range(40)}
    assert len(orders) == 7


def test_nothing_is_stored_before_consent_after_refusal_or_from_a_picture_in_hand(panel, tmp_path):
    show(panel, still())
    assert panel.session.face is None
    assert panel.agreement.agree.disabled
    panel.agreement.ticks["adult"].value = panel.agreement.ticks["publication"].value = True
    assert panel.agreement.agree.disabled
    panel.agreement.refuse.click()
    assert not any(tick.value for tick in panel.agreement.ticks.values())
    assert on_disk(tmp_path) == {}
    person = agree(panel)
    assert f"You are {person}" in panel.told.value
    before = on_disk(tmp_path)
    show(panel, still())
    panel.hotkeys.press("4")
    panel.hotkeys.press("d")
    assert panel.session.face is None
    assert on_disk(tmp_path) == before


def test_a_face_is_named_then_the_prediction_shown_then_stored(panel, tmp_path):
    agree(panel)
    asked = panel.session.prompt
    panel.hotkeys.press("s")
    assert "Take a picture first." in panel.problem.value
    show(panel, still())
    assert "the model predicts" not in panel.work.prediction.value
    panel.hotkeys.press("s")
    assert "Name the expression first" in panel.problem.value
    panel.hotkeys.press("5")
    assert "You say sad; the model predicts" in panel.work.prediction.value
    panel.hotkeys.press("s")
    assert panel.problem.value.count("fl-note") == 0
    (row,) = panel.session.collection.rows("captures.csv")
    assert (row["expression"], row["prompt"], row["live_model"]) == ("sad", asked, "shipped")
    assert panel.session.prompt != asked
    assert f"{asked}" in panel.work.counts.value
    assert "1 of 2" in panel.work.counts.value
    panel.hotkeys.press("u")
    assert pictures(tmp_path) == []
    assert panel.session.collection.rows("captures.csv") == []


def test_with_predicted_before_it_is_shown_before_the_label(tmp_path):
    panel = Collect(Camera(), folder=tmp_path / "c", predicted="before")
    agree(panel)
    show(panel, still())
    assert "The model predicts" in panel.work.prediction.value
    assert not Collect(Camera(), folder=tmp_path / "c").camera.labels
    with pytest.raises(InputError, match="expected 'after' or 'before'"):
        Collect(Camera(), folder=tmp_path / "c", predicted="never")


def test_light_and_pose_are_told_before_storing(panel):
    agree(panel)
    show(panel, replace(still(pose=(50, 0, 0)), picture=np.zeros((240, 320, 3), np.uint8)))
    assert "Too dark" in panel.work.hints.value
    assert "turn to the camera" in panel.work.hints.value


def test_withdrawing_is_asked_once_more_and_drops_the_picture_in_hand(panel, tmp_path):
    person = agree(panel)
    show(panel, still())
    panel.hotkeys.press("1")
    panel.hotkeys.press("s")
    show(panel, still(1))
    panel.hotkeys.press("1")
    panel.work.out.click()
    assert panel.work.sure.layout.display == ""
    assert len(pictures(tmp_path)) == 1
    panel.work.sure.children[1].click()
    assert ": 1 picture and 1 row." in panel.told.value
    assert f"ferlab forget {person}" in panel.told.value
    panel.hotkeys.press("s")
    assert pictures(tmp_path) == []
    assert panel.session.face is None
    assert panel.agreement.layout.display == ""
    show(panel, still())
    assert panel.session.face is None


def stop_writing(patch: pytest.MonkeyPatch) -> None:
    """Let nothing in the folder of the collection be written, as on a full disk."""

    def full(path: Path, content: bytes) -> None:
        raise InputError(f"{path}: not saved: No space left on device")

    patch.setattr("ferlab.live.collection.storage.write_whole", full)


@pytest.mark.parametrize("when", ["marking", "erasing"])
def test_withdrawing_that_fails_keeps_the_pseudonym_in_sight_and_can_be_done_again(panel, tmp_path, monkeypatch, when):
    person = agree(panel)
    for number in range(2):
        show(panel, still(number))
        panel.hotkeys.press("1")
        panel.hotkeys.press("s")
    show(panel, still(1))
    captures = tmp_path / "c" / "captures.csv"
    whole = captures.read_text()
    with monkeypatch.context() as patch:
        if when == "marking":
            stop_writing(patch)
        else:
            captures.write_text(f"{whole}one,cell\n")
        panel.work.out.click()
        panel.work.sure.children[1].click()
    captures.write_text(whole)
    assert ("No space left" if when == "marking" else "captures.csv, data row 3") in panel.problem.value
    assert person in panel.work.who.value
    assert panel.work.layout.display == ""
    assert panel.session.face is None, "the picture in hand is dropped whatever happens"
    assert len(pictures(tmp_path)) == 2
    panel.work.out.click()
    panel.work.sure.children[1].click()
    assert f"Erased of {person}: 2 pictures and 2 rows" in panel.told.value
    assert pictures(tmp_path) == []
    assert panel.agreement.layout.display == ""


def test_undoing_that_fails_erases_the_same_face_the_next_time(panel, tmp_path, monkeypatch):
    agree(panel)
    for number in range(2):
        show(panel, still(number))
        panel.hotkeys.press("1")
        panel.hotkeys.press("s")
    first, last = panel.session.stored
    with monkeypatch.context() as patch:
        stop_writing(patch)
        panel.hotkeys.press("u")
    assert "No space left" in panel.problem.value
    panel.hotkeys.press("u")
    assert f"Erased: {last}." in panel.told.value
    assert [row["file"] for row in panel.session.collection.rows("captures.csv")] == [first]
    assert pictures(tmp_path) == [f"c/{first}"]


def test_who_withdrew_and_comes_back_is_told_how_what_is_left_is_erased(panel, tmp_path):
    person = agree(panel)
    panel.work.end.click()
    Collection(tmp_path / "c").mark_withdrawn(person)
    panel.agreement.known.value = person
    panel.agreement.out.click()
    assert f"{person} withdrew on " in panel.problem.value
    assert f"<code>ferlab forget {person}</code>" in panel.problem.value


def test_a_consent_withdrawn_elsewhere_drops_the_picture_in_hand_in_one_line(panel, tmp_path):
    person = agree(panel)
    show(panel, still())
    panel.hotkeys.press("1")
    Collection(tmp_path / "c").withdraw(person)
    before = on_disk(tmp_path)
    panel.hotkeys.press("s")
    assert "consent was withdrawn" in panel.problem.value
    assert panel.session.face is None
    assert on_disk(tmp_path) == before


def test_a_full_disk_keeps_the_picture_in_hand_and_the_session_goes_on(panel, monkeypatch):
    agree(panel)
    show(panel, still())
    panel.hotkeys.press("1")
    with monkeypatch.context() as patch:
        stop_writing(patch)
        panel.hotkeys.press("s")
    assert "No space left on device" in panel.problem.value
    assert panel.session.face is not None
    panel.hotkeys.press("s")
    assert panel.session.collection.counts().total() == 1


def test_who_comes_back_goes_on_and_a_name_is_refused(panel, tmp_path):
    collection, files = filled(tmp_path / "c")
    (person,) = files
    panel.agreement.known.value = "Anna Example"
    panel.agreement.come.click()
    assert "That is no pseudonym" in panel.problem.value
    assert "Anna" not in panel.problem.value
    panel.agreement.known.value = f" {person.upper()} "
    panel.agreement.come.click()
    assert panel.session.person == person
    assert panel.work.layout.display == ""
    panel.work.end.click()
    assert panel.session.person == ""
    consent = tmp_path / "c" / "consent.csv"
    consent.write_text(consent.read_text().replace(collection.check(person), "0-abc"))
    panel.agreement.known.value = person
    panel.agreement.come.click()
    assert "The text has changed" in panel.told.value
    assert panel.work.layout.display == "none"
    show(panel, still())
    assert panel.session.face is None
    assert agree(panel) == person
    panel.work.end.click()
    panel.agreement.known.value = person
    panel.agreement.out.click()
    assert panel.work.sure.layout.display == ""


def test_a_broken_table_is_told_in_one_line_by_every_panel(panel, tmp_path):
    agree(panel)
    (tmp_path / "c" / "captures.csv").write_text("file,person,expression\none\n")
    show(panel, still())
    panel.hotkeys.press("1")
    panel.hotkeys.press("s")
    assert "captures.csv, data row 1" in panel.problem.value
    for other in (Samples(tmp_path / "c"), Agreements(tmp_path / "c")):
        assert "captures.csv, data row 1" in other.children[1].value
    labels = SecondLabels(tmp_path / "c")
    labels.begin.click()
    assert "captures.csv, data row 1" in labels.told.value


def test_a_second_person_labels_blind_and_agreement_is_shown(tmp_path):
    collection, files = filled(tmp_path / "c", people=2, each=3)
    spoilt = files[next(iter(files))][0]
    (tmp_path / "c" / spoilt).write_bytes(b"no picture")
    panel = SecondLabels(tmp_path / "c")
    panel.begin.click()
    assert panel.labeller.startswith("l-")
    seen = []
    for _ in range(9):
        if not panel.file:
            break
        first = next(row for row in collection.rows("captures.csv") if row["file"] == panel.file)
        assert first["expression"] not in panel.face.value
        seen.append(panel.file)
        panel.hotkeys.press("n")
        panel.hotkeys.press(str(EXPRESSIONS.index("sad") + 1))
    assert len(collection.rows("labels.csv")) == 5
    assert not any(row["file"] == spoilt for row in collection.rows("labels.csv"))
    assert "No face is left" in panel.face.value
    last = collection.rows("labels.csv")[-1]["file"]
    panel.hotkeys.press("b")
    assert panel.file == last
    panel.hotkeys.press("1")
    assert {row["file"]: row["expression"] for row in collection.rows("labels.csv")}[last] == "angry"
    panel.reveal.click()
    assert "of 5 faces of 2 people have the same label twice" in panel.result.value
    assert Agreements(tmp_path / "c").children[1].value.count("<table") == 1
    panel.known.value = "l-9999"
    panel.begin.click()
    assert "l-9999 is not known here" in panel.told.value


def test_a_face_that_was_erased_while_it_was_labelled_is_passed_by(tmp_path):
    collection, files = filled(tmp_path / "c", each=2)
    panel = SecondLabels(tmp_path / "c")
    panel.begin.click()
    collection.withdraw(next(iter(files)))
    panel.hotkeys.press("1")
    assert "erased meanwhile" in panel.told.value
    assert collection.rows("labels.csv") == []


def test_samples_are_of_the_most_and_least_frequent_that_may_be_printed(tmp_path):
    assert Samples(tmp_path / "none").children[1].value == ""
    probs = {f"live_prob_{name}": 0.1 for name in EXPRESSIONS}
    rows = []
    for name, count in {"happy": 5, "sad": 4, "fear": 3, "angry": 2, "disgust": 1}.items():
        rows += [
            {"expression": name, "live_predicted": name, "person": f"p-{number % 2}", **probs, f"live_prob_{name}": 0.5 + number / 20}
            for number in range(count)
        ]
    rows[0]["live_predicted"] = "sad"
    chosen = choose_samples(pd.DataFrame(rows))
    assert list(dict.fromkeys(chosen["expression"])) == ["happy", "sad", "angry", "disgust"]
    assert chosen["probability"].tolist() == pytest.approx([0.7, 0.65, 0.65, 0.6, 0.55, 0.5, 0.5])
    assert chosen["count"].tolist() == [5, 5, 4, 4, 2, 2, 1]


def test_the_figure_shows_no_face_without_consent_to_publication(tmp_path):
    session = Collecting(Collection(tmp_path / "c"), Model())
    session.agree(replace(YES, publication=False))
    session.take(still())
    session.name("happy")
    session.store()
    assert Samples(tmp_path / "c").children[1].value == ""
    assert Samples(tmp_path / "c", scope="research").children[1].value.count("<img") == 1


def test_a_second_click_erases_nobody_else_and_keeps_the_pseudonym_in_sight(panel, tmp_path):
    filled(tmp_path / "c", people=2)
    before = on_disk(tmp_path / "c")
    person = agree(panel)
    panel.agreement.agree.click()
    assert "fl-error" not in panel.problem.value
    panel.work.ask_to_withdraw()
    panel.work.end.click()
    panel.work.end.click()
    assert person in panel.told.value
    assert panel.work.sure.layout.display == "none", "the question is not put to the next person"
    agree(panel)
    for _ in range(2):
        panel.work.sure.children[1].click()
    assert "Withdrawn" in panel.told.value
    after = on_disk(tmp_path / "c")
    assert {name: content for name, content in after.items() if name != "consent.csv"} == {
        name: content for name, content in before.items() if name != "consent.csv"
    }


@pytest.mark.parametrize(("scope", "shown"), [("research; no publication", False), ("research", False), ("Research / Publication", True)])
def test_only_the_whole_word_of_the_scope_allows_printing(tmp_path, scope, shown):
    collection, _ = filled(tmp_path / "c", each=4)
    table = tmp_path / "c" / "consent.csv"
    table.write_text(table.read_text().replace("research; publication", scope))
    assert ("<img" in Samples(collection.folder).place.value) == shown
