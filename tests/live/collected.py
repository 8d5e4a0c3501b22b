"""What the tests of collecting share: stills with control faces, a model that knows what it predicts, and people who agreed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ferlab.control import read as read_control_faces
from ferlab.expressions import EXPRESSIONS
from ferlab.live.collection.consent import Agreement
from ferlab.live.collection.storage import Collection
from ferlab.live.collection.taken import take_face
from ferlab.live.frames import LiveFace, Still

YES = Agreement(adult=True, research=True, publication=True)
BOX = (80.0, 60.0, 96.0, 96.0)


@dataclass(frozen=True)
class Model:
    """Predicts happy, always."""

    name: str = "shipped"
    content: bytes = b"a model"
    expressions: tuple[str, ...] = EXPRESSIONS

    def predict(self, picture: np.ndarray, box: tuple[float, ...], *, flip: bool = True) -> np.ndarray:
        assert picture.dtype == np.uint8
        return np.float32([0.05, 0.05, 0.05, 0.7, 0.05, 0.05, 0.05])


@cache
def drawn() -> tuple[np.ndarray, list[str]]:
    images, faces = read_control_faces(faces=14, subjects=2, size=96)
    return images, [EXPRESSIONS[target] for target in faces["target"]]


def still(number: int = 0, *, source: str = "camera", others: tuple[LiveFace, ...] = (), pose=(4.0, -2.0, 1.0), content: bytes = b"") -> Still:
    """A control face at BOX of a grey room."""
    room = np.full((240, 320, 3), 120, np.uint8)
    x, y, width, height = map(int, BOX)
    room[y : y + height, x : x + width] = drawn()[0][number][..., None]
    return Still(room, (LiveFace(0, BOX, 0.9, pose=pose), *others), 0, "", source, content)


def taken(number: int = 0, **options):
    return take_face(still(number, **options), Model(), prompt="sad")


def filled(folder: Path, *, people: int = 1, each: int = 2) -> tuple[Collection, dict[str, list[str]]]:
    """A collection with `each` faces of each person, all labelled as they were drawn; files by pseudonym."""
    collection, files = Collection(folder), {}
    for person in [collection.agree(YES) for _ in range(people)]:
        numbers = range(len(files) * each, (len(files) + 1) * each)
        files[person] = [collection.store(person, taken(number % 14), expression=drawn()[1][number % 14]) for number in numbers]
    return collection, files


def on_disk(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
