"""Scores of the trained network's channels, each computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsprune_lib.pruning import Scores, Similarity, normalised, score, similarity
from rsprune_studio.engine.class_votes import ClassVotes
from rsprune_studio.engine.setting import MAP_OPTIONS, Setting
from rsprune_studio.engine.threads import UNWATCHED, Watch
from rsprune_studio.engine.trained import Trained

__all__ = ["Scoring"]


class Scoring:
    """What every criterion says about the channels of a trained network.

    Args:
        trained: the network with its training images.

    Attributes:
        votes: what its channels mean to each class.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self.votes = ClassVotes(trained.model, trained.groups, trained.batches("train", trained.images), trained.using)
        self._scores: dict[tuple, Scores] = {}
        self._similar: dict[tuple, Similarity] = {}
        self._values: dict[tuple, dict[str, np.ndarray]] = {}

    def knows(self, setting: Setting) -> bool:
        """Whether a plan follows at once: the scores are there, and no graph searches for its thresholds."""
        there = _key(setting.criterion, setting.options) in self._scores
        there |= _by_votes(setting.criterion, setting.options) and self.votes.ready
        return there and not (setting.by_graph and setting.amount != "threshold")

    def scores(self, criterion: str, watch: Watch = UNWATCHED, **options: Any) -> Scores:  # noqa: ANN401
        """Scores of all groups by a criterion, computed once for each choice of its options.

        Args:
            criterion: key of `CRITERIA`.
            watch: of the work.
            **options: of the criterion, see `Setting.options`.

        Raises:
            RspruneError: the criterion or an option is unknown or not for this network.
            Stopped: they are no longer wanted.
        """
        key = _key(criterion, options)
        if key not in self._scores:
            by_votes = _by_votes(criterion, options)
            found = self.votes.scores(watch, **options) if by_votes else self._score(criterion, watch, options)
            self._scores[key] = found
        return self._scores[key]

    def _score(self, criterion: str, watch: Watch, options: Mapping[str, Any]) -> Scores:
        trained = self._trained
        images = watch.over(trained.batches("train", trained.images), f"Scoring all channels by {criterion}, once")
        how = {"data": images, "gates": trained.gates, "progress": False, **options}
        if criterion == "similarity":
            how["similar"] = self.similar(watch, **{name: how.pop(name) for name in MAP_OPTIONS if name in how})
        with trained.using:
            return score(trained.model, trained.groups, criterion, **how)

    def similar(self, watch: Watch = UNWATCHED, **options: Any) -> Similarity:  # noqa: ANN401 - `similarity` checks them
        """How alike the feature maps of each group's channels are, computed once for each choice of options.

        Args:
            watch: of the work.
            **options: ``makers`` and ``mean_term`` of `rsprune_lib.pruning.similarity`.

        Raises:
            Stopped: they are no longer wanted.
        """
        trained, key = self._trained, _key("similarity", options)
        with trained.using:
            if key not in self._similar:
                images = watch.over(trained.batches("train", trained.images), "Comparing all feature maps, once")
                found = similarity(trained.model, trained.groups, images, progress=False, **options)
                self._similar[key] = found
        return self._similar[key]

    def values(self, criterion: str, normalise: str | None = None, **options: Any) -> Mapping[str, np.ndarray]:  # noqa: ANN401
        """Normalised scores, the scale on which groups compete and a threshold counts: group name -> (size,)."""
        key = *_key(criterion, options), normalise
        if key not in self._values:
            self._values[key] = normalised(self.scores(criterion, **options), self._trained.groups, normalise)
        return self._values[key]

    def values_of(self, setting: Setting) -> Mapping[str, np.ndarray]:
        """The normalised scores that a setting goes by."""
        return self.values(setting.criterion, setting.normalise, **setting.options)


def _by_votes(criterion: str, options: Mapping[str, Any]) -> bool:
    """Whether the tables of the class votes have the answer."""
    return criterion == "class_taylor" and options.keys() <= {"rule", "minority"}


def _key(criterion: str, options: Mapping[str, Any]) -> tuple:
    return criterion, *sorted((name, repr(value)) for name, value in options.items())
