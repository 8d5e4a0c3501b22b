"""Pictures decoded when they are asked for: 8-bit grey or RGB, upright, one frame; anything else is one clear line.

A reader gives a sequence of pictures: `len(pictures)` and `pictures[row]`, uint8 (H, W) or (H, W, 3) in RGB. An array (N, H, W) is
one; `PictureFiles` is another, which holds no pixels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ferlab.data.delivery import Delivery
from ferlab.paths import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".webp", ".gif")
ORIENTATION = 0x0112  # EXIF's tag
MOST_SIDE = 16_384  # pixels; a wider picture is a scan or a panorama, and decoding it could take gigabytes
EXPECTED = "8-bit grey or RGB"


class Pictures(Protocol):
    """A sequence of N pictures, each decoded when asked for."""

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
        return decode_picture(self.delivery.read(name), where=self.delivery.where(name))


def is_picture(path: PurePosixPath) -> bool:
    """Whether a file's name ends as a picture's does."""
    return path.suffix.lower() in ENDINGS


def decode_picture(data: bytes, *, where: str) -> np.ndarray:
    """Decode a picture upright.

    Args:
        data: The file's bytes.
        where: What to call the file in an error.

    Returns:
        uint8, (H, W) if the file is grey, else (H, W, 3) in RGB. A camera's EXIF rotation is undone.

    Raises:
        InputError: If it is no picture, cut, animated, of more than 8 bits, CMYK, transparent, or wider than `MOST_SIDE`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked below, before anything is decoded
            image = Image.open(io.BytesIO(data))
        with image:
            _check(image, where)
            # Keep: exif_transpose copies every picture, turned or not.
            turned = image.getexif().get(ORIENTATION, 1) != 1
            return np.asarray(_opaque(ImageOps.exif_transpose(image) if turned else image, where))
    except UnidentifiedImageError:
        raise InputError(f"{where} is no image; expected a picture as PNG, JPEG, TIFF or BMP. Remove it or get it again.") from None
    except Image.DecompressionBombError:
        raise InputError(f"{where} has more pixels than a photograph of a face; expected at most {MOST_SIDE} a side. Shrink or remove it.") from None
    except (OSError, SyntaxError, EOFError, ValueError) as error:  # Keep: Pillow raises SyntaxError for a broken PNG
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is cut or damaged ({_first_line(error)}); expected a whole image. Get the file again.") from None


def _check(image: Image.Image, where: str) -> None:
    if max(image.size) > MOST_SIDE:
        raise InputError(f"{where} is {image.width} x {image.height}; expected at most {MOST_SIDE} a side. Shrink or remove it.")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a phone's photograph with its thumbnail behind it
        raise InputError(f"{where} has {image.n_frames} frames; expected one picture. Save the frame you mean.")  # type: ignore[attr-defined]
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{where} has the mode {image.mode}, more than 8 bits; expected {EXPECTED}. Convert it, choosing how its range is mapped.")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise InputError(f"{where} has the mode {image.mode}; expected {EXPECTED}. Convert it with its own colour profile.")


def _opaque(image: Image.Image, where: str) -> Image.Image:
    """Grey or RGB without alpha; what is transparent has no colour that a camera saw."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        whole = image.convert("RGBA") if image.mode != "LA" else image
        if whole.getchannel("A").getextrema()[0] < 255:
            raise InputError(f"{where} is partly transparent; expected an opaque picture. Save it on a background.")
    if image.mode == "P" and image.getpalette("RGB") and _grey(image.getpalette("RGB") or []):
        return image.convert("L")
    return image.convert("L" if image.mode in ("L", "LA") else "RGB")


def _grey(palette: list[int]) -> bool:
    return palette[0::3] == palette[1::3] == palette[2::3]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
