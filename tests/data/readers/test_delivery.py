"""Files as delivered: folders and zips alike, sorted; what a zip should not hold is refused before anything is read."""

import struct
import zipfile

import pytest

from ferlab.data.readers import archives
from ferlab.data.readers.delivery import Delivery
from ferlab.paths import InputError

FILES = {"b/2.txt": b"two", "a 'q\".txt": b"quoted", "a/é.txt": b"accent", "a/new\nline.txt": b"line", "B.txt": b"B"}


def write_folder(root, files=FILES):
    for name in sorted(files, reverse=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[name])
    return root


def write_zip(path, files=FILES, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in sorted(files, reverse=True):
            archive.writestr(name, files[name])
    return path


def held(delivered):
    return {name: delivered.read(name) for name in delivered.names}


def test_a_folder_a_zip_and_a_zip_in_a_folder_hold_the_same(tmp_path):
    (tmp_path / "in").mkdir()
    for root in (write_folder(tmp_path / "folder"), write_zip(tmp_path / "all.zip"), write_zip(tmp_path / "in" / "all.zip").parent):
        delivered = Delivery(root)
        assert held(delivered) == FILES
        assert list(delivered.names) == sorted(FILES)


def test_what_lies_beside_a_zip_comes_before_what_is_in_it(tmp_path):
    write_folder(tmp_path, {"B.txt": b"mine"})
    write_zip(tmp_path / "all.zip")
    assert Delivery(tmp_path).read("B.txt") == b"mine"
    assert set(Delivery(tmp_path).names) == set(FILES)


def test_a_zip_in_a_subfolder_counts_as_lying_there(tmp_path):
    (tmp_path / "deep").mkdir()
    write_zip(tmp_path / "deep" / "x.zip", {"a.txt": b"1"})
    assert held(Delivery(tmp_path)) == {"deep/a.txt": b"1"}


def test_what_systems_leave_behind_is_not_listed(tmp_path):
    write_folder(tmp_path, {".DS_Store": b"", "__MACOSX/a.txt": b"", "Thumbs.db": b"", ".hidden/x.txt": b"", "a.txt": b"1"})
    assert Delivery(tmp_path).names == ("a.txt",)


def test_an_error_says_where_in_one_line(tmp_path):
    delivered = Delivery(write_folder(tmp_path / "folder"))
    assert delivered.where("a/new\nline.txt") == f"{tmp_path}/folder/a/new\\nline.txt"
    assert Delivery(write_zip(tmp_path / "all.zip")).where("B.txt") == f"{tmp_path}/all.zip, B.txt"
    with pytest.raises(InputError, match=r"c\.txt is missing"):
        delivered.read("c.txt")


def test_names_are_selected_in_order(tmp_path):
    assert Delivery(write_folder(tmp_path)).select(lambda path: path.parts[0] in ("a", "b")) == ["a/new\nline.txt", "a/é.txt", "b/2.txt"]


def test_a_zip_that_unpacks_to_more_than_it_should_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    with pytest.raises(InputError, match=r"bomb\.zip: 'a\.txt' unpacks to 2,097,152 bytes; expected at most 1,048,576"):
        Delivery(write_zip(tmp_path / "bomb.zip", {"a.txt": bytes(2 << 20)}))
    with pytest.raises(InputError, match=r"many\.zip unpacks [\d,]+ bytes to 2,097,152; expected at most 200 times"):
        Delivery(write_zip(tmp_path / "many.zip", {"a.txt": bytes(1 << 20), "b.txt": bytes(1 << 20)}))


def test_a_zip_that_lies_about_a_size_is_refused_when_read(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.txt": b"0123456789" * 20}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 150)  # the central directory now says 150 bytes
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.zip, a\.txt cannot be read"):
        Delivery(path).read("a.txt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[: len(data) // 2], "is cut or damaged"),
        (lambda data: b"", "is cut or damaged"),
        (lambda data: data.replace(b"a.txt", b"/.txt"), "points outside the archive"),
        (lambda data: data.replace(b"a.txt", b"../xx"), "points outside the archive"),
    ],
)
def test_a_wrong_zip_is_refused(tmp_path, change, said):
    path = write_zip(tmp_path / "x.zip", {"a.txt": b"hello" * 99})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=said):
        Delivery(path)


def test_a_locked_zip_says_so(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.txt": b"hello"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="locked with a password"):
        Delivery(path)


def test_damaged_bytes_in_a_zip_are_found_by_their_checksum(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.txt": b"hello world"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hello wurld"))
    with pytest.raises(InputError, match=r"a\.txt cannot be read"):
        Delivery(path).read("a.txt")


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path):
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.rar is neither a folder nor a \.zip"):
        Delivery(tmp_path / "x.rar")
    with pytest.raises(InputError, match="does not exist"):
        Delivery(tmp_path / "nowhere")
