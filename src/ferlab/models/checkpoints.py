"""Weights as others hand them on: read without running anything, and renamed to what the models here are called.

Owns the formats (safetensors; PyTorch's own, weights only; a pickle of arrays) and the layouts, which are the names and conventions
a source uses. Does not own where a file comes from, nor what of it fits a net: `ferlab.models.hub` and `ferlab.models.pretrained`.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ferlab.paths import InputError

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "weights")  # where trainers put the weights among their own notes
PREFIXES = ("module.", "model.", "net.", "backbone.", "_orig_mod.")  # what wrappers put before every name
DAMAGED = (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError, MemoryError, OSError, struct.error)
RECONSTRUCT, FROM_BUFFER = np.empty(0).__reduce__()[0], np.empty(0).__reduce_ex__(5)[0]  # NumPy's own, whatever their module is called
HARMLESS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): FROM_BUFFER for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1") if encoding == "latin1" else None,
    ("collections", "OrderedDict"): OrderedDict,
}  # all that a pickle of arrays by name needs


@dataclass(frozen=True)
class Layout:
    """How a source names and feeds its nets.

    Attributes:
        rename: From its names to those here.
        classifier: Beginnings of its names of layers that tell its own classes apart; they are never wanted.
        colour: Order of the channels its first layer expects.
        variant: The option `variant` of the models it fits; None where there is but one.
        mean: Per channel in RGB, on the scale [0, 1]; None where it depends on the file.
        std: Likewise.
    """

    rename: Callable[[str], str]
    classifier: tuple[str, ...] = ()
    colour: str = "RGB"
    variant: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file by their names there, less what wrappers add.

    Raises:
        InputError: A missing, truncated or foreign file, one without weights, or one that would run code, which is not opened.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights as {', '.join(READERS)}")
    if path.suffix not in READERS:
        raise InputError(f"{path}: cannot tell what {path.suffix or 'a name without an ending'!r} holds; expected {', '.join(READERS)}")
    try:
        found = READERS[path.suffix](path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {_refusal(error)}") from None
    except (SafetensorError, *DAMAGED) as error:
        raise InputError(f"{path}: damaged or cut short ({_one_line(error)}); get the file again") from None
    weights = _unwrapped(found)
    if not weights:
        raise InputError(f"{path}: holds no weights by name; expected a state dict as {', '.join(READERS)}")
    return weights


def renamed(weights: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the weights under the names they have here, and the names, in the file, of those that tell its own classes apart."""
    dropped = tuple(name for name in weights if name.startswith(layout.classifier))
    return {layout.rename(name): tensor for name, tensor in weights.items() if name not in dropped}, dropped


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays by name. Asked for anything else it stops before it is looked up."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in HARMLESS:
            raise pickle.UnpicklingError(f"GLOBAL {module_name}.{global_name}")
        return HARMLESS[module_name, global_name]


def _torch(path: Path) -> Any:
    with warnings.catch_warnings(action="ignore"):  # of pickles it then refuses
        return torch.load(path, map_location="cpu", weights_only=True)


def _pickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found = _ArraysOnly(file, encoding="latin1").load()  # as Python 2 wrote it
    arrays = found.items() if isinstance(found, Mapping) else ()
    return {str(name): torch.from_numpy(np.array(a)) for name, a in arrays if isinstance(a, np.ndarray) and a.dtype.kind in "fiu"}


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".pth": _torch,
    ".pt": _torch,
    ".bin": _torch,
    ".ckpt": _torch,
    ".pkl": _pickle,
}


def _refusal(error: pickle.UnpicklingError) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked is None:
        return "damaged, or not what its ending says; get the file again, or have it saved as safetensors"
    return f"would run {asked[1]!r} when opened, so it was not; expected weights alone: have them saved as safetensors by someone you trust"


def _one_line(error: Exception) -> str:
    return re.split(r"\. |\n", str(error).strip())[0][:120] or type(error).__name__


def _unwrapped(found: Any) -> dict[str, Tensor]:
    """Return the tensors by name from inside what a trainer and its wrappers put around them."""
    for key in WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    weights = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    while shared := [prefix for prefix in PREFIXES if weights and all(name.startswith(prefix) for name in weights)]:
        weights = {name.removeprefix(shared[0]): tensor for name, tensor in weights.items()}
    return weights


def _by_torchvision(name: str) -> str:
    """torchvision numbers VGG16's layers; its residual models are named as here."""
    found = re.match(r"features\.(\d+)\.", name)
    return name if found is None else f"{VGG16_FEATURES.get(int(found[1]), found[0][:-1])}.{name[found.end() :]}"


def _by_vggface2(name: str) -> str:
    """VGGFace2-pytorch: torchvision's names, and conv4 and conv5 for the gates."""
    return re.sub(r"^(layer\d\.\d\.)conv([45])\.", lambda m: f"{m[1]}se.{'down' if m[2] == '4' else 'up'}.", name)


def _by_caffe(name: str) -> str:
    """pytorch-mcn: Caffe's names, conv3_1_1x1_reduce_bn for the normalisation layer2.0.bn1; VGG-Face's are as here."""
    if name.startswith("conv1_7x7_s2"):
        return name.replace("conv1_7x7_s2_bn", "bn1").replace("conv1_7x7_s2", "conv1")
    found = re.match(r"conv(\d)_(\d)_(\w+?)(_bn)?\.", name)
    if found is None or found[3] not in CAFFE_LAYERS:
        return name
    layer = CAFFE_LAYERS[found[3]][bool(found[4])]
    return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}.{layer}.{name[found.end() :]}"


VGG16_FEATURES = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        [f"conv{block}_{n}" for block, count in enumerate((2, 2, 3, 3, 3), start=1) for n in range(1, count + 1)],
    )
)
CAFFE_LAYERS = {  # its name -> the convolution, and its normalisation
    "1x1_reduce": ("conv1", "bn1"),
    "3x3": ("conv2", "bn2"),
    "1x1_increase": ("conv3", "bn3"),
    "1x1_proj": ("downsample.0", "downsample.1"),
    "1x1_down": ("se.down", ""),
    "1x1_up": ("se.up", ""),
}
VGGFACE2_MEAN = (131.0912 / 255, 103.8827 / 255, 91.4953 / 255)  # of resnet50_ft.prototxt, there in BGR and on 0 to 255
LAYOUTS: dict[str, Layout] = {
    "ferlab": Layout(rename=str),  # a weights file of this workspace, which holds its own mean and std
    "torchvision": Layout(
        rename=_by_torchvision,
        classifier=("fc.", "classifier."),
        variant="torchvision",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    "vggface2": Layout(
        rename=_by_vggface2, classifier=("fc.",), colour="BGR", variant="caffe", mean=VGGFACE2_MEAN, std=(1 / 255, 1 / 255, 1 / 255)
    ),
    "vgg_dag": Layout(rename=_by_caffe, classifier=("classifier.", "fc6.", "fc7.", "fc8."), variant="caffe"),
}
