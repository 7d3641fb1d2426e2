"""From the class x filter table to one number a channel: which classes have a say, and how they take turns.

Method: minority-class-aware group pruning (MCAG): the rarest classes name their most important filters in turn, and
what they name first stays. Its released code contradicts itself in three places, and this module decides each:

- Duplicates are removed by ``torch.unique``, whose order is that of the filters' numbers in today's PyTorch and nearly
  the reverse of the intended one in the author's. Here the first mention counts, in the order of the turns.
- The pruning script cuts the end of that list, an older copy in its visualisation the beginning. Here what was named
  first stays.
- Classes are sorted by weight in ascending order, and rare classes have *large* weights, so the most frequent ones are
  taken for the minority. Here rare means the fewest training pixels (`minority_classes`).

For what the reference did, name the most frequent classes as ``minority``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rsprune_lib.data.minority import minority_classes, training_pixels
from rsprune_lib.errors import RspruneError, unknown

__all__ = ["RULES", "channel_scores", "voters"]

RULES = ("minority_group", "all_classes", "borda")


def voters(data: object, rule: str, minority: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """The classes that have a say under a rule, the rarest first.

    Args:
        data: training batches.
        rule: one of `RULES`.
        minority: see `minority_classes`; for the rule ``"minority_group"`` only.

    Raises:
        RspruneError: there is no such rule or class, or the rule has no minority.
    """
    if rule not in RULES:
        raise unknown("rule of criterion class_taylor", rule, RULES)
    if rule == "minority_group":
        return minority_classes(data, minority)
    if minority is not None:
        raise RspruneError(f"The rule {rule!r} lets all classes decide; leave minority out, or take 'minority_group'.")
    return minority_classes(data, len(training_pixels(data)))


def channel_scores(table: Tensor, classes: Sequence[int], rule: str) -> Tensor:
    """(size,) float32 in (0, 1]: the share of the channels that go before this one, or with it.

    Args:
        table: (K, size) of one group, see `class_scores`. Of equally important channels the lower number is first.
        classes: those that have a say, in the order of their turns; one whose row is zero has none.
        rule: ``"borda"``: mean over the classes of the share of channels that the class ranks lower; otherwise the
            classes name their most important channel in turn, then their second one, and so on, and a channel has the
            place of its first mention.

    Example:
        >>> table = torch.tensor([[3.0, 2.0, 1.0], [0.0, 1.0, 9.0]])
        >>> channel_scores(table, [1, 0], "minority_group")  # named: 2, 0, 1, (1, 0, 2)
        tensor([0.6667, 0.3333, 1.0000])
    """
    size = table.shape[1]
    rows = table[list(classes)].double()
    ranked = rows[rows.any(1)].argsort(dim=1, descending=True, stable=True)  # (C, size), the best first
    if rule == "borda":
        return ((size - ranked.argsort(1)).double().mean(0) / size).float() if len(ranked) else torch.ones(size)
    named = dict.fromkeys([*ranked.T.flatten().tolist(), *range(size)])  # first mentions, in order
    scores = torch.empty(size)
    scores[list(named)] = torch.arange(size, 0, -1) / size
    return scores
