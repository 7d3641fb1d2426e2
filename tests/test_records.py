"""Rows and results from files of others: read as they are, or refused by the name of the entry."""

import copy

import pytest

from rsprune_lib.course.headless.report import build_report
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import write_json
from rsprune_lib.records import MeasuredRow, checked

ROW = {
    "name": "net", "accuracy": 0.5, "metric": "mIoU", "metrics": {"mIoU": 0.4, "worst class": None}, "ci": [0.4, 0.6],
    "n": 10, "params": 5, "macs": 7.0, "latency_ms": None, "part": "test", "seed": 0, "values": {"criterion": "l1"},
    "provenance": {"data": {"name": "toy", "synthetic": True}, "git": {"commit": "a"}, "versions": {"torch": "2"}},
    "speed": {"note": ["of others", 1]},
}  # fmt: skip
RUN = {
    "schema": 1, "profile": "smoke", "data": "toy", "started": "2026-01-01T00:00:00", "seconds": 3, "about": {},
    "notes": [], "notebooks": [{"name": "00_start", "ok": True, "seconds": 1.5, "error": ""}],
    "rows": [{"notebook": "00_start", "name": "dense", "params": 5, "macs": 7}],
    "figures": [{"notebook": "00_start", "title": "Curve", "file": "00_start/curve.png"}],
}  # fmt: skip
SECRET = b"the key of somebody"


def test_a_row_is_returned_as_it_is():
    assert checked(MeasuredRow, copy.deepcopy(ROW), "t.json") == ROW


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("provenance", "me"), ("provenance", [1]), ("provenance", {"git": "abc"}), ("provenance", {"data": ["toy"]}),
        ("provenance", {"versions": "2"}), ("ci", [1, 2, 3]), ("ci", 5), ("ci", ["low", "high"]), ("metric", ["mIoU"]),
        ("metrics", {"mIoU": "good"}), ("metrics", [1]), ("accuracy", "high"), ("accuracy", float("nan")),
        ("params", "<b>many</b>"), ("params", 10**19), ("n", True), ("values", ["l1"]),
        ("deployed", [1]), ("latency_ms", "fast"), ("part", {"of": "it"}),
    ],
)  # fmt: skip
def test_an_entry_of_another_type_is_named(entry, value):
    with pytest.raises(RspruneError, match=rf"^t\.json, row 3 is not as rsprune writes it: {entry}"):
        checked(MeasuredRow, ROW | {entry: value}, "t.json, row 3")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(SECRET)

    def write(**changes):
        write_json(folder / "results.json", RUN | changes)
        return folder

    return write


def test_half_a_character_is_a_sentence():
    with pytest.raises(RspruneError, match="half of a character"):
        checked(MeasuredRow, ROW | {"of others": "half \ud800"}, "t.json")


def test_a_report_says_which_entry_is_missing_or_wrong(run):
    for key, value in {"notebooks": "x", "seconds": "long", "rows": [{"name": "a"}], "about": {"git": "x"}}.items():
        with pytest.raises(RspruneError, match=f"is not as rsprune writes it: {key}"):
            build_report(run(**{key: value}))
    build_report(run())


def test_a_report_holds_no_file_from_outside_its_run(run, tmp_path):
    """A run from someone else must not carry a reader's own files into a page that is passed on."""
    import base64

    for file in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(RspruneError, match="leads out of its folder"):
            build_report(run(figures=[{"notebook": "00_start", "title": "Curve", "file": file}]))
    folder = run(figures=[{"notebook": "00_start", "title": "Curve", "file": "link.png"}])
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert base64.b64encode(SECRET).decode()[:20] not in build_report(folder).read_text()
