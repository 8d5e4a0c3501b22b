"""The models: an explicit registry, one file per family, and weights files that carry all that is needed to predict."""

from __future__ import annotations

from ferlab.models.create import count_parameters, create_model, model_card
from ferlab.models.registry import MODELS
from ferlab.models.weights import LoadedModel, load_model, save_model

__all__ = ["MODELS", "LoadedModel", "count_parameters", "create_model", "load_model", "model_card", "save_model"]
