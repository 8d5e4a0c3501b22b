"""Expressions of pictures or cropped faces from an ONNX file alone: no torch, no dataset, no params."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from ferlab.data.preparation.detection import Detector, crop_box
from ferlab.data.readers.images import read_plain_file
from ferlab.deployment.cards import MOST_BATCH, MOST_FILE, read_card
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.face_search import Box, Found, find_faces, read_picture
from ferlab.deployment.inputs import check_faces, prepare_faces
from ferlab.deployment.kinds import check_kind
from ferlab.deployment.trial import try_model
from ferlab.paths import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ferlab.deployment.face_steps import FaceSteps

SHIPPED = Path(__file__).parent / "weights" / "model.onnx"
CARD = "card.json"  # beside the shipped model: its facts and checksum
CONTROL = "control"  # Keep: `ferlab.data.faces` has it too and starts pandas; a test compares the two
SYNTHETIC = ("smote", "adasyn")  # sources of samples interpolated from other faces
DRAWN = "it was trained on control faces alone, which are synthetic; its predictions for photographs are untested"
OFF = 1e-3  # tolerance of probabilities outside [0, 1] and of their sum: rounding, also of an int8 model
AGAIN = "get the folder again (git checkout -- src/ferlab/deployment/weights, or install ferlab again)"


@dataclass(frozen=True)
class ReadFace:
    """One face of a picture with its prediction.

    Attributes:
        box: x, y, width, height in pixels of the upright picture; it may extend beyond the picture.
        probs: float32 (K,), in the order of `expressions`; calibrated where the model's card has a temperature.
        expressions: The K names.
        score: The detector's (`ferlab.data.preparation.detection.Detections`); None where nothing was searched.
        uncertain: Whether the model abstains: its confidence is below the threshold of its card.
    """

    box: Box
    probs: np.ndarray
    expressions: tuple[str, ...]
    score: float | None = None
    uncertain: bool = False

    def likeliest(self, count: int) -> tuple[str, ...]:
        """Return the `count` most probable expressions in descending order; ties in the order of `expressions`."""
        return tuple(self.expressions[place] for place in np.argsort(-self.probs, kind="stable")[:count])


@dataclass(frozen=True)
class ReadPicture:
    """The predictions of one picture.

    Attributes:
        faces: From left to right.
        smallest: Side in pixels of the smallest face searched for; None where nothing was searched.
        size: Width and height of the picture in pixels.
    """

    faces: list[ReadFace]
    smallest: int | None
    size: tuple[int, int]


def read_model(path: Path) -> bytes:
    """Return an ONNX file in the form of our exports: as it is, or adopted where it was made elsewhere and a card lies beside it.

    Raises:
        InputError: If it is missing or a file of another kind, or as `ferlab.deployment.foreign.adopt`.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; `python -m ferlab.pipeline deploy --run NAME` writes models/NAME/model.onnx")
    content = read_plain_file(path, most=MOST_FILE, expected="a model as .onnx")
    check_kind(content, where=str(path))
    if not (card := path.with_suffix(".yaml")).is_file():
        return content
    from ferlab.deployment.foreign import adopt  # Keep: for models made elsewhere alone

    return adopt(content, card, where=str(path))


def _open_session(path: Path, *, threads: int, batch: int | None) -> tuple[onnxruntime.InferenceSession, int]:
    """Open an ONNX file on the CPU; return the session and the number of faces per call: `batch`, or what a trial of the file finds."""
    content = read_model(path)
    batch = batch or try_model(content, where=str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]), batch
    except Exception as error:  # noqa: BLE001 (the runtime raises a dozen types of its own, none with a common base)
        raise InputError(f"{path}: not an ONNX file that the runtime can open ({' '.join(str(error).split())[:120]})") from None


@dataclass
class Predictor:
    """A model ready for inference; make one with `Predictor.load`.

    Attributes:
        session: The opened file.
        expressions: The K names.
        size: Side of the network's input.
        channels: 1 or 3.
        batch: Faces per call of the runtime, at most.
        where: The model's name in errors.
        steps: Preparation of the training faces; None where the card records none.
        notes: Limits of the predictions, a line each: trained on control faces alone, a step of the preparation replaced.
        confidence: Temperature, threshold and precisions of its card.
    """

    session: onnxruntime.InferenceSession
    expressions: tuple[str, ...]
    size: int
    channels: int
    batch: int = MOST_BATCH
    where: str = "the model"
    steps: FaceSteps | None = None
    notes: tuple[str, ...] = ()
    confidence: Confidence = field(default_factory=Confidence)

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int = 1) -> Predictor:
        """Open a model written by `ferlab.deployment.export.export_onnx`, or one made elsewhere with a card (`ferlab.deployment.foreign`).

        Args:
            path: The file; None for the shipped model.
            threads: CPU threads.

        Raises:
            InputError: If the file is missing, broken or not one of ours, or its card contradicts its graph; for None, as `shipped_card`.
        """
        checked = shipped_card().get("batch") if path is None else None  # Keep: a trial takes as long as all else; the checksum is of a tried file
        path = SHIPPED if path is None else Path(path)
        session, batch = _open_session(path, threads=threads, batch=checked)
        metadata = session.get_modelmeta().custom_metadata_map
        card = read_card(metadata, inputs=session.get_inputs(), outputs=session.get_outputs(), where=str(path))
        known = {"expressions": tuple(card["expressions"]), "size": card["size"], "channels": card["channels"]}
        known["confidence"] = Confidence.from_card(card, where=str(path))
        return cls(session, **known, batch=batch, where=str(path), **_steps_of(card, where=str(path)))

    def predict_faces(self, faces: np.ndarray, *, flip: bool = False, raw: bool = False) -> np.ndarray:
        """Return the probability of each expression in cropped faces.

        The faces are prepared like the training faces after their crop (colour, size, equalisation, blur) and resized to the network's input;
        nothing is detected or aligned. For faces of a store use `predict_prepared`.

        Args:
            faces: uint8 (N, H, W), or (N, H, W, 3) in RGB; any H and W, N may be 0.
            flip: Average over each face and its mirror image: slightly better, twice the time.
            raw: Whether the temperature of the model's card, if it has one, is not applied; no prediction depends on it.

        Returns:
            float32 (N, K), rows sum to 1, columns in the order of `expressions`.

        Raises:
            InputError: If the shape or dtype is another, or the model returns no probabilities.
        """
        check_faces(faces)
        return self.predict_prepared(self.steps.change(faces) if self.steps else faces, flip=flip, raw=raw)

    def predict_prepared(self, faces: np.ndarray, *, flip: bool = False, raw: bool = False) -> np.ndarray:
        """Return the probability of each expression in prepared faces, as a store holds them; otherwise as `predict_faces`."""
        return self.predict_inputs(prepare_faces(faces, size=self.size, channels=self.channels), flip=flip, raw=raw)

    def prepare_boxes(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        """Return the network's input for the faces in some boxes of a picture, cropped or aligned and prepared like the training faces.

        Args:
            picture: uint8 (H, W) or (H, W, 3) in RGB.
            boxes: x, y, width, height of each, in pixels; they may extend beyond the picture.

        Returns:
            float32 (N, C, S, S) in [0, 1], S being `size`.
        """
        crops = self.steps.cut(picture, boxes) if self.steps else [crop_box(picture, box) for box in boxes]
        inputs = [prepare_faces(crop[None], size=self.size, channels=self.channels) for crop in crops]
        return np.concatenate(inputs) if inputs else np.zeros((0, self.channels, self.size, self.size), np.float32)

    def predict_inputs(self, inputs: np.ndarray, *, flip: bool = False, raw: bool = False) -> np.ndarray:
        """Return the probability of each expression for the network's input, float32 (N, C, S, S); otherwise as `predict_faces`."""
        probs = self._run(inputs)
        probs = (probs + self._run(inputs[..., ::-1])) / 2 if flip else probs
        return probs if raw else self.confidence.calibrate(probs)

    def predict_image(
        self, image: str | Path | np.ndarray, *, whole: bool = False, flip: bool = True, detector: Detector | None = None
    ) -> list[ReadFace]:
        """Return the faces of `read_image`, from left to right; an empty list if none is found."""
        return self.read_image(image, whole=whole, flip=flip, detector=detector).faces

    def read_image(
        self, image: str | Path | np.ndarray, *, whole: bool = False, flip: bool = True, detector: Detector | None = None, small: bool = False
    ) -> ReadPicture:
        """Find the faces of a picture (`ferlab.deployment.face_search`), prepare them (`ferlab.deployment.face_steps`) and predict each.

        Args:
            image: A path, or uint8 (H, W) or (H, W, 3) in RGB.
            whole: Whether the picture is one cropped face.
            flip: Average over each face and its mirror image.
            detector: From `ferlab.data.preparation.detection.open_detector`; None for that of the training dataset, or Haar.
            small: See `ferlab.deployment.face_search.find_faces`.

        Raises:
            InputError: If the file is missing or no picture, the pixels have another shape or dtype, or the model returns no probabilities.
        """
        picture = read_picture(image)
        size = (picture.shape[1], picture.shape[0])
        if whole:
            found, rows = Found([(0, 0, *size)], [None], None), self.predict_faces(picture[None], flip=flip)
        else:
            found = find_faces(picture, detector or (self.steps.detector if self.steps else None), small=small)
            crops = self.steps.cut(picture, found.boxes) if self.steps else [crop_box(picture, box) for box in found.boxes]
            rows = [self.predict_prepared(crop[None], flip=flip)[0] for crop in crops]
        uncertain = [bool(self.confidence.abstains(row[None])[0]) for row in rows]
        read = zip(found.boxes, rows, found.scores, uncertain, strict=True)
        faces = [ReadFace(box, row, self.expressions, score, unsure) for box, row, score, unsure in read]
        return ReadPicture(faces=faces, smallest=found.smallest, size=size)

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        batches = (np.ascontiguousarray(prepared[start : start + self.batch]) for start in range(0, len(prepared), self.batch))
        probs = [self._run_batch(batch) for batch in batches]
        return np.concatenate(probs) if probs else np.zeros((0, len(self.expressions)), dtype=np.float32)

    def _run_batch(self, faces: np.ndarray) -> np.ndarray:
        try:
            probs = self.session.run(None, {"faces": faces})[0]
        except Exception as error:  # noqa: BLE001 (as in `_open_session`: the runtime's own types)
            raise InputError(f"{self.where}: cannot be run ({' '.join(str(error).split())[:120]}); export the model again") from None
        if probs.shape != (expected := (len(faces), len(self.expressions))):
            raise InputError(f"{self.where}: returns {probs.shape} for {len(faces)} faces; expected {expected}. Export the model again.")
        if not np.isfinite(probs).all():
            raise InputError(f"{self.where}: returns NaN or infinity; expected probabilities. Train or export the model again.")
        if probs.min() < -OFF or np.abs(probs.sum(axis=1) - 1).max() > OFF:
            raise InputError(f"{self.where}: returns numbers from {probs.min():.3g} whose sum is {probs[0].sum():.3g}; expected probabilities.")
        return probs


def _steps_of(card: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Return `steps` and `notes` of a card; the reader of steps, which needs pandas and pydantic, is imported for a card that has some."""
    notes, steps = source_notes(card.get("sources", ())), None
    if card.get("preparation"):
        from ferlab.deployment.face_steps import read_steps

        steps = read_steps(card["preparation"], where=where)
    return {"steps": steps, "notes": (*notes, *(steps.notes if steps else ()))}


def source_notes(sources: Sequence[str]) -> tuple[str, ...]:
    """Return a note where a model was trained on control faces alone."""
    met = [source for source in sources if source not in SYNTHETIC]
    return (DRAWN,) if met and all(source.split(":")[0] == CONTROL for source in met) else ()


def shipped_card() -> dict[str, Any]:
    """Return the card of the shipped model: training data, scores, cost and limits.

    Raises:
        InputError: If no model ships, its card is missing or broken, or the model's checksum differs from the card's.
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
        raise InputError(f"{SHIPPED}: changed or cut: its sha256 is {found[:12]}..., its card states {str(expected)[:12]}...; {AGAIN}")
    return card
