"""Something to practise on where nothing is prepared yet: control faces in memory, some with a planted wrong label."""

from __future__ import annotations

import numpy as np

from ferlab.control import read
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS

FACES, PEOPLE, WRONG = 112, 14, 0.25


def practice_store(*, seed: int = 7) -> Store:
    """Return drawn faces that nothing covers, with `true_target`, split by person into train and val; nothing is written."""
    images, faces = read(faces=FACES, subjects=PEOPLE, size=72, seed=seed, label_noise=WRONG)
    seen = np.flatnonzero((faces["occluder"] == "none").to_numpy())
    images, faces = [images[row] for row in seen], faces.iloc[seen].reset_index(drop=True)
    people = sorted(set(faces["subject"]))
    faces = faces.assign(split=np.where(faces["subject"].isin(people[: PEOPLE // 3]), "val", "train"))
    return Store(images=np.stack(images), faces=faces, expressions=EXPRESSIONS)
