"""Pictures as 8-bit grey or RGB, upright; what is something else is one clear line."""

import io

import numpy as np
import pytest
from PIL import Image

from ferlab.data.delivery import Delivery
from ferlab.data.pictures import MOST_SIDE, PictureFiles, decode_picture
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
        (encoded(GREY.astype(np.float32), "TIFF"), "has the mode F, more than 8 bits"),
        (encoded(GREY, "GIF", save_all=True, append_images=[Image.fromarray(GREY[::-1])]), "has 2 frames; expected one picture"),
        (encoded(transparent()), "is partly transparent"),
        (encoded(Image.new("L", (20_000, 1))), f"is 20000 x 1; expected at most {MOST_SIDE} a side"),
        (encoded(Image.new("1", (14_000, 14_000))), "has more pixels than a photograph of a face"),
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
