"""How much faster one network is than another, if that is clear.

A time says little by itself: the same network takes twice as long while another program computes. So networks that are
compared are timed in turn (`rsprune_lib.measure.latencies`: first, second, first, second, ...), the shortest pass of
each round counts, and the ratios of all rounds say how far the factor can be trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.latency import Latency

__all__ = ["Speed"]

_ALIKE = 0.1  # two networks within 10 % of each other are about as fast


@dataclass(frozen=True)
class Speed:
    """How many times as fast one network is as another.

    Attributes:
        factor: median over the rounds of the other's time / its time.
        low: lower quartile of that.
        high: upper quartile.
        busy: other work took the processor away from one of the two.
    """

    factor: float
    low: float
    high: float
    busy: bool = False

    @classmethod
    def of(cls, other: Latency, this: Latency) -> Speed:
        """Compares two networks that were timed in turn, see `latencies`.

        Raises:
            RspruneError: they were not.
        """
        if len(other.rounds_ms) != len(this.rounds_ms):
            raise RspruneError(
                f"Got times of {len(other.rounds_ms)} and of {len(this.rounds_ms)} rounds; time both in one call of "
                "`latencies`, in turn."
            )
        rounds = zip(other.rounds_ms or (other.median_ms,), this.rounds_ms or (this.median_ms,), strict=True)
        low, factor, high = np.percentile([a / b for a, b in rounds], [25, 50, 75])
        return cls(float(factor), float(low), float(high), other.busy or this.busy)

    @property
    def alike(self) -> bool:
        """Whether both take the same time, within 10 %."""
        return not self.busy and 1 - _ALIKE <= self.low and self.high <= 1 + _ALIKE

    @property
    def clear(self) -> bool:
        """Whether the factor can be stated: its spread is smaller than its distance from 1, both as ratios."""
        return not self.busy and (self.alike or math.log(self.high / self.low) < abs(math.log(self.factor)))

    def __str__(self) -> str:
        """The factor in words; where it is not clear, a sentence that names none."""
        if not self.clear:
            return "not clear: this machine is busy"
        if self.alike:
            return "about as fast"
        return f"{self.factor:.1f} times as fast" if self.factor > 1 else f"slower ({self.factor:.2f} times the speed)"
