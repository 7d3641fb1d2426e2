"""Every network of the course by name; blocks that several networks share stand once."""

from rsprune_lib.models.blocks import Network, SqueezeExcite, Unit
from rsprune_lib.models.copying import copied, for_inference
from rsprune_lib.models.exits import Early, add_exits, run_early, without_exits
from rsprune_lib.models.foreign import LIBRARIES
from rsprune_lib.models.gfnet import GlobalFilter
from rsprune_lib.models.hooks import hooked
from rsprune_lib.models.loading import load_weights
from rsprune_lib.models.mode import evaluating, placement, plain_attention
from rsprune_lib.models.places import exit_places, spread_places
from rsprune_lib.models.registry import NETWORKS, NetworkEntry, create_model, model_names, plain_name, takes_size
from rsprune_lib.models.units import channels_of, first_image, units

__all__ = [
    "LIBRARIES",
    "NETWORKS",
    "Early",
    "GlobalFilter",
    "Network",
    "NetworkEntry",
    "SqueezeExcite",
    "Unit",
    "add_exits",
    "channels_of",
    "copied",
    "create_model",
    "evaluating",
    "exit_places",
    "first_image",
    "for_inference",
    "hooked",
    "load_weights",
    "model_names",
    "placement",
    "plain_attention",
    "plain_name",
    "run_early",
    "spread_places",
    "takes_size",
    "units",
    "without_exits",
]
