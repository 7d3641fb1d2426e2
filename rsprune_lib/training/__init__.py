"""One loop, recipes as data, losses and how hard they pull."""

from rsprune_lib.training.callback import Callback, StopTraining
from rsprune_lib.training.checkpoint import CHECKPOINT
from rsprune_lib.training.distillation import Distillation
from rsprune_lib.training.exits import fit_gates, fit_heads, gate_targets
from rsprune_lib.training.loop import Fit, fit
from rsprune_lib.training.losses import LOSSES, FocalLoss, MiningLoss, losses_for, make_loss
from rsprune_lib.training.pulls import LossCurve, loss_curve, pull_shares, sample_pulls
from rsprune_lib.training.recipes import RECIPES, Recipe, recipe
from rsprune_lib.training.second_stage import SecondStage
from rsprune_lib.training.segmentation_losses import class_weights
from rsprune_lib.training.soft_pruning import SoftPruning
from rsprune_lib.training.spectral import Spectral
from rsprune_lib.training.tracking import Tracker, track
from rsprune_lib.training.warm_up import WarmUp

__all__ = [
    "CHECKPOINT",
    "LOSSES",
    "RECIPES",
    "Callback",
    "Distillation",
    "Fit",
    "FocalLoss",
    "LossCurve",
    "MiningLoss",
    "Recipe",
    "SecondStage",
    "SoftPruning",
    "Spectral",
    "StopTraining",
    "Tracker",
    "WarmUp",
    "class_weights",
    "fit",
    "fit_gates",
    "fit_heads",
    "gate_targets",
    "loss_curve",
    "losses_for",
    "make_loss",
    "pull_shares",
    "recipe",
    "sample_pulls",
    "track",
]
