"""How good a classifier is: accuracy with its uncertainty, per class, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rsprune_lib.errors import ModelError
from rsprune_lib.models import evaluating, placement

__all__ = ["Quality", "evaluate", "predict", "quality", "wilson"]


@dataclass(frozen=True)
class Quality:
    """How good a classifier is on ``n`` images.

    Attributes:
        accuracy: share of right answers, in [0, 1].
        ci: Wilson 95 % interval of the accuracy (lower, upper): what another draw of n images could give; it says
            nothing about another training seed.
        per_class: accuracy on the images of each class (recall), length K; NaN for a class without an image.
        ece: expected calibration error in [0, 1], 15 bins of equal width (https://arxiv.org/abs/1706.04599).
        nll: mean negative log-likelihood of the right class, in nats.
        n: number of images.
        confusion: (K, K) int64, rows the true class, columns the answer.
    """

    accuracy: float
    ci: tuple[float, float]
    per_class: tuple[float, ...]
    ece: float
    nll: float
    n: int
    confusion: np.ndarray = field(repr=False, compare=False)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the per-class accuracies, over the classes that occur."""
        return float(np.nanmean(self.per_class))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a class without an image has None."""
        row = {key: getattr(self, key) for key in ("accuracy", "ece", "nll", "n")}
        per_class = [None if math.isnan(value) else value for value in self.per_class]
        return row | {"ci": list(self.ci), "per_class": per_class, "confusion": self.confusion.tolist()}


def predict(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, progress: bool = True
) -> tuple[Tensor, Tensor]:
    """Run a network over batches in evaluation mode, without gradients; afterwards it is in the mode it was in.

    Args:
        model: (B, C, H, W) -> (B, K) logits; batches are sent to its device and type.
        batches: (images, labels) pairs, such as `rsprune_lib.data.Batches`.
        progress: show a progress bar.

    Returns:
        logits (N, K) float32 and labels (N,) int64, on the CPU, in the order of the batches.

    Raises:
        ModelError: there was no batch.
    """
    device, dtype = placement(model)
    logits, labels = [], []
    with evaluating(model), torch.inference_mode():
        for images, target in tqdm(batches, desc="predict", unit="batch", leave=False, disable=not progress):
            logits.append(model(images.to(device, dtype, non_blocking=True)).float().cpu())
            labels.append(target.cpu())
    if not logits:
        raise ModelError("There is no image to predict; give batches of a part that has images.")
    return torch.cat(logits), torch.cat(labels)  # outside inference mode: ordinary tensors


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, progress: bool = True) -> Quality:
    """Quality of a network on batches; see `predict` and `quality`."""
    return quality(*predict(model, batches, progress=progress))


def quality(logits: Tensor, labels: Tensor) -> Quality:
    """Quality of answers. A class may be absent from the labels, and from the answers.

    Args:
        logits: (N, K) before softmax; the largest is the answer, the first of equals.
        labels: (N,) int64 in [0, K).

    Raises:
        ModelError: shapes or labels do not fit, or a logit is not finite.

    Example:
        >>> quality(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])).per_class
        (0.5, nan)
    """
    from torchmetrics.functional import classification as metrics  # a second to import: only who needs it waits

    _check(logits, labels)
    N, K = logits.shape
    logits = logits.double()
    # torchmetrics 1.9 works in float32 and gives a confidence of exactly 1 a bin of its own: stay one step below
    probabilities = logits.softmax(dim=1).clamp(max=1 - 2**-24)
    confusion = metrics.multiclass_confusion_matrix(logits.argmax(dim=1), labels, num_classes=K).numpy()
    right, per_row = confusion.diagonal(), confusion.sum(axis=1)
    per_class = np.divide(right, per_row, out=np.full(K, np.nan), where=per_row > 0)
    return Quality(
        accuracy=float(right.sum() / N),
        ci=wilson(int(right.sum()), N),
        per_class=tuple(per_class.tolist()),
        ece=float(metrics.multiclass_calibration_error(probabilities, labels, num_classes=K, n_bins=15)),
        nll=float(F.cross_entropy(logits, labels)),
        n=N,
        confusion=confusion,
    )


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927, https://doi.org/10.2307/2276774).

    Args:
        right: successes.
        n: trials, at least 1.
        z: standard normal quantile; the default gives 95 %.

    Returns:
        Lower and upper end, in [0, 1]; sensible at shares of 0 and 1 and for few trials too.
    """
    share, spread = right / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ModelError(
            f"Got logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)}, but need (N, K) and "
            "(N,) with at least one image and two classes."
        )
    K = logits.shape[1]
    if labels.min() < 0 or labels.max() >= K:
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise ModelError(
            f"Label {wrong} does not fit a network of {K} classes; use the data set it was made for, or "
            "create it with as many classes as the data set has."
        )
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise ModelError(
            f"The network gives NaN or infinite logits for {broken} of {len(labels)} images, so it has no accuracy; "
            "go back to an earlier checkpoint or lower the learning rate."
        )
