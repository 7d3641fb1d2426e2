"""The store of results, questions to it, published numbers beside ours, and the page about runs."""

import json
import re
from pathlib import Path

import pytest

from rsprune_lib.cli import main
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json
from rsprune_lib.run_mark import write_mark
from rsprune_lib.sweeps import reproduce
from rsprune_lib.sweeps.page import over_seeds, write_page
from rsprune_lib.sweeps.published import beside, published
from rsprune_lib.sweeps.queries import compare, rendered, where
from rsprune_lib.sweeps.store import Store

CONTROL = "\x1b]0;mine\x07\rnet \u202e \x9b31m"
ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import json, sys
name, seed = sys.argv[1:3]
if name == "<b>bad" and seed == "1": sys.exit("the class '<script>' is missing")
value = .9 + int(seed) / 100
origin = {"data": {"name": "toy", "synthetic": True, "content_hash": "c0ffee"}, "seed": int(seed), "device": "a pc",
          "git": {"commit": "0123456789abcdef", "dirty": False}, "versions": {"torch": "2"}}
print(json.dumps({"name": name, "accuracy": value, "ci": [value - .01, value + .01], "params": 1000,
                  "macs": 10 ** int(seed), "n": 100, "part": "test", "provenance": origin}))
"""


def row(seed=0, accuracy=0.9, commit="aaaa", **more):
    origin = {"data": {"name": "toy", "synthetic": False}, "seed": seed, "git": {"commit": commit, "dirty": False}}
    numbers = {"accuracy": accuracy, "ci": [accuracy - 0.01, accuracy + 0.01], "params": 10, "part": "test"}
    return {"name": "net", "seed": seed, **numbers, "provenance": origin, **more}


@pytest.fixture
def held(tmp_path):
    def read(*rows):
        write_json(tmp_path / "t.json", {"rows": list(rows)})
        store = Store()
        store.collect([tmp_path / "t.json"])
        return store.rows()

    return read


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    (place / "s.py").write_text(SCRIPT)
    axes = "axes: {kind: [a, '<b>bad'], seed: [1, 2]}"
    (place / "s.yaml").write_text(
        f"title: Try & see\nabout: How it goes\npublished: [ued]\n{axes}\n"
        "jobs: {one: {run: 'python s.py {kind} {seed}'}}\n"
    )
    plan = reproduce.prepare(place / "s.yaml", profile="smoke", out=place / "out", retries=0)
    reproduce.reproduce(plan, workers=1)
    return place / "out"


def test_a_number_that_is_measured_anew_stands_beside_the_old_one(tmp_path):
    store = Store(tmp_path / "r.sqlite")
    write_json(tmp_path / "t.json", {"rows": [row()]})
    assert store.collect([tmp_path / "t.json"]) == 1 and store.collect([tmp_path / "t.json"]) == 0
    write_json(tmp_path / "t.json", {"rows": [row(accuracy=0.91, commit="bbbb")]})
    assert Store(tmp_path / "r.sqlite").collect([tmp_path / "t.json"]) == 1, "what was read is kept in the file"
    found = [(r["commit"], r["value"]) for r in Store(tmp_path / "r.sqlite").rows()]
    assert found == [("aaaa", 0.9), ("bbbb", 0.91)], "each number with its own commit"


def test_every_committed_table_and_bundle_is_read_with_its_origin():
    store = Store()
    store.collect([ROOT / "results", ROOT / "bundles"])
    rows = store.rows()
    fair = read_json(ROOT / "results" / "fair_table.json", "the table")["rows"]
    assert sum(r["source"] == "fair_table.json" for r in rows) == len(fair)
    for source in ("closed_form_recovery.json", "similarity_cifar10.json", "segmentation_camvid.json", "seeds.json",
                   "eurosat_resnet18_se_r70"):  # fmt: skip
        mine = [r for r in rows if r["source"] == source]
        assert mine and all(r["commit"] and 0 < r["value"] < 1 for r in mine), source
    masks = next(r for r in rows if r["source"] == "camvid_ued_bes_sfm")
    assert masks["metric"] == "mIoU" and masks["value"] == pytest.approx(masks["row"]["metrics"]["mIoU"])


def test_what_is_no_source_or_store_is_told(tmp_path):
    with pytest.raises(RspruneError, match="Found nothing at"):
        Store().collect([tmp_path / "no"])
    (tmp_path / "x").write_text("no database, but long enough to be looked at" * 10)
    with pytest.raises(RspruneError, match="as a store of results"):
        Store(tmp_path / "x")


def test_conditions_know_columns_recorded_fields_and_values(held):
    rows = held(row(criterion="l1"), row(criterion="taylor", params=99), row(values={"ratio": 0.7}, criterion="l2"))
    assert [r["row"]["criterion"] for r in where(rows, ["criterion=l*"])] == ["l1", "l2"]
    assert len(where(rows, ["params<=10", "data=toy", "synthetic=0"])) == 2 and len(where(rows, ["ratio=0.70"])) == 1
    assert len(where(rows, ["criterion!=l1"])) == 2
    with pytest.raises(RspruneError, match="Got the condition 'criterion'"):
        where(rows, ["criterion"])
    with pytest.raises(RspruneError, match="No result has a field 'criterium'"):
        where(rows, ["criterium=l1"])


def test_pairs_differ_in_one_field_alone(held):
    rows = held(
        row(0, 0.90, criterion="l1", scope="local"), row(0, 0.95, criterion="taylor", scope="local"),
        row(1, 0.90, criterion="l1", scope="local"), row(1, 0.91, criterion="taylor", scope="global"),
    )  # fmt: skip
    (pair,) = compare(rows, "criterion", "l1", "taylor")
    assert pair["difference"] == pytest.approx(5) and pair["clear"] is True and "seed=0" in pair["what"]
    with pytest.raises(RspruneError, match=r"No two results differ in criterion \(l1, fpgm\) alone: 2 have the one, 0"):
        compare(rows, "criterion", "l1", "fpgm")


def test_tables_come_in_several_formats(held):
    rows = held(row(note="a|b"))
    assert rendered(rows, "csv", ["name", "value", "note"]) == "name,value,note\nnet,0.9,a|b"
    assert rendered(rows, "markdown", ["name", "note"]) == "| name | note |\n| --- | --- |\n| net | a/b |"
    assert json.loads(rendered(rows, "json"))[0]["commit"] == "aaaa"
    assert (
        rendered([], "table", ["name"]) == ""
        and rendered(rows, "table", ["name", "value"]).splitlines()[1] == "net   0.9"
    )


def test_published_rows_have_a_source_and_a_protocol_and_ours_beside(held):
    assert all(r["source"] and r["protocol"] and r["explained"] and 0 < r["value"] < 1 for r in published())
    wanted = next(
        r for r in published() if r["table"] == "similarity_graph" and r.get("ours", {}).get("threshold") == 0.7
    )
    ours = [row(s, a, **wanted["ours"]) for s, a in ((0, 0.8), (1, 0.9))]
    ours.append(row(2, 0.1, **{**wanted["ours"], "part": "val"}))
    for one in ours:
        one["provenance"]["data"]["name"] = "cifar10"
    found = next(r for r in beside(held(*ours, row(7)), ["similarity_graph"]) if r["name"] == wanted["name"])
    assert found["mean"] == pytest.approx(0.85) and found["seeds"] == [0, 1] and found["commits"] == ["aaaa"]
    assert found["difference"] == pytest.approx(100 * (0.85 - wanted["value"]))
    assert {r["table"] for r in beside([], ["ued"])} == {"ued"} and beside([], ["ued"])[0]["mean"] is None


def test_rows_of_seeds_become_one_with_a_bar(sweep):
    store = Store()
    store.collect([sweep])
    joined = {line["kind"]: line for line in over_seeds([r["row"] for r in store.rows()])}
    assert (joined["a"]["mean"], joined["a"]["low"], joined["a"]["high"]) == (pytest.approx(0.915), 0.91, 0.92)
    assert joined["a"]["seeds"] == "1, 2" and joined["<b>bad"]["spread"] is None
    assert joined["<b>bad"]["low"] == pytest.approx(0.91), "of one seed the interval of its images"


def test_several_results_of_one_cell_are_no_seeds():
    rows = [row(seed, 0.5 + place / 10 + seed / 100, job="a", cell=f"a, seed={seed}", values={"seed": seed}, name=name)
            for seed in (0, 1) for place, name in enumerate(("dense", "cut"))]  # fmt: skip
    joined = over_seeds(rows)
    assert [(one["result"], round(one["mean"], 3), one["seeds"]) for one in joined] == [
        ("dense", 0.505, "0, 1"), ("cut", 0.605, "0, 1")]  # fmt: skip


def test_the_page_holds_everything_itself_and_shows_names_as_text(sweep, tmp_path):
    facts = write_page([sweep], tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert facts == {"cells": 4, "failed": 1} and "3 of 4 cells finished" in page
    assert "91.50 ± 0.71" in page and "data:image/png;base64," in page and "Synthetic data" in page
    assert "What could not be reproduced, and why" in page and "&lt;script&gt;" in page and "<script" not in page
    assert "reproduce" in page and "--only" in page and "0123456789ab" in page and "c0ffee" in page
    assert "77.91%" in page and "not measured" in page and "Try &amp; see" in page and "<b>bad" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page), "nothing is loaded"


def test_a_course_run_has_its_sections_on_the_same_page(sweep, tmp_path):
    notebook = {"name": "00_x", "ok": False, "seconds": 3, "error": "In [1] raised", "reused": False}
    head = {"schema": 1, "profile": "smoke", "data": "toy", "started": "2026-01-01T00:00:00", "seconds": 3.0}
    found = {"about": {}, "notes": [], "notebooks": [notebook], "rows": [{"notebook": "00_x", **row()}], "figures": []}
    write_json(tmp_path / "course" / "results.json", head | found)
    write_mark(tmp_path / "course", "course", {"results.json"})
    write_page([sweep, tmp_path / "course"], tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert "0 of 1 notebooks passed" in page and 'href="course/00_x/00_x.ipynb"' in page and "3 of 4 cells" in page


def test_commands_of_results_and_report(sweep, tmp_path, capsys, monkeypatch):
    assert main(["results", str(sweep), "--where", "value>0.91", "--format", "csv", "--columns", "name,value"]) == 0
    assert capsys.readouterr().out.splitlines() == ["name,value", "<b>bad,0.92", "a,0.92"]
    assert main(["results", str(sweep), "--format", "parquet"]) == 1
    assert "name a file with --out" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    assert main(["results", str(sweep), "--format", "parquet", "--out", str(tmp_path / "r.parquet")]) == 1
    assert "pip install duckdb" in capsys.readouterr().err and not (tmp_path / "r.parquet").exists()
    assert main(["results", str(sweep), "--format", "markdown", "--out", str(tmp_path / "r.md")]) == 0
    assert (tmp_path / "r.md").read_text().startswith("| name |")
    assert main(["report", str(sweep), "--out", str(tmp_path / "p.html")]) == 0
    assert main(["report", str(sweep), "--out", str(tmp_path / "p.html")]) == 1, "a page is not replaced unasked"
    assert "already there" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty"), "--out", str(tmp_path / "q.html")]) == 1
    assert "no folder of a sweep or of a course run" in capsys.readouterr().err


def test_rows_of_others_are_a_sentence(tmp_path, capsys):
    """The kinds of wrong entries stand in test_records; here, that every form of a table is checked."""
    origin = {"provenance": "me"}
    wrong = [
        {"rows": [row(), row(ci=[1, 2, 3])]}, {"rows": [row(**origin)]}, {"rows": [row(n="ten")]},
        {"networks": {"a": "b"}}, {"networks": {"a": {"cells": [1]}}}, {"networks": {"a": {"cells": {"raw": "x"}}}},
        {"networks": {"a": {"cells": {"raw": {"accuracy": 0.5}}}}, **origin},
    ]  # fmt: skip
    for number, found in enumerate(wrong):
        write_json(tmp_path / f"{number}.json", found)
        for form in ("table", "json"):
            assert main(["results", str(tmp_path / f"{number}.json"), "--format", form]) == 1
            said = capsys.readouterr()
            assert "is not as rsprune writes it" in said.err and not said.out


def test_names_of_others_do_not_move_the_cursor(tmp_path, capsys):
    write_json(tmp_path / "t.json", {"rows": [row(), row(name=CONTROL)]})
    for form in ("table", "markdown", "csv", "json"):
        assert main(["results", str(tmp_path / "t.json"), "--format", form]) == 0
        said = capsys.readouterr().out
        assert all(character.isprintable() or character == "\n" for character in said)
    assert json.loads(said)[1]["name"] == CONTROL


def test_a_table_is_not_written_over_what_it_is_made_of(tmp_path, capsys):
    write_json(tmp_path / "t.json", {"rows": [row()]})
    before, notes = (tmp_path / "t.json").read_text(), tmp_path / "notes.md"
    notes.write_text("mine")
    assert main(["results", str(tmp_path / "t.json"), "--out", str(tmp_path / "t.json"), "--force"]) == 1
    assert main(["results", str(tmp_path), "--out", str(notes)]) == 1
    assert ((tmp_path / "t.json").read_text(), notes.read_text()) == (before, "mine")
    assert main(["results", str(tmp_path / "t.json"), "--out", str(notes), "--force"]) == 0
    assert "net" in notes.read_text() and "1 result, written" in capsys.readouterr().err


def test_a_store_from_elsewhere_is_a_sentence(tmp_path, capsys):
    import sqlite3

    from rsprune_lib.sweeps.store import COLUMNS

    table, names = tmp_path / "t.json", ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    write_json(table, {"rows": [row()]})
    fill = f"INSERT INTO results VALUES ('1'{', NULL' * (len(COLUMNS) - 2)}, "
    make = f"CREATE TABLE results ({names})"
    wrong = [
        [make, fill + "NULL)"], [make, fill + "'{')"], [make, fill + "'[1]')"], [make, fill + "x'ff')"],
        [make, fill + "'{\"ci\": 5}')"], [make, fill + "'{}')", "UPDATE results SET params = 'many'"],
        [make, fill + "'{}')", "UPDATE results SET name = CAST(x'ff' AS TEXT)"],
        ["CREATE VIEW results AS SELECT " + ", ".join(f"1 AS \"{name}\"" for name in COLUMNS)],
        [make, "CREATE TRIGGER t BEFORE INSERT ON results BEGIN SELECT RAISE(ABORT, 'no'); END"],
    ]  # fmt: skip
    for number, commands in enumerate(wrong):
        with sqlite3.connect(tmp_path / f"{number}.db") as held:
            for command in commands:
                held.execute(command)
        held.close()
        assert main(["results", str(table), "--store", str(tmp_path / f"{number}.db")]) == 1
        said = capsys.readouterr().err
        assert "as a store of results" in said or "is not as rsprune writes it" in said


def test_a_page_about_a_changed_sweep_says_what_is_wrong(sweep, tmp_path, capsys):
    import shutil

    for file, key, value in (
        ("sweep.json", "cells", "abc"), ("sweep.json", "cells", ["../../x"]), ("sweep.json", "title", 3),
        ("summary.json", "jobs", {"one": {"ok": "1"}}), ("summary.json", "failed", [{"cell": "x"}]),
    ):  # fmt: skip
        folder = tmp_path / "copy"
        shutil.copytree(sweep, folder)
        write_json(folder / file, read_json(folder / file, "a test") | {key: value})
        assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 1
        assert f"{file} is not as rsprune writes it: {key}" in capsys.readouterr().err
        shutil.rmtree(folder)
    assert main(["report", str(sweep), "--out", str(sweep / "page.html")]) == 1
    assert not (tmp_path / "page.html").exists() and not (sweep / "page.html").exists()
