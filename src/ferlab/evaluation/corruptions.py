"""Corrupted faces: noise, blur, light and digital losses at five severities, for grey and RGB faces of any side. Without torch.

Severity 1 is visible, and at severity 5 a person still recognises a face. Levels are stated for faces of 48 pixels and follow the side S:

| kind | corruptions | how the level follows the side |
|---|---|---|
| noise | gaussian_noise, shot_noise, impulse_noise | deviations and fractions of pixels grow as the root of S |
| blur | defocus_blur, motion_blur, zoom_blur | lengths are fractions of S |
| light | brightness, darkness, low_contrast, high_contrast, gamma, fog, desaturation (RGB alone) | none |
| digital | spatter, jpeg, pixelate | drops and blocks are fractions of S; JPEG's quality falls as S grows |

At 64 pixels noise is near Tiny ImageNet-C's, at 224 noise and JPEG are near ImageNet-C's.

The draws of a face depend on the seed, the corruption and its `face_id` alone: neither on its row nor on the severity, so a face meets the same
noise at every severity, stronger each time. Not included of ImageNet-C: elastic (it moves the corners of the mouth, and with them the label), glass
blur (at these sides a second motion blur), snow and frost (layers of a landscape, not of a face crop), Gaussian blur and speckle (next to defocus and
shot noise; the curve of resolution is a blur too).

References:
    Hendrycks & Dietterich (2019), Benchmarking neural network robustness to common corruptions and perturbations, arXiv 1903.12261 (ImageNet-C).
    Greco, Strisciuglio, Vento & Vigilante (2022), Benchmarking deep networks for facial emotion recognition in the wild,
    doi 10.1007/s11042-022-12790-7 (RAF-DB-C).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageEnhance
from skimage.exposure import adjust_gamma
from skimage.util import random_noise

from ferlab.copies import compress
from ferlab.opencv import one_thread
from ferlab.params import nearest
from ferlab.paths import InputError

SIDE = 48  # pixels: the side that the levels are stated for
SEVERITIES = (1, 2, 3, 4, 5)
MUD = (0.25, 0.16, 0.08)  # RGB
GREY = (0.299, 0.587, 0.114)  # weights of ITU-R BT.601
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """A corruption and its five levels.

    Attributes:
        change: Face in [0, 1] (float32, (H, W) or (H, W, 3)), level and generator to a face.
        levels: Of severities 1 to 5, at a side of `SIDE`.
        power: The level at side S is that of `SIDE` times (S / `SIDE`) to this power.
        colour: Whether it applies to RGB faces alone.
    """

    change: Change
    levels: tuple[float, ...]
    power: float = 0.0
    colour: bool = False


def corruptions_for(ndim: int) -> tuple[str, ...]:
    """Return the corruptions that apply to images of this many axes: 3 for grey (N, H, W), 4 for RGB (N, H, W, 3)."""
    return tuple(name for name, each in CORRUPTIONS.items() if ndim == 4 or not each.colour)


def corrupt(images: np.ndarray, name: str, *, severity: int, face_ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return corrupted faces, uint8 of the shape of `images`.

    Args:
        images: uint8 (N, H, W) or RGB (N, H, W, 3).
        name: A key of CORRUPTIONS.
        severity: 1 to 5.
        face_ids: (N,) ids; each seeds the draws of its face.
        seed: Of all draws.

    Raises:
        InputError: An unknown corruption or severity, one that needs colour on grey faces, or images that are not uint8 faces.
    """
    images = check_faces_array(images, face_ids)
    if name not in CORRUPTIONS:
        raise InputError(f"no corruption is called {name!r}; {nearest(name, CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise InputError(f"{name}: expected a severity from 1 to 5, got {severity!r}")
    if name not in corruptions_for(images.ndim):
        raise InputError(f"{name}: applies to RGB faces (N, H, W, 3), got {images.shape}")
    made = CORRUPTIONS[name]
    level = made.levels[severity - 1] * (min(images.shape[1:3]) / SIDE) ** made.power
    with one_thread():
        changed = [to_uint8(made.change(face / np.float32(255), level, rng)) for face, rng in zip(images, rngs(face_ids, name, seed), strict=True)]
    return np.stack(changed) if changed else images.copy()


def check_faces_array(images: np.ndarray, face_ids: Sequence[str]) -> np.ndarray:
    """Return uint8 faces as an array.

    Raises:
        InputError: Another type or shape, or another number of ids.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise InputError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {images.dtype} of shape {images.shape}")
    if len(face_ids) != len(images):
        raise InputError(f"Expected one face_id per face, got {len(face_ids)} for {len(images)} faces")
    return images


def rngs(face_ids: Iterable[str], name: str, seed: int) -> Iterable[np.random.Generator]:
    """Yield a generator per face, seeded by the seed, what is drawn, and the id of the face."""
    for face_id in face_ids:
        yield np.random.default_rng(int.from_bytes(hashlib.blake2b(f"{seed}/{name}/{face_id}".encode(), digest_size=8).digest()))


def to_uint8(face: np.ndarray) -> np.ndarray:
    """Return a face in [0, 1] as uint8; values outside are clipped."""
    return np.clip(np.rint(255 * face), 0, 255).astype(np.uint8)


def _gaussian_noise(face: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    return random_noise(face, mode="gaussian", var=deviation**2, rng=rng)


def _shot_noise(face: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise as of a short exposure; its deviation where the face is white."""
    photons = deviation**-2
    return rng.poisson(photons * face) / photons


def _impulse_noise(face: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    return random_noise(face, mode="s&p", amount=min(fraction, 1.0), rng=rng)


def _defocus_blur(face: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A disc's blur, antialiased at its rim."""
    reach = int(np.ceil(radius))
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    return _filtered(face, np.clip(radius + 0.5 - distance, 0, 1))


def _motion_blur(face: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """A straight blur whose direction is drawn per face."""
    angle, reach = rng.uniform(0, np.pi), int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2))
    for along in np.linspace(-length / 2, length / 2, 8 * reach + 1):
        y, x = reach + along * np.sin(angle), reach + along * np.cos(angle)
        row, column = int(y), int(x)
        kernel[row : row + 2, column : column + 2] += np.outer((row + 1 - y, y - row), (column + 1 - x, x - column))
    return _filtered(face, kernel[:-1, :-1])


def _filtered(face: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(face, -1, (kernel / kernel.sum()).astype(np.float32), borderType=cv2.BORDER_REPLICATE)


def _zoom_blur(face: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """The mean of magnifications up to 1 + `most` about the centre."""
    height, width = face.shape[:2]
    zooms = np.linspace(1, 1 + most, 9)
    centre = ((width - 1) / 2, (height - 1) / 2)
    moved = (cv2.warpAffine(face, cv2.getRotationMatrix2D(centre, 0, zoom), (width, height), borderMode=cv2.BORDER_REPLICATE) for zoom in zooms)
    return np.mean(list(moved), axis=0)


def _brightness(face: np.ndarray, more: float, rng: np.random.Generator) -> np.ndarray:
    return face + more


def _darkness(face: np.ndarray, less: float, rng: np.random.Generator) -> np.ndarray:
    return face * (1 - less)


def _contrast(face: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    mean = face.mean(axis=(0, 1))
    return (face - mean) * factor + mean


def _gamma(face: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
    return adjust_gamma(face, gamma)


def _desaturation(face: np.ndarray, less: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(ImageEnhance.Color(Image.fromarray(to_uint8(face))).enhance(1 - less), dtype=np.float32) / 255


def _fog(face: np.ndarray, haze: float, rng: np.random.Generator) -> np.ndarray:
    """Bright haze of uneven density: noise of five octaves, drawn over the face by Koschmieder's law."""
    size = face.shape[1::-1]
    octaves = [cv2.resize(rng.random((2**k + 1, 2**k + 1), dtype=np.float32), size, interpolation=cv2.INTER_CUBIC) / 2**k for k in range(1, 6)]
    field = np.sum(octaves, axis=0)
    density = haze * (0.7 + 0.6 * (field - field.min()) / max(float(np.ptp(field)), 1e-6))
    density = np.minimum(density, 0.95).reshape(face.shape[:2] + (1,) * (face.ndim - 2))
    return face * (1 - density) + 0.85 * density


def _spatter(face: np.ndarray, covered: float, rng: np.random.Generator) -> np.ndarray:
    """Drops of mud on the lens that cover a fraction of the frame."""
    height, width = face.shape[:2]
    field = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), min(height, width) / 24)
    opacity = np.clip((field - np.quantile(field, 1 - covered)) / (0.15 * field.std()) + 0.5, 0, 1)
    if face.ndim == 2:
        return face * (1 - opacity) + np.dot(MUD, GREY) * opacity
    return face * (1 - opacity[..., None]) + np.float32(MUD) * opacity[..., None]


def _jpeg(face: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    return compress(to_uint8(face), quality=max(1, round(quality))) / np.float32(255)


def _pixelate(face: np.ndarray, block: float, rng: np.random.Generator) -> np.ndarray:
    """Blocks of one tone each; their side is `block` hundredths of the face's."""
    height, width = face.shape[:2]
    small = [max(1, round(100 / block * side / min(height, width))) for side in (width, height)]
    picture = Image.fromarray(to_uint8(face)).resize(small, Image.Resampling.BOX)
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST), dtype=np.float32) / 255


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(_gaussian_noise, (0.035, 0.06, 0.085, 0.11, 0.14), power=0.5),
    "shot_noise": Corruption(_shot_noise, (0.055, 0.08, 0.11, 0.145, 0.19), power=0.5),
    "impulse_noise": Corruption(_impulse_noise, (0.01, 0.02, 0.045, 0.07, 0.12), power=0.5),
    "defocus_blur": Corruption(_defocus_blur, (0.8, 1.1, 1.5, 1.9, 2.4), power=1),
    "motion_blur": Corruption(_motion_blur, (2.2, 3.4, 4.8, 6.5, 8.5), power=1),
    "zoom_blur": Corruption(_zoom_blur, (0.08, 0.13, 0.18, 0.24, 0.30)),
    "brightness": Corruption(_brightness, (0.08, 0.15, 0.23, 0.31, 0.40)),
    "darkness": Corruption(_darkness, (0.25, 0.4, 0.55, 0.67, 0.78)),
    "low_contrast": Corruption(_contrast, (0.65, 0.5, 0.36, 0.25, 0.16)),
    "high_contrast": Corruption(_contrast, (1.4, 1.8, 2.4, 3.2, 4.5)),
    "gamma": Corruption(_gamma, (1.4, 1.8, 2.3, 3.0, 4.0)),
    "fog": Corruption(_fog, (0.2, 0.34, 0.47, 0.59, 0.70)),
    "desaturation": Corruption(_desaturation, (0.3, 0.5, 0.7, 0.85, 1.0), colour=True),
    "spatter": Corruption(_spatter, (0.04, 0.08, 0.13, 0.18, 0.24)),
    "jpeg": Corruption(_jpeg, (50, 34, 24, 17, 12), power=-0.35),
    "pixelate": Corruption(_pixelate, (3.57, 4.55, 5.26, 5.88, 7.69)),
}
