"""How a training run is watched and stopped from outside."""

from torch import nn

__all__ = ["Callback", "StopTraining"]


class StopTraining(Exception):
    """Raised by a callback to end training now; `fit` returns the best state so far."""


class Callback:
    """What `fit` tells while it runs; override what you need."""

    def on_step(self, done: int, total: int, loss: float) -> None:
        """Hears the mean loss since the epoch began, every few steps.

        Args:
            done: Steps done in this run.
            total: Steps of the whole run.
            loss: Mean training loss of the epoch so far.
        """

    def on_epoch(self, history: list[dict], model: nn.Module) -> None:
        """Sees the history (one row an epoch, the newest last) and the model that would be kept."""
