"""One loop, recipes as data, and losses."""

from rsprune_lib.training.loop import Callback, Fit, StopTraining, fit
from rsprune_lib.training.losses import LOSSES, FocalLoss, MiningLoss, make_loss
from rsprune_lib.training.recipes import RECIPES, Recipe, recipe

__all__ = [
    "LOSSES",
    "RECIPES",
    "Callback",
    "Fit",
    "FocalLoss",
    "MiningLoss",
    "Recipe",
    "StopTraining",
    "fit",
    "make_loss",
    "recipe",
]
