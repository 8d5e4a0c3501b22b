"""Expressions from pictures or cropped faces with an ONNX file and nothing else: no torch, no dataset, no params."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from ferlab.data.preparation.detection import Detector, crop_box
from ferlab.data.readers.images import read_plain_file
from ferlab.deployment.face_search import Box, Found, find_faces, read_picture
from ferlab.deployment.inputs import check_faces, prepare_faces
from ferlab.deployment.model_files import MOST_BATCH, MOST_FILE, read_card
from ferlab.deployment.trial import try_model
from ferlab.paths import InputError

if TYPE_CHECKING:
    from ferlab.deployment.face_steps import FaceSteps

SHIPPED = Path(__file__).parent / "weights" / "model.onnx"
CARD = "card.json"  # beside the model that ships: what it is, how good, and its checksum
OFF = 1e-3  # how far probabilities may lie outside [0, 1] and their sum from 1: rounding, also that of an int8 model
AGAIN = "get the folder again (git checkout -- src/ferlab/deployment/weights, or install ferlab again)"


@dataclass(frozen=True)
class ReadFace:
    """One face of a picture and what the model says of it.

    Attributes:
        box: x, y, width, height in pixels of the upright picture; it may leave the picture.
        probs: float32 (K,), in the order of `expressions`.
        expressions: The K names.
        score: How sure the detector is that it is a face (`ferlab.data.preparation.detection.Detections`); None where nothing was searched.
    """

    box: Box
    probs: np.ndarray
    expressions: tuple[str, ...]
    score: float | None = None

    @property
    def top3(self) -> tuple[str, ...]:
        """The three likeliest expressions, the likeliest first."""
        return self.likeliest(3)

    def likeliest(self, count: int) -> tuple[str, ...]:
        """Return the `count` likeliest expressions, the likeliest first; ties in the order of `expressions`."""
        return tuple(self.expressions[place] for place in np.argsort(-self.probs, kind="stable")[:count])


@dataclass(frozen=True)
class ReadPicture:
    """What became of one picture.

    Attributes:
        faces: From left to right; empty if none was found.
        smallest: Side in pixels of the smallest face that was looked for; None where nothing was searched.
        size: The picture's width and height in pixels.
    """

    faces: list[ReadFace]
    smallest: int | None
    size: tuple[int, int]


def open_session(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads within an operation; operations run one after another.

    Raises:
        InputError: If the file is missing, not ONNX, or not one that may be run (`ferlab.deployment.model_files`).
    """
    return _open_checked(path, threads=threads)[0]


def _open_checked(path: Path, *, threads: int) -> tuple[onnxruntime.InferenceSession, int]:
    """Return the session and how many faces a call may have."""
    if not path.exists():
        raise InputError(f"{path}: no such file; `python -m ferlab.pipeline deploy --run NAME` writes models/NAME/model.onnx")
    content = read_plain_file(path, most=MOST_FILE, expected="a model as .onnx")
    batch = try_model(content, where=str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]), batch
    except Exception as error:  # noqa: BLE001 (the runtime raises a dozen types of its own, none with a common base)
        raise InputError(f"{path}: not an ONNX file that the runtime can open ({' '.join(str(error).split())[:120]})") from None


class Predictor:
    """A model that is ready to read faces; make one with `Predictor.load`.

    Attributes:
        steps: What a face is taken through before the network's own size, channels and scale; None where the model's card records none.
        notes: What a user should know of it, a line each: that it has met drawn faces alone, what of its set's preparation is replaced.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        expressions: tuple[str, ...],
        size: int,
        channels: int,
        batch: int = MOST_BATCH,
        where: str = "the model",
        steps: FaceSteps | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.session = session
        self.batch = batch
        self.where = where
        self.expressions = expressions
        self.size = size
        self.channels = channels
        self.steps = steps
        self.notes = notes

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int = 1) -> Predictor:
        """Open a model written by `ferlab.deployment.export.export_onnx`.

        Args:
            path: The file; None for the model that ships.
            threads: CPU threads.

        Raises:
            InputError: If the file is missing, broken, not one of ours, or its card is not true of its graph; if None is given and no model
                ships, or it is not the one its card was written for.
        """
        if path is None:
            shipped_card()
        path = SHIPPED if path is None else Path(path)
        session, batch = _open_checked(path, threads=threads)
        metadata = session.get_modelmeta().custom_metadata_map
        card = read_card(metadata, inputs=session.get_inputs(), outputs=session.get_outputs(), where=str(path))
        known = {"expressions": tuple(card["expressions"]), "size": card["size"], "channels": card["channels"]}
        return cls(session, **known, batch=batch, where=str(path), **_steps_of(card, where=str(path)))

    def predict_faces(self, faces: np.ndarray, *, flip: bool = False) -> np.ndarray:
        """Return the probability of each expression in cropped faces.

        They are taken through the steps that the model's set took behind its crop (colour, size, equalisation, blur), then to the network's
        size and channels; nothing is searched for, cut or aligned. Faces that a set's store holds have been through: `predict_prepared`.

        Args:
            faces: uint8 (N, H, W), or (N, H, W, 3) in RGB; any H and W, N may be 0.
            flip: Average each face with its mirror image: somewhat better, twice the time.

        Returns:
            float32 (N, K), rows sum to 1, columns in the order of `expressions`.

        Raises:
            InputError: If the shape or dtype is another, or the model answers NaN or what are no probabilities.
        """
        check_faces(faces)
        return self.predict_prepared(self.steps.change(faces) if self.steps else faces, flip=flip)

    def predict_prepared(self, faces: np.ndarray, *, flip: bool = False) -> np.ndarray:
        """Return the probability of each expression in faces as the store of the model's set holds them; otherwise as `predict_faces`."""
        prepared = prepare_faces(faces, size=self.size, channels=self.channels)
        probs = self._run(prepared)
        return (probs + self._run(prepared[..., ::-1])) / 2 if flip else probs

    def predict_image(
        self, image: str | Path | np.ndarray, *, whole: bool = False, flip: bool = True, detector: Detector | None = None
    ) -> list[ReadFace]:
        """Find the faces of a picture and read each: the faces of `read_image`, from left to right; an empty list if none is found."""
        return self.read_image(image, whole=whole, flip=flip, detector=detector).faces

    def read_image(
        self,
        image: str | Path | np.ndarray,
        *,
        whole: bool = False,
        flip: bool = True,
        detector: Detector | None = None,
        small: bool = False,
    ) -> ReadPicture:
        """Find the faces of a picture and read each, prepared as the faces that the model was trained on.

        How they are found is stated in `ferlab.deployment.face_search`, with what steps each is prepared in `ferlab.deployment.face_steps`.

        Args:
            image: A path, or uint8 (H, W) or (H, W, 3) in RGB.
            whole: Whether the picture is a face already: nothing is searched for.
            flip: Average each face with its mirror image.
            detector: From `ferlab.data.preparation.detection.open_detector`; None is that of the model's set where it has one, else Haar
                with cs231a's parameters.
            small: See `ferlab.deployment.face_search.find_faces`.

        Raises:
            InputError: If the file is missing or no picture, the pixels have another shape or dtype, or the model answers no probabilities.
        """
        picture = read_picture(image)
        size = (picture.shape[1], picture.shape[0])
        if whole:
            found, rows = Found([(0, 0, *size)], [None], None), self.predict_faces(picture[None], flip=flip)
        else:
            found = find_faces(picture, detector or (self.steps.detector if self.steps else None), small=small)
            crops = self.steps.cut(picture, found.boxes) if self.steps else [crop_box(picture, box) for box in found.boxes]
            rows = [self.predict_prepared(crop[None], flip=flip)[0] for crop in crops]
        faces = [ReadFace(box, row, self.expressions, score) for box, row, score in zip(found.boxes, rows, found.scores, strict=True)]
        return ReadPicture(faces=faces, smallest=found.smallest, size=size)

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        batches = (np.ascontiguousarray(prepared[start : start + self.batch]) for start in range(0, len(prepared), self.batch))
        answers = [self._answer(batch) for batch in batches]
        return np.concatenate(answers) if answers else np.zeros((0, len(self.expressions)), dtype=np.float32)

    def _answer(self, faces: np.ndarray) -> np.ndarray:
        try:
            probs = self.session.run(None, {"faces": faces})[0]
        except Exception as error:  # noqa: BLE001 (as in `open_session`: the runtime's own types)
            raise InputError(f"{self.where}: cannot be run ({' '.join(str(error).split())[:120]}); export the model again") from None
        if probs.shape != (len(faces), len(self.expressions)):
            expected = (len(faces), len(self.expressions))
            raise InputError(f"{self.where}: answers {probs.shape} for {len(faces)} faces; expected {expected}. Export the model again.")
        if not np.isfinite(probs).all():
            raise InputError(f"{self.where}: answers NaN or infinity; expected probabilities. Train or export the model again.")
        if probs.min() < -OFF or np.abs(probs.sum(axis=1) - 1).max() > OFF:
            raise InputError(f"{self.where}: answers numbers from {probs.min():.3g} whose sum is {probs[0].sum():.3g}; expected probabilities.")
        return probs


def _steps_of(card: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Return `steps` and `notes` of a card; what reads them is imported only for a card that has some."""
    if not (card.get("preparation") or card.get("sources")):
        return {}
    from ferlab.deployment.face_steps import read_steps, source_notes

    steps = read_steps(card.get("preparation"), where=where)
    return {"steps": steps, "notes": (*source_notes(card.get("sources", ())), *(steps.notes if steps else ()))}


def shipped_card() -> dict[str, Any]:
    """Return the card of the model that ships: what it was fitted on, how good it is, what it cost, its limits.

    Raises:
        InputError: If no model ships, its card is missing or broken, or the model is not the file that the card was written for.
    """
    if not SHIPPED.is_file():
        raise InputError("no model ships with this version of ferlab; name one, e.g. models/<run>/model.onnx (--model, or Predictor.load's path)")
    path = SHIPPED.with_name(CARD)
    try:
        card = json.loads(path.read_text())
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: missing or broken, so the model beside it cannot be checked; {AGAIN}") from None
    found = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    if found != expected:
        raise InputError(f"{SHIPPED}: changed or cut: its sha256 is {found[:12]}..., its card says {str(expected)[:12]}...; {AGAIN}")
    return card
