"""Recipes: every hyper-parameter of a training run as data, so that a run can be printed, compared and repeated."""

import dataclasses
from dataclasses import dataclass

from rsprune_lib.data import Augment
from rsprune_lib.errors import TrainingError, unknown

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training or fine-tuning run (SGD in every case).

    Attributes:
        name: What the recipe is called in tables.
        epochs: Passes over the training part.
        batch_size: Images a step, over all processes together.
        lr: Peak learning rate.
        momentum: SGD momentum; 0 turns it off, otherwise Nesterov.
        weight_decay: L2 decay of the weights of convolutions and of linear layers outside the SE blocks.
        decay_all: Whether norms, biases and SE blocks decay too (as plain SGD does).
        schedule: ``"onecycle"`` (warm-up, then cosine to 0) or ``"step"`` (×0.1 at each of ``milestones``).
        warmup: Share of all steps that the one-cycle schedule spends rising.
        milestones: Where the step schedule drops, as shares of all epochs.
        label_smoothing: In [0, 1); given to the loss.
        ema: Decay a step of the averaged weights that are validated and kept; 0 keeps the last weights instead.
        augment: What is done to a training batch.
        half_size: Share of the epochs, from the first on, that train at half the image side and so at about a third of
            the time (progressive resizing); ignored where half the side is under 32 pixels, for a network with the
            stem ``"small"`` under 16, or too small for its poolings. Validation always sees whole images.
    """

    name: str
    epochs: int
    batch_size: int = 64
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_all: bool = False
    schedule: str = "onecycle"
    warmup: float = 0.25
    milestones: tuple[float, ...] = ()
    label_smoothing: float = 0.05
    ema: float = 0.998
    augment: Augment = dataclasses.field(default_factory=Augment)
    half_size: float = 0.0

    def __post_init__(self) -> None:
        for field, low, high in (
            ("epochs", 1, 10_000), ("batch_size", 1, 1_000_000), ("label_smoothing", 0, 0.999), ("half_size", 0, 0.999),
        ):  # fmt: skip
            if not low <= getattr(self, field) <= high:
                raise TrainingError(f"Got {field}={getattr(self, field)}; expected a value from {low} to {high}.")
        if not 0 < self.lr < float("inf"):
            raise TrainingError(f"Got lr={self.lr}; expected a positive learning rate.")
        if self.schedule not in ("onecycle", "step"):
            raise unknown("schedule", self.schedule, ("onecycle", "step"))

    def to_dict(self) -> dict:
        """Returns the recipe as plain JSON values, for provenance and for checking a resumed run."""
        return dataclasses.asdict(self) | {"milestones": list(self.milestones)}


_PAPER = Recipe(  # RemoteTrimmer's training script: plain SGD, no augmentation, dropped at 1/2 and 3/4 of the epochs
    "paper", epochs=160, lr=0.01, momentum=0, weight_decay=0, schedule="step", milestones=(0.5, 0.75),
    label_smoothing=0, ema=0,
)  # fmt: skip
_STRONG = Recipe(
    "strong", epochs=50, lr=0.08, weight_decay=1e-3, ema=0.995, half_size=0.6,
    augment=Augment(dihedral=True, shift=4, brightness=0.1),
)  # fmt: skip
_IMAGENET = Recipe(  # GhostNet's encoder before segmentation: https://doi.org/10.1109/IGARSS47720.2021.9554244
    "imagenet", epochs=180, batch_size=512, lr=0.1, decay_all=True, schedule="step",
    milestones=(1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6), label_smoothing=0.1, ema=0,
    augment=Augment(dihedral=True, shift=28),  # turned too: the encoder will look at images without an upside
)  # fmt: skip
_EXITS = dataclasses.replace(
    _STRONG, name="exits", epochs=20, lr=0.02, weight_decay=5e-4, label_smoothing=0, half_size=0
)

_MASKS = Recipe(  # small batches: every pixel of an image has a label, and sets with masks have few images
    "segmentation", epochs=40, batch_size=8, lr=0.03, label_smoothing=0, ema=0.99, half_size=0.6,
    augment=Augment(dihedral=True, shift=8, brightness=0.2, contrast=0.2),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "paper": _PAPER,
    "paper_finetune": dataclasses.replace(_PAPER, name="paper_finetune", epochs=40),
    "strong": _STRONG,
    "strong_finetune": dataclasses.replace(
        _STRONG, name="strong_finetune", epochs=40, lr=0.03, weight_decay=5e-4, half_size=0.0
    ),
    "segmentation": _MASKS,
    "segmentation_finetune": dataclasses.replace(
        _MASKS, name="segmentation_finetune", epochs=20, lr=0.015, half_size=0.0
    ),
    "imagenet": _IMAGENET,
    "exits_warmup": dataclasses.replace(_EXITS, name="exits_warmup", epochs=10, schedule="step", ema=0),
    "exits": _EXITS,
}


def recipe(name: str, **overrides: object) -> Recipe:
    """Returns a recipe by name with some of its fields replaced.

    Args:
        name: a key of `RECIPES`: ``"strong"``, ``"paper"``, ``"segmentation"``, each with ``"_finetune"``,
            ``"imagenet"`` ...
        overrides: Fields of `Recipe`; ``None`` leaves a field as the recipe has it.

    Raises:
        RspruneError: No recipe or no field has that name, or a value is out of range.

    Example:
        >>> recipe("strong", epochs=2, lr=0.01).epochs
        2
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    fields = {field.name for field in dataclasses.fields(Recipe)}
    for key in overrides:
        if key not in fields:
            raise unknown("field of a recipe", key, sorted(fields))
    return dataclasses.replace(RECIPES[name], **{k: v for k, v in overrides.items() if v is not None})
