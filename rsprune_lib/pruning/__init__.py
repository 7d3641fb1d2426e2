"""From a trained network to a smaller one: groups, scores, a plan, surgery, recovery.

Example:
    >>> groups = find_groups(model)
    >>> plan = choose(score(model, groups, "l2"), groups, ratio=0.7)
    >>> small = apply(model, plan, groups)
"""

from rsprune_lib.pruning.choose import SCOPES, choose
from rsprune_lib.pruning.costs import CostModel, plan_cost
from rsprune_lib.pruning.criteria.classes import RULES, channel_scores, voters
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics
from rsprune_lib.pruning.criteria.gradients import class_scores
from rsprune_lib.pruning.criteria.registry import CRITERIA, Case, Criterion, score
from rsprune_lib.pruning.groups import Group, Groups, Member, find_groups
from rsprune_lib.pruning.normalise import NORMALISE, normalised
from rsprune_lib.pruning.plan import Change, Plan, compose, diff, full_plan
from rsprune_lib.pruning.prune import Pruned, prune
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.recoveries import RECOVERIES, Repair
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential
from rsprune_lib.pruning.request import Request
from rsprune_lib.pruning.scan import Scan, sensitivity_scan
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.similarity.hashes import Similarity, perceptual_hash, similarity
from rsprune_lib.pruning.similarity.select import select, select_in_scope
from rsprune_lib.pruning.similarity.selection import Selection
from rsprune_lib.pruning.similarity.selectors import SELECTORS, Graph
from rsprune_lib.pruning.surgery import apply, faded, masked

__all__ = [
    "CRITERIA",
    "NORMALISE",
    "RECOVERIES",
    "RULES",
    "SCOPES",
    "SELECTORS",
    "Case",
    "Change",
    "CostModel",
    "Criterion",
    "Gates",
    "Graph",
    "Group",
    "Groups",
    "Live",
    "Member",
    "Plan",
    "Pruned",
    "Repair",
    "Request",
    "Scan",
    "Scores",
    "Selection",
    "Similarity",
    "apply",
    "channel_scores",
    "choose",
    "class_scores",
    "compose",
    "diff",
    "faded",
    "find_groups",
    "fold",
    "full_plan",
    "gate_statistics",
    "masked",
    "normalised",
    "perceptual_hash",
    "plan_cost",
    "prune",
    "reestimate_bn",
    "score",
    "select",
    "select_in_scope",
    "sensitivity_scan",
    "sequential",
    "similarity",
    "voters",
]
