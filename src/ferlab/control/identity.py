"""Subjects of the control faces: proportions, tones and styles, sampled from (seed, subject).

Lengths are in face units: the picture spans -1 to 1 both ways, x to the right, y down. Their spread over subjects is of the
size of a weak expression's movement, so that a weak expression cannot be read without knowing the subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

HAIR_STYLES: tuple[str, ...] = ("short", "bald", "fringe", "side", "long", "cap")
HAIR_SHARES: tuple[float, ...] = (0.28, 0.07, 0.15, 0.18, 0.24, 0.08)
BEARDS: tuple[str, ...] = ("none", "stubble", "moustache", "full")
BEARD_SHARES: tuple[float, ...] = (0.58, 0.18, 0.11, 0.13)
SKIN_ALBEDO: tuple[float, ...] = (0.82, 0.72, 0.60, 0.47, 0.34, 0.23)
"""Reflectance of skin tones 1 (lightest) to 6."""

_IDENTITY = 1  # stream of random numbers, apart from those of `specs`

# Mean and standard deviation over subjects, in face units unless the comment says otherwise.
_IDENTITY_SPREAD: dict[str, tuple[float, float]] = {
    "face_width": (0.59, 0.033),  # half
    "jaw": (3.0, 0.4),  # exponent of the lower outline: larger is squarer
    "chin_y": (0.86, 0.03),
    "hairline": (-0.62, 0.05),
    "eye_x": (0.265, 0.016),
    "eye_y": (-0.14, 0.018),
    "eye_width": (0.122, 0.009),  # half
    "eye_open": (0.060, 0.007),
    "eye_tilt": (0.0, 0.016),
    "brow_gap": (0.165, 0.016),
    "brow_thickness": (0.036, 0.008),
    "brow_arch": (0.030, 0.012),
    "brow_slope": (0.0, 0.016),
    "nose_y": (0.20, 0.022),
    "nose_width": (0.118, 0.014),
    "nose_height": (0.15, 0.02),
    "mouth_y": (0.475, 0.022),
    "mouth_width": (0.225, 0.020),  # half
    "upper_lip": (0.040, 0.009),
    "lower_lip": (0.056, 0.010),
    "mouth_curve": (0.0, 0.012),
    "cheeks": (1.0, 0.3),  # times the mean bulge
    "asymmetry": (0.0, 0.010),
}


@dataclass(frozen=True)
class Identity:
    """A subject: proportions in face units, tones as reflectance 0 to 1, styles by name."""

    face_width: float
    jaw: float
    chin_y: float
    hairline: float
    eye_x: float
    eye_y: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    brow_gap: float
    brow_thickness: float
    brow_arch: float
    brow_slope: float
    nose_y: float
    nose_width: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    mouth_curve: float
    cheeks: float
    asymmetry: float
    age: float  # 0 smooth to 1 deeply lined
    skin: int  # 1 lightest to 6
    skin_albedo: float
    hair_albedo: float
    iris_albedo: float
    hair: str
    beard: str
    glasses: bool
    texture: int  # offset into the skin and hair texture


@lru_cache(maxsize=4096)
def sample_identity(seed: int, subject: int) -> Identity:
    """Draw the subject with this number; the same for every face, size and number of subjects."""
    rng = np.random.default_rng([seed, _IDENTITY, subject])
    lengths = {
        name: mean + spread * float(np.clip(rng.normal(), -2, 2)) for name, (mean, spread) in _IDENTITY_SPREAD.items()
    }
    skin = int(rng.integers(1, len(SKIN_ALBEDO) + 1))
    age = float(rng.beta(1.6, 2.4))
    darkest_hair = 0.05 + 0.05 * float(rng.random())
    lightness = float(rng.beta(1.2, 2.0)) if skin <= 3 else 0.0
    grey = 0.35 if age > 0.6 and rng.random() < 0.5 else 0.0
    hair, beard = str(rng.choice(HAIR_STYLES, p=HAIR_SHARES)), str(rng.choice(BEARDS, p=BEARD_SHARES))
    return Identity(
        **lengths,
        age=age,
        skin=skin,
        skin_albedo=SKIN_ALBEDO[skin - 1] * float(rng.uniform(0.95, 1.05)),
        hair_albedo=darkest_hair + 0.35 * lightness + grey,
        iris_albedo=float(rng.uniform(0.05, 0.30)) if skin <= 3 else 0.06,
        hair=hair,
        beard=beard if hair not in {"long", "fringe"} else "none",
        glasses=bool(rng.random() < 0.15),
        texture=int(rng.integers(1 << 16)),
    )
