"""A small dataset read whole, as the stage prepare reads it picture by picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import check_faces, hash_images
from ferlab.data.readers.reading import read_source


def read_dataset(dataset: str, raw: str | Path, options: dict[str, Any] | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the images that are not excluded and their checked face table with `content_hash`."""
    pictures, faces = read_source(dataset, raw, options)
    kept = np.flatnonzero((faces.pop("excluded") == "").to_numpy()) if "excluded" in faces else np.arange(len(faces))
    images = np.stack([pictures[int(row)] for row in kept])
    return images, check_faces(faces.iloc[kept].reset_index(drop=True).assign(content_hash=hash_images(images)))
