"""A model as the live panels use it: the one that ships, a run of params.yaml, or a file by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferlab.data.preparation.detection import crop_box
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.predictor import SHIPPED, Predictor, read_model
from ferlab.params import load_params
from ferlab.paths import ROOT, SHIPS, InputError, artefact


@dataclass(frozen=True)
class LiveModel:
    """A loaded model and the file that the browser runs.

    Attributes:
        name: "shipped", the run, or the file's name.
        predictor: The model in the kernel.
        content: The ONNX file; of a model made elsewhere, as it was adopted.
        path: The file on disk.
    """

    name: str
    predictor: Predictor
    content: bytes
    path: Path

    @classmethod
    def load(cls, name: str | Path | None = None) -> LiveModel:
        """Load a model.

        Args:
            name: None or "shipped" for the model that ships, a run of params.yaml that has been deployed, or the path of an ONNX file.

        Raises:
            InputError: As `Predictor.load`; a run that was not deployed.
        """
        shown = SHIPS if name is None else str(name)
        path = SHIPPED if shown == SHIPS else Path(shown) if shown.endswith(".onnx") else artefact("deploy", "onnx", shown)
        if not path.is_file() and not shown.endswith(".onnx"):
            known = ", ".join(known_models())
            raise InputError(f"{shown}: no deployed run of this name; known: {known}. `dvc repro` deploys the runs of params.yaml.")
        predictor = Predictor.load(None if shown == SHIPS else path)
        return cls(path.parent.name if shown.endswith(".onnx") else shown, predictor, read_model(path), path)

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.predictor.expressions

    @property
    def temperature(self) -> float:
        """By which the browser calibrates; 1 where none was fitted."""
        return self.confidence.temperature or 1.0

    @property
    def threshold(self) -> float:
        """The confidence below which a prediction is uncertain; 0 where no threshold was fitted."""
        return self.confidence.threshold or 0.0

    @property
    def confidence(self) -> Confidence:
        """What the model's confidences are worth, by its card."""
        return self.predictor.confidence

    def predict(self, picture: np.ndarray, box: tuple[float, float, float, float], *, flip: bool = True) -> np.ndarray:
        """Return float32 (K,) for one box (x, y, width, height) of a picture, cropped and prepared as the browser does.

        Args:
            picture: uint8 (H, W) or (H, W, 3) in RGB.
            box: In pixels; it may extend beyond the picture.
            flip: Average over the face and its mirror image.

        Raises:
            InputError: As `ferlab.data.preparation.detection.crop_box`.
        """
        whole = tuple(round(value) for value in box)
        return self.predictor.predict_faces(crop_box(picture, whole)[None], flip=flip)[0]


def known_models() -> list[str]:
    """Return "shipped" and the deployed runs of params.yaml, then the models of models/peers."""
    runs = [run for run in load_params().runs if artefact("deploy", "onnx", run).is_file()] if (ROOT / "params.yaml").is_file() else []
    return [SHIPS, *runs, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "models" / "peers").glob("*/model.onnx")))]
