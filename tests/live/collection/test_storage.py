"""Collected faces: nothing without consent, nothing half-written, nothing lost, nothing left of who withdrew."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from collected import BOX, YES, Model, drawn, filled, on_disk, still, taken
from PIL import Image

from ferlab import paths
from ferlab.data.readers.captured import read
from ferlab.expressions import EXPRESSIONS
from ferlab.live.collection import storage as collections
from ferlab.live.collection.collecting import Collecting
from ferlab.live.collection.consent import FORM, TEXT, VERSION, Agreement, check_pseudonym, consent_version, draw_pseudonym
from ferlab.live.collection.csv_rows import erase_face_rows
from ferlab.live.collection.storage import Collection
from ferlab.live.collection.taken import take_face
from ferlab.live.frames import LiveFace, Still
from ferlab.paths import InputError

PINNED = {"1": "1-fd79e06209c1e183"}  # a changed text needs a new version


def test_a_changed_text_needs_a_new_version():
    assert consent_version() == PINNED[VERSION]


def test_nothing_is_ticked_and_nothing_is_on_disk_before_consent(tmp_path):
    folder = tmp_path / "collected"
    assert Agreement() == Agreement(adult=False, research=False, publication=False)
    collection = Collection(folder)
    assert collection.faces().empty
    for ticked in (Agreement(), Agreement(research=True, publication=True), Agreement(adult=True, publication=True)):
        with pytest.raises(InputError, match="nothing"):
            collection.agree(ticked)
    with pytest.raises(InputError, match=r"no consent in .*nothing was stored"):
        collection.store("p-2222", taken(), expression="sad")
    assert on_disk(tmp_path) == {}


def test_the_record_holds_scope_version_and_text_and_no_name(tmp_path):
    person = Collection(tmp_path / "c").agree(Agreement(adult=True, research=True))
    row = next(csv.DictReader(io.StringIO((tmp_path / "c" / "consent.csv").read_text())))
    assert FORM.fullmatch(person)
    assert (row["person"], row["consent"], row["scope"], row["adult"]) == (person, "yes", "research", "yes")
    assert (tmp_path / "c" / f"consent_{row['consent_version']}.txt").read_text() == TEXT
    assert row["signed_by"] == row["note"] == ""


@pytest.mark.parametrize("typed", ["Anna", "anna@example.org", "p-0o1l", "p-22", "x-7k3q", "../p-7k3q", "p-7k3q/..", ""])
def test_a_name_is_refused_and_not_repeated(typed):
    with pytest.raises(InputError, match="no pseudonym") as error:
        check_pseudonym(typed)
    assert not typed or typed not in str(error.value)


def test_pseudonyms_are_drawn_anew_and_never_again(monkeypatch):
    drawn_letters = iter("2222" + "2222" + "3333")
    monkeypatch.setattr("ferlab.live.collection.consent.secrets.choice", lambda _: next(drawn_letters))
    assert draw_pseudonym(set()) == "p-2222"
    assert draw_pseudonym({"p-2222"}) == "p-3333"


def test_a_stored_face_is_read_as_captured_with_all_that_is_known_of_it(tmp_path):
    collection = Collection(tmp_path / "c")
    people = [collection.agree(YES) for _ in range(2)]
    files = [collection.store(person, taken(number), expression=EXPRESSIONS[number]) for number in range(3) for person in people]
    pictures, faces = read(tmp_path / "c")
    assert sorted(faces["source_path"]) == sorted(files)
    assert set(faces["subject"]) == set(people)
    assert set(faces["excluded"]) == {""}
    row = faces.set_index("source_path").loc[files[0]]
    assert (row["target"], row["prompt"], row["origin"], row["consent_version"]) == (0, "sad", "camera", consent_version())
    assert (row["live_model"], row["live_predicted"], len(row["live_model_sha256"])) == ("shipped", "happy", 64)
    assert row[["live_prob_happy", "pose_yaw", "pose_roll"]].tolist() == pytest.approx([0.7, 4.0, 1.0])
    assert "live_prob_contempt" not in faces
    assert pd.Timestamp(row["time"]).tzinfo is not None
    picture = pictures[int(faces.index[faces["source_path"] == files[0]][0])]
    x, y, width, height = (int(row[f"box_{side}"]) for side in "xywh")
    assert (x, y, width, height) == (48, 48, 96, 96)  # half of the face's side around it
    assert picture.shape == (192, 192, 3)
    assert np.array_equal(picture[y : y + height, x : x + width, 0], drawn()[0][0])  # without loss


def test_light_is_measured_on_the_face_alone():
    picture = np.zeros((240, 320, 3), np.uint8)
    x, y, width, height = map(int, BOX)
    picture[y : y + height, x : x + width // 2] = 255
    face = take_face(Still(picture, (LiveFace(0, BOX),), 0, "", "file"), Model())
    assert (face.light.mean, face.light.contrast, face.light.side) == pytest.approx((0.5, 0.5, 1.0))
    assert face.hints == ["Lit from the left of the picture: turn to the light."]
    assert taken(pose=(40.0, 0, 0)).hints[-1] == "Turned away: turn to the camera."
    assert taken(pose=None).record().keys() & {"pose_yaw"} == set()


def test_a_second_person_in_the_region_is_not_stored_and_one_outside_is_cut_away():
    with pytest.raises(InputError, match="second face"):
        taken(others=(LiveFace(1, (200.0, 60.0, 60.0, 60.0)),))
    assert taken(others=(LiveFace(1, (230.0, 60.0, 60.0, 60.0)),)).picture.shape == (192, 192, 3)
    with pytest.raises(InputError, match="No face"):
        take_face(Still(still().picture, (), None, "", "camera"), Model())


def test_files_are_for_their_owner_and_hold_no_metadata(tmp_path):
    before = os.umask(0o022)
    try:
        (tmp_path / "c").mkdir(mode=0o755)
        _, files = filled(tmp_path / "c", each=1)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "c").rglob("*")}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert all(mode == (0o600 if "." in name else 0o700) for name, mode in modes.items())
    with Image.open(tmp_path / "c" / files.popitem()[1][0]) as image:
        assert (image.format, image.info) == ("PNG", {})


@pytest.mark.parametrize(
    "change", ["withdrawn elsewhere", "withdrawn by hand", "research taken back by hand", "said no by hand", "row removed", "spoilt"]
)
def test_an_in_flight_picture_is_not_written_after_a_withdrawal(tmp_path, change):
    collection, files = filled(tmp_path / "c")
    (person,), face, consent = files, taken(5), tmp_path / "c" / "consent.csv"
    if change == "withdrawn elsewhere":
        assert Collection(tmp_path / "c").withdraw(person) == collections.Erased(2, 2)
    else:
        text = consent.read_text()
        line = text.splitlines()[1]
        cells = line.split(",")
        cells[6] = "2026-11-28"
        scope = line.replace("research; publication", "publication; no research")
        new = {
            "withdrawn by hand": ",".join(cells),
            "research taken back by hand": scope,
            "said no by hand": line.replace(",yes,", ",no,", 1),
            "row removed": "",
            "spoilt": f'"{line}',
        }
        consent.write_text(text.replace(line, new[change]))
    before = on_disk(tmp_path)
    with pytest.raises(InputError, match=r"nothing was stored|cannot be read as csv") as error:
        collection.store(person, face, expression="sad")
    assert "\n" not in str(error.value)
    assert on_disk(tmp_path) == before


def test_who_agreed_to_an_earlier_text_is_asked_again(tmp_path):
    collection, files = filled(tmp_path / "c")
    (person,), consent = files, tmp_path / "c" / "consent.csv"
    consent.write_text(consent.read_text().replace(consent_version(), "0-abc"))
    with pytest.raises(InputError, match="consent text has changed"):
        collection.store(person, taken(), expression="sad")
    assert collection.agree(Agreement(adult=True, research=True), person=person) == person
    collection.store(person, taken(), expression="sad")
    assert [row["scope"] for row in collection.rows("consent.csv")] == ["research"]
    collection.withdraw(person)
    with pytest.raises(InputError, match="withdrawn"):
        collection.agree(YES, person=person)


def test_withdrawing_keeps_pseudonym_and_dates_and_nothing_else(tmp_path):
    collection, files = filled(tmp_path / "c", people=2)
    gone, kept = files
    collection.label(files[gone][0], labeller=kept, expression="sad", time="t1")
    collection.label(files[kept][0], labeller=gone, expression="sad", time="t2")
    corrections = tmp_path / "c" / "corrections.csv"
    rows = [f"captured/{files[gone][0]},sad,fear,x,y,2026-11-28", f"captured/{files[kept][0]},sad,fear,x,y,2026-11-28"]
    corrections.write_text("\n".join(["face_id,old,new,who,why,when", *rows, f"captured/{files[kept][1]},sad,fear,{gone},y,2026-11-28", ""]))
    assert collection.withdraw(gone) == collections.Erased(2, 2 + 2 + 2)
    left = on_disk(tmp_path / "c")
    assert {name for name in left if name.endswith(".png")} == set(files[kept])
    assert corrections.read_text().splitlines()[1:] == rows[1:]
    row = next(row for row in collection.rows("consent.csv") if row["person"] == gone)
    assert {column for column, value in row.items() if value} == {"person", "consent", "date", "withdrawn"}
    assert {name for name, content in left.items() if gone.encode() in content} == {"consent.csv", f".erased-{gone}.json"}
    assert set(read(tmp_path / "c")[1]["subject"]) == {kept}
    assert collection.withdraw(gone) == collections.Erased(0, 0)


def test_discarding_erases_one_face_and_its_labels(tmp_path):
    collection, files = filled(tmp_path / "c")
    ((person, (first, second)),) = files.items()
    collection.label(first, labeller="l-2222", expression="sad", time="t")
    collection.discard(first)
    assert [row["file"] for row in collection.rows("captures.csv")] == [second]
    assert collection.rows("labels.csv") == []
    assert not (tmp_path / "c" / first).exists()
    with pytest.raises(InputError, match="erased meanwhile"):
        collection.label(first, labeller="l-2222", expression="sad", time="t")
    assert collection.counts(person).total() == 1


@pytest.mark.parametrize("name", ["*.png", "captures.csv"])
def test_a_full_disk_leaves_nothing_half_written_and_the_session_goes_on(tmp_path, monkeypatch, name):
    collection, files = filled(tmp_path / "c", each=1)
    (person,), before = files, on_disk(tmp_path)
    real = os.fsync

    def full(number: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{number}")).match(f"{name}.*.part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(paths.os, "fsync", full)
    with pytest.raises(InputError, match="not saved: No space left on device") as error:
        collection.store(person, taken(1), expression="sad")
    assert "\n" not in str(error.value)
    assert on_disk(tmp_path) == before
    monkeypatch.undo()
    collection.store(person, taken(1), expression="sad")
    assert collection.counts(person).total() == 2


def refusal(collection: Collection, person: str, face) -> str:
    """Store a face; return why it could not be."""
    try:
        collection.store(person, face, expression="sad")
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        collection = Collection(disk / "c")
        person, stored = collection.agree(YES), 0
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        face = take_face(Still(noise, (LiveFace(0, (100.0, 80.0, 40.0, 40.0)),), 0, "", "file"), Model())
        while stored < 50 and not (said := refusal(collection, person, face)):
            stored += 1
        assert "No space left on device" in said
        assert 0 < stored == collection.counts(person).total() == len(list((disk / "c").rglob("*.png")))
        assert not list((disk / "c").rglob("*.part"))
        collection.discard(collection.rows("captures.csv")[0]["file"])
        collection.store(person, face, expression="sad")
    finally:
        subprocess.run(["umount", disk], check=True)


STORE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from collected import YES, Collection, taken
collection = Collection(Path(sys.argv[1]))
person = collection.agree(YES)
face = taken(3)
for _ in range(int(sys.argv[3])):
    collection.store(person, face, expression="sad")
"""


@pytest.mark.slow
def test_two_sessions_that_store_at_once_lose_no_row(tmp_path):
    command = [sys.executable, "-c", STORE, str(tmp_path / "c"), str(Path(__file__).parents[1]), "25"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3] / "src"), str(Path(__file__).parents[2])])}
    sessions = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [session.communicate()[1] for session in sessions]
    assert [session.returncode for session in sessions] == [0, 0], errors
    faces = Collection(tmp_path / "c").faces()
    assert faces["person"].value_counts().tolist() == [25, 25]
    assert sorted(faces["file"]) == sorted(path.relative_to(tmp_path / "c").as_posix() for path in (tmp_path / "c").rglob("*.png"))
    assert len(read(tmp_path / "c")[1]) == 50


def test_a_hand_edited_table_is_named_by_row_and_never_overwritten(tmp_path):
    collection, files = filled(tmp_path / "c")
    (person,) = files
    with open(tmp_path / "c" / "captures.csv", "a") as rows:
        rows.write("one,cell,too\n")
    before = on_disk(tmp_path)
    with pytest.raises(InputError, match=r"captures\.csv, data row 3 .*3 cells; expected \d+"):
        collection.store(person, taken(), expression="sad")
    assert on_disk(tmp_path) == before


def test_a_table_from_before_is_read_and_keeps_its_rows(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "consent.csv").write_text("person,consent,date,scope\nanna,yes,2024-05-31,research\n")
    (tmp_path / "c" / "captures.csv").write_text("file,person,expression\nanna.png,anna,sad\n")
    Image.fromarray(drawn()[0][0]).save(tmp_path / "c" / "anna.png")
    collection = Collection(tmp_path / "c")
    person = collection.agree(YES)
    collection.store(person, taken(), expression="happy")
    faces = read(tmp_path / "c")[1].set_index("subject")
    assert faces["target"].to_dict() == {"anna": EXPRESSIONS.index("sad"), person: EXPRESSIONS.index("happy")}
    assert np.isnan(faces.loc["anna", "box_x"])
    assert faces.loc["anna", "live_model"] == ""
    with pytest.raises(InputError, match="consent text has changed"):
        collection.store("anna", taken(), expression="sad")


def test_rows_on_a_face_are_found_below_the_folder_of_a_source(tmp_path):
    path = tmp_path / "poor.csv"
    path.write_text("face_id,why,who\ncaptured/web/p-2222/a.png,blurred,x\ncaptured/web/p-3333/a.png,blurred,x\nfer2013/0000001,dark,p-2222\n")
    assert erase_face_rows(path, files={"p-2222/a.png"}, who="p-2222") == 2
    assert path.read_text() == "face_id,why,who\ncaptured/web/p-3333/a.png,blurred,x\n"
    (tmp_path / "other.csv").write_text("a,b\np-2222/a.png,1\n")
    assert erase_face_rows(tmp_path / "other.csv", files={"p-2222/a.png"}) == 0


def test_sessions_of_the_person_go_too(tmp_path):
    collection, files = filled(tmp_path / "c", people=2)
    gone, kept = files
    (tmp_path / "c" / "sessions").mkdir()
    own, both = tmp_path / "c" / "sessions" / "a.csv", tmp_path / "c" / "sessions" / "b.csv"
    own.write_text(f"session,person,prompt\n1,{gone},sad\n")
    both.write_text(f"session,person,prompt\n1,{gone},sad\n2,{kept},sad\n")
    assert collection.people() == {gone, kept}
    assert collection.withdraw(gone) == collections.Erased(2, 4)
    assert not own.exists()
    assert both.read_text() == f"session,person,prompt\n2,{kept},sad\n"
    assert len(read(tmp_path / "c")[1]) == 2


def test_nobody_stated_erases_nobody(tmp_path):
    """A second click on "Withdraw and erase" comes without a person."""
    collection, files = filled(tmp_path / "c", people=2)
    session = Collecting(collection, Model(), person=next(iter(files)))
    session.withdraw()
    before = on_disk(tmp_path)
    for again in (session.withdraw, lambda: collection.withdraw(""), lambda: collection.erase("")):
        with pytest.raises(InputError, match="nothing was erased"):
            again()
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("person", ["..", ".", "sessions", "../other", "p-2222/.."])
def test_a_person_who_is_called_as_a_folder_takes_no_folder_along(tmp_path, person):
    collection, _ = filled(tmp_path / "raw" / "c")
    (tmp_path / "raw" / "other").mkdir()
    for name in ("raw/other/a.png", "raw/b.png", "raw/c/sessions.txt"):
        (tmp_path / name).write_bytes(b"of others")
    with open(collection.folder / "consent.csv", "a") as table:
        table.write(f"{person},yes,2024-05-31,research,,,,yes,{consent_version()}\n")
    before = set(on_disk(tmp_path))
    collection.withdraw(person)
    assert set(on_disk(tmp_path)) == before


@pytest.mark.parametrize("file", ["../../secret.png", "{root}/secret.png", "linked/secret.png", "consent.csv", "sessions", "to_secret.png"])
def test_a_row_that_leads_out_of_the_folder_erases_nothing_there(tmp_path, file):
    collection, files = filled(tmp_path / "raw" / "c")
    (person, _), secret = next(iter(files.items())), tmp_path / "secret.png"
    secret.write_bytes(b"of others")
    (collection.folder / "sessions").mkdir()
    (collection.folder / "linked").symlink_to(tmp_path)
    (collection.folder / "to_secret.png").symlink_to(secret)
    table = collection.folder / "captures.csv"
    table.write_text(table.read_text().replace(files[person][1], file.format(root=tmp_path)))
    with pytest.raises(InputError, match=r"captures.csv.*row 2.*is no picture below this folder"):
        collection.withdraw(person)
    assert secret.read_bytes() == b"of others"
    assert collection.rows("consent.csv")[0]["withdrawn"], "nothing of the person is prepared from here on"
    assert len(collection.rows("captures.csv")) == 2


def test_a_folder_of_a_person_that_is_a_link_is_named_and_not_followed(tmp_path):
    collection, files = filled(tmp_path / "raw" / "c")
    person = next(iter(files))
    (collection.folder / person).rename(tmp_path / "elsewhere")
    (collection.folder / person).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not erased"):
        collection.withdraw(person)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2
