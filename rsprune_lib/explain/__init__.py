"""Looking inside: what SE gates say, how distinct scores are, how far a changed network drifts, where it looks."""

from rsprune_lib.explain.cam import METHODS, ClassMapper, ClassMaps, class_maps
from rsprune_lib.explain.cam_numbers import Pointing, erasing, map_agreement, mean_interval, pointing, road
from rsprune_lib.explain.distinct import gini, kept_overlap, rank_correlation, variation
from rsprune_lib.explain.drift import Drift, drift
from rsprune_lib.explain.gates import GateSpread, GateValues, frozen, gate_values
from rsprune_lib.explain.map_layers import cam_layer, cam_layers
from rsprune_lib.explain.mosaics import Mosaics, mosaic_pointing, mosaics

__all__ = [
    "METHODS",
    "ClassMapper",
    "ClassMaps",
    "Drift",
    "GateSpread",
    "GateValues",
    "Mosaics",
    "Pointing",
    "cam_layer",
    "cam_layers",
    "class_maps",
    "drift",
    "erasing",
    "frozen",
    "gate_values",
    "gini",
    "kept_overlap",
    "map_agreement",
    "mean_interval",
    "mosaic_pointing",
    "mosaics",
    "pointing",
    "rank_correlation",
    "road",
    "variation",
]
