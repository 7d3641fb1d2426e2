"""How a training run is watched, steered and stopped from outside."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Callback", "StopTraining"]


class StopTraining(Exception):
    """Raised by a callback to end training now; `fit` returns the best state so far."""


class Callback:
    """What `fit` calls while it runs; override what you need.

    An objective that is a callback too is called like any other; so a loss can grow with the epochs, keep a count of
    its steps over a kill, or train parameters of its own.
    """

    def on_start(self, model: nn.Module) -> None:
        """Sees the copy that will be trained, before its optimiser is made: to freeze or to add parameters.

        State of an earlier run is dropped here.
        """

    def on_epoch_start(self, epoch: int, model: nn.Module) -> None:
        """Sees the network, in training mode, before an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            model: The network that is trained.
        """

    def on_step(self, done: int, total: int, loss: float) -> None:
        """Hears the mean loss since the epoch began, every few steps.

        Args:
            done: Steps done in this run.
            total: Steps of the whole run.
            loss: Mean training loss of the epoch so far.
        """

    def on_trained(
        self, epoch: int, epochs: int, networks: Sequence[nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        """Sees an epoch's result before it is validated: to change weights.

        Args:
            epoch: Epochs that are done, this one included.
            epochs: Of the whole run.
            networks: The network that is trained and, if the recipe averages, the averaged one; the last is validated.
            optimizer: Of the first one's parameters.
        """

    def may_keep(self) -> bool:
        """Whether the network that is being validated may become the best one."""
        return True

    def on_validation(self, row: dict[str, Any], records: Tensor, labels: Tensor, model: nn.Module) -> None:
        """Sees what was answered on the validation part, before the checkpoint of the epoch is written.

        Args:
            row: Of the history; numbers may be added.
            records: (N, ...) what `rsprune_lib.tasks.Task.record` keeps of each image.
            labels: (N,) classes.
            model: The network that was validated.
        """

    def on_epoch(self, history: list[dict], model: nn.Module) -> None:
        """Sees the history (one row an epoch, the newest last) and the model that would be kept."""

    def on_end(self, model: nn.Module) -> None:
        """Sees the network that `fit` returns: to remove what `on_start` added."""

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed, as plain values; nothing if it only watches."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: tensors, numbers, lists and dicts only."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a saved state back."""
