"""Every network of the course by name; blocks that several networks share stand once."""

from rsprune_lib.models.blocks import Network, SqueezeExcite, Unit
from rsprune_lib.models.copying import copied
from rsprune_lib.models.mode import evaluating, placement
from rsprune_lib.models.registry import create_model, model_names, plain_name

__all__ = [
    "Network",
    "SqueezeExcite",
    "Unit",
    "copied",
    "create_model",
    "evaluating",
    "model_names",
    "placement",
    "plain_name",
]
