from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from ferlab import models
from ferlab.models import MODELS, count_parameters, create_model, model_card
from ferlab.paths import InputError

CARD = {
    "build", "family", "paper", "title", "depth", "parameters", "stated", "input_size", "sizes", "channels", "num_classes", "target_layer", "options",
    "pretrained", "notes", "scaling",
}  # fmt: skip


Weightless = Callable[..., torch.nn.Module]


@pytest.fixture
def weightless(needed_options: Callable[[str], dict[str, Any]]) -> Weightless:
    """Builds a model of layers without memory: counts and shapes need no weights, and the largest models have 90 million."""

    def build(name: str, *shape: int) -> torch.nn.Module:
        with torch.device("meta"):
            return create_model(name, *shape, **needed_options(name)).eval()

    return build


def is_convolution(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Conv2d) or getattr(layer, "kind", "") == "Conv"  # of a graph


@pytest.mark.parametrize("name", MODELS)
def test_card_is_whole_and_counts_what_is_built(name: str, weightless: Weightless) -> None:
    card = MODELS[name]
    module = weightless(name)
    assert set(card) == CARD
    assert card["build"].split(":")[0] == card["family"]
    assert count_parameters(module) == card["parameters"]
    assert len([m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]) == card["depth"]
    assert card["pretrained"] is None or card["pretrained"]["trained_on"]


@pytest.mark.parametrize("name", MODELS)
def test_model_maps_faces_to_logits(name: str, weightless: Weightless) -> None:
    faces = torch.empty(2, 3, MODELS[name]["input_size"], MODELS[name]["input_size"], device="meta")
    assert weightless(name, 8, 3)(faces).shape == (2, 8)


@pytest.mark.parametrize("name", MODELS)
def test_target_layer_is_the_activation_of_the_last_convolution(name: str, weightless: Weightless) -> None:
    card, module, shapes = MODELS[name], weightless(name), {}
    for layer_name, layer in module.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _, __, output, n=layer_name: shapes.update({n: output.shape}))
    module(torch.empty(2, card["channels"], card["input_size"], card["input_size"], device="meta"))
    layers, names = dict(module.named_modules()), list(shapes)  # names in the order of the forward pass
    convolutions = [n for n in names if is_convolution(layers[n]) and shapes[n][2] > 1]  # not the gates' of one pixel
    target = card["target_layer"]
    if not convolutions:
        assert target is None
        return
    if "Grad-CAM" in card["notes"]:  # an earlier convolution, and the card says why
        convolutions = [n for n in convolutions if names.index(n) <= names.index(target)]
    assert shapes[target] == shapes[convolutions[-1]]
    after = names[names.index(target) + 1]
    assert isinstance(layers[target], torch.nn.ReLU) or shapes[after] != shapes[target]  # or the convolution itself, where a pool follows at once
    assert names.index(target) >= names.index(convolutions[-1])


@pytest.mark.parametrize("name", MODELS)
def test_options_of_the_card_are_the_builders_own(name: str) -> None:
    family, builder = MODELS[name]["build"].split(":")
    parameters = inspect.signature(getattr(import_module(f"ferlab.models.{family}"), builder)).parameters.values()
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == MODELS[name]["options"]


def test_unknown_names_and_options_name_their_nearest_neighbour() -> None:
    with pytest.raises(InputError, match="'five_layr'; did you mean 'five_layer'"):
        create_model("five_layr")
    with pytest.raises(InputError, match="unknown option 'pol'; did you mean 'pool'"):
        create_model("five_layer", pol="2x2")
    with pytest.raises(InputError, match="at least 1 class"):
        create_model("five_layer", 0)


def test_sizes_a_paper_does_not_allow_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="'five_layer' takes faces of 48 pixels a side, got size 64"):
        create_model("five_layer", size=64)
    with pytest.raises(InputError, match="8 or more pixels a side, got size 4"):
        create_model("resemotenet_cnn", size=4)
    assert create_model("resemotenet_cnn", size=64).eval()(torch.rand(1, 1, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (2, 3, 48, 48), (1, 48, 48), (2, 1, 48, 40)])
def test_faces_of_another_shape_are_refused_before_a_layer_stumbles(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expects faces float32 \(N, 1, H, W\) with H and W of 48, got"):
        create_model("five_layer")(torch.rand(shape))


@pytest.mark.parametrize("family", sorted({card["family"] for card in MODELS.values()}))
def test_a_familys_file_imports_no_other(family: str) -> None:
    """A run depends on its family's file and on what families share (dvc.yaml), so nothing of the model may lie elsewhere."""
    path = Path(models.__file__).with_name(f"{family}.py")
    direct = set(re.findall(r"from ferlab\.([\w.]+) import", path.read_text()))
    assert direct <= {"models.descriptors", "models.graphs", "models.layers", "paths"}


def test_family_of_a_run_must_be_the_cards() -> None:
    assert model_card("five_layer", family="cs230") is MODELS["five_layer"]
    with pytest.raises(InputError, match=r"family 'cs230', params\.yaml says 'resemotenet'"):
        model_card("five_layer", family="resemotenet")


def test_a_family_is_imported_only_when_asked_for() -> None:
    code = "import sys, ferlab.models as m; m.create_model('five_layer'); print('ferlab.models.resemotenet' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.stdout.strip() == "False"
