"""Initial weights from another training: which of them fit a model, and what the model then wants its faces like.

`load_pretrained` puts what fits into a model and names what does not. `pretrained_or_scratch` is what a run asks: weights where they
can be had, else random ones and a sentence that says so. A file that is there but wrong is an error, never a reason to go on
without it.

The order of colours is settled here, in the first convolution: faces are RGB everywhere else. Mean and standard deviation cannot be
folded in (what pads a face would change), so they are returned, to take the place of the training split's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ferlab.models.checkpoints import LAYOUTS, Layout, read_checkpoint, renamed
from ferlab.models.create import model_card
from ferlab.models.hub import Unavailable, fetch, file_sha256
from ferlab.models.weights import MEAN_IMAGE, read_weights
from ferlab.params import nearest
from ferlab.paths import InputError

PUBLISHED = "published"  # a source: what the model's card names
COUNTER = "num_batches_tracked"  # of batch normalisation; has no part in the output


@dataclass(frozen=True)
class PretrainedReport:
    """What became of a file's weights.

    Attributes:
        file: Where the weights lay.
        sha256: Of the file.
        checked: Whether it was compared with a known one.
        loaded: Tensors that fit.
        head: Tensors of the model's linear layers behind its last convolution that the file is not meant to fill.
        excluded: Names in the file of the layers that tell its own classes apart.
        missing: Tensors of the model that the file lacks.
        left_over: Tensors in the file, renamed, that the model has not.
        other_shape: Tensor -> its shape in the file, and in the model.
    """

    file: Path
    sha256: str
    checked: bool
    loaded: tuple[str, ...]
    head: tuple[str, ...]
    excluded: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def sentence(self) -> str:
        """Return it in words, in one line."""
        known = "as expected" if self.checked else "not checked: none is known to compare with"
        parts = [f"{len(self.loaded)} tensors come from {self.file.name} (sha256 {self.sha256}, {known})"]
        if self.head:
            parts.append(f"the head starts afresh ({_layers(self.head)})")
        if self.missing:
            parts.append(f"not in the file, so initial weights are random: {_layers(self.missing)}")
        if self.left_over:
            parts.append(f"in the file but not in the net: {_layers(self.left_over)}")
        if self.other_shape:
            shapes = [f"{name} {theirs} for {ours}" for name, (theirs, ours) in self.other_shape.items()]
            parts.append(f"of another shape, so initial weights are random: {', '.join(shapes)}")
        return "; ".join(parts) + "."


@dataclass(frozen=True)
class FirstWeights:
    """How a model's training begins.

    Attributes:
        pretrained: Whether from another training.
        sentence: For the page, in one line.
        mean: Per channel of the model's input, on the scale [0, 1], as its weights want; None for the training split's.
        std: Likewise.
        report: What became of the file's weights.
        reason: Why they could not be had, for the log: how a connection fails differs from try to try.
    """

    pretrained: bool
    sentence: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    report: PretrainedReport | None = None
    reason: str = ""


def load_pretrained(
    module: nn.Module,
    source: str,
    *,
    layout: str,
    sha256: str | None = None,
    grey: str = "refuse",
    folder: Path | None = None,
) -> PretrainedReport:
    """Put what fits of a file's weights into a model.

    Args:
        module: The model, as `create_model` builds it.
        source: A path, a hub id or an address; see `ferlab.models.hub.fetch`.
        layout: A key of `ferlab.models.checkpoints.LAYOUTS`: whose names and conventions they are.
        sha256: What the file's must be; None where it is not known.
        grey: What a model of one channel does with a first layer of three: "refuse" it, or "sum" it over the channels, which gives
            what the layer gave for grey faces.
        folder: Where downloads are kept.

    Raises:
        Unavailable: If the file cannot be had.
        InputError: An unknown layout, a model of another variant, another checksum, a file that is damaged, would run code, holds NaN,
            or of which nothing fits.
    """
    conventions = _layout(layout)
    if grey not in ("refuse", "sum"):
        raise InputError(f"grey: expected 'refuse' or 'sum', got {grey!r}")
    _check_variant(module, layout)
    path = fetch(source, folder=folder, sha256=sha256)
    weights, excluded = renamed(read_checkpoint(path), conventions)
    own = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor for name, tensor in weights.items() if not name.endswith(COUNTER) and name != MEAN_IMAGE}
    _settle_colours(found, own, first=_first_convolution(module), turn=conventions.colour == "BGR", add=grey == "sum")
    fits = tuple(name for name in own if name in found and found[name].shape == own[name].shape)
    head = _head(module)
    if not set(fits) - set(head):
        raise InputError(f"{path}: nothing in it fits the model ({_example(found)} there, {_example(own)} here); is its layout {layout!r}?")
    _check_finite(path, {name: found[name] for name in fits})
    with torch.no_grad():
        for name in fits:
            own[name].copy_(found[name])
    return PretrainedReport(
        file=path,
        sha256=sha256.lower() if sha256 else file_sha256(path),  # `fetch` has checked it
        checked=sha256 is not None,
        loaded=fits,
        head=tuple(name for name in head if name not in found),
        excluded=excluded,
        missing=tuple(name for name in own if name not in found and name not in head),
        left_over=tuple(name for name in found if name not in own),
        other_shape={name: (tuple(found[name].shape), tuple(own[name].shape)) for name in own if name in found and name not in fits},
    )


def pretrained_or_scratch(
    module: nn.Module,
    name: str,
    *,
    source: str = "",
    layout: str = "",
    sha256: str | None = None,
    grey: str = "refuse",
    folder: Path | None = None,
) -> FirstWeights:
    """Give a model its initial weights: pretrained ones where they are asked for and can be had, else those it was built with.

    From scratch nothing is held: layers that nobody has trained must train.

    Args:
        module: The model, as `create_model(name, ...)` builds it.
        name: Its key in MODELS.
        source: "" for random weights; "published" for what its card names; or see `load_pretrained`.
        layout: Of the file; "" for the card's.
        sha256: Of the file; None for the card's, where the source is "published".
        grey: See `load_pretrained`.
        folder: Where downloads are kept.

    Raises:
        InputError: See `load_pretrained`; not for weights that cannot be had.
    """
    if not source:
        return FirstWeights(pretrained=False, sentence="The initial weights are random.")
    card = model_card(name)["pretrained"]
    layout = layout or (card["layout"] if card else "")
    try:
        if source == PUBLISHED:
            if card is None:
                raise Unavailable(f"model {name!r}: its card names no pretrained weights")
            source, layout, sha256 = f"{card['hub']}/{card['file']}", card["layout"], sha256 or card["sha256"]
        report = load_pretrained(module, source, layout=layout, sha256=sha256, grey=grey, folder=folder)
    except Unavailable as error:
        module.requires_grad_(True).train(module.training)
        sentence = f"From scratch, with nothing held: its pretrained weights ({source}) could not be had."
        return FirstWeights(pretrained=False, sentence=sentence, reason=str(error))
    mean, std = (_for_channels(values, _channels(module)) for values in _statistics(report.file, layout, card))
    return FirstWeights(pretrained=True, sentence=report.sentence(), mean=mean, std=std, report=report)


def _statistics(path: Path, layout: str, card: dict | None) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Return mean and std in RGB: the file's own, or those of the card whose layout it has, or the layout's."""
    if layout == "ferlab":
        own = read_weights(path)[1]
        return own.mean, own.std
    if card is not None and card["layout"] == layout:
        turn = -1 if card["colour"] == "BGR" else 1
        return card["mean"][::turn], card["std"][::turn]
    return LAYOUTS[layout].mean, LAYOUTS[layout].std


def _for_channels(values: Sequence[float] | None, channels: int) -> tuple[float, ...] | None:
    """Return values per channel of the input; for grey, their mean over the colours."""
    if values is None or len(values) == channels:
        return None if values is None else tuple(values)
    return (sum(values) / len(values),) * channels


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise InputError(f"layout: no layout is called {name!r}; {nearest(name, LAYOUTS)}")
    return LAYOUTS[name]


def _check_variant(module: nn.Module, layout: str) -> None:
    wanted, has = LAYOUTS[layout].variant, getattr(module, "variant", None)
    if wanted and has and wanted != has:
        raise InputError(f"layout {layout!r} fits a model built with variant {wanted!r}, this one has {has!r}: set the option `variant`")


def _first_convolution(module: nn.Module) -> str:
    return next((f"{name}.weight" for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)), "")


def _channels(module: nn.Module) -> int:
    return next((layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)), 1)


def _head(module: nn.Module) -> tuple[str, ...]:
    """Name the tensors of the linear layers behind the last convolution."""
    behind: list[str] = []
    for name, layer in module.named_modules():
        behind = [] if isinstance(layer, nn.Conv2d) else [*behind, name] if isinstance(layer, nn.Linear) else behind
    return tuple(f"{name}.{tensor}" for name in behind for tensor in module.get_submodule(name).state_dict())


def _settle_colours(found: dict[str, Tensor], own: dict[str, Tensor], *, first: str, turn: bool, add: bool) -> None:
    """Turn the first convolution of a file from BGR to RGB, and add up its channels for a grey model, where that is asked for."""
    tensor = found.get(first)
    if tensor is None or tensor.ndim != 4 or tensor.shape[1] != 3:
        return
    grey = add and first in own and own[first].shape[1] == 1
    found[first] = tensor.sum(dim=1, keepdim=True) if grey else tensor.flip(1) if turn else tensor


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity; get the file again")


def _layers(names: Sequence[str]) -> str:
    """Name the layers of tensors, the first few."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return ", ".join(layers[:8]) + (f" and {len(layers) - 8} more" if len(layers) > 8 else "")


def _example(tensors: dict[str, Tensor]) -> str:
    name = next(iter(tensors), "nothing")
    return f"{name} {tuple(tensors[name].shape)}" if tensors else name
