"""Checkpoints of other programs, read without running code and renamed to the layers here.

Formats: safetensors; PyTorch's own, weights only; a pickle of arrays; a TensorFlow.js manifest. Layouts: the layer names and conventions of a source.
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

from ferlab.models.manifests import read_manifest
from ferlab.paths import InputError

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "weights")  # keys under which trainers store the weights
PREFIXES = ("module.", "model.", "net.", "backbone.", "_orig_mod.")  # of wrappers
DAMAGED = (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError, MemoryError, OSError, struct.error)
RECONSTRUCT, FROM_BUFFER = np.empty(0).__reduce__()[0], np.empty(0).__reduce_ex__(5)[0]  # NumPy's own
HARMLESS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): FROM_BUFFER for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1") if encoding == "latin1" else None,
    ("collections", "OrderedDict"): OrderedDict,
}  # all that a pickle of named arrays needs


@dataclass(frozen=True)
class Layout:
    """The conventions of a source.

    Attributes:
        rename: From its names to those here.
        classifier: Prefixes of the layers of its own classifier, which are dropped.
        colour: Order of the channels.
        variant: The option `variant` of the models it fits; None: any.
        mean: Per channel in RGB, on the scale [0, 1]; None: depends on the file.
        std: Likewise.
        convert: From its tensors to those of PyTorch's layers, before they are renamed.
    """

    rename: Callable[[str], str]
    classifier: tuple[str, ...] = ()
    colour: str = "RGB"
    variant: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file by their names there, without the prefixes of wrappers.

    Raises:
        InputError: A missing, truncated or foreign file, one without weights, or one that would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights as {', '.join(READERS)}")
    if path.suffix not in READERS:
        raise InputError(f"{path}: cannot tell what {path.suffix or 'a name without an ending'!r} holds; expected {', '.join(READERS)}")
    try:
        found = READERS[path.suffix](path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {_refusal(error)}") from None
    except InputError:
        raise
    except (SafetensorError, *DAMAGED) as error:
        raise InputError(f"{path}: damaged or cut short ({_one_line(error)}); get the file again") from None
    weights = _unwrapped(found)
    if not weights:
        raise InputError(f"{path}: holds no weights by name; expected a state dict as {', '.join(READERS)}")
    return weights


def renamed(weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the weights by their names here, without the classifier of the source.

    Raises:
        InputError: Tensors of another network, where the layout converts them.
    """
    return {layout.rename(name): tensor for name, tensor in layout.convert(weights).items() if not name.startswith(layout.classifier)}


class _ArraysOnly(pickle.Unpickler):
    """Reads named arrays; any other global is refused before it is looked up."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in HARMLESS:
            raise pickle.UnpicklingError(f"GLOBAL {module_name}.{global_name}")
        return HARMLESS[module_name, global_name]


def _torch(path: Path) -> Any:
    with warnings.catch_warnings(action="ignore"):  # about pickles, which it refuses
        return torch.load(path, map_location="cpu", weights_only=True)


def _pickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found = _ArraysOnly(file, encoding="latin1").load()  # also of Python 2
    arrays = found.items() if isinstance(found, Mapping) else ()
    return {str(name): torch.from_numpy(np.array(a)) for name, a in arrays if isinstance(a, np.ndarray) and a.dtype.kind in "fiu"}


def _manifest(path: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in read_manifest(path).items()}


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file, **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt"), _torch), ".pkl": _pickle, ".json": _manifest,
}  # fmt: skip


def _refusal(error: pickle.UnpicklingError) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked is None:
        return "damaged, or not what its ending says; get the file again, or have it saved as safetensors"
    return f"would run {asked[1]!r} when opened, so it was not; expected weights alone: have them saved as safetensors by someone you trust"


def _one_line(error: Exception) -> str:
    return re.split(r"\. |\n", str(error).strip())[0][:120] or type(error).__name__


def _unwrapped(found: Any) -> dict[str, Tensor]:
    """Return the tensors by name, out of a trainer's dict and without the prefixes of wrappers."""
    for key in WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    weights = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    while shared := [prefix for prefix in PREFIXES if weights and all(name.startswith(prefix) for name in weights)]:
        weights = {name.removeprefix(shared[0]): tensor for name, tensor in weights.items()}
    return weights


def _by_torchvision(name: str) -> str:
    """Rename torchvision's numbered layers of VGG16; its residual models have the names here."""
    found = re.match(r"features\.(\d+)\.", name)
    return name if found is None else f"{VGG16_FEATURES.get(int(found[1]), found[0][:-1])}.{name[found.end() :]}"


def _by_vggface2(name: str) -> str:
    """Rename VGGFace2-pytorch's gates, conv4 and conv5; the other names are torchvision's."""
    return re.sub(r"^(layer\d\.\d\.)conv([45])\.", lambda m: f"{m[1]}se.{'down' if m[2] == '4' else 'up'}.", name)


def _by_timm(name: str) -> str:
    """Rename timm's gates, 1x1 convolutions as here; the other names are torchvision's."""
    return re.sub(r"^(layer\d\.\d+\.se\.)fc([12])\.", lambda m: f"{m[1]}{'down' if m[2] == '1' else 'up'}.", name)


def _by_caffe(name: str) -> str:
    """Rename pytorch-mcn's layers, such as conv3_1_1x1_reduce_bn for layer2.0.bn1; VGG-Face's have the names here."""
    if name.startswith("conv1_7x7_s2"):
        return name.replace("conv1_7x7_s2_bn", "bn1").replace("conv1_7x7_s2", "conv1")
    found = re.match(r"conv(\d)_(\d)_(\w+?)(_bn)?\.", name)
    if found is None or found[3] not in CAFFE_LAYERS:
        return name
    layer = CAFFE_LAYERS[found[3]][bool(found[4])]
    return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}.{layer}.{name[found.end() :]}"


def _fold_scales(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold face-api's scales and shifts per channel into its convolutions: filters (H, W, I, O) to weights (O, I, H, W); the matrix of its
    descriptor, fc (I, O), to (O, I).
    """
    if "fc" not in weights:
        raise InputError("no tensor 'fc'; expected the weights of face-api's recognition network")
    folded = {"descriptor.weight": weights["fc"].T}
    for name in weights:
        layer, found, _ = name.partition("/conv/filters")
        if not found:
            continue
        try:
            filters, bias = weights[name], weights[f"{layer}/conv/bias"]
            scale, shift = weights[f"{layer}/scale/weights"], weights[f"{layer}/scale/biases"]
            folded |= {f"{layer}.weight": filters.permute(3, 2, 0, 1) * scale.view(-1, 1, 1, 1), f"{layer}.bias": bias * scale + shift}
        except KeyError as error:
            raise InputError(f"no tensor {error} beside {name}; expected the weights of face-api's recognition network") from None
        except RuntimeError:
            raise InputError(f"{name} {tuple(filters.shape)}: its bias or scale has another number of channels; get the file again") from None
    return folded


def _with_plain_stem(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Refuse timm's stems of three convolutions, which come with other shortcuts: what fits of them is no network here."""
    if stem := [name for name in weights if re.match(r"conv1\.\d+\.", name)]:
        raise InputError(f"{stem[0]}: a stem of several convolutions, as of timm's resnet50d; expected resnet50 or seresnet50, without a letter")
    return weights


def _of_plain_vgg16(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Refuse torchvision's other networks of numbered layers, as VGG16 with batch normalisation: some of their tensors fit layers of other places."""
    numbers = {name: int(found[1]) for name in weights if (found := re.match(r"features\.(\d+)\.", name))}
    if other := [name for name, number in numbers.items() if number not in VGG16_FEATURES]:
        raise InputError(f"{other[0]}: no layer of torchvision's vgg16; expected vgg16, without batch normalisation (vgg16_bn) or another depth")
    return weights


VGG16_LAYERS = [f"conv{block}_{n}" for block, count in enumerate((2, 2, 3, 3, 3), start=1) for n in range(1, count + 1)]
VGG16_FEATURES = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), VGG16_LAYERS))
CAFFE_LAYERS = {  # its name -> the convolution, and its normalisation
    "1x1_reduce": ("conv1", "bn1"),
    "3x3": ("conv2", "bn2"),
    "1x1_increase": ("conv3", "bn3"),
    "1x1_proj": ("downsample.0", "downsample.1"),
    "1x1_down": ("se.down", ""),
    "1x1_up": ("se.up", ""),
}
VGGFACE2_MEAN = (131.0912 / 255, 103.8827 / 255, 91.4953 / 255)  # of resnet50_ft.prototxt, there in BGR and on 0 to 255
FACE_API_MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)  # of FaceRecognitionNet.ts, which then divides by 255
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision, and of timm's ResNets and SE-ResNets
LAYOUTS: dict[str, Layout] = {
    "ferlab": Layout(rename=str),  # a weights file of ferlab, with its own mean and std
    "torchvision": Layout(
        _by_torchvision, ("fc.", "classifier."), variant="torchvision", mean=IMAGENET_MEAN, std=IMAGENET_STD, convert=_of_plain_vgg16
    ),
    "timm": Layout(_by_timm, ("fc.",), variant="torchvision", mean=IMAGENET_MEAN, std=IMAGENET_STD, convert=_with_plain_stem),
    "vggface2": Layout(_by_vggface2, ("fc.",), colour="BGR", variant="caffe", mean=VGGFACE2_MEAN, std=(1 / 255, 1 / 255, 1 / 255)),
    "vgg_dag": Layout(rename=_by_caffe, classifier=("classifier.", "fc6.", "fc7.", "fc8."), variant="caffe"),
    "face_api": Layout(lambda name: name.replace("/", "."), variant="affine", mean=FACE_API_MEAN, std=(1.0, 1.0, 1.0), convert=_fold_scales),
}
