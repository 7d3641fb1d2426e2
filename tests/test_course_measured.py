"""Measured tables: found, filtered, averaged; absent ones do no harm."""

import pytest

from rsprune_lib.course import measured as room
from rsprune_lib.course import over_seeds
from rsprune_lib.course.measured import measured
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import write_json

ROWS = [
    {"loss": "ce", "seed": 0, "accuracy": 0.90, "stage": "fine-tuned"},
    {"loss": "ce", "seed": 1, "accuracy": 0.92, "stage": "fine-tuned"},
    {"loss": "focal", "seed": 0, "accuracy": 0.95, "stage": "fine-tuned"},
    {"stage": "raw", "seed": 0, "accuracy": 0.2},
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setitem(measured.__globals__, "project_root", lambda: tmp_path)
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "fair_table.json"


def test_rows_are_filtered_and_averaged(table):
    write_json(table, {"rows": ROWS})
    assert room is measured
    assert len(measured()) == 4
    found = over_seeds(measured(stage="fine-tuned"), by="loss")
    assert list(found) == ["focal", "ce"]
    assert found["ce"] == (pytest.approx(0.91), pytest.approx(0.02 / 2**0.5), 2)
    assert found["focal"][1] is None
    assert over_seeds(measured(stage="raw"), by="loss") == {}


def test_no_table_is_no_rows(table):
    assert measured("never_measured") == []


def test_something_else_is_refused(table):
    write_json(table, {"schema": 1})
    with pytest.raises(RspruneError, match="no rows"):
        measured()
