from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from ferlab.control import read
from ferlab.data.augmentation import Augmentation, augment, draw_epoch, epoch_seed
from ferlab.data.batches import FaceBatches, FaceData, class_weights, epoch_order, share_of, split_rows, undersampled
from ferlab.data.shards import ShardedImages, ShardFiles
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.params import Train
from ferlab.paths import InputError
from ferlab.training import phases
from ferlab.training.fit import fit

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


def training(count: int = 50, *, images: object = None, **changes: object) -> FaceBatches:
    drawn, targets = numbered(count)
    images = drawn if images is None else images
    shared = {"batch_size": 8, "prepare": prepare, "normalise": same, "seed": 3}
    return FaceBatches(images, targets, np.arange(count), **{**shared, **changes})  # type: ignore[arg-type]


def store_of(splits: list[str], targets: list[int]) -> Store:
    images = np.random.default_rng(0).integers(0, 256, (len(splits), 8, 8)).astype(np.uint8)
    return Store(images=images, faces=pd.DataFrame({"split": splits, "target": targets}), expressions=NAMES)


def sharded(folder: Path, images: np.ndarray, *, block: int, memory: int = 2**20) -> ShardedImages:
    writer = ShardFiles(folder, faces_per_shard=block)
    writer.resume(0, None)
    for image in images:
        writer.append(image)
    writer.finish()
    return ShardedImages(folder, memory=memory)


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
    loader = FaceBatches(images, targets, np.arange(50), batch_size=8, prepare=prepare, normalise=same, seed=0, changes=Augmentation(flip=True))
    mirrored = 0
    for faces, rows in loader:
        for face, row in zip(faces, rows):
            plain = prepare(images[row : row + 1])[0]
            mirrored += int(torch.equal(face, plain.flip(2)))
            assert torch.equal(face, plain) or torch.equal(face, plain.flip(2))
    assert 10 < mirrored < 40


def test_repeats_show_each_face_of_a_batch_several_times_each_augmented_anew() -> None:
    images = torch.randint(0, 256, (50, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    changes, soft = Augmentation(flip=True, rotation=20.0, crop=0.8), torch.rand(50, 3)
    loader = training(images=images, changes=changes, repeats=3, soft_targets=soft)
    loader.set_epoch(2)
    draws = [draw_epoch(50, seed=3, epoch=2, repeat=repeat) for repeat in range(3)]
    assert len(loader) == 7
    for faces, rows, wanted in loader:
        count = len(rows) // 3
        assert torch.equal(wanted, soft[rows])
        for repeat, (views, same_rows) in enumerate(zip(faces.split(count), rows.split(count))):
            assert torch.equal(same_rows, rows[:count])
            assert torch.equal(views, augment(prepare(images[same_rows]), draws[repeat][same_rows], changes))
        assert not torch.equal(faces[:count], faces[count : 2 * count])
    plain = training(images=images, changes=changes)
    plain.set_epoch(2)
    assert all(torch.equal(one[0], several[0][: len(one[0])]) for one, several in zip(plain, loader))
    assert training(repeats=3, seed=None).repeats == 1  # what is scored is scored once


def test_processes_share_the_faces_of_a_batch_with_all_their_repeats() -> None:
    def make(**place: int) -> FaceBatches:
        return training(50, batch_size=12, changes=Augmentation(flip=True, rotation=20.0), repeats=2, **place)

    ranks = [make(rank=rank, world=2) for rank in range(2)]
    for (faces, rows), *parts in zip(make(), *ranks):
        by_repeat = [torch.cat([part[0].chunk(2)[repeat] for part in parts]) for repeat in range(2)]
        if len(rows) >= 8:
            torch.testing.assert_close(torch.cat(by_repeat), faces)


def test_without_a_seed_faces_come_in_store_order_as_they_are() -> None:
    loader = training(17, seed=None)
    assert rows_of(loader) == list(range(17))
    assert len(loader) == 3


def test_a_training_batch_of_one_face_is_excluded_and_a_scored_one_is_not() -> None:
    assert [len(t) for _, t in training(17)] == [8, 8]
    assert [len(t) for _, t in training(17, seed=None)] == [8, 8, 1]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("count", [48, 50, 52, 53])
def test_processes_share_every_batch_of_the_same_epoch(world: int, count: int) -> None:
    whole = training(count, batch_size=12, changes=Augmentation(flip=True, rotation=20.0))
    ranks = [training(count, batch_size=12, changes=Augmentation(flip=True, rotation=20.0), rank=rank, world=world) for rank in range(world)]
    for loader in (whole, *ranks):
        loader.set_epoch(2)
    assert {len(loader) for loader in ranks} == {len(whole)}
    for number, ((images, targets), *parts) in enumerate(zip(whole, *ranks, strict=True)):
        if len(targets) < 2 * world:  # too few to share
            assert all(torch.equal(part[0], images) and torch.equal(part[1], targets) for part in parts)
        else:
            assert torch.equal(torch.cat([part[0] for part in parts]), images)
            assert torch.equal(torch.cat([part[1] for part in parts]), targets)
        shares = [loader.share(number) for loader in ranks]
        means = torch.stack([share.weight * part[1].double().mean() for share, part in zip(shares, parts)])
        sums = torch.stack([share.counted * part[1].double().sum() for share, part in zip(shares, parts)])
        assert means.mean().item() == pytest.approx(targets.double().mean().item(), rel=1e-12)
        assert sums.sum().item() == pytest.approx(targets.sum().item(), rel=1e-12)


def test_shares_differ_by_a_face_and_one_process_has_all() -> None:
    shares = [share_of(64, 81, rank=rank, world=2) for rank in (0, 1)]
    assert [share.faces for share in shares] == [slice(64, 72), slice(72, 81)]
    assert [share.weight for share in shares] == [16 / 17, 18 / 17]
    alone = share_of(64, 81, rank=0, world=1)
    assert (alone.faces, alone.weight, alone.counted) == (slice(64, 81), 1.0, 1.0)


@pytest.mark.parametrize(("count", "world"), [(50, 2), (49, 3), (12, 3), (3, 3)])
def test_scored_faces_are_divided_among_the_processes_each_once(count: int, world: int) -> None:
    ranks = [training(count, seed=None, batch_size=12, rank=rank, world=world) for rank in range(world)]
    assert sorted(row for loader in ranks for row in rows_of(loader)) == list(range(count))
    assert all(len(targets) <= 12 // world for loader in ranks for _, targets in loader)
    assert [len(list(loader)) for loader in ranks] == [len(loader) for loader in ranks]


def test_where_there_are_fewer_scored_faces_than_processes_each_has_all() -> None:
    assert [rows_of(training(2, seed=None, rank=rank, world=3)) for rank in range(3)] == [[0, 1]] * 3


def test_a_memory_map_gives_the_batches_that_a_resident_tensor_gives() -> None:
    images, _ = numbered(50)
    mapped = training()
    mapped.images = images.numpy()
    for (a, _), (b, _) in zip(mapped, training()):
        assert torch.equal(a, b)


def test_a_part_of_a_mapped_file_is_asked_for_where_it_lies(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 40, 40)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    part = np.load(tmp_path / "images.npy", mmap_mode="r")[30:80]
    for (a, _), (b, _) in zip(training(images=part), training(images=torch.from_numpy(images[30:80])), strict=True):
        assert torch.equal(a, b)


def test_without_blocks_the_order_is_the_one_permutation_it_always_was() -> None:
    assert epoch_order(12, seed=3, epoch=1).tolist() == [5, 11, 1, 10, 7, 3, 2, 9, 0, 4, 8, 6]
    for epoch in range(3):
        expected = np.random.default_rng(epoch_seed(0, epoch, "order")).permutation(1000)
        np.testing.assert_array_equal(epoch_order(1000, seed=0, epoch=epoch), expected)
        loader = training()
        loader.set_epoch(epoch)
        assert rows_of(loader) == np.random.default_rng(epoch_seed(3, epoch, "order")).permutation(50).tolist()


@pytest.mark.parametrize(("n", "block", "window"), [(1000, 64, 4), (1000, 64, 1), (1000, 64, 99), (7, 64, 2), (64, 8, 8), (1000, 1, 30)])
def test_with_blocks_each_face_comes_once_and_few_blocks_are_in_use_at_a_time(n: int, block: int, window: int) -> None:
    order = epoch_order(n, seed=1, epoch=2, block=block, window=window)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed=1, epoch=2, block=block, window=window))
    assert n == 7 or not np.array_equal(order, epoch_order(n, seed=1, epoch=3, block=block, window=window))
    places = [np.flatnonzero(order // block == number) for number in range(-(-n // block))]
    in_use = sum(((found[0] <= np.arange(n)) & (np.arange(n) <= found[-1])).astype(int) for found in places)
    assert np.max(in_use) <= window


def test_blocks_are_those_of_the_store_not_of_the_split() -> None:
    rows = np.flatnonzero(np.arange(300) % 3 > 0)
    order = rows[epoch_order(len(rows), seed=0, epoch=0, block=10, window=1, rows=rows)] // 10
    assert np.count_nonzero(np.diff(order)) == 29


def test_blocks_shuffle_nearly_as_well_as_one_permutation_even_where_faces_lie_by_class() -> None:
    n, block = 50_000, 64
    classes = np.arange(n) * 7 // n

    def figures(order: np.ndarray) -> tuple[float, float, float]:
        """Mean distance of neighbours (1: as at random), neighbours of one class, spread of the classes' shares of a batch of 128."""
        shares = [np.bincount(part, minlength=7) / 128 for part in np.split(classes[order[: n // 128 * 128]], n // 128)]
        return np.abs(np.diff(order)).mean() / (n / 3), float(np.mean(np.diff(classes[order]) == 0)), float(np.std(shares, axis=0).mean())

    distance, same_class, spread = figures(epoch_order(n, seed=0, epoch=0))
    assert distance == pytest.approx(1, abs=0.01)
    assert same_class == pytest.approx(1 / 7, abs=0.01)
    assert spread == pytest.approx(np.sqrt(1 / 7 * 6 / 7 / 128), abs=0.002)
    distance, same_class, spread = figures(epoch_order(n, seed=0, epoch=0, block=block, window=55))
    assert distance > 0.97
    assert same_class < 0.18
    assert spread < 0.065
    distance, same_class, spread = figures(epoch_order(n, seed=0, epoch=0, block=block, window=1))
    assert distance < 0.1  # what the bounds above would show of a store that is only read shard by shard
    assert same_class > 0.95
    assert spread > 0.2
    orders = [np.argsort(epoch_order(n, seed=0, epoch=epoch, block=block, window=55)) for epoch in (0, 1)]
    assert abs(np.corrcoef(*orders)[0, 1]) < 0.1


def test_shards_give_the_batches_of_an_array_in_the_same_blocks_and_decode_each_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = np.random.default_rng(0).integers(0, 256, (200, 8, 8)).astype(np.uint8), torch.arange(200)
    read_shards = sharded(tmp_path, images, block=10, memory=8 * 10 * 64)
    decoded: list[int] = []
    decode = ShardedImages._decode
    monkeypatch.setattr(ShardedImages, "_decode", lambda self, number, faces: decoded.append(number) or decode(self, number, faces))
    shared = {"batch_size": 8, "prepare": prepare, "normalise": same, "seed": 3, "changes": Augmentation(flip=True), "window": 4}
    rows = np.flatnonzero(np.arange(200) % 5 < 4)
    plain = [FaceBatches(some, targets, rows, block=10, **shared) for some in (images, torch.from_numpy(images))]  # type: ignore[arg-type]
    for epoch in range(2):
        np.asarray(read_shards)  # lets go of what is kept
        decoded.clear()
        loaders = (FaceBatches(read_shards, targets, rows, **shared), *plain)  # type: ignore[arg-type]
        for loader in loaders:
            loader.set_epoch(epoch)
        for (a, first), (b, second), (c, third) in zip(*loaders, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)
            assert first.tolist() == second.tolist() == third.tolist()
        assert sorted(decoded) == list(range(20))
        assert len(read_shards._kept) == 8


def test_an_epoch_can_be_gone_on_from_without_those_before_it(tmp_path: Path) -> None:
    images, targets = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8), torch.arange(60)
    shared = {"batch_size": 8, "prepare": prepare, "normalise": same, "seed": 3, "changes": Augmentation(flip=True, rotation=10), "window": 2}
    read_shards = sharded(tmp_path, images, block=10)
    run = FaceBatches(read_shards, targets, np.arange(60), **shared)  # type: ignore[arg-type]
    for epoch in range(4):
        run.set_epoch(epoch)
        unbroken = list(run)
    resumed = FaceBatches(ShardedImages(tmp_path), targets, np.arange(60), **shared)  # type: ignore[arg-type]
    resumed.set_epoch(3)
    for (a, first), (b, second) in zip(unbroken, resumed, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(first, second)


def test_a_pass_that_is_left_early_leaves_nothing_behind(tmp_path: Path) -> None:
    images, _ = numbered(50)
    loader = training(images=sharded(tmp_path, images.numpy(), block=10))
    for _ in loader:
        break
    assert rows_of(loader) == rows_of(loader)


def test_the_window_fills_its_bytes() -> None:
    assert training().window == 2**29 // 64
    assert training(block=64).window == 2**29 // 64 // 64
    images = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (1000, 224, 224, 3), (0, 0, 0, 0))
    assert training(images=images, block=64).window == 55
    assert training(images=images, block=64, window=3).window == 3


def test_class_weights_are_n_over_k_times_n_c() -> None:
    assert class_weights(np.array([0, 0, 0, 1, 2, 2]), NAMES).tolist() == pytest.approx([6 / 9, 6 / 3, 6 / 6])
    # FERS (AffectNet, 8 classes): .268 for the 134,415 happy faces of 287,651.
    counts = [74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750]
    weights = class_weights(np.repeat(np.arange(8), counts), list("abcdefgh"))
    assert weights.tolist() == pytest.approx([0.480, 0.268, 1.412, 2.552, 5.638, 9.455, 1.445, 9.588], abs=1e-3)


def test_class_weights_are_of_the_expressions_that_occur() -> None:
    targets = np.array([0, 2, 2, 2])  # no happy face
    weights = class_weights(targets, NAMES)
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx([4 / 2, 0, 4 / 6])
    balanced = compute_class_weight("balanced", classes=np.array([0, 2]), y=targets)  # scikit-learn's knows the classes that occur
    assert weights[[0, 2]].tolist() == pytest.approx(balanced.tolist())
    assert weights[targets].mean() == pytest.approx(1)
    assert class_weights(np.array([1, 1]), NAMES).tolist() == [0, 1, 0]


def test_undersampling_keeps_so_many_faces_of_a_class_and_photographs_before_synthetic_ones() -> None:
    targets = [0] * 6 + [1] * 2 + [1] * 4 + [2]
    faces = pd.DataFrame({"target": targets, "derived_from": [""] * 8 + ["smote"] * 4 + [""]})
    rows = np.arange(13)
    kept = undersampled(faces, rows, most=3, seed=0)
    assert np.bincount(faces["target"][kept]).tolist() == [3, 3, 1]
    assert {6, 7, 12} <= set(kept.tolist())  # both photographs of class 1, beside one of the four made from them
    assert kept.tolist() == sorted(kept)
    assert kept.tolist() == undersampled(faces, rows, most=3, seed=0).tolist()
    drawn = {tuple(undersampled(faces, rows, most=3, seed=seed)[:3]) for seed in range(50)}
    assert len(drawn) > 10  # of 20 ways to choose three of six
    assert undersampled(faces, rows[1:], most=0, seed=0).tolist() == rows[1:].tolist()


def test_a_model_is_trained_on_the_faces_that_undersampling_keeps() -> None:
    store = store_of(["train"] * 9 + ["val"] * 3, [0, 1, 2] * 4)
    data = FaceData(store, batch_size=3, prepare=prepare, standardise=same, changes=Augmentation(), seed=0, most=1)
    assert np.bincount(data.targets).tolist() == [1, 1, 1]
    assert (len(data.train_batches.rows), len(data.val_batches.rows)) == (3, 3)


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
    data = FaceData(store, batch_size=4, prepare=prepare, standardise=standardise, changes=Augmentation(), seed=0, trained_on=fitted)
    assert sorted(data.train_dataloader().rows.tolist()) == list(range(9))
    assert data.mean == pytest.approx((store.images[:9].mean() / 255,))


def test_a_split_without_faces_is_refused() -> None:
    with pytest.raises(InputError, match="no face in split 'val'"):
        split_rows(store_of(["train", "test"], [0, 1]), "train", "val")


def test_a_set_that_is_small_enough_is_held_in_memory_and_a_larger_one_is_not(tmp_path: Path) -> None:
    store = store_of(["train"] * 6 + ["val"] * 3, [0, 1, 2] * 3)
    shards = Store(images=sharded(tmp_path, store.images, block=2), faces=store.faces, expressions=NAMES)
    shared = {"batch_size": 4, "prepare": prepare, "standardise": standardise, "changes": Augmentation(), "seed": 0}
    for some in (store, shards):
        assert isinstance(FaceData(some, **shared).train_batches.images, torch.Tensor)
        assert FaceData(some, resident=9 * 64 - 1, **shared).train_batches.images is some.images
    assert FaceData(shards, **shared).train_batches.block == 2
    assert not shards.images._kept
    both = FaceData(shards, **shared), FaceData(shards, resident=0, **shared), FaceData(store, block=2, **shared)
    assert both[0].mean == both[1].mean == both[2].mean
    for (a, _), (b, _), (c, _) in zip(*(data.train_batches for data in both), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.slow
def test_the_same_net_from_store_and_from_shards_has_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, faces = read(faces=160, subjects=16, seed=4)
    faces = faces.assign(split=np.where(np.arange(160) % 4 < 3, "train", "val"))
    settings = Train(epochs=2, batch_size=32, optimizer="sgd", lr=0.02, weight_decay=5e-4, schedule="one_cycle", threads=1, rotation=10.0)
    shards = sharded(tmp_path / "shards", images, block=16, memory=5 * 16 * 48 * 48)

    def weights(name: str, images: object, **order: int) -> bytes:
        monkeypatch.setattr(phases, "FaceData", functools.partial(FaceData, **order))
        store = Store(images=images, faces=faces, expressions=EXPRESSIONS)  # type: ignore[arg-type]
        result = fit(store, run=name, model="five_layer", options={}, seed=5, settings=settings, partial=tmp_path / name)
        result.save(tmp_path / f"{name}.safetensors")
        result.save_history(tmp_path / f"{name}.csv")
        return (tmp_path / f"{name}.safetensors").read_bytes() + (tmp_path / f"{name}.csv").read_bytes()

    from_shards = weights("shards", shards, window=3, resident=0)
    assert weights("memory", images, block=16, window=3) == from_shards
    assert weights("mapped", images, block=16, window=3, resident=0) == from_shards
    assert weights("other_order", images) != from_shards
