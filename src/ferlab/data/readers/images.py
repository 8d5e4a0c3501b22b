"""Pictures decoded on access: 8-bit grey or RGB, upright, one frame; anything else is a one-line error.

Pictures are a sequence: `len(pictures)` and `pictures[row]`, uint8 (H, W) or (H, W, 3) in RGB: an array (N, H, W), or `PictureFiles`, which holds no
pixels.

Pictures are untrusted. Their content, not their name, decides the format; only `FORMATS` are decoded, up to `MOST_PIXELS` by the header. Pillow
reads forty formats more: one starts another program (PostScript), others need libraries that a dataset of faces never does.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image

from ferlab.data.readers.delivery import Delivery
from ferlab.paths import InputError, check_plain_file, first_line
from ferlab.terminal import quiet_stderr

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")  # as Pillow names them; JPEG has MPO, a phone's, in it, PPM has PGM and PBM
NAMED = "PNG, JPEG, TIFF, BMP, PPM, PGM, WebP or GIF"
ORIENTATION = 0x0112  # EXIF's tag
BITS = 258  # TIFF's tag: bits of each channel
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}  # quarter turns left; then mirrored
MOST_PIXELS = 8192 * 6144  # 50 megapixels, the largest that phones take in one shot; decoded it takes 0.6 GB
MOST_BYTES = 1 << 28  # of one file: MOST_PIXELS in RGB take 151 MB uncompressed
EXPECTED = "8-bit grey or RGB"
TILE_SIDES = (322, 323)  # TIFF's tags: libtiff makes room for a whole tile, whatever the size of the picture

# Formats by the first bytes of a file: place, bytes. Each is tried in this order.
SIGNATURES: dict[str, tuple[tuple[int, bytes], ...]] = {
    "PNG": ((0, b"\x89PNG\r\n\x1a\n"),),
    "JPEG": ((0, b"\xff\xd8\xff"),),
    "TIFF": tuple((0, start) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "BMP": ((0, b"BM"),),
    "GIF": ((0, b"GIF87a"), (0, b"GIF89a")),
    "WEBP": ((8, b"WEBP"),),
    "PPM": tuple((0, b"P" + kind) for kind in (b"1", b"2", b"3", b"4", b"5", b"6")),
    "HEIC": tuple((4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
    "AVIF": ((4, b"ftypavif"), (4, b"ftypavis")),
    "a camera's raw file": ((4, b"ftypcrx"),),
    "a video": ((4, b"ftyp"), (8, b"AVI "), (0, b"\x1aE\xdf\xa3")),
    "JPEG 2000": ((0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51")),
    "JPEG XL": ((0, b"\0\0\0\x0cJXL "), (0, b"\xff\x0a")),
    "PostScript": ((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6")),
    "PDF": ((0, b"%PDF"),),
    "Photoshop's PSD": ((0, b"8BPS"),),
    "DDS": ((0, b"DDS "),),
    "an icon": ((0, b"\0\0\1\0"), (0, b"icns")),
    "SVG": ((0, b"<svg"),),
    "a web page": ((0, b"<!DOCTYPE html"), (0, b"<html")),
    "a pointer of Git LFS": ((0, b"version https://git-lfs"),),
}
WAYS_OUT = {
    "a video": "save the frame that you mean as PNG",
    "a web page": "download the picture itself, not the page that shows it",
    "a pointer of Git LFS": "fetch what it points to with `git lfs pull`",
}  # otherwise: export it as JPEG or PNG


class Pictures(Protocol):
    """A sequence of N pictures, each decoded on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class PictureFiles:
    """Pictures in files, in the order of `names`."""

    delivery: Delivery
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> np.ndarray:
        """Decode one picture: uint8 (H, W) or (H, W, 3); see `decode_picture` for what raises."""
        name = self.names[row]
        where = self.delivery.where(name)
        try:
            return decode_picture(self.delivery.read(name), where=where)
        except InputError as error:
            error.reason = re.split(r"; expected|\. [A-Z]", str(error).removeprefix(where).strip())[0].removeprefix("is ")
            raise


def is_picture(path: PurePosixPath) -> bool:
    """Whether a file's name ends as a picture's does."""
    return path.suffix.lower() in ENDINGS


def picture_format(head: bytes) -> str:
    """Return the format of a file by its first 32 bytes: one of `FORMATS`, another name of `SIGNATURES`, or "" if unknown.

    >>> picture_format(b"GIF89a..."), picture_format(b"....ftypheic"), picture_format(b"face,happy")
    ('GIF', 'HEIC', '')
    """
    for name, starts in SIGNATURES.items():
        found = any(head[start : start + len(magic)].lower() == magic.lower() for start, magic in starts)
        if found and (name != "PPM" or head[2:3].isspace()):
            return name
    return ""


def way_out(name: str) -> str:
    """Return how to convert a file of a format, from `picture_format`, that is none of `FORMATS`."""
    return WAYS_OUT.get(name, "export it as JPEG or PNG")


def read_plain_file(path: Path, *, most: int = MOST_BYTES, expected: str = "a picture") -> bytes:
    """Return the bytes of a plain file: a FIFO never ends, a device is no picture.

    Raises:
        InputError: If it is missing, a folder, no plain file, larger than `most`, or cannot be read.
    """
    shown = repr(str(path))[1:-1]
    try:
        check_plain_file(path, expected=expected)
        if (size := path.stat().st_size) > most:
            raise InputError(f"{shown} has {size:,} bytes; expected at most {most:,}. Shrink or remove it.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown} cannot be read ({error.strerror}); expected {expected}.") from None


def decode_picture(data: bytes, *, where: str) -> np.ndarray:
    """Decode a picture upright to uint8, (H, W) if the file is grey, else (H, W, 3) in RGB; `where` names it in an error.

    Raises:
        InputError: If it is none of `FORMATS`, cut, animated, of more than 8 bits, CMYK, transparent, or of more than `MOST_PIXELS`.
    """
    name = picture_format(data[:32])
    if name not in FORMATS:
        found = f"is {name}" if name else "is no image"
        todo = way_out(name) if name else "remove it or get it again"
        raise InputError(f"{where} {found}; expected a picture as {NAMED}: {todo}.")
    try:
        with warnings.catch_warnings(), quiet_stderr() if name == "TIFF" else nullcontext():
            warnings.simplefilter("ignore")  # Pillow's, on sizes and metadata: what matters is checked here
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check(image, where)
                pixels = np.asarray(_opaque(image, where))
                turn = image.getexif().get(ORIENTATION, 1)  # Keep: after decoding, which turns a TIFF and resets this tag
            quarters, mirrored = TURNS.get(turn, (0, False))  # numbers that EXIF lacks mean no rotation
            turned = np.rot90(pixels, quarters)
            return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{where} has more pixels than a photograph of a face; expected at most {MOST_PIXELS:,}. Shrink or remove it.") from None
    except Exception as error:  # noqa: BLE001 - Pillow and its decoders raise whatever they stumble on: struct.error, TypeError, SyntaxError ...
        raise InputError(f"{where} is cut or damaged ({first_line(error)}); expected a whole image. Get the file again.") from None


def _check(image: Image.Image, where: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width} x {image.height}, {image.width * image.height:,} pixels"
        raise InputError(f"{where} is {size}; expected at most {MOST_PIXELS:,}. Shrink or remove it.")
    tile = [int(image.tag_v2.get(tag, 1)) for tag in TILE_SIDES] if image.format == "TIFF" else [1, 1]  # type: ignore[attr-defined]
    if tile[0] * tile[1] > MOST_PIXELS:
        raise InputError(f"{where} has tiles of {tile[0]} x {tile[1]} pixels; expected at most {MOST_PIXELS:,}. Save it again.")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a phone's photograph with its thumbnail behind it
        raise InputError(f"{where} has {image.n_frames} frames; expected one picture. Save the frame you mean.")  # type: ignore[attr-defined]
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{where} has the mode {image.mode}, more than 8 bits; expected {EXPECTED}. Convert it, choosing how its range is mapped.")
    if _is_deep(image):
        raise InputError(f"{where} has more than 8 bits per channel; expected {EXPECTED}. Convert it, choosing how its range is mapped.")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise InputError(f"{where} has the mode {image.mode}; expected {EXPECTED}. Convert it with its own colour profile.")


def _is_deep(image: Image.Image) -> bool:
    """Whether a file that Pillow opens in a mode of 8 bits has more: it would keep the high byte alone."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (8,))) > 8  # type: ignore[attr-defined]
    read_as = image.tile[0].args if image.tile else ""
    if image.format == "PPM":
        return isinstance(read_as, tuple) and read_as[1] > 255  # the highest value
    return image.format == "PNG" and ";16" in str(read_as)


def _opaque(image: Image.Image, where: str) -> Image.Image:
    """Return grey or RGB without alpha; transparent pixels have no colour."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        whole = image.convert("RGBA") if image.mode != "LA" else image
        if whole.getchannel("A").getextrema()[0] < 255:
            raise InputError(f"{where} is partly transparent; expected an opaque picture. Save it on a background.")
    palette = image.getpalette("RGB") if image.mode == "P" else None
    if palette and palette[0::3] == palette[1::3] == palette[2::3]:
        return image.convert("L")
    return image.convert("L" if image.mode in ("L", "LA") else "RGB")
