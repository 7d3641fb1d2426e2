"""From a trained network to a smaller one: groups, scores, a plan, surgery, recovery; and bundles on disk.

Example:
    >>> groups = find_groups(model)
    >>> plan = choose(score(model, groups, "l2"), groups, ratio=0.7)
    >>> small = apply(model, plan, groups)
"""

from rsprune_lib.pruning.bundle import Bundle, load_bundle, save_bundle
from rsprune_lib.pruning.choose import SCOPES, choose
from rsprune_lib.pruning.costs import CostModel, plan_cost
from rsprune_lib.pruning.groups import Group, Groups, Member, find_groups
from rsprune_lib.pruning.normalise import DEFAULT_NORMALISE, NORMALISE, normalised
from rsprune_lib.pruning.plan import Change, Plan, diff, full_plan
from rsprune_lib.pruning.surgery import apply, masked

__all__ = [
    "DEFAULT_NORMALISE",
    "NORMALISE",
    "SCOPES",
    "Bundle",
    "Change",
    "CostModel",
    "Group",
    "Groups",
    "Member",
    "Plan",
    "apply",
    "choose",
    "diff",
    "find_groups",
    "full_plan",
    "load_bundle",
    "masked",
    "normalised",
    "plan_cost",
    "save_bundle",
]
