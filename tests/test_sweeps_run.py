"""Sweeps at work: cells, keys, what is kept, what fails, and every fault that a long sweep meets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rsprune_lib.cli import main
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json
from rsprune_lib.sweeps import cell as cell_module
from rsprune_lib.sweeps import engines, reproduce
from rsprune_lib.sweeps.attempts import open_attempt
from rsprune_lib.sweeps.cell import run_cell
from rsprune_lib.sweeps.engines import workers_here

ROOT = Path(__file__).resolve().parents[1]
# writes a line into a ledger at its start and end, so that a test can count; sleeps, fails or is killed where told
SCRIPT = """
import json, os, pathlib, signal, sys, time
here, name, out, *more = pathlib.Path(__file__).parent, *sys.argv[1:]
def note(word):
    with open(here / "ledger", "a") as file: file.write(f"{word} {name} {os.getpid()} {out}\\n")
note("start")
pathlib.Path(out, "mine").write_text(str(os.getpid()))
for word in more:
    if word.startswith("sleep="): time.sleep(float(word[6:]))
    if word.startswith("wait="):
        while not (here / word[5:]).exists(): time.sleep(.02)
    if word == "fail": sys.exit(f"{name} is bad")
    if word == "once" and not (here / f"{name}.once").exists():
        (here / f"{name}.once").touch(); os.kill(os.getpid(), signal.SIGKILL)
    if word.startswith("need="): assert pathlib.Path(word[5:], "mine").is_file()
assert pathlib.Path(out, "mine").read_text() == str(os.getpid()), "another process wrote here"
note("end")
print(json.dumps({"name": f"net {name}", "accuracy": .5, "params": 3, "provenance": {"seed": 0}}))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the script, where commands run."""
    (tmp_path / "s.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(place, text="python s.py {n} {out}", values="[1, 2, 3, 4]", more=""):
    jobs = text if text.startswith("{") else f"{{a: {{run: '{text}'}}}}"
    (place / "s.yaml").write_text(f"title: Try\naxes: {{n: {values}}}\njobs: {jobs}\n{more}")
    return place / "s.yaml"


def run(place, path=None, *, told=None, **options):
    given = {key: options.pop(key) for key in ("only", "retries") if key in options}
    plan = reproduce.prepare(path or place / "s.yaml", profile="smoke", out=place / "out", **{"retries": 0, **given})
    return reproduce.reproduce(plan, tell=(told if told is not None else []).append, **{"workers": 1, **options})


def ledger(place, word="start"):
    path = place / "ledger"
    return (
        sorted(line.split()[1] for line in path.read_text().splitlines() if line.startswith(word))
        if path.exists()
        else []
    )


def states(done):
    return {outcome.name: outcome.state for outcome in done.outcomes}


def results(place):
    return sorted(path.parent.name.rsplit("-", 1)[0] for path in (place / "out" / "cells").glob("*/result.json"))


def test_a_failing_cell_stops_those_that_need_it_and_no_other(place):
    jobs = "{a: {run: 'python s.py {n} {out} {how}'}, b: {run: 'python s.py b{n} {out} need={a}'}}"
    sweep(place, jobs, more="")
    text = (place / "s.yaml").read_text().replace("axes: {", "axes: {how: [{name: x, what: fail}], ")
    (place / "s.yaml").write_text(text.replace("{how}", "{how.what}").replace("n: [1, 2, 3, 4]", "n: [1, 2]"))
    assert states(run(place)) == {
        "a, how=x, n=1": "failed",
        "b, how=x, n=1": "waits",
        "a, how=x, n=2": "failed",
        "b, how=x, n=2": "waits",
    }
    told = []
    (place / "s.yaml").write_text((place / "s.yaml").read_text().replace("what: fail", "what: sleep=0"))
    done = run(place, told=told, workers=2)
    assert set(states(done).values()) == {"ok"} and done.ok
    assert ledger(place, "end") == ["1", "2", "b1", "b2"] and "[4/4]" in told[-1]


def test_what_failed_is_named_with_the_command_that_runs_it_again(place, capsys):
    sweep(place, "python s.py {n} {out} {n}", '["sleep=0", "fail"]')
    given = ["reproduce", str(place / "s.yaml"), "--profile", "smoke", "--out", str(place / "out"), "--workers", "1"]
    assert main([*given, "--retries", "2", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert [row["cell"] for row in summary["failed"]] == ["a, n=fail"] and summary["failed"][0]["tries"] == 3
    assert summary["failed"][0]["error"] == "fail is bad (python s.py, exit status 1)"
    assert summary["failed"][0]["again"].endswith("--only 'a, n=fail'")
    assert ledger(place) == ["fail", "fail", "fail", "sleep=0"], "tries have a visible end"
    assert "fail is bad" in next((place / "out" / "failed").glob("*.log")).read_text()
    assert main([*given, "--retries", "0"]) == 1
    out, err = capsys.readouterr()
    assert "## 1 failed" in out and "| a | 0 | 1 | 1 | 0 | 0 |" in out and "[2/2] a, n=fail: FAILED" in err
    assert ledger(place).count("sleep=0") == 1, "what is finished is kept"


def test_rows_carry_cell_command_and_origin(place):
    run(place, sweep(place, values="[7]"))
    record = read_json(next((place / "out" / "cells").glob("*/result.json")), "a result")
    row = record["rows"][0]
    assert (row["name"], row["accuracy"], row["cell"], row["values"]) == ("net 7", 0.5, "a, n=7", {"n": 7})
    assert row["command"] == "python s.py 7 '{out}'" and row["provenance"] == {"seed": 0}
    assert row["code"] == record["code"] and "source" in row["code"]


def test_a_key_knows_command_script_input_and_code(place, monkeypatch):
    def key():
        return reproduce.prepare(place / "s.yaml", profile="smoke", out=place / "out").orders[0].key

    from rsprune_lib.sweeps import keys

    (place / "in.json").write_text("1")
    sweep(place, "python s.py {n} {out} in.json")
    seen = [key()]
    assert key() == seen[0]
    (place / "in.json").write_text("2")
    seen.append(key())
    (place / "s.py").write_text(SCRIPT + "# changed")
    seen.append(key())
    sweep(place, "python s.py {n} {out} in.json more")
    seen.append(key())
    monkeypatch.setattr(keys, "current_code", lambda: "another")
    seen.append(key())
    assert len(set(seen)) == 5


def test_other_code_than_the_sweep_began_with_runs_nothing(place, monkeypatch):
    sweep(place, values="[1]")
    monkeypatch.setattr(cell_module, "current_code", lambda: "another")
    done = run(place, retries=3)
    assert "begun with rsprune" in done.outcomes[0].error and done.outcomes[0].tries == 1 and not ledger(place)


def test_a_cell_that_hangs_is_stopped(place):
    sweep(place, "{a: {run: 'python s.py {n} {out} sleep=30', seconds: 0.5}}", "[1]")
    assert "took longer than 0.5 s and was stopped" in run(place).outcomes[0].error


def test_steps_that_ended_before_a_kill_do_not_run_again(place):
    sweep(place, "{a: {run: ['python s.py first {out}', 'python s.py second{n} {out} once']}}", "[1]")
    assert "was ended by SIGKILL" in run(place).outcomes[0].error
    assert run(place).ok
    assert ledger(place) == ["first", "second1", "second1"]


@pytest.mark.parametrize(("command", "resumed"), [("train resnet20", True), ("prune bundle", False)])
def test_an_interrupted_command_goes_on_from_its_checkpoint_if_it_has_one(place, monkeypatch, command, resumed):
    from rsprune_lib.run_mark import write_mark
    from rsprune_lib.sweeps.processes import Ended

    (place / "s.yaml").write_text(f"title: T\njobs: {{a: {{run: 'rsprune {command} --out {{out}}'}}}}")
    order = reproduce.prepare(place / "s.yaml", profile="smoke", out=place / "out").orders[0]
    left = place / "out" / "attempts" / order.folder / "0" / "out"  # as a killed worker leaves it
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    write_mark(left, command.split()[0], {"half"})
    seen = []

    def ended(words, *_):
        seen.append((words, (left / "half").exists()))
        return Ended(True)

    monkeypatch.setattr(cell_module, "run_process", ended)
    assert run_cell(order).ok
    (words, there), record = seen[0], read_json(place / "out" / "cells" / order.folder / "result.json", "a result")
    assert ("--resume" in words, there, record["resumed"]) == (resumed, resumed, True) and "--json" in words
    assert words[words.index("--out") + 1] == str(left)


def test_driver_killed_and_started_again(place):
    """Killed in the middle of the third cell: its process ends with it, two results stay, and two cells are left."""
    sweep(place, "python s.py {n} {out} {n}", '["sleep=0", "sleep=0.01", "wait=go", "sleep=0.02"]')
    command = [sys.executable, "-m", "rsprune_lib.cli", "reproduce", "s.yaml", "--profile", "smoke", "--out", "out"]
    driver = subprocess.Popen([*command, "--workers", "1"], stderr=subprocess.DEVNULL, env=_environment())
    _until(lambda: ledger(place) and "wait=go" in ledger(place))
    child = int(next(line for line in (place / "ledger").read_text().splitlines() if "wait=go" in line).split()[2])
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    if sys.platform == "linux":
        _until(lambda: not Path(f"/proc/{child}").exists())
    (place / "go").touch()
    done = run(place)
    assert done.ok and sorted(states(done).values()) == ["kept", "kept", "ok", "ok"]
    assert ledger(place, "end") == ["sleep=0", "sleep=0.01", "sleep=0.02", "wait=go"], "each to its end, once"
    assert not any((place / "out" / "attempts").iterdir()), "nothing is left of the killed one"


def test_two_drivers_on_one_sweep(place):
    sweep(place, "python s.py {n} {out} wait=go", "[1]")
    command = [sys.executable, "-m", "rsprune_lib.cli", "reproduce", "s.yaml", "--profile", "smoke", "--out", "out"]
    driver = subprocess.Popen([*command, "--workers", "1"], stderr=subprocess.DEVNULL, env=_environment())
    _until(lambda: ledger(place))
    with pytest.raises(RspruneError, match="Another run is writing into"):
        run(place)
    (place / "go").touch()
    assert driver.wait(60) == 0 and ledger(place) == ["1"]


def test_a_cell_that_runs_twice_at_once_leaves_one_result(place):
    """The same order in two processes, as Dask may do it: two folders while they work, one result."""
    import threading

    sweep(place, "python s.py {n} {out} wait=go", "[1]")
    order = reproduce.prepare(place / "s.yaml", profile="smoke", out=place / "out").orders[0]
    found = []
    threads = [threading.Thread(target=lambda: found.append(run_cell(order))) for _ in range(2)]
    for thread in threads:
        thread.start()
    _until(lambda: len(ledger(place)) == 2)
    (place / "go").touch()
    for thread in threads:
        thread.join()
    assert sorted(outcome.state for outcome in found) == ["kept", "ok"]
    folders = {line.split()[3] for line in (place / "ledger").read_text().splitlines()}
    assert len(folders) == 2 and len(results(place)) == 1 and not any((place / "out" / "attempts").iterdir())


@pytest.mark.skipif(not engines.has_dask(), reason="dask.distributed is not installed")
def test_a_worker_killed_in_the_middle_loses_nothing(place):
    """A scheduler and three workers as processes of their own; one is killed while it has a cell in hand."""
    sweep(place, "python s.py {n} {out} wait=go", str(list(range(6))))
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "file.json"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip
    workers = []
    try:
        _until(lambda: (place / "file.json").is_file() and (place / "file.json").read_text().strip().endswith("}"))
        address = json.loads((place / "file.json").read_text())["address"]
        worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": _environment()}
        workers = [subprocess.Popen([*worker, "--name", str(n)], **quiet) for n in range(3)]
        command = ["reproduce", "s.yaml", "--profile", "smoke", "--out", "out", "--scheduler", address]
        driver = subprocess.Popen([sys.executable, "-m", "rsprune_lib.cli", *command], env=_environment(),
                                  stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)  # fmt: skip
        _until(lambda: len(ledger(place)) == 3, 120)
        victim = _running(place, workers[0].pid)[0]
        workers[0].send_signal(signal.SIGKILL)
        (place / "go").touch()
        _, said = driver.communicate(timeout=100)
        assert driver.returncode == 0, said
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()
    assert results(place) == [f"a_n={n}" for n in range(6)], "nothing is lost"
    # on a busy machine the scheduler may take a slow worker for a lost one, too; then a copy is dropped (see `publish`)
    assert sorted(set(ledger(place, "end"))) == [str(n) for n in range(6)]
    assert ledger(place).count(victim) >= 2, "the one in hand began again"


def test_no_scheduler_there_is_a_sentence(place, monkeypatch):
    sweep(place, values="[1]")
    monkeypatch.setattr(engines, "_WAIT", 0.5)
    with pytest.raises(RspruneError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9 .*start one"):
        run(place, scheduler="tcp://127.0.0.1:9")


def test_without_dask_cells_run_one_by_one_and_it_says_so(place, monkeypatch):
    sweep(place, values="[1, 2]")
    monkeypatch.setattr(reproduce, "has_dask", lambda: False)
    told = []
    assert run(place, workers=2, told=told).ok
    assert "one after the other" in told[0] and "pip install distributed" in told[0]
    with pytest.raises(RspruneError, match="--scheduler needs dask.distributed, which is not installed"):
        run(place, sweep(place, values="[3]"), scheduler="tcp://127.0.0.1:9")


def test_a_damaged_result_is_set_aside_and_measured_again(place):
    run(place, sweep(place, values="[1, 2, 3]"))
    paths = sorted((place / "out" / "cells").glob("*/result.json"))
    record = read_json(paths[0], "a result")
    record["rows"][0]["accuracy"] = 0.9
    write_json(paths[0], record)
    paths[1].write_text('{"half')
    paths[2].unlink()
    told = []
    done = run(place, told=told)
    assert set(states(done).values()) == {"ok"} and ledger(place) == ["1", "1", "2", "2", "3", "3"]
    assert "its digest differs" in told[0] and "moved to" in told[0] and "the cell runs again" in told[0]
    assert len(list((place / "out" / "damaged").iterdir())) == 3


def test_a_disk_that_is_full_loses_no_finished_cell(place, monkeypatch, small_files):
    run(place, sweep(place, values="[1]"))
    free = shutil.disk_usage(place)._replace(free=1000)
    sweep(place, values="[1, 2]")
    with monkeypatch.context() as patch:
        patch.setattr(cell_module.shutil, "disk_usage", lambda _: free)
        done = run(place, retries=5)
    assert states(done) == {"a, n=1": "kept", "a, n=2": "failed"}
    assert "MB free, a cell needs 50 MB" in done.outcomes[1].error and done.outcomes[1].tries == 1
    (place / "s.py").write_text(SCRIPT.replace('"params": 3', '"params": "' + "3" * 3000 + '"'))
    with monkeypatch.context() as patch:  # no room for the result, but for what the driver writes
        publish = cell_module.publish

        def limited(*given):
            with small_files:
                return publish(*given)

        patch.setattr(cell_module, "publish", limited)
        full = run(place, sweep(place, values="[2]"))
    assert "make room there" in full.outcomes[0].error and results(place) == ["a_n=1"]
    (place / "s.py").write_text(SCRIPT)
    done = run(place, sweep(place, values="[1, 2]"))
    assert states(done) == {"a, n=1": "kept", "a, n=2": "ok"}, "with room the sweep goes on"


def test_an_attempt_that_lives_is_left_alone(tmp_path):
    with open_attempt(tmp_path, "cell") as one, open_attempt(tmp_path, "cell") as two:
        assert one.path != two.path and not two.begun
        (one.path / "x").touch()
    with open_attempt(tmp_path, "cell") as again:
        assert again.path == one.path and again.begun


def test_the_bench_of_sweeps_counts_what_a_cell_leaves(place):
    import sweep_bench

    row = sweep_bench.one(place, 3, 1) | {"provenance": {"git": None, "device": "a pc", "date": "2026-01-01"}}
    assert row["files_a_cell"] == pytest.approx((3 * 3 + 4) / 3) and row["ms_a_cell"] > 0
    assert "| 3 | 1 |" in sweep_bench.page({"rows": [row], "processes": None})


def test_workers_fit_cores_and_memory(monkeypatch):
    import psutil

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 13e9}))
    assert (workers_here(1, 1.0), workers_here(4, 1.0), workers_here(1, 4.0), workers_here(16, 99.0)) == (8, 2, 3, 1)


def test_folders_of_others_are_refused(place):
    (place / "out").mkdir()
    (place / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RspruneError, match="not written by rsprune"):
        run(place, sweep(place))


def _environment():
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def _until(there, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _running(place, worker):
    """Names of the cells whose processes a worker has running."""
    found = []
    for line in (place / "ledger").read_text().splitlines():
        word, name, pid, _ = line.split()
        status = Path(f"/proc/{pid}/status")
        if word == "start" and status.exists() and f"PPid:\t{worker}\n" in status.read_text():
            found.append(name)
    return found
