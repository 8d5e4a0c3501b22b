"""Every file is accounted for: read, excluded with a reason, or named; whatever its ending, wherever it lies."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from rafdb_files import draw_faces, rafdb_tree

from ferlab.control.layouts import draw_layout
from ferlab.data.preparation.sources import gather
from ferlab.data.readers import class_folders
from ferlab.data.readers.accounting import NOT_NAMED, picture_names, unread_files
from ferlab.data.readers.delivery import Delivery
from ferlab.paths import InputError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


def encoded(form="PNG", level=7):
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(stream, form)
    return stream.getvalue()


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


JPEG = encoded("JPEG")
PICTURES = {"a.png": encoded(), "b.JFIF": JPEG, "c.jpe": JPEG, "d.JPG_large": JPEG, "e": encoded("GIF"), "f.dat": encoded("BMP")}
UNREAD = {
    "g.heic": (HEIC, "HEIC is not read: export"),
    "h": (HEIC, "HEIC is not read: export"),
    "i.avif": (b"\0\0\0\x1cftypavif" + bytes(20), "AVIF is not read: export"),
    "j.jp2": (b"", "JPEG 2000 is not read: export"),
    "k.nef": (b"MM\0*" + bytes(20), "a camera's raw file is not read: export"),
    "l.rar": (b"Rar!\x1a\7", "RAR archive, not opened: unpack"),
    "m.7z": (b"", "7z archive, not opened: unpack"),
    "n.part": (b"PK\3\4" + bytes(40), "zip archive under another ending, not opened: unpack"),
}
OTHERS = {"README.txt": b"text", "notes.docx": b"PK\3\4", "x.html": b"<html>", "paper.pdf": b"%PDF-1.4", "run.py": b"pass"}


def test_pictures_are_told_by_content_and_the_others_have_a_reason(tmp_path):
    write(tmp_path, PICTURES | {name: content for name, (content, _) in UNREAD.items()} | OTHERS)
    delivery = Delivery(tmp_path)
    assert picture_names(delivery) == sorted(PICTURES)
    excluded, others = unread_files(delivery, picture_names(delivery))
    assert set(excluded) == set(UNREAD)
    assert all(excluded[name].startswith(said) for name, (_, said) in UNREAD.items())
    assert set(others) == set(OTHERS)


def test_what_a_reader_took_is_accounted_for_and_a_picture_it_did_not_is_excluded(tmp_path):
    delivery = Delivery(write(tmp_path, {"labels.csv": b"x", "a.png": encoded(), "b.png": encoded()}))
    delivery.read("labels.csv")
    assert unread_files(delivery, ["a.png"]) == ({"b.png": NOT_NAMED}, [])


def test_a_set_lists_the_files_that_its_reader_did_not_read(tmp_path):
    write(tmp_path, {f"mine/{word}/1.png": encoded() for word in ("happy", "sad")} | {"mine/sad/2.HEIC": HEIC, "mine/notes.txt": b"x"})
    gathered = gather(tmp_path, {"s": {"dataset": "class_folders", "raw": "mine", "options": {"name": "own"}}})
    assert gathered.excluded.to_dict("records") == [
        {
            "face_id": "own/sad/2.HEIC",
            "source": "own",
            "source_path": "mine/sad/2.HEIC",
            "usage": "",
            "reason": "HEIC is not read: export it as JPEG or PNG",
        }
    ]
    assert gathered.other_files == ("mine/notes.txt",)


def test_a_reader_that_finds_nothing_says_what_lies_there(tmp_path):
    write(tmp_path, {"happy/1.heic": HEIC, "faces.rar": b"Rar!"})
    with pytest.raises(InputError, match=r"holds no pictures.*There are 1 x RAR archive.*HEIC is not read"):
        class_folders.read(tmp_path)


HELPERS = ["@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", ".@__thumb/1.png", "#recycle/1.png", "lost+found/1.png", "__MACOSX/._1.png", "$RECYCLE.BIN/1.png"]
FILES = ["Thumbs.db", "desktop.ini", "Desktop.INI", "Icon\r", ".DS_Store", "._1.png", "ehthumbs.db"]


def test_what_systems_leave_behind_is_nobodys_picture(tmp_path):
    write(tmp_path, {f"{folder}/{name}": encoded(level=9) for folder in ("happy", "sad", ".") for name in (*HELPERS, *FILES)})
    write(tmp_path, {"happy/1.png": encoded(), "sad/1.png": encoded()})
    assert Delivery(tmp_path).names == ("happy/1.png", "sad/1.png")


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    write(tmp_path / "elsewhere", {"happy/1.png": encoded()})
    write(tmp_path / "raw", {"sad/1.png": encoded()})
    (tmp_path / "raw" / "happy").symlink_to(tmp_path / "elsewhere" / "happy")
    (tmp_path / "raw" / "sad" / "around").symlink_to("..")
    (tmp_path / "elsewhere" / "happy" / "back").symlink_to(tmp_path / "raw")
    delivery = Delivery(tmp_path / "raw")
    assert delivery.names == ("happy/1.png", "sad/1.png")
    assert delivery.links == ["happy"]


def test_the_same_folder_under_two_links_is_read_under_both(tmp_path):
    write(tmp_path, {"elsewhere/1.png": encoded(), "raw/x.txt": b""})
    for name in ("happy", "sad"):
        (tmp_path / "raw" / name).symlink_to("../elsewhere")
    assert Delivery(tmp_path / "raw").names == ("happy/1.png", "sad/1.png", "x.txt")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "x").symlink_to("gone.png"), r"happy/x is a link to gone\.png, which is not there"),
        (lambda folder: (folder / "x").symlink_to("x"), "happy/x is a link to x"),
        (lambda folder: os.mkfifo(folder / "x"), "happy/x is no plain file but a pipe"),
        (lambda folder: (folder / os.fsdecode(b"x\xff.png")).touch(), r"x\\udcff\.png is not UTF-8"),
        (
            lambda folder: (folder / os.fsdecode(b"x\xff")).mkdir() or (folder / os.fsdecode(b"x\xff") / "a\n.png").touch(),
            r"x\\udcff/a\\n\.png is not UTF-8",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, make, said):
    write(tmp_path, {"happy/1.png": encoded()})
    make(tmp_path / "happy")
    with pytest.raises(InputError, match=said) as error:
        Delivery(tmp_path)
    assert "\n" not in str(error.value)


PLACES = {  # layout: dataset, and a folder of it that holds pictures
    "affectnet": ("affectnet", "train_set/images"),
    "affectnet_csv": ("affectnet", "Manually_Annotated/Manually_Annotated_Images"),
    "captured": ("captured", "s000/happy"),
    "ckplus": ("ckplus", "cohn-kanade-images"),
    "class_folders": ("class_folders", "train/happy"),
    "fer2013_reshuffled": ("fer2013_reshuffled", "images/train/happy"),
    "jaffe": ("jaffe", "."),
}


@pytest.mark.parametrize("layout", PLACES)
def test_every_reader_counts_what_it_does_not_read_and_passes_helpers_by(tmp_path, layout):
    dataset, place = PLACES[layout]
    raw = tmp_path / "raw"
    draw_layout(layout, raw, subjects=3, each=1, size=24)
    sources = {"x": {"dataset": dataset}}
    before = gather(raw, sources)
    helpers = {name: JPEG for name in ("@eaDir/a.jpg", f"{place}/Thumbs.db", f"{place}/._a.png")}
    write(raw, {f"{place}/IMG_1.HEIC": HEIC, f"{place}/rest.rar": b"Rar!"} | helpers)
    (tmp_path / "elsewhere").mkdir()
    if place != ".":
        (raw / place).rename(tmp_path / "elsewhere" / "moved")
        (raw / place).symlink_to(tmp_path / "elsewhere" / "moved")
    after = gather(raw, sources)
    assert after.faces["face_id"].tolist() == before.faces["face_id"].tolist()
    new = after.excluded[~after.excluded["face_id"].isin(before.excluded["face_id"])]
    assert new["reason"].tolist() == ["HEIC is not read: export it as JPEG or PNG", "RAR archive, not opened: unpack it here"]
    assert after.links == (() if place == "." else (place,))


def test_rafdb_counts_what_it_does_not_read_and_not_the_other_form_of_its_faces(tmp_path):
    write(tmp_path, rafdb_tree(draw_faces(3), [1, 2, 3], test=1) | {"basic/Image/aligned/x.heic": HEIC, "basic/Image/@eaDir/x.jpg": JPEG})
    gathered = gather(tmp_path, {"x": {"dataset": "rafdb"}})
    assert len(gathered.faces) == 3
    assert gathered.excluded["reason"].tolist() == ["HEIC is not read: export it as JPEG or PNG"]
