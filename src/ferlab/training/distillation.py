"""Knowledge distillation: teacher probabilities are mixed into the training targets.

Teachers see each face with the student's augmentation and mixing (Beyer et al.: a consistent teacher), at their own size and number of channels.
Models trained on smoothed labels or votes have soft probabilities, so the temperature is 1 unless params say otherwise.
A teacher is a run, or the model that ships: a network distilled from one of its own kind is born again (Furlanello et al.).

References:
    Hinton, Vinyals & Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.
    Furlanello, Lipton, Tschannen, Itti & Anandkumar (2018), Born-Again Neural Networks, arXiv 1805.04770.
    Beyer, Zhai, Royer, Markeeva, Anil & Kolesnikov (2022), Knowledge distillation: A good teacher is patient and consistent, arXiv 2106.05237.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import pandas as pd
import torch
from torch import Tensor

from ferlab.models.graphs import Graph
from ferlab.models.hub import file_sha256
from ferlab.models.inputs import Mean, fit_planes, per_channel
from ferlab.models.weights import LoadedModel, load_model
from ferlab.origins import of_shipped
from ferlab.paths import SHIPS, InputError, read_json
from ferlab.results import teacher_file
from ferlab.roles import Exposure, leak_sentence


@dataclass(frozen=True)
class Teachers:
    """Trained models on one device, in eval mode.

    Attributes:
        models: Run, or "shipped" -> model.
        sha256: Likewise, the sha256 of its file.
    """

    models: dict[str, LoadedModel]
    sha256: dict[str, str]

    @torch.no_grad()
    def probs(self, images: Tensor, *, mean: Mean, std: Sequence[float], temperature: float = 1.0) -> Tensor:
        """Return the mean of the teachers' probabilities, float32 (N, K).

        Args:
            images: float32 (N, C, S, S), standardised by `mean` and `std`; each teacher standardises by its own.
            mean: C means on the scale [0, 1], or a mean image (C, S, S).
            std: C standard deviations, likewise.
            temperature: The teachers' logits are divided by it.
        """
        plain = images * per_channel(std, like=images) + per_channel(mean, like=images)
        probs = []
        for model in self.models.values():
            faces = fit_planes(plain, size=model.size, channels=model.channels)
            probs.append(model.probs(model.module(model.scale(faces)) / temperature))
        return torch.stack(probs).mean(dim=0)


def load_teachers(
    names: Sequence[str], *, run: str, expressions: tuple[str, ...], seen: Exposure, faces: pd.DataFrame, device: str
) -> Teachers:
    """Load the models of finished runs, and the one that ships.

    Args:
        names: The runs, or "shipped".
        run: The student's, in errors.
        expressions: The student's classes.
        seen: The splits it is trained and selected on; a teacher that has seen others would leak them.
        faces: The student's face table; it tells which of its splits the shipped model has seen.
        device: The teachers'.

    Raises:
        InputError: If a run has no weights, or its model has other classes, or was trained or selected on other splits.
    """
    models, sums = {}, {}
    for name in names:
        path, where = teacher_file(name), f"run {run!r}: train.teachers: {name}"
        if not path.is_file():
            missing = "no model ships with this clone" if name == SHIPS else f"it has no weights yet; train it first: dvc repro train@{name}"
            raise InputError(f"{where}: {missing}")
        model = _shipped(path, faces) if name == SHIPS else load_model(path)
        if model.expressions != expressions:
            raise InputError(f"{where}: its classes are {', '.join(model.expressions)}, not {', '.join(expressions)}; choose another run")
        if more := Exposure(model.trained_on, model.selected_on).beyond(seen):
            raise InputError(f"{where}: {leak_sentence(more, seen)}; choose another teacher, or train both by the same train.select and train.refit")
        models[name], sums[name] = model, file_sha256(path)
        model.module.to(device, memory_format=torch.channels_last).requires_grad_(False)
    return Teachers(models, sums)


def _shipped(path: Path, faces: pd.DataFrame) -> LoadedModel:
    """Return the model that ships, its splits those of `faces` that hold photographs it has seen, or may have."""
    card = read_json(path.with_name("card.json"), made_by="a clone of ferlab")
    if (found := file_sha256(path)) != card["sha256"]:
        raise InputError(f"{path}: changed or cut: its sha256 is {found[:12]}..., its card states {card['sha256'][:12]}...; get the file again")
    roles = {str(split): of_shipped(card).role(rows) for split, rows in faces.groupby("split", sort=False)}
    channels, module = card["channels"], Graph(onnx.load(path)).eval()
    return LoadedModel(
        module=module,
        options={},
        mean=(0.0,) * channels,  # its graph standardises
        std=(1.0,) * channels,
        target_layer=module.target_layer,
        trained_on=tuple(split for split, role in roles.items() if role in ("trained", "unknown")),
        selected_on=tuple(split for split, role in roles.items() if role == "selected_on"),
        expressions=tuple(card["expressions"]),
        **{key: card[key] for key in ("name", "size", "channels")},
    )
