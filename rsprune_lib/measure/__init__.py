"""What a network weighs, how long it takes, how good it is, and where those numbers come from."""

from rsprune_lib.confusion import EXCLUDE, ClassNumbers, class_numbers, resampled_classes, resampled_gain
from rsprune_lib.measure.boundaries import boundary_counts, boundary_f1, edges_of
from rsprune_lib.measure.cost import Cost, LayerCost, cost, deployed_cost, example_images, layer_costs
from rsprune_lib.measure.early_exit import (
    Outcome,
    conformal_level,
    oracle,
    outcome,
    promise,
    sweep,
    tuned_to,
)
from rsprune_lib.measure.exit_rules import EXIT_RULES, ExitRule
from rsprune_lib.measure.latency import Latency, latencies, latency
from rsprune_lib.measure.layer_time import LayerTime, layer_times, macs_beside_times
from rsprune_lib.measure.lean import lean
from rsprune_lib.measure.leaving import EarlyExit, exit_costs, latencies_on, measure_leaving, runs_in_turn
from rsprune_lib.measure.paired import Paired, compare
from rsprune_lib.measure.quality import Quality, evaluate, predict, quality, wilson
from rsprune_lib.measure.result import Result, git_state, measure, measure_in_turn, provenance
from rsprune_lib.measure.speed import Speed

__all__ = [
    "EXCLUDE",
    "EXIT_RULES",
    "ClassNumbers",
    "Cost",
    "EarlyExit",
    "ExitRule",
    "Latency",
    "LayerCost",
    "LayerTime",
    "Outcome",
    "Paired",
    "Quality",
    "Result",
    "Speed",
    "boundary_counts",
    "boundary_f1",
    "class_numbers",
    "compare",
    "conformal_level",
    "cost",
    "deployed_cost",
    "edges_of",
    "evaluate",
    "example_images",
    "exit_costs",
    "git_state",
    "latencies",
    "latencies_on",
    "latency",
    "layer_costs",
    "layer_times",
    "lean",
    "macs_beside_times",
    "measure",
    "measure_in_turn",
    "measure_leaving",
    "oracle",
    "outcome",
    "predict",
    "promise",
    "provenance",
    "quality",
    "resampled_classes",
    "resampled_gain",
    "runs_in_turn",
    "sweep",
    "tuned_to",
    "wilson",
]
