"""Kinds of model files that are no ONNX, told by their first bytes, each with the way to ONNX."""

from __future__ import annotations

from ferlab.paths import InputError

TORCH = "torch.onnx.export writes ONNX"
KERAS = "tf2onnx converts it"
BEGINNINGS: dict[bytes, tuple[str, str]] = {
    b"\x89HDF\r\n\x1a\n": ("a Keras model (HDF5)", KERAS),
    b"PK\x03\x04": ("a zip, as PyTorch's .pt and Keras's .keras are", f"{TORCH}, {KERAS.replace('it', 'Keras')}"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"\x80\x02": ("a Python pickle, as older PyTorch's .pt is", TORCH),
    b"\x80\x04": ("a Python pickle", TORCH),
    b"version https://git-lfs": ("a pointer of Git LFS", "git lfs pull fetches the model"),
    b"{": ("JSON, as TensorFlow.js's model.json is", "convert the model with its weights"),
    b"<": ("a page or XML", "fetch the file itself"),
}


def check_kind(content: bytes, *, where: str) -> None:
    """Refuse a file that is plainly of another kind.

    Raises:
        InputError: If it is HDF5, a zip, a gzip archive, a pickle, TensorFlow Lite, safetensors, JSON, a page or a pointer of Git LFS.
    """
    found = next((kind for start, kind in BEGINNINGS.items() if content.startswith(start)), None)
    if content[4:8] == b"TFL3":
        found = ("a TensorFlow Lite model", KERAS)
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content):
        found = ("safetensors, weights without a graph", f"load them into their model, then {TORCH}")
    if found:
        raise InputError(f"{where}: is {found[0]}; expected ONNX: {found[1]}")
