"""Every network of the course by name; blocks that several networks share stand once."""

from rsprune_lib.models.blocks import Network, SqueezeExcite, Unit
from rsprune_lib.models.copying import copied
from rsprune_lib.models.exits import Early, add_exits, exit_places, run_early, without_exits
from rsprune_lib.models.hooks import hooked
from rsprune_lib.models.mode import evaluating, placement
from rsprune_lib.models.registry import create_model, model_names, plain_name

__all__ = [
    "Early",
    "Network",
    "SqueezeExcite",
    "Unit",
    "add_exits",
    "copied",
    "create_model",
    "evaluating",
    "exit_places",
    "hooked",
    "model_names",
    "placement",
    "plain_name",
    "run_early",
    "without_exits",
]
