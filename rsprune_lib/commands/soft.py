"""The options of soft pruning, which ``rsprune finetune`` takes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import named_options

if TYPE_CHECKING:
    from rsprune_lib.data import Dataset
    from rsprune_lib.training import SoftPruning

__all__ = ["Decay", "HardEpochs", "KeepNorms", "Refresh", "Soft", "SoftRatio", "soft_pruning"]

Soft = Annotated[
    str | None,
    typer.Option(
        "--soft",
        metavar="CRITERION",
        help="Prune while training: what {criteria} finds least fades after every epoch and is cut out in the end. SFP "
        "is --soft l2 --option consumers=false --decay 0 --refresh 1 --keep-norms.",
    ),
]
SoftRatio = Annotated[float | None, typer.Option("--ratio", help="Of --soft: share of the channels to remove; 0.5.")]
Decay = Annotated[float | None, typer.Option("--decay", help="Of --soft: factor on their weights an epoch; 0.7.")]
HardEpochs = Annotated[
    int | None,
    typer.Option("--hard-epochs", help="Of --soft: last epochs, in which they are zero; a sixth of the epochs."),
]
Refresh = Annotated[
    int | None, typer.Option("--refresh", help="Of --soft: epochs between two scorings; 0, only after the first.")
]
KeepNorms = Annotated[bool, typer.Option("--keep-norms", help="Of --soft: scales of norms do not fade.")]


def soft_pruning(
    criterion: str | None,
    option: Sequence[str] | None,
    keep_norms: bool,
    images: int | None,
    seed: int,
    **numbers: float | None,
) -> "Callable[[Dataset], SoftPruning] | None":
    """What makes the callback once the data are there; None without ``--soft``.

    Args:
        criterion: As asked for.
        option: Options of it.
        keep_norms: Leave the scales of norms alone.
        images: Training images that are scored.
        seed: Of a random criterion.
        **numbers: Further arguments of `SoftPruning` and `Request`; None where not given.

    Raises:
        typer.BadParameter: There is something for soft pruning, but no ``--soft``.
        RspruneError: A name is unknown, or a number out of its range.
    """
    given = {name: value for name, value in numbers.items() if value is not None}
    if criterion is None:
        if odd := [*given, *(["option"] if option else []), *(["keep_norms"] if keep_norms else [])]:
            raise typer.BadParameter(f"--{odd[0].replace('_', '-')} belongs to --soft; say by what to prune")
        return None
    from rsprune_lib.training import SoftPruning

    how = {"criterion": criterion, "options": named_options(option), "images": images, "seed": seed, "ratio": 0.5}
    make = partial(SoftPruning, norms=not keep_norms, **how | given)
    make(None)  # wrong ones are told before data are decoded
    return make
