"""A Keras convolutional network (HDF5 of `model.save`) as an ONNX graph, with h5py alone: no TensorFlow.

The layers are those of FER networks; any other stops the conversion by its name. The graph is channels first: its input is (N, C, H, W).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

from ferlab.deployment.onnx_graph import Graph
from ferlab.paths import InputError

ACTIVATIONS = {"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid", "tanh": "Tanh"}
Weights = Mapping[str, np.ndarray]  # "kernel", "bias", "gamma", ... of a layer
Settings = Mapping[str, Any]  # of a layer, as Keras keeps them


def keras_to_onnx(path: Path) -> onnx.ModelProto:
    """Convert a Keras model file.

    Raises:
        InputError: A file that is no HDF5 of a Keras model, or a layer, activation or order of axes that is not known here.
    """
    layers, weights = _read(path)
    graph, made, last = Graph(), {}, ""
    for layer in layers:
        kind, settings = layer["class_name"], layer["config"]
        name, where = settings["name"], f"{path}: layer {settings['name']!r}"
        if settings.get("data_format") == "channels_first":
            raise InputError(f"{where} is channels_first; expected channels_last")
        if not last and (shape := settings.get("batch_input_shape") or settings.get("batch_shape")):
            last, (height, width, channels) = "input", shape[1:]
        if kind != "InputLayer":
            if kind not in LAYERS:
                raise InputError(f"{where} is a {kind}; known: {', '.join(LAYERS)}")
            inputs = [made[before] for before in _inbound(layer)] or [last]
            last = LAYERS[kind](graph, inputs, name, settings, weights.get(name, {}))
            last = _activated(graph, last, settings, where=where)
        made[name] = last
    return graph.model("input", (channels, height, width), last)


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Weights]]:
    """Return the layers in their order, and the weights of each by layer and name."""
    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])["config"]
            groups = file["model_weights"]
            weights = {name: {_last(key): np.asarray(groups[name][key]) for key in groups[name].attrs["weight_names"]} for name in groups}
        layers = config if isinstance(config, list) else config["layers"]
        return layers, weights
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no Keras model in HDF5 ({' '.join(str(error).split())[:100]}); expected a file of `model.save`") from None


def _last(name: str | bytes) -> str:
    """Return "kernel" of "conv2d_1/kernel:0"."""
    text = name.decode() if isinstance(name, bytes) else name
    return text.rsplit("/", 1)[-1].split(":")[0]


def _inbound(layer: Mapping[str, Any]) -> list[str]:
    return [each[0] for each in (layer.get("inbound_nodes") or [[]])[0]]


def _activated(graph: Graph, x: str, settings: Settings, *, where: str) -> str:
    activation = settings.get("activation", "linear")
    if activation == "linear":
        return x
    if activation not in ACTIVATIONS:
        raise InputError(f"{where}: its activation is {activation!r}; known: linear, {', '.join(ACTIVATIONS)}")
    return graph.add(ACTIVATIONS[activation], [x], f"{x}/{activation}", **({"axis": 1} if activation == "softmax" else {}))


def _window(settings: Settings) -> dict[str, Any]:
    """Return stride and padding; Keras's "same" pads more behind than before, as ONNX's SAME_UPPER."""
    strides = settings.get("strides") or settings.get("pool_size")
    return {"strides": list(strides), "auto_pad": "SAME_UPPER" if settings["padding"] == "same" else "VALID"}


def _convolution(graph: Graph, x: list[str], name: str, settings: Settings, weights: Weights) -> str:
    dilated = {"dilations": list(settings.get("dilation_rate", (1, 1)))}
    return graph.convolution(x[0], name, weights["kernel"], weights.get("bias"), **_window(settings), **dilated)


def _depthwise(graph: Graph, x: list[str], name: str, settings: Settings, weights: Weights) -> str:
    return graph.depthwise(x[0], name, weights["depthwise_kernel"], weights.get("bias"), **_window(settings))


def _separable(graph: Graph, x: list[str], name: str, settings: Settings, weights: Weights) -> str:
    kernels = (weights["depthwise_kernel"], weights["pointwise_kernel"])
    return graph.separable(x[0], name, kernels, weights.get("bias"), **_window(settings))


def _normalisation(graph: Graph, x: list[str], name: str, settings: Settings, weights: Weights) -> str:
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    gamma, beta = weights.get("gamma", np.ones_like(mean)), weights.get("beta", np.zeros_like(mean))
    return graph.add("BatchNormalization", x, name, gamma, beta, mean, variance, epsilon=settings["epsilon"])


def _pool(kind: str) -> Layer:
    def add(graph: Graph, x: list[str], name: str, settings: Settings, _: Weights) -> str:
        return graph.add(kind, x, name, kernel_shape=list(settings["pool_size"]), **_window(settings))

    return add


def _global_mean(graph: Graph, x: list[str], name: str, _: Settings, __: Weights) -> str:
    return graph.add("Flatten", [graph.add("GlobalAveragePool", x, f"{name}/mean")], name)


def _flatten(graph: Graph, x: list[str], name: str, _: Settings, __: Weights) -> str:
    """Flatten in Keras's order, channels last."""
    return graph.add("Flatten", [graph.add("Transpose", x, f"{name}/channels_last", perm=[0, 2, 3, 1])], name)


def _dense(graph: Graph, x: list[str], name: str, _: Settings, weights: Weights) -> str:
    bias = weights.get("bias", np.zeros(weights["kernel"].shape[1], np.float32))
    return graph.add("Gemm", x, name, weights["kernel"], bias)


def _sum(graph: Graph, x: list[str], name: str, _: Settings, __: Weights) -> str:
    return graph.add("Sum", x, name)


def _same(_: Graph, x: list[str], __: str, ___: Settings, ____: Weights) -> str:
    return x[0]


Layer = Callable[[Graph, list[str], str, Settings, Weights], str]
LAYERS: dict[str, Layer] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalisation,
    "MaxPooling2D": _pool("MaxPool"),
    "AveragePooling2D": _pool("AveragePool"),  # Keep: ONNX leaves padding out of the mean, as TensorFlow does
    "GlobalAveragePooling2D": _global_mean,
    "Flatten": _flatten,
    "Dense": _dense,
    "Add": _sum,
    "Activation": _same,
    "Dropout": _same,
}
