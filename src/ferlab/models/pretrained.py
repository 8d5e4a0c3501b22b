"""Pretrained weights as a model's initial weights.

`load_pretrained` copies the tensors that fit and names those that do not. `pretrained_or_scratch` is what a run calls: pretrained weights, or
random ones where the file is not available. A file that is damaged or does not fit is an error, not a reason for random weights.

A model whose builder reads a file with its weights, as `ferlab.models.backbones`, has them already, and its attribute `source` names them.

Faces are RGB; the first convolution of BGR weights is flipped here. Mean and standard deviation cannot be folded into it (padding would differ),
so they are returned and replace those of the training split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ferlab.models.checkpoints import LAYOUTS, read_checkpoint, renamed
from ferlab.models.create import model_card
from ferlab.models.hub import Unavailable, content_sha256, fetch
from ferlab.models.weights import MEAN_IMAGE, read_weights
from ferlab.params import nearest
from ferlab.paths import InputError, report_progress

PUBLISHED = "published"  # a source: what the model's card names
COUNTER = "num_batches_tracked"  # of batch normalisation; not used in the forward pass


@dataclass(frozen=True)
class PretrainedReport:
    """Which weights of a file were loaded.

    Attributes:
        sha256: Of the file.
        checked: Whether it was compared with a known one.
        loaded: Tensors that fit.
        head: Tensors of the model's linear layers after its last convolution that the file lacks.
        missing: Other tensors of the model that the file lacks.
        unused: Tensors in the file, renamed, that the model lacks.
        other_shape: Tensor -> its shape in the file, and in the model.
        predicts: What a weights file of ferlab predicts, where the run predicts something else: its output layer is not loaded. "" otherwise.
    """

    file: Path
    sha256: str
    checked: bool
    loaded: tuple[str, ...]
    head: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    predicts: str = ""

    def sentence(self) -> str:
        """Return the report in one line."""
        known = "as expected" if self.checked else "not checked, no known value"
        parts = [f"{len(self.loaded)} tensors are loaded from {self.file.name} (sha256 {self.sha256}, {known})"]
        if self.head:
            parts.append(f"the head is random ({_layers(self.head)})")
        if self.missing:
            parts.append(f"missing in the file, so random: {_layers(self.missing)}")
        if self.predicts:
            parts.append(f"the output layer is not loaded, as it predicts {self.predicts}, not what this run does")
        if self.unused:
            parts.append(f"in the file but not in the model: {_layers(self.unused)}")
        if self.other_shape:
            shapes = [f"{name} {theirs} for {ours}" for name, (theirs, ours) in self.other_shape.items()]
            parts.append(f"of another shape, so random: {', '.join(shapes)}")
        return "; ".join(parts) + "."


@dataclass(frozen=True)
class InitialWeights:
    """How a model was initialised.

    Attributes:
        sentence: For the page, in one line.
        mean: Per channel of the model's input, on the scale [0, 1], as its weights expect; None: the training split's.
        std: Likewise.
        report: None where all weights are random.
        trained_on: The data that its weights were trained on, in words; "" where all weights are random.
    """

    sentence: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    report: PretrainedReport | None = None
    trained_on: str = ""


def load_pretrained(
    module: nn.Module,
    source: str,
    *,
    layout: str,
    sha256: str | None = None,
    grey: str = "refuse",
    outputs: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> PretrainedReport:
    """Copy the tensors of a file that fit into a model.

    Args:
        module: The model, as `create_model` builds it.
        source: A path, a hub id or an address; see `ferlab.models.hub.fetch`.
        layout: A key of `ferlab.models.checkpoints.LAYOUTS`.
        sha256: Of the file; None where it is not known.
        grey: For a first layer of three channels and a model of one: "refuse" it, or "sum" it over the channels, each scaled from its own
            standard deviation to their mean. What the means differ by is added to the layer's bias, which is exact for grey faces but where it
            pads; a layer without a bias, as those of ResNets, loses it.
        outputs: What the run predicts: `expressions`, `values` and `output` of its `Card`. The output layer of a weights file of ferlab is loaded
            where its own are equal; None: where its shape is.
        card: `pretrained` of the model's card, for the mean and standard deviation of a file of its layout.
        folder: Where downloads are kept.

    Raises:
        Unavailable: The file is not available.
        InputError: An unknown layout, a model of another variant, another checksum, a file that is damaged, would run code, holds NaN,
            of which nothing fits, or that leaves a frozen layer random.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout: no layout is called {layout!r}; {nearest(layout, LAYOUTS)}")
    if grey not in ("refuse", "sum"):
        raise InputError(f"grey: expected 'refuse' or 'sum', got {grey!r}")
    expected, variant = LAYOUTS[layout].variant, getattr(module, "variant", None)
    if expected and variant and expected != variant:
        raise InputError(f"layout {layout!r} fits a model built with variant {expected!r}, this one has {variant!r}: set the option `variant`")
    path = fetch(source, folder=folder, sha256=sha256)
    own = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(COUNTER)}
    found, predicts = _converted(path, module, layout=layout, grey=grey, outputs=outputs, card=card)
    fits = tuple(name for name in own if name in found and found[name].shape == own[name].shape)
    head = _head(module)
    if not set(fits) - set(head):
        raise InputError(f"{path}: nothing in it fits the model ({_example(found)} there, {_example(own)} here); is its layout {layout!r}?")
    if unset := [name for name in _frozen(module) if name not in fits]:
        what = f"no tensors in it fit frozen layers, which would stay random ({_layers(unset)})"
        raise InputError(f"{path}: {what}; is its layout {layout!r}? Train these layers (`freeze: none`), or get a file of the whole network")
    for name in fits:
        if not torch.isfinite(found[name]).all():
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity; get the file again")
    with torch.no_grad():
        for name in fits:
            own[name].copy_(found[name])
    return PretrainedReport(
        file=path,
        sha256=sha256.lower() if sha256 else content_sha256(path),  # `fetch` has checked it
        checked=sha256 is not None,
        loaded=fits,
        head=tuple(name for name in head if name not in found),
        missing=tuple(name for name in own if name not in found and name not in head),
        unused=tuple(name for name in found if name not in own),
        other_shape={name: (tuple(found[name].shape), tuple(own[name].shape)) for name in own if name in found and name not in fits},
        predicts=predicts,
    )


def pretrained_or_scratch(
    module: nn.Module,
    name: str,
    *,
    source: str = "",
    layout: str = "",
    sha256: str | None = None,
    grey: str = "refuse",
    outputs: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> InitialWeights:
    """Load pretrained weights if a run asks for them; where they are not available, keep the random ones and unfreeze all layers.

    Args:
        module: The model, as `create_model(name, ...)` builds it.
        name: Its key in MODELS.
        source: "" for random weights; "published" for what its card names; or see `load_pretrained`.
        layout: Of the file; "" for the card's.
        sha256: Of the file; None for the card's, where the source is "published".
        grey: See `load_pretrained`.
        outputs: See `load_pretrained`.
        folder: Where downloads are kept.

    Raises:
        InputError: See `load_pretrained`.
    """
    built_in = _built_in(module)
    if not source:
        return built_in or InitialWeights("The initial weights are random.")
    card = model_card(name)["pretrained"]
    layout = layout or (card["layout"] if card else "")
    published = source == PUBLISHED
    try:
        if published:
            source, sha256 = _published(name, sha256)
            layout = card["layout"]
        report = load_pretrained(module, source, layout=layout, sha256=sha256, grey=grey, outputs=outputs, card=card, folder=folder)
    except Unavailable as error:
        report_progress(say=str(error))  # not on the page: how a connection fails differs between tries
        if built_in:
            return replace(built_in, sentence=f"{built_in.sentence} The pretrained weights ({source}) are not available.")
        module.requires_grad_(True).train(module.training)
        return InitialWeights(f"Trained from scratch, without frozen layers: the pretrained weights ({source}) are not available.")
    channels = _first_convolution(module)[1]
    mean, std = (_for_channels(values, channels) for values in _statistics(report.file, layout, card))
    trained_on = [built_in.trained_on if built_in else "", card["trained_on"] if published else _trained_on(report.file, layout)]
    return InitialWeights(report.sentence(), mean, std, report, "; ".join(dict.fromkeys(filter(None, trained_on))))


def is_available(name: str, *, source: str, sha256: str | None = None, folder: Path | None = None) -> bool:
    """Whether pretrained weights are there or can be downloaded, which is then done; arguments and errors as of `pretrained_or_scratch`."""
    try:
        source, sha256 = _published(name, sha256) if source == PUBLISHED else (source, sha256)
        fetch(source, folder=folder, sha256=sha256)
    except Unavailable:
        return False
    return True


def _converted(
    path: Path, module: nn.Module, *, layout: str, grey: str, outputs: dict[str, Any] | None, card: dict[str, Any] | None
) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a file as the model has them, and `predicts` of `PretrainedReport`; arguments as of `load_pretrained`."""
    found = {name: tensor for name, tensor in renamed(read_checkpoint(path), LAYOUTS[layout]).items() if not name.endswith(COUNTER)}
    found.pop(MEAN_IMAGE, None)
    predicts = _other_outputs(path, outputs) if outputs and layout == "ferlab" else ""
    for name in _output_layer(module) if predicts else ():
        found.pop(name, None)
    first, channels = _first_convolution(module)
    _to_rgb(found, first, flip=LAYOUTS[layout].colour == "BGR")
    if grey == "sum" and channels == 1:
        _to_grey(found, first, *_statistics(path, layout, card))
    return found, predicts


def _built_in(module: nn.Module) -> InitialWeights | None:
    """Return how a model was initialised whose builder has read its weights from a file; None for others."""
    source = getattr(module, "source", None)
    if source is None:
        return None
    head = _head(module)
    loaded = tuple(name for name in module.state_dict() if name not in head)
    report = PretrainedReport(source.path, source.sha256, source.checked, loaded, head, missing=(), unused=(), other_shape={})
    return InitialWeights(report.sentence(), report=report, trained_on=source.trained_on)


def _published(name: str, sha256: str | None) -> tuple[str, str | None]:
    """Return the hub id and checksum of the weights that a model's card names."""
    card = model_card(name)["pretrained"]
    if card is None:
        raise Unavailable(f"model {name!r}: its card names no pretrained weights")
    return f"{card['hub']}/{card['file']}", sha256 or card["sha256"]


def _trained_on(path: Path, layout: str) -> str:
    """Return the data of a file of one's own: of a weights file of ferlab the datasets of its training faces."""
    sources = read_weights(path)[1].sources if layout == "ferlab" else ()
    return ", ".join(sources) or f"not stated ({path.name})"


def _statistics(path: Path, layout: str, card: dict | None) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Return mean and std in RGB: those of the file, of the card if it has the same layout, or of the layout."""
    if layout == "ferlab":
        own = read_weights(path)[1]
        return own.mean, own.std
    if card is not None and card["layout"] == layout:
        step = -1 if card["colour"] == "BGR" else 1
        return card["mean"][::step], card["std"][::step]
    return LAYOUTS[layout].mean, LAYOUTS[layout].std


def _for_channels(values: Sequence[float] | None, channels: int) -> tuple[float, ...] | None:
    """Return values per channel of the input (0: as many as there are); for grey, their mean over the colours."""
    if values is None or channels in (0, len(values)):
        return None if values is None else tuple(values)
    return (sum(values) / len(values),) * channels


def _first_convolution(module: nn.Module) -> tuple[str, int]:
    """Return its name and its input channels; "" and 0 where there is none."""
    return next(((name, layer.in_channels) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)), ("", 0))


def _head(module: nn.Module) -> tuple[str, ...]:
    """Name the tensors of the linear layers after the last convolution."""
    after: list[str] = []
    for name, layer in module.named_modules():
        after = [] if isinstance(layer, nn.Conv2d) else [*after, name] if isinstance(layer, nn.Linear) else after
    return tuple(f"{name}.{tensor}" for name in after for tensor in module.get_submodule(name).state_dict())


def _output_layer(module: nn.Module) -> tuple[str, ...]:
    """Name the tensors of the last layer with weights; it has an output per expression and value."""
    last = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1:]
    return tuple(f"{name}.{tensor}" for name in last for tensor in module.get_submodule(name).state_dict())


def _other_outputs(path: Path, outputs: dict[str, Any]) -> str:
    """Return in words what a weights file of ferlab predicts; "" where that is what the run predicts, in the same order."""
    own = read_weights(path)[1]
    same = all(getattr(own, key) == outputs[key] for key in ("expressions", "values", "output")) and list(own.values) == list(outputs["values"])
    return "" if same else f"{', '.join((*own.expressions, *own.values))} ({own.output})"


def _frozen(module: nn.Module) -> tuple[str, ...]:
    """Name the parameters that are not trained, and the buffers of layers without trained parameters, as running means."""
    names: list[str] = []
    for layer_name, layer in module.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        fixed = [name for name, weight in own.items() if not weight.requires_grad]
        buffers = [name for name in layer._buffers if name != COUNTER] if own and len(fixed) == len(own) else []
        names += [f"{layer_name}.{name}".lstrip(".") for name in fixed + buffers]
    return tuple(names)


def _to_rgb(found: dict[str, Tensor], first: str, *, flip: bool) -> None:
    """Flip the first convolution of a file from BGR to RGB."""
    weight = found.get(f"{first}.weight")
    if flip and weight is not None and weight.ndim == 4 and weight.shape[1] == 3:
        found[f"{first}.weight"] = weight.flip(1)


def _to_grey(found: dict[str, Tensor], first: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Sum the first convolution of a file over its three channels, for faces that the means of `mean` and `std` normalise; None: equal ones."""
    weight, bias = found.get(f"{first}.weight"), f"{first}.bias"
    if weight is None or weight.ndim != 4 or weight.shape[1] != 3:
        return
    means, stds = (torch.tensor(values or (1.0, 1.0, 1.0)).view(3, 1, 1) for values in (mean, std))
    scaled = weight * (stds.mean() / stds)  # sum_c w_c (x - m_c) / s_c has the slope sum_c w_c / s_c
    found[f"{first}.weight"] = scaled.sum(dim=1, keepdim=True)
    if bias in found:
        found[bias] = found[bias] + (scaled * (means.mean() - means)).sum(dim=(1, 2, 3)) / stds.mean()


def _layers(names: Sequence[str]) -> str:
    """Name the layers of tensors, the first few."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return ", ".join(layers[:8]) + (f" and {len(layers) - 8} more" if len(layers) > 8 else "")


def _example(tensors: dict[str, Tensor]) -> str:
    name = next(iter(tensors), "nothing")
    return f"{name} {tuple(tensors[name].shape)}" if tensors else name
