"""FER2013: the same faces from every form, and one line for everything that is wrong with a file."""

import gzip
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fer2013_files import HEADER, csv_text, draw_faces, pixel_text, votes_text, write_folders, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_dataset import read_dataset

from ferlab.data.readers import fer2013, tables
from ferlab.expressions import EXPRESSIONS, USAGES
from ferlab.paths import InputError

CODES = [0, 3, 6, 1, 3]
MOST = ["Training", "Training", "Training", "PublicTest", "PublicTest"]
ALL = ["Training", "Training", "PublicTest", "PrivateTest", "PrivateTest"]


@pytest.fixture
def faces():
    return draw_faces(5)


def expect(images, table, faces, *, usages):
    np.testing.assert_array_equal(images, faces)
    assert images.dtype == np.uint8
    assert table["target"].tolist() == CODES
    assert table["usage"].tolist() == usages


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(USAGES)), min_size=1, max_size=6),
    order=st.permutations(["emotion", "pixels", "Usage"]),
    blank=st.sampled_from(["", " "]),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_right_csv_comes_back(rows, order, blank, end, last, seed):
    faces = draw_faces(len(rows), seed=seed)
    cells = [{"emotion": str(code), "pixels": pixel_text(face), "Usage": usage} for face, (code, usage) in zip(faces, rows)]
    lines = [f",{blank}".join(order), *(",".join(row[column] for column in order) for row in cells)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fer2013.csv").write_text(end.join(lines) + (end if last else ""), newline="")
        images, table = fer2013.read(Path(folder))
    np.testing.assert_array_equal(images, faces)
    assert list(zip(table["target"], table["usage"])) == [(code, usage) for code, usage in rows]
    assert table["face_id"].tolist() == [f"fer2013/{row:07d}" for row in range(len(rows))]


@pytest.mark.parametrize("usages", [MOST, ALL], ids=["without PrivateTest", "with PrivateTest"])
class TestForms:
    def test_csv(self, tmp_path, faces, usages):
        (tmp_path / "fer2013.csv").write_text(csv_text(faces, CODES, usages))
        images, table = read_dataset("fer2013", tmp_path)
        expect(images, table, faces, usages=usages)
        assert set(table["source_path"]) == {"fer2013.csv"}

    def test_csv_given_by_its_path_under_any_name(self, tmp_path, faces, usages):
        (tmp_path / "my.csv").write_text(csv_text(faces, CODES, usages))
        expect(*read_dataset("fer2013", tmp_path / "my.csv"), faces, usages=usages)

    def test_icml_csv_with_blanks_in_header_and_rows(self, tmp_path, faces, usages):
        rows = [f"{code}, {usage}, {pixel_text(face)}" for face, code, usage in zip(faces, CODES, usages)]
        (tmp_path / "icml_face_data.csv").write_text("\n".join(["emotion, Usage, pixels", *rows]))
        expect(*read_dataset("fer2013", tmp_path), faces, usages=usages)

    def test_csv_with_quotes_and_byte_order_mark(self, tmp_path, faces, usages):
        table = pd.DataFrame({"emotion": CODES, "pixels": [pixel_text(face) for face in faces], "Usage": usages})
        table.to_csv(tmp_path / "fer2013.csv", index=False, quoting=1, encoding="utf-8-sig")
        expect(*read_dataset("fer2013", tmp_path), faces, usages=usages)

    @pytest.mark.parametrize("name", ["fer2013/fer2013.csv", "fer2013.csv", "./fer2013/fer2013.csv"])
    def test_archive(self, tmp_path, faces, usages, name):
        write_tar(tmp_path / "fer2013.tar.gz", {"fer2013/README": b"x", name: csv_text(faces, CODES, usages).encode(), "fer2013/fer2013.bib": b"y"})
        images, table = read_dataset("fer2013", tmp_path)
        expect(images, table, faces, usages=usages)
        assert [path.name for path in tmp_path.iterdir()] == ["fer2013.tar.gz"]  # nothing unpacked

    def test_folders_named_as_the_rows(self, tmp_path, faces, usages):
        names = [f"{'train' if usage == 'Training' else 'test'}/{usage}_{row}.png" for row, usage in enumerate(usages)]
        write_folders(tmp_path, faces, CODES, names)
        images, table = read_dataset("fer2013", tmp_path)
        expect(images, table, faces, usages=usages)
        assert table["face_id"].tolist() == [f"fer2013/{row:07d}" for row in range(5)]

    def test_archive_unpacked_in_place(self, tmp_path, faces, usages):
        (tmp_path / "fer2013").mkdir()
        (tmp_path / "fer2013" / "fer2013.csv").write_text(csv_text(faces, CODES, usages))
        expect(*read_dataset("fer2013", tmp_path), faces, usages=usages)


def test_the_same_faces_have_the_same_ids_and_hashes_in_every_form(tmp_path, faces):
    text = csv_text(faces, CODES, MOST)
    (tmp_path / "fer2013.csv").write_text(text)
    write_tar(tmp_path / "fer2013.tar.gz", {"fer2013/fer2013.csv": text.encode()})
    write_folders(tmp_path / "folders", faces, CODES, [f"{'train' if u == 'Training' else 'test'}/{u}_{r}.png" for r, u in enumerate(MOST)])
    tables = [read_dataset("fer2013", path)[1] for path in (tmp_path, tmp_path / "fer2013.tar.gz", tmp_path / "folders")]
    for table in tables[1:]:
        for column in ("face_id", "content_hash", "usage", "target"):
            assert table[column].tolist() == tables[0][column].tolist()


def test_a_file_longer_than_a_block_is_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 1 << 15)  # three faces
    faces, codes = draw_faces(40), [row % 7 for row in range(40)]
    (tmp_path / "fer2013.csv").write_text(csv_text(faces, codes, ["Training"] * 40))
    images, table = fer2013.read(tmp_path)
    np.testing.assert_array_equal(images, faces)
    assert table["target"].tolist() == codes


@pytest.mark.parametrize("row", [1, 5, 40])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e, p, u: f"7,{p},{u}", "emotion is '7'; expected one of 0, 1, 2, 3, 4, 5, 6"),
        (lambda e, p, u: f"x,{p},{u}", "emotion is 'x'"),
        (lambda e, p, u: f",{p},{u}", "emotion is ''"),
        (lambda e, p, u: f"{e},{p},Test", "Usage is 'Test'; expected one of Training, PublicTest, PrivateTest"),
        (lambda e, p, u: f"{e},{p},", "Usage is ''"),
        (lambda e, p, u: f"{e},{p} 1,{u}", "2305 pixels; expected 2304"),
        (lambda e, p, u: f"{e},{p.rsplit(' ', 1)[0]},{u}", "2303 pixels; expected 2304"),
        (lambda e, p, u: f"{e},256{p[p.index(' ') :]},{u}", "pixel 1 is '256'; expected a whole number from 0 to 255"),
        (lambda e, p, u: f"{e},-1{p[p.index(' ') :]},{u}", "pixel 1 is '-1'"),
        (lambda e, p, u: f"{e},{p} abc,{u}", "pixel 2305 is 'abc'"),
        (lambda e, p, u: f"{e},1.5{p[p.index(' ') :]},{u}", "pixel 1 is '1.5'"),
        (lambda e, p, u: f"{e},NaN{p[p.index(' ') :]},{u}", "pixel 1 is 'NaN'"),
        (lambda e, p, u: f"{e},,{u}", "the pixels are empty"),
        (lambda e, p, u: f"{e},{p.replace(' ', '  ', 1)},{u}", "two blanks in a row"),
        (lambda e, p, u: f"{e},{p}", "2 columns"),
        (lambda e, p, u: f"{e},{p},{u},0", "4 columns"),
    ],
)
def test_a_wrong_row_is_named_in_one_line(tmp_path, monkeypatch, row, change, said):
    monkeypatch.setattr(tables, "BLOCK", 1 << 16)  # seven faces
    faces = draw_faces(40)
    lines = csv_text(faces, [3] * 40, ["Training"] * 40).splitlines()
    lines[row] = change(*lines[row].split(","))
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    with pytest.raises(InputError) as error:
        fer2013.read(tmp_path)
    message = str(error.value)
    assert said in message
    assert str(tmp_path / "fer2013.csv") in message
    assert "\n" not in message
    assert f"data row {row} " in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (HEADER.encode(), "a header and no rows"),
        (HEADER.encode() + b"\n", "a header and no rows"),
        (b"emotion,pixels\n0,1 2\n", "has the columns 'emotion,pixels'; expected emotion, pixels, Usage"),
        (b"pixels\n1 2\n", "has the columns 'pixels'"),
        (b"emotion,pixels,Usage,Usage\n", "has the columns"),
        (b"label,pixels,Usage\n", "has the columns"),
        (bytes(range(128, 256)) * 100, "has the columns"),
        (HEADER.encode() + b"\n0,\xff\xfe 2,Training\n", r"pixel 1 is '\\xff\\xfe'"),
        (HEADER.encode() + b"\n\xff,1 2,Training\n", r"emotion is '\\xff'"),
        (HEADER.encode() + b"\n0,1 2 3,Trai", "Usage is 'Trai'"),
        (HEADER.encode() + b"\n0,1 2 3", "2 columns"),
    ],
)
def test_a_file_that_is_no_fer2013_says_so_in_one_line(tmp_path, content, said):
    (tmp_path / "fer2013.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        fer2013.read(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_or_file_says_what_is_expected_and_where_to_read_on(tmp_path):
    for raw, said in [(tmp_path, "holds no FER2013"), (tmp_path / "no", "does not exist"), (tmp_path / "no.csv", "does not exist")]:
        with pytest.raises(InputError, match=rf"{said}; expected fer2013\.csv.*data/raw/README\.md"):
            fer2013.read(raw)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "fer2013.rar").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"fer2013\.rar is no form of FER2013"):
        fer2013.read(tmp_path / "fer2013.rar")


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.7, 0.999])
def test_a_cut_archive_is_refused_in_one_line(tmp_path, faces, kept):
    path = tmp_path / "fer2013.tar.gz"
    write_tar(path, {"fer2013/fer2013.csv": csv_text(faces, CODES, MOST).encode()})
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(InputError, match="is cut or damaged") as error:
        fer2013.read(tmp_path)
    assert "\n" not in str(error.value)


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path, faces):
    path = tmp_path / "fer2013.tar.gz"
    write_tar(path, {"fer2013/fer2013.csv": csv_text(faces, CODES, MOST).encode()})
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum
    path.write_bytes(content)
    with pytest.raises(InputError, match="is cut or damaged"):
        fer2013.read(tmp_path)


@pytest.mark.parametrize("name", ["../fer2013.csv", "/tmp/fer2013.csv", "a/../../fer2013.csv"])
@pytest.mark.parametrize("honest", [True, False])
def test_an_archive_that_points_outside_is_refused(tmp_path, faces, name, honest):
    text = csv_text(faces, CODES, MOST).encode()
    write_tar(tmp_path / "fer2013.tar.gz", ({"fer2013/fer2013.csv": text} if honest else {}) | {name: text})
    with pytest.raises(InputError, match="points outside the archive"):
        fer2013.read(tmp_path)


def test_an_archive_without_the_csv_and_one_that_is_no_archive_are_refused(tmp_path):
    write_tar(tmp_path / "a.tar.gz", {"fer2013/README": b"x"})
    with pytest.raises(InputError, match=r"holds no fer2013\.csv"):
        fer2013.read(tmp_path / "a.tar.gz")
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(InputError, match="is cut or damaged"):
        fer2013.read(tmp_path / "b.tar.gz")


def test_an_error_in_an_archives_csv_names_its_row(tmp_path, faces):
    write_tar(tmp_path / "fer2013.tar.gz", {"fer2013.csv": csv_text(faces, [0, 0, 9, 0, 0], MOST).encode()})
    with pytest.raises(InputError, match=r"fer2013\.tar\.gz, fer2013\.csv, data row 3 .*emotion is '9'"):
        fer2013.read(tmp_path)


def test_votes_beside_the_csv_are_joined_unless_told_not_to(tmp_path, faces):
    (tmp_path / "fer2013.csv").write_text(csv_text(faces, CODES, MOST))
    assert not any(column.startswith("votes_") for column in fer2013.read(tmp_path)[1])
    with pytest.raises(InputError, match=r"fer2013new\.csv is missing"):
        fer2013.read(tmp_path, votes=True)
    (tmp_path / "fer2013new.csv").write_text(votes_text(MOST))
    table = read_dataset("fer2013", tmp_path)[1]
    assert table["votes_neutral"].tolist() == [10] * 5
    assert [c for c in table if c.startswith("votes_")] == [f"votes_{e}" for e in (*EXPRESSIONS, "contempt", "unknown", "not_a_face")]
    assert "votes_happy" not in fer2013.read(tmp_path, votes=False)[1]


def packed(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("archive.zip", "fer2013.csv"),
        ("fer2013.csv.zip", "fer2013.csv"),
        ("icml_face_data.csv.ZIP", "icml_face_data.csv"),
        ("x.zip", "a/fer2013.csv"),
    ],
)
def test_kaggles_zips_are_read_in_place(tmp_path, faces, name, member):
    (tmp_path / name).write_bytes(packed({member: csv_text(faces, CODES, MOST), "README.txt": "x"}))
    for raw in (tmp_path, tmp_path / name):
        images, table = read_dataset("fer2013", raw)
        expect(images, table, faces, usages=MOST)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_competitions_zip_holds_an_archive_and_the_votes(tmp_path, faces):
    write_tar(tmp_path / "fer2013.tar.gz", {"fer2013/fer2013.csv": csv_text(faces, CODES, MOST).encode()})
    inner = {"fer2013.tar.gz": (tmp_path / "fer2013.tar.gz").read_bytes(), "fer2013new.csv": votes_text(MOST), "train.csv": "emotion,pixels"}
    (tmp_path / "fer2013.tar.gz").unlink()
    (tmp_path / "challenges-in-representation-learning.zip").write_bytes(packed(inner))
    images, table = read_dataset("fer2013", tmp_path)
    expect(images, table, faces, usages=MOST)
    assert table["votes_neutral"].tolist() == [10] * 5


@pytest.mark.parametrize("lead", ["", "archive/"])
def test_folders_in_a_zip_are_the_same_faces(tmp_path, faces, lead):
    names = [f"{'train' if usage == 'Training' else 'test'}/{usage}_{row}.png" for row, usage in enumerate(MOST)]
    write_folders(tmp_path / "folders", faces, CODES, names)
    files = {f"{lead}{path.relative_to(tmp_path / 'folders')}": path.read_bytes() for path in (tmp_path / "folders").rglob("*.png")}
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "archive.zip").write_bytes(packed(files))
    images, table = read_dataset("fer2013", tmp_path / "zipped")
    expect(images, table, faces, usages=MOST)
    assert table["face_id"].tolist() == [f"fer2013/{row:07d}" for row in range(5)]
    assert set(table["source_path"]) == set(files)
    (tmp_path / "zipped" / "archive.zip").write_bytes(packed(files | {f"{lead}train/notes.txt": "x"}))
    with pytest.raises(InputError, match=r"train/notes\.txt is no expression's folder"):
        fer2013.read(tmp_path / "zipped")


def test_an_archive_that_is_not_opened_or_holds_none_is_named(tmp_path):
    (tmp_path / "faces.rar").write_bytes(b"Rar!")
    (tmp_path / "other.zip").write_bytes(packed({"x.txt": "x"}))
    (tmp_path / "broken.zip").write_bytes(b"PK")  # of another dataset: not this reader's to refuse
    with pytest.raises(InputError, match=r"There are broken\.zip \(holds none\), faces\.rar \(not opened: unpack it\), other\.zip \(holds none\)"):
        fer2013.read(tmp_path)


def test_nothing_is_looked_for_beside_a_file_that_raw_names(tmp_path, faces):
    (tmp_path / "fer2013.csv").write_text(csv_text(faces, CODES, MOST))
    (tmp_path / "fer2013new.csv").write_text(votes_text(MOST))
    assert "votes_happy" not in fer2013.read(tmp_path / "fer2013.csv")[1]
    with pytest.raises(InputError, match=r"is a file, and nothing beside it is read; expected .* their folder"):
        fer2013.read(tmp_path / "fer2013.csv", votes=True)
