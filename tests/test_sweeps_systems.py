"""The sweep files of the five systems: each makes its cells in every profile, and runs to its end in smoke."""

import contextlib
import io
from pathlib import Path

import pytest

from rsprune_lib.cli import main
from rsprune_lib.files import read_json
from rsprune_lib.sweeps import cell as cell_module
from rsprune_lib.sweeps import reproduce
from rsprune_lib.sweeps.grid import cells_of
from rsprune_lib.sweeps.processes import Ended
from rsprune_lib.sweeps.published import published
from rsprune_lib.sweeps.sweep_file import PROFILE_NAMES, read_sweep

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = sorted((ROOT / "benchmarks" / "sweeps").glob("*.yaml"))
SYSTEMS = ("attention", "exits", "minority", "segmentation", "similarity")


def test_there_is_one_for_each_system():
    assert {path.stem for path in SWEEPS} == {*SYSTEMS, "tables"}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_cells_of_every_profile_run_commands_that_there_are(path, profile):
    from rsprune_lib.cli import COMMANDS

    sweep = read_sweep(path, profile)
    cells = cells_of(sweep, profile, path.parent)
    assert cells and len(cells) <= 5000
    for words in {words for cell in cells for words in cell.steps}:
        assert words[0] == "python" or words[1] in COMMANDS, words
        assert not any("{" in word and not word.startswith(("{out}", "{@")) for word in words), words
    assert {row["table"] for row in published()} >= set(sweep.published)
    if profile == "full" and path.stem in SYSTEMS:
        assert {cell.values["seed"] for cell in cells} == {0, 1, 2}, "a mean needs three"


@pytest.fixture
def here(monkeypatch):
    """Commands run in this process: a new one would load PyTorch for 5 s."""

    def run(words, folder, number, cwd, seconds, environment):
        out, log = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(log):
            for name in ("RSPRUNE_PROFILE", "RSPRUNE_TABLES"):
                patch.setenv(name, environment[name])
            status = main(words[1:])
        (folder / f"step{number}.out").write_text(out.getvalue())
        (folder / f"step{number}.log").write_text(log.getvalue())
        return Ended(status == 0, log.getvalue()[-500:])

    monkeypatch.setattr(cell_module, "run_process", run)
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", SYSTEMS)
def test_smoke_runs_to_its_end(name, here, tmp_path):
    plan = reproduce.prepare(ROOT / "benchmarks" / "sweeps" / f"{name}.yaml", profile="smoke", out=tmp_path / "out")
    done = reproduce.reproduce(plan, workers=1)
    assert done.ok, done.summary["failed"]
    rows = [row for path in (tmp_path / "out" / "cells").glob("*/result.json")
            for row in read_json(path, "a result")["rows"]]  # fmt: skip
    tests = [row for row in rows if row.get("split") == "test"]
    assert tests and all(row["provenance"]["data"]["synthetic"] for row in rows)
    assert all(row["provenance"]["data"]["content_hash"] for row in rows)
