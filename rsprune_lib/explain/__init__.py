"""Looking inside: what SE gates say, how distinct scores are, how far a changed network drifts."""

from rsprune_lib.explain.distinct import gini, kept_overlap, rank_correlation, variation
from rsprune_lib.explain.drift import Drift, drift
from rsprune_lib.explain.gates import GateSpread, GateValues, frozen, gate_values

__all__ = [
    "Drift",
    "GateSpread",
    "GateValues",
    "drift",
    "frozen",
    "gate_values",
    "gini",
    "kept_overlap",
    "rank_correlation",
    "variation",
]
