"""A small dataset read whole, as the stage prepare reads it picture by picture; or refused by its reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import check_faces, hash_images
from ferlab.data.readers.reading import read_source
from ferlab.paths import InputError


def read_dataset(dataset: str, raw: str | Path, options: dict[str, Any] | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the images that are not excluded and their checked face table with `content_hash`."""
    pictures, faces = read_source(dataset, raw, options)
    kept = np.flatnonzero((faces.pop("excluded") == "").to_numpy()) if "excluded" in faces else np.arange(len(faces))
    images = np.stack([pictures[int(row)] for row in kept])
    return images, check_faces(faces.iloc[kept].reset_index(drop=True).assign(content_hash=hash_images(images)))


def refuse(read: Callable[..., Any], root: Path, *said: str, **options: Any) -> None:
    """Assert that a reader refuses a delivery in one line that holds every text of `said`."""
    with pytest.raises(InputError) as raised:
        read(root, **options)
    assert "\n" not in str(raised.value)
    for words in said:
        assert words in str(raised.value), str(raised.value)
