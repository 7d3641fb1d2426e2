"""The quality of a network in plain text, and with classes left out of it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rsprune_lib.errors import unknown

if TYPE_CHECKING:
    from rsprune_lib.tasks import Quality

__all__ = ["left_out", "quality_text"]


def left_out(
    found: "Quality", classes: Sequence[str], without: Sequence[str], exclude: str, rare: Sequence[int] = ()
) -> "Quality":
    """Leaves classes out of the numbers of a segmentation; the interval stays that of all classes, so it has none.

    Args:
        found: The numbers with all classes.
        classes: Their names.
        without: Names of those to leave out.
        exclude: How, see `rsprune_lib.confusion.EXCLUDE`.
        rare: Numbers of the rare classes.

    Raises:
        RspruneError: No class has such a name, or there is no such way.
    """
    if not without:
        return found
    from rsprune_lib.confusion import class_numbers

    for name in without:
        if name not in classes:
            raise unknown("class", name, classes)
    numbers = class_numbers(found.confusion, [classes.index(name) for name in without], exclude)
    rare = [number for number in rare if classes[number] not in without]
    return replace(
        found, accuracy=numbers.oa, per_class=tuple(numbers.iou.tolist()), metrics=numbers.means(rare),
        ci=(math.nan, math.nan),
    )  # fmt: skip


def quality_text(found: "Quality", classes: Sequence[str]) -> str:
    """Lines of text: the leading number with its interval, the others, each class.

    Args:
        found: The numbers.
        classes: Names of the classes.
    """
    from rsprune_lib.tasks import headline

    named = {name: value for name, value in found.metrics.items() if name != found.metric}
    leading = headline(found.metric) if found.metrics and found.metric != "accuracy" else "accuracy"
    head = f"{found.n:,} image{'' if found.n == 1 else 's'}: {leading} {found.score:.2%}"
    if not math.isnan(found.ci[0]):
        head += f" (95 % {found.ci[0]:.2%} to {found.ci[1]:.2%})"
    rows = [*named.items(), *zip(classes, found.per_class, strict=True)]
    return "\n".join(
        [head, *(f"  {name:24} {'-' if math.isnan(value) else f'{value:.1%}':>7}" for name, value in rows)]
    )
