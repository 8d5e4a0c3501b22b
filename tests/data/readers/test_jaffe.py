"""JAFFE: the poser's label and the raters', where they part, the ratings' table as it is laid out, and one line for what is wrong."""

import zipfile

import numpy as np
import pytest
from jaffe_files import HEADER, jaffe_files, picture, readme_text, tiff, write_files

from ferlab.data.readers import jaffe
from ferlab.data.readers.jaffe import count_differences, parse_ratings
from ferlab.data.readers.reading import read_source
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

NAMES = ["KM.NE1.1", "KM.HA1.4", "KA.AN1.39", "KA.FE4.48", "YM.HA2.53", "UY.SU1.143"]
ROWS = [
    "1 2.87 2.52 2.10 1.97 1.97 2.06 KM-NE1",  # a neutral pose, rated highest as happy
    "4 4.90 1.29 1.32 1.26 1.29 1.35 KM-HA1",
    "39 1.26 3.10 1.40 4.10 4.10 1.77 KA-AN1",  # a tie: the first of the file's columns is anger
    "53 4.77 1.29 1.32 1.26 1.29 1.35 YN-HA2",  # misspelt, found by its number
    "143 1.50 1.50 2.00 1.50 1.50 3.00 UY-SU1",  # posed surprise, rated fear
]


def read(tmp_path, names=NAMES, rows=ROWS, more=None, **options):
    files = jaffe_files(names, rows) | (more or {})
    write_files(tmp_path, {name: content for name, content in files.items() if content is not None})
    return jaffe.read(tmp_path, **options)


def words(targets):
    return [ALL_EXPRESSIONS[target] if target >= 0 else "" for target in targets]


def test_faces_come_by_name_with_both_labels(tmp_path):
    pictures, faces = read(tmp_path)
    assert faces["face_id"].tolist() == [f"jaffe/{name}" for name in ["KA.AN1.39", "KA.FE4.48", "KM.HA1.4", "KM.NE1.1", "UY.SU1.143", "YM.HA2.53"]]
    assert faces["subject"].tolist() == ["KA", "KA", "KM", "KM", "UY", "YM"]
    assert faces["take"].tolist() == [1, 4, 1, 1, 1, 2]
    assert faces["serial"].tolist() == [39, 48, 4, 1, 143, 53]
    assert words(faces["poser_target"]) == ["angry", "fear", "happy", "neutral", "surprise", "happy"]
    assert words(faces["rating_target"]) == ["angry", "", "happy", "happy", "fear", "happy"]
    assert faces["target"].equals(faces["poser_target"].rename("target"))
    assert set(faces["excluded"]) == {""}
    assert set(faces["usage"]) == {"all"}
    assert faces["source_path"].iloc[0] == "jaffe/KA.AN1.39.tiff"
    assert pictures[0].shape == (256, 256)
    assert pictures[0].dtype == np.uint8
    assert [int(picture[0, 0]) for picture in pictures] == faces["serial"].tolist()
    np.testing.assert_array_equal(pictures[4], picture(143))


def test_ratings_stand_in_the_table_under_their_expressions(tmp_path):
    _, faces = read(tmp_path)
    columns = ["rating_angry", "rating_disgust", "rating_fear", "rating_happy", "rating_sad", "rating_surprise"]
    assert [column for column in faces.columns if column.startswith("rating_") and column != "rating_target"] == columns
    assert faces.loc[3, columns].tolist() == [1.97, 1.97, 2.06, 2.87, 2.52, 2.10]  # KM-NE1
    assert faces.loc[1, columns].isna().all()
    assert all(faces[column].dtype == np.float64 for column in columns)
    assert faces["intensity"].iloc[2] == 4.90, "KM-HA1's rating of happy"
    assert np.isnan(faces["intensity"].iloc[3]), "nobody rated neutral"


def test_by_ratings_a_face_without_one_is_excluded(tmp_path):
    _, faces = read(tmp_path, labels="ratings")
    assert words(faces["target"]) == ["angry", "", "happy", "happy", "fear", "happy"]
    assert faces["excluded"].tolist() == ["", "no rating", "", "", "", ""]
    assert faces["target"].dtype == np.int64


def test_of_equal_ratings_the_first_in_the_files_order_counts(tmp_path):
    _, faces = read(tmp_path, ["KA.AN1.39"], None, {"ratings.txt": b"# HAP SAD SUR DIS ANG FEA PIC\n39 1 1 1 4.1 4.1 1 KA-AN1\n"}, labels="ratings")
    assert words(faces["target"]) == ["disgust"]
    assert faces["rating_angry"].tolist() == [4.1]


def test_differences_are_counted(tmp_path):
    _, faces = read(tmp_path)
    table, counts = count_differences(faces)
    assert counts == {"rated": 5, "differ": 2, "neutral_mislabelled": 1}
    assert table.to_numpy().sum() == 6
    assert table.columns.tolist() == ["angry", "disgust", "fear", "happy", "sad", "surprise", "no rating"]
    assert table.loc["neutral", "happy"] == 1
    assert table.loc["surprise", "fear"] == 1
    assert table.loc["fear", "no rating"] == 1
    assert table.loc["happy", "happy"] == 2


def test_every_neutral_face_is_mislabelled_by_ratings(tmp_path):
    names = [f"{subject}.NE{take}.{3 * place + take}" for place, subject in enumerate(["KA", "KL", "KM", "KR"]) for take in (1, 2, 3)]
    rows = [f"{name.split('.')[2]} 1.1 1.2 1.3 1.2 1.1 1.0 {name.rsplit('.', 1)[0].replace('.', '-')}" for name in names]
    _, faces = read(tmp_path, names, rows, labels="ratings")
    assert count_differences(faces)[1] == {"rated": 12, "differ": 12, "neutral_mislabelled": 12}


def test_every_code_has_its_expression(tmp_path):
    _, faces = read(tmp_path, [f"KA.{code}1.{place}" for place, code in enumerate(["AN", "DI", "FE", "HA", "NE", "SA", "SU"])], None)
    assert words(faces["target"]) == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_without_ratings_the_poser_labels(tmp_path):
    _, faces = read(tmp_path, rows=None)
    assert words(faces["target"])[0] == "angry"
    assert set(faces["rating_target"]) == {-1}
    assert faces["rating_happy"].isna().all()
    assert count_differences(faces)[1] == {"rated": 0, "differ": 0, "neutral_mislabelled": 0}


def test_without_ratings_labels_by_ratings_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no ratings; expected README_FIRST\.txt .* set the option labels to poser"):
        read(tmp_path, rows=None, labels="ratings")


def test_rows_without_a_picture_are_told_and_not_used(tmp_path, caplog):
    _, faces = read(tmp_path, rows=[*ROWS, "8 1.5 1.5 1.5 1.5 1.5 1.6 KM-SA4"])
    assert len(faces) == 6
    assert "1 of 6 rows of ratings have no picture here and are not used: KM-SA4." in caplog.text
    caplog.clear()
    read(tmp_path)
    assert not caplog.records


# The ratings' file


def test_the_second_table_and_the_text_around_are_not_read():
    ratings = parse_ratings(readme_text(ROWS), where="README")
    assert ratings["pic"].tolist() == ["KM-NE1", "KM-HA1", "KA-AN1", "YN-HA2", "UY-SU1"]
    assert ratings["number"].tolist() == [1, 4, 39, 53, 143]
    assert ratings["HAP"].tolist() == [2.87, 4.90, 1.26, 4.77, 1.50]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", "   "),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", ","),
        lambda text: text.replace("KM-NE1", "KM.NE1").replace(HEADER, "N hap sad sur ang dis fea pic"),
        lambda text: text.replace("\n4 ", "\n\n 4 "),
    ],
    ids=["windows", "blanks", "tabs", "csv", "dots", "blank lines"],
)
def test_the_table_is_read_however_its_columns_are_parted(change):
    plain = readme_text(ROWS)
    assert parse_ratings(change(plain), where="README").equals(parse_ratings(plain, where="README"))


def test_a_text_without_the_table_holds_no_ratings():
    assert parse_ratings("# HAP SAD SUR ANG DIS PIC\n1 5 1 1 1 1 KM-NE1\n", where="README") is None


def test_old_encodings_are_read(tmp_path):
    write_files(tmp_path, jaffe_files(NAMES, None) | {"jaffe/readme": "Grüße\n".encode("latin-1") + readme_text(ROWS).encode()})
    assert jaffe.read(tmp_path)[1]["rating_happy"].notna().sum() == 5


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("39 1.26 3.10 1.40 4.10 1.77 KA-AN1", r"README_FIRST\.txt, line 13: '39 1\.26 .* KA-AN1'; expected a number, six ratings and a picture"),
        ("39 1.26 3.10 1.40 4.10 4.x 1.77 KA-AN1", r"line 13: '39 1\.26"),
        ("39 1.26 3.10 1.40 4.10 4.10 1.77 KA", r"line 13: '39 1\.26"),
        ("39 1.26 3.10 1.40 4.10 5.10 1.77 KA-AN1", r"line 13: a rating of 5\.1 for KA-AN1; expected 1 to 5"),
        ("39 1.26 3.10 1.40 4.10 nan 1.77 KA-AN1", r"line 13: a rating of nan for KA-AN1"),
        ("39 1.26 3.10 1.40 4.10 4.10 1.77 KM-NE1", r"line 13: KM-NE1 is rated a second time"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, said):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, rows=[*ROWS[:2], row, *ROWS[3:]])
    assert "\n" not in str(error.value)


def test_a_table_without_rows_is_cut(tmp_path):
    with pytest.raises(InputError, match="has the header of the ratings but no row below it"):
        read(tmp_path, rows=None, more={"jaffe/README_FIRST.txt": f"{HEADER}\n------\n".encode()})


def test_two_tables_must_agree(tmp_path):
    other = {"copy/README_FIRST.txt": readme_text(ROWS).encode()}
    assert len(read(tmp_path, more=other)[1]) == 6
    with pytest.raises(InputError, match=r"holds other ratings than .*copy/README_FIRST\.txt; expected one table"):
        read(tmp_path, more={"copy/README_FIRST.txt": readme_text(ROWS[:3]).encode()})


# The pictures


def test_the_zip_gives_the_same_faces(tmp_path):
    unpacked = read(tmp_path / "folder")
    files = jaffe_files(NAMES, ROWS)
    with zipfile.ZipFile(tmp_path / "jaffedbase.zip", "w") as archive:
        for name in np.random.default_rng(0).permutation(sorted(files)):
            archive.writestr(str(name), files[str(name)])
    zipped = jaffe.read(tmp_path / "jaffedbase.zip")
    assert zipped[1].equals(unpacked[1])
    assert all(np.array_equal(one, other) for one, other in zip(zipped[0], unpacked[0]))


def test_any_folders_above_and_other_endings_work(tmp_path):
    folder = "größe \"x\" 'y'\n/z"
    write_files(tmp_path, {f"{folder}/KA.AN1.39.TIF": tiff(39), "a/KM.NE1.1.png": tiff(1), "other/face.png": b"", "jaffe/.DS_Store": b""})
    _, faces = jaffe.read(tmp_path)
    assert faces["face_id"].tolist() == ["jaffe/KA.AN1.39", "jaffe/KM.NE1.1"]
    assert faces["source_path"].iloc[0] == f"{folder}/KA.AN1.39.TIF"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"jaffe/KA.XX1.40.tiff": b"x"}, r"KA\.XX1\.40\.tiff has the expression 'XX'; expected AN, DI, FE, HA, SA, SU, NE"),
        ({"copy/KA.AN1.39.tiff": b"x"}, r"copy/KA\.AN1\.39\.tiff and .*jaffe/KA\.AN1\.39\.tiff are both KA-AN1; expected one"),
        ({"jaffe/KA.AN1.40.tiff": b"x"}, r"jaffe/KA\.AN1\.39\.tiff and .*KA\.AN1\.40\.tiff are both KA-AN1"),
        ({"jaffe/KA AN2.tiff": b"x"}, r"KA AN2\.tiff is no face of JAFFE; expected names such as KA\.AN1\.39\.tiff"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, more, said):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, more=more)
    assert "\n" not in str(error.value)


def test_a_folder_without_faces_is_told_what_to_hold(tmp_path):
    write_files(tmp_path, {"face.png": b"x"})
    with pytest.raises(InputError, match=r"holds no faces of JAFFE; expected pictures such as KA\.AN1\.39\.tiff"):
        jaffe.read(tmp_path)


def test_unknown_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"labels of the dataset 'jaffe' is 'raters'; expected 'poser' or 'ratings'"):
        read_source("jaffe", tmp_path, {"labels": "raters"})


def test_a_broken_face_is_named_when_it_is_asked_for(tmp_path):
    pictures, _ = read(tmp_path, more={"jaffe/KA.AN1.39.tiff": tiff(39)[:3000]})
    with pytest.raises(InputError, match=r"KA\.AN1\.39\.tiff is cut or damaged"):
        pictures[0]
