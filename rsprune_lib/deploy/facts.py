"""What an exported file says about itself, and the network that is exported: pixels in [0, 1] in, logits out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.bundle import Bundle
from rsprune_lib.data.sizes import Size, checked_size, sides
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import ExitRule
from rsprune_lib.models import for_inference
from rsprune_lib.tasks import task_of

__all__ = ["Deployed", "Facts"]

_PREFIX = "rsprune."


@dataclass(frozen=True)
class Facts:
    """What a user of the file has to know; it travels in the file's metadata, each value as JSON.

    Attributes:
        classes: names of the K classes, in the order of the logits.
        mean: of the channels, in [0, 1]; the graph subtracts it.
        std: of the channels, in [0, 1]; the graph divides by it.
        size: (height, width) of the images that it was trained with.
        task: key of `rsprune_lib.tasks.TASKS`.
        bundle: name of the bundle.
        plan: hash of the plan it was pruned with; None for an unpruned network.
        rule: of a network with exits: `rsprune_lib.measure.ExitRule.to_dict`; the file's default thresholds.
        precision: ``"float32"`` or ``"int8"``.
        synthetic: it was trained on drawn images.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    task: str = "classification"
    bundle: str = ""
    plan: str | None = None
    rule: dict[str, Any] | None = None
    precision: str = "float32"
    synthetic: bool = False

    @classmethod
    def of(cls, bundle: Bundle, size: Size | None = None) -> Facts:
        """What a bundle knows.

        Args:
            bundle: of any task.
            size: of the images, in place of the bundle's.

        Raises:
            ModelError: the bundle does not know its data.
        """
        data = bundle.knows("image_size", "classes", "mean", "std")
        size, rule = sides(checked_size(size or data["image_size"])), bundle.rule
        task = task_of(bundle.model).name
        return cls(
            tuple(data["classes"]), tuple(data["mean"]), tuple(data["std"]), size,
            data.get("task", task) if task == "classification" else task,
            bundle.path.resolve().name, None if bundle.plan is None else bundle.plan.hash,
            None if rule is None else rule.to_dict(), synthetic=bool(data.get("synthetic")),
        )  # fmt: skip

    @property
    def dense(self) -> bool:
        """Whether each pixel gets a class; such a file takes images of any size."""
        return self.task in ("segmentation", "body_edge")

    @property
    def exit_rule(self) -> ExitRule | None:
        """By which images leave."""
        return None if self.rule is None else ExitRule.from_dict(self.rule)

    def to_metadata(self) -> dict[str, str]:
        """Names and JSON texts."""
        return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in vars(self).items()}

    @classmethod
    def from_metadata(cls, found: Mapping[str, str], what: object) -> Facts:
        """Reads what `to_metadata` wrote.

        Args:
            found: the metadata of a file.
            what: the file, for the error.

        Raises:
            ModelError: the file was not exported here.
        """
        try:
            known = {key: json.loads(found[_PREFIX + key]) for key in cls.__dataclass_fields__}
            made = cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in known.items()})
            made._check()
            return made
        except (KeyError, ValueError, TypeError, RspruneError, RecursionError):
            raise ModelError(f"{what} does not say which classes it has; export it with `rsprune export`.") from None

    def _check(self) -> None:
        """Refuses values that no network of ours writes; a file may come from somebody else.

        Raises:
            ValueError, TypeError, RspruneError: there is one.
        """
        checked_size(self.size)
        numbers = (*self.mean, *self.std)
        if not self.classes or not all(isinstance(name, str) for name in (*self.classes, self.task, self.bundle)):
            raise ValueError("names are texts")
        if len(self.mean) != 3 or len(numbers) != 6 or not all(math.isfinite(v) for v in numbers) or 0 in self.std:
            raise ValueError("three means and deviations")
        if self.rule is not None:
            ExitRule.from_dict(self.rule)

    def quantised(self) -> Facts:
        """The same for the int8 file."""
        return replace(self, precision="int8")


class Deployed(nn.Module):
    """A network with its normalisation in front and without the heads that only a loss reads: what is exported.

    Args:
        model: a network; it is copied.
        facts: with the normalisation.
    """

    def __init__(self, model: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.network = for_inference(model).eval().cpu()
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(facts, name), dtype=torch.float32).view(1, -1, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> what the network returns: logits (B, K) or (B, K, H, W); of exits a list."""
        return self.network((image - self.mean) / self.std)
