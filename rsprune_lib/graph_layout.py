"""Where the vertices of a similarity graph are drawn, with matplotlib or without."""

import numpy as np

__all__ = ["graph_places"]


def graph_places(values: np.ndarray) -> np.ndarray:
    """Places the vertices of a layer's graphs, once for all thresholds: alike near alike.

    A spring layout (networkx) of everyone's four closest, begun from the two main axes of the similarities.

    Args:
        values: (C, C) similarities.

    Returns:
        (C, 2) positions in [0, 1]; the same for the same similarities.
    """
    import networkx as nx  # only where a graph is drawn: it takes a while

    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count < 3:
        return np.column_stack([np.linspace(0.2, 0.8, count), np.full(count, 0.5)])
    near = np.argsort(2 * np.eye(count) - values, axis=1, kind="stable")[:, : min(4, count - 1)]
    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_weighted_edges_from((i, int(j), float(values[i, j]) ** 4) for i in range(count) for j in near[i])
    centred = values - values.mean(0) - values.mean(1)[:, None] + values.mean()
    axes = np.linalg.eigh(centred)[1][:, -2:]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), [0, 1]] < 0, -1, 1)  # an eigenvector has no sign of its own
    start = dict(enumerate(axes / np.abs(axes).max(0).clip(1e-9)))
    # from 500 vertices on, networkx takes a slower road
    found = nx.spring_layout(graph, pos=start, seed=0, iterations=40 if count < 500 else 12)
    places = np.array([found[i] for i in range(count)])
    return (places - places.min(0)) / np.ptp(places, axis=0).clip(1e-9)
