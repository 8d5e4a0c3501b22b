from __future__ import annotations

import math

import pytest
import torch

from ferlab.evaluation.published import FOLDER, read_paper
from ferlab.models import count_parameters, create_model, model_card
from ferlab.models.cs231a import alexnet_caffe, caffenet, lenet_caffe
from ferlab.paths import InputError

ALEXNETS = {"caffenet": caffenet, "alexnet_caffe": alexnet_caffe}


def weightless(name: str, *shape: int, **options: object) -> torch.nn.Module:
    with torch.device("meta"):
        return create_model(name, *shape, **options).eval()


def sides(module: torch.nn.Module, size: int) -> list[int]:
    """Return the side behind each convolution and pool."""
    found, out = [], torch.empty(1, 1, size, size, device="meta")
    for layer in module:
        out = layer(out)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d):
            found.append(out.shape[2])
    return found


@pytest.mark.parametrize("name", ALEXNETS)
def test_alexnets_count_is_that_of_caffes_blobs(name: str) -> None:
    # Blob shapes of the published caffemodel: groups halve the inputs of conv2, conv4 and conv5.
    tail = [256 * 48 * 25 + 256, 384 * 256 * 9 + 384, 384 * 192 * 9 + 384, 256 * 192 * 9 + 256, 4096 * 4096 + 4096]
    grey, seven = 96 * 121 + 96, 7 * 4096 + 7
    assert count_parameters(weightless(name)) == sum(tail) + grey + seven + 4096 * 12_544 + 4096 == 70_505_159
    assert count_parameters(weightless(name, size=227)) == sum(tail) + grey + seven + 4096 * 9216 + 4096 == 56_873_671
    assert count_parameters(weightless(name, 1000, 3, size=227)) == 60_965_224  # the ImageNet model


@pytest.mark.parametrize("name", ALEXNETS)
def test_pools_round_up_as_caffe_does(name: str) -> None:
    assert sides(weightless(name), 250) == [60, 30, 30, 15, 15, 15, 15, 7]
    assert sides(weightless(name, size=227), 227) == [55, 27, 27, 13, 13, 13, 13, 6]  # Krizhevsky et al.


def test_last_window_of_a_pool_takes_what_is_left_of_the_map() -> None:
    module = weightless("caffenet")
    rows = torch.arange(36.0).reshape(1, 1, 6, 6)  # windows start at 0, 2, 4; the last holds two rows and two columns
    assert module.pool1(rows).tolist() == [[[[14.0, 16.0, 17.0], [26.0, 28.0, 29.0], [32.0, 34.0, 35.0]]]]


def test_normalisation_divides_alpha_by_the_five_channels_and_pads_with_zeros() -> None:
    values = [100.0, -300.0, 500.0, 0.0, 700.0, 200.0, 50.0]
    out = weightless("alexnet_caffe").norm1(torch.tensor(values).reshape(1, 7, 1, 1)).flatten().tolist()
    for c, value in enumerate(values):  # lrn_layer.cpp, CrossChannelForward_cpu: scale = k + alpha / size * sum of squares
        squares = sum(v * v for v in values[max(0, c - 2) : c + 3])
        assert math.isclose(out[c], value * (1.0 + 1e-4 / 5 * squares) ** -0.75, rel_tol=1e-5)


def test_normalisation_is_the_same_for_either_layout_of_the_images() -> None:
    images = torch.rand(2, 96, 9, 9) * 300
    norm = weightless("caffenet").norm1
    torch.testing.assert_close(norm(images.contiguous(memory_format=torch.channels_last)), norm(images))


def test_caffenet_pools_before_it_normalises_and_alexnet_after() -> None:
    names = {name: [n for n, _ in weightless(name).named_children()] for name in ALEXNETS}
    head = ["relu3", "conv4", "relu4", "conv5", "relu5", "pool5", "flatten", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
    assert names["caffenet"] == ["grey", "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2", "conv3", *head]
    assert names["alexnet_caffe"] == ["grey", "conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "conv3", *head]


@pytest.mark.parametrize(("name", "bias"), [("caffenet", 1.0), ("alexnet_caffe", 0.1)])
def test_initial_weights_are_those_of_caffes_fillers(name: str, bias: float) -> None:
    torch.manual_seed(1)
    layers = dict(ALEXNETS[name](size=67).named_children())  # the last maps are 1x1, the rest as it is
    biases = {"conv1": 0.0, "conv2": bias, "conv3": 0.0, "conv4": bias, "conv5": bias, "fc6": bias, "fc7": bias, "fc8": 0.0}
    for layer, expected in biases.items():
        std = 0.005 if layer in ("fc6", "fc7") else 0.01
        assert layers[layer].weight.std().item() == pytest.approx(std, rel=0.03)
        assert torch.equal(layers[layer].bias, torch.full_like(layers[layer].bias, expected))


def test_standardised_faces_enter_as_grey_levels_unless_told_otherwise() -> None:
    faces = torch.tensor([-2.0, 0.5]).reshape(1, 1, 1, 2)
    assert weightless("caffenet").grey(faces).flatten().tolist() == [-128.0, 32.0]
    assert torch.equal(weightless("caffenet", grey_std=1.0).grey(faces), faces)
    less_the_mean = torch.tensor([[[[-40, 90]]]]) / 255
    torch.testing.assert_close(weightless("caffenet", grey_std=255.0).grey(less_the_mean), torch.tensor([[[[-40.0, 90.0]]]]))


def test_lenets_counts_are_caffes_example_and_the_known_one_at_250_pixels() -> None:
    convolutions = 20 * 25 + 20 + 50 * 20 * 25 + 50
    assert count_parameters(weightless("lenet_caffe", 10, size=28)) == convolutions + 500 * 800 + 500 + 10 * 500 + 10 == 431_080
    assert count_parameters(weightless("lenet_caffe")) == convolutions + 500 * 50 * 59 * 59 + 500 + 7 * 500 + 7 == 87_054_577
    assert count_parameters(weightless("lenet_caffe", ceil_mode=True)) == convolutions + 500 * 50 * 60 * 60 + 500 + 7 * 500 + 7 == 90_029_577
    card = model_card("lenet_caffe")
    assert card["parameters"] == 87_054_577
    assert "59x59 maps), which is ours; by Caffe's rule" in card["notes"]
    assert "90,029,577 parameters (ceil_mode: true" in card["notes"]


def test_lenets_pools_round_down_unless_told_otherwise() -> None:
    assert sides(weightless("lenet_caffe"), 250) == [246, 123, 119, 59]
    assert sides(weightless("lenet_caffe", ceil_mode=True), 250) == [246, 123, 119, 60]
    assert sides(weightless("lenet_caffe", size=28), 28) == sides(weightless("lenet_caffe", size=28, ceil_mode=True), 28) == [24, 12, 8, 4]


def test_lenets_initial_weights_hang_on_the_inputs_alone() -> None:
    module = lenet_caffe(size=28)
    for layer, fan_in in ((module.conv2, 20 * 25), (module.ip1, 800)):
        limit = (3 / fan_in) ** 0.5  # filler.hpp, XavierFiller
        assert limit * 0.98 < layer.weight.abs().max().item() <= limit
        assert not layer.bias.any()
    assert [type(layer) for layer in module].count(torch.nn.ReLU) == 1


@pytest.mark.parametrize(("name", "sizes"), [("lenet_caffe", "250 or 28"), ("caffenet", "250 or 227"), ("alexnet_caffe", "250 or 227")])
def test_sizes_neither_the_papers_nor_caffes_are_refused(name: str, sizes: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' takes faces of {sizes} pixels a side, got size 224"):
        create_model(name, size=224)
    with pytest.raises(ValueError, match="H and W of 250, got"):
        weightless(name)(torch.empty(1, 1, 227, 227, device="meta"))


def test_scores_the_paper_calls_lenets_stand_with_caffenet() -> None:
    assert {row.model for row in read_paper(FOLDER / "cs231a.yaml").rows if row.model} == set(ALEXNETS)
