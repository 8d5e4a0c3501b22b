"""`ferlab audit FOLDER` on control faces with planted copies, in class folders, in parts and flat."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ferlab.cli import main
from ferlab.commands.audit import FOUND
from ferlab.control import read
from ferlab.copies import KINDS
from ferlab.data.duplicates.folder import COLUMNS, audit_folder
from ferlab.data.duplicates.planting import plant
from ferlab.expressions import EXPRESSIONS

FACES, EACH = 140, 2


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Faces followed by copies of every kind, the expression of each, and the table of copies."""
    images, table = read(faces=FACES, subjects=70, size=48, seed=3)
    expressions = np.array(EXPRESSIONS)[table["target"]]
    images, planted = plant(images, each=EACH, seed=1)
    return images, np.concatenate([expressions, expressions[planted["origin"]]]), planted


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def folder(faces, tmp_path_factory) -> Path:
    """Class folders in train and test. Copies are in test, the first under another label; one picture is blank, one is cut, one has no label."""
    images, labels, planted = faces
    root = tmp_path_factory.mktemp("audit") / "faces"
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        other = EXPRESSIONS[(EXPRESSIONS.index(label) + 1) % len(EXPRESSIONS)]
        save(root / ("train" if row < FACES else "test") / (other if row == planted["copy"][0] else label) / f"{row:04d}.png", image)
    save(root / "train" / "happy" / "blank.png", np.full((48, 48), 90, np.uint8))
    (root / "train" / "sad" / "cut.png").write_bytes((root / "test" / labels[-1] / f"{len(images) - 1:04d}.png").read_bytes()[:200])
    save(root / "unsorted" / "large.png", np.asarray(Image.fromarray(images[5]).resize((96, 96), Image.Resampling.BICUBIC)))
    return root


def row_of(name: str) -> int:
    return int(Path(name).stem)


def test_planted_copies_are_found_by_their_kind_and_nothing_else_is(faces, folder):
    audit = audit_folder(folder)
    files = audit.pictures["file"]
    found = {
        (row_of(files[pair.first]), row_of(files[pair.second])): pair.kind for pair in audit.pairs.itertuples() if "large" not in files[pair.second]
    }
    found = {(min(pair), max(pair)): kind for pair, kind in found.items()}
    _, _, planted = faces
    expected = {(row.origin, row.copy): row.kind if row.kind in ("exact", "mirrored") else "near" for row in planted.itertuples()}
    assert {pair: kind for pair, kind in found.items() if pair in expected} == {pair: expected[pair] for pair in found.keys() & expected.keys()}
    assert len(found.keys() & expected.keys()) >= 0.9 * len(KINDS) * EACH
    assert len(found.keys() - expected.keys()) <= 1
    assert {kind for pair, kind in expected.items() if pair not in found} <= {"near"}


def test_one_photograph_in_two_sizes_is_a_near_duplicate(folder):
    audit = audit_folder(folder)
    large = audit.pictures.index[audit.pictures["file"] == "unsorted/large.png"][0]
    (pair,) = audit.pairs[audit.pairs["second"] == large].itertuples()
    assert (row_of(audit.pictures["file"][pair.first]), pair.kind) == (5, "near")
    assert audit.pictures["label"][large] == ""


def test_conflicts_parts_blank_and_unreadable_pictures_are_reported_as_json_and_as_a_table(faces, folder, tmp_path, capsys):
    assert main(["audit", str(folder), "--json", "--csv", str(tmp_path / "findings.csv")]) == FOUND
    facts = json.loads(capsys.readouterr().out)
    images, _, planted = faces
    (conflict,) = facts["label_conflicts"]
    assert {row_of(name) for name in conflict} == {planted["origin"][0], planted["copy"][0]}
    assert len(set(conflict.values())) == 2
    assert facts["parts"] == {"test": len(KINDS) * EACH, "train": FACES + 2}
    assert facts["pairs"]["exact"] == EACH
    assert facts["pairs"]["mirrored"] == EACH
    assert facts["photographs_across_parts"] >= 2 * EACH
    assert min(facts["pictures_across_parts"].values()) >= 2 * EACH
    assert facts["pictures"] == len(images) + 3
    rows = pd.read_csv(tmp_path / "findings.csv", keep_default_na=False)
    assert list(rows) == list(COLUMNS)
    assert len(rows) == len(facts["findings"])
    assert rows.loc[rows["finding"] == "blank", "file"].tolist() == ["train/happy/blank.png"]
    (unread,) = rows[rows["finding"] == "unreadable"].itertuples()
    assert unread.file == "train/sad/cut.png"
    assert "cut or damaged" in unread.reason
    assert main(["audit", str(folder), "--csv", str(tmp_path / "findings.csv")]) == 1
    assert "expected a new file that ends in .csv" in capsys.readouterr().err


def test_a_flat_folder_has_no_labels_and_its_duplicates_are_found_all_the_same(faces, tmp_path, capsys):
    images, *_ = faces
    for row, image in enumerate(images[:20]):
        save(tmp_path / "flat" / f"{row}.png", image)
    assert main(["audit", str(tmp_path / "flat")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "20 pictures; no folder names an expression: no labels"
    assert all(": 0 " in line for line in told[1:])
    save(tmp_path / "flat" / "again.png", images[3])
    assert main(["audit", str(tmp_path / "flat")]) == FOUND
    assert "  3.png and again.png" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("count", [1, 2])
def test_a_handful_of_pictures_is_no_failure(faces, tmp_path, count):
    for row in range(count):
        save(tmp_path / f"{row}.png", faces[0][row])
    assert not audit_folder(tmp_path).found()


def test_a_folder_without_pictures_is_one_line(tmp_path, capsys):
    assert main(["audit", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"ferlab: {tmp_path} holds no pictures; expected pictures of faces")


def test_every_picture_of_a_photograph_in_two_parts_is_counted(faces, tmp_path, capsys):
    """An exact duplicate is paired with the first of its content alone: test/2 is paired with test/1, and in train too."""
    for name in ("test/1", "test/2", "train/9"):
        save(tmp_path / f"{name}.png", faces[0][0])
    save(tmp_path / "train/8.png", faces[0][1])
    assert main(["audit", str(tmp_path), "--json"]) == FOUND
    facts = json.loads(capsys.readouterr().out)
    assert (facts["photographs_across_parts"], facts["pictures_across_parts"]) == (1, {"test": 2, "train": 1})
    assert main(["audit", str(tmp_path)]) == FOUND
    assert "duplicates across parts: 1 photograph (3 pictures: 2 in test, 1 in train)" in capsys.readouterr().out.splitlines()


def test_a_table_in_a_missing_folder_is_refused_before_anything_is_read(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "nothing"), "--csv", str(tmp_path / "gone" / "findings.csv")]) == 1
    assert "expected a folder that exists" in capsys.readouterr().err


def test_the_summary_shows_the_first_findings_of_a_kind_and_counts_the_rest(faces, tmp_path, capsys):
    for row in range(9):
        save(tmp_path / f"{row}.png", faces[0][0])
    assert main(["audit", str(tmp_path)]) == FOUND
    told = StringIO(capsys.readouterr().out).read()
    assert "exact duplicates: 8 pairs\n  0.png and 1.png\n" in told
    assert "  and 3 more\n" in told
