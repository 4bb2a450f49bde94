"""Networks, registered by name."""

from evenbit.models import mlp, resnet, vgg  # noqa: F401  (registers the networks)
from evenbit.models.registry import create_model, model_names, register_model

__all__ = ["create_model", "model_names", "register_model"]
