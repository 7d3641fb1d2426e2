"""Which vertices of a similarity graph stay: each way a function of one layer's graph, and one entry below.

Vertices are the channels of a layer; an edge joins two whose similarity is at least the threshold.

    >>> alike = np.array([[1, .9, .2], [.9, 1, .8], [.2, .8, 1]])
    >>> dominating(Graph.at(alike, 0.75)).tolist()  # the one in the middle stands for both others
    [False, True, False]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsprune_lib.entries import Entry
from rsprune_lib.pruning.similarity.hashes import TIE

__all__ = ["SELECTORS", "Graph", "core", "dominating", "nested", "paper", "scored"]


@dataclass(frozen=True)
class Graph:
    """The graph of one layer at one threshold.

    Attributes:
        edges: (C, C) bool, symmetric, False on the diagonal.
        weights: (C, C) int64, hundredths: similarities rounded to two decimals where there is an edge, else 0.
        rank: (C,) float64, what a selector that asks for quality goes by; higher is better.
    """

    edges: np.ndarray
    weights: np.ndarray
    rank: np.ndarray

    @classmethod
    def at(cls, similarity: np.ndarray, threshold: float, rank: np.ndarray | None = None) -> Graph:
        """Builds the graph of a (C, C) similarity matrix; an edge where it is at least ``threshold``."""
        edges = np.asarray(similarity) >= threshold - TIE
        np.fill_diagonal(edges, False)
        # hundredths as whole numbers: sums have no rounding, so ties are ties
        weights = np.where(edges, np.rint(100 * np.asarray(similarity)), 0).astype(np.int64)
        return cls(edges, weights, np.zeros(len(edges)) if rank is None else np.asarray(rank, dtype=np.float64))

    @property
    def degree(self) -> np.ndarray:
        """(C,) number of neighbours."""
        return self.edges.sum(1)

    @property
    def strength(self) -> np.ndarray:
        """(C,) sum of the weights of a vertex's edges."""
        return self.weights.sum(1)


def paper(graph: Graph) -> np.ndarray:
    """The published sweep, exact: ascending over the vertices with edges, by the degrees of the full graph.

    Degrees are never updated, so what stays need not stand for all that goes: a leaf is deleted although its hub may be
    deleted later, and a vertex may be deleted for a neighbour of its neighbour. Isolated vertices always stay.

    Returns:
        (C,) bool, True for what stays.
    """
    degree, strength = graph.degree.tolist(), graph.strength.tolist()
    neighbours = [np.flatnonzero(row).tolist() for row in graph.edges]
    kept: dict[int, bool] = {}
    for v in range(len(degree)):
        if degree[v] == 0:
            kept[v] = True
        elif v not in kept and degree[v] == 1:
            (u,) = neighbours[v]
            kept[v] = degree[u] == 1
            if kept[v]:
                kept[u] = False
        elif v not in kept:
            open_ones = [v, *(u for u in neighbours[v] if u not in kept)]
            best = max(open_ones, key=lambda w: (degree[w], strength[w]))  # ties: the first, so v itself
            kept |= {w: w == best for w in open_ones}
    return np.array([kept[v] for v in range(len(degree))], dtype=bool)


def dominating(graph: Graph) -> np.ndarray:
    """Every removed channel keeps a similar one alive: the busiest vertex stays, its neighbours go, and so on.

    Degrees and strengths are those of the graph that is left. What stays is a maximal independent set.

    Returns:
        (C,) bool, True for what stays.
    """
    degree, strength = graph.degree, graph.strength
    stays, left = np.zeros(len(degree), dtype=bool), np.ones(len(degree), dtype=bool)
    above = int(strength.max(initial=0)) + 1  # so that a degree more outweighs any strength
    while left.any():
        busiest = np.argmax(np.where(left, degree * above + strength, -1))  # ties: the lower index
        gone = np.flatnonzero(graph.edges[busiest] & left)
        stays[busiest] = True
        left[busiest] = left[gone] = False
        if len(gone):
            degree = degree - graph.edges[gone].sum(0)
            strength = strength - graph.weights[gone].sum(0)
    return stays


def scored(graph: Graph) -> np.ndarray:
    """As `dominating`, but the channel of the highest rank stays: each removed one has a similar *better* one.

    Returns:
        (C,) bool, True for what stays.
    """
    stays, left = np.zeros(len(graph.rank), dtype=bool), np.ones(len(graph.rank), dtype=bool)
    for v in np.argsort(-graph.rank, kind="stable"):
        if left[v]:
            stays[v] = True
            left &= ~graph.edges[v]
    return stays


def core(graph: Graph) -> np.ndarray:
    """The authors' follow-up: in each part of the densest core the best channel stays, until no edge is left.

    Repeated: the k-core of the highest k, its connected components, in each the vertex of the highest rank (there: the
    L1 norm of the filter) stays in the graph, the others leave it.

    Paper: Li et al., Redundancy graph decomposition, Neurocomputing 2024.

    Returns:
        (C,) bool, True for what stays.
    """
    from scipy.sparse.csgraph import connected_components  # here: the live tool does without it, and starts sooner

    stays = np.ones(len(graph.rank), dtype=bool)
    edges = graph.edges.copy()
    while edges.any():
        inside = np.flatnonzero(_highest_core(edges))
        _, labels = connected_components(edges[np.ix_(inside, inside)], directed=False)
        for label in range(labels.max() + 1):
            part = inside[labels == label]
            losers = np.delete(part, np.argmax(graph.rank[part]))
            stays[losers] = False
            edges[losers] = edges[:, losers] = False
    return stays


def nested(graph: Graph) -> np.ndarray:
    """Every edge removes its worse end: who has a better neighbour goes, whether that one stays or not.

    Along a chain of similar channels only the best is left, so a removed one may have nobody alike that stays. In
    return a higher threshold only ever adds channels, which no other selector promises: so this one can be written as
    a score (`rsprune_lib.pruning.similarity.hashes.redundancy`) and competes like any other criterion.

    Returns:
        (C,) bool, True for what stays.
    """
    order = np.argsort(-graph.rank, kind="stable")  # best first; ties: the lower index
    stays = np.empty(len(order), dtype=bool)
    stays[order] = ~np.tril(graph.edges[np.ix_(order, order)], -1).any(1)
    return stays


def _highest_core(edges: np.ndarray) -> np.ndarray:
    """(C,) bool: the vertices of the k-core with the highest k, by peeling off what has the fewest neighbours."""
    degree, inside = edges.sum(1), np.ones(len(edges), dtype=bool)
    best, highest = inside, 0
    while inside.any():
        least = degree[inside].min()
        if least > highest:
            best, highest = inside.copy(), least
        out = inside & (degree <= max(least, highest))
        inside &= ~out
        degree = degree - edges[out].sum(0)
    return best


SELECTORS: dict[str, Entry] = {
    "paper": Entry("", "the published sweep by the degrees of the full graph", paper),
    "dominating": Entry("", "each removed channel has a similar one that stays", dominating),
    "core": Entry("", "of each part of the densest core the best stays", core, ("rank",)),
    "scored": Entry("", "each removed channel has a similar better one that stays", scored, ("rank",)),
    "nested": Entry("", "what has a better neighbour goes; a score for any amount", nested),
}
