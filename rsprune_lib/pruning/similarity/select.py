"""From similarities to a plan: one threshold for all layers, given or found for an amount, or one for each width."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from rsprune_lib.errors import PlanError
from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.similarity.hashes import Similarity
from rsprune_lib.pruning.similarity.selection import Selection

__all__ = ["select", "select_in_scope"]

_AMOUNTS = ("threshold", "ratio", "macs", "widths")


def select(
    similar: Similarity,
    groups: Sequence[Group],
    *,
    threshold: float | None = None,
    ratio: float | None = None,
    macs: float | None = None,
    widths: Mapping[str, int] | None = None,
    per_group: Mapping[str, float] | None = None,
    selector: str = "dominating",
    rank: Scores | None = None,
    min_keep: int = 1,
    least: float = 0.0,
    locked: Sequence[str] = (),
    follow: Mapping[str, str] | None = None,
    costs: Sequence[LayerCost] | None = None,
) -> Plan:
    """Decides which channels stay by the similarity graph of each layer. Deterministic.

    Args:
        similar: `similarity` of the network.
        groups: `find_groups` of it.
        threshold: two channels are alike from this similarity on, in (0, 1]; one for all layers, as published.
        ratio: instead of a threshold: the share of all channels to remove, see `Selection.within`.
        macs: instead of a threshold: the most MACs that may be left for one image; as with ``ratio``.
        widths: instead of a threshold: how many channels each group keeps; others stay whole, see `Selection.of`.
        per_group: group name -> its own threshold.
        selector: key of `SELECTORS`.
        rank: scores of any other criterion; ``"scored"`` and ``"core"`` need them (core was published with l1), and
            ``"nested"`` goes without them by how much the others resemble a channel.
        min_keep: least number of channels that a group keeps.
        least: least share of its channels that a group keeps; without it a threshold can leave a wide layer one.
        locked: names of groups that stay whole.
        follow: name of a group without feature maps -> name of one whose indices it takes over (published for VGG-16).
        costs: `layer_costs` of the network; needed for ``macs``.

    Returns:
        The plan; ``plan.how`` records these arguments, the threshold reached, and the groups without feature maps.

    Raises:
        PlanError: an amount is missing, out of range or cannot be met; similarities or ranks do not fit.
        RspruneError: a name is unknown.

    Example:
        >>> select(similar, groups, threshold=0.75, selector="paper").widths["conv1"]
        49
    """
    given = [name for name, v in zip(_AMOUNTS, (threshold, ratio, macs, widths), strict=True) if v is not None]
    if len(given) != 1:
        raise PlanError(
            f"Selecting by similarity needs one amount, a {', '.join(_AMOUNTS[:-1])} or {_AMOUNTS[-1]}, but got "
            f"{' and '.join(given) or 'none'}."
        )
    own = {"per_group": per_group, "min_keep": min_keep, "least": least, "locked": locked, "follow": follow}
    selection = Selection(similar, groups, selector, rank, **own)
    if threshold is not None:
        return selection.at(threshold)
    if widths is not None:
        return selection.of(widths)
    return selection.within(ratio=ratio, macs=macs, costs=costs)


def select_in_scope(
    selection: Selection, groups: Sequence[Group], scores: Scores, *, scope: str, **amount: object
) -> Plan:
    """Decides by graphs under the arguments of `choose`.

    In the global scope all layers share one threshold, as published. In the others every group keeps as many channels
    as the scores would leave it, so a selector can be held against any criterion at the very same widths.

    Args:
        selection: the selector and its graphs.
        groups: `find_groups` of the network.
        scores: of criterion ``"similarity"``; in the local scope widths do not depend on them.
        scope: as `choose` takes it.
        amount: likewise: ``threshold`` (a similarity; whatever the scope), ``ratio`` or ``macs`` with ``costs``; where
            widths follow from the scores also ``per_group`` (ratios), ``min_keep``, ``multiple_of``, ``normalise``.

    Raises:
        PlanError: as `choose` and `select` do.
    """
    if amount.get("threshold") is not None:
        return selection.at(amount["threshold"])
    if scope == "global":
        return selection.within(**{key: amount.get(key) for key in ("ratio", "macs", "costs")})
    plan = choose(scores, groups, scope=scope, **amount | {"locked": selection.whole})
    found = selection.of(plan.widths)
    asked = {key: plan.how[key] for key in ("scope", "ratio", "macs", "reached", "per_group") if key in plan.how}
    return dataclasses.replace(found, how=found.how | asked)
