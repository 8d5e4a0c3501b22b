"""An int8 variant of an exported net: weights by channel, activations by tensor, scales from faces it was fitted on.

Static quantisation in the QDQ form (Jacob et al. 2018): convolutions, products and what lies between them are computed on 8-bit integers,
normalisation and softmax stay in float32. Activations are unsigned and weights signed: with signed activations the runtime leaves six of the
compact model's ten convolutions in float32 on x86 processors. Weights keep to 7 bits, so that sums of two products fit 16 and a processor without
VNNI answers as others do; on 900 control faces 98.9 and 99.4 % of two five-layer models' labels stay (8 bits: 99.1 and 99.2). The file has a fourth
of the bytes. Whether it is faster hangs on the processor and the net: with VNNI one face takes the compact model .42 ms in place of 1.5, and the
five-layer model .5 in place of .3.

References:
    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv:1712.05877.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ferlab.deployment.inputs import prepare_faces
from ferlab.deployment.predictor import Predictor
from ferlab.paths import InputError, write_whole

BATCH = 32  # faces a call while scales are found: bounds memory, not results
OPERATIONS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool")


class CalibrationFaces(CalibrationDataReader):
    """Prepared faces, batch by batch, as the runtime asks for them."""

    def __init__(self, prepared: np.ndarray) -> None:
        self.batches = ({"faces": prepared[start : start + BATCH]} for start in range(0, len(prepared), BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, None behind the last."""
        return next(self.batches, None)


def quantise(source: Path, path: Path, faces: np.ndarray) -> int:
    """Write the int8 variant of an exported model. The same model and faces give the same bytes.

    Args:
        source: The float32 file, from `ferlab.deployment.export.export_onnx`.
        path: The file to write; it appears whole or not at all.
        faces: uint8 (N, H, W) or (N, H, W, 3) from the split the model was fitted on; the range of each activation is taken from them.

    Returns:
        The file's size in bytes.

    Raises:
        InputError: If the source is not one of ours, or there are no faces.
    """
    if len(faces) == 0:
        raise InputError(f"{path}: no faces to find the range of the activations; expected some of those the model was fitted on")
    net = Predictor.load(source)
    reader = CalibrationFaces(prepare_faces(faces, size=net.size, channels=net.channels))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        folded, integer = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded), str(integer), reader, quant_format=QuantFormat.QDQ, per_channel=True, op_types_to_quantize=list(OPERATIONS),
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True, calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip
        proto = onnx.load(integer)
    card = {prop.key: prop.value for prop in onnx.load(source, load_external_data=False).metadata_props}
    onnx.helper.set_model_props(proto, card)
    onnx.checker.check_model(proto)
    content = proto.SerializeToString(deterministic=True)
    write_whole(path, content)
    return len(content)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's prints and advice; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
