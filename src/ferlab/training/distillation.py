"""Teachers: trained models whose word on a training face is mixed into its target, so that a small model learns from larger ones.

A teacher sees each face as the model in training does, changed and mixed alike: what it says of that very view is the target (Beyer et
al.: a consistent teacher). A face's own label keeps a share. No temperature: models fitted by smoothed labels or votes are soft enough.

References:
    Hinton, Vinyals & Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.
    Beyer, Zhai, Royer, Markeeva, Anil & Kolesnikov (2022), Knowledge distillation: A good teacher is patient and consistent, arXiv 2106.05237.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ferlab.models.hub import file_sha256
from ferlab.models.inputs import Mean, per_channel
from ferlab.models.weights import LoadedModel, load_model
from ferlab.paths import InputError, artefact
from ferlab.roles import Exposure, leak_sentence


@dataclass(frozen=True)
class Teachers:
    """Trained models on one device, in eval mode.

    Attributes:
        models: The models by the name of their run.
        sha256: Of their weights files, likewise; what they teach hangs on nothing else.
    """

    models: dict[str, LoadedModel]
    sha256: dict[str, str]

    @torch.no_grad()
    def probs(self, images: Tensor, *, mean: Mean, std: Sequence[float]) -> Tensor:
        """Return the mean of what the teachers say, float32 (N, K), rows summing to 1.

        Args:
            images: float32 (N, C, S, S), standardised by `mean` and `std`, which each teacher's own take the place of.
            mean: C means on the scale [0, 1], or a mean image (C, S, S).
            std: C standard deviations, likewise.
        """
        plain = images * per_channel(std, like=images) + per_channel(mean, like=images)
        said = [model.probs(model.module(model.scale(plain))) for model in self.models.values()]
        return torch.stack(said).mean(dim=0)


def load_teachers(
    names: Sequence[str], *, run: str, expressions: tuple[str, ...], shape: tuple[int, int], seen: Exposure, device: str
) -> Teachers:
    """Load the models of finished runs.

    Args:
        names: The runs.
        run: The run that is taught, for errors.
        expressions: Its classes.
        shape: Channels and side of the faces it takes.
        seen: The splits it is fitted and selected on. A teacher that has seen more of another split would leak the faces that are to judge it.
        device: Where the teachers are wanted.

    Raises:
        InputError: A run without weights, or whose model has other classes, takes other faces or was fitted or selected on other splits.
    """
    models, sums = {}, {}
    for name in names:
        path, where = artefact("train", "weights", name), f"run {run!r}: train.teachers: {name}"
        if not path.is_file():
            raise InputError(f"{where}: it has no weights yet; train it first: dvc repro train@{name}")
        model = load_model(path)
        if model.expressions != expressions:
            raise InputError(f"{where}: it tells {', '.join(model.expressions)} apart, not {', '.join(expressions)}; choose another run")
        if (model.channels, model.size) != shape:
            taken, wanted = (f"{c} channel{'s' * (c > 1)} of {s} px" for c, s in ((model.channels, model.size), shape))
            raise InputError(f"{where}: it takes {taken}, the taught model {wanted}; choose a run whose model takes the same")
        if more := Exposure(model.trained_on, model.selected_on).beyond(seen):
            raise InputError(f"{where}: {leak_sentence(more, seen)}; choose another teacher, or train both by the same train.select and train.refit")
        models[name], sums[name] = model, file_sha256(path)
        model.module.to(device, memory_format=torch.channels_last).requires_grad_(False)
    return Teachers(models, sums)
