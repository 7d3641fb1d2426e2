"""The trained network that the live tool starts from, with its data: prepared once, the same for every setting."""

from __future__ import annotations

import threading

import numpy as np
from torch import nn

from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.device import supports_bf16
from rsprune_lib.measure import Cost, layer_costs
from rsprune_lib.pruning import CRITERIA, find_groups
from rsprune_lib.pruning.calibration import device_of
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms
from rsprune_lib.pruning.prune import check_classes
from rsprune_lib.tasks import task_of
from rsprune_studio.engine.code import Basis, Origin
from rsprune_studio.engine.network_cache import private_copy

__all__ = ["Trained", "affordable"]

_NORM_IMAGES = 192  # training images of a batch-norm re-estimation, at most; 512 gain .2 points on EuroSAT
_IMAGES, _PIXELS, _FEWEST = 512, 2**20, 48  # of criteria; so many pixels, where each has an answer of its own


class Trained:
    """A copy of a trained network, its data, and what is prepared of both: gates, groups, costs.

    Args:
        model: the network as trained, with live SE blocks if it has them; copied, so the caller's may change.
        data: its data set.
        gates: SE gate statistics, collected anew on ``images`` training images if None.
        images: training images for criteria; None takes 512, fewer of large ones with masks.
        batch_size: images a batch; fewer of large ones with masks.
        progress: show a bar while gate statistics are collected.
        origin: where network and images come from, for the code that is copied.

    Attributes:
        model: the copy, in eval mode.
        norm_images: training images of a batch-norm re-estimation, at most.
        plain: the network with its gates folded in: what is cut.
        groups: its groups.
        costs: the costs of its layers.
        cost: parameters and MACs of the network as trained.
        task: what it is for.
        basis: what the code of every setting shares.
        using: held while the trained network runs or is copied: scores and repairs hang hooks on it, and a pass of
            another thread would run them too.

    Raises:
        ModelError: the network has other classes than the data.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        gates: Gates | None = None,
        images: int | None = None,
        batch_size: int = 128,
        progress: bool = True,
        origin: Origin | None = None,
    ) -> None:
        check_classes(model, data)
        self.model, self.data, self.task = private_copy(model).eval(), data, task_of(model, data)
        self.images = affordable(data, _IMAGES, _PIXELS, _FEWEST) if images is None else images
        self.batch_size = min(batch_size, measuring_batch(data))
        self.norm_images = affordable(data, _NORM_IMAGES, _PIXELS // 2, 16)
        gated, own_gates = bool(gated_norms(self.model)), gates is None
        if gated and gates is None:
            gates = gate_statistics(self.model, self.batches("train", self.images), progress=progress)
        self.gates = gates if gated else None
        self.plain = fold(self.model, gates) if gated else self.model
        self.groups = find_groups(self.plain, data.image_size)
        self.costs = layer_costs(self.plain, data.image_size)
        # `cost` would load half of PyTorch
        macs = sum(layer.macs for layer in layer_costs(self.model, data.image_size))
        self.cost = Cost(sum(p.numel() for p in self.model.parameters()), macs)
        self.basis = Basis(self.images, self.norm_images, self.batch_size, gated, own_gates, origin)
        self.using = threading.RLock()

    def batches(self, part: str | np.ndarray, limit: int | None) -> Batches:
        """Batches of a part of the data (or of these images), on the network's device."""
        return Batches(self.data, part, self.batch_size, limit=limit, device=device_of(self.model))

    @property
    def criteria(self) -> list[str]:
        """Criteria that this network can be judged by (attention needs SE gates), the default one first."""
        if self.gates is not None:
            return list(CRITERIA)
        return sorted((name for name, one in CRITERIA.items() if "gates" not in one.needs), key=lambda n: n != "l2")

    @property
    def precision(self) -> str:
        """The type that accuracies are computed in, see `rsprune_lib.measure.lean`."""
        return "bfloat16" if supports_bf16(device_of(self.model)) else "float32"


def affordable(data: Dataset, images: int, pixels: int, least: int) -> int:
    """How many images to take: so many; of large ones with masks what makes so many pixels, but not under ``least``."""
    height, width = data.images.shape[1:3]
    return images if data.masks is None else min(images, max(least, pixels // (height * width)))
