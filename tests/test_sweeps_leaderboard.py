"""Boards of equals: who is compared with whom, in which order, and what is not told apart."""

import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.places import project_root
from rsprune_lib.sweeps.leaderboard import boards, markdown, write_leaderboard
from rsprune_lib.sweeps.store import Store


def row(criterion, value, seed=0, macs=100_000_000, stage="closed form", ms=None, spread=0.1, **more):
    found = {"part": "test", "data": "eurosat", "metric": "accuracy", "value": value, "seed": seed, "macs": macs,
             "params": macs // 10, "latency_ms": ms, "low": value - 0.01, "high": value + 0.01, "device": "a machine",
             "source": "table.json"}  # fmt: skip
    inner = {"criterion": criterion, "stage": stage, "scope": "local", "batch": 1, "latency_iqr_ms": spread}
    return found | {"row": inner | more}


def test_seeds_are_joined_and_the_better_mean_leads():
    rows = [row("l1", v, seed) for seed, v in enumerate((0.90, 0.92, 0.94))]
    rows += [row("random", v, seed) for seed, v in enumerate((0.95, 0.80, 0.80))]
    (board,) = boards(rows)
    assert [(e.way[0], round(e.quality, 3), len(e.values)) for e in board.entries] == [
        ("l1", 0.92, 3), ("random", 0.85, 3),
    ]  # fmt: skip
    assert (board.entries[0].low, board.entries[1].high) == (0.90, 0.95)
    assert [line[6] for line in board.lines()] == ["×", "×"]  # .95 reaches .90
    (apart,) = boards([row("l1", 0.92), row("random", 0.80)])
    assert [line[6] for line in apart.lines()] == ["×", ""]


def test_only_equals_share_a_board():
    rows = [row("l1", 0.9), row("l2", 0.8, macs=96_000_000), row("fpgm", 0.7, macs=50_000_000)]
    (board,) = boards(rows)
    assert {e.way[0] for e in board.entries} == {"l1", "l2"}
    assert boards([row("l1", 0.9), row("l2", 0.8, macs=94_000_000)]) == []  # more than 5 % apart
    assert boards([row("l1", 0.9), row("l2", 0.8) | {"data": "ucmerced"}]) == []
    assert boards([row("l1", 0.9), row("l2", 0.8) | {"part": "val"}]) == []
    assert boards([row("l1", 0.9), row("dense", 0.97), row(None, 0.97)]) == []


def test_what_was_done_after_the_cut_is_told_apart():
    rows = [row("l1", 0.9), row("l1", 0.5, stage="raw"), row("l1", 0.93, stage="fine-tuned", loss="ce"),
            row("l1", 0.94, stage="fine-tuned", loss="mining")]  # fmt: skip
    (board,) = boards(rows)
    assert [e.way[2] for e in board.entries] == ["fine-tuned, mining", "fine-tuned, ce", "closed form", "raw"]


def test_a_way_in_words_counts_where_something_was_cut():
    words = {"way": "error per MAC", "ratio": 0.7}
    rows = [row("l1", 0.9), row(None, 0.95, stage=None, **words), row(None, 0.97, stage=None, way="frozen")]
    (board,) = boards(rows)
    assert [(e.way[0], e.way[2]) for e in board.entries] == [("error per MAC", "no training"), ("l1", "closed form")]


def test_latency_ranks_only_what_was_timed_calmly_on_one_machine():
    rows = [row("l1", 0.90, ms=2.0, macs=10**8), row("l2", 0.95, ms=2.1, macs=3 * 10**8)]
    (board,) = boards(rows)
    assert [e.way[0] for e in board.entries] == ["l2", "l1"] and "2.05 ms, batch 1, a machine" in board.title
    assert boards([rows[0], row("l2", 0.95, ms=2.1, macs=3 * 10**8, spread=1.5)]) == []  # quartiles far apart
    assert boards([rows[0], rows[1] | {"device": "another"}]) == []
    assert boards([rows[0], row("l2", 0.95, ms=2.3, macs=3 * 10**8)]) == []  # more than 10 % apart


def test_the_page_shows_names_as_text(tmp_path):
    rows = [row("<script>alert(1)</script>", 0.9), row("a|b", 0.8)]
    assert write_leaderboard(rows, tmp_path / "page.html") == 1
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    write_leaderboard(rows, tmp_path / "page.md")
    assert "| 2 | a/b |" in (tmp_path / "page.md").read_text()


def test_what_cannot_be_ranked_is_told(tmp_path):
    with pytest.raises(RspruneError, match="No two results"):
        write_leaderboard([row("l1", 0.9)], tmp_path / "page.html")
    with pytest.raises(RspruneError, match=r"\.html or \.md"):
        write_leaderboard([row("l1", 0.9), row("l2", 0.9)], tmp_path / "page.pdf")
    assert list(tmp_path.iterdir()) == []


def test_the_committed_page_is_that_of_the_committed_results():
    """Another one: rsprune results results --leaderboard --out docs/leaderboard.md."""
    store = Store()
    store.collect([project_root() / "results"])
    assert (project_root() / "docs" / "leaderboard.md").read_text(encoding="utf-8") == markdown(boards(store.rows()))
