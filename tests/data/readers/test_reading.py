"""The table of readers and the checks around them."""

import importlib.util
import inspect

import numpy as np
import pandas as pd
import pytest

from ferlab.data.readers import reading as readers
from ferlab.data.readers.reading import READERS, read_source
from ferlab.paths import InputError


def read(raw, *, size=4):
    faces = pd.DataFrame({"face_id": ["t/0"], "source": "toy", "source_path": str(raw), "usage": "x", "target": [size]})
    return np.full((1, size, size), 7, np.uint8), faces


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(readers, "find_reader", lambda dataset: read)


def test_a_reader_gets_its_path_and_options(toy):
    images, faces = read_source("toy", "here", {"size": 3})
    assert images.shape == (1, 3, 3)
    assert faces["source_path"].item() == "here"


def test_an_unknown_option_is_named_with_the_nearest(toy):
    with pytest.raises(InputError, match=r"'toy' has no option 'sise'.*did you mean 'size'\?"):
        read_source("toy", "here", {"sise": 3})


def test_an_unknown_dataset_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"No dataset is called 'fer2103'.*did you mean 'fer2013'"):
        read_source("fer2103", "data/raw")


@pytest.mark.parametrize("dataset", READERS)
def test_every_reader_in_the_table_takes_a_path_and_keyword_options(dataset):
    module, function = READERS[dataset].split(":")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not written yet")
    first, *others = inspect.signature(getattr(importlib.import_module(module), function)).parameters.values()
    assert first.name == "raw"
    assert all(option.kind is option.KEYWORD_ONLY for option in others)


def test_a_reader_without_a_picture_for_every_row_is_found_out(monkeypatch):
    monkeypatch.setattr(readers, "find_reader", lambda dataset: lambda raw: (np.zeros((2, 2, 2), np.uint8), read(raw)[1]))
    with pytest.raises(InputError, match="2 pictures for 1 rows"):
        read_source("toy", "here")


@pytest.mark.parametrize(
    ("dataset", "options", "said"),
    [
        ("class_folders", {"name": 3}, r"prepare\.<set>\.options\.name of the dataset 'class_folders' is 3; expected a text"),
        ("class_folders", {"name": "\ud800"}, r"options\.name is '\\ud800', which is no text"),
        ("class_folders", {"labels": 3}, "labels .* is 3; expected pairs"),
        ("class_folders", {"labels": ["happy"]}, r"labels .* is \['happy'\]; expected pairs"),
        ("class_folders", {"labels": {"a": 3}}, r"options\.labels\.a .* is 3; expected a text"),
        ("class_folders", {"subject": 3}, "subject .* is 3; expected a text"),
        ("affectnet", {"classes": "8"}, "classes .* is '8'; expected 7 or 8"),
        ("affectnet", {"landmarks": 1}, "landmarks .* is 1; expected true or false"),
        ("control", {"rho": "high"}, "rho .* is 'high'; expected a number"),
        ("jaffe", {"labels": ["poser"]}, r"labels .* is \['poser'\]; expected 'poser' or 'ratings'"),
    ],
)
def test_an_option_of_another_type_is_named(tmp_path, dataset, options, said):
    with pytest.raises(InputError, match=said) as error:
        read_source(dataset, tmp_path, options)
    assert "\n" not in str(error.value)
