"""Expressions from cropped faces with an ONNX file and nothing else: no torch, no dataset, no params."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from ferlab.deployment.inputs import prepare_faces
from ferlab.paths import InputError

SHIPPED = Path(__file__).parent / "weights" / "model.onnx"
BATCH = 256  # faces a call of the runtime: bounds memory, not results


def open_session(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads within an operation; operations run one after another.

    Raises:
        InputError: If the file is missing or not ONNX.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python -m ferlab.pipeline deploy --run NAME` writes models/NAME/model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (the runtime raises a dozen types of its own, none with a common base)
        raise InputError(f"{path}: not an ONNX file that the runtime can open ({' '.join(str(error).split())[:120]})") from None


class Predictor:
    """A net that is ready to read faces; make one with `Predictor.load`."""

    def __init__(self, session: onnxruntime.InferenceSession, *, expressions: tuple[str, ...], size: int, channels: int) -> None:
        self.session = session
        self.expressions = expressions
        self.size = size
        self.channels = channels

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int = 1) -> Predictor:
        """Open a net written by `ferlab.deployment.export.export_onnx`.

        Args:
            path: The ONNX file; None means the net that ships with ferlab.
            threads: CPU threads.

        Raises:
            InputError: If the file is missing, broken, or not one of ours; if None is given and no net ships.
        """
        if path is None and not SHIPPED.is_file():
            raise InputError("no net ships with this version of ferlab; give a path, e.g. Predictor.load('models/<run>/model.onnx')")
        path = SHIPPED if path is None else Path(path)
        session = open_session(path, threads=threads)
        try:
            card = json.loads(session.get_modelmeta().custom_metadata_map["ferlab"])
            return cls(session, expressions=tuple(card["expressions"]), size=card["size"], channels=card["channels"])
        except (KeyError, json.JSONDecodeError):
            raise InputError(f"{path}: no ferlab card in its metadata; expected a file written by the deploy stage") from None

    def predict_faces(self, faces: np.ndarray) -> np.ndarray:
        """Return the probability of each expression.

        Args:
            faces: uint8 cropped faces (N, H, W), or (N, H, W, 3) in RGB; any H and W, N may be 0.

        Returns:
            float32 (N, K), rows sum to 1, columns in the order of `expressions`.

        Raises:
            InputError: If the shape or dtype is another.
        """
        prepared = prepare_faces(faces, size=self.size, channels=self.channels)
        answers = [self.session.run(None, {"faces": prepared[start : start + BATCH]})[0] for start in range(0, len(prepared), BATCH)]
        return np.concatenate(answers) if answers else np.zeros((0, len(self.expressions)), dtype=np.float32)
