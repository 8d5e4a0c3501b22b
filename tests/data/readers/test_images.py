"""Pictures as 8-bit grey or RGB, upright; what is something else is one clear line."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import FORMATS, MOST_PIXELS, PictureFiles, decode_picture, picture_format, read_plain_file
from ferlab.paths import InputError

GREY = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image, form="PNG", **options):
    data = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, form, **options)
    return data.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_lossless_picture_comes_back_to_the_pixel(form, image):
    assert (decode_picture(encoded(image, form), where="x") == image).all()


def test_a_jpeg_is_what_pillow_decodes():
    data = encoded(COLOUR, "JPEG", quality=80)
    assert (decode_picture(data, where="x") == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize(("orientation", "expected"), [(1, COLOUR), (3, COLOUR[::-1, ::-1]), (6, np.rot90(COLOUR, -1)), (8, np.rot90(COLOUR))])
def test_a_cameras_rotation_is_undone(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode_picture(encoded(COLOUR, "PNG", exif=exif), where="x") == expected).all()


def test_opaque_alpha_palettes_and_one_bit_become_grey_or_rgb():
    assert (decode_picture(encoded(Image.fromarray(COLOUR).convert("RGBA")), where="x") == COLOUR).all()
    assert (decode_picture(encoded(Image.fromarray(GREY).convert("LA")), where="x") == GREY).all()
    assert (decode_picture(encoded(Image.fromarray(GREY).convert("P")), where="x") == GREY).all()
    assert decode_picture(encoded(Image.fromarray(COLOUR).quantize(16)), where="x").shape == (6, 9, 3)
    assert set(np.unique(decode_picture(encoded(Image.fromarray(GREY > 99)), where="x"))) == {0, 255}


def transparent():
    image = Image.fromarray(COLOUR).convert("RGBA")
    image.putpixel((2, 3), (0, 0, 0, 9))
    return image


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encoded(GREY.astype(np.uint16) * 200), "has the mode I;16, more than 8 bits"),
        (encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "has the mode CMYK; expected 8-bit grey or RGB"),
        *((cv2.imencode(ending, COLOUR.astype(np.uint16) * 200)[1].tobytes(), "has more than 8 bits") for ending in (".png", ".tiff", ".ppm")),
        (encoded(GREY.astype(np.float32), "TIFF"), "has the mode F, more than 8 bits"),
        (encoded(GREY, "GIF", save_all=True, append_images=[Image.fromarray(GREY[::-1])]), "has 2 frames; expected one picture"),
        (encoded(transparent()), "is partly transparent"),
        (encoded(Image.new("1", (7_100, 7_100))), r"is 7100 x 7100, 50,410,000 pixels; expected at most 50,331,648"),
        (encoded(Image.new("1", (14_000, 14_000))), "has more pixels than a photograph of a face"),
        (encoded(COLOUR, "JPEG2000"), "is JPEG 2000; expected a picture as PNG, JPEG, .*: export it as JPEG or PNG"),
        (encoded(COLOUR, "AVIF"), "is AVIF; expected"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC; expected .*: export it as JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is PostScript; expected"),
        (b"\n".join([b"<!doctype HTML>", b"<html>"]), "is a web page; expected .*: download the picture itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS; expected .* `git lfs pull`"),
        (encoded(COLOUR, "JPEG")[:-60], "is cut or damaged"),
        (encoded(COLOUR)[:-40], "is cut or damaged"),
        (b"", "is no image"),
        (b"face,happy\n", "is no image"),
    ],
)
def test_what_is_no_plain_picture_is_refused_in_one_line(data, said):
    with pytest.raises(InputError, match=rf"^a/b\.png {said}") as error:
        decode_picture(data, where="a/b.png")
    assert "\n" not in str(error.value)


def test_files_are_decoded_when_asked_for(tmp_path):
    for name, image in (("b.png", GREY), ("a.png", COLOUR)):
        (tmp_path / name).write_bytes(encoded(image))
    (tmp_path / "broken.png").write_bytes(b"x")
    pictures = PictureFiles(Delivery(tmp_path), ["b.png", "a.png", "broken.png"])
    assert len(pictures) == 3
    assert (pictures[0] == GREY).all()
    assert (pictures[1] == COLOUR).all()
    with pytest.raises(InputError, match=r"broken\.png is no image"):
        pictures[2]


@pytest.mark.parametrize(
    ("form", "name"), [("PNG", "PNG"), ("JPEG", "JPEG"), ("TIFF", "TIFF"), ("BMP", "BMP"), ("GIF", "GIF"), ("WEBP", "WEBP"), ("PPM", "PPM")]
)
def test_a_picture_is_told_by_its_first_bytes(form, name):
    data = encoded(GREY if form != "WEBP" else COLOUR, form)
    assert picture_format(data[:32]) == name
    assert name in FORMATS
    assert decode_picture(data, where="x").shape[:2] == GREY.shape


def test_formats_that_are_not_meant_are_never_handed_to_pillow(monkeypatch):
    opened = []
    monkeypatch.setattr(Image, "open", lambda *_, **options: opened.append(options["formats"]) or pytest.fail("opened"))
    for form in ("EPS", "PCX", "DDS", "ICNS", "TGA", "SGI", "AVIF", "JPEG2000", "ICO"):
        with pytest.raises(InputError, match="expected a picture as PNG"):
            decode_picture(encoded(Image.fromarray(COLOUR), form), where="x.png")
    assert not opened


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_rotation_is_undone_as_pillow_does(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(COLOUR, form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode_picture(data, where="x"), expected)


def test_metadata_that_cannot_be_written_again_does_not_lose_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0106] = 2  # a number, there spoilt as text below
    raw = exif.tobytes()
    entry = raw.index(b"\x06\x01") if raw[6:8] == b"II" else raw.index(b"\x01\x06")
    spoilt = raw[: entry + 2] + (b"\x02\x00" if raw[6:8] == b"II" else b"\x00\x02") + raw[entry + 4 :]
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(COLOUR, "JPEG", exif=spoilt))))
    assert decode_picture(encoded(COLOUR, "JPEG", exif=spoilt), where="x").shape == (9, 6, 3)


def test_a_photograph_with_a_second_one_behind_it_is_the_first():
    data = encoded(Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])], quality=95)
    assert decode_picture(data, where="x").shape == COLOUR.shape


def damaged_tiffs():
    whole = encoded(COLOUR, "TIFF", compression="tiff_lzw")
    for place in range(8, len(whole), 3):
        yield whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]


def test_damaged_files_are_read_or_refused_and_libraries_stay_silent(capfd):
    told = []
    for data in damaged_tiffs():
        try:
            decode_picture(data, where="x.tif")
        except InputError as error:
            told.append(str(error))
    assert len(told) > 10
    assert all(line.startswith("x.tif ") and "\n" not in line for line in told)
    assert capfd.readouterr() == ("", "")


def test_a_tile_is_bounded_whatever_the_size_of_the_picture():
    ifd = [
        (256, 3, 16),
        (257, 3, 16),
        (258, 3, 8),
        (259, 3, 5),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, 60_000),
        (323, 4, 60_000),
        (324, 4, 8),
        (325, 4, 4),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in ifd)
    data = b"II*\0" + struct.pack("<I", 16) + b"\x80\x0b\x60\x50" * 2 + struct.pack("<H", len(ifd)) + entries + struct.pack("<I", 0)
    with pytest.raises(InputError, match="has tiles of 60000 x 60000 pixels"):
        decode_picture(data, where="x")


def test_only_plain_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(b"x" * 20)
    for path, said in ((tmp_path / "pipe.png", "is no plain file"), (Path("/dev/zero"), "is no plain file"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=said):
            read_plain_file(path)
    with pytest.raises(InputError, match="has 20 bytes; expected at most 19"):
        read_plain_file(tmp_path / "large.png", most=19)
    with pytest.raises(InputError, match="cannot be read"):
        read_plain_file(tmp_path / ("x" * 300))
    with pytest.raises(InputError, match=r"a\\nb\.png is missing"):
        read_plain_file(tmp_path / "a\nb.png")


@pytest.mark.slow
def test_the_largest_picture_takes_less_than_a_gigabyte():
    code = f"""
import io, re, sys
from pathlib import Path
from PIL import Image, ImageOps
from ferlab.data.readers.images import decode_picture
data = io.BytesIO()
Image.new("P", (8192, {MOST_PIXELS // 8192})).save(data, "PNG", transparency=b"\\xff" * 256)
decode_picture(data.getvalue(), where="x")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss holds the peak of the process that forked this one, too
sys.exit(int(peak[1]) > 1_000_000)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
