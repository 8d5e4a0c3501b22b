from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.scoring import predict_probs, predict_tta, score_faces
from ferlab.evaluation.tta import PASSES, WITHIN
from ferlab.models import LoadedModel
from ferlab.paths import InputError


class LeftRight(nn.Module):
    """Logits: mean of the left half, mean of the right half; so a mirror image swaps them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[-1] // 2
        return torch.stack([images[..., :half].mean(dim=(1, 2, 3)), images[..., half:].mean(dim=(1, 2, 3))], dim=1) * 10


@dataclass(frozen=True)
class TinyModel(LoadedModel):
    name: str = "tiny"
    options: dict[str, Any] = field(default_factory=dict)
    expressions: tuple[str, ...] = ("left", "right")
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: int = 6
    channels: int = 1
    target_layer: str = ""
    trained_on: tuple[str, ...] = ("train",)

    def normalise(self, images: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(images), dtype=torch.float32)[:, None] / 255


def faces(n: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 6, 6), dtype=np.uint8)


def test_probabilities_are_the_softmax_of_the_logits():
    images = faces()
    left, right = images[..., :3].mean(axis=(1, 2)) / 255, images[..., 3:].mean(axis=(1, 2)) / 255
    expected = 1 / (1 + np.exp(10 * (right - left)))
    probs = predict_probs(TinyModel(LeftRight()), images)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


def test_flip_averages_a_face_and_its_mirror_image():
    # This model swaps its answer for a mirror image, so the average cannot decide.
    np.testing.assert_allclose(predict_probs(TinyModel(LeftRight()), faces(), tta="flip"), 0.5, atol=1e-6)
    probs, _ = predict_tta(TinyModel(LeftRight()), faces())
    np.testing.assert_array_equal(probs["none"], predict_probs(TinyModel(LeftRight()), faces()))


def test_a_mean_image_lies_still_when_the_face_is_mirrored():
    mean = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)
    model = TinyModel(LeftRight(), mean=torch.from_numpy(mean)[None])

    def probs(pixels: np.ndarray) -> np.ndarray:
        return torch.softmax(LeftRight()(torch.from_numpy(pixels / np.float32(255) - mean)[:, None]), dim=1).numpy()

    expected = (probs(faces()) + probs(faces()[..., ::-1].copy())) / 2
    np.testing.assert_allclose(predict_probs(model, faces(), tta="flip"), expected, atol=1e-6)
    assert np.abs(expected - 0.5).max() > 0.1


def test_the_batch_size_does_not_matter():
    np.testing.assert_allclose(
        predict_probs(TinyModel(LeftRight()), faces(), batch_size=2), predict_probs(TinyModel(LeftRight()), faces()), atol=1e-6
    )


def test_dropout_is_off_even_if_the_net_comes_in_training_mode():
    model = TinyModel(nn.Sequential(LeftRight(), nn.Dropout(0.9)).train())
    np.testing.assert_array_equal(predict_probs(model, faces()), predict_probs(model, faces()))


def test_a_net_that_answers_nan_is_told():
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 2), float("nan"))

    with pytest.raises(InputError, match="no finite probabilities for face 0"):
        predict_probs(TinyModel(Broken()), faces())


def test_images_that_are_no_faces_are_told():
    with pytest.raises(InputError, match="uint8"):
        predict_probs(TinyModel(LeftRight()), faces().astype(np.float32))


def test_no_faces_give_no_rows():
    assert predict_probs(TinyModel(LeftRight()), faces(0)).shape == (0, 2)


def table(splits: list[str]) -> pd.DataFrame:
    n = len(splits)
    return pd.DataFrame({"face_id": [f"x/{i}" for i in range(n)], "split": splits, "target": np.arange(n) % 2})


def test_train_is_not_scored_and_the_store_order_stays():
    images, faces_table = faces(6), table(["test", "train", "val", "train", "test", "val"])
    predictions, _ = score_faces(TinyModel(LeftRight()), images, faces_table, expressions=("left", "right"), tta="none")
    assert predictions["face_id"].tolist() == ["x/0", "x/2", "x/4", "x/5"]
    np.testing.assert_array_equal(probs_of(predictions), predict_probs(TinyModel(LeftRight()), images[[0, 2, 4, 5]]))
    assert predictions["split"].tolist() == ["test", "val", "test", "val"]
    flipped, by_tta = score_faces(TinyModel(LeftRight()), images, faces_table, expressions=("left", "right"))
    np.testing.assert_allclose(probs_of(flipped), 0.5, atol=1e-6)
    np.testing.assert_array_equal(by_tta["none"], probs_of(predictions))


def test_a_net_of_other_expressions_and_a_set_without_test_faces_are_told():
    with pytest.raises(InputError, match="Train the run on this set again"):
        score_faces(TinyModel(LeftRight()), faces(2), table(["val", "test"]), expressions=("right", "left"))
    with pytest.raises(InputError, match="No face of the set"):
        score_faces(TinyModel(LeftRight()), faces(2), table(["train", "train"]), expressions=("left", "right"))


class Counting(nn.Module):
    """LeftRight that notes the shape of every batch it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        return LeftRight()(images)


@dataclass(frozen=True)
class NamedModel(TinyModel):
    name: str = "five_layer"


@pytest.mark.parametrize("tta", PASSES)
def test_each_augmentation_costs_the_passes_it_states(tta):
    net = Counting()
    scored, values = predict_tta(NamedModel(net), faces(), tta=tta, crop=0.7)
    assert list(scored) == list(dict.fromkeys(["none", *WITHIN.get(tta, ()), tta]))
    assert values.shape == (7, 0)
    assert len(net.shapes) == PASSES[tta] + (tta == "ten_crop")
    np.testing.assert_array_equal(scored["none"], predict_probs(TinyModel(LeftRight()), faces()))
    np.testing.assert_allclose(scored[tta].sum(axis=1), 1, atol=1e-6)
    for within in WITHIN.get(tta, ()):
        np.testing.assert_array_equal(scored[within], predict_tta(NamedModel(Counting()), faces(), tta=within, crop=0.7)[0][within])


def test_crops_are_brought_back_to_the_side_of_a_net_that_takes_no_other():
    fixed, free = Counting(), Counting()
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    predict_tta(NamedModel(fixed), images, tta="ten_crop")
    predict_tta(NamedModel(free, name="resemotenet_cnn"), images, tta="ten_crop")
    assert set(fixed.shapes) == {(3, 1, 48, 48)}
    assert free.shapes == [(3, 1, 48, 48), *[(3, 1, 44, 44)] * 10]


@pytest.mark.parametrize("tta", ["seven", "vote"])
def test_a_changed_face_does_not_depend_on_its_batch(tta):
    whole = predict_probs(TinyModel(LeftRight()), faces(), tta=tta)
    np.testing.assert_allclose(predict_probs(TinyModel(LeftRight()), faces(), tta=tta, batch_size=2), whole, atol=1e-6)


def test_images_are_read_batch_by_batch_and_only_those_scored():
    class Guarded:
        """A set's images that notes which rows are asked for at once."""

        dtype, ndim, shape, asked = np.dtype(np.uint8), 3, (6, 6, 6), []

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            self.asked.append(np.asarray(rows).tolist())
            return faces(6)[rows]

    images = Guarded()
    score_faces(TinyModel(LeftRight()), images, table(["test", "train", "val", "train", "test", "val"]), expressions=("left", "right"), batch_size=3)
    assert images.asked == [[0, 2, 4], [5]]


def test_the_pred_of_a_vote_is_the_most_named_class():
    predictions, by_tta = score_faces(TinyModel(LeftRight()), faces(40), table(["test"] * 40), expressions=("left", "right"), tta="vote")
    np.testing.assert_array_equal(predictions["pred"], by_tta["vote"].argmax(axis=1))


def test_an_unknown_augmentation_is_told():
    with pytest.raises(InputError, match="no test-time augmentation is called 'flipped'; did you mean 'flip'"):
        predict_probs(TinyModel(LeftRight()), faces(), tta="flipped")


class LeftAndHow(nn.Module):
    """Outputs for left, for right, and how bright the face is, from -1 (black) to 1 (white)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([LeftRight()(images), 2 * images.mean(dim=(1, 2, 3))[:, None] - 1], dim=1)


def test_values_stand_beside_the_expressions_on_their_own_scale():
    images = faces()
    model = TinyModel(LeftAndHow(), values={"intensity": (0.0, 5.0)})
    table = pd.DataFrame({"face_id": [f"f{n}" for n in range(7)], "split": "test", "target": 0})
    predictions, by_tta = score_faces(model, images, table, expressions=("left", "right"))
    np.testing.assert_allclose(predictions["value_intensity"], 5 * images.mean(axis=(1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(by_tta["none"], predict_probs(TinyModel(LeftRight()), images), atol=1e-6)


def test_expressions_asked_for_one_by_one_share_what_they_say():
    each = 1 / (1 + np.exp(-LeftRight()(torch.as_tensor(faces(), dtype=torch.float32)[:, None] / 255).numpy()))
    probs = predict_probs(TinyModel(LeftRight(), output="sigmoid"), faces())
    np.testing.assert_allclose(probs, each / each.sum(axis=1, keepdims=True), atol=1e-6)
