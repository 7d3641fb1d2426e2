"""The table of the closed form's ways: equal MACs are equal, means are over seeds, and a page says where it is from."""

from types import SimpleNamespace

import pytest
import recovery_ways

from rsprune_lib.measure import cost

ORIGIN = {
    "git": {"commit": "0123456789abcdef"},
    "data": {"name": "toy", "split_hash": "abc", "synthetic": False},
    "device": "a machine",
    "threads": 1,
    "versions": {"torch": "2"},
    "date": "2026-01-01T00:00:00",
}


def _row(way, ratio, seed, val, test, params=50, table="ways"):
    numbers = {"accuracy": test, "val_accuracy": val, "params": params, "macs": params, "metric": "accuracy", "n": 10}
    key = {"table": table, "network": "a net", "seed": seed, "ratio": ratio, "way": way}
    return key | numbers | {"images": 1024, "cpu_seconds": 3.0, "provenance": ORIGIN}


def test_the_page_has_means_shares_and_the_best_on_validation():
    rows = [_row("dense", 0.0, 0, 0.9, 0.9, 100), _row("x", 0.7, 0, 0.8, 0.7), _row("y", 0.7, 0, 0.7, 0.85)]
    rows += [_row("x, same parameters", 0.7, 0, 0.85, 0.9)]
    rows += [_row("dense", 0.0, s, 0.9, 0.9, 100, "others") for s in (0, 1)]
    rows += [_row("x", 0.5, s, 0.8, 0.7 + 0.1 * s, 30, "others") for s in (0, 1)]
    page = recovery_ways.markdown(rows)
    assert "| 70% | x | 50.0% | 50.0% | 80.0 | 70.0 | 1,024 | 3 |" in page
    assert "| 50% | x | 30.0% | 30.0% | 80.0 ± 0.0 | 75.0 ± 7.1 | 1,024 | 3 |" in page
    assert "Best on validation at equal MACs (80.00%): x (test 70.00%)." in page, "test chooses nothing"
    assert "Seed 0, 1; split abc, 10 test images" in page and "0123456789" in page
    assert "Folding as Projection" in page, "published numbers with their source"


@pytest.fixture
def case(tiny_se, tiny_data):
    return recovery_ways.Case(SimpleNamespace(gates=None), tiny_se, tiny_data, 48)


def test_groups_that_compete_leave_no_more_macs_than_the_same_share(case):
    same = cost(case.prune(0.5, criterion="l1", recovery="none").model, 32).macs
    assert case.same_share(0.5).macs == same
    asked = recovery_ways.OWN["reconstruction per MAC, closed form"]
    assert 0.8 * same < cost(case.prune(0.5, **asked).model, 32).macs <= same


def test_as_many_parameters_are_no_more_and_nearly_all(case):
    same, found = case.same_share(0.5), cost(case.as_many_parameters(0.5), 32)
    assert 0.9 * same.params < found.params <= same.params and found.macs > same.macs


def test_every_cell_of_the_tables_can_be_made(case):
    for name in ("ways", "others", "networks"):
        cells = list(recovery_ways.ways_of(case, name, [0.5]))
        assert [cell[0] for cell in cells] == [0.0] + [0.5] * (len(cells) - 1)
        assert len({cell[1] for cell in cells}) == len(cells)
    images = {cell[1]: cell[2] for cell in recovery_ways.ways_of(case, "ways", [0.5])}
    assert images["same share, l2"] == 48 and images["same share, l2, 2,048 images"] == 2048


def test_repairs_of_others_have_the_widths_of_the_same_share(case, tiny_data):
    plain = recovery_ways.Case(case.bundle, recovery_ways.fold(case.model, case.gates), tiny_data, 48)
    wanted = vars(cost(plain.prune(0.5, criterion="l1", recovery="none").model, 32))
    assert vars(cost(plain.folding(0.5), 32)) == wanted == vars(cost(plain.consumers(0.5), 32))
