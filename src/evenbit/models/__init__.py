"""Networks, registered by name."""

from evenbit.models import basic, evennet, mlp, mobilenet, mobilenet_v2, resnet, vgg  # noqa: F401  (registers the networks)
from evenbit.models.registry import Normalize, create_model, model_names, register_model

__all__ = ["Normalize", "create_model", "model_names", "register_model"]
