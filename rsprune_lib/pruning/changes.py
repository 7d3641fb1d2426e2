"""Two plans: what one does differently, and what both do one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from rsprune_lib.errors import PlanError
from rsprune_lib.pruning.plan import Plan

__all__ = ["Change", "compose", "diff"]


@dataclass(frozen=True)
class Change:
    """What one plan does differently from another in one group.

    Attributes:
        added: channels that the second plan keeps and the first removes.
        removed: channels that the second plan removes and the first keeps.
    """

    added: tuple[int, ...]
    removed: tuple[int, ...]


def diff(a: Plan, b: Plan) -> dict[str, Change]:
    """Compares two plans for one network: group name -> `Change` from ``a`` to ``b``; groups that agree are left out.

    Raises:
        PlanError: the plans are for different networks.
    """
    if a.fingerprint != b.fingerprint:
        raise PlanError(
            f"The plans are for different networks (fingerprints {a.fingerprint} and {b.fingerprint}); "
            "compare two plans of one network."
        )
    pairs = {name: (set(a.keep[name]), set(b.keep[name])) for name in a.sizes if a.keep[name] != b.keep[name]}
    return {n: Change(tuple(sorted(new - old)), tuple(sorted(old - new))) for n, (old, new) in pairs.items()}


def compose(first: Plan, second: Plan) -> Plan:
    """The plan that does at once what two do one after the other.

    Args:
        first: for the unpruned network.
        second: for the network that the first plan leaves.

    Returns:
        A plan for the unpruned network.

    Raises:
        PlanError: the second plan is not for what the first one leaves.
    """
    if first.widths != second.sizes:
        raise PlanError("The second plan is not for the network that the first one leaves; make it on that network.")
    keep = {name: tuple(first.keep[name][i] for i in kept) for name, kept in second.keep.items()}
    return Plan(first.model, keep, first.sizes, {"first": first.how, "then": second.how})
