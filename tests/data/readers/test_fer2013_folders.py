"""Faces in folders: order, usage and one line for what is wrong. That every form gives the same faces is in test_fer2013."""

import os

import numpy as np
import pytest
from fer2013_files import draw_faces, write_folders
from PIL import Image

from ferlab.data.readers import fer2013
from ferlab.data.readers.fer2013 import decode_face, read
from ferlab.paths import InputError


@pytest.fixture
def root(tmp_path):
    write_folders(tmp_path, draw_faces(4), [0, 3, 3, 6], ["train/b.png", "train/a.png", "train/c.png", "test/d.png"])
    return tmp_path


def test_without_usages_in_the_names_test_is_public_test_and_ids_are_paths(root):
    images, faces = read(root)
    assert faces["usage"].tolist() == ["Training", "Training", "Training", "PublicTest"]
    assert faces["face_id"].tolist() == ["fer2013/train/angry/b", "fer2013/train/happy/a", "fer2013/train/happy/c", "fer2013/test/neutral/d"]
    assert faces["target"].tolist() == [0, 3, 3, 6]
    np.testing.assert_array_equal(images, draw_faces(4))


@pytest.mark.parametrize("numbers", [(99_999, 5, 7), (5, 5, 6), (9, 5, 6)], ids=["past the end", "twice", "usages mixed"])
def test_numbers_that_are_no_rows_are_not_taken_for_rows(tmp_path, numbers):
    names = [f"train/Training_{numbers[0]}.png", f"train/Training_{numbers[1]}.png", f"test/PrivateTest_{numbers[2]}.png"]
    write_folders(tmp_path, draw_faces(3), [0, 3, 6], names)
    _, faces = read(tmp_path)
    assert faces["usage"].tolist() == ["Training", "Training", "PrivateTest"]
    assert faces["face_id"].iloc[0] == f"fer2013/train/angry/Training_{numbers[0]}"


def test_colour_and_jpeg_files_become_grey(tmp_path):
    grey = np.full((48, 48), 100, np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "rgb.png")
    Image.fromarray(np.stack([grey] * 3, axis=-1)).convert("RGBA").save(tmp_path / "opaque.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(grey).save(tmp_path / "grey.jpg")
    for name in ("rgb.png", "opaque.png", "palette.png", "grey.jpg"):
        np.testing.assert_array_equal(decode_face((tmp_path / name).read_bytes(), where=name), grey)


def damage_text(root):
    (root / "train" / "happy" / "a.png").write_text("not an image")


def damage_cut(root):
    path = root / "train" / "happy" / "a.png"
    path.write_bytes(path.read_bytes()[:700])


def damage_empty_file(root):
    (root / "train" / "happy" / "a.png").write_bytes(b"")


def damage_size(root):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(root / "train" / "happy" / "a.png")


def damage_depth(root):
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(root / "train" / "happy" / "a.png")


def damage_colours(root):
    Image.fromarray(np.zeros((48, 48, 4), np.uint8), mode="CMYK").save(root / "train" / "happy" / "a.png", format="TIFF")


def damage_transparency(root):
    Image.fromarray(np.zeros((48, 48, 4), np.uint8)).save(root / "train" / "happy" / "a.png")


def damage_frames(root):
    still, moved = (Image.fromarray(np.full((48, 48), level, np.uint8)) for level in (0, 255))
    still.save(root / "train" / "happy" / "a.png", save_all=True, append_images=[moved])


def damage_to_folder(root):
    (root / "train" / "happy" / "a.png").unlink()
    (root / "train" / "happy" / "a.png").mkdir()


def damage_to_pipe(root):
    (root / "train" / "happy" / "a.png").unlink()
    os.mkfifo(root / "train" / "happy" / "a.png")


def damage_name(root):
    (root / "train" / "happy" / os.fsdecode(b"\xff.png")).touch()


def damage_empty_class(root):
    (root / "train" / "sad").mkdir()


def damage_unknown_class(root):
    (root / "test" / "neutral").rename(root / "test" / "hapy")


def damage_stray_file(root):
    (root / "train" / "notes.txt").write_text("x")


def damage_no_test(root):
    (root / "test" / "neutral" / "d.png").unlink()
    (root / "test" / "neutral").rmdir()
    (root / "test").rmdir()


def damage_empty_test(root):
    (root / "test" / "neutral" / "d.png").unlink()
    (root / "test" / "neutral").rmdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_text, r"happy/a\.png is no image"),
        (damage_cut, r"happy/a\.png is cut or damaged"),
        (damage_empty_file, r"happy/a\.png is no image"),
        (damage_size, r"happy/a\.png is 50 x 40; expected a face of 48 x 48"),
        (damage_depth, r"happy/a\.png has the mode I;16, more than 8 bits; expected 8-bit"),
        (damage_colours, r"happy/a\.png has the mode CMYK; expected 8-bit"),
        (damage_transparency, r"happy/a\.png is partly transparent"),
        (damage_frames, r"happy/a\.png has 2 frames"),
        (damage_to_folder, r"happy/a\.png is empty"),
        (damage_to_pipe, r"happy/a\.png is no plain file"),
        (damage_name, r"the file name train/happy/\\udcff\.png is not UTF-8"),
        (damage_empty_class, r"train/sad is empty"),
        (damage_unknown_class, r"test/hapy is no expression's folder \(did you mean 'happy'\?\)"),
        (damage_stray_file, r"train/notes\.txt is no expression's folder"),
        (damage_no_test, r"test is missing"),
        (damage_empty_test, r"test is empty"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(root, damage, said):
    damage(root)
    with pytest.raises(InputError, match=said) as error:
        fer2013.read(root)
    assert "\n" not in str(error.value)


def test_a_face_in_the_folder_of_another_usage_is_refused(tmp_path):
    write_folders(tmp_path, draw_faces(2), [0, 0], ["train/PublicTest_1.png", "test/PublicTest_2.png"])
    with pytest.raises(InputError, match=r"PublicTest_1\.png is named PublicTest but lies in train"):
        fer2013.read(tmp_path)


def test_hidden_files_are_left_alone(root):
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "happy" / ".DS_Store").write_bytes(b"x")
    assert len(fer2013.read(root)[0]) == 4


@pytest.mark.parametrize(("train", "test"), [("Train_Set", "testing"), ("training", "FER2013Test")])
def test_parts_in_other_spellings_are_read(tmp_path, train, test):
    write_folders(tmp_path, draw_faces(2), [0, 3], [f"{train}/a.png", f"{test}/b.png"])
    assert fer2013.read(tmp_path)[1]["usage"].tolist() == ["Training", "PublicTest"]


def test_folders_named_by_usage_are_read(tmp_path):
    write_folders(tmp_path, draw_faces(3), [0, 3, 6], ["Training/a.png", "PublicTest/b.png", "PrivateTest/c.png"])
    assert fer2013.read(tmp_path)[1]["usage"].tolist() == ["Training", "PublicTest", "PrivateTest"]


def test_a_part_that_fer2013_does_not_have_is_named(tmp_path):
    write_folders(tmp_path, draw_faces(2), [0, 3], ["train/a.png", "validation/b.png"])
    with pytest.raises(InputError, match=r"test is missing \('validation' lies there, which is no part of FER2013\).*class_folders"):
        fer2013.read(tmp_path)
    write_folders(tmp_path, draw_faces(1), [0], ["test/a.png"])
    with pytest.raises(InputError, match=r"holds 'validation', which is no part of FER2013.*class_folders"):
        fer2013.read(tmp_path)


def test_what_systems_leave_behind_is_passed_by(root):
    for name in ("train/Thumbs.db", "train/happy/desktop.ini", "test/neutral/Icon\r"):
        (root / name).write_bytes(b"x")
    (root / "train" / "happy" / "@eaDir" / "a.png").mkdir(parents=True)
    assert len(fer2013.read(root)[0]) == 4


@pytest.mark.parametrize("damage", [damage_size, damage_unknown_class])
def test_another_copy_is_pointed_to_class_folders(root, damage):
    damage(root)
    with pytest.raises(InputError, match="or set dataset: class_folders"):
        fer2013.read(root)


def test_two_files_of_one_name_are_both_named(tmp_path):
    write_folders(tmp_path, draw_faces(3), [3, 3, 3], ["train/im1.png", "train/im1.bmp", "test/im1.png"])
    with pytest.raises(InputError, match=r"happy/im1\.bmp and .*happy/im1\.png are both train/happy/im1; expected one"):
        read(tmp_path)
