"""Networks that are worth keeping: the last few that were judged, and fine-tuned ones for good."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rsprune_lib.errors import RspruneError
from rsprune_lib.models.hooks import without_guests
from rsprune_lib.pruning import Plan
from rsprune_studio.engine.setting import recovery_titles

__all__ = ["Kept", "Recent", "Tuned", "private_copy"]

_RECENT = 3


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network that is kept for a plan.

    Attributes:
        model: the network, in eval mode.
        note: how it was trained: ``loss``, ``epochs``, ``lr``, ``images``, ``seed``, and the ``recovery`` before.
    """

    model: nn.Module
    note: dict[str, Any]


@dataclass(frozen=True)
class Recent:
    """A network that was made lately.

    Attributes:
        model: the network, in eval mode; shared, so it is left as it is.
        records: what it says about the studio's validation images, see `rsprune_lib.tasks`; None if it has not been
            asked.
    """

    model: nn.Module
    records: Tensor | None = None


class Kept:
    """The last few networks by (hash of the plan, recovery), and the fine-tuned ones by plan; for any thread."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[str, str], Recent] = OrderedDict()
        self._tuned: dict[str, Tuned] = {}
        self._lock = threading.Lock()

    def recent(self, plan: Plan, recovery: str) -> Recent | None:
        """A network that was made lately; None if it is no longer there."""
        with self._lock:
            return self._recent.get((plan.hash, recovery))

    def remember(self, plan: Plan, recovery: str, network: nn.Module, records: Tensor | None = None) -> None:
        """Keeps a network, and what it says about the validation images, until a few others have come."""
        with self._lock:
            self._recent[plan.hash, recovery] = Recent(network, records)
            self._recent.move_to_end((plan.hash, recovery))
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)

    def keep_tuned(self, plan: Plan, model: nn.Module, note: Mapping[str, Any]) -> None:
        """Keeps a fine-tuned network in place of the one that was kept for the plan before."""
        with self._lock:
            self._recent.pop((plan.hash, "tuned"), None)
            self._tuned[plan.hash] = Tuned(model.eval(), dict(note))

    def forget_tuned(self, plan: Plan) -> None:
        """Lets the fine-tuned network of a plan go; nothing happens if there is none."""
        with self._lock:
            self._recent.pop((plan.hash, "tuned"), None)
            self._tuned.pop(plan.hash, None)

    def has_tuned(self, plan: Plan) -> bool:
        """Whether a fine-tuned network is kept for a plan."""
        return plan.hash in self._tuned

    def tuned(self, plan: Plan) -> Tuned:
        """The fine-tuned network that is kept for a plan.

        Raises:
            RspruneError: there is none.
        """
        found = self._tuned.get(plan.hash)
        if found is None:
            raise RspruneError("No fine-tuned network is kept for this plan; fine-tune it, or choose another recovery.")
        return found

    def tuned_from(self, plan: Plan) -> str:
        """The recovery that the fine-tuned network of a plan began with; the live closed form if that is not known."""
        found = self._tuned.get(plan.hash)
        recovery = found.note.get("recovery") if found else None
        return recovery if recovery in recovery_titles(masks=True) else "live"


def private_copy(network: nn.Module) -> nn.Module:
    """A copy of a network that no other thread looks at, without the hooks that one may hang on the original now."""
    return without_guests(copy.deepcopy(network))
