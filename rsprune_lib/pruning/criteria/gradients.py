"""Criteria that look at the loss: what would happen to it if a channel were silent?

Every channel of every group is multiplied by a mask of ones, each image having its own. One backward pass then gives
the derivative g of each image's loss by each channel, and with it the first-order effect of removing the channel, |g|,
and the second-order one, g^2 / 2, the diagonal of the empirical Fisher matrix. All layers of a group share the mask, so
what they have in common is counted once.

Papers: https://arxiv.org/abs/1906.10771 (Taylor), https://arxiv.org/abs/1801.05787 (Fisher). Not torch-pruning's
versions: its Taylor takes the gradient of the mean loss, which is near zero in a trained network, and leaves batch
norms out; its Hessian overwrites the sum over the images and keeps the last one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.models import hooked
from rsprune_lib.pruning.calibration import feed
from rsprune_lib.pruning.groups import Group, Member
from rsprune_lib.tasks import IGNORE, task_of

__all__ = ["class_balanced", "class_scores", "hessian", "taylor"]

Batched = Iterable[tuple[Tensor, Tensor]]
_PIXELS = 2**18  # 64 images of 64 pixels; 6 kB each in a UNet of full width


def taylor(model: nn.Module, groups: Iterable[Group], data: Batched, progress: bool = True) -> dict[str, Tensor]:
    """Mean over the images of |dL/dmask|: the first-order change of the loss when the channel is removed."""
    return _mean_sensitivity(model, list(groups), data, "Taylor", _ImageLosses(), torch.abs, progress)


def hessian(model: nn.Module, groups: Iterable[Group], data: Batched, progress: bool = True) -> dict[str, Tensor]:
    """Mean over the images of (dL/dmask)^2 / 2: the second-order change, with the Fisher matrix for the Hessian."""
    return _mean_sensitivity(model, list(groups), data, "Hessian", _ImageLosses(), lambda g: g.square() / 2, progress)


def class_balanced(
    model: nn.Module, groups: Iterable[Group], data: Batched, progress: bool = True
) -> dict[str, Tensor]:
    """As `taylor`, of a loss in which every class of an image counts the same, however few pixels it has (after DCFP).

    DCFP (TCSVT 2024) balances the classes of gradient importance by their numbers of pixels; here the loss of an image
    is the mean over the classes that it shows of the class's mean over its pixels.
    """
    return _mean_sensitivity(model, list(groups), data, "class-balanced", _ClassMeans(), torch.abs, progress)


def class_scores(
    model: nn.Module,
    groups: Iterable[Group],
    data: Batched,
    *,
    per_image: int | None = 5,
    legacy: bool = False,
    progress: bool = True,
) -> dict[str, Tensor]:
    """How much every channel matters to every class: |dL_c/dmask|, averaged over the images that show class c.

    The loss L_c of an image is the mean over its pixels of class c (of a classifier: that of an image of class c). All
    classes come from one forward pass of a batch: its graph is kept, and each backward pass goes through it with
    another class for each image. Evaluation mode; ignored pixels count nowhere; a class that an image does not show
    adds nothing. One batched backward pass for all classes (``is_grads_batched``) takes half as long again as one after
    the other, and as many times the memory.

    Args:
        model: the network; not changed.
        groups: `find_groups` of it.
        data: training batches.
        per_image: most classes of an image that have a backward pass: those judged on the fewest images so far, so that
            rare classes always take part; None: all that it shows. Five cost some two and a half plain epochs.
        legacy: as the reference has it: the loss is the mean over all pixels, and every pixel of another class, ignored
            ones too, has the network's own answer as its label.
        progress: show a bar.

    Returns:
        Group name -> (K, size) float32; a class that no image shows has zeros.
    """
    groups, seen, totals = list(groups), None, {}
    task = task_of(model, data)

    def losses(outputs: object, labels: Tensor) -> list[_ClassLosses]:
        nonlocal seen
        if seen is None:
            seen = torch.zeros(task.final(outputs).shape[1], dtype=torch.int64)
            totals.update({group.name: torch.zeros(len(seen), group.size, dtype=torch.float64) for group in groups})
        return [_ClassLosses(classes, legacy) for classes in _turns(_shown(labels, len(seen)), seen, per_image)]

    for loss, slopes in _slopes(model, groups, data, "class-wise Taylor", losses, progress):
        rows = loss.classes >= 0
        for name, slope in slopes.items():
            totals[name].index_add_(0, loss.classes[rows], slope[rows].abs())
    return {name: (total / seen.clamp_min(1)[:, None]).float() for name, total in totals.items()}


def _shown(labels: Tensor, classes: int) -> Tensor:
    """(B, K) bool: which classes each image shows."""
    flat = labels.flatten(1) if labels.dim() > 1 else labels[:, None]
    return torch.stack([(flat == number).any(1) for number in range(classes)], dim=1).cpu()


def _turns(shown: Tensor, seen: Tensor, most: int | None) -> Tensor:
    """(P, B) the class of each image in each backward pass, -1 for none; counts them in ``seen``.

    An image has the classes first that were seen on the fewest images so far.
    """
    rows = []
    for row in shown:
        classes = sorted(row.nonzero().flatten().tolist(), key=lambda number: (int(seen[number]), number))[:most]
        seen[classes] += 1
        rows.append(torch.tensor(classes, dtype=torch.int64))
    return torch.nn.utils.rnn.pad_sequence(rows, padding_value=-1)


def _mean_sensitivity(
    model: nn.Module,
    groups: list[Group],
    data: Batched,
    title: str,
    loss: nn.Module,
    measure: Callable[[Tensor], Tensor],
    progress: bool,
) -> dict[str, Tensor]:
    totals, count = {group.name: torch.zeros(group.size, dtype=torch.float64) for group in groups}, 0
    for _, slopes in _slopes(model, groups, data, title, lambda *_: [loss], progress):
        for name, slope in slopes.items():
            totals[name] += measure(slope).sum(0)
        count += len(slope)
    return {name: (total / count).float() for name, total in totals.items()}


def _slopes(
    model: nn.Module,
    groups: list[Group],
    data: Batched,
    title: str,
    losses: Callable[[object, Tensor], Iterable[nn.Module]],
    progress: bool,
) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
    """Yields each loss of each batch with its derivatives by the masks: group name -> (B, size) float64 on the CPU.

    Args:
        model: the network; a copy of it works, in evaluation mode.
        groups: those that are masked.
        data: training batches.
        title: of the progress bar.
        losses: from outputs and labels of a batch to its losses; each has one backward pass through the same graph.
        progress: show the bar.
    """
    task = task_of(model, data)
    worker = copy.deepcopy(model).eval().requires_grad_(False)
    masks: dict[str, Tensor] = {}
    hooks = [
        (worker.get_submodule(member.layer), _mask_hook(worker, group.name, member, masks))
        for group in groups
        for member in group.makers
    ]
    for images, labels in _few(feed(data, worker, title, progress=progress)):
        masks.update({g.name: images.new_ones(len(images), g.size, requires_grad=True) for g in groups})
        with torch.enable_grad(), hooked(hooks):
            outputs = worker(images)
        for loss in losses(outputs, labels):
            with torch.enable_grad():
                value = task.objective(loss, outputs, labels)
            found = torch.autograd.grad(value, masks.values(), retain_graph=True, materialize_grads=True)
            yield loss, {name: slope.cpu().double() for name, slope in zip(masks, found, strict=True)}


def _few(batches: Batched) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in parts of few pixels: the graph that is kept for them takes kilobytes a pixel."""
    for images, labels in batches:
        count = max(1, _PIXELS // images[0, 0].numel())
        yield from zip(images.split(count), labels.split(count), strict=True)


class _ImageLosses(nn.Module):
    """Cross-entropy summed over the images; of each image, the mean over its labelled pixels."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """From logits (B, K, ...) and targets (B, ...) to a scalar."""
        each = F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORE)
        B = len(targets)
        pixels = (targets != IGNORE).view(B, -1).sum(1).clamp_min(1)
        return (each.view(B, -1).sum(1) / pixels).sum()


class _ClassLosses(_ImageLosses):
    """As above, of each image only the pixels of one class.

    Args:
        classes: (B,) the class of each image, -1 for none.
        legacy: pixels of other classes count too, with the network's own answer as their label.
    """

    def __init__(self, classes: Tensor, legacy: bool = False) -> None:
        super().__init__()
        self.classes, self.legacy = classes, legacy

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """From logits (B, K, ...) and targets (B, ...) to a scalar."""
        own = self.classes.to(targets.device).view(-1, *[1] * (targets.dim() - 1))
        others = logits.argmax(1) if self.legacy else IGNORE
        return super().forward(logits, torch.where(targets == own, targets, others))


class _ClassMeans(nn.Module):
    """Cross-entropy summed over the images; of each image, the mean over its classes of the mean over their pixels."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """From logits (B, K, ...) and targets (B, ...) to a scalar."""
        B, K = logits.shape[:2]
        each = F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORE).view(B, -1)
        flat = targets.reshape(B, -1)
        known, cell = flat != IGNORE, flat.clamp_min(0)
        pixels = each.new_zeros(B, K).scatter_add(1, cell, known.to(each.dtype))
        shown = (pixels > 0).sum(1).clamp_min(1)
        return (each / (pixels.clamp_min(1).gather(1, cell) * shown[:, None])).sum()


def _mask_hook(model: nn.Module, name: str, member: Member, masks: dict[str, Tensor]) -> object:
    """A forward hook that multiplies the member's positions by the mask of its group."""
    index = torch.from_numpy(member.index)

    def hook(_module: nn.Module, _x: object, y: Tensor) -> Tensor:
        mask = masks[name]  # (B, size)
        full = mask.new_ones(len(mask), y.shape[member.axis])
        full = full.index_copy(1, index.flatten().to(y.device), mask.repeat_interleave(member.fan, dim=1))
        shape = [len(mask)] + [1] * (y.dim() - 1)
        shape[member.axis] = -1
        return y * full.view(shape)

    return hook
