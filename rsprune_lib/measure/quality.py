"""How good a network is on a part of a data set, whatever its task."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.errors import ModelError
from rsprune_lib.models import evaluating, placement
from rsprune_lib.tasks import Quality, Task, get_task, task_of, wilson

__all__ = ["Quality", "evaluate", "predict", "quality", "wilson"]


def predict(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, progress: bool = True
) -> tuple[Tensor, Tensor]:
    """Run a network over batches in evaluation mode, without gradients; afterwards it is in the mode it was in.

    Args:
        model: from images (B, C, H, W) to what its task expects; batches are sent to its device and type.
        batches: (images, targets) pairs, such as `rsprune_lib.data.Batches`.
        progress: show a progress bar.

    Returns:
        One record and one label for each image, on the CPU, in the order of the batches: logits (N, K) float32 and
        classes (N,) int64 for a classifier; `rsprune_lib.tasks.Task.record` says what it is for other tasks.

    Raises:
        ModelError: there was no batch.
    """
    task = task_of(model, batches)
    device, dtype = placement(model)
    records, labels = [], []
    with evaluating(model), torch.inference_mode():
        for images, target in tqdm(batches, desc="predict", unit="batch", leave=False, disable=not progress):
            target = target.to(device, non_blocking=True)
            records.append(task.record(model(images.to(device, dtype, non_blocking=True)), target).cpu())
            labels.append(task.label(target).cpu())
    if not records:
        raise ModelError("There is no image to predict; give batches of a part that has images.")
    return torch.cat(records), torch.cat(labels)  # outside inference mode: ordinary tensors


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, progress: bool = True) -> Quality:
    """Quality of a network on batches; see `predict` and `quality`."""
    return quality(*predict(model, batches, progress=progress), task_of(model, batches))


def quality(records: Tensor, labels: Tensor, task: Task | str = "classification") -> Quality:
    """Quality of answers.

    Args:
        records: as `predict` returns them: logits (N, K) for a classifier.
        labels: (N,) int64.
        task: a `rsprune_lib.tasks.Task` or its name.

    Raises:
        ModelError: shapes or labels do not fit, or a logit is not finite.

    Example:
        >>> quality(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])).per_class
        (0.5, nan)
    """
    return (get_task(task) if isinstance(task, str) else task).quality(records, labels)
