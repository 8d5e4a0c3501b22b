"""Appearance of a face: size, colour, contrast, blur; and the papers' inputs.

    on one face, uint8 to uint8, stored by prepare        equalise_histogram, clahe, gaussian_blur, to_grey, to_rgb, resize
    on a batch, uint8 to float32, never stored            mean_image, subtract_mean, grey_to_three, unit_range

The second kind writes the papers' arithmetic out in numpy, to show and to check it; in training `models/inputs.py` does the same on the device.

References:
    cs231a: 5 x 5 Gaussian and the training faces' mean image subtracted, grey 250 x 250.
    cs230 (Khanzada, Bai & Celepcikay 2020, arXiv 2004.11823): grey 48 x 48 "resized and recolored" for models of at least 197 x 197 in RGB.
    fers: RGB divided by 255, 224 x 224.   fersys: histogram equalisation, of an unstated kind.
    Zuiderveld (1994), Contrast limited adaptive histogram equalization, Graphics Gems IV.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ferlab.paths import InputError

CHUNK = 4096  # faces summed at once: 75 MB of 48 x 48 as int64


def check_image(image: np.ndarray) -> np.ndarray:
    """Return `image` unchanged if it is uint8 (H, W) grey or (H, W, 3) RGB with at least one pixel; else raise an `InputError`."""
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InputError(f"Expected a picture as uint8 (H, W) grey or (H, W, 3) RGB, got {image.dtype} {image.shape}. Convert it first.")
    return image


def to_grey(image: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W): the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B; grey stays unchanged."""
    return check_image(image) if image.ndim == 2 else cv2.cvtColor(check_image(image), cv2.COLOR_RGB2GRAY)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3): grey repeated; RGB stays unchanged."""
    return check_image(image) if image.ndim == 3 else cv2.cvtColor(check_image(image), cv2.COLOR_GRAY2RGB)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize one face, uint8 (H, W) or (H, W, 3), to size x size; one that is not square is stretched, as in the papers.

    Smaller faces grow bilinearly, larger ones shrink by area, as in `models/inputs.py`; the two agree to the rounding at whole ratios.
    """
    check_image(image)
    if size < 1:
        raise InputError(f"Expected a size of at least 1 pixel, got {size}.")
    if image.shape[:2] == (size, size):
        return image.copy()
    return cv2.resize(image, (size, size), interpolation=_interpolation(image, size))


def equalise_histogram(image: np.ndarray) -> np.ndarray:
    """Equalise the histogram (cv2.equalizeHist), in RGB of the luma alone, which keeps hues."""
    return _on_luma(image, cv2.equalizeHist)


def clahe(image: np.ndarray) -> np.ndarray:
    """Equalise in 8 x 8 tiles (Zuiderveld 1994), a tile's histogram cut at twice its mean, in RGB of the luma alone."""
    return _on_luma(image, cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply)


def gaussian_blur(image: np.ndarray, *, kernel: int = 5) -> np.ndarray:
    """Smooth with OpenCV's Gaussian of kernel x kernel pixels, an odd number, for 5 (cs231a) with weights (1 4 6 4 1) / 16; else an `InputError`."""
    if kernel < 1 or kernel % 2 == 0:
        raise InputError(f"gaussian_blur: expected an odd kernel of at least 1, got {kernel}.")
    return cv2.GaussianBlur(check_image(image), (kernel, kernel), 0)


def mean_image(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the mean of the faces in `rows`, float32 (H, W) or (H, W, 3), 0 to 255; no rows are an `InputError`.

    Images, uint8 (N, H, W) or (N, H, W, 3), are read in chunks from a memory map; sums are whole numbers, so chunks do not matter.
    """
    rows = np.sort(np.asarray(rows))  # a memory map is read front to back
    if len(rows) == 0:
        raise InputError("The mean image is that of the training faces, and there are none; expected at least one row.")
    total = np.zeros(images.shape[1:], np.int64)
    for start in range(0, len(rows), CHUNK):
        total += images[rows[start : start + CHUNK]].sum(axis=0, dtype=np.int64)
    return (total / len(rows)).astype(np.float32)


def subtract_mean(images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return faces minus the training faces' mean image, float32, -255 to 255 (cs231a, grey 250 x 250); `InputError` if that has another size."""
    if images.shape[1:] != mean.shape:
        raise InputError(f"The mean image is {mean.shape}, the faces are {images.shape[1:]}; resize the faces first, and take the mean of those.")
    return images.astype(np.float32) - mean


def grey_to_three(images: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 faces, (N, H, W) or (N, H, W, 3), as three equal grey channels in [0, 1], float32 (N, 3, size, size) (cs230, 197 or 224)."""
    grey = np.stack([_scale(to_grey(image), size) for image in images])
    return np.repeat(grey[:, None], 3, axis=1)


def unit_range(images: np.ndarray) -> np.ndarray:
    """Return uint8 faces, (N, H, W) or (N, H, W, 3), as RGB in [0, 1], float32 (N, 3, 224, 224) (fers)."""
    return np.stack([np.moveaxis(_scale(to_rgb(image), 224), 2, 0) for image in images])


def _scale(image: np.ndarray, size: int) -> np.ndarray:
    # Divided before it is resized, so that nothing is rounded between.
    return cv2.resize(image.astype(np.float32) / 255.0, (size, size), interpolation=_interpolation(image, size))


def _interpolation(image: np.ndarray, size: int) -> int:
    return cv2.INTER_AREA if min(image.shape[:2]) >= size else cv2.INTER_LINEAR


def _on_luma(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if check_image(image).ndim == 2:
        return change(image)
    luma, *colours = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    return cv2.cvtColor(cv2.merge([change(luma), *colours]), cv2.COLOR_YCrCb2RGB)
