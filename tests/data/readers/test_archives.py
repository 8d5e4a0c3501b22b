"""Archives of any spelling hold the same files; two that lie together hide nothing of each other; what is wrong is one line."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from ferlab.data.readers import archives
from ferlab.data.readers.archives import list_members, stem
from ferlab.data.readers.delivery import Delivery
from ferlab.paths import InputError

FILES = {"happy/1.txt": b"one", "sad/2.txt": b"two" * 999}
COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def zip_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, content)
    return stream.getvalue()


def tar_of(files, links=()):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return stream.getvalue()


def held(root):
    delivered = Delivery(root)
    return {name: delivered.read(name) for name in delivered.names}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ZIP", zip_of(FILES)),
        ("a.zip", zip_of({name.replace("/", "\\"): content for name, content in FILES.items()})),
        ("a.zip", zip_of({f"./{name}": content for name, content in FILES.items()})),
        ("a.tar", tar_of(FILES)),
        ("a.TAR.GZ", gzip.compress(tar_of(FILES))),
        ("a.tgz", gzip.compress(tar_of(FILES))),
        ("a.tar.bz2", bz2.compress(tar_of(FILES))),
        ("a.txz", lzma.compress(tar_of(FILES))),
        ("a.gz", gzip.compress(tar_of(FILES))),
        ("a.zip", zip_of({"inner.zip": zip_of(FILES)})),
        ("a.zip", zip_of({"inner.tar.gz": gzip.compress(tar_of(FILES))})),
        ("a.tar", tar_of({"one.zip": zip_of({"two.ZIP": zip_of(FILES)})})),
    ],
)
def test_every_spelling_holds_the_same_files_and_nothing_is_unpacked(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert held(tmp_path) == held(tmp_path / name) == FILES
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_file_that_is_compressed_alone_is_read_as_itself(tmp_path, kind):
    (tmp_path / f"fer2013.csv{kind}").write_bytes(COMPRESS[kind](b"emotion,pixels"))
    (tmp_path / "deep.zip").write_bytes(zip_of({f"x.csv{kind}": COMPRESS[kind](b"x")}))
    assert held(tmp_path) == {"fer2013.csv": b"emotion,pixels", "x.csv": b"x"}


def test_two_archives_do_not_hide_each_others_files(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of({"happy/1.txt": b"one", "same.txt": b"same"}))
    (tmp_path / "b.zip").write_bytes(zip_of({"happy/1.txt": b"other", "same.txt": b"same"}))
    assert held(tmp_path) == {"a/happy/1.txt": b"one", "a/same.txt": b"same", "b/happy/1.txt": b"other", "b/same.txt": b"same"}


@pytest.mark.parametrize("inside", [False, True])
def test_archives_named_as_parts_keep_their_parts(tmp_path, inside):
    parts = {
        "train.zip": zip_of({"happy/1.txt": b"1"}),
        "test_set.zip": zip_of({"happy/2.txt": b"2"}),
        "val.tar": tar_of({"valid/happy/3.txt": b"3"}),
    }
    if inside:
        parts = {"archive.zip": zip_of(parts)}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    assert set(held(tmp_path)) == {"train/happy/1.txt", "test_set/happy/2.txt", "valid/happy/3.txt"}


def test_the_name_of_an_archive_that_is_all_of_the_dataset_tells_nothing(tmp_path):
    (tmp_path / "test.zip").write_bytes(zip_of(FILES))
    assert held(tmp_path / "test.zip") == FILES


def test_archives_named_as_expressions_are_class_folders(tmp_path):
    for name, content in {"happy.zip": {"1.txt": b"1"}, "Sad.zip": {"2.txt": b"2"}, "fear.zip": {"fear/3.txt": b"3"}}.items():
        (tmp_path / name).write_bytes(zip_of(content))
    assert set(held(tmp_path)) == {"happy/1.txt", "Sad/2.txt", "fear/3.txt"}


def test_an_archive_that_lies_beside_its_unpacked_folder_is_read_once(tmp_path):
    (tmp_path / "faces.tar.gz").write_bytes(gzip.compress(tar_of(FILES)))
    for name, content in FILES.items():
        (tmp_path / "faces" / name).parent.mkdir(parents=True)
        (tmp_path / "faces" / name).write_bytes(content)
    assert held(tmp_path) == {f"faces/{name}": content for name, content in FILES.items()}


def test_links_in_a_tar_are_files_or_refused_by_name(tmp_path):
    links = [("sad/1.txt", tarfile.SYMTYPE, "../happy/1.txt"), ("sad/3.txt", tarfile.LNKTYPE, "happy/1.txt")]
    (tmp_path / "a.tar").write_bytes(tar_of(FILES, links))
    assert held(tmp_path) == FILES | {"sad/1.txt": b"one", "sad/3.txt": b"one"}
    (tmp_path / "a.tar").write_bytes(tar_of(FILES, [("fear", tarfile.SYMTYPE, "happy")]))
    with pytest.raises(InputError, match=r"a\.tar: the member 'fear' is a link to a folder.*Unpack it"):
        Delivery(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_pipe_or_device_in_a_tar_is_refused(tmp_path, kind):
    (tmp_path / "a.tar").write_bytes(tar_of(FILES, [("sad/pipe", kind, "")]))
    with pytest.raises(InputError, match="'sad/pipe' is no plain file"):
        Delivery(tmp_path)


@pytest.mark.parametrize("name", ["../x.txt", "/x.txt", "a/../../x.txt", "..\\x.txt", "C:\\x.txt"])
def test_a_member_that_points_outside_is_refused_in_any_archive(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(zip_of({"inner.zip": zip_of({name: b"x"})}))
    with pytest.raises(InputError, match=r"a\.zip, inner\.zip: the member .* points outside"):
        Delivery(tmp_path)


def test_what_decompresses_to_more_than_it_should_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of({"a.txt": bytes(2 << 20)})))
    with pytest.raises(InputError, match=r"a\.tar\.gz unpacks .* at most 200 times"):
        Delivery(tmp_path)
    monkeypatch.setattr(archives, "MOST_UNPACKED", 1 << 10)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of(FILES)))
    with pytest.raises(InputError, match="too much to read in place"):
        Delivery(tmp_path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.gz", "a.bz2"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4" + bytes(60), b"\x1f\x8b" + bytes(20)])
def test_bytes_that_are_no_archive_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    said = ""
    try:
        Delivery(tmp_path)
    except InputError as error:
        said = str(error)
    assert not said or name in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("at", [20, 60, 120])
def test_a_flipped_byte_is_read_or_one_line(tmp_path, name, at):
    content = bytearray(zip_of(FILES) if name == "a.zip" else gzip.compress(tar_of(FILES)))
    content[at] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    said = ""
    try:
        held(tmp_path)
    except InputError as error:
        said = str(error)
    assert not said or name in said


@pytest.mark.parametrize(
    ("name", "expected"), [("a/faces.tar.gz", "faces"), ("x.ZIP", "x"), ("fer2013.csv.zip", "fer2013.csv"), ("v1.2.tgz", "v1.2")]
)
def test_the_stem_is_the_name_without_endings(name, expected):
    assert stem(name) == expected


def test_members_are_listed_with_where_they_lie(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of({"b/inner.zip": zip_of(FILES)}))
    members = list_members(tmp_path / "a.zip")
    assert [member.name for member in members] == ["b/happy/1.txt", "b/sad/2.txt"]
    assert {member.archive for member in members} == {f"{tmp_path}/a.zip, b/inner.zip"}
