"""Figures about likeness: drawn without pyplot, with what they say written in."""

import numpy as np
import pytest

from rsprune_lib import plots
from rsprune_lib.plots import png


def texts(figure):
    """Everything that is written in a figure."""
    return " | ".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")) if t.get_text())


@pytest.fixture
def values():
    random = np.random.default_rng(0)
    made = random.uniform(0.3, 1, (20, 20))
    made = (made + made.T) / 2
    np.fill_diagonal(made, 1)
    return made


def test_hash_steps_count_the_bits_that_agree():
    random = np.random.default_rng(0)
    bits = random.random((3, 8, 8)) < 0.5
    bits[1] = bits[0]
    bits[2] = bits[0]
    bits[2, 0, :2] ^= True
    figure = plots.hash_steps(
        random.random((3, 16, 16)), random.random((3, 8, 8)), bits, ["a", "b", "c"], title="Hashes", synthetic=True
    )
    said = texts(figure)
    assert (
        "64 of 64 bits agree: 1.00" in said
        and "62 of 64 bits agree: 0.97" in said
        and "Hashes · synthetic data" in said
    )
    assert len(figure.axes[8].lines) == 2, "a frame for each bit that differs"
    assert png(figure)


def test_matrix_is_shown_twice_and_its_pairs_are_counted(values):
    figure = plots.likeness_matrix(values, range(20)[::-1], title="All", synthetic=True)
    first, second = (ax.images[0].get_array() for ax in figure.axes[:2])
    assert np.array_equal(first, values) and np.array_equal(second, values[::-1, ::-1])
    assert sum(bar.get_height() for bar in figure.axes[2].patches) == 190
    assert "synthetic data" in texts(figure)


def test_graphs_say_how_many_stay_and_share_their_places(values):
    edges = values > 0.7
    np.fill_diagonal(edges, False)
    stays = np.arange(20) < 7
    places = plots.graph_places(values)
    figure = plots.similarity_graphs({"one": (edges, stays), "none": (edges & False, stays | True)}, places, values)
    said = texts(figure)
    assert f"{edges.sum() // 2} edges, 7 of 20 stay" in said and "0 edges, 20 of 20 stay" in said
    drawn = [
        np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets()) > 1]) for ax in figure.axes[:2]
    ]
    assert np.array_equal(np.sort(drawn[0], 0), np.sort(drawn[1], 0))
    assert png(figure)


def test_clusters_frame_the_map_that_stays():
    maps = np.random.default_rng(0).normal(size=(4, 8, 8))
    figure = plots.cluster_maps({"channel 3": maps, "channel 9": maps[:2]}, {"channel 3": 0, "channel 9": 1})
    assert "channel 3" in texts(figure) and "channel 9" in texts(figure)
    framed = [ax.spines["top"].get_visible() for ax in figure.axes]
    assert framed == [True, False, False, False, False, True, False, False]


def test_curves_run_from_high_to_low_thresholds():
    figure = plots.selector_curves([0.9, 0.8], {"paper": [0.9, 0.5]}, {"paper": [0.5, 0.1]}, title="Left")
    assert all(ax.get_xlim()[0] > ax.get_xlim()[1] for ax in figure.axes)
    assert figure.axes[1].lines[0].get_ydata().tolist() == [50, 10]
