from __future__ import annotations

import errno
import json
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

from ferlab.expressions import EXPRESSIONS
from ferlab.models import create_model, load_model, save_model
from ferlab.paths import InputError


def saved(path: Path, *, seed: int = 0, **changes: object) -> Path:
    torch.manual_seed(seed)
    module = create_model("five_layer", pool="3x3same")
    values = {"name": "five_layer", "options": {"pool": "3x3same"}, "expressions": EXPRESSIONS, "mean": (0.5,), "std": (0.25,)}
    save_model(path, changes.pop("module", module), **{**values, "size": 48, "channels": 1, **changes})  # type: ignore[arg-type]
    return path


def test_a_net_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = create_model("five_layer", pool="3x3same").to(memory_format=torch.channels_last).eval()
    loaded = load_model(saved(tmp_path / "w.safetensors", module=module))
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48)).astype(np.uint8)
    images = loaded.normalise(faces)
    assert (loaded.name, loaded.options, loaded.expressions, loaded.target_layer) == ("five_layer", {"pool": "3x3same"}, EXPRESSIONS, "relu3")
    assert (loaded.mean, loaded.std, loaded.size, loaded.channels, loaded.trained_on) == ((0.5,), (0.25,), 48, 1, ("train",))
    assert torch.allclose(images[:, 0], (torch.from_numpy(faces) / 255 - 0.5) / 0.25)
    assert not loaded.module.training
    assert torch.allclose(loaded.module(images), module(images), atol=1e-5)


def test_a_mean_image_and_what_is_known_of_the_faces_travel_with_the_weights(tmp_path: Path) -> None:
    mean, steps = torch.rand(1, 48, 48), {"equalise": "histogram", "size": 48}
    path = saved(tmp_path / "w.safetensors", mean=mean, std=(1.0,), preparation=steps, sources=["control:fer2013"])
    loaded = load_model(path)
    assert torch.equal(loaded.mean, mean)
    assert (loaded.preparation, loaded.sources) == (steps, ("control:fer2013",))
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48)).astype(np.uint8)
    assert torch.allclose(loaded.normalise(faces)[:, 0], torch.from_numpy(faces) / 255 - mean[0], atol=1e-6)
    old = load_model(saved(tmp_path / "old.safetensors"))
    assert (old.mean, old.preparation, old.sources) == ((0.5,), {}, ())
    with pytest.raises(InputError, match=r"small\.safetensors: its mean image is \(1, 24, 24\), expected \(1, 48, 48\)"):
        load_model(saved(tmp_path / "small.safetensors", mean=torch.rand(1, 24, 24)))
    card = {"channels": 1, "expressions": list(EXPRESSIONS), "trained_on": ["train"], "mean": [0.5], "name": "five_layer"}
    card |= {"options": {}, "size": 48, "std": [0.25], "sources": "fer2013"}
    save_file(load_file(path), path, metadata={"ferlab": json.dumps(card)})
    with pytest.raises(InputError, match="`sources` of its card is 'fer2013', expected a list"):
        load_model(path)


def test_equal_nets_give_equal_bytes_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one, two = saved(tmp_path / "a.safetensors"), saved(tmp_path / "deep" / "b.safetensors")
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()
    assert saved(tmp_path / "c.safetensors", seed=1).read_bytes() != one.read_bytes()


def test_the_metadata_is_one_string_under_one_key(tmp_path: Path) -> None:
    data = saved(tmp_path / "w.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["ferlab"]


def test_loading_leaves_the_callers_generator_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(path)
    assert torch.equal(torch.rand(2), expected)


def one_line(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_model(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_missing_truncated_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors")
    assert "train the run first" in one_line(tmp_path / "none.safetensors")
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:100_000])
    assert "not a whole safetensors file" in one_line(tmp_path / "short.safetensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    assert "not a whole safetensors file" in one_line(tmp_path / "empty.safetensors")
    save_file(load_file(path), tmp_path / "foreign.safetensors")
    assert "no ferlab card" in one_line(tmp_path / "foreign.safetensors")
    save_file({}, tmp_path / "half.safetensors", metadata={"ferlab": '{"name": "five_layer"}'})
    assert "lacks channels, expressions" in one_line(tmp_path / "half.safetensors")


def test_files_of_other_nets_or_classes_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "did you mean 'five_layer'" in one_line(saved(tmp_path / "name.safetensors", name="five_layers"))
    assert "unknown option 'pooling'" in one_line(saved(tmp_path / "option.safetensors", options={"pooling": "2x2"}))
    assert "tensor 'bn0.bias' of the model is missing" in one_line(saved(tmp_path / "net.safetensors", name="baseline", options={}))
    assert "(7,), the model and its classes need (8,)" in one_line(saved(tmp_path / "classes.safetensors", expressions=[*EXPRESSIONS, "contempt"]))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    module = create_model("five_layer", pool="3x3same")
    with torch.no_grad():
        module.conv2.weight[0, 0, 0, 0] = torch.nan
    assert "'conv2.weight' holds NaN" in one_line(saved(tmp_path / "nan.safetensors", module=module))


def test_faces_of_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    colour = create_model("five_layer", None, 3, pool="3x3same")
    assert "'conv1.weight' has shape (32, 3, 5, 5), the model and its classes need (32, 1, 5, 5)" in one_line(
        saved(tmp_path / "w.safetensors", module=colour)
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mean": [0.5, 0.5]}, "`mean` of its card is [0.5, 0.5], expected 1 numbers"),
        ({"mean": []}, "`mean` of its card is [], expected 1 numbers"),
        ({"std": [0.0]}, "`std` of its card is [0.0], expected a list of numbers above 0"),
        ({"mean": [float("nan")]}, "`mean` of its card is [nan]"),
        ({"mean": [True]}, "`mean` of its card is [True]"),
        ({"expressions": "happy"}, "`expressions` of its card is 'happy', expected a list"),
        ({"expressions": ["a", "a"]}, "expected a list of different names"),
        ({"expressions": [1, 2]}, "expected a list of different names"),
        ({"trained_on": [[]]}, "`trained_on` of its card is [[]], expected a list of names"),
        ({"size": "48"}, "`size` of its card is '48', expected a whole number of 1 to 1024"),
        ({"size": 0}, "`size` of its card is 0"),
        ({"size": -1}, "`size` of its card is -1"),
        ({"size": True}, "`size` of its card is True"),
        ({"size": 10**9}, "`size` of its card is 1000000000"),
        ({"channels": 10**6}, "`channels` of its card is 1000000, expected 1 or 3"),
        ({"channels": True}, "`channels` of its card is True, expected 1 or 3"),
        ({"channels": 1.0}, "`channels` of its card is 1.0, expected 1 or 3"),
        ({"channels": [1]}, "`channels` of its card is [1], expected 1 or 3"),
        ({"values": [1]}, "`values` of its card is [1], expected two ends for each"),
        ({"values": {"valence": 1}}, "expected two ends for each"),
        ({"values": {"valence": [1, "a"]}}, "expected two ends for each"),
        ({"values": {"valence": [1, -1]}}, "expected two ends for each"),
        ({"output": "x"}, "`output` of its card is 'x', expected softmax or sigmoid"),
        ({"output": ["softmax"]}, "expected softmax or sigmoid"),
    ],
)
def test_a_card_with_a_wrong_value_is_refused_by_name(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    card = json.loads(weights_metadata(saved(tmp_path / "w.safetensors")))
    (tmp_path / "w.safetensors").write_bytes(save({"a": torch.zeros(1)}, metadata={"ferlab": json.dumps(card | changes)}))
    assert named in one_line(tmp_path / "w.safetensors")


def weights_metadata(path: Path) -> str:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["ferlab"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"size": 47}, "fit no model"),
        ({"options": {"pool": 3}}, ""),
        ({"options": {"pool": ["3x3same"]}}, ""),
        ({"options": {"channels": 10**9}}, ""),
        ({"options": {"size": "x"}}, ""),
        ({"expressions": [f"e{n}" for n in range(100)]}, "tensor"),
        ({"values": {f"v{n}": [0, 1] for n in range(99)}}, "the model and its classes need"),
        ({"values": {f"v{n}": [0, 1] for n in range(101)}}, "expected two ends for each"),
    ],
)
def test_a_card_that_is_not_true_of_its_net_is_refused(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors")
    card = json.loads(weights_metadata(path))
    path.write_bytes(save(load_file(path), metadata={"ferlab": json.dumps(card | changes)}))
    assert named in one_line(path)


def test_options_that_ask_for_terabytes_take_no_memory(tmp_path: Path) -> None:
    for name, options, said in (
        ("baseline_text", {"fc_units": 65_536}, "the model and its classes need"),
        ("baseline_text", {"fc_units": 10**9}, "`options` of its card"),
        ("compact", {"blocks": [10**9, 1, 1]}, "`options` of its card"),
        ("compact", {"widths": {"a": 1}}, "`options` of its card"),
    ):
        path = saved(tmp_path / "w.safetensors", name=name, options=options)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert said in one_line(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB; these weights would take 4.8 GB


def test_a_card_that_is_no_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(save({"a": torch.zeros(1)}, metadata={"ferlab": "3"}))
    assert "no dict but int" in one_line(tmp_path / "w.safetensors")


class RunsCode:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("torch_made", [True, False])
def test_a_pickle_is_never_opened(torch_made: bool, tmp_path: Path) -> None:
    path, made = tmp_path / "w.safetensors", tmp_path / "made"
    if torch_made:
        torch.save({"a": torch.zeros(1), "note": RunsCode(made)}, path)
    else:
        path.write_bytes(pickle.dumps(RunsCode(made)))
    assert "expected one written by ferlab.models.save_model" in one_line(path)
    assert not made.exists()
    pickle.loads(pickle.dumps(RunsCode(made)))
    assert made.exists()  # so it would have


def refused(path: Path, **changes: object) -> str:
    with pytest.raises(InputError) as raised:
        saved(path, seed=1, **changes)
    message = str(raised.value)
    assert message.startswith(f"{path}: not saved: ")
    assert "\n" not in message
    return message


def test_a_disk_that_fills_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "w.safetensors")
    good = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device (9.7 MB); the file from before is kept; see to that and save again" in refused(path)
    assert "nothing is left there" in refused(tmp_path / "new.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == good


def test_a_link_in_the_way_is_taken_away_not_followed(tmp_path: Path) -> None:
    """Another user who guesses the name of the unfinished file could have it written over a file of ours."""
    other = tmp_path / "other.txt"
    other.write_text("not to be touched")
    (tmp_path / f"w.safetensors.{os.getpid()}.part").symlink_to(other)
    path = saved(tmp_path / "w.safetensors")
    assert other.read_text() == "not to be touched"
    assert not path.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.txt", "w.safetensors"]


def test_a_save_cut_short_before_its_rename_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "w.safetensors")
    good = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            saved(path, seed=1)
    assert path.read_bytes() == good
    assert saved(path, seed=1).read_bytes() != good  # what lay beside is written over
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file or directory" in refused(tmp_path / "none" / "w.safetensors")
