"""The nets: an explicit registry, one file per family, and weights that carry all that is needed to use them.

Owns building a model, its input transform and its weights file. Does not own training, and knows no dataset.
"""

from __future__ import annotations

from ferlab.models.create import count_parameters, create_model, model_card
from ferlab.models.registry import MODELS
from ferlab.models.weights import LoadedModel, load_model, save_model

__all__ = ["MODELS", "LoadedModel", "count_parameters", "create_model", "load_model", "model_card", "save_model"]
