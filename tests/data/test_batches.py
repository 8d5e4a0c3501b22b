from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ferlab.data import batches
from ferlab.data.augmentation import Augmentation
from ferlab.data.batches import FaceBatches, FaceData, class_weights, pixel_statistics, split_rows
from ferlab.data.store import Store
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")


def prepare(faces: torch.Tensor) -> torch.Tensor:
    return faces.unsqueeze(1).float() / 255


def same(images: torch.Tensor) -> torch.Tensor:
    return images


def standardise(images: torch.Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return (images - mean[0]) / std[0]


def numbered(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return faces whose pixels all hold their row number, and the row numbers as targets."""
    rows = torch.arange(count)
    return rows.to(torch.uint8).view(-1, 1, 1).expand(count, 8, 8).contiguous(), rows


def rows_of(loader: FaceBatches) -> list[int]:
    return torch.cat([target for _, target in loader]).tolist()


def training(count: int = 50, **changes: object) -> FaceBatches:
    images, targets = numbered(count)
    shared = {"batch_size": 8, "prepare": prepare, "normalise": same, "seed": 3}
    return FaceBatches(images, targets, np.arange(count), **{**shared, **changes})  # type: ignore[arg-type]


def store_of(splits: list[str], targets: list[int]) -> Store:
    images = np.random.default_rng(0).integers(0, 256, (len(splits), 8, 8)).astype(np.uint8)
    return Store(images=images, faces=pd.DataFrame({"split": splits, "target": targets}), expressions=NAMES)


def test_an_epoch_shows_each_face_once_with_its_own_target() -> None:
    loader = training()
    seen = [(round(image.mean().item() * 255), int(target)) for images, targets in loader for image, target in zip(images, targets)]
    assert sorted(row for row, _ in seen) == list(range(50))
    assert all(row == target for row, target in seen)
    assert [len(targets) for _, targets in loader] == [8] * 6 + [2]
    assert len(loader) == 7


def test_the_order_comes_from_seed_and_epoch_alone() -> None:
    loader = training()
    first = rows_of(loader)
    assert rows_of(loader) == first
    loader.set_epoch(1)
    assert rows_of(loader) != first
    again = training()
    again.set_epoch(1)
    assert rows_of(again) == rows_of(loader)
    assert rows_of(training(seed=4)) != first


def test_augmentation_changes_faces_and_not_their_targets() -> None:
    images = torch.randint(0, 256, (50, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _, targets = numbered(50)
    loader = FaceBatches(
        images, targets, np.arange(50), batch_size=8, prepare=prepare, normalise=same, seed=0, changes=Augmentation(flip=True)
    )
    mirrored = 0
    for faces, rows in loader:
        for face, row in zip(faces, rows):
            plain = prepare(images[row : row + 1])[0]
            mirrored += int(torch.equal(face, plain.flip(2)))
            assert torch.equal(face, plain) or torch.equal(face, plain.flip(2))
    assert 10 < mirrored < 40


def test_without_a_seed_faces_come_in_store_order_as_they_are() -> None:
    loader = training(17, seed=None)
    assert rows_of(loader) == list(range(17))
    assert len(loader) == 3


def test_a_training_batch_of_one_face_is_left_out_and_a_scored_one_is_not() -> None:
    assert [len(t) for _, t in training(17)] == [8, 8]
    assert [len(t) for _, t in training(17, seed=None)] == [8, 8, 1]


def test_a_memory_map_gives_the_batches_that_a_resident_tensor_gives() -> None:
    images, _ = numbered(50)
    mapped = training()
    mapped.images = images.numpy()
    for (a, _), (b, _) in zip(mapped, training()):
        assert torch.equal(a, b)


def test_statistics_are_numpys_over_the_named_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CHUNK", 3)
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    rows = np.array([0, 2, 3, 4, 7, 8, 9])
    mean, std = pixel_statistics(images, rows, prepare=prepare)
    assert mean == pytest.approx((images[rows].mean() / 255,))
    assert std == pytest.approx((images[rows].std() / 255,))
    with pytest.raises(InputError, match="are alike"):
        pixel_statistics(np.zeros_like(images), rows, prepare=prepare)


def test_class_weights_are_n_over_k_times_n_c() -> None:
    assert class_weights(np.array([0, 0, 0, 1, 2, 2]), NAMES).tolist() == pytest.approx([6 / 9, 6 / 3, 6 / 6])
    # FERS (AffectNet, 8 classes): .268 for the 134,415 happy faces of 287,651.
    counts = [74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750]
    weights = class_weights(np.repeat(np.arange(8), counts), list("abcdefgh"))
    assert weights.tolist() == pytest.approx([0.480, 0.268, 1.412, 2.552, 5.638, 9.455, 1.445, 9.588], abs=1e-3)
    with pytest.raises(InputError, match="no face to train on shows 'happy'"):
        class_weights(np.array([0, 2]), NAMES)


def test_the_data_measures_the_fitted_splits_only_and_holds_val_apart() -> None:
    store = store_of(["train"] * 6 + ["val"] * 3 + ["test"] * 3, [0, 1, 2] * 4)
    data = FaceData(store, batch_size=4, prepare=prepare, standardise=standardise, changes=Augmentation(), seed=0)
    assert data.mean == pytest.approx((store.images[:6].mean() / 255,))
    assert sorted(data.train_dataloader().rows.tolist()) == list(range(6))
    assert data.val_dataloader().rows.tolist() == [6, 7, 8]
    shown = torch.cat([images for images, _ in data.val_dataloader()])
    assert torch.allclose(shown[:, 0], (torch.from_numpy(store.images[6:9]) / 255 - data.mean[0]) / data.std[0], atol=1e-5)


def test_test_faces_are_in_no_batch_even_when_val_is_fitted_too() -> None:
    store = store_of(["train"] * 6 + ["val"] * 3 + ["test"] * 3, [0, 1, 2] * 4)
    fitted = ("train", "val")
    data = FaceData(store, batch_size=4, prepare=prepare, standardise=standardise, changes=Augmentation(), seed=0, fitted=fitted)
    assert sorted(data.train_dataloader().rows.tolist()) == list(range(9))
    assert data.mean == pytest.approx((store.images[:9].mean() / 255,))


def test_a_split_without_faces_is_refused() -> None:
    with pytest.raises(InputError, match="no face in split 'val'"):
        split_rows(store_of(["train", "test"], [0, 1]), "train", "val")
