"""Labels corrected by hand: applied to the face table alone, by agreement, and without moving a face to another split."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.duplicates.pairs import read_pairs
from ferlab.data.faces import check_faces
from ferlab.data.preparation import sets
from ferlab.data.preparation.corrections import correct, read_corrections, summarise
from ferlab.data.preparation.prepared import Raw
from ferlab.data.preparation.sets import prepare_set
from ferlab.data.preparation.sources import Gathered, gather
from ferlab.data.readers.raw_files import raw_files
from ferlab.data.store import EXCLUDED_COLUMNS, read_excluded
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
from ferlab.params import Prepare
from ferlab.paths import InputError

HEADER = "face_id,old,new,who,why,when"
COUNT = 70


def write(folder, *rows, header=HEADER):
    path = folder / "corrections.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def faces():
    return pd.DataFrame(
        {
            "face_id": [f"a/{number:03d}" for number in range(COUNT)],
            "source": "a",
            "source_path": [f"{number}.png" for number in range(COUNT)],
            "usage": "all",
            "target": np.arange(COUNT, dtype=np.int64) % 7,
            "subject": [f"s{number % 10}" for number in range(COUNT)],
        }
    )


def labels(table):
    return {face_id: ALL_EXPRESSIONS[target] for face_id, target in zip(table["face_id"], table["target"], strict=True)}


def test_a_label_is_replaced_confirmed_doubled_or_excluded_and_the_rest_stays(tmp_path, faces):
    path = write(
        tmp_path,
        "a/000,angry,sad,anna,label issue,2026-11-28",
        "a/001,disgust,disgust,anna,low confidence,2026-11-28T10:31:05",
        "a/002,fear,fear|surprise,anna,models disagree,2026-11-28",
        "a/003,happy,sad | neutral,anna,models disagree,2026-11-28",
        "a/004,sad,exclude,anna,no face,2026-11-28",
    )
    corrected = correct(faces, path, expressions=EXPRESSIONS)
    new = corrected.faces.set_index("face_id")
    assert labels(corrected.faces) == labels(faces) | {"a/000": "sad", "a/003": "sad"}
    assert new.loc[["a/000", "a/001", "a/002", "a/003"], "corrected_from"].tolist() == ["angry", "", "", "happy"]
    assert new["second_label"][lambda column: column != ""].to_dict() == {"a/002": "surprise", "a/003": "neutral"}
    assert corrected.reasons[lambda column: column != ""].to_dict() == {4: "excluded: no face (anna)"}
    assert faces.columns.tolist() == corrected.faces.columns.tolist()[:-2]
    check_faces(corrected.faces.assign(content_hash="0" * 64))


def test_a_file_that_changes_nothing_leaves_the_table_as_it_was(tmp_path, faces):
    corrected = correct(faces, write(tmp_path, "a/000,angry,angry,anna,looked,2026-11-28"), expressions=EXPRESSIONS)
    pd.testing.assert_frame_equal(corrected.faces, faces)


def test_an_earlier_correction_of_the_reader_is_kept_beside_ours(tmp_path, faces):
    earlier = faces.assign(corrected_from=pd.Series(["", "sad", *[""] * (COUNT - 2)], dtype="str"))
    new = correct(earlier, write(tmp_path, "a/000,angry,happy,anna,looked,2026-11-28"), expressions=EXPRESSIONS).faces
    assert new["corrected_from"].tolist()[:3] == ["angry", "sad", ""]


def test_more_than_half_decide_and_a_tie_is_reported_and_not_applied(tmp_path, faces):
    path = write(
        tmp_path,
        *(f"a/000,angry,{new},{who},looked,2026-11-28" for who, new in (("anna", "sad"), ("ben", "angry"))),
        *(f"a/001,disgust,{new},{who},looked,2026-11-28" for who, new in (("anna", "sad"), ("ben", "fear"), ("cem", "sad"))),
        *(f"a/002,fear,{new},{who},looked,2026-11-28" for who, new in (("anna", "sad|neutral"), ("ben", "neutral|sad"))),
        *(f"a/003,happy,{new},{who},looked,2026-11-28" for who, new in (("anna", "sad"), ("ben", "sad"))),
    )
    corrected = correct(faces, path, expressions=EXPRESSIONS)
    assert labels(corrected.faces) == labels(faces) | {"a/001": "sad", "a/003": "sad"}
    told = summarise(corrected, corrected.faces.assign(split="train"))
    assert told["conflicts"] == [
        {"face_id": "a/000", "old": "angry", "votes": {"anna": "sad", "ben": "angry"}},
        {"face_id": "a/002", "old": "fear", "votes": {"anna": "sad|neutral", "ben": "neutral|sad"}},
    ]
    assert told["changes"] == {"disgust": {"sad": 1}, "happy": {"sad": 1}}
    assert told["by"] == {"anna": {"rows": 4, "applied": 2}, "ben": {"rows": 4, "applied": 1}, "cem": {"rows": 1, "applied": 1}}
    assert (told["rows"], told["faces"], told["applied"], told["confirmed"]) == (9, 4, 2, 0)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a/0033,angry,sad,anna,looked,2026-11-28", r"data row 2 .*no face of the set is called 'a/0033' .did you mean 'a/0.3'.*Mend or remove"),
        ("a/003,sad,angry,anna,looked,2026-11-28", "old is 'sad', but the label of 'a/003' is 'happy'"),
        ("a/003,happy,sadd,anna,looked,2026-11-28", "new is 'sadd'.*did you mean 'sad'"),
        ("a/003,hapy,sad,anna,looked,2026-11-28", "old is 'hapy', which is no expression; did you mean 'happy'"),
        ("a/003,happy,sad|sad,anna,looked,2026-11-28", "at most two different expressions"),
        ("a/003,happy,sad|fear|angry,anna,looked,2026-11-28", "at most two different expressions"),
        ("a/003,happy,sad|exclude,anna,looked,2026-11-28", r"new is 'sad\|exclude'"),
        ("a/003,happy,contempt,anna,looked,2026-11-28", "no face of the set has the label contempt"),
        ("a/003,happy,sad,anna,looked,28.11.2026", "when is '28.11.2026'"),
        ("a/003,happy,sad,anna,looked,20261128", "when is '20261128'"),
        ("a/003,happy,sad,anna,looked,2026-13-01", "when is '2026-13-01'"),
        ("a/003,happy,sad,,looked,2026-11-28", "who is empty"),
        ("a/003,happy,sad,anna,looked", "5 cells; expected 6"),
        ("a/000,angry,fear,anna,again,2026-11-28", "'anna' has two rows for 'a/000'"),
    ],
)
def test_a_wrong_row_is_told_in_one_line(tmp_path, faces, row, told):
    path = write(tmp_path, "a/000,angry,sad,anna,looked,2026-11-28", row)
    with pytest.raises(InputError, match=told) as error:
        correct(faces, path, expressions=EXPRESSIONS)
    assert "\n" not in str(error.value)
    assert "data row 2" in str(error.value)


def test_a_wrong_file_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match="is missing; expected a csv with the columns face_id"):
        read_corrections(tmp_path / "corrections.csv")
    with pytest.raises(InputError, match="has the columns 'face_id, old, new'"):
        read_corrections(write(tmp_path, header="face_id,old,new"))
    (tmp_path / "corrections.csv").write_bytes(HEADER.encode() + "\na/000,angry,sad,çelik,looked,2026-11-28\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as csv in UTF-8"):
        read_corrections(tmp_path / "corrections.csv")


def test_rows_of_faces_that_are_excluded_for_another_reason_are_counted_and_not_applied(tmp_path, faces):
    path = write(tmp_path, "a/000,angry,sad,anna,looked,2026-11-28", "a/900,angry,sad,anna,looked,2026-11-28")
    corrected = correct(faces, path, expressions=EXPRESSIONS, excluded=["a/900"])
    assert labels(corrected.faces)["a/000"] == "sad"
    found = corrected.faces.assign(split="train")
    assert {key: summarise(corrected, found)[key] for key in ("applied", "unused")} == {"applied": 1, "unused": 1}
    gone = summarise(corrected, found[found["face_id"] != "a/000"])  # its picture had no face
    assert {key: gone[key] for key in ("applied", "unused")} == {"applied": 0, "unused": 2}


def step(row, picture):
    return picture, {}


def build(folder, gathered, **options):
    how = {"rule": "groups", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0}
    return prepare_set(folder, gathered, step, split=how, work=folder.with_name(f"{folder.name}-work"), plan={}, **options)


def after_correction(before, path):
    corrected = correct(before.faces, path, expressions=EXPRESSIONS)
    out = (corrected.reasons != "").to_numpy()
    faces = corrected.faces[~out].reset_index(drop=True)
    return Gathered(pictures=before.pictures[~out], faces=faces, excluded=before.excluded, corrected=corrected, before=before)


@pytest.mark.parametrize("people", [True, False])
def test_corrections_and_exclusions_move_no_face_to_another_split(tmp_path, faces, people):
    """A face that a model was trained on must not test it because its label was corrected: the split is drawn from the labels before."""
    given = faces if people else faces.drop(columns="subject")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
    nothing = pd.DataFrame(columns=list(EXCLUDED_COLUMNS), dtype="str")
    before = Gathered(pictures=pictures, faces=given, excluded=nothing)
    plain = build(tmp_path / "plain", before)
    rows = [f"a/{number:03d},{EXPRESSIONS[number % 7]},{new},anna,looked,2026-11-28" for number in range(0, 40) if (new := draw(rng, number))]
    kept = after_correction(before, write(tmp_path, *rows))
    assert 3 < COUNT - len(kept.faces) < 20
    store = build(tmp_path / "corrected", kept)
    splits = plain.faces.set_index("face_id")["split"]
    assert store.faces["split"].tolist() == splits[store.faces["face_id"]].tolist()
    assert (store.faces["target"].to_numpy() != plain.faces.set_index("face_id")["target"][store.faces["face_id"]].to_numpy()).sum() > 10
    drawn_anew = build(tmp_path / "anew", Gathered(pictures=kept.pictures, faces=kept.faces, excluded=nothing))
    assert drawn_anew.faces["split"].tolist() != store.faces["split"].tolist()  # what the rule is for


@pytest.mark.parametrize("shards", [0, 16])
def test_duplicates_are_searched_as_before_a_correction_and_those_of_an_excluded_face_stay_known(tmp_path, faces, monkeypatch, shards):
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
    pictures[50], pictures[60] = pictures[10], pictures[10]  # 10 is excluded: 50 and 60 remain exact duplicates
    pictures[61] = pictures[10, :, ::-1]
    pictures[62] = pictures[11]  # 11 is excluded: 62 remains alone
    before = Gathered(pictures=pictures, faces=faces.drop(columns="subject"), excluded=pd.DataFrame(columns=list(EXCLUDED_COLUMNS), dtype="str"))
    searched, search = [], sets.find_pairs
    monkeypatch.setattr(sets, "find_pairs", lambda images, table: searched.append(table) or search(images, table))
    plain = build(tmp_path / "plain", before, shards=shards)
    changes = [(10, "exclude"), (11, "exclude"), (3, "exclude"), *((number, "happy") for number in (14, 21, 28, 35, 42))]
    rows = [f"a/{number:03d},{EXPRESSIONS[number % 7]},{new},anna,looked,2026-11-28" for number, new in changes]
    store = build(tmp_path / "corrected", after_correction(before, write(tmp_path, *rows)), shards=shards, copies=True)
    pd.testing.assert_frame_equal(*searched)
    own = store.faces[store.faces["derived_from"] == ""]
    stays = [number for number in range(COUNT) if number not in (3, 10, 11)]
    assert (store.images[: len(stays)] == pictures[stays]).all()
    assert own["split"].tolist() == plain.faces["split"].iloc[stays].tolist()
    assert labels(own)["a/014"] == "happy"
    groups = own.set_index("face_id")["duplicate_group"]
    assert groups[["a/060", "a/061"]].tolist() == [groups["a/050"]] * 2
    assert groups.nunique() == len(stays) - 2
    pairs, _ = read_pairs(tmp_path / "corrected")
    named = [(own["face_id"].iloc[pair.first], own["face_id"].iloc[pair.second], pair.kind) for pair in pairs.itertuples()]
    assert named == [("a/050", "a/060", "exact"), ("a/050", "a/061", "mirrored")]
    rows = [row for row in store.faces.index if store.faces["derivation"][row] == "mirrored"]
    origins = [int(store.faces["derived_from"][row][-3:]) for row in rows]
    assert (store.images[rows] == pictures[origins][:, :, ::-1]).all()
    assert not list((tmp_path / "corrected-work").rglob("*.npy"))
    assert not list((tmp_path / "corrected-work").rglob("*.tar"))


def draw(rng, number):
    kind = rng.random()
    return "exclude" if kind < 0.25 else EXPRESSIONS[rng.integers(7)] if kind < 0.9 else ""


def control(folder, **settings):
    return Prepare(dataset="control", raw=str(folder), options={"faces": 70, "subjects": 10, "size": 48, "seed": 0}, **settings)


def test_prepare_applies_the_file_below_raw_and_dvc_sees_it(tmp_path):
    before = Raw(control(tmp_path)).gathered
    first = before.faces.iloc[0]
    old, new = ALL_EXPRESSIONS[first["target"]], "happy" if first["target"] != 3 else "sad"
    second = before.faces["face_id"][1]
    write(tmp_path, f"{first['face_id']},{old},{new},anna,looked,2026-11-28", f"{second},{label(before, 1)},exclude,anna,blank,2026-11-28")
    settings = control(tmp_path, corrections="corrections.csv")
    after = Raw(settings).gathered
    assert label(after, 0) == new
    assert after.excluded["reason"].tolist() == ["excluded: blank (anna)"]
    assert np.array_equal(after.pictures[1], before.pictures[2])
    assert list(raw_files(tmp_path, settings)) == ["corrections.csv"]
    store = build(tmp_path / "store", after)
    assert store.faces["corrected_from"].tolist()[0] == old
    assert read_excluded(tmp_path / "store")["face_id"].tolist() == [before.faces["face_id"][1]]
    told = summarise(after.corrected, store.faces)
    assert told["changes"] == ({old: {new: 1}} | {label(before, 1): {"exclude": 1}} if old != label(before, 1) else {old: {new: 1, "exclude": 1}})
    assert sum(told["splits"].values()) == 2
    assert told["splits"]["excluded"] == 1


def label(gathered, row):
    return ALL_EXPRESSIONS[gathered.faces["target"].iloc[row]]


def test_the_file_is_no_unread_file_of_the_delivery_and_must_lie_below_raw(tmp_path):
    from PIL import Image

    for name in EXPRESSIONS:
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name / "0.png")
    write(tmp_path, "class_folders/angry/0.png,angry,sad,anna,looked,2026-11-28")
    sources = {"a": {"dataset": "class_folders"}}
    assert gather(tmp_path, sources).other_files == ("corrections.csv",)
    gathered = gather(tmp_path, sources, corrections="corrections.csv")
    assert gathered.other_files == ()
    assert (gathered.faces["target"] == EXPRESSIONS.index("sad")).sum() == 2
    with pytest.raises(InputError, match=r"corrections is '\.\./corrections\.csv', which lies outside"):
        gather(tmp_path, sources, corrections="../corrections.csv")
